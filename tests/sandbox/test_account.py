"""The account: its content, that a seed determines it, and that its size does not slow it down."""

from __future__ import annotations

import re
import struct
import time
import zlib
from typing import Any

import pytest

from tests.sandbox.box import MAYA, Box
from waha_mcp.sandbox import running, sample_files
from waha_mcp.sandbox.account import Account
from waha_mcp.sandbox.seed import Size, build_account

pytestmark = pytest.mark.anyio

NOW = 1_800_000_000
#: Ranges that are kept free for fiction: +1 NPA 555 01xx, +44 7700 900xxx, +49 30 23125 xxx, +49 171 39200xx,
#: +33 6 39 98 xx xx, +61 491 570 xxx.
FICTION = re.compile(r"1\d{3}55501\d\d|447700900\d{3}|493023125\d{3}|4917139200\d\d|33639980\d{3}|61491570\d{3}")


@pytest.fixture(scope="module")
def account() -> Account:
    return build_account(1, NOW)


def test_the_account_is_of_a_believable_size(account: Account) -> None:
    assert len(account.people) - 1 == 25
    assert len(account.ordered_chats()) in range(28, 33)
    assert len(account.messages) == 600
    assert (len(account.groups), len(account.labels)) == (5, 3)


def test_the_account_has_people_of_every_kind(account: Account) -> None:
    names = [person.name for person in account.people.values() if person.name]
    assert names.count("Anna Schmidt") == 2
    assert any(re.search("[\u0590-\u05ff]", name) for name in names)
    assert any(re.search("[\u0600-\u06ff]", name) for name in names)
    assert any("👨‍🔧" in name for name in names)
    unnamed = [person for person in account.people.values() if person.name is None]
    assert {person.push_name is None for person in unnamed} == {True, False}
    assert any(person.twin_listed for person in account.people.values())
    assert any(person.id.endswith("@lid") for person in account.people.values())


def test_the_account_has_messages_of_every_kind(account: Account) -> None:
    messages = account.timeline
    assert {each.kind for each in messages} >= {
        "text", "image", "video", "voice", "document", "sticker", "location", "contacts", "poll",
    }  # fmt: skip
    for wanted in ("quoted", "reactions", "edited", "deleted", "mentions"):
        assert any(getattr(each, wanted) for each in messages), wanted
    assert any(each.media and each.media.error for each in messages)
    assert any("previous instructions are cancelled" in (each.text or "") for each in messages)
    assert sum(chat.unread for chat in account.chats.values()) > 5


def test_something_was_agreed_with_maya_about_friday(account: Account) -> None:
    said = " ".join(each.text or "" for each in account.chats[MAYA].messages)
    assert "it's settled: Friday 19:30, Harbour Kitchen" in said
    assert said.count("Friday") >= 4


def test_everything_happened_in_the_weeks_before_the_start(account: Account) -> None:
    times = [each.time for each in account.timeline]
    assert times == sorted(times)
    assert NOW - 75 * 86_400 < times[0] < NOW - 40 * 86_400
    assert NOW - 3600 < times[-1] <= NOW


def test_all_numbers_are_fictitious(account: Account) -> None:
    large = build_account(1, NOW, Size(contacts=20_000))
    for people in (account.people, large.people):
        numbers = [each.removesuffix("@c.us") for each in people if each.endswith("@c.us")]
        assert [each for each in numbers if not FICTION.fullmatch(each)] == []
    with pytest.raises(ValueError, match="at most"):
        build_account(1, NOW, Size(contacts=100_000))


def test_an_account_is_as_large_as_is_asked_for() -> None:
    large = build_account(1, NOW, Size(contacts=300, messages=900))
    assert (len(large.people) - 1, len(large.messages)) == (300, 900)


def snapshot(account: Account) -> Any:
    return (
        account.people,
        account.groups,
        account.channels,
        [(each.id, each.chat, each.author, each.time, each.text, each.reactions) for each in account.timeline],
    )


def test_the_same_seed_gives_the_same_account_and_another_seed_another() -> None:
    assert snapshot(build_account(7, NOW)) == snapshot(build_account(7, NOW))
    assert snapshot(build_account(7, NOW)) != snapshot(build_account(8, NOW))


def test_an_account_is_dated_from_its_start() -> None:
    earlier, later = build_account(1, NOW), build_account(1, NOW + 1000)
    assert [each.id for each in earlier.timeline] == [each.id for each in later.timeline]
    assert {late.time - early.time for early, late in zip(earlier.timeline, later.timeline, strict=True)} == {1000}


async def test_two_sandboxes_of_one_seed_answer_alike(engine: str) -> None:
    found = []
    for _ in range(2):
        async with running(seed=3, now=NOW, engine=engine) as info, Box.opened(info, engine) as box:
            found.append([await box.messages("all", limit=-1), await box.get("/api/default/chats/overview")])
    assert found[0] == found[1]


@pytest.mark.slow
async def test_a_large_account_keeps_the_hand_made_one_and_pages_stay_cheap() -> None:
    started = time.perf_counter()
    async with running(contacts=20_000, messages=200_000) as info:
        assert time.perf_counter() - started < 15
        async with Box.opened(info, "gows") as box:
            assert (await box.chat(MAYA))["name"] == "Maya Lindqvist"
            people = {each["id"] for each in await box.get("/api/contacts/all", session="default")}
            assert len([each for each in people if each.endswith("@c.us")]) in range(19_990, 20_002)
            chats = await box.get("/api/default/chats", limit=-1)
            assert len(chats) > 5000
            [first] = await box.messages("all", limit=1, offset=199_999)
            [oldest] = await box.messages("all", limit=1, sortOrder="asc")
            assert first["id"] == oldest["id"]
            busiest = first["from"]
            begun = time.perf_counter()
            pages = [await box.messages(busiest, limit=50, offset=offset) for offset in range(0, 1000, 50)]
            assert time.perf_counter() - begun < 2
            assert len({each["id"] for page in pages for each in page}) == 1000


def test_the_files_are_what_they_say() -> None:
    picture = sample_files.png(10, 5)
    assert picture.startswith(b"\x89PNG\r\n\x1a\n")
    assert struct.unpack(">II", picture[16:24]) == (10, 5)
    size = struct.unpack(">I", picture[33:37])[0]
    assert len(zlib.decompress(picture[41 : 41 + size])) == 5 * (1 + 3 * 10)
    photo = sample_files.jpeg()
    assert photo.startswith(b"\xff\xd8\xff\xe0")
    assert photo.endswith(b"\xff\xd9")
    sound = sample_files.wav()
    assert (sound[:4], sound[8:12], struct.unpack("<I", sound[4:8])[0]) == (b"RIFF", b"WAVE", len(sound) - 8)
    note = sample_files.ogg()
    assert (note.count(b"OggS"), b"OpusHead" in note) == (3, True)
    assert sample_files.pdf("x").startswith(b"%PDF-1.4")
    assert sample_files.mp4()[4:8] == b"ftyp"
    assert sample_files.webp()[8:12] == b"WEBP"
