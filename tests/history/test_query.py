"""The query language: what a query means, and the errors for invalid ones."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from waha_mcp.history.query import LONGEST, Query, parse
from waha_mcp.history.records import Has
from waha_mcp.whatsapp.folding import fold_text

BERLIN = ZoneInfo("Europe/Berlin")
#: A Saturday afternoon in winter.
NOW = datetime(2026, 11, 28, 15, 30, 20, tzinfo=BERLIN)


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    class Fixed(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return NOW.astimezone(tz)

    monkeypatch.setattr("waha_mcp.history.times.datetime", Fixed)


def second(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=BERLIN).timestamp()


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("Lunch  CAFÉ", Query(words=("lunch", "cafe"))),
        ('"At  Six" lunch', Query(words=("lunch",), phrases=("at six",))),
        ("“at six”", Query(phrases=("at six",))),
        ("„at six“", Query(phrases=("at six",))),
        ("«at six»", Query(phrases=("at six",))),
        ("lunch lunch", Query(words=("lunch",))),
        ("lunch -bob -“no way”", Query(words=("lunch",), without=("bob", "no way"))),
        ("lunch –bob −ann", Query(words=("lunch",), without=("bob", "ann"))),
        ("lunch - bob — ann", Query(words=("lunch", "bob", "ann"))),
        ("well-known", Query(words=("well-known",))),
        ("invoice*", Query(words=("invoice",))),
        ("*", Query(words=("*",))),
        ('צה"ל', Query(words=('צה"ל',))),
        ('"צה"ל חזק"', Query(phrases=('צה"ל חזק',))),
        ('5" pipe', Query(words=('5"', "pipe"))),
        ('"not closed', Query(phrases=("not closed",))),
        ("from:Maya", Query(senders=("Maya",))),
        ('from:"Maya Lee" lunch', Query(words=("lunch",), senders=("Maya Lee",))),
        ("from：“Maya Lee”", Query(senders=("Maya Lee",))),
        ("FROM:me -from:Bob", Query(senders=("me",), not_senders=("Bob",))),
        ('from:"me"', Query(senders=("me",))),
        ("in:Family in:Work -in:Spam", Query(chats=("Family", "Work"), not_chats=("Spam",))),
        ("in:+12025550111", Query(chats=("+12025550111",))),
        ("kind:voice kind:Photos", Query(kinds=frozenset({"voice", "image"}))),
        ("-kind:sticker", Query(not_kinds=frozenset({"sticker"}))),
        ("has:link has:files -has:quote", Query(has=Has.LINK | Has.FILE, not_has=Has.QUOTE)),
        ("http://x.example 10:30 note:this", Query(words=("http://x.example", "10:30", "note:this"))),
        ("时间：十点", Query(words=("时间:十点",))),
        ('"from:maya"', Query(phrases=("from:maya",))),
        ("OR", Query(words=("or",))),
        ("THIS OR THAT", Query(words=("this", "or", "that"))),
        ("👍🏽", Query(words=("👍",))),
        ("ＡＢＣ", Query(words=("abc",))),
        ("'; DROP TABLE messages; --", Query(words=("';", "drop", "table", "messages;"))),
        ("(a|b)+ [c] \\d{2}", Query(words=("(a|b)+", "[c]", "\\d{2}"))),
    ],
)  # fmt: skip
def test_a_text_means_this(text: str, query: Query) -> None:
    assert parse(text, BERLIN) == query


@pytest.mark.parametrize(
    ("text", "since", "until"),
    [
        ("after:yesterday", "2026-11-27", None),
        ("after:2026-11-20", "2026-11-20", None),
        ("after:2026/11/20", "2026-11-20", None),
        ("before:today", None, "2026-11-27T23:59:59"),
        ("before:2026-11-20", None, "2026-11-19T23:59:59"),
        ("after:monday before:wednesday", "2026-11-23", "2026-11-24T23:59:59"),
        ("after:10:30", "2026-11-28T10:30", None),
        ('after:"yesterday 10:30" before:"yesterday 11:00"', "2026-11-27T10:30", "2026-11-27T10:59:59"),
        ("after:7d", "2026-11-21T15:30:20", None),
        ('after:"2 weeks ago"', "2026-11-14T15:30:20", None),
        ("after:2026-11-20 after:2026-11-22 before:2026-11-25 before:today", "2026-11-22", "2026-11-24T23:59:59"),
    ],
)
def test_after_includes_the_time_that_it_names_and_before_leaves_it_out(
    text: str, since: str | None, until: str | None
) -> None:
    query = parse(text, BERLIN)
    assert query.since == (second(since) if since else None)
    assert query.until == (second(until) if until else None)


def test_a_unix_time_is_one_and_a_time_has_the_zone_that_it_names() -> None:
    assert parse("after:1790000000", BERLIN).since == 1_790_000_000
    assert parse("after:2026-11-20T10:00Z", BERLIN).since == datetime(2026, 11, 20, 10, tzinfo=UTC).timestamp()
    assert parse("after:2026-11-20", UTC).since == datetime(2026, 11, 20, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "has no word to search for"),
        (' " “”" - -- \u200b', "has no word to search for"),
        ("form:maya", "form: is not a field; did you mean from:?"),
        ("since:7d", "since: is not a field; did you mean after:?"),
        ("chat:Family", "chat: is not a field; did you mean in:?"),
        ("from:", "from: has no value: write it right after the colon, as in from:Maya"),
        ("from: Maya", "from: has no value"),
        ('in:""', "in: has no value"),
        ("kind:foto", "kind:foto: must be one of text, image, .*; did you mean 'photo'?"),
        ("has:lnik", "has:lnik: must be one of link, file, mention, quote, edited; did you mean 'link'?"),
        ("after:soon", "after:soon: must be a date, a time, today"),
        ('before:"some day"', 'before:"some day": must be a date'),
        ("-after:today", "-after:today: a time cannot be excluded; use before:today"),
        ("after:today before:today", "leave no time between"),
        ("lunch OR dinner", "OR is not an operator: .* search twice"),
        ("lunch AND dinner", "AND is not an operator"),
        ("x" * (LONGEST + 1), "up to 500 characters are accepted, and it has 501"),
    ],
)
def test_what_means_nothing_is_said_with_what_would_be_right(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said.replace("?", r"\?")):
        parse(text, BERLIN)


#: What an error about a text says, in any of its forms.
_SAID = re.compile(
    "no word to search|did you mean|has no value|must be|cannot be excluded|no time between|not an operator|"
    "characters are accepted|not a valid time"
)
#: Texts made of the language's tokens, and any other text.
_PARTS = st.sampled_from(
    [
        *'"“”„«»-–−：:*\\%_()[]',
        " ",
        "from:",
        "in:",
        "kind:",
        "has:",
        "after:",
        "before:",
        "me",
        "image",
        "link",
        "today",
    ]
)
_TEXTS = st.lists(st.one_of(_PARTS, st.text(max_size=5)), max_size=40).map("".join)


def parsed(text: str) -> Query | str:
    """The parsed query, or the error."""
    try:
        return parse(text, UTC)
    except ValueError as error:
        return str(error)


@settings(max_examples=500)
@given(_TEXTS)
def test_any_text_is_a_query_or_an_error_that_says_what_is_wrong(text: str) -> None:
    query = parsed(text)
    if isinstance(query, str):
        assert _SAID.search(query)
        assert len(query) < 500
        return
    assert query != Query()
    for term in (*query.terms, *query.without):
        assert term
        assert fold_text(term) == term
    for second in filter(None, (query.since, query.until)):
        assert math.isfinite(second)


_SIGNS = re.compile(r"[\s:：\"“”„‟«»＂*-]|^[-－−–]")


@given(st.text(min_size=1).filter(lambda text: not _SIGNS.search(text) and fold_text(text).strip('-" ')))
def test_a_word_without_signs_is_itself(text: str) -> None:
    assert parse(text, UTC) == Query(words=(fold_text(text),))


@pytest.mark.parametrize(
    "text", ['"' * 200, "-" * 200, "from:" * 100, '-"' * 100, "(.*)+" * 40, "%_" * 100, "a:" * 200]
)
def test_hostile_texts_cost_nothing(text: str) -> None:
    query = parsed(text)
    assert isinstance(query, Query) or len(query) < 300
