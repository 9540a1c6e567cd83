"""Which records match, the line that shows why, how well they fit, and the query that an index gets."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waha_mcp.history.matching import LINE, MENTIONED, Match, Sought, Wanted, first_line
from waha_mcp.history.query import parse
from waha_mcp.history.records import NOTHING, Has, Record, Sieve, record_from
from waha_mcp.waha.messages import NOBODY, Message, message_from
from waha_mcp.whatsapp.folding import fold_text

SAM, SAMS_LID, FAMILY = "12025550123@c.us", "990000000000123@lid", "120363000000000001@g.us"
ME, MAYA = "12025550100@c.us", "12025550111@c.us"
#: Names by the digits of mentions.
CALLED = {"12025550111": "Maya Lindqvist", "990000000000111": "Maya Lindqvist", "12025550100": "me"}


class Known:
    """A `Names` that knows both ids of Sam and of the account."""

    me = frozenset({ME})

    def canonical(self, chat_id: str) -> str:
        return SAM if chat_id == SAMS_LID else chat_id

    def name(self, chat_id: str) -> str | None:
        return "Sam" if chat_id == SAM else None

    def shows(self, chat_id: str) -> bool:
        return True


def row(text: str, chat: str = SAM, **fields: Any) -> dict[str, Any]:
    return {"id": f"false_{chat}_A1", "timestamp": 1_790_000_000, "from": chat, "fromMe": False, "body": text} | fields


def record(text: str, chat: str = SAM, **fields: Any) -> Record:
    found = record_from(row(text, chat, **fields), Known.me)
    assert found is not None
    return found


def message(text: str) -> Message:
    found = message_from(row(text), NOBODY, full=True)
    assert found is not None
    return found


def match(query: str, found: Record, **sought: Any) -> Match | None:
    return Sought(parse(query, UTC), called=CALLED, **sought).match(found, Known())


def line(query: str, text: str) -> str | None:
    found = match(query, record(text))
    return None if found is None else found.line


@pytest.mark.parametrize(
    ("wanted", "holds"),
    [
        (Wanted(), True),
        (Wanted(SAM), True),
        (Wanted("me"), False),
        (Wanted(kind="text"), True),
        (Wanted(SAM, "image"), False),
    ],
)
def test_a_message_is_wanted_by_sender_and_by_kind(wanted: Wanted, holds: bool) -> None:
    assert (message("Hi") in wanted) is holds


@pytest.mark.parametrize(
    ("text", "query", "shown"),
    [
        ("one\nCafé at six\nthree", "cafe", "Café at six"),
        ("one two\nthree", "three one", "one two"),
        ("one\ntwo", "one four", None),
        ("one\n\ntwo three\none two three", "one three", "one two three"),
        ("one two", '"one two"', "one two"),
        ("one  TWO", '"one two"', "one  TWO"),
        ("one\ntwo", '"one two"', None),
        ("two one", '"one two"', None),
        ("one two", "one -two", None),
        ("one two", 'one -"two one"', "one two"),
        ("first\nsecond", "after:2026-01-01", "first"),
        ("one\nphone the phoneme", "phone", "phone the phoneme"),
        ("phones ring\nthe phone", "phone", "the phone"),
    ],
)
def test_the_line_with_most_of_the_words_is_shown_where_the_message_has_all(
    text: str, query: str, shown: str | None
) -> None:
    assert line(query, text) == shown


def test_a_long_line_is_cut_around_the_first_word_that_matches() -> None:
    for text, query in (
        ("a " * 300 + "needle " + "b " * 300, "needle"),
        ("ß" * 300 + " needle " + "b" * 300, "needle"),
    ):
        shown = line(query, text)
        assert shown is not None
        assert len(shown) == LINE + 2
        assert shown.startswith("…")
        assert " needle " in shown
        assert shown.endswith("…")


def test_a_text_without_blanks_is_cut_around_what_matches_too() -> None:
    shown = line("天气", "你好" * 200 + "今天天气怎么样" + "再见" * 200)
    assert shown is not None
    assert len(shown) == LINE + 2
    assert "今天天气怎么样" in shown


def test_the_end_of_a_long_line_is_shown_whole() -> None:
    shown = line("needle", "a " * 300 + "needle")
    assert shown is not None
    assert len(shown) == LINE + 1
    assert shown.endswith("needle")


@pytest.mark.parametrize(
    "data",
    [
        {"message": {"eventMessage": {"name": "Fair", "description": "Bring a needle"}}},
        {"message": {"eventMessage": {"name": "Fair", "location": {"name": "Needle street"}}}},
        {"message": {"contactMessage": {"vcard": "BEGIN:VCARD\nVERSION:3.0\nFN:Ann\nORG:Needle Works\nEND:VCARD"}}},
        {"message": {"contactMessage": {"vcard": "BEGIN:VCARD\nVERSION:3.0\nFN:A\nEMAIL:needle@a.example\nEND:VCARD"}}},
        {"message": {"extendedTextMessage": {"contextInfo": {"externalAdReply": {"title": "Needles"}}}}},
        {"message": {"listMessage": {"title": "A", "sections": [{"rows": [{"title": "Needle", "rowId": "1"}]}]}}},
    ],
)
def test_what_is_shown_of_a_message_is_found(data: dict[str, Any]) -> None:
    found = match("needle", record("", _data=data))
    assert found is not None
    assert "needle" in found.line.lower()


IMAGE: dict[str, Any] = {"hasMedia": True, "media": {"mimetype": "image/jpeg", "filename": "needle.jpg"}}
IMAGE |= {"_data": {"message": {"imageMessage": {"mimetype": "image/jpeg", "caption": ""}}}}


@pytest.mark.parametrize(
    ("query", "sought", "fields", "found"),
    [
        ("kind:text", {}, {}, True),
        ("kind:image", {}, {}, False),
        ("kind:image kind:text", {}, {}, True),
        ("-kind:text", {}, {}, False),
        ("kind:image has:file needle", {}, IMAGE, True),
        ("-has:file", {}, IMAGE, False),
        ("has:link", {}, {}, True),
        ("has:file", {}, {}, False),
        ("has:file has:link", {}, {}, True),
        ("x", {"chats": frozenset({SAM})}, {}, True),
        ("x", {"chats": frozenset({FAMILY})}, {}, False),
        ("x", {"not_chats": frozenset({SAM})}, {}, False),
        ("x", {"senders": frozenset({SAM})}, {}, True),
        ("x", {"senders": frozenset({"me"})}, {}, False),
        ("x", {"not_senders": frozenset({SAM})}, {}, False),
        ("x", {"since": 1_790_000_000, "until": 1_790_000_000}, {}, True),
        ("x", {"since": 1_790_000_001}, {}, False),
        ("x", {"until": 1_789_999_999}, {}, False),
    ],
)
def test_a_record_is_looked_for_by_whom_where_when_and_what(
    query: str, sought: dict[str, Any], fields: dict[str, Any], found: bool
) -> None:
    text = "" if fields else "x https://a.example"
    assert (match(query, record(text, **fields), **sought) is not None) is found


def test_the_two_ids_of_a_person_are_one() -> None:
    there = record("x", SAMS_LID)
    assert match("x", there, chats=frozenset({SAM}), senders=frozenset({SAM}))
    assert match("x", there, not_senders=frozenset({SAM})) is None


def test_what_the_account_wrote_is_from_me_under_any_id() -> None:
    mine = frozenset({"me"})
    assert match("x", record("x", fromMe=True, id=f"true_{SAM}_A1"), senders=mine)
    group = record("x", FAMILY, id=f"false_{FAMILY}_A1_{ME}", participant=ME)
    assert group.sender == ME
    assert match("x", group, senders=mine)


@pytest.mark.parametrize("query", ["maya", "lindqvist", "@maya", '"maya lindqvist"', "12025550111", "@12025550111"])
def test_a_mention_is_found_by_name_and_by_number_and_shown_by_name(query: str) -> None:
    assert line(query, "Ask @12025550111, please") == "Ask @Maya Lindqvist, please"
    assert line(f"ask -{query}", "Ask @12025550111, please") is None


def test_a_mention_of_nobody_that_is_known_stays_a_number() -> None:
    assert line("ask", "Ask @12025550199 or @5") == "Ask @12025550199 or @5"
    assert line("maya", "Ask 12025550111, or a@12025550111999") is None


def test_whole_words_short_lines_and_words_that_stand_together_fit_better() -> None:
    texts = [
        "the red house",
        "the house was painted in red last year, before anybody had asked what the neighbours think of it",
        "red\nhouse",
        "redder houses",
        "bored in the lighthouse",
    ]
    scores = [found.score for text in texts if (found := match("red house", record(text)))]
    assert len(scores) == len(texts)
    assert scores == sorted(scores, reverse=True)
    assert len(set(scores)) == len(scores)


def test_what_is_shown_of_a_message_without_words_is_its_first_line() -> None:
    assert first_line(record("\n\none\ntwo")) == "one"
    assert first_line(record("", **IMAGE | {"media": {"mimetype": "image/jpeg"}})) == ""


# What an index is told


def ids(chat: str) -> Iterable[str]:
    return {SAM: (SAM, SAMS_LID), "me": ("me", ME)}.get(chat, (chat,))


def test_an_index_is_told_what_it_can_tell() -> None:
    query = parse('maya "at six" -no kind:image has:link after:2026-01-01', UTC)
    sought = Sought(
        query, frozenset({SAM}), frozenset({FAMILY}), frozenset({"me"}), since=query.since, until=7.0, called=CALLED
    )
    assert sought.sieve(ids) == Sieve(
        words=(
            ("maya", "@12025550111", "@+12025550111", "@990000000000111", "@+990000000000111"),
            ("at six",),
        ),
        chats=frozenset({SAM, SAMS_LID}),
        senders=frozenset({"me", ME}),
        kinds=frozenset({"image"}),
        has=Has.LINK,
        since=query.since,
        until=7.0,
    )


def test_an_index_is_told_nothing_of_what_may_be_one_of_several() -> None:
    assert Sought(parse("has:link has:file", UTC)).sieve(ids) == Sieve()


def test_of_many_whose_name_holds_a_word_every_mention_is_looked_at() -> None:
    many = {str(12_025_550_100 + number): f"Anna {number}" for number in range(MENTIONED + 1)}
    assert Sought(parse("anna", UTC), called=many).sieve(ids).words == (("anna", "@"),)
    many.popitem()
    assert len(Sought(parse("anna", UTC), called=many).sieve(ids).words[0]) == 2 * MENTIONED + 1


def passes(found: Record, sieve: Sieve) -> bool:
    """The record as an index sees it."""
    folded = [fold_text(each) for each in found.lines()]
    return (
        all(any(each in one for each in alternatives for one in folded) for alternatives in sieve.words)
        and (sieve.chats is None or found.chat in sieve.chats)
        and (sieve.senders is None or found.sender in sieve.senders)
        and (sieve.kinds is None or found.kind in sieve.kinds)
        and (sieve.has == NOTHING or found.has & sieve.has == sieve.has)
        and (sieve.since is None or found.time >= sieve.since)
        and (sieve.until is None or found.time <= sieve.until)
    )


_WORDS = st.sampled_from(
    ["maya", "Café", "@12025550111", "at", "six", "天气", "مَرحبا", "https://a.example", "m", "@me", "@12025550100"]
)
_LINES = st.lists(st.lists(_WORDS, min_size=1, max_size=4).map(" ".join), max_size=3).map("\n".join)
_QUERIES = st.lists(
    st.sampled_from(["ma", "cafe", '"at six"', "me", "12025", "@", "天气", "مرحبا", "has:link", "kind:text", "-six",
                     "has:file has:link", "after:2026-01-01", "before:2026-12-31", "-kind:image"]),
    min_size=1, max_size=3,
).map(" ".join)  # fmt: skip


@given(_LINES, _QUERIES, st.sampled_from([SAM, SAMS_LID, FAMILY]), st.booleans(), st.booleans(), st.booleans())
def test_whatever_is_found_has_passed_the_sieve(
    text: str, query: str, chat: str, own: bool, by_chat: bool, by_sender: bool
) -> None:
    key = f"{str(own).lower()}_{chat}_A1" + (f"_{ME if own else SAM}" if chat == FAMILY else "")
    found = record_from(row(text or "x", chat, id=key, fromMe=own, participant=SAM), Known.me)
    asked = parse(query, UTC)
    sought = Sought(
        asked,
        chats=frozenset({SAM}) if by_chat else None,
        senders=frozenset({"me"}) if by_sender else None,
        since=asked.since,
        until=asked.until,
        called=CALLED,
    )
    assert found is not None
    assert passes(found, sought.sieve(ids)) or sought.match(found, Known()) is None


@pytest.mark.parametrize("query", ["(a+)+$", "\\", "[", "%", "_", "'", '"";--', "*" * 50, "." * 200])
def test_signs_of_other_languages_are_nothing_but_signs(query: str) -> None:
    for text in ("a" * 5_000, query, "nothing of it"):
        found = match(query, record(text))
        assert (found is not None) is (fold_text(query.rstrip("*") or query) in fold_text(text))
    assert re.escape(query)
