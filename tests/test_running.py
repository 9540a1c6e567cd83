"""The commands of docs/running.md work, and the folders it names are the code's."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import platformdirs
import pytest
from mcp import Client, StdioServerParameters
from platformdirs.macos import MacOS
from platformdirs.unix import Unix
from platformdirs.windows import Windows

from tests.harness import environment
from waha_mcp.hosts.installation import backup_of
from waha_mcp.places import config_dir, state_root
from waha_mcp.sandbox import SandboxInfo
from waha_mcp.store.folders import state_dir, user_store

ROOT = Path(__file__).parent.parent
DOCUMENT = (ROOT / "docs" / "running.md").read_text(encoding="utf-8")

#: A stand-in for ssh that behaves like sshd: the words after the host become one line for a shell, which has a short
#: PATH and none of the client's environment. It fails if an option other than the documented ones is given.
SSH = """#!/bin/sh
[ "$1 $2 $3 $4" = "-T -o BatchMode=yes me@server.example" ] || exit 255
shift 4
exec env -i HOME={home} PATH=/usr/bin:/bin sh -c "$*"
"""
#: `waha-mcp` as installed.
COMMAND = """#!/bin/sh
PYTHONPATH={root} exec {python} -m waha_mcp "$@"
"""


def executable(path: Path, text: str, **values: str | Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text.format(**{name: shlex.quote(str(value)) for name, value in values.items()}))
    path.chmod(0o755)
    return path


@pytest.fixture
def home(tmp_path: Path, sandbox_process: SandboxInfo) -> Path:
    """A user's home with the App `assistant`, as `waha-mcp init` makes it without a keyring."""
    home = tmp_path / "home"
    executable(home / ".local/bin/waha-mcp", COMMAND, root=ROOT, python=sys.executable)
    folder = home / ".config/waha-mcp"
    folder.mkdir(parents=True)
    (folder / "assistant.key").write_text(sandbox_process.keys["read_send"])
    (folder / "assistant.key").chmod(0o600)
    (folder / "assistant.toml").write_text(
        f'url = "{sandbox_process.url}"\nkey = {{ file = "assistant.key" }}\n'
        f'session = "{sandbox_process.session}"\nactions = ["read", "send"]\n'
    )
    return home


def run_block(name: str, home: Path, **more: str) -> str:
    """Run the fenced block after a marker in the document, in a shell with `home` as its home; returns the output."""
    found = re.search(rf"<!-- run: {name} -->\n```bash\n(.*?)```", DOCUMENT, re.DOTALL)
    assert found is not None
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", found[1]],
        cwd=home,
        env={"HOME": str(home), "PATH": f"{home}/.local/bin:/usr/bin:/bin", **more},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.anyio
async def test_the_entry_for_ssh_serves_the_tools_of_the_other_machine(home: Path, tmp_path: Path) -> None:
    executable(tmp_path / "bin/ssh", SSH, home=home)
    shown = re.search(r"```json\n(.*?)```", DOCUMENT, re.DOTALL)
    assert shown is not None
    entry: dict[str, Any] = json.loads(shown[1])["mcpServers"]["whatsapp"]
    arguments = [word.replace("/home/me", str(home)) for word in entry["args"]]
    env = environment(PATH=f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    async with Client(StdioServerParameters(command=entry["command"], args=arguments, env=env)) as client:
        names = [tool.name for tool in (await client.list_tools()).tools]
        assert {"list_chats", "send_text"} <= set(names)
        assert not (await client.call_tool("list_chats", {"limit": 1})).is_error


def test_the_other_commands_over_ssh_are_called_as_the_entry_is(home: Path) -> None:
    lines = re.findall(r"^ssh .*$", DOCUMENT, re.MULTILINE)
    assert [line.rpartition("/waha-mcp ")[2].split()[0] for line in lines] == ["doctor", "console"]
    assert all("me@server.example /home/me/.local/bin/waha-mcp " in line for line in lines)
    port = re.search(r"-L (\d+):127\.0\.0\.1:(\d+) .* --port (\d+)", lines[1])
    assert port is not None
    # The page refuses requests whose Host has another port than the one that it listens on.
    assert len(set(port.groups())) == 1


def test_a_backup_brings_app_key_and_state_back_and_only_the_user_reads_it(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(home / ".local/state"))
    (state_dir("assistant") / "trail.jsonl").write_text("{}\n")
    store = user_store()
    store.swap("test", "key", None, "kept")
    store.close()
    run_block("backup", home)
    assert (home / "waha-mcp.tar.gz").stat().st_mode & 0o077 == 0
    kept = {path: path.read_bytes() for part in (".config", ".local/state") for path in files_of(home / part)}
    assert {path.name for path in kept} >= {"assistant.toml", "assistant.key", "trail.jsonl", "store.sqlite"}
    for path in kept:
        path.unlink()
    run_block("restore", home)
    assert {path: path.read_bytes() for path in kept} == kept
    assert (home / ".config/waha-mcp/assistant.key").stat().st_mode & 0o077 == 0


def test_init_fetches_a_key_that_the_backup_does_not_hold(home: Path, sandbox_process: SandboxInfo) -> None:
    init(home, sandbox_process)
    key = home / ".config/waha-mcp/assistant.key"
    made = key.read_text()
    key.unlink()
    init(home, sandbox_process)
    assert key.read_text() == made


def init(home: Path, sandbox: SandboxInfo, *arguments: str) -> None:
    """Make the App `assistant`, or update it, in this home."""
    flags = ["--url", sandbox.url, "--actions", "read,send", "--id", "assistant", "--yes"]
    subprocess.run(
        [home / ".local/bin/waha-mcp", "init", *flags, *(arguments or ("--install", "none"))],
        env={"HOME": str(home), "PATH": "/usr/bin:/bin", "WAHA_ADMIN_KEY": sandbox.admin_key},
        check=True,
        capture_output=True,
        timeout=60,
    )


def files_of(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_uninstalling_leaves_nothing_behind(home: Path, sandbox_process: SandboxInfo) -> None:
    init(home, sandbox_process, "--install", "claude-code")
    assert (home / ".claude.json").exists()
    printed = run_block("uninstall", home, WAHA_ADMIN_KEY=sandbox_process.admin_key)
    assert "WAHA removed its app and key" in printed
    assert "Still launching it" not in printed
    left = {str(path.relative_to(home)) for path in files_of(home)} - {".local/bin/waha-mcp"}
    assert not [name for name in left if "whatsapp" in (home / name).read_text()]
    assert not (home / ".config/waha-mcp").exists()
    assert not (home / ".local/state/waha-mcp").exists()


@pytest.mark.skipif(shutil.which("openssl") is None, reason="not installed: openssl, which the command uses")
def test_the_variables_that_compose_asks_for_are_made_and_only_the_user_reads_them(home: Path) -> None:
    run_block("env", home)
    made = dict(line.split("=") for line in (home / ".env").read_text().splitlines())
    assert made.keys() == set(re.findall(r"\$\{(\w+):\?", (ROOT / "compose.yaml").read_text()))
    assert all(made.values())
    assert len(set(made.values())) == len(made)
    assert (home / ".env").stat().st_mode & 0o077 == 0


def test_what_is_run_in_containers_is_there() -> None:
    shown = [line for line in DOCUMENT.splitlines() if "docker compose run" in line]
    flags = r"(?: -T| --service-ports| --entrypoint (?:cat|tee|tar))*"
    command = r"(?:bridge(?: init .*| doctor| \.config/.*| -cz .*| -xpz .*)|console)"
    assert [line for line in shown if not re.search(rf"docker compose run --rm{flags} {command}$", line)] == []
    assert len(shown) == 7


def test_the_folders_are_those_of_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("platformdirs.windows.get_win_folder", lambda name: "%LOCALAPPDATA%")
    for system, column in {Unix: 1, MacOS: 2, Windows: 3}.items():
        monkeypatch.setattr(platformdirs, "PlatformDirs", system)
        expected = [str(folder).replace("/home/me", "~") for folder in (config_dir(), state_root())]
        if system is Windows:
            expected = [folder.replace("/", "\\") for folder in expected]
        rows = [line.split("|") for line in DOCUMENT.splitlines() if line.startswith(("| Apps:", "| state:"))]
        assert [row[column + 1].strip().strip("`") for row in rows] == expected


def test_the_backup_of_a_clients_file_is_called_as_the_code_calls_it() -> None:
    assert f"`{backup_of(Path('*')).name}`" in DOCUMENT
