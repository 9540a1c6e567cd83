"""Search, unread chats and the summary while the index is filled, when it goes away, and as messages come."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.harness import Admin, app_for
from tests.test_indexing import until
from tests.tools.core.test_indexed_search import (
    KESTREL,
    MAYA,
    SPECIAL,
    all_hits,
    by_time,
    current,
    indexed,
    pages,
)
from tests.tools.core.test_names import ask
from waha_mcp import bridge as bridge_module
from waha_mcp import indexing as indexing_module
from waha_mcp.bridge import Bridge
from waha_mcp.history.index import Index
from waha_mcp.history.index_rows import Gap
from waha_mcp.history.records import Sieve
from waha_mcp.indexing import Indexing
from waha_mcp.sandbox import SandboxInfo
from waha_mcp.store import StoreAway

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

STRANGER = "12025550188@c.us"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No pauses between the steps of filling, and short waits."""
    monkeypatch.setattr(bridge_module, "LISTING_FIRST", 0.0)
    for name, seconds in {"PAUSE": 0.0, "CLAIM": 0.05, "AGAIN": 0.1, "SOON": 0.0}.items():
        monkeypatch.setattr(indexing_module, name, seconds)
    monkeypatch.setattr("waha_mcp.indexing.READY", 1.0)


class Held:
    """Stops the filling of an index after this many pages, until more are allowed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, pages: int) -> None:
        self.left = pages
        held, next_gap = self, Index.next_gap

        def next_one(index: Index, *given: Any) -> Gap | None:
            gap = next_gap(index, *given)
            if gap is None or gap.late:
                return gap
            held.left -= 1
            return gap if held.left >= 0 else None

        monkeypatch.setattr(Index, "next_gap", next_one)


@asynccontextmanager
async def partly(
    sandbox: SandboxInfo, monkeypatch: pytest.MonkeyPatch, count: int
) -> AsyncIterator[tuple[Bridge, Held]]:
    """An App whose index was filled with this many pages of ten messages, and no more."""
    monkeypatch.setattr(indexing_module, "PAGE", 10)
    held = Held(monkeypatch, count)
    async with Bridge(app_for(sandbox, sandbox.keys["read_send"], index=True)) as bridge:
        await current(bridge)
        yield bridge, held


def go_on(bridge: Bridge) -> None:
    """Let the index check what it has to read."""
    assert bridge.indexing is not None
    bridge.indexing._looked = 0.0
    bridge.indexing._awake()


async def whole(bridge: Bridge) -> None:
    assert bridge.indexing is not None
    index = bridge.indexing.index
    assert index is not None

    async def filled() -> bool:
        return not index.gaps()

    await until(filled)
    await current(bridge)


def without_special(hits: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Hits that both the index and reading back find, in order."""
    assert len(hits) == len({hit["id"] for hit in hits})
    return [hit for hit in by_time(hits) if not SPECIAL.search(hit["id"])]


QUERIES = ("e", "from:me", "the", "kind:image", f"a in:{MAYA}", f"e -in:{MAYA} before:20d", "good after:60d", "qzx")


# While it is filled


@pytest.mark.parametrize("count", [0, 5, 30, 45])
async def test_what_is_not_in_it_yet_is_read_back_and_nothing_is_lost_or_doubled(
    count: int, sandbox: SandboxInfo, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    if request.node.callspec.params["sandbox"] in ("webjs", "wpp") and count != 30:
        pytest.skip("read back chat by chat, which takes long")
    async with (
        partly(sandbox, monkeypatch, count) as (bridge, _),
        Bridge(app_for(sandbox, sandbox.keys["read_send"])) as without,
    ):
        for query in QUERIES:
            wanted = await all_hits(without, query=query, limit=100)
            for limit in (9, 100):
                found = await pages(bridge, query=query, limit=limit)
                hits = [hit for page in found for hit in page["hits"]]
                assert without_special(hits) == without_special(wanted), query
                # Chat by chat, each is newest first.
                if "Searched chat by chat" not in str(found):
                    assert [hit["time"] for hit in hits] == sorted((hit["time"] for hit in hits), reverse=True)
        found = await pages(bridge, query="qzx")
        assert "The index is being filled: what is from before 2" in str(found[0]["notes"])


async def test_pages_go_on_where_they_stood_while_it_is_filled(
    sandbox: SandboxInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = {}
    async with Bridge(app_for(sandbox, sandbox.keys["read_send"])) as without:
        for query in QUERIES:
            wanted[query] = await all_hits(without, query=query, limit=100)
    async with partly(sandbox, monkeypatch, 2) as (bridge, held):
        for query in QUERIES:
            hits: list[dict[str, Any]] = []
            more: dict[str, str] = {}
            while True:
                page = await ask(bridge, "search_messages", query=query, limit=20, **more)
                hits += page["hits"]
                if "cursor" not in page:
                    break
                more = {"cursor": page["cursor"]}
                held.left = 1
                go_on(bridge)
                await current(bridge)
            assert without_special(hits) == without_special(wanted[query]), query


async def test_a_chat_that_is_new_while_paging_doubles_nothing(
    sandbox: SandboxInfo, monkeypatch: pytest.MonkeyPatch, admin: Admin
) -> None:
    async with indexed(sandbox) as bridge:
        before = await all_hits(bridge, query="e", limit=100)
        first = await ask(bridge, "search_messages", query="e", limit=30)
        Held(monkeypatch, 0)
        for number in range(3):
            body = {"chatId": STRANGER, "text": f"here {number}", "told": []}
            await admin.request("POST", "/sandbox/messages", body)
        go_on(bridge)
        index = await current(bridge)

        async def known() -> bool:
            return STRANGER in {each.chat for each in index.gaps()}

        await until(known)
        hits = first["hits"]
        page = first
        while "cursor" in page:
            page = await ask(bridge, "search_messages", query="e", limit=30, cursor=page["cursor"])
            hits = hits + page["hits"]
        assert [hit["id"] for hit in without_special(hits)] == [hit["id"] for hit in without_special(before)]


async def test_messages_that_come_while_paging_shift_nothing(sandbox: SandboxInfo, admin: Admin) -> None:
    async with indexed(sandbox) as bridge:
        before = await all_hits(bridge, query="e", limit=100)
        hits: list[dict[str, Any]] = []
        more: dict[str, str] = {}
        while True:
            page = await ask(bridge, "search_messages", query="e", limit=60, **more)
            hits += page["hits"]
            if "cursor" not in page:
                break
            more = {"cursor": page["cursor"]}
            await admin.request("POST", "/sandbox/messages", {"chatId": MAYA, "text": "one more message"})
        assert hits == before


# What goes away


@pytest.mark.parametrize("after", [0, 1, 2])
async def test_where_the_index_goes_away_in_a_search_the_rest_is_read_back(
    after: int, sandbox: SandboxInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("waha_mcp.history.index_records.BATCH", 20)
    async with indexed(sandbox) as bridge:
        wanted = await all_hits(bridge, query="e", limit=100)
        search, looks = Index.search, 0

        def goes_away(index: Index, *given: Any, **more: Any) -> Any:
            nonlocal looks
            looks += 1
            if looks > after:
                raise StoreAway("The disk is gone.")
            return search(index, *given, **more)

        monkeypatch.setattr(Index, "search", goes_away)
        found = await pages(bridge, query="e", limit=100)
        assert "The disk is gone. What it did not give was searched over WAHA." in found[0]["notes"]
        hits = [hit for page in found for hit in page["hits"]]
        assert without_special(hits) == without_special(wanted)


async def test_where_the_index_goes_away_between_pages_the_cursor_holds(
    sandbox: SandboxInfo, monkeypatch: pytest.MonkeyPatch, admin: Admin
) -> None:
    now = int(time.time()) - 500
    for number in range(12):
        # Several of one second.
        await admin.request(
            "POST", "/sandbox/messages", {"chatId": MAYA, "text": f"needle {number}", "timestamp": now + number // 5}
        )
    async with indexed(sandbox) as bridge:
        wanted = await all_hits(bridge, query="needle", limit=100)
        assert len(wanted) == 12
        ready = Indexing.ready
        for limit in range(1, 12):
            first = await ask(bridge, "search_messages", query="needle", limit=limit)
            monkeypatch.setattr(Indexing, "ready", _never)
            second = await ask(bridge, "search_messages", query="needle", cursor=first["cursor"])
            monkeypatch.setattr(Indexing, "ready", ready)
            assert by_time(first["hits"] + second["hits"]) == by_time(wanted)
            assert "The index is not available." in str(second["notes"])


async def test_a_search_that_began_without_the_index_goes_on_without_it(
    sandbox: SandboxInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with indexed(sandbox) as bridge:
        ready = Indexing.ready
        for query in ("e", f"e in:{MAYA}", f'e in:{MAYA} in:"{KESTREL}"'):
            monkeypatch.setattr(Indexing, "ready", _never)
            wanted = await all_hits(bridge, query=query, limit=10)
            first = await ask(bridge, "search_messages", query=query, limit=10)
            monkeypatch.setattr(Indexing, "ready", ready)
            hits, page = first["hits"], first
            while "cursor" in page:
                page = await ask(bridge, "search_messages", query=query, limit=10, cursor=page["cursor"])
                hits = hits + page["hits"]
            assert by_time(hits) == by_time(wanted)


async def _never(self: Indexing, seconds: float | None = None) -> None:
    """Make the index unavailable."""


async def test_neighbours_that_the_index_cannot_give_are_read_back(
    sandbox: SandboxInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with indexed(sandbox) as bridge:
        asked = {"query": "friday", "chat": MAYA, "context": 2, "limit": 3}
        wanted = await ask(bridge, "search_messages", **asked)
        assert "before" in str(wanted)

        def away(*given: Any, **more: Any) -> Any:
            raise StoreAway("The disk is gone.")

        monkeypatch.setattr(Index, "around", away)
        found = await ask(bridge, "search_messages", **asked)
        if bridge.waha.engine != "WPP":
            assert found["hits"] == wanted["hits"]
        assert "The disk is gone." in str(found["notes"])


@pytest.mark.parametrize("count", [20, 35])
async def test_neighbours_of_a_chat_that_is_partly_there_are_read_back(
    count: int, sandbox: SandboxInfo, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    if request.node.callspec.params["sandbox"] in ("webjs", "wpp"):
        pytest.skip("WPP filters late, and WEBJS has a person's second chat apart")
    async with (
        partly(sandbox, monkeypatch, count) as (bridge, _),
        Bridge(app_for(sandbox, sandbox.keys["read_send"])) as without,
    ):
        assert bridge.indexing is not None
        assert bridge.indexing.index is not None
        partial = {gap.chat for gap in bridge.indexing.index.gaps()}
        held = {each.record.chat for each in bridge.indexing.index.search(Sieve(), most=1_000)}
        asked = 0
        for chat in sorted(partial & held)[:6]:
            if chat.endswith(("@g.us", "@c.us")):
                near = {"query": "e", "chat": chat, "context": 3, "limit": 3}
                found, wanted = [await all_hits(each, **near) for each in (bridge, without)]
                assert found == wanted, near
                asked += len(found)
        assert asked > 10
