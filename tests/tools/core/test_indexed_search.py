"""Search with the local index: the same as without it, while it is filled, and when it goes away."""

from __future__ import annotations

import random
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.harness import app_for
from tests.test_indexing import until
from tests.tools.core.test_names import ask
from waha_mcp import bridge as bridge_module
from waha_mcp import indexing as indexing_module
from waha_mcp.bridge import Bridge
from waha_mcp.history.index import Index
from waha_mcp.sandbox import SandboxInfo

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

MAYA, SAM, DAD = "447700900142@c.us", "12025550123@c.us", "12025550101@c.us"
#: Messages in channels, and in the second chat of a person with a hidden id.
SPECIAL = re.compile("@newsletter|_81054924364740@lid_")
KESTREL, HIKERS = "Project Kestrel", "Sunday Hikers 🥾"
CHATS = (KESTREL, DAD, HIKERS, SAM)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No pauses between the steps of filling."""
    monkeypatch.setattr(bridge_module, "LISTING_FIRST", 0.0)
    for name, seconds in {"PAUSE": 0.0, "CLAIM": 0.05, "AGAIN": 0.1, "SOON": 0.0}.items():
        monkeypatch.setattr(indexing_module, name, seconds)


async def current(bridge: Bridge) -> Index:
    """The index, once everything was read."""

    async def is_current() -> bool:
        return bridge.indexing is not None and bridge.indexing.state == "current"

    await until(is_current)
    assert bridge.indexing is not None
    assert bridge.indexing.index is not None
    return bridge.indexing.index


@asynccontextmanager
async def indexed(sandbox: SandboxInfo, **fields: Any) -> AsyncIterator[Bridge]:
    """An App whose index is complete."""
    async with Bridge(app_for(sandbox, sandbox.keys["read_send"], index=True, **fields)) as bridge:
        await current(bridge)
        yield bridge


async def pages(bridge: Bridge, **arguments: Any) -> list[dict[str, Any]]:
    """All pages of a search."""
    found = [await ask(bridge, "search_messages", **arguments)]
    while "cursor" in found[-1]:
        found.append(await ask(bridge, "search_messages", **arguments, cursor=found[-1]["cursor"]))
    return found


async def all_hits(bridge: Bridge, **arguments: Any) -> list[dict[str, Any]]:
    return [hit for page in await pages(bridge, **arguments) for hit in page["hits"]]


def by_time(hits: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Newest first, and within one second by id."""
    return sorted(sorted(hits, key=lambda hit: hit["id"]), key=lambda hit: hit["time"], reverse=True)


# Compared with reading back


def queries(rows: list[dict[str, Any]], names: list[str], count: int, seed: str) -> Iterator[dict[str, Any]]:
    """Random searches for what exists, and for what nearly matches."""
    rng = random.Random(seed)
    texts = [hit["text"] for hit in rows if hit.get("text")]
    words = sorted({word for text in texts for word in text.split() if word.strip("-\"'")})

    def plain(text: str) -> str:
        return text.replace('"', " ").strip("-: ").replace(":", " ").strip() or "the"

    def word() -> str:
        return plain(rng.choice(words)).split()[0]

    def part() -> str:
        one, length = word(), rng.choice((1, 2, 2, 3, 3, 4))
        at = rng.randrange(max(1, len(one) - length + 1))
        return plain(one[at : at + length])

    def phrase() -> str:
        text = plain(rng.choice(texts))
        at = rng.randrange(max(1, len(text) - 8))
        return f'"{plain(text[at : at + rng.randint(4, 25)])}"'

    def day() -> str:
        return f"{rng.randint(1, 200)}d"

    def fields() -> str:
        return rng.choice(
            (
                f'from:"{rng.choice(names)}"',
                "from:me",
                f'-from:"{rng.choice(names)}"',
                "-from:me",
                f'in:"{rng.choice((KESTREL, HIKERS, *names))}"',
                f'-in:"{rng.choice((KESTREL, HIKERS, *names))}"',
                f'in:"{KESTREL}" in:"{rng.choice(names)}"',
                f"kind:{rng.choice(('text', 'image', 'voice', 'document', 'poll', 'location', 'contact'))}",
                "-kind:text",
                f"has:{rng.choice(('link', 'file', 'mention', 'quote', 'edited'))}",
                f"-has:{rng.choice(('link', 'file', 'mention', 'quote'))}",
                f"after:{day()}",
                f"before:{day()}",
            )
        )

    def wordy() -> str:
        return rng.choice(
            (
                word,
                part,
                part,
                phrase,
                lambda: f"{word()} {part()}",
                lambda: f"{part()} {part()}",
                lambda: f"{part()} -{part()}",
                lambda: f"@{rng.choice(names).split()[0]}",
                lambda: word() + "qzx",
            )
        )()

    for _ in range(count):
        query = rng.choice((wordy, wordy, fields, lambda: f"{wordy()} {fields()}", lambda: f"{wordy()} {fields()}"))()
        yield {"query": query, "limit": rng.choice((7, 100, 100, 100))}


async def known(bridge: Bridge) -> list[str]:
    """Names that exactly one person or chat has."""
    people = [entry for entry in bridge.directory.entries() if entry.kind == "person"]
    found = [entry.name for entry in people if entry.name and bridge.directory.saved_name(entry.id)]
    return [name for name in found if found.count(name) == 1 and '"' not in name]


def same(found: list[dict[str, Any]], wanted: list[dict[str, Any]], asked: dict[str, Any]) -> None:
    """The hits of the index, which are newest first, and those of reading back, each once."""
    assert [hit["time"] for hit in found] == sorted((hit["time"] for hit in found), reverse=True), asked
    # Only one of the two knows chats that cannot be read one by one, and a person's second chat.
    ours, theirs = ([hit for hit in by_time(hits) if not SPECIAL.search(hit["id"])] for hits in (found, wanted))
    assert ours == theirs, asked
    assert len(found) == len({hit["id"] for hit in found}), asked


async def test_the_index_finds_what_reading_back_finds(sandbox: SandboxInfo, request: pytest.FixtureRequest) -> None:
    engine = request.node.callspec.params["sandbox"]
    count = 130 if engine in ("gows", "noweb") else 20
    read_back = app_for(sandbox, sandbox.keys["read_send"])
    async with indexed(sandbox) as with_index, Bridge(read_back) as without:
        everything = await all_hits(without, query="before:now", limit=100)
        names = await known(without)
        assert len(everything) > 500
        assert len(names) > 5
        hits = 0
        for asked in queries(everything, names, count, engine):
            found = await all_hits(with_index, **asked)
            same(found, await all_hits(without, **asked), asked)
            hits += len(found)
        assert hits > 10 * count


async def test_the_best_and_the_neighbours_are_the_same(
    sandbox: SandboxInfo, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = request.node.callspec.params["sandbox"]
    # All chats are read in one call.
    monkeypatch.setattr("waha_mcp.tools.core.search.REQUESTS", 200)
    async with indexed(sandbox) as with_index, Bridge(app_for(sandbox, sandbox.keys["read_send"])) as without:
        everything = await all_hits(without, query="before:now", limit=100)
        names = await known(without)
        left_out = f'-in:"City Library News"{"" if engine in ("gows", "noweb") else f" -in:{MAYA}"}'
        around = several = 0
        for asked in queries(everything, names, 16, engine):
            best = {"query": f"{asked['query']} {left_out}", "order": "relevance", "limit": 100}
            found, wanted = [await all_hits(bridge, **best) for bridge in (with_index, without)]
            assert found == wanted, best
            several += len(found) > 1
            # Some engines are read back chat by chat. The budget of one call covers the neighbours of three hits.
            near = asked | {"chat": CHATS[several % 4], "context": 2, "limit": 3}
            if engine in ("gows", "noweb"):
                near = {"query": best["query"], "context": 2, "limit": 3}
            elif "in:" in asked["query"] or engine == "wpp":
                # WPP filters only what it fetched: messages after another one are not read back correctly there.
                continue
            found, wanted = [(await ask(bridge, "search_messages", **near))["hits"] for bridge in (with_index, without)]
            assert found == wanted, near
            around += sum("before" in hit and "after" in hit for hit in found)
        assert several > 3
        assert around > 1 or engine == "wpp"
