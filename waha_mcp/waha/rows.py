"""Paging through WAHA's lists: shrinks the page if an answer is too large, and skips duplicate rows."""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from waha_mcp.waha.client import Waha
from waha_mcp.waha.errors import BadAnswer, TooLarge, Unsupported, WahaError
from waha_mcp.waha.parsing import chat_id_of, first_of, list_of

logger = logging.getLogger(__name__)

Row = Mapping[str, Any]

#: Rows per request, and the maximum that `WholeList` reads.
PAGE, MOST = 2_000, 50_000
#: A page with fewer rows than this and than requested is the last one; a larger one may have been capped by the server.
LEAST_CAP = 100
#: The divisor of the page size after an answer that was too large; the consecutive successes after which the size
#: doubles.
SHRINK, GROW_AFTER = 4, 4
#: Consecutive too large answers that are tolerated: a WAHA that ignores `limit` never gives a smaller one.
TOO_LARGE_MOST = 10

TOO_LARGE = "WAHA's answer was too large"


class Pages:
    """Iteration over one list that WAHA pages by `limit` and `offset`.

    `offset` is the list position just after the last row yielded; `gap` describes what could not be read, or is None.
    """

    def __init__(self, waha: Waha, operation: str, what: str, *, size: int, offset: int = 0, **query: Any) -> None:
        """Start at `offset` with pages of `size` rows. `what` names the rows in errors ("chats")."""
        self.offset = offset
        self.gap: str | None = None
        self._waha, self._operation, self._what, self._query = waha, operation, what, query
        self._size = self._most = size
        self._lost = 0
        self._legible = False

    async def rows(self) -> AsyncIterator[Row]:
        """Yield the rows in WAHA's order, without duplicates. A single row that is too large is skipped (see `gap`).

        Raises:
            TooLarge: more than `TOO_LARGE_MOST` answers in a row were too large.
            WahaError: a page could not be read.
        """
        given: set[str] = set()
        good = too_large = 0
        while True:
            try:
                page = await self._fetch()
            except TooLarge:
                good, too_large = 0, too_large + 1
                if too_large > TOO_LARGE_MOST:
                    raise
                if self._size > 1:
                    self._size = max(self._size // SHRINK, 1)
                else:
                    self._lose(TOO_LARGE)
                    self.offset += 1
                continue
            too_large, good, asked = 0, good + 1, self._size
            if good % GROW_AFTER == 0:
                self._size = min(self._size * 2, self._most)
            keys = [_key(row) for row in page]
            fresh = 0
            for row, key in zip(page, keys, strict=True):
                self.offset += 1
                if key in given:
                    continue
                fresh += 1
                if isinstance(row, dict):
                    yield row
                else:
                    self._lose("not in a form that this version reads")
            given.update(keys)
            if not fresh:
                if page and len(page) == asked:
                    self.gap = "WAHA gave the same page again"
                return
            if len(page) < min(asked, LEAST_CAP):
                return

    async def _fetch(self) -> list[Any]:
        query = {"limit": self._size, "offset": self.offset, **self._query}
        page = list_of(await self._waha.call(self._operation, query=query), self._what)
        self._legible = self._legible or any(map(_named, page))
        if page and not self._legible:
            raise BadAnswer(f"WAHA's list of {self._what} has none that this version can read.")
        return page

    def _lose(self, why: str) -> None:
        self._lost += 1
        self.gap = f"{self._lost} left out: {why}"


def briefly(error: WahaError) -> str:
    """The error as a short phrase, without a next step."""
    if isinstance(error, TooLarge):
        return TOO_LARGE
    if isinstance(error, Unsupported):
        return "this engine cannot list them"
    return re.split(r"[.:;] ", str(error), maxsplit=1)[0].rstrip(".")


def _id_of(row: Any) -> Any:
    return first_of(row, "id", "JID", "lid") if isinstance(row, dict) else None


def _named(row: Any) -> bool:
    return chat_id_of(_id_of(row)) is not None


def _key(row: Any) -> str:
    """The identity of a row, to detect duplicates: its id, else its whole content."""
    return repr(_id_of(row) or row)


@dataclass(frozen=True)
class Rows:
    """A whole list as far as it could be read. `gap` describes what is missing; `error` ended the reading."""

    rows: Sequence[Row] = ()
    gap: str | None = None
    error: WahaError | None = None

    @property
    def lacking(self) -> bool:
        """Whether the session's engine cannot list them at all (501)."""
        return isinstance(self.error, Unsupported)


class WholeList:
    """One list that is read to its end, up to `MOST` rows.

    The rows read so far are kept if a page fails or the reader is cancelled: the next `read` resumes after them, as
    long as the last row is still at its position. Otherwise the list has changed and is read again.
    """

    def __init__(self, waha: Waha, operation: str, what: str, **query: Any) -> None:
        """No request is made yet. `what` names the rows in errors."""
        self._ask = (waha, operation, what)
        self._query = query
        self._begin()

    def _begin(self) -> None:
        waha, operation, what = self._ask
        self._pages = Pages(waha, operation, what, size=PAGE, **self._query)
        self._rows: list[Row] = []
        #: The position after the last row.
        self._behind = 0

    async def read(self) -> Rows:
        """All rows. Errors are reported in the result, together with the rows read before them."""
        error: WahaError | None = None
        gap: str | None = None
        try:
            if await self._go_on():
                gap = f"only the first {MOST} of them were read"
        except WahaError as failure:
            error, gap = failure, briefly(failure)
        gap = gap or self._pages.gap
        if gap is not None:
            logger.warning("Not all %s are known: %s", self._ask[2], error or gap)
        return Rows(self._rows[:MOST], gap, error)

    async def _go_on(self) -> bool:
        """Read the remaining rows; return whether there are more than may be read."""
        if self._pages.gap is not None:
            # Positions that could not be read would be counted twice.
            self._begin()
        last = self._rows[-1] if self._rows else None
        if last is not None:
            self._pages.offset = self._behind - 1
        async for row in self._pages.rows():
            if last is not None:
                if _key(row) != _key(last):
                    break
                last = None
                continue
            self._rows.append(row)
            self._behind = self._pages.offset
            if len(self._rows) > MOST:
                return True
        if last is not None:
            self._begin()
            return await self._go_on()
        return False
