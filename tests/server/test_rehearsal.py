"""The opening of a server on pipes in this process: what is stored of it, and how a prepared one is used."""

from __future__ import annotations

import json
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
import anyio.from_thread
import anyio.to_thread
import pytest

from tests.harness import Admin
from tests.platforms import only_mine
from tests.server.test_prepared import OPENINGS, kept, names
from tests.server.test_unconfirmed import LOOK, answer
from waha_mcp.app.actions import Action
from waha_mcp.app.definition import App, load_app
from waha_mcp.bridge import Bridge
from waha_mcp.files import write_atomically
from waha_mcp.sandbox import SandboxInfo
from waha_mcp.server import rehearsal
from waha_mcp.server.prepared import Prepared, spelled
from waha_mcp.server.stdio import serve_stdio
from waha_mcp.server.wire import Wire

pytestmark = pytest.mark.anyio

LEGACY, MODERN = OPENINGS["legacy"], OPENINGS["modern"]
#: What WAHA is asked about the action send.
SEND = "/api/*/status/new-message-id"
CHANGED = "notifications/tools/list_changed"


class Conversation:
    """The client's end of a server. `notified`: the methods of its notifications."""

    def __init__(self, bridge: Bridge, stdin: int, stdout: int) -> None:
        self.bridge = bridge
        self.notified: list[str] = []
        self._stdin, self._stdout = stdin, stdout
        self._buffer = b""

    def say(self, method: str, params: dict[str, Any], number: object = None) -> None:
        message = {"jsonrpc": "2.0", "method": method, "params": params}
        os.write(self._stdin, json.dumps(message if number is None else message | {"id": number}).encode() + b"\n")

    async def read(self) -> dict[str, Any]:
        while b"\n" not in self._buffer:
            with anyio.fail_after(20):
                await anyio.wait_readable(self._stdout)
            self._buffer += os.read(self._stdout, 2**20)
        line, self._buffer = self._buffer.split(b"\n", 1)
        found: dict[str, Any] = json.loads(line)
        return found

    async def ask(self, method: str, params: dict[str, Any], number: int = 7) -> dict[str, Any]:
        """The answer to a request."""
        self.say(method, params, number)
        while (answer := await self.read()).get("id") != number:
            self.notified.append(answer["method"])
        return answer

    async def open(self, opening: list[tuple[str, dict[str, Any]]]) -> list[dict[str, Any]]:
        """The results of an opening's requests."""
        found: list[dict[str, Any]] = []
        for method, params in opening:
            if method.startswith("notifications/"):
                self.say(method, params)
            else:
                found.append((await self.ask(method, params, len(found) + 1))["result"])
        return found

    async def wait_for(self, method: str) -> None:
        while method not in self.notified:
            self.notified.append((await self.read())["method"])

    async def heard_all(self) -> None:
        """Wait until everything that the server has to say so far is read."""
        await self.ask("ping", {})


Serve = Callable[..., Any]


@pytest.fixture
def file(sandbox: SandboxInfo, tmp_path: Path) -> Path:
    """An App with the key in the variable MINE."""
    found = tmp_path / "mine.toml"
    found.write_text(f'url = "{sandbox.url}"\nkey = {{ env = "MINE" }}\n')
    return found


@pytest.fixture
def serve(file: Path, monkeypatch: pytest.MonkeyPatch) -> Serve:
    """Serve the App with a key. A prepared opening is answered before anything else starts."""

    @asynccontextmanager
    async def served(key: str, patience: float = 20) -> AsyncIterator[Conversation]:
        monkeypatch.setenv("MINE", key)
        app: App = load_app(str(file))
        (stdin, write), (read, stdout) = os.pipe(), os.pipe()
        monkeypatch.setattr("waha_mcp.server.wire._take_descriptors", lambda: (stdin, stdout))
        prepared = Prepared(["serve"], {})
        wire = Wire(prepared)
        bridge = Bridge(app)

        async def serve() -> None:
            if prepared.openings:
                await anyio.to_thread.run_sync(wire.wait_for_opening, patience)
            await serve_stdio(bridge, wire, prepared)

        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(serve)
                yield Conversation(bridge, write, read)
                os.close(write)
        finally:
            for each in (stdin, read, stdout):
                os.close(each)

    return served


def old_file(folder: Path) -> Path:
    """A listing of two days ago, in a folder that others may read."""
    folder.mkdir(parents=True, mode=0o755)
    found = folder / "old.json"
    found.write_text("{}")
    os.utime(found, (time.time() - 2 * 86_400,) * 2)
    return found


def exclude(file: Path) -> None:
    file.write_text(file.read_text() + 'exclude = ["list_chats"]\n')


async def until(what: Callable[[], object]) -> None:
    """Wait for the background work."""
    with anyio.fail_after(20):
        while not what():  # noqa: ASYNC110 - another thread or task does it
            await anyio.sleep(0.01)


async def prepare(serve: Serve, key: str, opening: list[tuple[str, dict[str, Any]]] = LEGACY) -> list[dict[str, Any]]:
    """Serve until the opening is kept; the results of its requests."""
    mine = Prepared(["serve"], {}).path(spelled(*opening[0]))
    async with serve(key, 20 if mine.exists() else 0) as client:
        found: list[dict[str, Any]] = await client.open(opening)
        await until(mine.exists)
    return found


def stored() -> dict[str, Any]:
    [path] = kept()
    found: dict[str, Any] = json.loads(path.read_text())
    return found


@pytest.mark.parametrize("era", ["legacy", "modern"])
async def test_what_the_sdk_answers_is_kept_once_waha_has_confirmed_it_and_is_said_again(
    serve: Serve, sandbox: SandboxInfo, era: str
) -> None:
    began = time.time()
    said = await prepare(serve, sandbox.keys["read_send"], OPENINGS[era])
    file = stored()
    assert began <= file["confirmed"] <= time.time()
    requests = [(method, params) for method, params in OPENINGS[era] if not method.startswith("notifications/")]
    assert [json.loads(request) for request, _ in file["opening"]] == [[*each] for each in requests]
    assert [result for _, result in file["opening"]] == [r | {"ttlMs": 0} if "ttlMs" in r else r for r in said]
    async with serve(sandbox.keys["read_send"]) as client:
        again = await client.open(OPENINGS[era])
        assert again == [result for _, result in file["opening"]]
        # The ids are free again, and the next answers are the SDK's own.
        assert names((await client.ask("tools/list", LEGACY[-1][1] if era == "legacy" else MODERN[-1][1], 1))["result"])
        assert client.notified == []
    assert stored()["confirmed"] > file["confirmed"]


async def test_clients_that_open_otherwise_do_not_take_the_prepared_opening_from_each_other(
    serve: Serve, sandbox: SandboxInfo
) -> None:
    for opening in (LEGACY, MODERN):
        await prepare(serve, sandbox.keys["read_send"], opening)
    for opening in (LEGACY, MODERN, LEGACY):
        first = json.loads(Prepared(["serve"], {}).path(spelled(*opening[0])).read_text())
        async with serve(sandbox.keys["read_send"]) as client:
            assert await client.open(opening) == [result for _, result in first["opening"]]


async def test_nothing_is_kept_while_waha_has_not_answered_about_an_action(
    serve: Serve, sandbox: SandboxInfo, admin: Admin
) -> None:
    await admin.fault(SEND, status=500, count=100)
    async with serve(sandbox.keys["read_send"]) as client:
        await client.open(LEGACY)
        await until(lambda: Action.READ in client.bridge.key.grant.actions)
        await client.heard_all()
        assert not kept()


async def test_a_call_of_what_waha_has_not_confirmed_yet_is_not_done_and_may_be_tried_again(
    serve: Serve, sandbox: SandboxInfo, admin: Admin
) -> None:
    await prepare(serve, sandbox.keys["read_send"])
    first = stored()
    await admin.fault(SEND, status=500, count=2)
    async with serve(sandbox.keys["read_send"]) as client:
        assert "send_text" in names((await client.open(LEGACY))[-1])
        call = {"name": "send_text", "arguments": {"chat": "12025550123@c.us", "text": "Hi"}}
        refused = (await client.ask("tools/call", call))["result"]
        assert refused["isError"]
        assert refused["content"][0]["text"] == (
            "send_text is offered, but action 'send' is not confirmed by WAHA yet. Nothing was done: try again later."
        )
        assert await admin.performed("/api/sendText") == []
        assert stored() == first  # WAHA has not contradicted it
        assert not (await client.ask("tools/call", call))["result"].get("isError")


async def test_another_listing_is_corrected_and_the_file_is_that_of_the_new_one(
    serve: Serve, sandbox: SandboxInfo, admin: Admin
) -> None:
    key = await admin.mint({Action.READ})
    await prepare(serve, key["key"])
    await admin.change_key(key, actions={"read": True, "send": True})
    async with serve(key["key"]) as client:
        assert "send_text" not in names((await client.open(LEGACY))[-1])
        await client.wait_for(CHANGED)
        assert "send_text" in names((await client.ask("tools/list", {}))["result"])
        await until(kept)
    async with serve(key["key"]) as client:
        assert "send_text" in names((await client.open(LEGACY))[-1])


async def test_what_the_server_says_of_itself_is_kept_anew_and_no_client_is_to_list_again_for_it(
    serve: Serve, sandbox: SandboxInfo, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("waha_mcp.server.protocol.INTRODUCING", 0.0)
    async with serve(sandbox.keys["read_send"]) as client:
        # A client that opens late gets what is known by then.
        await until(lambda: client.bridge.key.confirmed)
        late = await client.open(LEGACY)
        await until(kept)
    caplog.set_level("INFO", "waha_mcp.server.rehearsal")
    async with serve(sandbox.keys["read_send"]) as client:
        assert await client.open(LEGACY) == late

        def is_kept_anew() -> bool:
            # It is gone for a moment.
            with suppress(ValueError, FileNotFoundError):
                return bool(stored()["opening"][0][1] != late[0])
            return False

        await until(is_kept_anew)
        await client.heard_all()
        assert client.notified == []
    assert "The prepared opening was no longer right: initialize" in caplog.text


async def test_what_the_server_says_of_itself_is_the_same_at_the_next_start(serve: Serve, sandbox: SandboxInfo) -> None:
    said = await prepare(serve, sandbox.keys["read_send"], MODERN)
    assert said[0]["capabilities"]["resources"]["subscribe"] is True
    async with serve(sandbox.keys["read_send"]) as client:
        assert (await client.open(MODERN))[0] == said[0]
        await until(lambda: client.bridge.key.confirmed)
        await client.heard_all()
        assert stored()["opening"][0][1] == said[0]
        assert client.notified == []


async def test_a_subscription_to_resources_is_no_part_of_an_opening(serve: Serve, sandbox: SandboxInfo) -> None:
    discover, listing = MODERN
    meta = discover[1]["_meta"]
    listen = {"_meta": meta, "notifications": {"toolsListChanged": True, "resourceSubscriptions": ["waha://unread"]}}
    async with serve(sandbox.keys["read_send"]) as client:
        assert "result" in await client.ask(*discover, 1)
        client.say("subscriptions/listen", listen, 2)
        await client.wait_for("notifications/subscriptions/acknowledged")
        assert "result" in await client.ask(*listing, 3)
        await until(kept)
        assert [json.loads(request)[0] for request, _ in stored()["opening"]] == ["server/discover", "tools/list"]


async def test_a_listing_that_is_wrong_is_corrected_when_waha_answers_at_last(
    serve: Serve, sandbox: SandboxInfo, admin: Admin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("waha_mcp.waha.key_probe.SETTLE_BUDGET", 0.05)
    key = await admin.mint({Action.READ, Action.SEND})
    await prepare(serve, key["key"])
    await admin.change_key(key, isActive=False)
    await admin.fault(LOOK, delay=60)
    async with serve(key["key"]) as client:
        assert "send_text" in names((await client.open(LEGACY))[-1])
        assert names((await client.ask("tools/list", {}))["result"]) == {"get_status"}  # as the SDK answered at first
        assert kept()  # WAHA has not contradicted it
        await answer(admin)
        await client.wait_for(CHANGED)
        await until(lambda: not kept())
        assert names((await client.ask("tools/list", {}))["result"]) == {"get_status"}
    assert not kept()


async def test_an_opening_is_dropped_when_an_action_is_lost_later_and_kept_again_as_it_is_listed(
    serve: Serve, sandbox: SandboxInfo, admin: Admin
) -> None:
    key = await admin.mint({Action.READ, Action.SEND})
    async with serve(key["key"]) as client:
        await client.open(LEGACY)
        await until(kept)
        await admin.change_key(key, actions={"send": True})
        await client.ask("tools/call", {"name": "list_chats", "arguments": {}})
        await until(lambda: not kept())
        await client.ask("tools/call", {"name": "get_status", "arguments": {}})  # asks WAHA to confirm again
        assert not kept()  # what is listed now has not been listed yet
        await admin.change_key(key, actions={"read": True, "send": True})
        await client.ask("tools/call", {"name": "get_status", "arguments": {}})
        await client.ask("tools/list", {})
        await until(kept)
    assert "list_chats" in {tool["name"] for tool in stored()["opening"][-1][1]["tools"]}


async def test_waha_is_asked_again_so_that_the_listing_holds_the_next_morning(
    serve: Serve, sandbox: SandboxInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rehearsal, "RECONFIRM", 0.05)
    async with serve(sandbox.keys["read_send"]) as client:
        await client.open(LEGACY)
        await until(kept)
        first = stored()
        await until(lambda: stored()["confirmed"] > first["confirmed"])
    assert stored()["opening"] == first["opening"]


async def test_what_became_another_app_meanwhile_is_not_kept_for_it(
    serve: Serve, sandbox: SandboxInfo, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = anyio.Event()
    write = rehearsal.Rehearsal._write

    def noting(*arguments: Any) -> None:
        write(*arguments)
        anyio.from_thread.run_sync(tried.set)

    monkeypatch.setattr(rehearsal.Rehearsal, "_write", noting)
    async with serve(sandbox.keys["read_send"]) as client:
        exclude(file)
        await client.open(LEGACY)
        await tried.wait()
    assert not kept()


async def test_where_nothing_can_be_written_the_server_serves_all_the_same(
    serve: Serve, sandbox: SandboxInfo, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "waha_mcp.server.rehearsal")
    folder = Prepared([], {}).folder
    folder.parent.mkdir(parents=True)
    folder.write_text("no folder")
    async with serve(sandbox.keys["read_send"]) as client:
        await client.open(LEGACY)
        await until(lambda: "is not kept for the next start" in caplog.text)
        assert names((await client.ask("tools/list", {}))["result"])


async def test_where_it_is_not_known_of_what_an_app_is_made_nothing_is_kept(
    serve: Serve, sandbox: SandboxInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(App, "inputs", None)
    async with serve(sandbox.keys["read_send"]) as client:
        await client.open(LEGACY)
        await client.ask("tools/call", {"name": "get_status", "arguments": {}})
        assert names((await client.ask("tools/list", {}))["result"])
    assert not kept()


async def test_the_folder_is_made_private_and_what_is_old_in_it_deleted(serve: Serve, sandbox: SandboxInfo) -> None:
    folder = Prepared([], {}).folder
    old = old_file(folder)
    await prepare(serve, sandbox.keys["read_send"])
    assert old not in kept()
    assert only_mine(folder)


async def test_the_id_of_a_listing_that_was_cancelled_may_be_that_of_any_request(
    serve: Serve, sandbox: SandboxInfo, admin: Admin
) -> None:
    await admin.fault(LOOK, delay=60)
    async with serve(sandbox.keys["read_send"]) as client:
        await client.open(LEGACY[:-1])
        client.say("tools/list", {}, 5)
        client.say("notifications/cancelled", {"requestId": 5})
        await client.heard_all()
        await answer(admin)
        await until(lambda: client.bridge.key.confirmed)
        assert (await client.ask("ping", {}, 5)) == {"jsonrpc": "2.0", "id": 5, "result": {}}
        await client.ask("tools/call", {"name": "get_status", "arguments": {}})
        assert not kept()
        await client.ask("tools/list", {})
        await until(kept)


async def test_a_listing_that_the_sdk_refuses_is_not_kept(serve: Serve, sandbox: SandboxInfo) -> None:
    async with serve(sandbox.keys["read_send"]) as client:
        await client.open(LEGACY[:-1])
        await until(lambda: client.bridge.key.confirmed)
        assert "error" in await client.ask("tools/list", {"cursor": 5})
        await client.heard_all()
        assert not kept()


async def test_only_the_answers_to_what_the_client_opens_with_are_kept_and_only_once(
    serve: Serve, sandbox: SandboxInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[object] = []

    def noting(*each: Any) -> None:
        write_atomically(*each)
        written.append(each)

    monkeypatch.setattr(rehearsal, "write_atomically", noting)
    async with serve(sandbox.keys["read_send"]) as client:
        await client.open(LEGACY)
        await until(kept)
        first = stored()
        await client.ask("ping", {})  # with this the opening is complete
        await client.ask("tools/list", {})
        other = LEGACY[0][1] | {"protocolVersion": "2024-11-05"}
        assert (await client.ask("initialize", other))["result"]["protocolVersion"] == "2024-11-05"
        assert "error" in await client.ask("tools/list", {"cursor": 5})
        await client.ask("tools/call", {"name": "get_status", "arguments": {}})  # asks WAHA to confirm again
        await until(lambda: stored()["confirmed"] > first["confirmed"])
    assert stored()["opening"] == first["opening"]
    assert len(written) == 2


async def test_an_answer_that_the_sdk_would_not_have_given_is_not_followed_by_its_error_and_the_file_is_deleted(
    serve: Serve, sandbox: SandboxInfo
) -> None:
    await prepare(serve, sandbox.keys["read_send"])
    [path] = kept()
    change(path, "tools/list", {"cursor": 5})
    async with serve(sandbox.keys["read_send"]) as client:
        found = await client.open([*LEGACY[:-1], ("tools/list", {"cursor": 5})])
        assert names(found[-1])
        await until(lambda: not kept())
        await client.heard_all()
        assert client.notified == []  # as if the SDK knew no listing


def change(path: Path, method: str, params: dict[str, Any]) -> None:
    """Change the kept answer to a method so that it belongs to other parameters."""
    raw = json.loads(path.read_text())
    raw["opening"] = [
        [spelled(method, params) if json.loads(request)[0] == method else request, result]
        for request, result in raw["opening"]
    ]
    path.write_text(json.dumps(raw))
