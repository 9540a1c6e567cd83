"""Changes while clients are connected over HTTP: within a minute each of them sees the right tools."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from mcp import Client, types
from mcp.client.streamable_http import streamable_http_client

from tests.forwarding import Forwarder
from tests.harness import ERAS, Admin, Era, sandbox_server
from tests.http_server import Served, http_server, until, write_app
from tests.redis_server import RedisServer
from tests.serving import free_port
from waha_mcp.app.actions import Action
from waha_mcp.bridges import RECHECK, ROUND
from waha_mcp.sandbox import SandboxInfo
from waha_mcp.server.credentials import REMEMBERED

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

#: A minute's periodic checks, in a fraction of it.
QUICK = (
    "import waha_mcp.bridges as b, waha_mcp.server.credentials as c\n"
    "b.RECHECK, b.RETRY, b.ROUND, c.REMEMBERED = 0.5, 0.2, 0.1, 0.5\n"
)
SOON = 15.0
SAM = "12025550123@c.us"


def test_who_listens_hears_of_a_change_within_a_minute_and_a_round() -> None:
    assert RECHECK + ROUND <= 65
    assert REMEMBERED < RECHECK


@pytest.fixture(scope="module")
def waha() -> Iterator[SandboxInfo]:
    with sandbox_server() as info:
        yield info


@pytest.fixture
async def hand(waha: SandboxInfo) -> AsyncIterator[Admin]:
    admin = Admin(waha)
    yield admin
    await admin.aclose()


@asynccontextmanager
async def watching(server: Served, key: str, era: Era) -> AsyncIterator[Watcher]:
    """A client that is notified of changes of its tools, in the way of its era."""
    told = Watcher()

    async def heard(message: Any) -> None:
        if isinstance(message, types.ToolListChangedNotification) or "ToolListChanged" in repr(message)[:80]:
            told.change()

    http = httpx2.AsyncClient(headers={"X-Api-Key": key}, timeout=30, verify=False, trust_env=False)
    async with (
        http,
        Client(
            streamable_http_client(server.url, http_client=http), mode=era, message_handler=heard, cache=None
        ) as client,
        anyio.create_task_group() as tasks,
    ):
        told.client = client
        if era == "auto":
            await tasks.start(told.listen)
        yield told
        tasks.cancel_scope.cancel()


class Watcher:
    """The notifications of a client."""

    client: Client

    def __init__(self) -> None:
        self._changed = anyio.Event()

    def change(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()

    async def listen(self, *, task_status: Any) -> None:
        while True:
            async with self.client.listen(tools_list_changed=True) as events:
                task_status.started()
                async for _ in events:
                    self.change()
            # The stream has ended, and may be opened again.
            task_status = anyio.TASK_STATUS_IGNORED
            self.change()

    async def tools(self) -> set[str]:
        return {tool.name for tool in (await self.client.list_tools()).tools}

    async def until(self, *, there: bool, name: str = "send_text") -> None:
        """Wait until a tool is (not) listed, listing again only after a notification."""
        with anyio.fail_after(SOON):
            while True:
                changed = self._changed
                if (name in await self.tools()) is there:
                    return
                await changed.wait()


@pytest.mark.parametrize("era", ERAS)
async def test_a_right_that_is_taken_or_given_shows_in_the_tools_of_who_only_listens(
    era: Era, waha: SandboxInfo, hand: Admin, tmp_path: Path
) -> None:
    key = await hand.mint([Action.READ, Action.SEND])
    write_app(tmp_path, "mine", waha, key["key"])
    with http_server("--apps", str(tmp_path), "--sessions", first=QUICK) as server:
        async with watching(server, key["key"], era) as told:
            await told.until(there=True)
            await hand.change_key(key, actions={"read": True})
            await told.until(there=False)
            assert "list_chats" in await told.tools()
            await hand.change_key(key, actions={"read": True, "send": True})
            await told.until(there=True)


@pytest.mark.parametrize("era", ERAS)
async def test_a_definition_that_changes_shows_in_the_tools_of_who_only_listens(
    era: Era, waha: SandboxInfo, hand: Admin, tmp_path: Path
) -> None:
    key = (await hand.mint([Action.READ, Action.SEND]))["key"]
    write_app(tmp_path, "mine", waha, key)
    with http_server("--apps", str(tmp_path), "--sessions", first=QUICK) as server:
        async with watching(server, key, era) as told:
            await told.until(there=True)
            write_app(tmp_path, "mine", waha, key, actions=["read"])
            await told.until(there=False)


async def test_a_revoked_key_is_out_within_a_minute_without_a_call_of_its_own(
    waha: SandboxInfo, hand: Admin, tmp_path: Path
) -> None:
    key = await hand.mint([Action.READ])
    write_app(tmp_path, "mine", waha, key["key"])
    with http_server("--apps", str(tmp_path), first=QUICK) as server, server.caller(key["key"]) as caller:
        assert "list_chats" in caller.tools()
        await hand.change_key(key, isActive=False)
        until(lambda: caller.ask("tools/list").status == 401)
        await hand.change_key(key, isActive=True)
        until(lambda: caller.ask("tools/list").status == 200)
        assert "list_chats" in caller.tools()


async def test_while_waha_is_away_nothing_false_is_said_and_afterwards_all_goes_on(
    waha: SandboxInfo, hand: Admin, tmp_path: Path
) -> None:
    behind, key = int(waha.url.rpartition(":")[2]), waha.keys["read_send"]
    port = free_port()
    write_app(tmp_path, "mine", waha, key, url=f"http://127.0.0.1:{port}")
    with http_server("--apps", str(tmp_path), first=QUICK) as server, server.caller(key) as caller:
        # WAHA was never reached: nothing is known about the key, so only the status is offered.
        assert caller.tools() == {"get_status"}
        with closing(Forwarder(behind, port)):
            # An action whose probe still found nobody there is asked about again.
            until(lambda: {"list_chats", "send_text"} <= caller.tools())
            before = caller.tools()
            assert (listed := caller.tool("list_chats")).good, listed.words
        gone = caller.tool("send_text", chat=SAM, text="After it was away")
        assert gone.result["isError"]
        assert "was not sent" in gone.words
        assert caller.tools() == before
        with closing(Forwarder(behind, port)):
            assert caller.tool("send_text", chat=SAM, text="After it was away").good
            assert caller.tools() == before
    assert [each["body"]["text"] for each in await hand.performed("/api/sendText")].count("After it was away") == 1


async def test_a_session_that_stops_and_comes_back_is_said_and_needs_no_new_start(
    waha: SandboxInfo, hand: Admin, tmp_path: Path
) -> None:
    key = waha.keys["read_send"]
    write_app(tmp_path, "mine", waha, key)
    with http_server("--apps", str(tmp_path), first=QUICK) as server, server.caller(key) as caller:
        listed = caller.tools()
        await hand.request("POST", f"/api/sessions/{waha.session}/stop")
        refused = caller.tool("send_text", chat=SAM, text="Hi")
        assert refused.result["isError"]
        assert "stopped" in refused.words.lower()
        await hand.request("POST", f"/api/sessions/{waha.session}/start")
        until(lambda: caller.tool("list_chats").good)
        assert caller.tools() == listed


async def test_what_one_replica_finds_out_the_others_clients_hear_at_once(
    waha: SandboxInfo, hand: Admin, tmp_path: Path, redis_server: RedisServer
) -> None:
    key = await hand.mint([Action.READ, Action.SEND])
    folder = tmp_path / "apps"
    folder.mkdir()
    write_app(folder, "mine", waha, key["key"])

    def replica() -> Served:
        return http_server("--apps", str(folder), WAHA_MCP_STORE=redis_server.url)

    with replica() as one, replica() as other:
        async with watching(other, key["key"], "auto") as told:
            await told.until(there=True)
            await hand.change_key(key, actions={"read": True})
            with one.caller(key["key"]) as caller:
                # Its first request: WAHA is asked about the key.
                assert "send_text" not in caller.tools()
                await hand.change_key(key, actions={"read": True, "send": True})
                await told.until(there=False)
