"""What a user or an agent reads when something goes wrong: each error provoked, its exact text, and why it is true.

In the texts ~ is the home folder, PORT a port and DATE a moment.
"""

from __future__ import annotations

import io
import json
import re
import socket
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import pytest
from pydantic import SecretStr

from tests.harness import Admin, own_logging, run
from tests.policy.common import SAM, bridge_with
from tests.waha.no_connection import CASES, Place
from waha_mcp.app.definition import AppError, load_app
from waha_mcp.bridge import Bridge, UnknownTool
from waha_mcp.cli import common, main
from waha_mcp.policy import Refusal
from waha_mcp.sandbox import SandboxInfo, running
from waha_mcp.tools.catalog import ArgumentError
from waha_mcp.waha.client import Waha
from waha_mcp.waha.errors import WahaError


@dataclass
class Machine:
    """A user's machine: a home folder with App definitions, and a WAHA."""

    home: Path
    sandbox: SandboxInfo
    patch: pytest.MonkeyPatch
    capture: pytest.CaptureFixture[str]

    @property
    def config(self) -> Path:
        return self.home / ".config" / "waha-mcp"

    def write(self, name: str, text: str) -> None:
        path = self.config / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.filled(text))
        path.chmod(0o600)

    def filled(self, text: str) -> str:
        keys = dict(self.sandbox.keys) | {"url": self.sandbox.url, "admin": self.sandbox.admin_key}
        return re.sub(r"\{(url|admin|read|read_send)\}", lambda found: keys[found[1]], text)

    def plain(self, text: str) -> str:
        text = (
            text.replace(str(self.home), "~")
            .replace(str(Path(sys.executable).with_name("waha-mcp")), "waha-mcp")
            .strip()
        )
        text = re.sub(r"\(/\S*/waha-mcp/", "(~/state/waha-mcp/", text)
        text = re.sub(r"(127\.0\.0\.1:|port )\d{4,5}", r"\1PORT", text)
        return re.sub(r"\d{4}-\d\d-\d\d[T ][\d:.]+\S*|\d\d:\d\d \(UTC\S*\)", "DATE", text)


How = Callable[[Machine], str]


@dataclass(frozen=True)
class Row:
    """`how` it is caused, the exact `text`, and `why` it is true and what the reader does next."""

    how: How
    text: str
    why: str


APP = 'url = "{url}"\nkey = {file = "assistant.key"}\nsession = "default"\nactions = ["read", "send"]\n'


def files(machine: Machine, app: str | None, more: dict[str, str]) -> None:
    if app is not None:
        machine.write("assistant.toml", app)
        machine.write("assistant.key", "{read_send}")
    for name, text in more.items():
        machine.write(name, text)


def command(
    *arguments: str, app: str | None = None, env: dict[str, str] | None = None, stdin: str | None = None, **more: str
) -> How:
    """A command's line on stderr. With `stdin` it is a separate process. `more`: files of the config folder."""

    def how(machine: Machine) -> str:
        files(machine, app, {name.replace("_", "."): text for name, text in more.items()})
        words = [machine.filled(word) for word in arguments]
        variables = {name: machine.filled(value) for name, value in (env or {}).items()}
        if stdin is not None:
            home = {"HOME": str(machine.home), "XDG_CONFIG_HOME": str(machine.home / ".config")}
            done = run(*words, env={**home, **variables}, stdin=machine.filled(stdin))
            assert done.returncode in (1, 2)
            said = done.stderr.replace(f"{sys.executable} -m waha_mcp", "waha-mcp")
        else:
            for name, value in variables.items():
                machine.patch.setenv(name, value)
            machine.patch.setattr("sys.stdin", io.StringIO())
            with pytest.raises(SystemExit) as ended, own_logging():
                main(list(words))
            assert ended.value.code in (1, 2)
            said = machine.capture.readouterr().err
        assert said.startswith("waha-mcp: "), said
        return said.removeprefix("waha-mcp: ")

    return how


def definition(text: str, *, name: str = "assistant.toml", env: dict[str, str] | None = None, **more: str) -> How:
    """The error of `load_app` about a definition."""

    def how(machine: Machine) -> str:
        files(machine, APP, {name.replace("_", "."): content for name, content in more.items()})
        machine.write(name, text)
        with pytest.raises(AppError) as raised:
            Bridge(load_app(str(machine.config / name), environ=env or {}))
        return str(raised.value)

    return how


def no_connection(name: str) -> How:
    """The error of a request that does not reach WAHA."""

    def how(machine: Machine) -> str:
        async def look(place: Place) -> str:
            key = SecretStr(machine.sandbox.keys["read"])
            async with Waha(place.url, key, "default", ca_file=place.ca_file) as waha:
                with pytest.raises(WahaError) as raised:
                    await waha.call("GET /api/{session}/chats")
            return str(raised.value)

        place = Place(machine.sandbox, machine.home, machine.patch)
        with CASES[name].open(place):
            return anyio.run(look, place)

    return how


Before = Callable[[Admin, Bridge], Awaitable[Any]]


def tool(name: str, *, before: Before | None = None, key: str = "read_send", app: Any = (), **arguments: Any) -> How:
    """What an agent reads of a tool call, after `before`."""

    def how(machine: Machine) -> str:
        async def call() -> str:
            async with running(reply_after=0.05) as sandbox:
                admin = Admin(sandbox)
                async with bridge_with(sandbox, key, **dict(app)) as bridge:
                    try:
                        if before is not None:
                            await before(admin, bridge)
                        await bridge.call(name, arguments)
                    except (ArgumentError, Refusal, WahaError, UnknownTool) as error:
                        return await bridge.error(str(error))
                    finally:
                        await admin.aclose()
            raise AssertionError("it was no error")

        return anyio.run(call)

    return how


def fault(path: str, **what: Any) -> Before:
    return lambda admin, _: admin.fault(path, **{"count": 9} | what)


def wahas(path: str, status: int, message: str, **more: Any) -> Before:
    """An answer in WAHA's own words."""
    body = json.dumps({"statusCode": status, "message": message, "error": "x"})
    return fault(path, status=status, body=body, content_type="application/json", **more)


def session(status: str) -> Before:
    return lambda admin, _: admin.request("POST", "/sandbox/session", {"status": status})


async def lost_before(admin: Admin, bridge: Bridge) -> None:
    await wahas("/api/sendText", 500, "boom")(admin, bridge)
    with pytest.raises(WahaError):
        await bridge.call("send_text", {"chat": SAM, "text": "Hello"})


def busy(*arguments: str) -> How:
    """A command that should listen on a port that is taken."""

    def how(machine: Machine) -> str:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            return command(*arguments, "--port", str(taken.getsockname()[1]), app=APP, stdin="")(machine)

    return how


WRONG = {"WAHA_ADMIN_KEY": "admin_sample_0000"}
ADMIN = {"WAHA_ADMIN_KEY": "{admin}"}
INIT = ("init", "--yes", "--url", "{url}")

COMMAND_LINE: dict[str, Row] = {
    "no App at all": Row(
        command("serve", stdin=""),
        "no key: make an App with `waha-mcp init`, or give the session's scoped key: WAHA_API_KEY, or "
        'key = {env = "NAME"} or {file = "path"} in the App file (`waha-mcp demo` needs none)',
        "Nothing names a key: both ways to give one are said, and a way to look without any.",
    ),
    "a misspelt command": Row(
        command("srve"),
        "No such command 'srve'. Did you mean 'serve', 'store'? (see waha-mcp --help)",
        "typer finds the command that is meant; the help lists all.",
    ),
    "an unknown option": Row(
        command("tools", "--colour"),
        "No such option: --colour (Possible options: --url) (see waha-mcp tools --help)",
        "`tools` has no such option; the help of the command has those there are.",
    ),
    "an argument left out": Row(
        command("call"),
        "Missing argument 'tool'. (see waha-mcp call --help)",
        "`call` wants a tool's name first.",
    ),
    "a wrong value of an option": Row(
        command("tools", "--log-level", "loud"),
        "Invalid value for '--log-level': 'loud' is not one of 'debug', 'info', 'warning', 'error'. (see "
        "waha-mcp tools --help)",
        "All four values that would be right are there.",
    ),
    "arguments that are no JSON": Row(
        command("call", "list_chats", "limit=5", app=APP),
        "the arguments are not valid JSON (Expecting value: line 1 column 1 (char 0)): quote them like "
        "'{\"limit\": 5}'",
        "limit=5 is no JSON, and the example shows the quotes that a shell needs.",
    ),
    "arguments that are no object": Row(
        command("call", "list_chats", "[5]", app=APP),
        "the arguments must be a JSON object, like '{\"limit\": 5}'",
        "A list is JSON, but arguments have names; the example shows it.",
    ),
    "a misspelt tool": Row(
        command("call", "list_chat", app=APP),
        "tool 'list_chat' is not offered: there is none by that name; did you mean 'list_chats'? (see waha-mcp tools)",
        "No tool is called list_chat, one is called list_chats.",
    ),
    "a tool of another action": Row(
        command("call", "create_group", app=APP),
        "tool 'create_group' is not offered: toolset 'groups' is not chosen (see waha-mcp tools)",
        "create_group is in the toolset groups, and the App has core alone.",
    ),
    "a tool's argument left out": Row(
        command("call", "send_text", "{}", app=APP),
        "Wrong arguments for send_text. chat: required (Name, number with + or id); text: "
        "required (WhatsApp's *bold* _italic_ ~strike~ work)",
        "Both arguments that lack, with what each takes.",
    ),
    "a misspelt App": Row(
        command("tools", "--app", "asistant", app=APP),
        "no App 'asistant': it is neither a file nor an id in ~/.config/waha-mcp (which has assistant); did "
        "you mean 'assistant'?",
        "The folder is named, the Apps in it, and the one that is meant.",
    ),
    "several Apps": Row(
        command("tools", app=APP, second_toml=APP),
        "there are several Apps in ~/.config/waha-mcp: choose one of assistant, second with --app assistant",
        "Two Apps are there and none is named; the option can be pasted.",
    ),
    "a disabled App": Row(
        command("serve", "--app", "assistant", app=f"enabled = false\n{APP}", stdin=""),
        "App 'assistant' is disabled: enable it with `waha-mcp apps enable assistant`",
        "The file says enabled = false; the command switches it on, here and in WAHA.",
    ),
    "tools of a wrong key": Row(
        command("tools", "--app", "assistant", app=APP, assistant_key="key_sample_0000"),
        "WAHA does not accept this key (401): it is wrong, or its App was disabled in WAHA. Run "
        "`waha-mcp doctor`, which names the fix.",
        "WAHA's 401 does not say which of the two it is; doctor tells the fix for this App.",
    ),
    "tools of an admin key": Row(
        command("tools", app=APP, assistant_key="{admin}"),
        "This is an admin key (or WAHA runs without keys), which would put no limit on the agent. Make a "
        "scoped one: with `waha-mcp init`, or as an MCP app of the session in WAHA's dashboard. Or set "
        "allow_admin_key = true in the App.",
        "It is the admin's, which only allow_admin_key takes; both ways to a scoped one are there.",
    ),
    "a call with another session's key": Row(
        command("call", "list_chats", app=APP.replace('"default"', '"work"')),
        "This key is for session 'default', and the App names 'work': set the App's session to 'default'.",
        "WAHA lists this key only 'default', so that is the session it is for.",
    ),
    "WAHA is not there": Row(
        command("call", "list_chats", app=APP.replace("{url}", "http://127.0.0.1:9")),
        "Connecting to WAHA at http://127.0.0.1:9 was refused: nothing listens there, so the request was not "
        "sent. Start WAHA or correct the App's url.",
        "Port 9 is closed; WAHA is down, or the url wrong.",
    ),
    "an App that is none": Row(
        command("apps", "show", "assistent", app=APP),
        "no App 'assistent' in ~/.config/waha-mcp (available: assistant); did you mean 'assistant'?",
        "apps takes ids of the config folder; the App that is meant is named.",
    ),
    "no admin key": Row(
        command("apps", "update", "assistant", "--actions", "read", app=APP),
        "no admin key: set WAHA_ADMIN_KEY, or name a file that holds it with --admin-key-file",
        "Nobody can be asked here, so both other ways to give it are named.",
    ),
    "no file with the admin key": Row(
        command("apps", "disable", "assistant", "--admin-key-file", "/gone", app=APP),
        "cannot read the admin key from /gone: No such file or directory",
        "The path that was given, and the system's reason.",
    ),
    "a wrong admin key": Row(
        command("apps", "disable", "assistant", app=APP, env=WRONG),
        "WAHA does not accept this admin key (401): it is WAHA_API_KEY of WAHA's own environment or, where "
        "that is a sha512:... hash, the key that it was made from",
        "What the admin key is and where it stands, also where WAHA has only its hash.",
    ),
    "a scoped key as the admin's": Row(
        command("apps", "disable", "assistant", app=APP, env={"WAHA_ADMIN_KEY": "{read}"}),
        "this is a session's scoped key, not the admin's: only the admin key can create MCP apps",
        "WAHA knows this key as a session's; the admin's own is needed.",
    ),
    "an unknown action": Row(
        command("apps", "update", "assistant", "--actions", "read,fly", app=APP, env=ADMIN),
        "unknown action 'fly': the actions are read, send, control, setting, app, delete",
        "The one that is unknown, and all that there are; none is near enough to be meant.",
    ),
    "a choice of init for an update": Row(
        command("apps", "update", "assistant", "--actions", "careful", app=APP, env=ADMIN),
        "unknown action 'careful': the actions are read, send, control, setting, app, delete",
        "Its limits are not among what an update changes, so it may not seem to be in force.",
    ),
    "a new key for a disabled App": Row(
        command("apps", "rotate", "assistant", app=f"enabled = false\n{APP}", env=ADMIN),
        "App 'assistant' is disabled, so no key of it works: waha-mcp apps enable assistant",
        "A new key would be off, too; enabling comes first.",
    ),
    "init without an admin key": Row(
        command(*INIT),
        "no admin key: set WAHA_ADMIN_KEY, or name a file that holds it with --admin-key-file",
        "The same of init --yes, which asks nothing.",
    ),
    "init with a URL without a scheme": Row(
        command("init", "--yes", "--url", "localhost:3000"),
        "url: 'localhost:3000' has no scheme: write http://localhost:3000, or https:// if WAHA has a certificate",
        "localhost:3000 lacks http://; the URL to write is there.",
    ),
    "init with nothing at the URL": Row(
        command("init", "--yes", "--url", "http://127.0.0.1:9"),
        "Connecting to WAHA at http://127.0.0.1:9 was refused: nothing listens there, so the request was not "
        "sent. Start WAHA or correct the App's url.",
        "Before any key is asked for, nothing answers at the URL.",
    ),
    "init with http to a public host": Row(
        command("init", "--yes", "--url", "http://waha.example.com"),
        "url: plain http would send the key unencrypted to waha.example.com; use https://, or set "
        "allow_insecure_http = true (--allow-insecure-http of `waha-mcp init`) if the way there is safe",
        "A public name, and no flag that allows it; https or the flag is next.",
    ),
    "init with an unknown action": Row(
        command(*INIT, "--actions", "reed", env=ADMIN),
        "unknown action 'reed': the actions are read, send, control, setting, app, delete (or one of "
        "assistant, careful, read, notify, reply); did you mean 'read'?",
        "'reed' is neither action nor profile; 'read' is meant.",
    ),
    "init with an unknown session": Row(
        command(*INIT, "--session", "work", env=ADMIN),
        "no session 'work' (available: default)",
        "WAHA has one session, and it is called otherwise.",
    ),
    "init with an id that is none": Row(
        command(*INIT, "--id", "a b", env=ADMIN),
        "'a b' is not an id: use letters, digits, - and _, a letter or digit first, at most 60",
        "An id has no blank; the characters that it may have are named.",
    ),
    "init that would write to nobody": Row(
        command(*INIT, "--actions", "notify", env=ADMIN),
        "name whom it may write to (--send-to): numbers, or * for everyone",
        "notify writes, so a list of whom is wanted, by a flag that is named.",
    ),
    "init with a client that is none": Row(
        command(*INIT, "--install", "cursr", env=ADMIN),
        "unknown host 'cursr': the hosts are claude-desktop, claude-code, goose, cursor, vscode, windsurf, zed, "
        "openclaw, gemini-cli, qwen-code, copilot-cli, lm-studio, opencode, codex; did you mean 'cursor'?",
        "All clients there are, and the one that is meant.",
    ),
    "init with a ca_file that is none": Row(
        command(*INIT, "--ca-file", "/gone.pem", env=ADMIN),
        "ca_file: /gone.pem cannot be read (No such file or directory)",
        "The file that was given, and the system's reason.",
    ),
    "install for an unknown client": Row(
        command("install", "cursr", app=APP),
        "unknown host 'cursr': the hosts are claude-desktop, claude-code, goose, cursor, vscode, windsurf, zed, "
        "openclaw, gemini-cli, qwen-code, copilot-cli, lm-studio, opencode, codex; did you mean 'cursor'?",
        "The same list as in init.",
    ),
    "install with a setting that is none": Row(
        command("install", "cursor", "--with", "fast", app=APP),
        "Cursor has no setting 'fast' (available: none)",
        "Cursor has no setting to offer, so --with must be left out.",
    ),
    "a log without a trail": Row(
        command("log", app=APP),
        "App 'assistant' has no trail yet (~/state/waha-mcp/assistant/trail.jsonl)",
        "The App has made no call yet; the file that will hold them is named.",
    ),
    "approving what does not wait": Row(
        command("approve", "abcd", app=APP),
        "nothing waits for approval under 'abcd' (see waha-mcp approvals)",
        "No question has that id; the list of those that wait is one command away.",
    ),
    "forgetting nothing": Row(
        command("forget", app=APP),
        "name the chats to forget, or --all",
        "Which chats is not said, and all are only forgotten by an explicit flag.",
    ),
    "a sandbox on a port that is taken": Row(
        busy("sandbox"),
        "cannot listen on 127.0.0.1 port PORT: Address already in use; choose another with --port",
        "Another program listens there; the sandbox takes another port.",
    ),
    "the console on a port that is taken": Row(
        busy("console"),
        "cannot serve on port PORT: Address already in use; choose another with --port",
        "Another program listens there; the page takes another port.",
    ),
}

DEFINITIONS: dict[str, Row] = {
    "no TOML": Row(
        definition("url = http://localhost:3000"),
        "the App file ~/.config/waha-mcp/assistant.toml is not valid TOML: Invalid value (at line 1, column 7)",
        "The value of url lacks its quotes, at just that column.",
    ),
    "a misspelt field": Row(
        definition(f"sesion = 'x'\n{APP}"),
        "~/.config/waha-mcp/assistant.toml: sesion: unknown field; did you mean 'session'?",
        "The file, the field that is unknown, and the one that is meant.",
    ),
    "a URL with another scheme": Row(
        definition(APP.replace("{url}", "ftp://waha")),
        "~/.config/waha-mcp/assistant.toml: url: must be an http:// or https:// URL such as http://localhost:3000",
        "ftp is no way to WAHA; WAHA's usual URL is the example.",
    ),
    "a URL with a query": Row(
        definition(APP.replace("{url}", "http://localhost:3000/?key=1")),
        "~/.config/waha-mcp/assistant.toml: url: must end at the host or a path prefix, without ? or #",
        "Paths are appended to the URL, so nothing may follow its path. The query is not quoted.",
    ),
    "http to a public host": Row(
        definition(APP.replace("{url}", "http://waha.example.com")),
        "~/.config/waha-mcp/assistant.toml: url: plain http would send the key unencrypted to "
        "waha.example.com; use https://, or set allow_insecure_http = true (--allow-insecure-http of "
        "`waha-mcp init`) if the way there is safe",
        "The file, the host, and both ways out.",
    ),
    "no key": Row(
        definition('url = "{url}"'),
        "no key: make an App with `waha-mcp init`, or give the session's scoped key: WAHA_API_KEY, or "
        'key = {env = "NAME"} or {file = "path"} in the App file (`waha-mcp demo` needs none)',
        "The file has none and neither has the environment; the forms of it are there.",
    ),
    "the hash of a key": Row(
        definition(APP, assistant_key=f"sha512:{'0' * 128}"),
        "~/.config/waha-mcp/assistant.toml: key: is the hash of a key, as WAHA's environment may have it; "
        "give the key itself",
        "WAHA compares with the hash; what it takes is the key that was hashed.",
    ),
    "an empty key file": Row(
        definition(APP, assistant_key=" "),
        "~/.config/waha-mcp/assistant.toml: key: is empty",
        "The key's file has blanks alone; the key belongs there.",
    ),
    "two keys in a key file": Row(
        definition(APP, assistant_key="{read} {read_send}"),
        "~/.config/waha-mcp/assistant.toml: key: contains a space or a character that no WAHA key has",
        "A key has no blank within; the file is not quoted.",
    ),
    "a key file that is gone": Row(
        definition(APP.replace("assistant.key", "gone.key")),
        "key: cannot read ~/.config/waha-mcp/gone.key: No such file or directory",
        "The path as it was resolved, beside the definition.",
    ),
    "a variable that is not set": Row(
        definition('key = {env = "WAHA_KEY_TWO"}'),
        "key: the environment variable WAHA_KEY_TWO is not set",
        "The name of the variable that the definition asks for.",
    ),
    "a key of another form": Row(
        definition("key = {path = 'x'}"),
        'key: must be text, {env = "NAME"}, {file = "path"} or {keyring = "name"}',
        "All four forms that a definition takes.",
    ),
    "a placeholder": Row(
        definition(APP, env={"WAHA_API_KEY": "${input:waha_key}"}),
        "key: is a placeholder such as ${WAHA_API_KEY} and not the value: the program that starts waha-mcp "
        "did not fill it in. Set WAHA_API_KEY where that program is started, or write the value itself",
        "The client passed ${input:...} on as it stands; where to set it is said. The value is not quoted.",
    ),
    "an unknown action of the App": Row(
        definition(APP.replace("send", "sent")),
        "~/.config/waha-mcp/assistant.toml: actions: unknown action 'sent': the actions are read, send, "
        "control, setting, app, delete",
        "'sent' is no action; all of them are listed.",
    ),
    "an unknown toolset": Row(
        definition(f'toolsets = ["everything"]\n{APP}'),
        "unknown toolset 'everything': the toolsets are all, apps, calls, channels, contacts, core, destructive, "
        "groups, groups_admin, labels, messages, presence, profile, session, settings, status",
        "All toolsets are listed; the name is in the definition as quoted.",
    ),
    "an unknown tool": Row(
        definition(f'include = ["send_txt"]\n{APP}'),
        "unknown tool in include 'send_txt': there is none by that name; did you mean 'send_text'?",
        "There is no such tool; the one that is meant is named, instead of a hundred.",
    ),
    "a time zone that is none": Row(
        definition(f'timezone = "Berlin"\n{APP}'),
        "~/.config/waha-mcp/assistant.toml: timezone: must be the IANA name of a time zone, such as Europe/Berlin",
        "Berlin alone is no IANA name; the example is the one that is meant.",
    ),
    "a ca_file that is gone": Row(
        definition(f'ca_file = "gone.pem"\n{APP}'),
        "~/.config/waha-mcp/assistant.toml: ca_file: ~/.config/waha-mcp/gone.pem cannot be read (No such "
        "file or directory)",
        "A certificate file that is not there, by the path as it was resolved.",
    ),
    "a ca_file without a certificate": Row(
        definition(f'ca_file = "assistant.key"\n{APP}'),
        "~/.config/waha-mcp/assistant.toml: ca_file: ~/.config/waha-mcp/assistant.key holds no certificates "
        "in PEM form",
        "The file is there, but holds a key; PEM is what is wanted.",
    ),
    "WAHA's JSON of another app": Row(
        definition('{"app": "chatwoot"}', name="assistant.json"),
        'the App file ~/.config/waha-mcp/assistant.json is not a WAHA MCP App: "app" must be "mcp"',
        "It is Chatwoot's app; only that of WAHA's MCP app can be used.",
    ),
    "WAHA's JSON without its config": Row(
        definition('{"app": "mcp"}', name="assistant.json"),
        'the App file ~/.config/waha-mcp/assistant.json has no "config" object with "actions" and "key"',
        "Without config there are neither actions nor key.",
    ),
}

_CONNECTIONS: dict[str, tuple[str, str]] = {
    "a self-signed certificate": (
        "Connecting to WAHA at https://127.0.0.1:PORT failed: its certificate is self-signed, so the request "
        "was not sent. Ask the user to set the App's ca_file (--ca-file of `waha-mcp init`) to a file with "
        "that certificate (PEM).",
        "It is its own issuer: with itself as ca_file it is good.",
    ),
    "an unknown authority": (
        "Connecting to WAHA at https://127.0.0.1:PORT failed: its certificate is signed by an authority that "
        "this machine does not trust, so the request was not sent. Ask the user to set the App's ca_file "
        "(--ca-file of `waha-mcp init`) to a file with the authority's certificate (PEM).",
        "Its issuer is in no store here: with the issuer as ca_file it is good.",
    ),
    "a ca_file of something else": (
        "Connecting to WAHA at https://127.0.0.1:PORT failed: its certificate is not trusted by the "
        "App's ca_file, so the request was not sent. Ask the user to put the certificate of WAHA or of "
        "its authority (PEM) there.",
        "The ca_file holds another certificate: putting the right one there is all.",
    ),
    "a self-signed certificate, and a ca_file of something else": (
        "Connecting to WAHA at https://127.0.0.1:PORT failed: its certificate is not trusted by the "
        "App's ca_file, so the request was not sent. Ask the user to put the certificate of WAHA or of "
        "its authority (PEM) there.",
        "OpenSSL says self-signed, but a ca_file is there already: it is the wrong one.",
    ),
    "an expired certificate": (
        "Connecting to WAHA at https://127.0.0.1:PORT failed: its certificate has expired, so the request "
        "was not sent. Ask the user to renew it, or correct this machine's clock.",
        "Its time is over by this clock; no ca_file helps, so none is named.",
    ),
    "a certificate that is not valid yet": (
        "Connecting to WAHA at https://127.0.0.1:PORT failed: its certificate is not valid yet, so the "
        "request was not sent. Ask the user to correct this machine's clock.",
        "Its time begins in a year by this clock, which is most often what is wrong.",
    ),
    "a certificate of another host": (
        "Connecting to WAHA at https://127.0.0.1:PORT failed: its certificate is not valid for 127.0.0.1, "
        "only for waha.invalid, so the request was not sent. Ask the user to correct the host in the App's url to one "
        "that it is valid for.",
        "It is signed well, but for waha.invalid, as a second handshake shows.",
    ),
    "a client certificate wanted": (
        "Connecting to WAHA at https://127.0.0.1:PORT failed: the server refuses the TLS handshake, most "
        "often because it requires a client certificate. Ask the user to set the App's url to an address of "
        "WAHA that needs none: waha-mcp has none.",
        "TLS 1.3 refuses after the handshake, with a code of its own.",
    ),
    "a client certificate wanted in the handshake": (
        "Connecting to WAHA at https://127.0.0.1:PORT failed: the server refuses the TLS handshake, most "
        "often because it requires a client certificate, so the request was not sent. Ask the user to set "
        "the App's url to an address of WAHA that needs none: waha-mcp has none.",
        "TLS 1.2 only says that the handshake failed: hence most often.",
    ),
    "https to an http port": (
        "Connecting to WAHA at https://127.0.0.1:PORT failed: what listens there does not speak TLS, so the "
        "request was not sent. Ask the user to set the App's url to http://, or correct its port if WAHA has "
        "https on another.",
        "The answer to TLS was plain HTTP: the other scheme is right.",
    ),
    "http to an https port that closes": (
        "What listens at http://127.0.0.1:PORT speaks https. Ask the user to set the App's url to https://.",
        "It closed without a word, and then answered a handshake.",
    ),
    "http to nginx's https port": (
        "What listens at WAHA's URL speaks https: ask the user to set the App's url to https://.",
        "nginx says so in its page.",
    ),
    "nginx that wants a client certificate": (
        "What listens at WAHA's URL requires a client certificate, and waha-mcp has none: ask the user "
        "to set the App's url to an address of WAHA that needs none.",
        "nginx says so in its page, after a good handshake.",
    ),
    "closed in the handshake": (
        "Connecting to WAHA at https://127.0.0.1:PORT failed: the connection was closed in the TLS "
        "handshake, so the request was not sent. Ask the user to correct the App's url (its port may not be "
        "an https port), or look at what runs there.",
        "The connection came about, TLS did not: something else may listen there.",
    ),
    "silent in the handshake": (
        "Connecting to WAHA at https://127.0.0.1:PORT timed out: nothing answers there, so the request was "
        "not sent. Ask the user to check that WAHA's machine is on and no firewall blocks it, or correct the "
        "App's url.",
        "It takes the connection and says nothing; whether machine, firewall or port, the time ran out.",
    ),
    "no answer to the connection": (
        "Connecting to WAHA at https://192.0.2.1:3000 timed out: nothing answers there, so the request was "
        "not sent. Ask the user to check that WAHA's machine is on and no firewall blocks it, or correct the "
        "App's url.",
        "Not even the connection came about in time.",
    ),
    "a name that is none": (
        "Connecting to WAHA at https://waha.invalid failed: there is no host named waha.invalid, so "
        "the request was not sent. Ask the user to correct the App's url.",
        "The look-up says that there is no such name, so trying again is no use.",
    ),
    "a name that cannot be looked up": (
        "Connecting to WAHA at https://waha.invalid failed: the name waha.invalid cannot be looked up now "
        "(DNS), so the request was not sent. Ask the user to look at this machine's network.",
        "The look-up itself failed, which says nothing of the name.",
    ),
    "nothing listens": (
        "Connecting to WAHA at http://127.0.0.1:PORT was refused: nothing listens there, so the request was "
        "not sent. Ask the user to start WAHA or correct the App's url.",
        "The machine answers, the port does not.",
    ),
    "no way there": (
        "Connecting to WAHA at https://192.0.2.1:3000 failed: there is no route to that address, so "
        "the request was not sent. Ask the user to look at this machine's network, or correct the App's url.",
        "The system knows no route to the address.",
    ),
    "a proxy that refuses": (
        "Connecting to WAHA at https://waha.example:3000 failed: the proxy that the environment names "
        "refuses it (403), so the request was not sent. Ask the user to correct HTTP_PROXY, HTTPS_PROXY or "
        "ALL_PROXY where waha-mcp is started, or set NO_PROXY=waha.example there.",
        "The proxy answered CONNECT with 403; its variables are named, and what to set can be pasted.",
    ),
    "a proxy that is away": (
        "Connecting to WAHA at https://waha.example:3000 failed: the proxy that the environment names, "
        "127.0.0.1:PORT, cannot be reached, so the request was not sent. Ask the user to correct HTTP_PROXY, "
        "HTTPS_PROXY or ALL_PROXY where waha-mcp is started, or set NO_PROXY=waha.example there.",
        "It is the proxy's address that cannot be reached, not WAHA's.",
    ),
    "a login page by a redirect": (
        "WAHA's URL redirects to https on login.example: ask the user to set the App's url to WAHA itself.",
        "The host of the login page, without its query.",
    ),
    "https to a port of something else": (
        "Connecting to WAHA at https://127.0.0.1:PORT failed: what listens there does not speak TLS, so the request "
        "was not sent. Ask the user to set the App's url to http://, or correct its port if WAHA has https on another.",
        "An SSH server answers the TLS greeting with its own; either http is meant or another port.",
    ),
    "http to an https port that answers in TLS": (
        "What listens at http://127.0.0.1:PORT speaks https. Ask the user to set the App's url to https://.",
        "A TLS alert answers a handshake of ours, so TLS is what is spoken there.",
    ),
    "http to a port of something else": (
        "What listens at http://127.0.0.1:PORT closes the connection without an HTTP answer. Ask the user to "
        "check whether WAHA runs there, or correct the App's url.",
        "It speaks neither HTTP nor TLS: nothing more is known, so both ways on are said.",
    ),
    "http to Apache's https port": (
        "What listens at WAHA's URL speaks https: ask the user to set the App's url to https://.",
        "Apache says so in its page of error 400.",
    ),
    "http to Go's https port": (
        "What listens at WAHA's URL speaks https: ask the user to set the App's url to https://.",
        "Servers in Go, such as Caddy, say so in their text of error 400.",
    ),
    "http to Tomcat's https port": (
        "What listens at WAHA's URL speaks https: ask the user to set the App's url to https://.",
        "Tomcat says so in its text of error 400.",
    ),
    "a proxy that wants a password": (
        "Connecting to WAHA at https://waha.example:3000 failed: the proxy that the environment names refuses it "
        "(407), so the request was not sent. Ask the user to correct HTTP_PROXY, HTTPS_PROXY or ALL_PROXY where "
        "waha-mcp is started, or set NO_PROXY=waha.example there.",
        "407 is the proxy's own answer to CONNECT; the password belongs into the variable.",
    ),
    "Cloudflare without WAHA behind it": (
        "The proxy in front of WAHA answered 521, as it got no usable answer from WAHA: ask the user to start WAHA or "
        "look at the proxy.",
        "520 to 530 are Cloudflare's own, for a server behind it that is down or not reached.",
    ),
    "a login page": (
        "A web page came back where WAHA's API should be: ask the user to check the App's url (a reverse "
        "proxy or a login page may stand in front).",
        "HTML came, with 200; WAHA's API never sends any.",
    ),
    "a proxy without WAHA behind it": (
        "The proxy in front of WAHA answered 502, as it got no usable answer from WAHA: ask the user to start WAHA or "
        "look at the proxy.",
        "502 is the proxy's word on what is behind it.",
    ),
    "another program's 404": (
        "Something in front of WAHA, and not WAHA itself, answered 404: ask the user to check the App's url "
        "(a reverse proxy or a login page may stand in front).",
        "JSON, but not in the format of WAHA's errors.",
    ),
}
CONNECTIONS = {name: Row(no_connection(name), text, why) for name, (text, why) in _CONNECTIONS.items()}

CHATS = "/api/default/chats"
TOOLS: dict[str, Row] = {
    "a name that is nobody's": Row(
        tool("send_text", chat="Nobody Atall", text="Hello"),
        "chat: 'Nobody Atall' is nobody's name here, and nothing was done: give a phone number with country "
        "code ('+1 202 555 0123') or a chat id ('12025550123@c.us', '120363000000000000@g.us'), or search "
        "with find_chats",
        "No contact, chat or group has it; what works without a name is shown.",
    ),
    "an argument of another name": Row(
        tool("send_text", to=SAM, text="Hello"),
        "Wrong arguments for send_text. chat: required (Name, number with + or id); to: unknown "
        "property (did you mean chat?); send_text takes chat (required), text (required), reply_to, "
        "mentions, link_preview, wait_for_reply, allow_repeat",
        "`to` is what other tools call it; `chat` is meant, and all names are listed.",
    ),
    "an argument of another name with an id that no answer gave": Row(
        tool("react", messageId="m799086624", emoji="👍"),
        "Wrong arguments for react. message_id: required (Id of a message); messageId: unknown property (did you "
        "mean message_id?); react takes message_id (required), emoji (required). "
        "message_id: m799086624 was not given by any answer to this App; take the id from get_messages or "
        "search_messages again",
        "Both that the argument is called `message_id` and that its value is no message here.",
    ),
    "a cursor that no answer gave": Row(
        tool("get_messages", chat=SAM, cursor="c799086624"),
        "cursor: c799086624 was not given by any answer to this App; pass the one that the last page gave, or ask for "
        "the first page again, without a cursor",
        "A misread cursor is mended without beginning again.",
    ),
    "an empty text": Row(
        tool("send_text", chat=SAM, text=""),
        "Wrong arguments for send_text. text: must not be blank (WhatsApp's *bold* _italic_ ~strike~ work)",
        "A message needs text; a blank one never reaches WAHA.",
    ),
    "a limit that is none": Row(
        tool("list_chats", limit=0),
        "Wrong arguments for list_chats. limit: should be greater than or equal to 1",
        "Zero rows cannot be asked for.",
    ),
    "a moment that is none": Row(
        tool("get_messages", chat=SAM, since="soonish"),
        "Wrong arguments for get_messages. since: must be a date, a time, today, yesterday, monday, or how "
        "long ago, such as 30m, 12h, 7d, 2 weeks ago",
        "'soonish' is no time; every form that works is listed.",
    ),
    "a chat that may not be written to": Row(
        tool("send_text", app={"chats": {"send": {"allow": ["+12025550199"]}}}, chat=SAM, text="Hello"),
        "This App may not write to 12025550123@c.us: the user's list of recipients does not allow it, and "
        "only the user can change that list ([chats] in the App file). Nothing was done; do not look for a "
        "way around.",
        "Sam is not on the list, which only the user may change.",
    ),
    "again what may have happened": Row(
        tool("send_text", before=lost_before, chat=SAM, text="Hello"),
        "The same was asked for at DATE, and its outcome is unknown: it may have gone out, or still may, "
        "so it is not done again. Check whether it shows in the chat. Only the user can accept the risk that it "
        "arrives twice: with allow_repeat=true they are asked.",
        "The first try ended unknown, so that a second could be a repeat; the flag leads to a question.",
    ),
    "a file without an outbox": Row(
        tool("send_media", chat=SAM, path="a.png"),
        "path: this App has no outbox folder, so no local file can be sent; use url or data",
        "The App names no folder to send from; two other ways are named.",
    ),
    "a message that is none": Row(
        tool("get_message", chat=SAM, message_id="m799086624"),
        "message_id: m799086624 was not given by any answer to this App; take the id from get_messages or "
        "search_messages again",
        "The reference is made up; where true ones come from is said.",
    ),
    "a session that is stopped": Row(
        tool("list_chats", before=session("STOPPED")),
        "Session 'default' is stopped: ask the user to start it in WAHA's dashboard.",
        "The sandbox stopped it; the App cannot start it, so the user must.",
    ),
    "a session that waits for its code": Row(
        tool("get_unread", before=session("SCAN_QR_CODE")),
        "Session 'default' is waiting for its QR code to be scanned: ask the user to scan it in WAHA's "
        "dashboard with WhatsApp's 'Linked devices'.",
        "It is not paired; where the code is and with what it is scanned.",
    ),
    "a key that WAHA no longer takes": Row(
        tool("list_chats", before=wahas(CHATS, 401, "Unauthorized")),
        "WAHA does not accept this key (401): it is wrong, or its App was disabled in WAHA. Ask the user "
        "to run `waha-mcp doctor`, which names the fix.",
        "WAHA's 401; only the user can look further, by a command that can be pasted.",
    ),
    "an action that WAHA refuses": Row(
        tool("list_chats", before=wahas(CHATS, 403, "Forbidden")),
        "WAHA does not let this key do that (403): the action is not granted to it, or the key belongs to "
        "another session. Do not retry; ask the user to check the key.",
        "WAHA's 403 is the same for both reasons, so both are named.",
    ),
    "too many requests": Row(
        tool("list_chats", before=wahas(CHATS, 429, "slow down", headers={"Retry-After": "30"})),
        "Too many requests to WAHA (429). Try again in 30 s.",
        "The number is WAHA's Retry-After.",
    ),
    "a failure inside WAHA": Row(
        tool("list_chats", before=wahas(CHATS, 500, "boom")),
        "WAHA had an internal error (500). Check the arguments; if they are right, try once more later, or ask the "
        "user to look at WAHA's log.",
        "WAHA answers 500 for wrong ids, too: arguments first, the log next.",
    ),
    "a change that failed inside WAHA": Row(
        tool("send_text", before=wahas("/api/sendText", 500, "boom"), chat=SAM, text="Hello"),
        "The request may have reached WAHA, but it failed with an internal error (500), so its outcome is unknown: it "
        "may or may not have happened. Do not repeat it blindly: check first whether it happened, or ask the "
        "user. (It could not be found so far, which proves nothing.)",
        "500 may come after the message went out; nothing claims that it did not.",
    ),
    "a change that WAHA refuses": Row(
        tool("send_text", before=wahas("/api/sendText", 400, "chatId is wrong"), chat=SAM, text="Hello"),
        "WAHA refused the request (400): chatId is wrong.",
        "WAHA's own 400 with its reason: nothing was sent.",
    ),
    "an engine that cannot": Row(
        tool("list_chats", before=wahas(CHATS, 501, "not implemented by the 'NOWEB' engine")),
        "Session 'default' runs on the NOWEB engine, which cannot do this (501). Do it another way, or tell "
        "the user that this WAHA engine lacks it.",
        "The engine is the one that WAHA names.",
    ),
    "a session without a store": Row(
        tool("list_chats", before=wahas(CHATS, 400, "Enable NOWEB store")),
        "Session 'default' keeps no store, so it has no chats, messages or contacts to read. Ask the user to "
        "enable the NOWEB store in the session's configuration.",
        "WAHA's 400 names the store, without which there is nothing to read.",
    ),
    "half an answer": Row(
        tool("list_chats", before=fault(CHATS, malformed=True)),
        "WAHA's answer is not valid JSON; it may have been cut off. Try again.",
        "The JSON ends in the middle; a look can be tried again.",
    ),
}

ROWS = COMMAND_LINE | DEFINITIONS | CONNECTIONS | TOOLS


@pytest.fixture
def machine(
    sandbox_process: SandboxInfo,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Machine:
    for name in ("WAHA_URL", "WAHA_API_KEY", "WAHA_MCP_APP", "WAHA_SESSION", "WAHA_ACTIONS", "WAHA_ADMIN_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / ".config"))
    monkeypatch.setattr("random.uniform", lambda *_: 0.0)
    monkeypatch.setattr(common, "_program", lambda: "waha-mcp")
    return Machine(tmp_path, sandbox_process, monkeypatch, capsys)


def test_the_table_has_an_error_of_every_kind_once() -> None:
    parts = (COMMAND_LINE, DEFINITIONS, CONNECTIONS, TOOLS)
    assert len(ROWS) == sum(map(len, parts)) >= 60
    assert CONNECTIONS.keys() == CASES.keys()
    assert len({row.why for row in ROWS.values()}) == len(ROWS)


@pytest.mark.parametrize("name", ROWS)
def test_an_error_says_what_is_wrong_and_what_would_be_right(name: str, machine: Machine) -> None:
    row = ROWS[name]
    said = row.how(machine)
    text = machine.plain(said)
    assert text == row.text
    assert 0 < len(text) <= 400
    assert "\n" not in text
    assert "Traceback" not in text
    for secret in (*machine.sandbox.keys.values(), machine.sandbox.admin_key, "sample_0000"):
        assert secret not in said
