"""The prepared opening: the client's first requests, answered while the SDK is still being imported."""

from __future__ import annotations

import json
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import httpx
import pytest
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS

from tests.harness import command_after, environment, sandbox_server
from tests.platforms import only_mine
from waha_mcp.places import state_root
from waha_mcp.sandbox import SandboxInfo

pytestmark = pytest.mark.slow

_INITIALIZE = {
    "protocolVersion": "2025-06-18",
    "capabilities": {"roots": {}},
    "clientInfo": {"name": "test", "version": "1"},
}
_META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
}
_SUBSCRIPTION = "io.modelcontextprotocol/subscriptionId"
_LISTEN = {"_meta": _META, "notifications": {"toolsListChanged": True, "promptsListChanged": True}}
#: Openings of clients: of each era, of each version of the older one, and as hosts send them.
OPENINGS: dict[str, list[tuple[str, dict[str, Any]]]] = {
    "legacy": [("initialize", _INITIALIZE), ("notifications/initialized", {}), ("tools/list", {})],
    "modern": [("server/discover", {"_meta": _META}), ("tools/list", {"_meta": _META})],
    **{
        version: [("initialize", _INITIALIZE | {"protocolVersion": version}), ("tools/list", {})]
        for version in HANDSHAKE_PROTOCOL_VERSIONS
    },
    "subscribed": [
        ("server/discover", {"_meta": _META}),
        ("subscriptions/listen", _LISTEN),
        ("prompts/list", {"_meta": _META}),
        ("tools/list", {"_meta": _META}),
        ("resources/list", {"_meta": _META}),
        ("resources/templates/list", {"_meta": _META}),
    ],
}
#: Delays the SDK's import until a file exists.
_WITHOUT_SDK = """
import os, sys, time
class Wait:
    def find_spec(self, name, *rest):
        while name.partition(".")[0] in ("mcp", "mcp_types") and not os.path.exists(os.environ["MAY_IMPORT"]):
            time.sleep(0.01)
sys.meta_path.insert(0, Wait())
from waha_mcp.__main__ import main
main()
"""

#: Asks WAHA to confirm again and again.
_OFTEN = """
import waha_mcp.server.rehearsal as rehearsal
rehearsal.RECONFIRM = 0.05
from waha_mcp.__main__ import main
main()
"""


class Server:
    """A `waha-mcp serve` in a separate process. `notified`: the methods of its notifications."""

    def __init__(self, *arguments: str, code: str = "", **env: str) -> None:
        self._log = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115 - closed with the server
        self._process = subprocess.Popen(
            [sys.executable, *(["-c", code] if code else ["-m", "waha_mcp"]), "serve", *arguments],
            env=environment(**env),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            encoding="utf-8",
        )
        self.notified: list[str] = []
        self._number = 0

    @property
    def stdout(self) -> IO[str]:
        assert self._process.stdout is not None
        return self._process.stdout

    def write(self, text: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(text + "\n")
        self._process.stdin.flush()

    def say(self, method: str, params: dict[str, Any], number: object = None) -> None:
        message = {"jsonrpc": "2.0", "method": method, "params": params}
        self.write(json.dumps(message if number is None else message | {"id": number}))

    def read(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.stdout.readline())
        return found

    def ask(self, method: str, params: dict[str, Any], number: object = None) -> dict[str, Any]:
        """The answer to a request."""
        if number is None:
            self._number += 1
            number = self._number
        self.say(method, params, number)
        while "id" not in (answer := self.read()):
            self.notified.append(answer["method"])
        assert answer["id"] == number
        return answer

    def listen(self, params: dict[str, Any], number: object = "listen:0") -> dict[str, Any]:
        """Subscribe; what is acknowledged."""
        self.say("subscriptions/listen", params, number)
        acknowledged = self.read()
        assert acknowledged["method"] == "notifications/subscriptions/acknowledged", acknowledged
        assert acknowledged["params"]["_meta"] == {_SUBSCRIPTION: number}
        found: dict[str, Any] = acknowledged["params"]["notifications"]
        return found

    def open(self, opening: list[tuple[str, dict[str, Any]]]) -> list[dict[str, Any]]:
        """The results of an opening's requests."""
        found = []
        for method, params in opening:
            if method == "subscriptions/listen":
                found.append(self.listen(params))
            elif method.startswith("notifications/"):
                self.say(method, params)
            else:
                found.append(self.ask(method, params)["result"])
        return found

    def wait_for(self, method: str) -> None:
        while method not in self.notified:
            self.notified.append(self.read().get("method", ""))

    def interrupted(self) -> tuple[int, str]:
        """Ends it with Ctrl-C; returns the exit code and stderr."""
        self._process.send_signal(signal.SIGINT)
        code = self._process.wait(10)
        self._log.seek(0)
        return code, self._log.read()

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(10)
        self.stdout.close()
        self._log.close()


Start = Callable[..., Server]


@pytest.fixture(scope="module")
def sandbox() -> Iterator[SandboxInfo]:
    """A sandbox in a separate process, since these tests block."""
    with sandbox_server() as info:
        yield info


def mint(info: SandboxInfo, *actions: str) -> dict[str, Any]:
    """A new session key with these actions."""
    return change_key(info, {"isAdmin": False, "session": info.session, "isActive": True}, actions=actions)


def change_key(
    info: SandboxInfo, key: dict[str, Any], *, actions: tuple[str, ...], active: bool = True
) -> dict[str, Any]:
    body = {name: key[name] for name in ("isAdmin", "session")} | {
        "isActive": active,
        "actions": dict.fromkeys(actions, True),
    }
    method, path = ("PUT", f"/api/keys/{key['id']}") if "id" in key else ("POST", "/api/keys")
    answer = httpx.request(method, info.url + path, json=body, headers={"X-Api-Key": info.admin_key})
    answer.raise_for_status()
    found: dict[str, Any] = answer.json()
    return found


@pytest.fixture
def start(sandbox: SandboxInfo, tmp_path: Path) -> Iterator[Start]:
    """Start a server on the sandbox; with `sdk=False` it cannot import the SDK until `may` exists in `tmp_path`."""
    servers: list[Server] = []

    def started(key: str, *arguments: str, sdk: bool = True, often: bool = False, **env: str) -> Server:
        values = {"WAHA_URL": sandbox.url, "WAHA_API_KEY": key, "MAY_IMPORT": str(tmp_path / "may")} | env
        servers.append(Server(*arguments, code=_OFTEN if often else "" if sdk else _WITHOUT_SDK, **values))
        return servers[-1]

    yield started
    (tmp_path / "may").touch()
    for server in servers:
        server.close()


def kept() -> list[Path]:
    return list((state_root() / "store.listings").glob("*.json"))


def until(what: Callable[[], object]) -> None:
    """Wait for something that another process does."""
    ends = time.monotonic() + 20
    while not what():
        assert time.monotonic() < ends
        time.sleep(0.02)


def prepare(server: Server, era: str = "legacy") -> list[dict[str, Any]]:
    """Start a server, and wait until its opening is kept; returns the results."""
    found = server.open(OPENINGS[era])
    requests = sum(not method.startswith("notifications/") for method, _ in OPENINGS[era])
    until(lambda: any(len(json.loads(path.read_text())["opening"]) == requests for path in kept()))
    return found


def names(result: dict[str, Any]) -> set[str]:
    return {tool["name"] for tool in result["tools"]}


@pytest.mark.parametrize("era", OPENINGS)
def test_the_second_start_answers_as_the_sdk_did_before_it_can_import_the_sdk(
    start: Start, sandbox: SandboxInfo, era: str
) -> None:
    said = prepare(start(sandbox.keys["read_send"]), era)
    early = start(sandbox.keys["read_send"], sdk=False).open(OPENINGS[era])
    assert [each | {"ttlMs": 0} for each in early] == [each | {"ttlMs": 0} for each in said]
    # The client may not cache it: nothing in it is confirmed in this run.
    assert [each.get("ttlMs", 0) for each in early] == [0] * len(early)


def test_a_request_that_a_client_makes_twice_is_answered_twice_as_it_was_first(
    start: Start, sandbox: SandboxInfo
) -> None:
    discover, listing = OPENINGS["modern"]
    first = start(sandbox.keys["read_send"])
    said = first.open([discover, listing, discover])  # the last one, by which more is known of the account
    until(lambda: any(len(json.loads(path.read_text())["opening"]) == 3 for path in kept()))
    early = start(sandbox.keys["read_send"], sdk=False).open([discover, listing, discover])
    assert early[0] == early[2] == said[0] | {"ttlMs": 0}
    assert early[1] == said[1] | {"ttlMs": 0}


def test_a_token_for_progress_is_another_at_each_start(start: Start, sandbox: SandboxInfo) -> None:
    def opening(token: object) -> list[tuple[str, dict[str, Any]]]:
        return [("initialize", _INITIALIZE), ("tools/list", {"_meta": {"progressToken": token, "more": 1}})]

    start(sandbox.keys["read_send"]).open(opening(1))
    until(kept)
    for token in (2, "two"):
        assert names(start(sandbox.keys["read_send"], sdk=False).open(opening(token))[-1]) >= {"list_chats"}


def test_a_prepared_subscription_is_acknowledged_once_and_tells_of_changes(start: Start, sandbox: SandboxInfo) -> None:
    key = mint(sandbox, "read", "send")
    prepare(start(key["key"], WAHA_ACTIONS="read,send"), "subscribed")
    server = start(key["key"], WAHA_ACTIONS="read,send")
    server.open(OPENINGS["subscribed"])
    assert not server.ask("tools/call", {"name": "list_chats", "arguments": {}, "_meta": _META})["result"]["isError"]
    assert server.notified == []
    change_key(sandbox, key, actions=("read",))
    server.ask("tools/call", {"name": "send_text", "arguments": {"chat": "+12025550123", "text": "Hi"}, "_meta": _META})
    server.wait_for("notifications/tools/list_changed")
    assert "notifications/subscriptions/acknowledged" not in server.notified
    server.say("notifications/cancelled", {"requestId": "listen:0"})
    assert "send_text" not in names(server.ask("tools/list", {"_meta": _META})["result"])


def test_what_was_lost_since_a_prepared_subscription_is_told_through_it_of_all_listings(
    start: Start, sandbox: SandboxInfo
) -> None:
    key = mint(sandbox, "read", "send")
    said = prepare(start(key["key"]), "subscribed")
    assert said[2]["prompts"]
    change_key(sandbox, key, actions=("send",))
    server = start(key["key"])
    assert server.open(OPENINGS["subscribed"])[2]["prompts"]
    server.wait_for("notifications/tools/list_changed")
    server.wait_for("notifications/prompts/list_changed")
    assert not server.ask("prompts/list", {"_meta": _META})["result"]["prompts"]


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_ctrl_c_while_the_sdk_is_imported_leaves_no_traceback(start: Start, sandbox: SandboxInfo) -> None:
    prepare(start(sandbox.keys["read_send"]), "legacy")
    server = start(sandbox.keys["read_send"], sdk=False)
    server.open(OPENINGS["legacy"])
    assert server.interrupted() == (130, "")


def test_another_subscription_than_the_expected_is_left_to_the_sdk(
    start: Start, sandbox: SandboxInfo, tmp_path: Path
) -> None:
    prepare(start(sandbox.keys["read_send"]), "subscribed")
    server = start(sandbox.keys["read_send"], sdk=False)
    server.open(OPENINGS["subscribed"][:1])
    (tmp_path / "may").touch()
    only_prompts = {"promptsListChanged": True}
    assert server.listen(_LISTEN | {"notifications": only_prompts}) == only_prompts
    assert server.listen(_LISTEN, number="7") == _LISTEN["notifications"]


def test_calls_work_after_a_prepared_opening_and_the_client_may_use_its_ids_again(
    start: Start, sandbox: SandboxInfo
) -> None:
    prepare(start(sandbox.keys["read_send"]))
    server = start(sandbox.keys["read_send"])
    server.open(OPENINGS["legacy"])
    answer = server.ask("tools/call", {"name": "list_chats", "arguments": {"limit": 1}}, number=1)
    assert not answer["result"].get("isError")
    assert names(server.ask("tools/list", {}, number=2)["result"]) >= {"list_chats", "send_text"}
    assert server.notified == []  # everything was as announced
    assert kept()


@pytest.mark.parametrize(
    "line",
    [
        {"method": "initialize", "params": _INITIALIZE | {"protocolVersion": "2024-11-05"}},
        {"method": "initialize", "params": _INITIALIZE | {"clientInfo": {"name": "test", "version": "2"}}},
        {"method": "initialize", "params": _INITIALIZE | {"capabilities": {"roots": True}}},
        {"method": "initialize", "params": _INITIALIZE, "id": True},
        {"method": "initialize", "params": _INITIALIZE, "id": 1.5},
        {"method": "initialize", "params": _INITIALIZE, "id": None},
        {"method": "initialize", "params": _INITIALIZE, "jsonrpc": "1.0"},
        {"method": "initialize", "params": _INITIALIZE, "more": 1},
        {"method": "tools/list", "params": {}},
        {"method": "ping"},
    ],
    ids=lambda line: json.dumps(line)[:60],
)
def test_what_is_not_exactly_the_expected_request_is_left_to_the_sdk(
    start: Start, sandbox: SandboxInfo, tmp_path: Path, line: dict[str, Any]
) -> None:
    prepare(start(sandbox.keys["read_send"]))
    text = json.dumps({"jsonrpc": "2.0", "id": 1} | line)
    with_sdk = start(sandbox.keys["read_send"], XDG_STATE_HOME=str(tmp_path / "fresh"))
    with_sdk.write(text)
    expected = with_sdk.read()
    without = start(sandbox.keys["read_send"], sdk=False)
    without.write(text)
    (tmp_path / "may").touch()
    assert without.read() == expected


def _another_key(info: SandboxInfo, file: Path) -> dict[str, str]:
    return {"WAHA_API_KEY": info.keys["read"]}


def _another_file(info: SandboxInfo, file: Path) -> dict[str, str]:
    file.write_text(file.read_text() + '\nexclude = ["list_chats"]\n')
    return {}


def _another_key_file(info: SandboxInfo, file: Path) -> dict[str, str]:
    file.with_suffix(".key").write_text(info.keys["read"])
    return {}


def _old(info: SandboxInfo, file: Path) -> dict[str, str]:
    [path] = kept()
    path.write_text(json.dumps(json.loads(path.read_text()) | {"confirmed": time.time() - 24 * 3600 - 1}))
    return {}


def _of_the_future(info: SandboxInfo, file: Path) -> dict[str, str]:
    [path] = kept()
    path.write_text(json.dumps(json.loads(path.read_text()) | {"confirmed": time.time() + 3600}))
    return {}


def _broken(info: SandboxInfo, file: Path) -> dict[str, str]:
    [path] = kept()
    path.write_text(path.read_text()[:-20])
    return {}


def _open_to_others(info: SandboxInfo, file: Path) -> dict[str, str]:
    [path] = kept()
    path.chmod(0o644)
    return {}


@pytest.mark.parametrize(
    "change",
    [_another_key, _another_file, _another_key_file, _old, _of_the_future, _broken, _open_to_others],
    ids=lambda each: each.__name__.strip("_"),
)
def test_an_opening_is_not_said_again_for_another_key_or_file_or_when_it_is_old_or_not_private(
    start: Start, sandbox: SandboxInfo, tmp_path: Path, change: Callable[[SandboxInfo, Path], Any]
) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(f'url = "{sandbox.url}"\nkey = {{ file = "mine.key" }}\n')
    file.with_suffix(".key").write_text(sandbox.keys["read_send"])
    prepare(start("", "--app", str(file)))
    env = change(sandbox, file)
    server = start("", "--app", str(file), sdk=False, **env)
    server.say("initialize", _INITIALIZE, 1)
    server.say("tools/list", {}, 2)
    # One cannot wait for an answer that does not come.
    assert select.select([server.stdout], [], [], 1.0) == ([], [], [])


def test_an_action_lost_since_then_is_corrected_and_calls_say_why(start: Start, sandbox: SandboxInfo) -> None:
    key = mint(sandbox, "read", "send")
    prepare(start(key["key"]))
    change_key(sandbox, key, actions=("read",))
    server = start(key["key"])
    said = server.open(OPENINGS["legacy"])
    assert "send_text" in names(said[-1])
    server.wait_for("notifications/tools/list_changed")
    answer = server.ask("tools/call", {"name": "send_text", "arguments": {"chat": "12025550123@c.us", "text": "Hi"}})
    assert "is no longer available" in answer["result"]["content"][0]["text"]
    assert answer["result"]["isError"]
    assert "send_text" not in names(server.ask("tools/list", {})["result"])
    until(kept)
    assert "send_text" not in names(start(key["key"], sdk=False).open(OPENINGS["legacy"])[-1])


def test_what_is_corrected_once_is_not_announced_again_when_waha_confirms_it(
    start: Start, sandbox: SandboxInfo
) -> None:
    key = mint(sandbox, "read", "send")
    prepare(start(key["key"]))
    change_key(sandbox, key, actions=("read",))
    server = start(key["key"], often=True)
    server.open(OPENINGS["legacy"])
    server.wait_for("notifications/tools/list_changed")
    server.ask("tools/list", {})
    told = list(server.notified)
    seen = {path.read_text() for path in kept()}
    until(lambda: len(seen | {path.read_text() for path in kept()}) > len(seen))  # confirmed, and kept anew
    server.ask("tools/list", {})
    assert server.notified == told


def test_a_key_that_waha_refuses_since_then_has_nothing_and_its_opening_is_deleted(
    start: Start, sandbox: SandboxInfo
) -> None:
    key = mint(sandbox, "read")
    prepare(start(key["key"]))
    change_key(sandbox, key, actions=("read",), active=False)
    server = start(key["key"])
    assert "list_chats" in names(server.open(OPENINGS["legacy"])[-1])
    server.wait_for("notifications/tools/list_changed")
    assert names(server.ask("tools/list", {})["result"]) == {"get_status"}
    until(lambda: not kept())


def test_where_waha_is_away_what_is_listed_since_before_is_not_called_and_the_call_says_why(
    start: Start, tmp_path: Path
) -> None:
    file = tmp_path / "mine.toml"
    with sandbox_server() as info:
        file.write_text(f'url = "{info.url}"\nkey = {{ env = "MINE" }}\n')
        prepare(start("", "--app", str(file), WAHA_URL="", MINE=info.keys["read_send"]))
    server = start("", "--app", str(file), WAHA_URL="", MINE=info.keys["read_send"])
    assert "list_chats" in names(server.open(OPENINGS["legacy"])[-1])
    answer = server.ask("tools/call", {"name": "list_chats", "arguments": {}})["result"]
    assert answer["isError"]
    assert "nothing listens there" in answer["content"][0]["text"]
    assert kept()  # WAHA has not contradicted it


def test_no_secret_and_no_other_user_reads_the_file(start: Start, sandbox: SandboxInfo) -> None:
    prepare(start(sandbox.keys["read_send"]))
    [path] = kept()
    assert sandbox.keys["read_send"] not in path.read_text()
    assert only_mine(path)
    assert only_mine(path.parent)


def test_a_listing_that_waha_has_not_confirmed_is_not_kept(start: Start) -> None:
    server = start("key", WAHA_URL="http://127.0.0.1:9", WAHA_ACTIONS="read")
    server.open(OPENINGS["legacy"])
    server.ask("tools/call", {"name": "list_chats", "arguments": {}})
    assert not kept()


def test_where_the_working_folder_is_gone_the_command_says_so_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    gone = f"import os, waha_mcp.__main__\nos.chdir({str(tmp_path / 'gone')!r})\nos.rmdir(os.getcwd())\n"
    command = [*command_after(gone), "serve", "--key-file", "key"]
    ended = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode != 0
    assert ended.stderr.startswith("waha-mcp: ")
    assert ended.stderr.count("\n") == 1
