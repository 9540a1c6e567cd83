"""`init` and `apps`: from WAHA's admin key to an agent that works, typed in a terminal and unattended."""

from __future__ import annotations

import dataclasses
import functools
import io
import json
import re
import subprocess
import sys
from pathlib import Path

import anyio
import pexpect
import pytest
from mcp import Client, StdioServerParameters

from tests.harness import COMMAND, Admin, environment, run
from tests.tls import certificate, tls_in_front_of
from waha_mcp.app.actions import Action
from waha_mcp.app.definition import load_app
from waha_mcp.cli import setup
from waha_mcp.cli.setup import Plan
from waha_mcp.sandbox import SandboxInfo
from waha_mcp.waha.admin_api import Admin as AdminApi
from waha_mcp.waha.admin_api import AdminError


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    return {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path / ".config"), "PYTHON_KEYRING_BACKEND": NO_KEYRING}


NO_KEYRING = "keyring.backends.null.Keyring"


def definition(home: dict[str, str], name: str = "assistant") -> Path:
    return Path(home["XDG_CONFIG_HOME"]) / "waha-mcp" / f"{name}.toml"


def unattended(sandbox: SandboxInfo, *arguments: str, home: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return run(
        "init", "--url", sandbox.url, "--admin-key-file", "-", "--yes", *arguments, env=home, stdin=sandbox.admin_key
    )


def typed(home: dict[str, str], *arguments: str) -> tuple[pexpect.spawn[str], io.StringIO]:
    """`waha-mcp` in a terminal, and what its screen has shown."""
    screen = io.StringIO()
    command = [*COMMAND, *arguments]
    child = pexpect.spawn(
        command[0],
        command[1:],
        env=environment(**home, TERM="dumb"),
        encoding="utf-8",
        timeout=30,
        dimensions=(50, 200),
    )
    child.logfile_read = screen
    return child, screen


def answers(child: pexpect.spawn[str], *steps: tuple[str, str]) -> None:
    """Wait for each question, and type the answer."""
    for question, answer in steps:
        child.expect(question)
        child.sendline(answer)


async def listed(entry: dict[str, object], home: dict[str, str]) -> set[str]:
    """The tools that a host sees when it launches this entry."""
    server = StdioServerParameters.model_validate({**entry, "env": environment(**home)})
    async with Client(server) as client:
        return {tool.name for tool in (await client.list_tools()).tools}


@pytest.mark.anyio
async def test_a_person_gets_from_a_url_and_a_key_to_a_claude_desktop_entry_that_works(
    sandbox: SandboxInfo, home: dict[str, str]
) -> None:
    def at_the_terminal() -> str:
        child, screen = typed(home, "init")
        answers(
            child,
            ("WAHA's URL", sandbox.url),
            ("WAHA's admin key", sandbox.admin_key),
            ("default +WORKING[^$]*Choose", ""),
            ("Name for this App", ""),
            ("never written to, sends a link[^$]*Go ahead", ""),
            ("Add it to", "claude-desktop"),
            ("Name of the entry", "my_wa"),
            ("letters, digits[^$]*Name of the entry", ""),
        )
        child.expect("waha-mcp tools --app assistant")
        child.expect(pexpect.EOF)
        child.close()
        assert child.exitstatus == 0
        return screen.getvalue()

    screen = await anyio.to_thread.run_sync(at_the_terminal)
    assert sandbox.admin_key not in screen
    config = Path(home["XDG_CONFIG_HOME"]) / "Claude" / "claude_desktop_config.json"
    written = config.read_text()
    app = load_app(str(definition(home)), environ={})
    assert app.key.get_secret_value() not in written + screen + definition(home).read_text()
    tools = await listed(json.loads(written)["mcpServers"]["whatsapp"], {})
    assert {"list_chats", "send_text"} <= tools
    assert app.approval.when == {"first_contact", "destructive"}
    assert app.links.others == "ask"


@pytest.mark.anyio
async def test_whatever_is_mistyped_is_said_and_asked_again(
    sandbox: SandboxInfo, admin: Admin, home: dict[str, str]
) -> None:
    definition(home).parent.mkdir(parents=True)
    definition(home).write_text(f'url = "{sandbox.url}"\nkey = "key_sample_0000"\n')
    await admin.request(
        "POST", "/api/apps", {"id": "taken", "session": "default", "app": "mcp", "config": {"actions": {"read": True}}}
    )
    await admin.request("POST", "/api/sessions", {"name": "work"})

    def at_the_terminal() -> str:
        child, screen = typed(home, "init")
        answers(
            child,
            ("WAHA's URL", sandbox.url.removeprefix("http://")),
            ("has no scheme: write http://127[^$]*WAHA's URL", "http://127.0.0.1:9"),
            ("127.0.0.1:9[^$]*WAHA's URL", sandbox.url),
            ("WAHA's admin key: ", "nonsense"),
            ("401[^$]*WAHA's admin key: ", sandbox.keys["read"]),
            ("scoped key[^$]*WAHA's admin key: ", sandbox.admin_key),
            ("Which session", "dafault"),
            ("did you mean 'default'[^$]*Which session", "1"),
            ("Choose", "raed"),
            (r"did\s+you\s+mean\s+'read'[^$]*Choose", "9"),
            ("no choice '9'[^$]*Choose", "careful"),
            ("Whom may it write to", "Nobody Atall"),
            ("called Nobody Atall[^$]*Whom may it", "+1 20"),
            ("send.allow[^$]*Whom may it", "12025550123"),
            ("App .assistant-2.", "my app"),
            ("'my app' is not an id[^$]*Name for this App", "assistant"),
            ("already, session found out on [^$]*Update it", "n"),
            ("another name[^$]*Name for this App", "taken"),
            ("already, on WAHA. Update it", "n"),
            ("another name[^$]*Name for this App", ""),
            ("Go ahead", "y"),
            ("Add it to", "codx"),
            (r"did\s+you\s+mean\s+'codex'[^$]*Add it to", "none"),
        )
        child.expect(pexpect.EOF)
        child.close()
        assert child.exitstatus == 0, screen.getvalue()
        return screen.getvalue()

    screen = await anyio.to_thread.run_sync(at_the_terminal)
    assert sandbox.admin_key not in screen
    assert "waha-mcp install HOST --app assistant-2" in screen
    assert load_app(str(definition(home, "assistant-2")), environ={}).chats.send.allow == ("12025550123@c.us",)
    assert definition(home).read_text().endswith('key = "key_sample_0000"\n')


@pytest.mark.anyio
async def test_where_waha_fails_for_once_the_step_is_tried_again(
    sandbox: SandboxInfo, admin: Admin, home: dict[str, str]
) -> None:
    await admin.request("PUT", "/sandbox/faults", {"faults": [{"path": "/api/sessions", "status": 500, "count": 1}]})
    env = home | {"WAHA_ADMIN_KEY": sandbox.admin_key, "WAHA_URL": sandbox.url}
    child, screen = typed(env, "init", "--actions", "read", "--install", "none")
    steps = (("internal error[^$]*Try again", ""), ("Name for this App", ""), ("Go ahead", ""))
    await anyio.to_thread.run_sync(lambda: answers(child, *steps))
    await anyio.to_thread.run_sync(lambda: child.expect(pexpect.EOF))
    child.close()
    assert child.exitstatus == 0, screen.getvalue()


@pytest.mark.anyio
async def test_what_waha_says_of_a_session_commands_no_terminal(
    sandbox: SandboxInfo, admin: Admin, home: dict[str, str]
) -> None:
    rows = [
        {"name": "\x1b[2Jgone", "status": "WORKING"},
        {
            "name": "default",
            "status": "WORK\x1b[31mING",
            "me": {"id": "12025550100@c.us", "pushName": "A\x1b]0;x\x07lex"},
        },
    ]
    await admin.fault("/api/sessions", body=json.dumps(rows), status=200, content_type="application/json")
    env = home | {"WAHA_ADMIN_KEY": sandbox.admin_key, "WAHA_URL": sandbox.url}
    child, screen = typed(env, "init", "--actions", "read")
    await anyio.to_thread.run_sync(lambda: child.expect("Name for this App"))
    child.close()
    assert "\x1b" not in screen.getvalue()
    assert "gone" not in screen.getvalue()


@pytest.mark.anyio
async def test_an_entrys_name_that_is_taken_is_asked_for_again(sandbox: SandboxInfo, home: dict[str, str]) -> None:
    cursor = Path(home["HOME"]) / ".cursor" / "mcp.json"
    cursor.parent.mkdir()
    cursor.write_text('{"mcpServers": {"whatsapp": {"command": "other"}}}')
    env = home | {"WAHA_ADMIN_KEY": sandbox.admin_key, "WAHA_URL": sandbox.url}
    child, screen = typed(
        env, "init", "--actions", "read", "--id", "reader", "--install", "cursor", "--name", "whatsapp"
    )
    steps = (("Go ahead", ""), ("not waha-mcp's[^$]*Another name", "mine"))
    await anyio.to_thread.run_sync(lambda: answers(child, *steps))
    await anyio.to_thread.run_sync(lambda: child.expect(pexpect.EOF))
    child.close()
    assert child.exitstatus == 0, screen.getvalue()
    assert set(json.loads(cursor.read_text())["mcpServers"]) == {"whatsapp", "mine"}


@pytest.mark.anyio
async def test_an_app_that_is_switched_off_is_off_even_where_nothing_can_be_written_here(
    sandbox: SandboxInfo, admin: Admin, home: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    await anyio.to_thread.run_sync(lambda: unattended(sandbox, "--actions", "read", home=home))
    plan = Plan("assistant", sandbox.url, "default", frozenset({Action.READ}), enabled=False)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", "assistant.toml")

    monkeypatch.setattr(setup, "write_definition", full)
    async with AdminApi(plan.app(sandbox.admin_key)) as api:
        with pytest.raises(AdminError, match="has disabled 'assistant'"):
            await setup.make(api, plan, definition(home).parent)
    [app] = [a for a in await admin.request("GET", "/api/apps?session=default") if a["id"] == "assistant"]
    assert app["enabled"] is False


QUESTIONS = {
    "WAHA's URL": None,
    "WAHA's admin key: ": "",
    "Choose": "careful",
    "Whom may it write to": "",
    "Name for this App": "",
    "Go ahead": "",
    "Add it to": "",
}


@pytest.mark.parametrize("last", QUESTIONS)
def test_ctrl_c_ends_it_at_once_at_each_question_and_says_what_there_is(
    last: str, sandbox_process: SandboxInfo, home: dict[str, str]
) -> None:
    child, screen = typed(home, "init")
    given = {"WAHA's URL": sandbox_process.url, "WAHA's admin key: ": sandbox_process.admin_key}
    for question in QUESTIONS:
        child.expect(question)
        if question == last:
            break
        child.sendline(given.get(question) or QUESTIONS[question] or "")
    for _ in range(3):  # readline may miss one that comes before it waits for a key
        child.sendcontrol("c")
        if child.expect([pexpect.TIMEOUT, pexpect.EOF], timeout=5):
            break
    child.close()
    assert child.exitstatus == 130
    made = last == "Add it to"
    assert ("The App is made" if made else "no App was made") in screen.getvalue()
    assert "Traceback" not in screen.getvalue()
    assert definition(home).exists() == made


@pytest.mark.anyio
@pytest.mark.parametrize("before", [None, {"read": True}], ids=["a new App", "an App that is updated"])
async def test_ctrl_c_while_waha_makes_the_app_leaves_waha_as_it_was(
    before: dict[str, bool] | None, sandbox: SandboxInfo, admin: Admin, home: dict[str, str]
) -> None:
    body = {"id": "assistant", "session": "default", "app": "mcp", "config": {"actions": before}}
    if before:
        await admin.request("POST", "/api/apps", body)
    # The app is made, and WAHA's answer to the next request takes long.
    await admin.fault("/api/keys", method="GET", delay=60)

    env = home | {"WAHA_ADMIN_KEY": sandbox.admin_key, "WAHA_URL": sandbox.url}
    child, shown = typed(env, "init", "--id", "assistant", "--actions", "reply")
    await anyio.to_thread.run_sync(lambda: answers(child, ("Go ahead", "y")))
    while not [r for r in await admin.requests() if r["path"] == "/api/keys"]:  # noqa: ASYNC110 - the sandbox tells nobody
        await anyio.sleep(0.02)
    child.sendcontrol("c")
    await anyio.to_thread.run_sync(lambda: child.expect(pexpect.EOF, timeout=10))
    child.close()
    assert child.exitstatus == 130
    screen = shown.getvalue()
    apps = [a for a in await admin.request("GET", "/api/apps?session=default") if a["id"] == "assistant"]
    if before is None:
        assert apps == []
        assert "It is removed again" in screen
    else:
        assert [{a for a, on in app["config"]["actions"].items() if on} for app in apps] == [{"read"}]
        assert "as it was before" in screen
    assert not definition(home).exists()


@pytest.mark.anyio
async def test_a_waha_without_a_session_gets_one_and_a_stopped_one_is_started(
    sandbox: SandboxInfo, admin: Admin, home: dict[str, str]
) -> None:
    await admin.request("DELETE", "/api/sessions/default")
    env = home | {"WAHA_ADMIN_KEY": sandbox.admin_key, "WAHA_URL": sandbox.url}
    child, _ = typed(env, "init", "--actions", "read")
    await anyio.to_thread.run_sync(lambda: answers(child, ("no session yet[^$]*link it now", "")))
    await anyio.to_thread.run_sync(lambda: child.expect("waits to be paired"))
    await admin.request("POST", "/sandbox/session", {"status": "WORKING"})
    await anyio.to_thread.run_sync(lambda: child.expect("is WORKING now"))
    child.close()
    await admin.request("POST", "/sandbox/session", {"status": "STOPPED"})
    child, _ = typed(env, "init", "--actions", "read")
    await anyio.to_thread.run_sync(lambda: answers(child, ("is STOPPED. Start it", ""), ("Name for this App", "")))
    child.close()


@pytest.mark.anyio
async def test_a_session_that_waits_for_pairing_shows_its_qr_code_until_it_is_scanned(
    sandbox: SandboxInfo, admin: Admin, home: dict[str, str]
) -> None:
    await admin.request("POST", "/sandbox/session", {"status": "SCAN_QR_CODE"})
    child, screen = typed(
        home | {"WAHA_ADMIN_KEY": sandbox.admin_key, "WAHA_URL": sandbox.url}, "init", "--actions", "read"
    )
    await anyio.to_thread.run_sync(lambda: child.expect("waits to be paired"))
    await anyio.to_thread.run_sync(lambda: child.expect("[▀▄█]{8}"))
    await admin.request("POST", "/sandbox/session", {"status": "WORKING"})
    await anyio.to_thread.run_sync(lambda: child.expect("is WORKING now"))
    child.close()
    assert len(re.findall("[▀▄█]{8}", screen.getvalue())) > 10


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("given", "actions"),
    [
        ("read", {Action.READ}),
        ("reply", {Action.READ, Action.SEND}),
        ("notify", {Action.SEND}),
        ("assistant", {Action.READ, Action.SEND}),
        ("careful", {Action.READ, Action.SEND}),
        ("read,control", {Action.READ, Action.CONTROL}),
    ],
)
async def test_waha_makes_a_key_with_the_asked_actions_and_no_more(
    given: str, actions: set[Action], sandbox: SandboxInfo, admin: Admin, home: dict[str, str]
) -> None:
    to = ["--send-to", "12025550123"] if given in ("notify", "careful") else []
    done = await anyio.to_thread.run_sync(lambda: unattended(sandbox, "--actions", given, *to, home=home))
    assert done.returncode == 0, done.stderr
    [app] = [a for a in await admin.request("GET", "/api/apps?session=default") if a["id"] == "assistant"]
    assert {a for a, on in app["config"]["actions"].items() if on} == actions
    assert load_app(str(definition(home)), environ={}).key.get_secret_value() == app["config"]["key"]
    assert sandbox.admin_key not in definition(home).read_text() + done.stdout + done.stderr
    key_file = definition(home).with_suffix(".key")
    assert key_file.stat().st_mode & 0o777 == 0o600


@pytest.mark.anyio
async def test_the_ca_file_that_is_given_makes_waha_trusted_then_and_later(
    sandbox: SandboxInfo, home: dict[str, str], tmp_path: Path
) -> None:
    made = certificate("unknown authority", tmp_path)

    def behind_tls(url: str) -> None:
        def init(*more: str) -> subprocess.CompletedProcess[str]:
            return unattended(dataclasses.replace(sandbox, url=url), "--actions", "read", *more, home=home)

        refused = init()
        assert refused.returncode == 1
        assert re.search(r"\(--ca-file of `\S*waha-mcp init`\)", refused.stderr)
        assert not definition(home).exists()
        done = init("--ca-file", str(made.ca_file))
        assert done.returncode == 0, done.stderr
        app = load_app(str(definition(home)), environ={})
        assert (app.url, app.ca_file) == (url, made.ca_file)
        called = run("call", "list_chats", "--app", "assistant", env=home)
        assert called.returncode == 0, called.stderr
        # Beside a definition that is broken, and with the file named from the definition's folder.
        file = definition(home)
        (file.parent / "broken.toml").write_text(f'url = "{url}"\nsesion = "default"\nkey = "key_0000"\n')
        (file.parent / "ca.pem").write_bytes(made.ca_file.read_bytes())
        file.write_text(file.read_text().replace(str(made.ca_file), "ca.pem"))
        for arguments in (["list", "--waha"], ["update", "assistant", "--actions", "read"]):
            done = run("apps", *arguments, env=home | {"WAHA_ADMIN_KEY": sandbox.admin_key})
            assert done.returncode == 0, done.stderr

    with tls_in_front_of(sandbox.url, made) as front:
        await anyio.to_thread.run_sync(behind_tls, front)


@pytest.mark.anyio
async def test_run_twice_it_updates_and_keeps_what_else_stands_in_the_definition(
    sandbox: SandboxInfo, admin: Admin, home: dict[str, str]
) -> None:
    def twice() -> tuple[str, str]:
        unattended(sandbox, "--actions", "read", "--install", "cursor", home=home)
        key = load_app(str(definition(home)), environ={}).key.get_secret_value()
        text = definition(home).read_text() + '# mine\ntoolsets = ["core"]\n'
        definition(home).write_text(text)
        done = unattended(sandbox, "--actions", "reply", "--install", "cursor", home=home)
        assert done.returncode == 0, done.stderr
        return key, definition(home).read_text()

    key, text = await anyio.to_thread.run_sync(twice)
    apps = await admin.request("GET", "/api/apps?session=default")
    assert len([a for a in apps if a["id"] == "assistant"]) == 1
    app = load_app(str(definition(home)), environ={})
    assert app.key.get_secret_value() == key
    assert app.actions == frozenset({Action.READ, Action.SEND})
    assert "# mine" in text
    config = json.loads((Path(home["HOME"]) / ".cursor" / "mcp.json").read_text())
    assert list(config["mcpServers"]) == ["whatsapp"]


def test_an_app_that_is_updated_keeps_its_own_lists_and_is_told_so(
    sandbox_process: SandboxInfo, home: dict[str, str]
) -> None:
    unattended(sandbox_process, "--actions", "assistant", "--send-to", "12025550123", home=home)
    again = unattended(sandbox_process, "--actions", "assistant", "--send-to", "447700900142", home=home)
    assert again.returncode == 0, again.stderr
    assert "which stays as it is" in again.stdout
    assert "447700900142" not in again.stdout
    assert load_app(str(definition(home)), environ={}).chats.send.allow == ("12025550123@c.us",)


@pytest.mark.anyio
async def test_a_waha_without_apps_gives_a_scoped_key_and_updates_it(
    sandbox: SandboxInfo, admin: Admin, home: dict[str, str]
) -> None:
    before = len(await admin.request("GET", "/api/keys"))
    for actions in ("read", "reply"):
        await admin.fault("/api/apps", count=3, status=501, body='{"message": "Apps are off", "statusCode": 501}')
        work = functools.partial(unattended, sandbox, "--actions", actions, home=home)
        done = await anyio.to_thread.run_sync(work)
        assert done.returncode == 0, done.stderr
        assert "scoped key" in done.stdout
    keys = await admin.request("GET", "/api/keys")
    assert len(keys) == before + 1
    mine = load_app(str(definition(home)), environ={}).key.get_secret_value()
    [key] = [k for k in keys if k["key"] == mine]
    assert {a for a, on in key["actions"].items() if on} == {"read", "send"}


@pytest.mark.anyio
async def test_a_key_that_allows_more_than_was_asked_is_removed_and_nothing_is_written(
    sandbox: SandboxInfo, admin: Admin, home: dict[str, str]
) -> None:
    # The probe for send succeeds, although WAHA was asked for a key without it.
    await admin.fault("/api/default/status/new-message-id", status=200, body="{}", content_type="application/json")
    done = await anyio.to_thread.run_sync(lambda: unattended(sandbox, "--actions", "read", home=home))
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert "also allows send" in line
    assert not definition(home).exists()
    assert not [a for a in await admin.request("GET", "/api/apps?session=default") if a["id"] == "assistant"]


def test_a_dry_run_prints_and_changes_nothing(sandbox_process: SandboxInfo, home: dict[str, str]) -> None:
    done = unattended(sandbox_process, "--actions", "reply", "--dry-run", home=home)
    assert done.returncode == 0, done.stderr
    assert 'actions = ["read", "send"]' in done.stdout
    assert not Path(home["XDG_CONFIG_HOME"]).exists()


WRONG = {
    "no admin key": (["--url", "{url}"], "", "--admin-key-file"),
    "wrong admin key": (["--url", "{url}", "--admin-key-file", "-"], "nonsense", "401"),
    "a scoped key": (["--url", "{url}", "--admin-key-file", "-"], "{read}", "not the admin's"),
    "no WAHA there": (["--url", "http://127.0.0.1:9", "--admin-key-file", "-"], "x", "127.0.0.1:9"),
    "no URL": (["--url", "localhost", "--admin-key-file", "-"], "x", "url"),
    "unknown session": (["--url", "{url}", "--admin-key-file", "-", "--session", "home"], "{admin}", "default"),
    "unknown action": (["--url", "{url}", "--admin-key-file", "-", "--actions", "write"], "{admin}", "notify"),
    "no action": (["--url", "{url}", "--admin-key-file", "-", "--actions", ","], "{admin}", "at least one"),
    "unknown host": (["--url", "{url}", "--admin-key-file", "-", "--install", "emacs"], "{admin}", "claude-desktop"),
    "nobody to notify": (["--url", "{url}", "--admin-key-file", "-", "--actions", "notify"], "{admin}", "--send-to"),
    "a name without reading": (
        ["--url", "{url}", "--admin-key-file", "-", "--actions", "notify", "--send-to", "Maya"],
        "{admin}",
        "number instead of Maya",
    ),
    "nobody by that name": (
        ["--url", "{url}", "--admin-key-file", "-", "--actions", "assistant", "--send-to", "Nobody Atall"],
        "{admin}",
        "Nobody Atall",
    ),
    "recipients without sending": (
        ["--url", "{url}", "--admin-key-file", "-", "--actions", "read", "--send-to", "12025550123"],
        "{admin}",
        "--send-to",
    ),
    "bad id": (["--url", "{url}", "--admin-key-file", "-", "--id", "../x"], "{admin}", "id"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_told_in_one_line_and_nothing_is_made(
    case: str, sandbox_process: SandboxInfo, home: dict[str, str]
) -> None:
    arguments, stdin, says = WRONG[case]
    names = {"url": sandbox_process.url, "admin": sandbox_process.admin_key, "read": sandbox_process.keys["read"]}
    done = run("init", "--yes", *(a.format(**names) for a in arguments), env=home, stdin=stdin.format(**names))
    assert done.returncode in (1, 2)
    [line] = done.stderr.splitlines()
    assert says in line
    assert not Path(home["XDG_CONFIG_HOME"]).exists()


@pytest.mark.anyio
async def test_apps_are_listed_shown_updated_disabled_and_removed_here_and_on_waha(
    sandbox: SandboxInfo, admin: Admin, home: dict[str, str]
) -> None:
    env = home | {"WAHA_ADMIN_KEY": sandbox.admin_key}

    async def waha(*arguments: str) -> str:
        done = await anyio.to_thread.run_sync(lambda: run("apps", *arguments, env=env))
        assert done.returncode == 0, done.stderr
        return done.stdout

    async def on_waha() -> dict[str, object] | None:
        apps = await admin.request("GET", "/api/apps?session=default")
        return next((a for a in apps if a["id"] == "assistant"), None)

    await anyio.to_thread.run_sync(lambda: unattended(sandbox, "--actions", "reply", "--install", "zed", home=home))
    await admin.request(
        "POST", "/api/apps", {"id": "other", "session": "default", "app": "mcp", "config": {"actions": {"read": True}}}
    )
    rows = {row["id"]: row for row in json.loads(await waha("list", "--waha", "--json"))}
    assert rows["assistant"]["actions"] == "read, send"
    assert rows["other"]["here"] is False

    shown = json.loads(await waha("show", "assistant", "--json"))
    assert shown["clients"] == ["Zed"]
    assert shown["allowed"].startswith("read, send")
    assert load_app(str(definition(home)), environ={}).key.get_secret_value() not in json.dumps(shown)

    await waha("update", "assistant", "--actions", "read")
    app = await on_waha()
    assert app is not None
    assert app["config"]["actions"]["send"] is False  # type: ignore[index]

    await waha("disable", "assistant")
    app = await on_waha()
    assert app is not None
    assert app["enabled"] is False
    refused = await anyio.to_thread.run_sync(lambda: run("tools", "--app", "assistant", env=env))
    assert "disabled" in refused.stderr
    await waha("enable", "assistant")
    assert "waha-mcp uninstall zed --name whatsapp" in await waha("remove", "assistant", "--yes")
    assert await on_waha() is None
    assert list(definition(home).parent.iterdir()) == []


@pytest.mark.anyio
async def test_the_url_that_is_given_is_the_only_waha_whose_apps_are_listed(
    sandbox: SandboxInfo, admin: Admin, home: dict[str, str]
) -> None:
    there = {"id": "other", "session": "default", "app": "mcp", "config": {"actions": {"read": True}}}
    await admin.request("POST", "/api/apps", there)
    definition(home).parent.mkdir(parents=True)
    definition(home).write_text('url = "http://127.0.0.1:9"\nkey = "key_0000"\n')

    def apps(*more: str) -> subprocess.CompletedProcess[str]:
        return run("apps", "list", "--waha", *more, env=home | {"WAHA_ADMIN_KEY": sandbox.admin_key})

    meant = run("apps", "list", "--url", sandbox.url, env=home)
    assert (meant.returncode, "--url: only with --waha" in meant.stderr) == (2, True)
    away = await anyio.to_thread.run_sync(apps)
    assert away.returncode == 1
    assert "http://127.0.0.1:9" in away.stderr
    plain = definition(home).read_text()
    definition(home).write_text(f'{plain}ca_file = "~nobody-here/ca.pem"\n')
    nowhere = await anyio.to_thread.run_sync(apps)
    assert (nowhere.returncode, "ca_file" in nowhere.stderr) == (2, True), nowhere.stderr
    definition(home).write_text(plain)
    done = await anyio.to_thread.run_sync(apps, "--url", sandbox.url, "--json")
    assert done.returncode == 0, done.stderr
    assert [(row["id"], row["url"], row.get("here", True)) for row in json.loads(done.stdout)] == [
        ("assistant", "http://127.0.0.1:9", True),
        ("other", sandbox.url, False),
    ]


KEYRING = """
import json, os, pathlib
from keyring.backend import KeyringBackend

class Ring(KeyringBackend):
    priority = 5
    path = pathlib.Path(os.environ["RING"])
    def _all(self):
        return json.loads(self.path.read_text()) if self.path.exists() else {}
    def get_password(self, service, name):
        return self._all().get(f"{service}/{name}")
    def set_password(self, service, name, value):
        self.path.write_text(json.dumps(self._all() | {f"{service}/{name}": value}))
    def delete_password(self, service, name):
        self.path.write_text(json.dumps({k: v for k, v in self._all().items() if k != f"{service}/{name}"}))
"""


@pytest.mark.anyio
async def test_a_keyring_keeps_the_key_where_there_is_one(
    sandbox: SandboxInfo, home: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "ringmodule.py").write_text(KEYRING)
    env = home | {
        "PYTHONPATH": str(tmp_path),
        "PYTHON_KEYRING_BACKEND": "ringmodule.Ring",
        "RING": str(tmp_path / "ring.json"),
    }
    done = await anyio.to_thread.run_sync(lambda: unattended(sandbox, "--actions", "read", home=env))
    assert done.returncode == 0, done.stderr
    assert list(definition(home).parent.iterdir()) == [definition(home)]
    assert "waha-mcp/assistant" in json.loads((tmp_path / "ring.json").read_text())
    entry: dict[str, object] = {"command": sys.executable, "args": ["-m", "waha_mcp", "--app", str(definition(home))]}
    assert "list_chats" in await listed(entry, env)

    without = await anyio.to_thread.run_sync(lambda: run("tools", "--app", "assistant", env=home))
    assert without.returncode == 2
    assert "keyring" in without.stderr
    remove = await anyio.to_thread.run_sync(
        lambda: run("apps", "remove", "assistant", "--yes", env=env | {"WAHA_ADMIN_KEY": sandbox.admin_key})
    )
    assert remove.returncode == 0, remove.stderr
    assert json.loads((tmp_path / "ring.json").read_text()) == {}


@pytest.mark.anyio
async def test_a_broken_definition_of_that_id_is_told_before_waha_makes_anything(
    sandbox: SandboxInfo, admin: Admin, home: dict[str, str]
) -> None:
    definition(home).parent.mkdir(parents=True)
    definition(home).write_text("id = ")
    done = await anyio.to_thread.run_sync(lambda: unattended(sandbox, "--actions", "read", home=home))
    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert "not valid TOML" in line
    assert not [a for a in await admin.request("GET", "/api/apps?session=default") if a["id"] == "assistant"]
    assert definition(home).read_text() == "id = "
