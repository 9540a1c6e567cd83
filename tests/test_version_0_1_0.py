"""A home that version 0.1.0 wrote (`tests/data/version_0_1_0`) goes on working: Apps, state and clients' entries.

The format of the state may change, so the tests only use the commands and the clients' own command lines.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from ruamel.yaml import YAML

from tests.harness import environment, run, sandbox_server
from waha_mcp.hosts import table
from waha_mcp.sandbox import SandboxInfo

OLD = Path(__file__).parent / "data" / "version_0_1_0"
#: Where 0.1.0 put its entries: each host's file in the home, and the path of keys to the entries.
HOSTS = {
    "claude-desktop": (".config/Claude/claude_desktop_config.json", "mcpServers"),
    "claude-code": (".claude.json", "mcpServers"),
    "goose": (".config/goose/config.yaml", "extensions"),
    "cursor": (".cursor/mcp.json", "mcpServers"),
    "vscode": (".config/Code/User/mcp.json", "servers"),
    "windsurf": (".codeium/windsurf/mcp_config.json", "mcpServers"),
    "zed": (".config/zed/settings.json", "context_servers"),
    "openclaw": (".openclaw/openclaw.json", "mcp", "servers"),
    "gemini-cli": (".gemini/settings.json", "mcpServers"),
    "codex": (".codex/config.toml", "mcp_servers"),
}
READERS: dict[str, Callable[[str], Any]] = {
    ".json": json.loads,
    ".toml": tomllib.loads,
    ".yaml": YAML(typ="safe").load,
}
#: The App that each entry of 0.1.0 launches.
ENTRIES = {"whatsapp": "assistant", "whatsapp-observer": "observer"}
#: Entries of others, and the hosts that have them.
FOREIGN = {"claude-desktop": ("files",), "goose": ("developer",)}
#: Hosts whose files have the format of Claude Code's, in another place.
ALIKE = {"cursor", "vscode", "windsurf", "zed", "gemini-cli"}
#: One that 0.1.0 asked about, for the App without an id.
CLERKS_CALL = {"chat": "Nina Vogel", "text": "The parcel is here."}


@dataclass(frozen=True)
class Home:
    """A copy of the home. `waha_mcp` runs a command in it."""

    path: Path
    sandbox: SandboxInfo

    @property
    def env(self) -> dict[str, str]:
        """The user's environment, without variables of a single App or client."""
        return {
            "HOME": str(self.path),
            "XDG_CONFIG_HOME": str(self.path / ".config"),
            "XDG_STATE_HOME": str(self.path / ".local" / "state"),
            "CLAUDE_CONFIG_DIR": "",
            "CODEX_HOME": "",
            # The doctor would warn about a machine where Python keeps no bytecode.
            "PYTHONDONTWRITEBYTECODE": "",
            "PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring",
        }

    @property
    def observer_key(self) -> str:
        return self.sandbox.keys["read"]

    def waha_mcp(self, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        """Run a command that must end with this code."""
        done = run(*arguments, env=self.env | {"OBSERVER_KEY": self.observer_key})
        assert done.returncode == code, done.stdout + done.stderr
        return done

    def send(self, app: str, call: dict[str, Any], code: int = 0) -> str:
        """Call send_text; returns its result or the refusal."""
        done = self.waha_mcp("call", "send_text", "--app", app, json.dumps(call), code=code)
        return done.stderr if code else done.stdout

    def sent(self, call: dict[str, Any]) -> int:
        """How often WAHA has sent the text of a call."""
        seen = _admin(self.sandbox, "GET", "/sandbox/requests")
        sends = [r["body"] for r in seen if r["path"] == "/api/sendText" and r["performed"] is not None]
        return sum(body["text"] == call["text"] for body in sends)

    def entries(self, host: str) -> dict[str, Any]:
        """The entries in a host's file; none if there is no file."""
        name, *place = HOSTS[host]
        path = self.path / name
        if not path.exists():
            return {}
        found = READERS[path.suffix](path.read_text("utf-8"))
        for key in place:
            found = found.get(key, {})
        return dict(found)


def _admin(sandbox: SandboxInfo, method: str, path: str, body: Any = None) -> Any:
    headers = {"X-Api-Key": sandbox.admin_key}
    return httpx.request(method, sandbox.url + path, headers=headers, json=body).raise_for_status().json()


@pytest.fixture(scope="module")
def waha() -> Iterator[SandboxInfo]:
    with sandbox_server() as info:
        yield info


@pytest.fixture
def home(waha: SandboxInfo, tmp_path: Path) -> Home:
    """A copy that says this machine's home, command, WAHA and keys."""
    httpx.delete(f"{waha.url}/sandbox/requests", headers={"X-Api-Key": waha.admin_key}).raise_for_status()
    made = Home(tmp_path / "home", waha)
    shutil.copytree(OLD / "home", made.path)
    both = {"isAdmin": False, "session": waha.session, "isActive": True, "actions": {"read": True, "send": True}}
    words = {
        "@HOME@": str(made.path),
        "@COMMAND@": str(Path(sys.executable).with_name("waha-mcp")),
        "@URL@": waha.url,
        "@ASSISTANT_KEY@": _admin(waha, "POST", "/api/keys", both)["key"],
        "@CLERK_KEY@": waha.keys["read_send"],
        "@NOTIFIER_KEY@": waha.keys["send"],
    }
    for path in made.path.rglob("*"):
        path.chmod(0o700 if path.is_dir() else 0o600)
        if path.is_file():
            text = path.read_text("utf-8")
            for word, meant in words.items():
                text = text.replace(word, meant)
            path.write_text(text, "utf-8")
    return made


def test_doctor_finds_its_apps_and_entries_well(home: Home) -> None:
    found = home.waha_mcp("doctor").stdout.splitlines()
    assert [line for line in found if not line.startswith("ok ")] == []
    for app in ("assistant", "clerk", "notifier", "observer"):
        assert any(f"'{app}' from {home.path}" in line for line in found)
    for host, (name, *_) in HOSTS.items():
        ours = home.entries(host).keys() & ENTRIES
        assert sum(f"in {home.path / name} can be launched" in line for line in found) == len(ours) > 0


def test_its_apps_are_listed_and_shown_as_before(home: Home) -> None:
    url = home.sandbox.url
    assert home.waha_mcp("apps", "list").stdout.splitlines() == [
        f"assistant            session default on {url}: read, send",
        f"clerk                session default on {url}: read, send",
        f"notifier             session default on {url}: send",
        f"observer             session found out on {url}: read",
    ]
    shown = json.loads(home.waha_mcp("apps", "show", "assistant", "--json").stdout)
    assert shown["key"] == "in the file assistant.key"
    assert len(shown["clients"]) == len(HOSTS)


def test_every_clients_entry_serves(home: Home) -> None:
    """Each command line once, with its variables: an App's is the same in most clients."""
    started: dict[tuple[Any, ...], str] = {}
    for host in HOSTS:
        for name, entry in home.entries(host).items():
            if name in ENTRIES:
                command = (entry.get("command") or entry["cmd"], *entry["args"])
                started[command, tuple(_provided(home, entry).items())] = ENTRIES[name]
    assert sorted(started.values()) == ["assistant", "observer"]
    for (command, variables), app in started.items():
        about, listed, called = _conversation(home, command, variables)
        assert about["serverInfo"]["name"] == "waha-mcp"
        assert ("send_text" in {tool["name"] for tool in listed["tools"]}) is (app == "assistant")
        assert len(json.loads(called["content"][0]["text"])["chats"]) == 2


def _conversation(home: Home, command: tuple[str, ...], variables: tuple[tuple[str, str], ...]) -> list[Any]:
    """The results of initialize, tools/list and a call, of the server that a host starts."""
    client = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "old client", "version": "1"}}
    said: list[dict[str, Any]] = [
        {"id": 1, "method": "initialize", "params": client},
        {"method": "notifications/initialized"},
        {"id": 2, "method": "tools/list"},
        {"id": 3, "method": "tools/call", "params": {"name": "list_chats", "arguments": {"limit": 2}}},
    ]
    done = subprocess.run(
        command,
        env=environment(**home.env, **dict(variables)),
        input="".join(json.dumps({"jsonrpc": "2.0"} | each) + "\n" for each in said),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    answers = {each["id"]: each["result"] for each in map(json.loads, done.stdout.splitlines()) if "id" in each}
    return [answers[number] for number in (1, 2, 3)]


def _provided(home: Home, entry: dict[str, Any]) -> dict[str, str]:
    """The variables that a host sets for an entry, with the user's own where the entry refers to them."""
    env = dict(entry.get("env") or entry.get("envs") or {})
    env |= {name: f"${{{name}}}" for name in [*entry.get("env_vars", []), *entry.get("env_keys", [])]}
    return {k: re.sub(r"\$\{(env:)?OBSERVER_KEY\}", home.observer_key, v) for k, v in env.items()}


@pytest.mark.parametrize("host", [host for host in HOSTS if host not in ALIKE])
def test_a_clients_entry_is_found_again_and_can_be_taken_out(host: str, home: Home) -> None:
    file, entries = home.path / HOSTS[host][0], home.entries(host)
    before = file.read_text("utf-8")
    said = home.waha_mcp("install", host, "--app", "assistant").stdout
    added = {offer.name for offer in table.HOSTS[host].offers if offer.default}
    if added:  # which that version did not set
        assert "has a new entry 'whatsapp'" in said
        assert home.entries(host)["whatsapp"].keys() - entries["whatsapp"].keys() == added
    else:
        assert "already has entry 'whatsapp'" in said
        assert file.read_text("utf-8") == before
    for name in sorted(entries.keys() & ENTRIES, reverse=True):
        assert f"the entry '{name}' is out of" in home.waha_mcp("uninstall", host, "--name", name).stdout
    assert home.entries(host) == {name: entries[name] for name in FOREIGN.get(host, ())}


def test_the_trail_of_an_app_with_an_id_goes_on(home: Home) -> None:
    before = home.waha_mcp("log", "--app", "assistant").stdout.splitlines()
    decisions = [json.loads(line)["decision"] for line in before]
    assert len(before) == 8
    assert decisions[-3:] == ["waiting for approval", "approved", "refused by a person"]
    home.waha_mcp("call", "find_chats", "--app", "assistant", '{"query": "Anna"}')
    *earlier, last = home.waha_mcp("log", "--app", "assistant").stdout.splitlines()
    assert earlier == before
    assert json.loads(last)["tool"] == "find_chats"


def test_an_app_without_an_id_asks_anew_and_names_its_earlier_trail(home: Home) -> None:
    asked = re.search(r"waha-mcp approve ([0-9a-f]+)", home.send("clerk", CLERKS_CALL, code=1))
    assert asked is not None
    assert home.sent(CLERKS_CALL) == 0
    home.waha_mcp("approve", asked[1], "--yes")
    home.send("clerk", CLERKS_CALL)
    assert home.sent(CLERKS_CALL) == 1
    log = home.waha_mcp("log", "--app", "clerk")
    assert [json.loads(line)["decision"] for line in log.stdout.splitlines()] == ["waiting for approval", "approved"]
    assert str(home.path / ".local" / "state" / "waha-mcp" / "default") in log.stderr
    earlier = home.waha_mcp("log", "--app", "default").stdout.splitlines()
    assert [json.loads(line)["tool"] for line in earlier] == ["get_unread", "send_text"]


def test_an_app_in_wahas_own_form_sends_and_its_trail_goes_on(home: Home) -> None:
    call = {"chat": "+1 202 555 0123", "text": "Backup finished again"}
    home.send("notifier", call)
    assert home.sent(call) == 1
    outcomes = [json.loads(line)["outcome"] for line in home.waha_mcp("log", "--app", "notifier").stdout.splitlines()]
    assert outcomes == ["done", "done"]
