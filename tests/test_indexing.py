"""Keeping an App's index filled, from WAHA over real HTTP and WebSocket, on each engine."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.harness import Admin, app_for
from tests.sandbox.box import MAYA, SAM, Box
from waha_mcp import bridge as bridge_module
from waha_mcp import indexing as indexing_module
from waha_mcp.app.actions import Action
from waha_mcp.app.policy_fields import Chats
from waha_mcp.bridge import Bridge
from waha_mcp.feed import live
from waha_mcp.history import records
from waha_mcp.history.index import Index
from waha_mcp.history.records import Record, Sieve, record_from
from waha_mcp.indexing import Indexing, index_files
from waha_mcp.sandbox import running
from waha_mcp.store import StoreAway
from waha_mcp.waha.events import Event
from waha_mcp.waha.parsing import chat_id_of

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

MUM, DAD = "12025550102@c.us", "12025550101@c.us"
#: A person who is no contact, and one with only a hidden id.
STRANGER, HIDDEN = "12025550188@c.us", "211000000000777@lid"
FAMILY = "120363079422555556@g.us"
ENGINES = ("gows", "noweb", "webjs", "wpp")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No pauses, and short delays before retries."""
    monkeypatch.setattr(bridge_module, "LISTING_FIRST", 0.0)
    for name, seconds in {"PAUSE": 0.0, "CLAIM": 0.05, "AGAIN": 0.1, "SOON": 0.0}.items():
        monkeypatch.setattr(indexing_module, name, seconds)
    monkeypatch.setattr(live, "FIRST_PAUSE", 0.05)
    monkeypatch.setattr(live, "LONGEST_PAUSE", 0.1)


@pytest.fixture
async def box(anyio_backend: str) -> AsyncIterator[Box]:
    async with running(reply_after=0.05) as info, Box.opened(info, "gows") as opened:
        yield opened


@pytest.fixture(params=ENGINES)
async def each(anyio_backend: str, request: pytest.FixtureRequest) -> AsyncIterator[Box]:
    """A sandbox of each engine."""
    async with running(engine=request.param, reply_after=0.05) as info, Box.opened(info, request.param) as opened:
        yield opened


async def until(condition: Callable[[], Awaitable[object]], seconds: float = 30) -> None:
    with anyio.fail_after(seconds):
        while not await condition():  # noqa: ASYNC110 - what is awaited has no event of its own
            await anyio.sleep(0.01)


async def begun(bridge: Bridge) -> Indexing:
    async def there() -> object:
        return bridge.indexing

    await until(there)
    assert bridge.indexing is not None
    return bridge.indexing


async def current(indexing: Indexing) -> Index:
    """The index, once everything was read."""

    async def is_current() -> bool:
        return indexing.state == "current"

    await until(is_current)
    assert indexing.index is not None
    return indexing.index


async def ids_of(box: Box, chat: str) -> set[str]:
    """Both ids of a person."""
    return {chat, (await box.get(f"/api/default/lids/pn/{chat}"))["lid"]}


def app_of(box: Box, *, key: str | None = None, **fields: Any) -> Any:
    return app_for(box.info, key or box.info.keys["read_send"], index=True, **fields)


@asynccontextmanager
async def filling(box: Box, **fields: Any) -> AsyncIterator[Indexing]:
    """An App that keeps its index filled."""
    async with Bridge(app_of(box, **fields)) as bridge:
        yield await begun(bridge)


@asynccontextmanager
async def kept(box: Box, **fields: Any) -> AsyncIterator[tuple[Indexing, Index]]:
    """An App whose index has all that there is."""
    async with filling(box, **fields) as indexing:
        yield indexing, await current(indexing)


def whole(index: Index) -> list[Record]:
    """All messages, newest first, of a file that is not damaged."""
    assert index.check() is None
    return [each.record for each in index.search(Sieve(), most=1_000_000)]


def texts(index: Index, chat: str | None = None) -> list[str]:
    return [each.text for each in whole(index) if chat in (None, each.chat)]


async def in_waha(box: Box) -> Counter[tuple[bool, str, str]]:
    """All messages that are searched, by WAHA's own lists: own or not, bare id and text."""
    found = Counter[tuple[bool, str, str]]()
    ids = set[str]()
    for row in await box.get("/api/default/chats", limit=1000):
        chat = chat_id_of(row["id"])
        assert chat is not None
        if chat.endswith("@newsletter") and box.engine == "gows":
            continue  # it has no messages of channels
        for each in await box.messages(chat, limit=5000, downloadMedia="false"):
            record = record_from(each)
            if record is not None and record.id not in ids:
                ids.add(record.id)
                found[record.key.from_me, record.key.id, record.text] += 1
    return found


def in_index(index: Index) -> Counter[tuple[bool, str, str]]:
    return Counter((each.key.from_me, each.key.id, each.text) for each in whole(index))


def look_now(indexing: Indexing) -> None:
    """As if the last pass over all chats was long ago."""
    indexing._looked = 0.0
    indexing._awake()


async def come(box: Box, text: str, chat: str = MAYA, **more: Any) -> str:
    """A message arrives; returns its full id."""
    answer = await box.control("POST", "messages", chatId=chat, text=text, **more)
    return str(answer["id"])


async def has(index: Index, *wanted: str) -> None:
    """Wait until these texts are there, each once."""

    async def there() -> bool:
        return set(wanted) <= set(texts(index))

    await until(there)
    assert {text: count for text, count in Counter(texts(index)).items() if text in wanted} == dict.fromkeys(wanted, 1)


async def lacks(index: Index, *unwanted: str) -> None:
    """Wait until these texts are not there."""

    async def gone() -> bool:
        return not set(unwanted) & set(texts(index))

    await until(gone)


#: A fault that answers as if there was nothing.
GONE = {"status": 404, "body": '{"message": "Not Found", "statusCode": 404}', "content_type": "application/json"}

# Filling


async def test_all_that_is_searched_is_there_once_and_in_order(each: Box) -> None:
    await come(each, "by a hidden id", HIDDEN)
    async with kept(each) as (_, index):
        assert in_index(index) == await in_waha(each)
        found = [each.time for each in whole(index)]
        assert found == sorted(found, reverse=True)
        assert index.gaps() == []
        assert index.counts().oldest is None


async def test_the_newest_messages_of_all_chats_come_first(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexing_module, "PAGE", 5)
    places: list[int] = []
    fill = Index.fill

    def filled(index: Index, gap: Any, *rest: Any, **more: Any) -> int:
        places.append(gap.place.time or 0)
        return fill(index, gap, *rest, **more)

    monkeypatch.setattr(Index, "fill", filled)
    async with kept(box) as (_, index):
        assert in_index(index) == await in_waha(box)
    later = list(filter(None, places))
    assert later == sorted(later, reverse=True)
    assert len(later) > 50


async def test_it_goes_on_where_it_was_broken_off(each: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexing_module, "PAGE", 7)
    steps = 0
    fill = Index.fill

    def interrupted(index: Index, *given: Any, **more: Any) -> int:
        nonlocal steps
        steps += 1
        if steps % 15 == 0:
            fill(index, *given, **more)
            stop.set()
        return fill(index, *given, **more)

    monkeypatch.setattr(Index, "fill", interrupted)
    for _ in range(50):
        stop = anyio.Event()
        async with filling(each) as indexing, anyio.create_task_group() as tasks:

            async def finished() -> None:
                await current(indexing)
                tasks.cancel_scope.cancel()

            tasks.start_soon(finished)
            await stop.wait()
            tasks.cancel_scope.cancel()
        if not stop.is_set():
            break
    with_index = index_files("default")
    assert steps > 30
    [path] = with_index
    assert in_index(Index(path)) == await in_waha(each)


async def test_a_second_start_asks_for_little_and_has_all(box: Box) -> None:
    async with kept(box):
        pass
    await box.control("DELETE", "requests")
    async with kept(box) as (_, index):
        assert in_index(index) == await in_waha(box)
    seen = [r for r in await box.control("GET", "requests") if r["key"] == "read_send" and "/messages" in r["path"]]
    assert len(seen) <= 6


async def test_what_came_while_nobody_listened_is_read_back(each: Box) -> None:
    async with kept(each):
        pass
    for number in range(30):
        await come(each, f"meanwhile {number}", (MAYA, STRANGER, HIDDEN)[number % 3])
    await each.send(MAYA, "sent meanwhile")
    async with kept(each) as (_, index):
        await has(index, "sent meanwhile", *(f"meanwhile {number}" for number in range(30)))
        assert in_index(index) == await in_waha(each)


async def test_what_is_read_before_a_chat_is_gone_is_kept(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page may take several requests, if answers are too large."""
    monkeypatch.setattr(indexing_module, "PAGE", 20)
    path = f"/api/default/chats/{STRANGER}/messages"
    async with kept(box) as (indexing, index):
        for number in range(30):
            await come(box, f"page {number}", STRANGER, told=[], timestamp=int(time.time()) - 30 + number)
        for fault in ({"above": 10, "oversize": 40_000_000}, {"count": 2}, GONE):
            await box.control("POST", "faults", **{"path": path, "count": 9} | fault)
        look_now(indexing)

        async def is_gone() -> bool:
            return STRANGER in indexing.unread

        await until(is_gone)
        await current(indexing)
        assert texts(index, STRANGER) == [f"page {number}" for number in range(29, 20, -1)]


# Events


async def test_what_comes_and_is_sent_is_there_at_once_on_each_engine(each: Box) -> None:
    async with kept(each) as (indexing, index):
        await come(each, "heard now")
        await come(each, "heard of a stranger", STRANGER)
        await come(each, "heard by a hidden id", HIDDEN)
        await come(each, "from the phone", MAYA, fromMe=True)
        await each.send(MAYA, "sent now")
        await has(index, "heard now", "heard of a stranger", "heard by a hidden id", "from the phone", "sent now")
        assert in_index(index) == await in_waha(each)
        assert await indexing.ready(5) is index


async def test_edits_replace_and_deletions_delete_on_each_engine(each: Box) -> None:
    chats = [MAYA, STRANGER, HIDDEN, FAMILY]
    async with kept(each) as (_, index):
        ids = {}
        for at, chat in enumerate(chats):
            person = {"from": MUM} if chat.endswith("@g.us") else {}
            ids[f"edit {at}"] = await come(each, f"to edit {at}", chat, **person)
            ids[f"delete {at}"] = await come(each, f"to delete {at}", chat, **person)
        await has(index, *(f"to edit {at}" for at in range(4)), *(f"to delete {at}" for at in range(4)))
        for at in range(4):
            await each.happen("edited", messageId=ids[f"edit {at}"], text=f"edited {at}")
            await each.happen("revoked", messageId=ids[f"delete {at}"])
        await has(index, *(f"edited {at}" for at in range(4)))
        await lacks(index, *(f"to edit {at}" for at in range(4)), *(f"to delete {at}" for at in range(4)))
        assert in_index(index) == await in_waha(each)


async def test_an_own_message_that_is_edited_or_deleted_on_the_phone_is_so_here(each: Box) -> None:
    async with kept(each) as (_, index):
        edited = await come(each, "own to edit", MAYA, fromMe=True)
        deleted = await come(each, "own to delete", MAYA, fromMe=True)
        await has(index, "own to edit", "own to delete")
        await each.happen("edited", messageId=edited, text="own edited")
        await each.happen("revoked", messageId=deleted)
        await has(index, "own edited")
        await lacks(index, "own to edit", "own to delete")


async def test_a_caption_that_is_edited_stays_that_of_a_picture(each: Box) -> None:
    async with kept(each) as (_, index):
        picture = await come(each, "caption", MAYA, mimetype="image/jpeg")
        await has(index, "caption")
        [before] = [record for record in whole(index) if record.text == "caption"]
        await each.happen("edited", messageId=picture, text="new caption")
        await has(index, "new caption")
        [after] = [record for record in whole(index) if record.text == "new caption"]
        assert after.kind == before.kind == "image"
        assert records.Has.FILE in after.has


async def test_an_admin_of_a_group_deletes_what_others_wrote(each: Box) -> None:
    async with kept(each) as (_, index):
        one = await come(each, "deleted by an admin", FAMILY, **{"from": MUM})
        await has(index, "deleted by an admin")
        await each.happen("revoked", messageId=one, **{"from": DAD})
        await lacks(index, "deleted by an admin")


@pytest.mark.parametrize("kind", ["edited", "deleted"])
async def test_what_a_stranger_says_of_anothers_message_is_only_believed_where_waha_has_it_so(
    kind: Any, box: Box
) -> None:
    async with kept(box) as (indexing, index):
        one = await come(box, "stays as it is", FAMILY, **{"from": MUM})
        await has(index, "stays as it is")
        [record] = [each for each in whole(index) if each.text == "stays as it is"]
        await box.control("DELETE", "requests")
        row = {"id": one, "timestamp": int(time.time()), "body": "forged", "from": FAMILY, "participant": STRANGER}
        indexing.heard(Event(kind, time.time(), FAMILY, row, about=record.key.id, by=STRANGER))

        async def asked() -> bool:
            return any(f"/messages/{record.id[:10]}" in r["path"] for r in await box.control("GET", "requests"))

        await until(asked)
        await come(box, "the next one")
        await has(index, "the next one", "stays as it is")
        assert index.doubtful() is None
        assert "forged" not in texts(index)


async def test_a_stranger_who_reuses_an_id_changes_nothing_of_the_message_that_has_it(each: Box) -> None:
    async with kept(each) as (_, index):
        await come(each, "I will pay", FAMILY, id="3EB0AAAA0001", **{"from": MUM})
        await has(index, "I will pay")
        victim = [record for record in whole(index) if record.text == "I will pay"]
        for chat, by in ((STRANGER, STRANGER), (FAMILY, DAD)):
            await come(each, f"never {by}", chat, id="3EB0AAAA0001", **{"from": by})
        await come(each, "the next one")
        await has(index, "the next one")
        assert [record for record in whole(index) if record.text == "I will pay"] == victim


async def test_own_messages_that_only_receipts_tell_of_are_read_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(engine="wpp", reply_after=0.05) as info, Box.opened(info, "wpp") as box, kept(box) as (_, index):
        await box.send(SAM, "only a receipt tells")
        await box.control("POST", "settle")
        await has(index, "only a receipt tells")


async def test_a_flood_of_more_than_waits_is_read_back(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    async with kept(box) as (indexing, index):
        monkeypatch.setattr(indexing_module, "MOST_WAITING", 50)
        indexing._heard = type(indexing._heard)(maxlen=50)
        await box.control("POST", "socket", flood=400)
        await has(index, *(f"Flood {number}" for number in range(1, 401)))
        assert in_index(index) == await in_waha(box)


async def test_events_that_cannot_be_written_are_written_later(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    async with kept(box) as (_, index):
        one = await come(box, "to delete")
        await has(index, "to delete")
        failed = 0
        change = Index.change

        def fails(*given: Any) -> None:
            nonlocal failed
            failed += 1
            if failed == 1:
                raise StoreAway("the disk is full")
            change(*given)

        monkeypatch.setattr(Index, "change", fails)
        await box.happen("revoked", messageId=one)
        await lacks(index, "to delete")
        assert failed == 2


async def test_what_tools_read_is_kept(box: Box) -> None:
    async with kept(box) as (indexing, index):
        row = {"id": f"false_{MAYA}_3EB0ABCD", "timestamp": int(time.time()), "body": "read by a tool", "from": MAYA}
        indexing.noticed([row])
        await has(index, "read by a tool")


async def test_a_key_that_somebody_wrote_into_a_message_is_not_kept(box: Box) -> None:
    key = box.info.keys["read_send"]
    await box.control("POST", "messages", chatId=MAYA, text=f"Before: {key}")
    async with kept(box) as (_, index):
        await box.control("POST", "messages", chatId=MAYA, text=f"After: {key.encode().hex()}")
        await has(index, "After: [key]")
        await has(index, "Before: [key]")
    [file] = index_files("default")
    assert key.encode() not in file.read_bytes()


@pytest.mark.parametrize("how", ["heard", "read back"])
async def test_what_is_viewed_once_or_disappears_is_not_kept(
    how: str, each: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    soon = int(time.time()) + 3600
    vanishing = {"vanishes soon": soon, "has vanished": 1}
    monkeypatch.setattr(records, "expires_of", lambda row, content: vanishing.get(row.get("body")))

    async def all_come() -> None:
        await come(each, "seen once", mimetype="image/jpeg", raw={"viewOnce": True, "isViewOnce": True})
        await come(each, "vanishes soon")
        await come(each, "has vanished")
        await come(each, "stays")

    if how == "read back":
        await all_come()
    async with kept(each) as (indexing, index):
        if how == "heard":
            await all_come()
        await has(index, "stays", "vanishes soon")
        assert not {"seen once", "has vanished"} & set(texts(index))
        monkeypatch.setattr(time, "time", lambda: soon + 1.0)
        assert "vanishes soon" not in texts(index)
        look_now(indexing)

        async def deleted() -> bool:
            monkeypatch.setattr(time, "time", lambda: soon - 10.0)
            try:
                return "vanishes soon" not in texts(index)
            finally:
                monkeypatch.setattr(time, "time", lambda: soon + 1.0)

        await until(deleted)


# What may be kept


async def test_chats_that_may_not_be_read_never_enter_and_leave_once_they_may_not(each: Box) -> None:
    async with kept(each) as (_, index):
        assert texts(index, MAYA)
    denied = Chats.model_validate({"read": {"deny": ["Maya Lindqvist", DAD]}})
    await come(each, "from a sealed chat")
    async with kept(each, chats=denied) as (indexing, index):
        assert texts(index, MAYA) == texts(index, DAD) == []
        await come(each, "heard in a sealed chat")
        indexing.noticed(await each.messages(MAYA, limit=5))
        await come(each, "heard elsewhere", STRANGER)
        await has(index, "heard elsewhere")
        assert texts(index, MAYA) == texts(index, DAD) == []
        data = b"".join(path.read_bytes() for path in index.path.parent.iterdir() if path.name.startswith("index-"))
        assert b"sealed chat" not in data
        assert texts(index, SAM)


async def test_while_lists_are_not_certain_nothing_is_added_or_dropped(box: Box) -> None:
    limited = Chats.model_validate({"read": {"allow": ["Maya Lindqvist"]}})
    async with kept(box, chats=limited) as (_, index):
        before = texts(index)
        assert before
        assert {each.chat for each in whole(index)} <= await ids_of(box, MAYA)
    await box.control("POST", "faults", path="/api/contacts", status=500, count=10_000)
    async with filling(box, chats=limited) as indexing:
        await come(box, "while nothing is certain")

        async def tried() -> bool:
            return indexing.state in ("waiting", "current", "filling")

        await until(tried)
        await anyio.sleep(0.5)
        [path] = index_files("default")
        assert texts(Index(path)) == before
        await box.control("DELETE", "faults")
        await until(tried)

        async def caught_up() -> bool:
            return "while nothing is certain" in texts(Index(path))

        await until(caught_up)


async def test_only_the_chats_that_are_to_be_indexed_are(box: Box) -> None:
    async with kept(box, index_chats=("Maya Lindqvist", "groups")) as (_, index):
        chats = {each.chat for each in whole(index)}
        assert MAYA in chats
        assert all(chat.endswith("@g.us") for chat in chats - await ids_of(box, MAYA))
        assert len(chats) > 1
    async with kept(box, index_chats=(SAM,)) as (_, index):
        assert {each.chat for each in whole(index)} == {SAM}


async def test_only_what_is_not_older_than_it_is_kept_is_there(box: Box) -> None:
    now = time.time()
    async with kept(box, retention="10d") as (_, index):
        young = in_index(index)
        assert 0 < len(young) < sum((await in_waha(box)).values())
        assert min(each.time for each in whole(index)) >= now - 10 * 86_400
    async with kept(box) as (_, index):
        pass
    async with kept(box, retention="10d") as (_, index):
        assert in_index(index) == young


async def test_a_key_that_may_not_read_any_more_closes_and_deletes_the_index(box: Box) -> None:
    admin = Admin(box.info)
    key = await admin.mint({Action.READ, Action.SEND})
    async with Bridge(app_of(box, key=key["key"])) as bridge:
        index = await current(await begun(bridge))
        index.path.with_name(f"{index.path.name}.damaged-20260101T000000Z").write_bytes(b"x")
        await admin.change_key(key, actions={"send": True})
        await bridge.key.recheck()
        assert bridge.indexing is not None
        assert bridge.indexing.state == "deleted"
        assert await bridge.indexing.ready(1) is None
        assert [path.name for path in index.path.parent.glob("index-*") if not path.name.endswith(".lock")] == []
    await admin.change_key(key, actions={"read": True, "send": True})
    async with Bridge(app_of(box, key=key["key"])) as bridge:
        await current(await begun(bridge))
        await admin.change_key(key, actions={"send": True})
    # What is found out at the next start deletes it as well.
    async with Bridge(app_of(box, key=key["key"])) as bridge:
        indexing = await begun(bridge)

        async def gone() -> bool:
            return not index_files("default")

        await until(gone)
        assert indexing.state == "deleted"
    await admin.aclose()


async def test_a_key_that_is_refused_while_the_index_is_filled_leaves_no_file(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    admin = Admin(box.info)
    monkeypatch.setattr(indexing_module, "PAGE", 2)
    for _ in range(5):
        key = await admin.mint({Action.READ, Action.SEND})
        async with Bridge(app_of(box, key=key["key"])) as bridge:
            indexing = await begun(bridge)

            async def some(indexing: Indexing = indexing) -> bool:
                return indexing.index is not None and indexing.state == "filling"

            await until(some)
            await admin.change_key(key, actions={"send": True})
            await bridge.key.recheck()
            assert indexing.state == "deleted"
        assert index_files("default") == []
    await admin.aclose()


async def test_an_index_that_ends_while_it_is_opened_leaves_no_file(
    box: Box, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    looked, ended = threading.Event(), threading.Event()
    path_of = indexing_module.index_path

    def late(app_id: str, number: str) -> Path:
        path = path_of(app_id, number)
        looked.set()
        assert ended.wait(30)
        return path

    monkeypatch.setattr(indexing_module, "index_path", late)
    async with filling(box) as indexing:
        assert await anyio.to_thread.run_sync(looked.wait, 30)
        await indexing.end(delete=True)
        ended.set()

        async def closed() -> bool:
            return "The index was closed." in caplog.text

        await until(closed)
        assert index_files("default") == []


async def test_while_waha_is_away_nothing_is_deleted(box: Box) -> None:
    async with kept(box) as (indexing, index):
        before = in_index(index)
        await box.control("POST", "faults", path="/api/", status=502, body="<html>away</html>", count=100_000)
        await box.control("POST", "socket", absent=True)
        await box.control("POST", "socket", drop=True)
        look_now(indexing)

        async def waits() -> bool:
            return indexing.state == "waiting"

        await until(waits)
        assert indexing.why
        assert in_index(index) == before
        await box.control("POST", "socket", reset=True)
        await box.control("DELETE", "faults")
        await come(box, "when it is back")
        await has(index, "when it is back")
        await current(indexing)
        assert sum((in_index(index) - before).values()) == 1


async def paired_with(box: Box, number: str) -> None:
    """Another phone is paired with the session."""
    await box.control("POST", "session", status="SCAN_QR_CODE")
    rows = [{"name": "default", "status": "WORKING", "config": {}, "me": {"id": f"{number}@c.us", "pushName": "Other"}}]
    fault = {"path": "/api/*essions", "method": "GET", "count": 100_000, "status": 200, "body": json.dumps(rows)}
    await box.control("POST", "faults", **fault, content_type="application/json")
    await box.control("POST", "session", status="WORKING")


@pytest.mark.parametrize("feed", ["live", "poll"])
async def test_another_phone_that_is_paired_has_another_index(
    feed: Any, box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    if feed == "poll":
        monkeypatch.setattr(indexing_module, "PAIRED", 0.2)
    async with kept(box, feed=feed) as (indexing, index):
        before = in_index(index)
        await paired_with(box, "12025550177")

        async def other() -> bool:
            given = await indexing.ready(0.01)
            return given is not None and given.path != index.path

        if feed == "poll":
            await anyio.sleep(0.2)
        # From now on, the old one is not used.
        given = await indexing.ready(5)
        assert given is None or given.path != index.path or feed == "live"
        await until(other)
        await current(indexing)
        await come(box, "of the other account")
        assert indexing.index is not None
        await has(indexing.index, "of the other account")
        assert in_index(Index(index.path)) == before
        assert len(index_files("default")) == 2


async def test_a_session_that_changes_while_all_chats_are_looked_at_is_looked_at_again_at_once(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with kept(box) as (indexing, index):
        chats, told = Index.chats, 0

        def chats_as_it_changes(index: Index) -> Any:
            nonlocal told
            told += 1
            if told == 1:
                indexing.heard(Event("session", time.time(), None, {}, what="WORKING"))
            return chats(index)

        monkeypatch.setattr(Index, "chats", chats_as_it_changes)
        await box.control("DELETE", "requests")
        look_now(indexing)
        await come(box, "heard meanwhile")
        await has(index, "heard meanwhile")
        assert await indexing.ready(5) is index
        assert told == 2
        assert len(await box.control("GET", "requests")) < 40


# Files and processes


async def test_a_file_that_is_deleted_under_it_is_filled_anew(box: Box) -> None:
    async with kept(box) as (_, index):
        index.path.unlink()
        await come(box, "afterwards")
        await has(index, "afterwards")

        async def again() -> bool:
            return in_index(index) == await in_waha(box)

        await until(again)


async def test_a_file_that_is_damaged_under_it_is_filled_anew(box: Box) -> None:
    async with kept(box) as (_, index):
        index.close()
        await anyio.Path(index.path).write_bytes(b"no index" * 10_000)
        await come(box, "afterwards")

        async def again() -> bool:
            try:
                return len(index.search(Sieve(), most=10_000)) == sum((await in_waha(box)).values())
            except StoreAway:
                return False

        await until(again)
        assert in_index(index) == await in_waha(box)
        assert len(index.damaged()) == 1


async def test_one_of_two_fills_and_the_other_takes_over(box: Box) -> None:
    async with filling(box) as one, filling(box) as two:

        async def one_follows() -> bool:
            return {one.state, two.state} == {"current", "follows"}

        await until(one_follows)
        first, second = (one, two) if one.state == "current" else (two, one)
        assert second.index is not None
        assert await second.ready(1) is second.index
        assert in_index(second.index) == await in_waha(box)
        await first.end()
        first._set("deleted")
        await come(box, "after the first has ended")

        async def takes_over() -> bool:
            return second.state == "current"

        await until(takes_over)
        await has(second.index, "after the first has ended")
