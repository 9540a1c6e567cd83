"""Pages: opaque cursors, and saying what was left out."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import Any, Self, TypeVar, get_origin

from pydantic import Field, PrivateAttr

from waha_mcp.history.source import NoPlace, Place
from waha_mcp.tools.catalog import ArgumentError
from waha_mcp.tools.several import NotTold
from waha_mcp.waha.marks import LongCursor
from waha_mcp.waha.models import Result

T = TypeVar("T")


class Page(Result):
    """The base of results that hold one page of a list."""

    left_out: int | None = Field(default=None, description="How many follow after these, where any do")
    at_least: bool | None = Field(default=None, description="There may be more than left_out says")
    cursor: LongCursor | None = Field(default=None, description="Pass it as cursor to get those")
    notes: list[str] | None = None
    not_told: NotTold = None

    #: The cursor's kind, and the state to continue from after each item, so that a page can end after any of them.
    _places: tuple[str, tuple[Any, ...]] = PrivateAttr(("", ()))

    def resumable(self, kind: str, places: Sequence[Any]) -> Self:
        """Record the states of the cursors after each item, and return the page itself."""
        self._places = kind, tuple(places)
        return self

    def items(self) -> list[Any]:
        """The list that this is a page of."""
        return list(getattr(self, self._list_field()))

    def first(self, count: int) -> Self:
        """A copy with only the first `count` items, which says what else there is and how to get it."""
        dropped = len(self.items()) - count
        kind, places = self._places
        changes: dict[str, Any] = {self._list_field(): self.items()[:count], "left_out": dropped + (self.left_out or 0)}
        if self.cursor is not None and self.left_out is None:
            changes["at_least"] = True  # how many follow the original end of this page is not known
        if count <= len(places) and count:
            changes["cursor"] = encode_cursor(kind, places[count - 1])
        else:
            note = f"Too long for one answer: ask again with limit={count}."
            changes |= {"notes": [*(self.notes or ()), note], "cursor": None}
        return self.model_copy(update=changes)

    @classmethod
    def _list_field(cls) -> str:
        return next(name for name, field in cls.model_fields.items() if get_origin(field.annotation) is list)


def left(count: int, cursor: str, *, exact: bool = True) -> dict[str, Any]:
    """The `Page` fields for what follows: so many, or unless `exact` at least so many; with 0 there may be none."""
    told = {"left_out": count} | ({} if exact else {"at_least": True})
    return {"cursor": cursor} | (told if count or exact else {})


DAMAGED = "cursor: damaged; pass the one that the last page gave, unchanged"


def encode_cursor(kind: str, state: Any) -> str:
    """An opaque cursor for a list of one kind."""
    return base64.urlsafe_b64encode(json.dumps([kind, state], separators=(",", ":")).encode()).decode().rstrip("=")


def decode_cursor(kind: str, cursor: str) -> Any:
    """The state inside a cursor.

    Raises:
        ArgumentError: not a cursor, or one of another list.
    """
    try:
        found, state = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (ValueError, TypeError, RecursionError):
        found, state = None, None
    if found != kind:
        raise ArgumentError("cursor: not a cursor of this list; pass the one that the last page gave, unchanged")
    return state


def offset_of(kind: str, cursor: str | None) -> int:
    """The offset inside a cursor of a list that is paged by offset; 0 without one."""
    if cursor is None:
        return 0
    offset = decode_cursor(kind, cursor)
    if not isinstance(offset, int) or isinstance(offset, bool) or offset < 0:
        raise ArgumentError(DAMAGED)
    return offset


def place_of(state: Any) -> Place:
    """The position in the messages that a cursor's state holds."""
    try:
        return Place.from_state(state)
    except NoPlace:
        raise ArgumentError(DAMAGED) from None


def page_of(
    kind: str, rows: Sequence[T], limit: int, offset: int, total: int | None = None
) -> tuple[Sequence[T], dict[str, Any]]:
    """The first `limit` of `rows`, and the `Page` fields that say what follows.

    `rows` are WAHA's answer to a request for one more than `limit`: WAHA counts few of its lists, and the extra row
    shows that there is more. `total` is the size of the whole list if known.
    """
    if len(rows) <= limit:
        return rows, {}
    count = total - offset - limit if total is not None else 0
    return rows[:limit], left(max(count, 1), encode_cursor(kind, offset + limit), exact=count > 0)


def slice_of(kind: str, rows: Sequence[T], limit: int, offset: int) -> tuple[Sequence[T], dict[str, Any]]:
    """One page of rows that are all at hand, and the `Page` fields that say exactly how many follow."""
    shown, count = rows[offset : offset + limit], len(rows) - offset - limit
    return shown, left(count, encode_cursor(kind, offset + limit)) if count > 0 else {}
