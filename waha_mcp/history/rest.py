"""Walking back through messages, newest first, without gaps or repeats while new ones arrive."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any, NamedTuple

from waha_mcp.history.source import Budget, Spent
from waha_mcp.waha.client import Waha
from waha_mcp.waha.errors import Refused, TooLarge, Unsupported
from waha_mcp.waha.models import message_id_of
from waha_mcp.waha.parsing import all_of, epoch
from waha_mcp.waha.rows import SHRINK

Row = Mapping[str, Any]

MESSAGES = "GET /api/{session}/chats/{chatId}/messages"
#: The chat id that stands for all chats, on the engines that can read them at once.
ALL = "all"


class Place(NamedTuple):
    """Where a walk goes on: the second that it reached, and the ids of that second that it has been through.

    A place in time and not a count, so that messages that arrive meanwhile shift nothing. `offset` is where an engine
    that cannot filter by time may go on: arrivals only push older messages further.
    """

    before: int | None = None
    seen: tuple[str, ...] = ()
    offset: int = 0

    @classmethod
    def from_state(cls, state: Any) -> Place:
        """The place in a cursor's state.

        Raises:
            ValueError: it holds no place.
        """
        match state:
            case [int(before), [*seen]] if all(isinstance(each, str) for each in seen):
                return cls(before, tuple(seen))
            case [int(before) | (None as before), [*seen], int(offset)] if (
                all(isinstance(each, str) for each in seen) and offset >= 0
            ):
                return cls(before, tuple(seen), offset)
        raise ValueError("no place")

    @property
    def state(self) -> list[Any]:
        """The place as a cursor's state."""
        plain = self.before is not None and not self.offset
        return [self.before, list(self.seen)] if plain else [self.before, list(self.seen), self.offset]


#: Before anything was walked.
START = Place()


class Walk:
    """One walk. `stopped`: its budget ended before the messages did; `notes`: which filters the engine left to us."""

    def __init__(
        self,
        waha: Waha,
        chat: str,
        budget: Budget,
        *,
        place: Place = START,
        since: float | None = None,
        until: float | None = None,
        from_me: bool | None = None,
        page: int = 100,
    ) -> None:
        """Begin at `place`, or at `until` if that is earlier; end at `since` (both Unix seconds, both included)."""
        if until is not None and (place.before is None or until < place.before):
            place = Place(int(until))
        self.place = place
        self.stopped = False
        self.notes: list[str] = []
        self._waha, self._chat, self._page, self._budget = waha, chat, page, budget
        self._since, self._from_me = since, from_me
        self._by_time = True
        self._offset = 0
        self._ask_from_me = from_me is not None

    async def rows(self) -> AsyncIterator[Row]:
        """The messages, newest first, as far as the budget goes. `place` is always just behind the last one seen.

        Raises:
            WahaError: WAHA could not be read.
        """
        try:
            async for row in self._rows():
                yield row
        except Spent:
            self.stopped = True

    async def _rows(self) -> AsyncIterator[Row]:
        given: set[str] = set()
        last: list[Row] = []
        while True:
            by_offset = not self._by_time
            rows = await self._fetch()
            # A filter that was refused just now starts over: that page may be the first one again.
            if rows and rows == last and by_offset:
                self.notes.append("WAHA gave the same page again: older messages could not be read.")
                return
            last = rows
            before = self.place.before
            if self._by_time and before is not None and any(_second(row, before) > before for row in rows):
                self._filter_here("the time")
                rows = last = await self._fetch()
            fresh = 0
            for row in rows:
                row_id = message_id_of(row.get("id")) or ""
                second = _second(row, before or 0)
                if row_id in given or row_id in self.place.seen or (before is not None and second > before):
                    continue
                if self._since is not None and second < int(self._since):
                    return
                given.add(row_id)
                fresh += 1
                self._step(second, row_id)
                if self._from_me is None or row.get("fromMe") is self._from_me:
                    yield row
            if not rows or (self._by_time and not fresh):
                return
            if not self._by_time:
                self._offset += self._page
                self.place = self.place._replace(offset=self._offset)

    def _step(self, second: int, row_id: str) -> None:
        before, seen, offset = self.place
        self.place = Place(second, (*seen, row_id) if second == before else (row_id,), offset)

    async def _fetch(self) -> list[Row]:
        self._budget.spend()
        # Those of the last second that were given come again and are dropped.
        limit = self._page + (len(self.place.seen) if self._by_time else 0)
        try:
            answer = await self._waha.call(MESSAGES, path={"chatId": self._chat}, query=self._query(limit))
        except (Unsupported, Refused):
            # Some engines refuse some filters: then they are applied here.
            if self._ask_from_me:
                self._ask_from_me = False
                self.notes.append("This engine cannot filter by from_me: it was done here.")
            elif self._by_time and (self.place.before is not None or self._since is not None):
                self._filter_here("the time")
            else:
                raise
            return await self._fetch()
        except TooLarge:
            if self._page == 1:
                raise
            self._page = max(self._page // SHRINK, 1)
            return await self._fetch()
        return all_of(answer, "messages", lambda row: row if message_id_of(row.get("id")) else None)

    def _filter_here(self, what: str) -> None:
        self._by_time = False
        # One page earlier than noted, so that a few deletions meanwhile skip nothing.
        self._offset = max(self.place.offset - self._page, 0)
        self.notes.append(f"This engine cannot filter by {what}: it was done here.")

    def _query(self, limit: int) -> dict[str, Any]:
        query: dict[str, Any] = {
            "limit": limit,
            "offset": self._offset or None,
            "downloadMedia": False,
            "sortBy": "timestamp",
            "sortOrder": "desc",
        }
        if self._by_time:
            query["filter.timestamp.gte"] = None if self._since is None else int(self._since)
            query["filter.timestamp.lte"] = self.place.before
        if self._ask_from_me:
            query["filter.fromMe"] = self._from_me
        return query


def _second(row: Row, unknown: int) -> int:
    return int(epoch(row.get("timestamp")) or unknown)
