"""The doctor names the cause of each problem, with the fix, and changes nothing."""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.harness import Admin, run
from tests.tls import certificate, tls_in_front_of
from tests.waha.no_connection import CASES, Place
from waha_mcp.app.actions import Action
from waha_mcp.app.definition import load_app
from waha_mcp.cli.diagnosis import Finding, look, look_at_definitions, look_at_hosts
from waha_mcp.hosts.installation import install
from waha_mcp.hosts.table import HOSTS, Host, Launch
from waha_mcp.policy.kill_switch import pause
from waha_mcp.sandbox import SandboxInfo, running
from waha_mcp.store.folders import user_store

pytestmark = pytest.mark.anyio


@dataclass
class Setup:
    """A user's machine: a home folder, one App, and the WAHA that it names."""

    sandbox: SandboxInfo
    admin: Admin
    home: Path
    patch: pytest.MonkeyPatch

    @property
    def definition(self) -> Path:
        return self.home / ".config" / "waha-mcp" / "assistant.toml"

    def write(self, **fields: Any) -> None:
        """Write the App's definition, and its key into a file beside it."""
        key = fields.pop("key", self.sandbox.keys["read_send"])
        fields = {"url": self.sandbox.url, "session": "default", "actions": ["read", "send"], **fields}
        chats = fields.pop("chats", "")
        self.definition.parent.mkdir(parents=True, exist_ok=True)
        lines = [f"{name} = {json.dumps(value)}" for name, value in fields.items()]
        self.definition.write_text("\n".join([*lines, 'key = { file = "assistant.key" }', chats, ""]))
        self.definition.with_suffix(".key").write_text(key)
        self.definition.with_suffix(".key").chmod(0o600)

    def client(self, entry: dict[str, Any] | str) -> None:
        """Write Cursor's configuration."""
        path = self.home / ".cursor" / "mcp.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(entry if isinstance(entry, str) else json.dumps({"mcpServers": {"whatsapp": entry}}))

    async def findings(self) -> list[Finding]:
        found = [finding async for finding in look(str(self.definition))]
        return found + [finding async for finding in look_at_hosts()]


@pytest.fixture
async def setup(sandbox: SandboxInfo, admin: Admin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Setup:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / ".config"))
    for name in ("WAHA_URL", "WAHA_API_KEY", "WAHA_MCP_APP", "WAHA_SESSION", "WAHA_ACTIONS", "WAHA_TOOLSETS"):
        monkeypatch.delenv(name, raising=False)
    made = Setup(sandbox, admin, tmp_path, monkeypatch)
    made.write()
    return made


async def test_where_all_is_well_every_line_is_ok(setup: Setup) -> None:
    setup.client({"command": "/bin/sh", "args": ["waha-mcp", "serve", "--app", str(setup.definition)]})
    findings = await setup.findings()
    assert {finding.state for finding in findings} == {"ok"}
    assert [finding.about for finding in findings] == [
        "App", "WAHA", "clock", "key", "actions", "tools", "session", "store", "recipients", "clients", "Cursor",
    ]  # fmt: skip


async def test_a_pause_and_what_a_person_approves_are_told_of(setup: Setup) -> None:
    setup.write(approval=["first_contact"])
    app_id = load_app(str(setup.definition)).id
    with closing(user_store()) as store:
        pause(store, app_id)
    found = {finding.about: finding for finding in await setup.findings()}
    assert found["pause"].state == "warning"
    assert found["pause"].fix == f"`waha-mcp resume {app_id}`"
    assert found["recipients"].says.endswith("; asks you before: a first message to somebody")


@pytest.mark.parametrize("host", HOSTS.values(), ids=lambda host: host.name)
async def test_the_entry_of_each_host_is_understood(host: Host, setup: Setup, tmp_path: Path) -> None:
    async def says(command: str, definition: Path) -> str:
        launch = Launch(command, ("waha-mcp", "serve", "--app", str(definition)), {}, "WAHA_API_KEY")
        install(host, "whatsapp", host.entry("whatsapp", launch))
        return " ".join([finding.says async for finding in look_at_hosts()])

    assert "can be launched" in await says("/bin/sh", setup.definition)
    assert "launches '/gone/sh'" in await says("/gone/sh", setup.definition)
    assert f"names the App {tmp_path / 'gone.toml'}" in await says("/bin/sh", tmp_path / "gone.toml")
    await says("/gone/sh", setup.definition)
    [finding] = [finding async for finding in look_at_hosts()]
    assert f"`waha-mcp install {host.name} --name whatsapp --app {setup.definition}`" in (finding.fix or "")


async def test_a_placeholder_that_a_client_passed_on_is_told_with_what_to_do(
    setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WAHA_API_KEY", "${WAHA_API_KEY}")
    [finding] = [finding async for finding in look(None)]
    assert finding.state == "problem"
    assert "key: is a placeholder" in finding.says
    assert "waha-mcp install" in (finding.fix or "")


async def test_two_apps_with_one_id_or_one_key_are_told_of(setup: Setup) -> None:
    assert list(look_at_definitions()) == []
    setup.definition.with_name("second.toml").write_text(setup.definition.read_text())
    [shared] = look_at_definitions()
    assert (shared.state, "'assistant' and 'second' have one key" in shared.says) == ("warning", True)
    setup.definition.with_name("third.toml").write_text(f'id = "second"\n{setup.definition.read_text()}')
    wrong, _ = look_at_definitions()
    assert (wrong.state, wrong.says.startswith(str(setup.definition.with_name("second.toml")))) == ("problem", True)
    assert "third.toml have one id, 'second'" in wrong.says


Break = Callable[[Setup], Awaitable[None] | None]


def answer(path: str, status: int, body: Any, **more: Any) -> Break:
    text = body if isinstance(body, str) else json.dumps(body)
    fault = {"status": status, "body": text, "content_type": "application/json", "count": 100} | more
    return lambda setup: setup.admin.fault(path, **fault)


def state(status: str) -> Break:
    return lambda setup: setup.admin.request("POST", "/sandbox/session", {"status": status})


def on_disk(work: Callable[[Setup], Any]) -> Break:
    return lambda setup: work(setup) and None


async def switched_off(setup: Setup) -> None:
    key = await setup.admin.mint([Action.READ, Action.SEND])
    setup.write(key=key["key"])
    await setup.admin.change_key(key, isActive=False)


#: What is broken -> (how, the state and subject of the line that names it, words in it, words in its fix).
BROKEN: dict[str, tuple[Break, str, str, str, str]] = {
    "no WAHA at the URL": (
        lambda s: s.write(url="http://127.0.0.1:9"), "problem", "WAHA", "127.0.0.1:9 was refused", "start WAHA",
    ),
    "another web server at the URL": (
        answer("/api/server/version", 200, "<html>hello</html>", content_type="text/html"),
        "problem", "WAHA", "web page", "url",
    ),
    "no WAHA API at the URL": (
        answer("/api/*", 404, {"statusCode": 404, "message": "Cannot GET /api/server/version", "error": "Not Found"}),
        "problem", "WAHA", "404", "url",
    ),
    "a WAHA without scoped keys": (
        answer("/api/server/version", 200, {"version": "2025.8.1", "engine": "GOWS"}),
        "problem", "WAHA", "2025.8.1", "2026.4",
    ),
    "a clock that is off": (
        answer("/api/server/status", 200, {"startTimestamp": (time.time() - 4000) * 1000, "uptime": 3_600_000}),
        "warning", "clock", "behind", "NTP",
    ),
    "a wrong key": (lambda s: s.write(key="key_sample_0000"), "problem", "key", "401", "waha-mcp init"),
    "an admin key": (lambda s: s.write(key=s.sandbox.admin_key), "problem", "key", "admin key", "waha-mcp init"),
    "a key that lacks an action": (
        lambda s: s.write(key=s.sandbox.keys["read"]),
        "problem", "actions", "send", "`waha-mcp apps update assistant --actions read,send`",
    ),
    "a key that allows more": (
        lambda s: s.write(key=s.sandbox.keys["full"], actions=["read"]),
        "warning", "actions", "send, app", "`waha-mcp apps update assistant --actions read`",
    ),
    "another session's name": (
        lambda s: s.write(session="work"), "problem", "session", "for session 'default'", 'set session = "default"',
    ),
    "a session that waits for its QR code": (state("SCAN_QR_CODE"), "problem", "session", "QR code", "waha-mcp init"),
    "a stopped session": (state("STOPPED"), "problem", "session", "stopped", "start the session"),
    "a failed session": (state("FAILED"), "problem", "session", "failed", "restart"),
    "recipients that are nobody": (
        lambda s: s.write(chats='[chats.send]\nallow = ["Nobody Atall"]'),
        "problem", "recipients", "Nobody Atall", "numbers",
    ),
    "another session's key": (
        lambda s: s.write(session="work", key=s.sandbox.keys["read"]),
        "problem", "session", "This key is for session 'default', and the App names 'work'",
        "or make a key for 'work' with `waha-mcp init --id assistant`",
    ),
    "the hash of a key": (
        lambda s: s.write(key="sha512:" + "0" * 128), "problem", "App", "is the hash of a key", "assistant.toml",
    ),
    "a key with a blank": (
        lambda s: s.write(key="key sample"), "problem", "App", "contains a space", "assistant.toml",
    ),
    "plain http to a public host": (
        lambda s: s.write(url="http://waha.example.com"),
        "problem", "App", "plain http would send the key unencrypted", "assistant.toml",
    ),
    "a ca_file that is gone": (
        lambda s: s.write(ca_file="gone.pem"), "problem", "App", "gone.pem cannot be read", "assistant.toml",
    ),
    "a ca_file that holds no certificate": (
        lambda s: s.write(ca_file="assistant.key"),
        "problem", "App", "assistant.key holds no certificates in PEM form", "assistant.toml",
    ),
    "a file that is no TOML": (
        on_disk(lambda s: s.definition.write_text("url = http://localhost")),
        "problem", "App", "is not valid TOML", "assistant.toml",
    ),
    "a key that was switched off": (
        switched_off, "problem", "key", "disabled (401)", "`waha-mcp apps enable assistant` if it was disabled",
    ),
    "a WAHA that fails inside": (
        answer("/api/server/version", 500, {"statusCode": 500, "message": "boom"}),
        "problem", "WAHA", "WAHA had an internal error (500)", "look at WAHA's log",
    ),
    "an unusable proxy setting": (
        lambda s: s.patch.setenv("ALL_PROXY", "telnet://127.0.0.1:9"),
        "problem", "WAHA", "proxy or certificate settings cannot be used", "correct or unset them",
    ),
    "a misspelt field": (lambda s: s.write(sesion="x"), "problem", "App", "sesion: unknown field", "waha-mcp init"),
    "an unknown toolset": (
        lambda s: s.write(toolsets=["everything"]), "problem", "App", "everything", "assistant.toml",
    ),
    "a disabled App": (
        lambda s: s.write(enabled=False), "problem", "App", "waha-mcp apps enable assistant",
        "`waha-mcp apps enable assistant`",
    ),
    "a key file that is gone": (
        on_disk(lambda s: s.definition.with_suffix(".key").unlink()),
        "problem", "App", "assistant.key", "waha-mcp init",
    ),
    "a key file that others can read": (
        on_disk(lambda s: s.definition.with_suffix(".key").chmod(0o644)), "warning", "key file", "other users",
        "chmod 600",
    ),
    "an outbox that is no folder": (
        lambda s: s.write(outbox="/nowhere/outbox"), "warning", "outbox", "/nowhere/outbox", "make the folder",
    ),
    "a client that launches what is gone": (
        lambda s: s.client({"command": "/gone/bin/waha-mcp", "args": ["serve"]}),
        "problem", "Cursor", "/gone/bin/waha-mcp", "waha-mcp install cursor",
    ),
    "a client with an App that is gone": (
        lambda s: s.client({"command": "/bin/sh", "args": ["waha-mcp", "serve", "--app", "/gone/app.toml"]}),
        "problem", "Cursor", "/gone/app.toml", "waha-mcp install cursor",
    ),
    "a client that holds the key": (
        lambda s: s.client({"command": "/bin/sh", "args": ["waha-mcp"], "env": {"WAHA_API_KEY": "key_sample_0000"}}),
        "warning", "Cursor", "holds the key", "waha-mcp init",
    ),
    "a client's broken configuration": (
        lambda s: s.client('{"mcpServers": {'), "warning", "Cursor", "not valid JSON", "mcp.json",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
async def test_the_cause_is_named_with_its_fix(case: str, setup: Setup) -> None:
    broken, expected, about, says, fix = BROKEN[case]
    done = broken(setup)
    if done is not None:
        await done
    findings = await setup.findings()
    [named] = [finding for finding in findings if finding.state != "ok"]
    assert (named.state, named.about) == (expected, about)
    assert says in named.says
    assert named.fix is not None
    assert fix in named.fix
    key = setup.definition.with_suffix(".key")
    assert not key.exists() or key.read_text() not in str(findings)


@pytest.mark.parametrize("name", CASES)
async def test_why_no_connection_comes_about_is_named_with_its_fix(name: str, setup: Setup, tmp_path: Path) -> None:
    case, place = CASES[name], Place(setup.sandbox, tmp_path, setup.patch)
    with case.open(place):
        setup.write(url=place.url, **{"ca_file": str(place.ca_file)} if place.ca_file else {})
        [named] = [finding async for finding in look(str(setup.definition)) if finding.state != "ok"]
    assert (named.state, named.about) == ("problem", "WAHA")
    assert case.cause in named.says
    assert case.step in str(named.fix)
    assert "the user" not in f"{named.says} {named.fix}"
    assert setup.sandbox.keys["read_send"] not in str(named)


async def test_the_command_names_a_certificate_and_its_fix_once(setup: Setup, tmp_path: Path) -> None:
    made = certificate("self-signed", tmp_path)
    env = {"HOME": str(setup.home), "XDG_CONFIG_HOME": str(setup.home / ".config")}
    with tls_in_front_of(setup.sandbox.url, made) as url:
        setup.write(url=url)
        done = await anyio.to_thread.run_sync(lambda: run("doctor", env=env))
        assert (done.returncode, done.stderr) == (1, "")
        [said, fix] = done.stdout.splitlines()[1:3]
        assert said.startswith(f"problem  WAHA: Connecting to WAHA at {url} failed: its certificate is self-signed")
        assert fix.startswith("         -> set the App's ca_file (--ca-file of `")
        assert "ca_file" not in said
        setup.write(url=url, ca_file=str(made.ca_file))
        done = await anyio.to_thread.run_sync(lambda: run("doctor", env=env))
    assert done.returncode == 0
    assert f"WAHA: 2026.9.2 at {url}" in done.stdout


async def test_fixes_are_true_for_an_app_outside_the_config_folder(setup: Setup, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere" / "assistant.toml"
    elsewhere.parent.mkdir()

    async def fix(**fields: Any) -> str:
        setup.write(**fields)
        setup.definition.rename(elsewhere)
        setup.definition.with_suffix(".key").rename(elsewhere.with_suffix(".key"))
        [named] = [finding async for finding in look(str(elsewhere)) if finding.state != "ok"]
        return str(named.fix)

    assert await fix(enabled=False) == f"set enabled = true in {elsewhere}"
    assert await fix(sesion="x") == f"correct {elsewhere}, or make an App with `waha-mcp init`"
    assert await fix(key="key_sample_0000") == "`waha-mcp init` makes a scoped key"
    assert (
        await fix(key=setup.sandbox.keys["read"]) == "give the key just read,send in WAHA, or leave them out of the App"
    )
    assert await fix(session="work") == (
        f"set session = \"default\" in {elsewhere}, or make a key for 'work' with `waha-mcp init`"
    )


async def test_fixes_are_true_for_an_app_of_the_environment(setup: Setup) -> None:
    async def fix(**variables: str) -> str:
        for name, value in variables.items():
            setup.patch.setenv(name, value)
        [named] = [finding async for finding in look(None) if finding.state != "ok"]
        return str(named.fix)

    setup.definition.unlink()
    assert "make an App with `waha-mcp init`" in await fix()
    assert await fix(WAHA_URL=setup.sandbox.url, WAHA_API_KEY="key_sample_0000") == "`waha-mcp init` makes a scoped key"
    assert await fix(WAHA_API_KEY=setup.sandbox.keys["read_send"], WAHA_SESSION="work") == (
        "set WAHA_SESSION=default where waha-mcp is started, or make a key for 'work' with `waha-mcp init`"
    )
    assert "WAHA_ variables" in await fix(WAHA_SESSION="default", WAHA_ACTIONS="everything")


async def test_a_variable_that_comes_before_the_file_is_the_one_to_correct(setup: Setup) -> None:
    setup.patch.setenv("WAHA_SESSION", "work")
    [named] = [finding for finding in await setup.findings() if finding.state != "ok"]
    assert str(named.fix).startswith("set WAHA_SESSION=default where waha-mcp is started")


async def test_a_noweb_session_without_a_store_is_named(setup: Setup, tmp_path: Path) -> None:
    async with running(engine="noweb") as sandbox:
        admin = Admin(sandbox)
        try:
            await admin.request("PUT", "/api/sessions/default", {"config": {"noweb": {"store": {"enabled": False}}}})
            await admin.request("POST", "/sandbox/session", {"status": "WORKING"})
        finally:
            await admin.aclose()
        setup.write(url=sandbox.url, key=sandbox.keys["read_send"])
        [named] = [finding for finding in await setup.findings() if finding.state != "ok"]
    assert (named.state, named.about) == ("problem", "store")
    assert "noweb.store.enabled" in str(named.fix)


async def test_nothing_but_looks_leave_for_waha(setup: Setup) -> None:
    await setup.admin.clear()
    await setup.findings()
    requests = await setup.admin.requests()
    assert {request["method"] for request in requests} == {"GET"}
    assert not [request for request in requests if "messages" in request["path"]]


async def test_the_command_prints_json_and_exits_with_1_on_a_problem(setup: Setup) -> None:
    # The doctor would warn about a machine where Python keeps no bytecode.
    env = {"HOME": str(setup.home), "XDG_CONFIG_HOME": str(setup.home / ".config"), "PYTHONDONTWRITEBYTECODE": ""}
    done = await anyio.to_thread.run_sync(lambda: run("doctor", "--json", env=env))
    assert done.returncode == 0
    assert {finding["state"] for finding in json.loads(done.stdout)} == {"ok"}
    setup.write(key="key_sample_0000")
    done = await anyio.to_thread.run_sync(lambda: run("doctor", env=env))
    assert done.returncode == 1
    assert done.stderr == ""
    [fix] = [line for line in done.stdout.splitlines() if line.lstrip().startswith("->")]
    assert "waha-mcp init" in fix
