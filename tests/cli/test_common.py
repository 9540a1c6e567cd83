"""Which App a command uses, and commands in messages, spelled so that they can be pasted."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.harness import run
from waha_mcp.cli.common import SANDBOX_ID
from waha_mcp.sandbox import SandboxInfo


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    return {
        "HOME": str(tmp_path),
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
        "XDG_STATE_HOME": str(tmp_path / "state"),
    }


def define(home: dict[str, str], name: str, sandbox: SandboxInfo, key: str = "read") -> None:
    folder = Path(home["XDG_CONFIG_HOME"]) / "waha-mcp"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.toml").write_text(f'url = "{sandbox.url}"\nkey = "{sandbox.keys[key]}"\n')
    (folder / f"{name}.toml").chmod(0o600)


def test_tools_and_call_take_the_only_app_and_name_the_apps_where_there_are_several(
    sandbox_process: SandboxInfo, home: dict[str, str]
) -> None:
    define(home, "observer", sandbox_process)
    assert json.loads(run("tools", "--json", env=home).stdout)["app"] == "observer"
    assert "chats" in json.loads(run("call", "list_chats", env=home).stdout)
    assert json.loads(run("log", "--last", "1", env=home).stdout)["tool"] == "list_chats"

    define(home, "second", sandbox_process)
    for command in (["tools"], ["call", "list_chats"], ["serve"], ["log"], ["install", "cursor"]):
        done = run(*command, env=home)
        assert done.returncode == 2, command
        [line] = done.stderr.splitlines()
        assert "choose one of observer, second with --app observer" in line
    assert json.loads(run("tools", "--json", "--app", "second", env=home).stdout)["app"] == "second"


def test_a_server_without_a_word_serves_the_only_app(sandbox_process: SandboxInfo, home: dict[str, str]) -> None:
    define(home, "observer", sandbox_process)
    opening = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "0"}},
    }
    done = run(env=home, stdin=json.dumps(opening) + "\n")
    assert "serverInfo" in json.loads(done.stdout.splitlines()[0])["result"]


@pytest.mark.parametrize("variable", ["WAHA_URL", "WAHA_API_KEY"])
def test_what_the_environment_says_of_an_app_is_never_mixed_into_the_only_one(
    variable: str, sandbox_process: SandboxInfo, home: dict[str, str]
) -> None:
    define(home, "observer", sandbox_process)
    values = {"WAHA_URL": sandbox_process.url, "WAHA_API_KEY": "key_sample_0000"}
    done = run("call", "list_chats", env=home | {variable: values[variable]})
    assert done.returncode != 0
    assert "observer" not in done.stdout


def test_a_url_of_a_flag_never_gets_the_key_of_the_only_app(sandbox_process: SandboxInfo, home: dict[str, str]) -> None:
    define(home, "observer", sandbox_process)
    done = run("tools", "--url", "http://127.0.0.1:9", env=home)
    assert done.returncode == 2
    assert "no key" in done.stderr


def test_the_demo_and_an_embedded_waha_leave_no_line_in_a_real_apps_trail(home: dict[str, str]) -> None:
    assert run("demo", env=home).returncode == 0
    call = {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "list_chats", "arguments": {}}}
    opening = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "0"}},
    }
    said = {"jsonrpc": "2.0", "method": "notifications/initialized"}
    stdin = "".join(json.dumps(each) + "\n" for each in (opening, said, call))
    assert run("serve", "--sandbox", env=home, stdin=stdin).returncode == 0
    trails = {path.parent.name for path in Path(home["XDG_STATE_HOME"]).rglob("trail.jsonl")}
    assert trails == {SANDBOX_ID}


@pytest.mark.parametrize(
    ("command", "meant"),
    [
        (["dotcor"], "doctor"),
        (["apps", "shwo"], "show"),
        (["install", "claude-dekstop"], "claude-desktop"),
        (["call", "list_chat"], "list_chats"),
        (["tools", "--app", "obsever"], "observer"),
        (["log", "--app", "obsever"], "observer"),
        (["pause", "obsever"], "observer"),
        (["apps", "show", "obsever"], "observer"),
    ],
    ids=" ".join,
)
def test_a_misspelt_name_is_answered_with_the_one_that_is_meant(
    command: list[str], meant: str, sandbox_process: SandboxInfo, home: dict[str, str]
) -> None:
    define(home, "observer", sandbox_process)
    done = run(*command, env=home)
    assert done.returncode == 2
    assert f"id you mean '{meant}'?" in done.stderr


def test_commands_in_texts_can_be_pasted_where_the_program_is_not_on_the_path(home: dict[str, str]) -> None:
    program = Path(sys.executable).parent / "waha-mcp"

    def said(path: str) -> str:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("WAHA_")} | home | {"PATH": path}
        command = [sys.executable, "-m", "waha_mcp", "tools"]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False).stderr

    assert f"`{shlex.quote(str(program))} demo`" in said("/usr/bin:/bin")
    assert "`waha-mcp demo`" in said(f"{program.parent}:/usr/bin:/bin")


HOSTILE = "x\x1b[2J\x1b]0;y\x07\x9b1m\u202egpj"


@pytest.mark.parametrize(
    "command",
    [["call"], ["pause"], ["install"], ["apps", "show"], ["tools", "--app"], ["doctor", "--app"], ["forget"]],
    ids=" ".join,
)
def test_no_argument_commands_the_terminal_by_way_of_an_error(
    command: list[str], sandbox_process: SandboxInfo, home: dict[str, str]
) -> None:
    define(home, "observer", sandbox_process)
    done = run(*command, HOSTILE, env=home)
    assert "[2J" in done.stdout + done.stderr
    assert not set("\x1b\x07\x9b\u202e") & set(done.stdout + done.stderr)


def test_the_trail_is_printed_as_json_that_commands_no_terminal(
    sandbox_process: SandboxInfo, home: dict[str, str]
) -> None:
    define(home, "observer", sandbox_process)
    assert run("call", "list_chats", env=home).returncode == 0
    [trail] = Path(home["XDG_STATE_HOME"]).rglob("trail.jsonl")
    line = json.loads(trail.read_text().splitlines()[-1]) | {"client": HOSTILE}
    with trail.open("a") as file:
        file.write(json.dumps(line, ensure_ascii=False) + "\n")
    said = run("log", "--last", "1", env=home).stdout
    assert not set("\x1b\x07\x9b\u202e") & set(said)
    assert json.loads(said)["client"] == HOSTILE


def test_where_there_is_no_app_the_log_says_so_and_leaves_nothing_behind(home: dict[str, str]) -> None:
    done = run("log", env=home)
    assert (done.returncode, "waha-mcp init" in done.stderr) == (1, True)
    assert not Path(home["XDG_STATE_HOME"]).exists()


def test_a_flag_for_the_session_keeps_the_only_app(sandbox_process: SandboxInfo, home: dict[str, str]) -> None:
    define(home, "observer", sandbox_process)
    assert json.loads(run("tools", "--json", "--session", "default", env=home).stdout)["app"] == "observer"


def test_an_app_is_found_by_whatever_name_its_file_has(sandbox_process: SandboxInfo, home: dict[str, str]) -> None:
    define(home, "on call", sandbox_process)
    assert "on-call" in json.loads(run("tools", "--json", "--app", "on call", env=home).stdout)["app"]


def test_a_key_or_a_password_in_the_wrong_place_of_a_definition_is_not_shown(home: dict[str, str]) -> None:
    folder = Path(home["XDG_CONFIG_HOME"]) / "waha-mcp"
    folder.mkdir(parents=True)
    (folder / "a.toml").write_text('key = {env = "key_sample_0000secret"}\n')
    (folder / "b.toml").write_text('url = "http://me:passw0rd@localhost:3000"\nkey = "key_sample_0000"\n')
    for command in (["tools", "--app", "a"], ["doctor"], ["apps", "list"], ["apps", "list", "--json"]):
        done = run(*command, env=home)
        assert "secret" not in done.stdout + done.stderr, command
        assert "passw0rd" not in done.stdout + done.stderr, command
