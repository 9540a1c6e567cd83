"""Several bridges of one account listen over one WebSocket; none receives more than its own key allows."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import anyio
import pytest

from tests.harness import Admin, app_for
from waha_mcp.app.actions import Action
from waha_mcp.bridge import Bridge, Shared
from waha_mcp.feed import live
from waha_mcp.sandbox import SandboxInfo
from waha_mcp.waha.event_socket import NoEvents, NoneForThisKey
from waha_mcp.waha.shared_events import WAITING, SharedEvents

pytestmark = pytest.mark.anyio

MAYA = "447700900142@c.us"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Attempts to connect follow without delay."""
    for name in ("FIRST_PAUSE", "LONGEST_PAUSE", "POLL", "SLOWEST_POLL"):
        monkeypatch.setattr(live, name, 0.02)


@asynccontextmanager
async def sharing(sandbox: SandboxInfo, *keys: str) -> AsyncIterator[list[Bridge]]:
    """A bridge for each key, with their feeds open, on shared connections."""
    shared = SharedEvents()
    async with anyio.create_task_group() as tasks, AsyncExitStack() as stack:
        shared.start = tasks.start_soon
        bridges = []
        for number, key in enumerate(keys):
            app = app_for(sandbox, key, id=f"app{number}")
            bridge = await stack.enter_async_context(Bridge(app, shared=Shared(events=shared)))
            await bridge.key.settle()
            await bridge.feed.open()
            bridges.append(bridge)
        yield bridges
        await stack.aclose()
        tasks.cancel_scope.cancel()


async def sockets(admin: Admin) -> int:
    return sum(each["path"] == "/ws" for each in await admin.request("GET", "/sandbox/requests"))


async def come(admin: Admin, text: str) -> None:
    await admin.request("POST", "/sandbox/messages", {"chatId": MAYA, "text": text})


async def hears(bridge: Bridge, text: str) -> None:
    with anyio.fail_after(20):
        while not (found := [each for each in bridge.feed.record.entries if each.event.row.get("body") == text]):
            await bridge.feed.record.more(bridge.feed.record.last)
    assert len(found) == 1


async def until(bridge: Bridge, state: str) -> None:
    with anyio.fail_after(20):
        while bridge.feed.state != state:
            await bridge.feed.record.more(bridge.feed.record.last)


async def test_several_apps_of_an_account_hear_every_message_once_over_one_connection(
    sandbox: SandboxInfo, admin: Admin
) -> None:
    async with sharing(sandbox, *(sandbox.keys[name] for name in ("read", "read_send", "full"))) as bridges:
        assert {bridge.feed.state for bridge in bridges} == {"live"}
        await come(admin, "for all of you")
        for bridge in bridges:
            await hears(bridge, "for all of you")
        assert await sockets(admin) == 1


async def test_when_the_first_one_leaves_the_others_go_on_with_a_key_of_theirs_and_miss_nothing(
    sandbox: SandboxInfo, admin: Admin
) -> None:
    async with sharing(sandbox, *(sandbox.keys[name] for name in ("read", "read_send", "full"))) as bridges:
        bridges[0].feed.close()
        await come(admin, "after the first has gone")
        for bridge in bridges[1:]:
            await hears(bridge, "after the first has gone")
            await until(bridge, "live")
        assert await sockets(admin) == 2
        assert not bridges[0].feed.record.entries


async def test_a_key_that_may_not_read_any_more_hears_nothing_over_anothers_connection(
    sandbox: SandboxInfo, admin: Admin
) -> None:
    other = await admin.mint([Action.READ])
    async with sharing(sandbox, sandbox.keys["read"], other["key"]) as [first, second]:
        await admin.change_key(other, actions={"send": True})
        # It has to join again, as after any broken connection.
        await admin.request("POST", "/sandbox/socket", {"drop": True})
        await until(first, "live")
        await until(second, "off")
        await come(admin, "not for the second")
        await hears(first, "not for the second")
        assert not [each for each in second.feed.record.entries if each.event.row.get("body")]


class Said:
    """A WAHA for this test, with scripted connections and a key that may read or not."""

    url, session = "http://127.0.0.1:1", "default"

    def __init__(self, *arriving: Any, refused: BaseException | None = None) -> None:
        self.arriving, self.refused, self.opened = arriving, refused, 0

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[AsyncIterator[Any]]:
        self.opened += 1

        async def come() -> AsyncIterator[Any]:
            for each in self.arriving:
                if isinstance(each, BaseException):
                    raise each
                yield each
            await anyio.sleep_forever()

        yield come()

    async def call(self, operation: str) -> None:
        if self.refused is not None:
            raise self.refused


async def listen(shared: SharedEvents, waha: Any, why: list[NoEvents]) -> None:
    try:
        async with shared.listening(waha) as arriving:
            async for _ in arriving:
                pass
    except NoEvents as error:
        why.append(error)


async def test_what_waha_says_of_the_key_that_opened_is_said_of_no_other() -> None:
    shared, mine, other = SharedEvents(), list[NoEvents](), list[NoEvents]()
    async with anyio.create_task_group() as tasks:
        shared.start = tasks.start_soon
        tasks.start_soon(listen, shared, Said(NoneForThisKey("no")), mine)
        tasks.start_soon(listen, shared, Said(), other)
    assert [type(error) for error in (*mine, *other)] == [NoneForThisKey, NoEvents]


async def test_one_that_falls_behind_is_cut_off_and_holds_up_nobody() -> None:
    shared, heard, kept = SharedEvents(), list[Any](), list[Any]()
    gate = anyio.Event()
    waha: Any = Said()

    async def come() -> AsyncIterator[int]:
        await gate.wait()
        for number in range(WAITING + 5):
            yield number
            await anyio.lowlevel.checkpoint()
        await anyio.sleep_forever()

    @asynccontextmanager
    async def listening() -> AsyncIterator[AsyncIterator[int]]:
        yield come()

    waha.listening = listening
    async with anyio.create_task_group() as tasks:
        shared.start = tasks.start_soon
        async with shared.listening(waha) as arriving, shared.listening(Said()) as slow:  # type: ignore[arg-type]
            gate.set()
            async for each in arriving:
                heard.append(each)
                if len(heard) == WAITING + 5:
                    break
            cut = None
            try:
                async for each in slow:
                    kept.append(each)
            except NoEvents as error:
                cut = error
        tasks.cancel_scope.cancel()
    assert (len(heard), len(kept), type(cut)) == (WAITING + 5, WAITING, NoEvents)
