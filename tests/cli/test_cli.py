"""The command line as used from a shell."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from pathlib import Path

import httpx
import pytest

from tests.harness import COMMAND, environment, run
from waha_mcp import __version__
from waha_mcp.sandbox import ANSWERING_CHAT, SandboxInfo
from waha_mcp.tools.catalog import CATALOG


def names(actions: set[str | None]) -> set[str]:
    return {tool.name for tool in CATALOG.values() if tool.action in actions and tool.toolset == "core"}


@pytest.mark.parametrize(
    ("key", "actions"),
    [
        ("none", {None}),
        ("read", {None, "read"}),
        ("send", {None, "send"}),
        ("read_send", {None, "read", "send"}),
        ("full", {None, "read", "send"}),
    ],
)
def test_tools_shows_what_a_key_is_found_to_allow(
    key: str, actions: set[str | None], sandbox_process: SandboxInfo
) -> None:
    env = {"WAHA_URL": sandbox_process.url, "WAHA_API_KEY": sandbox_process.keys[key]}
    done = run("tools", "--json", env=env)
    shown = json.loads(done.stdout)
    assert {tool["name"] for tool in shown["tools"]} == names(actions)
    assert {tool["name"] for tool in shown["hidden"]} == CATALOG.keys() - names(actions)
    assert all(tool["why"] for tool in shown["hidden"])


def test_tools_in_words_says_what_is_hidden_and_why(sandbox_process: SandboxInfo) -> None:
    env = {"WAHA_URL": sandbox_process.url, "WAHA_API_KEY": sandbox_process.keys["read"]}
    done = run("tools", env=env)
    exposed, hidden = done.stdout.split("Hidden:")
    assert "list_chats" in exposed
    assert "send_text" in hidden
    assert "refused by WAHA" in hidden


def test_tools_all_lists_every_tool_without_any_app() -> None:
    done = run("tools", "--all")
    assert {line.split()[0] for line in done.stdout.splitlines()} == CATALOG.keys()


def test_call_prints_the_result_as_json(sandbox_process: SandboxInfo) -> None:
    env = {"WAHA_URL": sandbox_process.url, "WAHA_API_KEY": sandbox_process.keys["read"]}
    done = run("call", "list_chats", '{"limit": 2}', env=env)
    assert done.returncode == 0
    assert len(json.loads(done.stdout)["chats"]) == 2


@pytest.mark.parametrize("arguments", ['{"limit": 0}', '{"cursor": "x"}'])
def test_call_exits_with_1_on_a_tool_error(arguments: str, sandbox_process: SandboxInfo) -> None:
    env = {"WAHA_URL": sandbox_process.url, "WAHA_API_KEY": sandbox_process.keys["read"]}
    done = run("call", "list_chats", arguments, env=env)
    assert done.returncode == 1
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1


def test_call_of_a_hidden_tool_says_why_and_exits_with_2(sandbox_process: SandboxInfo) -> None:
    env = {"WAHA_URL": sandbox_process.url, "WAHA_API_KEY": sandbox_process.keys["read"]}
    done = run("call", "send_text", f'{{"chat": "{ANSWERING_CHAT}", "text": "x"}}', env=env)
    assert done.returncode == 2
    assert "send" in done.stderr


WRONG_USE: dict[str, tuple[list[str], dict[str, str], str]] = {
    "no key": ([], {}, "WAHA_API_KEY"),
    "a placeholder as key": ([], {"WAHA_API_KEY": "${WAHA_API_KEY}"}, "key: is a placeholder such as ${WAHA_API_KEY}"),
    "a placeholder as url": (
        ["serve"],
        {"WAHA_API_KEY": "key_0000", "WAHA_URL": "${env:WAHA_URL}"},
        "Set WAHA_URL where",
    ),
    "bad url": ([], {"WAHA_API_KEY": "key_0000", "WAHA_URL": "localhost"}, "url"),
    "url with password": ([], {"WAHA_API_KEY": "key_0000", "WAHA_URL": "http://me:pw@localhost"}, "url"),
    "unknown action": ([], {"WAHA_API_KEY": "key_0000", "WAHA_ACTIONS": "read,write"}, "write"),
    "unknown toolset": ([], {"WAHA_API_KEY": "key_0000", "WAHA_TOOLSETS": "everything"}, "core"),
    "missing file": (["--app", "nowhere.toml"], {}, "nowhere.toml"),
    "unknown app id": (["--app", "nobody"], {}, "nobody"),
    "unknown option": (["--frobnicate"], {}, "--frobnicate"),
    "unknown command": (["fly"], {}, "fly"),
    "missing key file": (["--key-file", "nowhere.key"], {}, "nowhere.key"),
    "arguments that are no JSON": (["call", "list_chats", "{limit}"], {"WAHA_API_KEY": "key_0000"}, "JSON"),
    "arguments that are no object": (["call", "list_chats", "[1]"], {"WAHA_API_KEY": "key_0000"}, "object"),
    "unreachable": (["tools"], {"WAHA_API_KEY": "key_0000", "WAHA_URL": "http://127.0.0.1:9"}, "127.0.0.1:9"),
}


@pytest.mark.parametrize("case", WRONG_USE)
def test_wrong_use_is_one_line_on_stderr_and_exit_code_2(case: str) -> None:
    arguments, env, names_what = WRONG_USE[case]
    done = run(*arguments, env=env)
    assert done.returncode == 2
    assert done.stdout == ""
    [line] = done.stderr.splitlines()
    assert names_what in line


def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    folder = tmp_path / "app.toml"
    folder.mkdir()
    done = run("--app", str(folder))
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1


def test_an_admin_key_is_refused_with_the_way_to_a_scoped_one(sandbox_process: SandboxInfo) -> None:
    done = run("tools", env={"WAHA_URL": sandbox_process.url, "WAHA_API_KEY": sandbox_process.admin_key})
    assert done.returncode == 2
    assert "MCP app" in done.stderr


def test_version_and_help_go_to_stdout() -> None:
    assert run("--version").stdout == f"waha-mcp {__version__}\n"
    assert "demo" in run("--help").stdout


def test_help_does_not_load_the_mcp_sdk() -> None:
    code = "import sys, waha_mcp.cli; sys.exit('mcp' in sys.modules or 'httpx' in sys.modules)"
    assert subprocess.run([COMMAND[0], "-c", code], check=False).returncode == 0


def test_sandbox_prints_one_line_of_json_once_it_listens_and_stops_on_sigterm() -> None:
    process = subprocess.Popen(
        [*COMMAND, "sandbox", "--port", "0", "--json"], stdout=subprocess.PIPE, text=True, env=environment()
    )
    try:
        assert process.stdout is not None
        info = json.loads(process.stdout.readline())
        assert info.keys() == {"url", "session", "admin_key", "keys"}
        assert info["keys"].keys() == {"none", "read", "send", "read_send", "full"}
        assert httpx.get(f"{info['url']}/ping", headers={"X-Api-Key": info["keys"]["none"]}).status_code == 200
        process.send_signal(signal.SIGTERM)
        assert process.communicate(timeout=10)[0] == ""
        assert process.returncode == 0
    finally:
        process.kill()


def test_sandbox_on_a_taken_port_says_so() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = run("sandbox", "--port", str(taken.getsockname()[1]))
    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert "--port" in line


def test_the_demo_does_what_it_says_and_leaves_plain_text_in_a_pipe() -> None:
    done = run("demo", env={"TERM": "xterm-256color"})
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout
    entry = json.loads(done.stdout[done.stdout.rindex('{\n  "mcpServers"') :])
    assert os.path.basename(entry["mcpServers"]["whatsapp"]["command"]).startswith("waha-mcp")
