"""Cursors are opaque and belong to one list; a page says that more follows."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waha_mcp.tools.catalog import ArgumentError
from waha_mcp.tools.paging import Page, decode_cursor, encode_cursor, left, offset_of, page_of


@given(st.text(max_size=10), st.recursive(st.integers() | st.text(), st.lists, max_leaves=5))
def test_a_cursor_gives_back_what_went_in_and_is_safe_in_any_place(kind: str, state: Any) -> None:
    cursor = encode_cursor(kind, state)
    assert cursor.replace("-", "").replace("_", "").isalnum()
    assert decode_cursor(kind, cursor) == state


def raw(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "x",
        "not a cursor",
        "ü",
        "=" * 9,
        raw(5),
        raw(["chats"]),
        raw(["chats", 1, 2]),
        raw({"a": 1, "b": 2}),
        raw(["messages", 5]),
        base64.urlsafe_b64encode(b"[" * 100_000).decode(),
        base64.urlsafe_b64encode(b"\xff\xfe").decode(),
    ],
)
def test_what_is_no_cursor_of_this_list_is_refused_by_name(cursor: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        offset_of("chats", cursor)
    assert str(caught.value).startswith("cursor: ")
    assert "unchanged" in str(caught.value)


@pytest.mark.parametrize("state", [-1, True, None, "5", 1.5, [], {}])
def test_a_damaged_offset_is_refused(state: object) -> None:
    with pytest.raises(ArgumentError):
        offset_of("chats", encode_cursor("chats", state))


@given(st.integers(0, 10**9))
def test_an_offset_comes_back(offset: int) -> None:
    assert offset_of("chats", encode_cursor("chats", offset)) == offset


def test_the_first_page_starts_at_nothing() -> None:
    assert offset_of("chats", None) == 0


@given(st.integers(0, 60), st.integers(1, 20))
def test_following_the_cursor_shows_every_row_once(size: int, limit: int) -> None:
    everything = list(range(size))
    seen: list[int] = []
    cursor: str | None = None
    for _ in range(size + 1):
        offset = offset_of("rows", cursor)
        rows, more = page_of("rows", everything[offset : offset + limit + 1], limit, offset)
        seen += rows
        assert len(rows) <= limit
        assert ("left_out" in more) == ("cursor" in more) == (offset + limit < size)
        if not more:
            break
        cursor = more["cursor"]
    assert seen == everything


class Numbers(Page):
    numbers: list[int]


@pytest.mark.parametrize(
    ("beyond", "left_out", "at_least"),
    [
        ({}, 2, None),
        (left(5, "c"), 7, None),
        (left(1, "c", exact=False), 3, True),
        (left(0, "c", exact=False), 2, True),
    ],
    ids=["none follow", "so many follow", "at least one follows", "perhaps more follow"],
)
def test_a_page_that_is_cut_says_no_more_than_is_known_of_what_follows(
    beyond: dict[str, Any], left_out: int, at_least: bool | None
) -> None:
    cut = Numbers(numbers=[1, 2, 3], **beyond).resumable("numbers", [1, 2, 3]).first(1)
    assert (cut.numbers, cut.left_out, cut.at_least) == ([1], left_out, at_least)
    assert cut.cursor == encode_cursor("numbers", 1)
