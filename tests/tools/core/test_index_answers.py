"""What tools other than the search take from the index, what it does not keep, and processes that share it."""

from __future__ import annotations

import itertools
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from tests.harness import Admin, app_for
from tests.test_indexing import until
from tests.tools.core.test_index_seam import without_special
from tests.tools.core.test_indexed_search import KESTREL, MAYA, SAM, all_hits, indexed, pages
from tests.tools.core.test_names import ask
from waha_mcp import bridge as bridge_module
from waha_mcp import indexing as indexing_module
from waha_mcp.bridge import Bridge
from waha_mcp.sandbox import SandboxInfo

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

STRANGER, HIDDEN, FAMILY = "12025550188@c.us", "211000000000777@lid", "120363079422555556@g.us"
MUM, ME = "12025550102@c.us", "12025550100@c.us"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No pauses between the steps of filling."""
    monkeypatch.setattr(bridge_module, "LISTING_FIRST", 0.0)
    for name, seconds in {"PAUSE": 0.0, "CLAIM": 0.05, "AGAIN": 0.1, "SOON": 0.0}.items():
        monkeypatch.setattr(indexing_module, name, seconds)


def ago(days: int) -> str:
    """A time that is the same for two calls."""
    return str(int(time.time()) // 3_600 * 3_600 - days * 86_400)


async def write(admin: Admin, text: str, chat: str = MAYA, **more: Any) -> str:
    sent = await admin.request("POST", "/sandbox/messages", {"chatId": chat, "text": text} | more)
    return str(sent["id"])


async def happen(admin: Admin, kind: str, **more: Any) -> None:
    await admin.request("POST", "/sandbox/events", {"kind": kind} | more)


async def hears(bridge: Bridge, admin: Admin, number: int) -> None:
    """Wait until everything up to now is in the index."""
    when = int(time.time()) - 10 + number
    await write(admin, f"the last one {number}", SAM, fromMe=True, timestamp=when)

    async def there() -> bool:
        return bool(await all_hits(bridge, query=f'"the last one {number}"', limit=5))

    await until(there)


async def test_the_summary_and_what_is_unread_are_the_same(sandbox: SandboxInfo, admin: Admin) -> None:
    read_back = app_for(sandbox, sandbox.keys["read_send"])
    async with indexed(sandbox) as with_index, Bridge(read_back) as without:
        chats = [MAYA, STRANGER, HIDDEN, SAM]
        # The order within one second is not defined.
        seconds = itertools.count(int(time.time()) - 120)

        async def said(text: str, chat: str, **more: Any) -> str:
            return await write(admin, text, chat, timestamp=next(seconds), **more)

        async def same(number: int) -> None:
            await hears(with_index, admin, number)
            for tool, arguments in (
                ("get_unread", {"limit": 50, "lines": 3}),
                ("get_unread", {"limit": 50, "lines": 1}),
                ("get_catch_up", {"since": ago(1)}),
                ("get_catch_up", {"since": ago(30)}),
            ):
                ours, theirs = [await ask(bridge, tool, **arguments) for bridge in (with_index, without)]
                assert ours == theirs, (number, tool, arguments)

        await same(0)
        ids = [await said(f"Can you come at {at}?", chat) for at, chat in enumerate(chats)]
        await said(f"@{ME.partition('@')[0]} and you?", FAMILY, mentions=[ME], **{"from": MUM})
        await said("here it is", MAYA, mimetype="image/jpeg")
        await said("an own one", SAM, fromMe=True)
        await same(1)
        await happen(admin, "edited", messageId=ids[0], text="Can you come at nine?")
        await happen(admin, "revoked", messageId=ids[1])
        await said("and another", MAYA)
        await same(2)
        between = await said("to be deleted", STRANGER)
        await said("the next one", STRANGER)
        await happen(admin, "revoked", messageId=between)
        await same(3)


async def test_what_is_unread_takes_texts_from_the_index_where_it_has_them(sandbox: SandboxInfo, admin: Admin) -> None:
    async with indexed(sandbox) as bridge:
        for number in range(3):
            await write(admin, f"only a text {number}", STRANGER)
        await hears(bridge, admin, 1)
        await admin.clear()
        [chat] = [each for each in (await ask(bridge, "get_unread", limit=50))["chats"] if each["id"] == STRANGER]
        assert [each["text"] for each in chat["messages"]] == [f"only a text {number}" for number in range(3)]
        assert not [each for each in await admin.requests() if f"{STRANGER}/messages" in unquote(each["path"])]


# What the index does not keep


async def test_what_is_older_than_the_index_keeps_is_read_back_by_the_cursor(sandbox: SandboxInfo) -> None:
    async with (
        indexed(sandbox, retention="20d") as bridge,
        Bridge(app_for(sandbox, sandbox.keys["read_send"])) as without,
    ):
        for query in ("e", "the from:me", "good before:40d", "friday after:10d", f"a in:{MAYA}"):
            found = await pages(bridge, query=query, limit=100)
            wanted = await all_hits(without, query=query, limit=100)
            assert without_special([hit for page in found for hit in page["hits"]]) == without_special(wanted)
        [short] = await pages(bridge, query="friday after:10d", limit=100)
        assert "notes" not in short
        first, *_ = await pages(bridge, query="qzx")
        assert "the cursor goes on over WAHA" in str(first["notes"])
        for since in (ago(2), ago(40)):
            ours, theirs = [await ask(each, "get_catch_up", since=since) for each in (bridge, without)]
            assert ours == theirs


async def test_a_chat_that_is_not_indexed_is_read_back_where_it_is_named(sandbox: SandboxInfo) -> None:
    async with (
        indexed(sandbox, index_chats=(MAYA, "groups")) as bridge,
        Bridge(app_for(sandbox, sandbox.keys["read_send"])) as without,
    ):
        for query in (f"e in:{SAM}", f"e in:{MAYA}", f"e in:{MAYA} in:{SAM}", f'e in:"{KESTREL}"'):
            found = await pages(bridge, query=query, limit=100)
            wanted = await all_hits(without, query=query, limit=100)
            assert without_special([hit for page in found for hit in page["hits"]]) == without_special(wanted)
            assert "not indexed" not in str(found)
        found = await pages(bridge, query="e", limit=100)
        assert "messages of chats that are not indexed: name one to search it" in found[0]["not_told"]
        assert SAM not in {hit["chat"] for page in found for hit in page["hits"]}
        ours, theirs = [await ask(each, "get_catch_up", since=ago(2)) for each in (bridge, without)]
        assert ours == theirs


# Processes, and what came meanwhile


async def test_another_process_that_reads_the_index_finds_the_same(sandbox: SandboxInfo, admin: Admin) -> None:
    async with (
        indexed(sandbox) as one,
        Bridge(app_for(sandbox, sandbox.keys["read_send"], index=True)) as other,
    ):

        async def follows() -> bool:
            return other.indexing is not None and other.indexing.state == "follows"

        await until(follows)
        await write(admin, "heard by the one")
        await hears(one, admin, 1)
        for query in ("e", "heard by", f"a in:{MAYA}"):
            assert await all_hits(other, query=query, limit=100) == await all_hits(one, query=query, limit=100)
        ours, theirs = [await ask(bridge, "get_catch_up", since=ago(2)) for bridge in (one, other)]
        assert ours == theirs


async def test_a_search_right_after_a_restart_finds_what_came_meanwhile(sandbox: SandboxInfo, admin: Admin) -> None:
    async with indexed(sandbox):
        pass
    for number in range(5):
        await write(admin, f"meanwhile {number}", (MAYA, STRANGER, HIDDEN)[number % 3])
    async with Bridge(app_for(sandbox, sandbox.keys["read_send"], index=True)) as bridge:
        hits = await all_hits(bridge, query="meanwhile", limit=2)
        assert sorted(hit["text"] for hit in hits) == [f"meanwhile {number}" for number in range(5)]


# Transcripts


@pytest.fixture
def transcriber(tmp_path: Path) -> Any:
    """Transcribes every voice note to the same words, and records how often it was run."""
    script = tmp_path / "transcribe.py"
    script.write_text(
        f"import pathlib\nwith pathlib.Path({str(tmp_path / 'runs')!r}).open('a') as file: file.write('x')\n"
        "print('Meet me at the zyzzyva harbour')\n"
    )
    return {"command": [sys.executable, str(script)]}


@pytest.mark.slow
async def test_a_voice_note_that_was_transcribed_is_found_by_its_words(
    sandbox: SandboxInfo, admin: Admin, transcriber: Any, tmp_path: Path
) -> None:
    def runs() -> int:
        return len((tmp_path / "runs").read_text())

    voice = await write(admin, "", mimetype="audio/ogg; codecs=opus")
    async with indexed(sandbox, transcriber=transcriber) as bridge:
        assert await all_hits(bridge, query="zyzzyva") == []
        said = await ask(bridge, "get_media", message_id=voice)
        assert said["transcript"] == "Meet me at the zyzzyva harbour"
        assert runs() == 1
        [hit] = await all_hits(bridge, query="zyzzyva harb kind:voice")
        assert (hit["id"], hit["text"]) == (voice, said["transcript"])
        assert (await ask(bridge, "get_media", message_id=voice))["transcript"] == said["transcript"]
        # The same sound, sent elsewhere.
        again = await write(admin, "", SAM, mimetype="audio/ogg; codecs=opus")
        assert (await ask(bridge, "get_media", message_id=again))["transcript"] == said["transcript"]
        assert runs() == 1
        assert {hit["id"] for hit in await all_hits(bridge, query="zyzzyva")} == {voice, again}
        await happen(admin, "revoked", messageId=voice)

        async def gone() -> bool:
            return [hit["id"] for hit in await all_hits(bridge, query="zyzzyva")] == [again]

        await until(gone)
        await happen(admin, "revoked", messageId=again)

        async def all_gone() -> bool:
            return not await all_hits(bridge, query="zyzzyva")

        await until(all_gone)
        third = await write(admin, "", SAM, mimetype="audio/ogg; codecs=opus")
        await ask(bridge, "get_media", message_id=third)
        assert runs() == 2


@pytest.mark.slow
async def test_the_transcript_of_a_sealed_chat_is_not_given_for_the_same_sound_elsewhere(
    sandbox: SandboxInfo, admin: Admin, transcriber: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("waha_mcp.history.index.Index.drop", lambda index, chats: 0)
    voice = await write(admin, "", mimetype="audio/ogg; codecs=opus")
    async with indexed(sandbox, transcriber=transcriber) as bridge:
        await ask(bridge, "get_media", message_id=voice)
    elsewhere = await write(admin, "", SAM, mimetype="audio/ogg; codecs=opus")
    async with indexed(sandbox, chats={"read": {"deny": [MAYA]}}) as bridge:
        found = await ask(bridge, "get_media", message_id=elsewhere)
        assert "transcript" not in found
        assert await all_hits(bridge, query="zyzzyva") == []
