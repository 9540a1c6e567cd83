"""Which messages are looked for, and the line that shows why."""

from __future__ import annotations

from typing import Any

import pytest

from waha_mcp.history.matching import LINE, Wanted, matching_line
from waha_mcp.waha.messages import NOBODY, Message, message_from
from waha_mcp.whatsapp.folding import words

SAM = "12025550123@c.us"


def message(text: str, **fields: Any) -> Message:
    row = {"id": f"false_{SAM}_A1", "timestamp": 1_790_000_000, "from": SAM, "fromMe": False, "body": text} | fields
    found = message_from(row, NOBODY, full=True)
    assert found is not None
    return found


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
    ("text", "query", "line"),
    [
        ("one\nCafé at six\nthree", "cafe", "Café at six"),
        ("one two\nthree", "three one", "one two"),
        ("one\ntwo", "one four", None),
        ("one\n\ntwo three\none two three", "one three", "one two three"),
        ("", "one", None),
    ],
)
def test_the_line_with_most_of_the_words_is_shown_where_the_message_has_all(
    text: str, query: str, line: str | None
) -> None:
    assert matching_line(message(text), words(query)) == line


def test_a_long_line_is_cut_around_the_first_word_that_matches() -> None:
    shown = matching_line(message("a " * 300 + "needle " + "b " * 300), words("needle"))
    assert shown is not None
    assert len(shown) == LINE + 2
    assert shown.startswith("…a")
    assert " needle " in shown
    assert shown.endswith("…")


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
    line = matching_line(message("", _data=data), words("needle"))
    assert line is not None
    assert "needle" in line.lower()
