"""The index of messages in a file: what it keeps, finds and forgets, and how it handles damage."""

from __future__ import annotations

import multiprocessing
import os
import random
import shutil
import sqlite3
import threading
import time
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import replace
from multiprocessing.synchronize import Event
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.platforms import posix
from waha_mcp.history import index as index_module
from waha_mcp.history import index_file, index_rows, index_search
from waha_mcp.history.index import Index
from waha_mcp.history.index_file import NoTrigrams, folded_lines
from waha_mcp.history.index_rows import SLOTS, Found, Gap, Newest
from waha_mcp.history.records import Has, Record, Sieve
from waha_mcp.history.source import START, Place
from waha_mcp.store import StoreAway
from waha_mcp.waha.message_kinds import MessageKind
from waha_mcp.whatsapp.ids import MessageKey

SAM, MAYA, LIN = "12025550123@c.us", "12025550142@c.us", "12025550101@c.us"
#: Sam by his hidden id.
HIDDEN = "211000000000777@lid"
GROUP, OTHER = "120363000000000001@g.us", "120363000000000002@g.us"
#: An arbitrary second.
T = 1_700_000_000


def message(
    bare: str,
    text: str = "Hello",
    at: int = T,
    *,
    chat: str = SAM,
    by: str | None = None,
    own: bool = False,
    **fields: Any,
) -> Record:
    """A message; in a group, sent by `by`."""
    in_group = chat.endswith("@g.us") and not own
    key = MessageKey(own, chat, bare, by if in_group else None)
    sender = "me" if own else by or ("unknown" if in_group else chat)
    return Record(key, at, sender, **{"kind": "text", "text": text} | fields)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "index-1.sqlite"


@pytest.fixture
def index(path: Path) -> Iterator[Index]:
    made = Index(path)
    yield made
    made.close()


def found(index: Index, sieve: Sieve | None = None, **where: Any) -> list[str]:
    """The bare ids of the results."""
    return [each.record.key.id for each in index.search(sieve or Sieve(), **{"most": 1_000_000} | where)]


def words(*parts: str) -> Sieve:
    return Sieve(words=tuple((part,) for part in parts))


def whole(index: Index) -> list[Record]:
    """All messages, newest first, of an undamaged file."""
    assert index.check() is None
    return [each.record for each in index.search(Sieve(), most=1_000_000)]


# Adding


def test_no_file_is_made_before_the_first_step(path: Path, index: Index) -> None:
    assert not path.parent.exists()
    assert found(index) == []
    assert path.exists()


def test_a_message_comes_back_as_it_was(index: Index) -> None:
    one = message(
        "3EB0C0FFEE",
        "Grüße\nan alle",
        chat=GROUP,
        by=HIDDEN,
        kind="document",
        extra="Plan.pdf\nSecond",
        has=Has.FILE | Has.LINK | Has.EDITED,
        pushname="Sam 🎈",
        expires=int(time.time()) + 1000,
    )
    own = message("not-hex.1", "Mine", T + 1, chat=GROUP, own=True)
    both = replace(message("AB", "Both ids", T + 2, chat=GROUP, by=LIN), sender=MAYA)
    alone = message("3eb0", "Lower case", T + 3)
    assert index.add([one, own, both, alone]) == 4
    assert whole(index) == [alone, both, own, one]


@pytest.mark.parametrize("bare", ["3EB0", "3eb0", "3EB", "abc.def-1", "x" * 65_536, "0" * 32, "A", "AAAAAA", "AAAAAAB"])
def test_any_id_comes_back_and_is_found_again(bare: str, index: Index) -> None:
    others = [message(f"{bare}{number}", at=T + 1 + number) for number in range(3)]
    index.add([message(bare), *others])
    assert [each.key.id for each in whole(index)] == [*(each.key.id for each in others[::-1]), bare]
    assert index.has(MessageKey(False, SAM, bare))
    assert index.add([message(bare, "Anew")]) == 0
    assert whole(index)[-1].text == "Anew"


def test_a_message_that_comes_again_is_brought_up_to_date_and_not_doubled(index: Index) -> None:
    index.add([message("A", "The first words")])
    assert index.add([message("A", "Other ones", has=Has.EDITED)]) == 0
    assert index.add([message("A", "Other ones", has=Has.EDITED)]) == 0
    [only] = whole(index)
    assert (only.text, only.has) == ("Other ones", Has.EDITED)
    assert found(index, words("first")) == []
    assert found(index, words("other")) == ["A"]


def test_messages_that_are_not_to_be_here_are_deleted_as_others_are_added(index: Index) -> None:
    index.add([message("A"), message("B", at=T + 1)])
    assert index.add([message("C", at=T + 2)], [MessageKey(False, SAM, "A"), MessageKey(True, SAM, "B")]) == 1
    assert found(index) == ["C", "B"]


@pytest.mark.parametrize("at", [0, -1, -(2**70), 1, 2**40, 2**62, 2**70])
def test_a_message_of_an_impossible_time_is_left_out(at: int, index: Index) -> None:
    assert index.add([message("A", at=at), message("B")]) == 1
    assert found(index) == ["B"]


def test_a_message_of_the_year_2200_is_kept_and_found_by_its_time(index: Index) -> None:
    then = 7_258_118_400
    index.add([message("A", at=then), message("B")])
    assert found(index) == ["A", "B"]
    assert found(index, Sieve(since=then, until=then)) == ["A"]


@pytest.mark.parametrize(
    "text", ["half \ud800 of a pair", "a zero\0 in it", "\ufffe\uffff", "\x1b[31m", "x" * 65_536, "\u0301" * 100_000]
)
def test_any_text_is_kept_and_what_stands_behind_is_found(text: str, index: Index) -> None:
    given = message("A", f"{text} kestrel", pushname=text, extra=f"{text} osprey", kind="document")
    index.add([given])
    index.transcribed(given.key, b"digest", f"{text} falcon")
    for word in ("kestrel", "osprey", "falcon", "k", "es"):
        assert found(index, words(word)) == ["A"]
    index.change([SAM], "A", [SAM], message("A", f"{text} heron"))
    assert found(index, words("heron")) == ["A"]
    assert found(index, words("kestrel")) == []
    index.drop([SAM])
    assert whole(index) == []


# Whose a message is


def test_an_own_message_another_chats_and_anothers_with_the_same_id_are_other_messages(index: Index) -> None:
    all_of_them = [
        message("A", "One"),
        message("A", "Own", own=True),
        message("A", "Of another", chat=MAYA),
        message("A", "In a group", chat=GROUP, by=SAM),
        message("A", "By another in it", chat=GROUP, by=MAYA),
        message("A", "In another group", chat=OTHER, by=SAM),
    ]
    assert index.add(all_of_them) == len(all_of_them)
    assert {each.text for each in whole(index)} == {each.text for each in all_of_them}
    assert index.add(all_of_them) == 0


def test_a_stranger_who_reuses_an_id_changes_nothing_of_the_message_that_has_it(index: Index) -> None:
    theirs = message("A", "I will pay", chat=GROUP, by=SAM)
    index.add([theirs])
    index.add([message("A", "I will not pay", T + 5, chat=GROUP, by=MAYA)])
    index.add([message("A", "I will not pay", T + 5, chat=MAYA)])
    index.add([message("A", "I will not pay", T + 5, chat=GROUP, by=HIDDEN)])
    assert theirs in whole(index)
    index.add([], [MessageKey(False, GROUP, "A", MAYA), MessageKey(False, MAYA, "A")])
    assert theirs in whole(index)


@pytest.mark.parametrize(
    ("first", "again"),
    [
        (message("A"), message("A", chat=HIDDEN)),
        (message("A", own=True), message("A", chat=HIDDEN, own=True)),
        (message("A", chat=GROUP, by=SAM), message("A", chat=GROUP, by=HIDDEN)),
        (message("A", chat=GROUP, by=SAM), message("A", chat=GROUP)),
    ],
    ids=["a person's", "an own one", "in a group", "by nobody that is told"],
)
def test_a_message_under_a_persons_other_id_is_the_same(first: Record, again: Record, index: Index) -> None:
    index.add([first])
    assert index.add([replace(again, text="Anew")]) == 0
    [only] = whole(index)
    assert only == replace(first, text="Anew")


# Order


@pytest.mark.parametrize("count", [SLOTS, SLOTS + 1, 3_000])
def test_thousands_of_messages_of_one_second_keep_their_order_and_time(count: int, index: Index) -> None:
    many = [message(f"A{number}") for number in range(count)]
    beside = [message("before", at=T - 1), message("after", at=T + 1)]
    index.add(beside)
    index.add(many)
    seen = whole(index)
    assert [each.key.id for each in seen if each.time == T] == [each.key.id for each in reversed(many)]
    assert sorted({each.time for each in seen}) == [T - 1, T, T + 1]
    for since, until in ((T, T), (T - 1, T - 1), (T + 1, T + 1), (None, T), (T, None)):
        assert len(found(index, Sieve(since=since, until=until))) == sum(
            (since or 0) <= each.time <= (until or T + 9) for each in seen
        )


def test_messages_that_are_read_newest_first_keep_their_order(index: Index) -> None:
    newest_first = [message(f"A{number}") for number in range(100)]
    for at in range(0, 100, 7):
        index.add(newest_first[at : at + 7], backwards=True)
    assert [each.key.id for each in whole(index)] == [each.key.id for each in newest_first]


def test_five_thousand_messages_of_one_second_take_no_longer_than_those_of_many(index: Index) -> None:
    began = time.perf_counter()
    index.add(message(f"A{number}", "x", T + number) for number in range(5_000))
    apart = time.perf_counter() - began
    began = time.perf_counter()
    for at in range(0, 5_000, 200):
        index.add(message(f"B{number}", "x", T - 10_000) for number in range(at, at + 200))
    assert time.perf_counter() - began < apart * 3 + 1


# Finding

#: Letters of several scripts, with case, accents, vowels and forms that are folded, and syntax of FTS5.
LETTERS = 'aAbcéÉßıøŁж Ёё "*^:()-+\0ñ日本語東京大한글ไทยเก่าعَرَبيהע हिन्दी\u200bﬁ①🎈👍🏽\n'
ALPHABET = [*sorted(set(LETTERS)), "NEAR", "AND ", "OR ", "\ud83c"]
texts = st.lists(st.sampled_from(ALPHABET), max_size=12).map("".join)


def holds(record: Record, sieve: Sieve) -> bool:
    """Whether a linear scan would match the message."""
    lines = folded_lines(
        index_rows.clean("\n".join(filter(None, (record.text, record.extra, record.transcript)))).splitlines()
    )
    return all(any(index_rows.clean(word) in lines for word in any_of) for any_of in sieve.words)


@st.composite
def accounts(draw: st.DrawFn) -> list[Record]:
    made = []
    for number in range(draw(st.integers(0, 12))):
        chat = draw(st.sampled_from((SAM, MAYA, GROUP)))
        own = draw(st.booleans())
        by = draw(st.sampled_from((SAM, MAYA, HIDDEN))) if chat == GROUP and not own else None
        made.append(
            message(
                f"A{number}",
                draw(texts),
                T + draw(st.integers(0, 3)),
                chat=chat,
                by=by,
                own=own,
                extra=draw(texts),
                kind=draw(st.sampled_from(("text", "image", "voice"))),
                has=Has(draw(st.integers(0, 31))),
            )
        )
    return made


@st.composite
def queries(draw: st.DrawFn) -> Sieve:
    part = texts.map(lambda text: folded_lines([text]).strip()).filter(bool)
    return Sieve(words=tuple(map(tuple, draw(st.lists(st.lists(part, min_size=1, max_size=3), max_size=3)))))


@settings(max_examples=60, deadline=None)
@given(accounts(), st.lists(queries(), min_size=1, max_size=5))
@pytest.mark.slow
def test_words_of_any_length_and_script_are_found_as_by_looking_at_each_message(
    account: list[Record], sieves: list[Sieve]
) -> None:
    with TemporaryDirectory() as folder, closing(Index(Path(folder, "state", "index-1.sqlite"))) as index:
        index.add(account)
        for sieve in sieves:
            candidates = [each.record for each in index.search(sieve, most=100)]
            assert {each.id for each in candidates if holds(each, sieve)} == {
                each.id for each in account if holds(each, sieve)
            }
            times = [each.time for each in candidates]
            assert times == sorted(times, reverse=True)
        assert index.check() is None


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("the quick brown fox", "quick"),
        ("the quick brown fox", "ui"),
        ("the quick brown fox", "x"),
        ("昨日は東京に行きました", "東京"),
        ("昨日は東京に行きました", "京"),
        ("昨日は東京に行きました", "た"),
        ("ร้านกาแฟอยู่ที่ไหน", "กาแฟ"),
        ("السَّلَامُ عَلَيْكُم", "السلام"),
        ("שָׁלוֹם לכולם", "שלום"),
        ("Съешь ещё этих", "еще"),
        ("Ich wohne in der Straße", "strasse"),
        ("Crème brûlée", "creme brulee"),
        ("नमस्ते दुनिया", "दुनिया"),
        ("안녕하세요 여러분", "여러"),
        ("ＦＵＬＬ ｗｉｄｔｈ", "full"),
        ("🎈 party 🎈", "🎈"),
        ("a\nb", "b"),
    ],
)
@pytest.mark.parametrize("few", [True, False], ids=["few", "many"])
def test_a_word_is_found_in_every_script(
    text: str, word: str, few: bool, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not few:
        monkeypatch.setattr(index_search, "_FEW", 0)
    index.add([message("A", text), message("B", "something else, at 12:30", T + 1)])
    sieve = words(folded_lines([word]))
    assert "A" in found(index, sieve)
    assert "A" in found(index, replace(sieve, chats=frozenset({SAM})))
    assert "B" not in found(index, sieve)


@pytest.mark.parametrize(
    "word",
    ['"', '""', '"a" OR "b"', "NEAR(a b)", "a AND b", "NOT x", "a*", "^a", "folded:a", "{folded}:a", "-a", "+a", "a\0b",
     "'", "'; DROP TABLE message; --", "%", "_", "\\", "(", ")", "a\ud800", "\U0010ffff", "[a-z]", "?1", "OR"],
)  # fmt: skip
def test_syntax_in_a_word_is_part_of_the_word(word: str, index: Index) -> None:
    index.add([message("A", f"before{word}behind"), message("B", "a b", T + 1)])
    part = folded_lines([index_rows.clean(word)])
    for each in (part, f"e{part}b", f"before{part}"):
        assert "A" in found(index, words(each))
    assert found(index, words(f"nowhere{part}")) == []
    assert index.check() is None


def test_a_part_that_is_nothing_limits_nothing_and_one_without_choices_lets_nothing_through(index: Index) -> None:
    index.add([message("A", "one"), message("B", "two", T + 1)])
    assert found(index, Sieve(words=(("",), ("one",)))) == ["A"]
    assert found(index, Sieve(words=(("",),))) == ["B", "A"]
    assert found(index, Sieve(words=((),))) == []


def test_a_letter_that_too_many_words_begin_with_still_finds_all_of_them(
    index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_search, "_MOST_TERMS", 20)
    many = [message(f"A{number}", f"z{chr(0x4E00 + number)}", T + number) for number in range(50)]
    index.add(many)
    assert set(found(index, words("z"))) >= {each.key.id for each in many}


@pytest.mark.slow
def test_a_query_of_very_many_or_very_long_words_is_answered_at_once(index: Index) -> None:
    index.add(message(f"A{number}", f"z{chr(0x4E00 + number)} abc", T + number) for number in range(3_000))
    began = time.perf_counter()
    for sieve in (
        words(*["z"] * 300),
        Sieve(words=tuple(("z", f"no{number}") for number in range(300))),
        Sieve(words=(tuple(f"z{chr(0x4E00 + number)}" for number in range(3_000)),)),
    ):
        assert len(found(index, sieve)) == 3_000
    assert found(index, words(*(f"no{number}" for number in range(3_000)))) == []
    assert found(index, words("abc" * 20_000)) == []
    assert time.perf_counter() - began < 10


def test_senders_are_found_by_either_id_and_in_their_own_chat(index: Index) -> None:
    index.add(
        [
            message("A", at=T),
            message("B", at=T + 1, chat=GROUP, by=HIDDEN),
            message("C", at=T + 2, chat=GROUP, by=MAYA),
            message("D", at=T + 3, own=True),
            replace(message("E", at=T + 4, chat=GROUP, by=HIDDEN), sender=SAM),
            message("F", at=T + 5, chat=GROUP),
            replace(message("G", at=T + 6, pushname="Sam")),
        ]
    )

    def by(*senders: str) -> set[str]:
        return set(found(index, Sieve(senders=frozenset(senders))))

    assert by(SAM) == {"A", "E", "G"}
    assert by(HIDDEN) == {"B", "E"}
    assert by(SAM, HIDDEN) == {"A", "B", "E", "G"}
    assert by("me") == {"D"}
    assert by("me", MAYA) == {"C", "D"}
    assert by(LIN) == by() == set()


def test_chats_kinds_and_what_a_message_has_are_told_apart(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    kinds: list[MessageKind] = ["text", "image", "voice", "poll"]
    chats = [SAM, MAYA, LIN, GROUP, OTHER]
    account = [
        message(f"A{at}", "word", T + at, chat=chats[at % 5], own=True, kind=kinds[at % 4], has=Has(at % 32))
        for at in range(200)
    ]
    index.add(account)
    rng = random.Random(1)
    for few in (3_000, 0):
        monkeypatch.setattr(index_search, "_FEW", few)
        for _ in range(100):
            sieve = Sieve(
                words=rng.choice(((), (("word",),))),
                chats=rng.choice((None, frozenset(rng.sample(chats, rng.randrange(6))))),
                kinds=rng.choice((None, frozenset(rng.sample(kinds, rng.randrange(5))))),
                has=Has(rng.choice((0, 1, 2, 3, 20))),
                since=rng.choice((None, T + rng.randrange(200), T + 0.5)),
                until=rng.choice((None, T + rng.randrange(200), T + 100.7)),
            )
            wanted = [
                each.key.id
                for each in account[::-1]
                if (sieve.chats is None or each.chat in sieve.chats)
                and (sieve.kinds is None or each.kind in sieve.kinds)
                and each.has & sieve.has == sieve.has
                and (sieve.since is None or each.time >= int(sieve.since))
                and (sieve.until is None or each.time <= sieve.until)
            ]
            assert found(index, sieve) == wanted
            assert found(index, sieve, most=3) == wanted[:3]


@pytest.mark.parametrize("sieve", [Sieve(), words("word"), Sieve(chats=frozenset({SAM}))])
def test_pages_go_on_where_the_last_one_ended(sieve: Sieve, index: Index) -> None:
    index.add(message(f"A{number}", "word", T + number // 20) for number in range(100))
    pages: list[Found] = []
    while page := index.search(sieve, before=pages[-1].number if pages else None, most=7):
        pages += page
    assert [each.record.key.id for each in pages] == found(index)
    newer = index.search(sieve, after=pages[30].number, most=1_000)
    assert newer == pages[:30]


@pytest.mark.parametrize("value", [-1e30, -1.0, 0.0, 1e30, float("inf"), float("-inf")])
def test_times_beyond_all_numbers_are_all_or_none(value: float, index: Index) -> None:
    index.add([message("A")])
    assert found(index, Sieve(since=value)) == (["A"] if value < T else [])
    assert found(index, Sieve(until=value)) == (["A"] if value > T else [])


def test_neighbours_are_those_of_the_chat_in_order(index: Index) -> None:
    index.add(
        each
        for number in range(20)
        for each in (message(f"A{number}", at=T + number), message(f"B{number}", at=T + number, chat=MAYA))
    )
    [here] = [each for each in index.search(Sieve(), most=100) if each.record.key.id == "A10"]
    older, newer = index.around(here.number, 2, 3)
    assert [each.record.key.id for each in older] == ["A9", "A8"]
    assert [each.record.key.id for each in newer] == ["A13", "A12", "A11"]
    assert index.around(12345, 2, 2) == ([], [])


def test_what_has_disappeared_is_not_found_even_before_it_is_deleted(
    index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    index.add([message("A", "secret", expires=T * 2), message("B", at=T + 1), message("C", at=T - 1)])
    [here] = [each for each in index.search(Sieve(), most=9) if each.record.key.id == "B"]
    monkeypatch.setattr(time, "time", lambda: T * 2.0)
    assert found(index) == ["B", "C"]
    assert found(index, words("secret")) == []
    assert [each.record.key.id for each in index.around(here.number, 5, 5)[0]] == ["C"]


# Changes


def test_the_author_edits_and_deletes(index: Index) -> None:
    index.add([message("A", "Before"), message("B", chat=GROUP, by=HIDDEN), message("C", own=True)])
    index.change([SAM, HIDDEN], "A", [SAM, HIDDEN], message("A", "After", has=Has.EDITED))
    assert found(index, words("after")) == ["A"]
    assert found(index, words("before")) == []
    index.change([GROUP], "B", [SAM, HIDDEN], None)
    index.change([SAM], "C", ["me"], None)
    assert found(index) == ["A"]
    assert index.doubtful() is None


def test_a_change_in_another_chat_or_of_another_message_is_none(index: Index) -> None:
    index.add([message("A")])
    index.change([MAYA], "A", [SAM], None)
    index.change([SAM], "B", [SAM], None)
    index.change([SAM], "\ud800", [SAM], None)
    assert whole(index) == [message("A")]
    assert index.doubtful() is None


def test_a_change_by_somebody_else_is_only_a_doubt_until_it_is_settled(index: Index) -> None:
    for bare in ("A", "B", "C"):
        index.add([message(bare, "Before", chat=GROUP, by=SAM)])
        index.change([GROUP], bare, [MAYA], None)
        index.change([GROUP], bare, (), message(bare, "After", chat=GROUP, by=SAM))
    assert len(found(index, words("before"))) == 3
    settled: dict[str, Record | None] = {
        "A": None,
        "B": message("B", "Before", chat=GROUP, by=SAM),
        "C": message("C", "After", chat=GROUP, by=SAM),
    }
    while (doubtful := index.doubtful()) is not None:
        index.settle(doubtful, settled[doubtful.record.key.id])
    assert {each.key.id: each.text for each in whole(index)} == {"B": "Before", "C": "After"}


def test_a_doubt_is_settled_for_the_message_that_it_was_about_alone(index: Index) -> None:
    index.add([message("A")])
    index.change([SAM], "A", [MAYA], None)
    doubtful = index.doubtful()
    assert doubtful is not None
    index.drop([SAM])
    index.add([message("B")])
    index.settle(doubtful, None)
    assert found(index) == ["B"]
    assert index.doubtful() is None


def test_an_edit_that_does_not_tell_that_a_message_disappears_does_not_keep_it(index: Index) -> None:
    soon = int(time.time()) + 100
    index.add([message("A", "Before", expires=soon)])
    index.change([SAM], "A", [SAM], message("A", "After"))
    [only] = whole(index)
    assert (only.text, only.expires) == ("After", soon)
    assert index.expire(soon, None) == 1


def test_a_transcript_is_found_by_its_words_and_by_the_digest_of_the_sound(index: Index) -> None:
    voice = message("A", "", kind="voice")
    index.add([voice, message("B", at=T + 1)])
    assert index.transcript(b"sha") is None
    index.transcribed(voice.key, b"sha", "See you at the harbour")
    index.transcribed(MessageKey(False, SAM, "nowhere"), b"other", "Nothing")
    assert index.transcript(b"sha") == "See you at the harbour"
    assert index.transcript(b"other") is None
    assert found(index, words("harbour")) == ["A"]
    index.add([voice])
    assert found(index, words("harbour")) == ["A"]
    index.drop([SAM])
    assert index.transcript(b"sha") is None


# Gaps


def newest(chat: str = SAM, second: int = T, bare: str | None = "A") -> Newest:
    return Newest(chat, second, bare and MessageKey(False, chat, bare))  # type: ignore[arg-type]


def only_gap(index: Index) -> Gap:
    gap = index.next_gap()
    assert gap is not None
    assert len(index.gaps()) == 1
    return gap


def test_a_new_chat_is_one_gap_that_is_read_page_by_page(index: Index) -> None:
    assert index.look([newest()], heard=False, oldest=None) == [False]
    gap = only_gap(index)
    assert (gap.chat, gap.since, gap.place) == (SAM, None, START)
    assert index.fill(gap, [message("A"), message("B", at=T - 1)], (), Place(T - 1, "B", 7)) == 2
    gap = only_gap(index)
    assert gap.place == Place(T - 1, "B", 7)
    assert (gap.since, gap.second, gap.late) == (None, T - 1, False)
    assert index.counts().oldest == T - 1
    assert index.fill(gap, [message("C", at=T - 9)], [MessageKey(False, SAM, "B")], None) == 1
    assert index.next_gap() is None
    assert found(index) == ["A", "C"]
    assert index.chats() == [(SAM, T, False)]


def test_the_gap_that_reaches_nearest_to_now_comes_first_but_for_those_that_are_put_off(index: Index) -> None:
    index.look([newest(SAM, T), newest(MAYA, T + 5), newest(GROUP, T - 5)], heard=False, oldest=None)
    order: list[str] = []
    put_off: list[int] = []
    while (gap := index.next_gap(put_off)) is not None:
        order.append(gap.chat)
        put_off.append(gap.number)
    # All start at the newest message: each reaches up to now until a page of it is read.
    assert sorted(order) == sorted([SAM, MAYA, GROUP])
    first = index.next_gap()
    assert first is not None
    index.fill(first, (), (), Place(T - 100, "x"))
    after = index.next_gap()
    assert after is not None
    assert after.number != first.number


LOOKS: list[tuple[str, Newest, bool, int | None]] = [
    # What is newest now, whether everything was received since, and the second back to which it is to be read (-1: not
    # at all).
    ("the same", newest(), False, -1),
    ("the same that was heard", newest(), True, -1),
    ("a newer one that is here", newest(second=T + 5, bare="here"), True, -1),
    ("a newer one that is here by chance", newest(second=T + 5, bare="here"), False, T),
    ("a newer one", newest(second=T + 5, bare="new"), False, T),
    ("a newer one that should have been heard", newest(second=T + 5, bare="new"), True, T),
    ("another of the same second", newest(bare="new"), False, T),
    ("an older one, since the newest was deleted", newest(second=T - 5, bare="older"), False, T - 5),
    ("one of that second by another with the same id", Newest(SAM, T, MessageKey(False, SAM, "A", MAYA)), False, T),
    ("one that is not told", newest(second=T + 5, bare=None), True, T),
]


@pytest.mark.parametrize(("now", "heard", "since"), [each[1:] for each in LOOKS], ids=[each[0] for each in LOOKS])
def test_a_later_look_finds_what_may_be_missing(now: Newest, heard: bool, since: int | None, index: Index) -> None:
    index.look([newest()], heard=False, oldest=None)
    index.fill(only_gap(index), [message("A")], (), None)
    index.add([message("here", at=T + 5)])
    assert index.look([now], heard=heard, oldest=None) == [now == newest()]
    assert [(each.since, each.late) for each in index.gaps()] == ([] if since == -1 else [(since, True)])
    if since != -1:
        index.fill(only_gap(index), (), (), None)
    assert index.look([now], heard=False, oldest=None) == [True]
    assert index.gaps() == []


def test_a_chat_that_a_message_was_heard_in_before_it_was_looked_at_is_read_whole(index: Index) -> None:
    index.add([message("A")])
    index.look([newest()], heard=True, oldest=None)
    assert only_gap(index).since is None


def test_nothing_is_read_of_what_is_not_kept(index: Index) -> None:
    index.look([newest(second=T), newest(MAYA, T - 100)], heard=False, oldest=T - 9.5)
    gap = only_gap(index)
    assert (gap.chat, gap.since, gap.second, gap.late) == (SAM, T - 10, T, False)


def test_a_gap_that_was_dropped_meanwhile_is_not_filled_nor_taken_for_another(index: Index) -> None:
    index.look([newest(SAM)], heard=False, oldest=None)
    old = only_gap(index)
    index.drop([SAM])
    index.look([newest(MAYA)], heard=False, oldest=None)
    assert only_gap(index).number != old.number
    assert index.fill(old, [message("A")], (), None) == 0
    assert found(index) == []
    assert only_gap(index).chat == MAYA


# Leaving out


def test_what_is_older_than_it_is_kept_is_deleted_whatever_its_number(index: Index) -> None:
    many = [message(f"A{number}") for number in range(100)]
    index.add(many[:50])
    index.add(many[50:], backwards=True)
    index.add([message("old", at=T - 1), message("new", at=T + 1)])
    index.look([newest(MAYA, T - 50)], heard=False, oldest=None)
    gap = only_gap(index)
    index.fill(gap, (), (), Place(T - 50, "x"))
    assert index.expire(T, T) == 1
    assert len(whole(index)) == 101
    assert index.gaps() == []
    assert index.expire(T, T + 1) == 100
    assert found(index) == ["new"]


def test_messages_that_disappear_are_deleted_in_their_second(index: Index) -> None:
    index.add([message("A", expires=T * 2), message("B", at=T + 1)])
    assert index.expire(T * 2 - 1, None) == 0
    assert index.expire(T * 2, None) == 1
    assert found(index) == ["B"]


def in_files(path: Path, *texts: str) -> list[str]:
    """Which of these texts occur in any of the files, in UTF-8."""
    data = b"".join(each.read_bytes() for each in path.parent.iterdir())
    return [text for text in texts if text.encode() in data]


def test_nothing_of_a_chat_that_was_dropped_is_left_in_the_files(path: Path, index: Index) -> None:
    one = message("A", "the kestrel flies", chat=GROUP, by=MAYA, pushname="Maya Kestrel")
    index.add([one, message("B", "stays", pushname="Sam")])
    index.transcribed(one.key, b"sha", "osprey words")
    index.look([newest(GROUP)], heard=False, oldest=None)
    assert in_files(path, "kestrel", MAYA) == ["kestrel", MAYA]
    assert index.drop([GROUP, LIN]) == 1
    assert index.gaps() == []
    assert in_files(path, "kestrel", "Kestrel", "kes", "osprey", MAYA, GROUP) == []
    assert in_files(path, "stays", "Sam", SAM) == ["stays", "Sam", SAM]
    assert found(index) == ["B"]
    assert index.check() is None


def test_who_is_forgotten_is_deleted_in_their_chat_and_in_groups_and_never_read_back(path: Path, index: Index) -> None:
    account = [
        message("A", "the kestrel flies"),
        message("B", "the osprey swims", chat=GROUP, by=SAM, pushname="Sam"),
        replace(message("C", "the falcon rests", chat=GROUP, by=HIDDEN), sender=SAM),
        message("D", "stays", chat=GROUP, by=MAYA),
        message("E", "own words", own=True),
    ]
    index.add(account)
    index.look([newest(SAM)], heard=False, oldest=None)
    assert index.forget(lambda chat: chat in (SAM, HIDDEN), T) == 4
    assert found(index) == ["D"]
    assert in_files(path, "kestrel", "osprey", "falcon", "own words", SAM, HIDDEN) == []
    assert index.add(account) == 0
    index.look([newest(SAM, T + 3, "new")], heard=False, oldest=None)
    assert only_gap(index).since == T
    assert index.add([message("F", "later", T + 1), message("G", "later", T + 2, chat=GROUP, by=SAM)]) == 2
    assert index.check() is None


# Several processes


def _hold(path: Path, begun: Event, end: Event) -> None:
    with closing(Index(path)) as index:
        assert index.claim()
        begun.set()
        end.wait(30)


def _write(path: Path, begun: Event, end: Event) -> None:
    with closing(Index(path)) as index:
        for number in range(10_000):
            index.add(message(f"A{number:04}{at}", f"word {number}", T + number) for at in range(10))
            begun.set()
            if end.is_set():
                return


def _beside(work: Callable[[Path, Event, Event], None], path: Path) -> tuple[Any, Event]:
    """Another process, once it has started."""
    spawn = multiprocessing.get_context("spawn")
    begun, end = spawn.Event(), spawn.Event()
    process = spawn.Process(target=work, args=(path, begun, end))
    process.start()
    assert begun.wait(30)
    return process, end


def test_one_process_fills_and_another_takes_over_when_it_ends(path: Path, index: Index) -> None:
    process, _ = _beside(_hold, path)
    try:
        assert not index.claim()
        assert not index.mine()
        assert index.filled()
    finally:
        process.kill()
        process.join()
    assert not index.filled()
    assert index.claim()
    assert index.claim()
    assert index.mine()


@pytest.mark.slow
def test_a_reader_beside_a_writer_sees_whole_steps(path: Path, index: Index, tmp_path: Path) -> None:
    process, end = _beside(_write, path)
    try:
        counts = set[int]()
        for number in range(60):
            numbers = found(index, words("word"))
            assert len(numbers) % 10 == 0
            counts.add(len(numbers))
            if number % 20 == 0:
                # Like a backup of the folder: with SQLite's own means, and by copying a file while nobody uses it.
                copy = tmp_path / f"copy{number}" / path.name
                copy.parent.mkdir()
                with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(copy)) as target:
                    source.backup(target)
                with closing(Index(copy)) as other:
                    assert len(whole(other)) % 10 == 0
        assert len(counts) > 1
    finally:
        end.set()
        process.join(30)
    assert index.check() is None


def test_a_copy_of_the_open_files_is_whole(path: Path, index: Index, tmp_path: Path) -> None:
    for number in range(50):
        index.add([message(f"A{number}", f"word {number}", T + number)])
    copy = tmp_path / "copy"
    shutil.copytree(path.parent, copy)
    with closing(Index(copy / path.name)) as other:
        assert whole(other) == whole(index)
        assert not other.filled()


def test_threads_write_and_read_at_once(index: Index) -> None:
    failures: list[BaseException] = []

    def work(name: int) -> None:
        try:
            for number in range(30):
                index.add([message(f"{name}A{number}", "word", T + number)])
                found(index, words("word"))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(whole(index)) == 120


def test_a_file_that_was_deleted_under_an_open_index_is_made_anew(path: Path, index: Index) -> None:
    index.add([message("A")])
    assert index.claim()
    path.unlink()
    assert not index.mine()
    assert found(index) == []
    assert index.claim()
    assert index.add([message("B")]) == 1
    assert [each.key.id for each in whole(index)] == ["B"]


def test_a_deleted_index_gives_and_takes_nothing_any_more(path: Path, index: Index) -> None:
    index.add([message("A")])
    path.with_name(f"{path.name}.damaged-20260101T000000Z").write_bytes(b"x")
    index.delete()
    assert [each.name for each in path.parent.iterdir() if not each.name.endswith(".lock")] == []
    for step in (lambda: index.add([message("A")]), lambda: index.search(Sieve(), most=1), index.claim, index.counts):
        with pytest.raises(StoreAway, match="deleted"):
            step()
    assert not path.exists()


@posix
def test_only_the_user_can_look_into_it_whatever_the_umask(path: Path, index: Index) -> None:
    before = os.umask(0)
    try:
        index.add([message("A")])
        assert found(index) == ["A"]
    finally:
        os.umask(before)
    names = sorted(each.name for each in path.parent.iterdir())
    assert names == ["index-1.lock", "index-1.sqlite", "index-1.sqlite-shm", "index-1.sqlite-wal"]
    assert {each.stat().st_mode & 0o777 for each in path.parent.iterdir()} == {0o600}
    assert path.parent.stat().st_mode & 0o777 == 0o700


# Versions

#: The statements of the first version, as they were released.
VERSION_1 = (Path(__file__).parent / "index_1.sql").read_text(encoding="utf-8")


def make(path: Path, script: str) -> None:
    path.parent.mkdir(exist_ok=True)
    with closing(sqlite3.connect(path)) as connection:
        connection.create_function("lines_of", 3, index_file.lines_of, deterministic=True)
        connection.executescript(script)


def test_a_file_of_the_first_version_is_read_on(path: Path, index: Index) -> None:
    make(path, VERSION_1)
    assert [(each.id, each.text, each.time, each.pushname) for each in whole(index)] == [
        (f"false_{GROUP}_3EB0_{SAM}", "The kestrel flies", T, "Sam"),
        (f"true_{SAM}_3EB1", "Own words", T - 1, None),
    ]
    assert found(index, words("kestrel")) == ["3EB0"]
    assert only_gap(index).place == Place(T - 1, f"true_{SAM}_3EB1", 3)
    assert index.add([message("3EB0", "Edited", chat=GROUP, by=SAM)]) == 0
    assert found(index, words("kestrel")) == []


def test_the_first_version_is_what_a_new_file_has(path: Path, index: Index) -> None:
    index.counts()
    with closing(sqlite3.connect(path)) as new, closing(sqlite3.connect(":memory:")) as first:
        first.create_function("lines_of", 3, index_file.lines_of, deterministic=True)
        first.executescript(VERSION_1)
        query = "SELECT name, sql FROM sqlite_master ORDER BY name"
        made, released = (
            {name: " ".join((sql or "").split()) for name, sql in each.execute(query)} for each in (new, first)
        )
    assert made == released


def test_a_file_of_a_newer_version_is_left_as_it_is(path: Path, index: Index) -> None:
    make(path, VERSION_1 + "PRAGMA user_version = 99;")
    before = path.read_bytes()
    for step in (lambda: found(index), lambda: index.add([message("A")]), index.claim):
        with pytest.raises(StoreAway, match="newer version of waha-mcp"):
            step()
    assert path.read_bytes() == before
    assert list(path.parent.glob("*damaged*")) == []


def test_lines_that_were_folded_otherwise_are_indexed_anew(path: Path, index: Index) -> None:
    with pytest.MonkeyPatch.context() as before:
        before.setattr(index_module, "FOLDING", "0/1.0")
        before.setattr(index_file, "fold_text", str.swapcase)
        index.add([message("A", "Some Words")])
        assert found(index, words("sOME")) == ["A"]
    index.close()
    assert index.claim()
    assert found(index, words("some")) == ["A"]
    assert found(index, words("sOME")) == []
    assert index.noted("folding").endswith(unicodedata.unidata_version)
    assert index.check() is None


def test_a_python_without_trigrams_gets_one_clear_line(
    path: Path, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Older(sqlite3.Connection):
        def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
            if "trigram" in sql:
                raise sqlite3.OperationalError("no such tokenizer: trigram")
            return super().execute(sql, *values)

    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *given, **named: connect(*given, **named, factory=Older))
    with pytest.raises(NoTrigrams) as away:
        index.add([message("A")])
    assert str(away.value).startswith("The index needs SQLite 3.34 or newer with FTS5; this Python has ")
    assert "\n" not in str(away.value)
    assert not path.exists()


# Damage


def filled(path: Path, count: int = 400) -> list[Record]:
    """A closed index with this many messages."""
    rng = random.Random(1)
    account = [
        message(
            f"3EB0{number:08X}",
            " ".join(f"{rng.choice(('kestrel', 'osprey', 'falcon'))}{rng.randrange(99)}" for _ in range(12)),
            T + number,
            chat=GROUP,
            by=rng.choice((SAM, MAYA, HIDDEN)),
        )
        for number in range(count)
    ]
    with closing(Index(path)) as index:
        index.look([newest(GROUP)], heard=False, oldest=None)
        index.add(account)
    return account


def as_text(path: Path) -> None:
    path.write_text("this was an index once\n" * 1000)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:50_000])


def cut_within_the_header(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:50])


def zeros(path: Path) -> None:
    path.write_bytes(b"\0" * path.stat().st_size)


def another_programs(path: Path) -> None:
    path.unlink()
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript("CREATE TABLE theirs (a); PRAGMA user_version = 1;")


def garbage(path: Path) -> None:
    data = bytearray(path.read_bytes())
    for page in range(1, len(data) // 4096):
        data[page * 4096 : page * 4096 + 100] = b"\xa5" * 100
    path.write_bytes(data)


def log_of_another(path: Path) -> None:
    other = path.parent.parent / "other" / path.name
    with closing(Index(other)) as index:
        for number in range(30):
            index.add([message(f"B{number}", "another's words", T + number)])
        shutil.copyfile(other.with_name(other.name + "-wal"), path.with_name(path.name + "-wal"))


DAMAGES = [as_text, empty, cut, cut_within_the_header, zeros, another_programs, garbage, log_of_another]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda each: each.__name__)
def test_a_damaged_file_is_moved_aside_and_made_anew(damage: Callable[[Path], None], path: Path, index: Index) -> None:
    filled(path)
    damage(path)
    used_again(index)
    assert len(list(path.parent.glob(f"{path.name}.damaged-*Z"))) == 1
    assert whole(index) == [message("new", "new words")]


def used_again(index: Index) -> None:
    """Use an index until it works; each failure must be reported as one."""
    said: list[str | None] = []
    while len(said) < 4 and None not in said:
        try:
            index.claim()
            index.look([newest(GROUP)], heard=False, oldest=None)
            index.add([message("new", "new words")])
            said.append(index.check())
        except StoreAway as away:
            said.append(str(away))
    assert said.pop() is None
    assert all("damaged" in each for each in said if each)


@pytest.mark.parametrize("seed", range(40))
def test_random_damage_is_never_a_crash_and_ends_in_a_whole_file(seed: int, path: Path, index: Index) -> None:
    account = {each.id: each for each in filled(path)}
    rng = random.Random(seed)
    data = bytearray(path.read_bytes())
    for _ in range(rng.choice((1, 3, 30))):
        at, length = rng.randrange(len(data)), rng.choice((1, 8, 100, 4096))
        data[at : at + length] = rng.choice((rng.randbytes(length), b"\0" * length, b"\xff" * length))
    path.write_bytes(data)
    for step in (
        lambda: index.search(Sieve(), most=1000),
        lambda: index.search(words("kestrel"), most=1000),
        lambda: index.search(words("os"), most=1000),
        lambda: index.search(Sieve(senders=frozenset({SAM})), most=1000),
        index.chats,
        index.next_gap,
        index.counts,
        lambda: index.expire(T, T + 50),
        lambda: index.drop([SAM]),
        lambda: index.add(account.values()),
    ):
        with suppress(StoreAway):
            step()
    used_again(index)
