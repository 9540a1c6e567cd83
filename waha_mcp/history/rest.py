"""Reading messages back over WAHA's REST API, newest first, without gaps or repeats while new ones arrive."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import anyio

from waha_mcp.history.source import Budget, Place, Row, Spent, Step
from waha_mcp.waha.client import Waha
from waha_mcp.waha.errors import Refused, TooLarge, Unsupported
from waha_mcp.waha.models import message_id_of
from waha_mcp.waha.parsing import all_of, epoch, listing
from waha_mcp.waha.rows import SHRINK

MESSAGES = "GET /api/{session}/chats/{chatId}/messages"
#: Engines that filter only after fetching: a short page with a filter does not mean that the messages end there.
_FILTERS_LATE = frozenset({"WPP"})
#: The chat id for all chats, on engines that can read them at once.
ALL = "all"


class Rest:
    """The messages of one chat, or of all, as WAHA's REST API gives them. One reading at a time.

    Messages are in WAHA's order. Within one second nothing else orders them, so a place is found again by its message.
    """

    def __init__(self, waha: Waha, chat: str, *, from_me: bool | None = None, page: int = 100) -> None:
        """`from_me`: only own messages, or only others'. `page`: messages of one request."""
        #: What could not be done as asked, in words for the agent.
        self.notes: list[str] = []
        #: Messages of one request, and whether the engine filters by time, as far as is known.
        filters = waha.engine not in _FILTERS_LATE
        self.page, self.by_time = page, filters
        self._waha, self._chat = waha, chat
        self._from_me, self._ask_from_me = from_me, from_me is not None and filters

    async def rows(
        self, place: Place, since: float | None, until: float | None, budget: Budget
    ) -> AsyncGenerator[Step]:
        """The messages from `place` on, newest first, from `since` to `until` (Unix seconds, both included).

        Where the budget ends before the messages do, the last step has no row. Each message comes once.

        Raises:
            WahaError: WAHA could not be read.
        """
        if until is not None and (place.time is None or until < place.time):
            place = Place(int(until))
        reading = _Reading(self, place, since, budget)
        try:
            async for row in reading.rows():
                if self._from_me is None or row.get("fromMe") is self._from_me:
                    yield Step(reading.place, row)
        except Spent:
            yield Step(reading.place, None)

    async def fetch(self, at: _Position, since: float | None, budget: Budget) -> list[Row]:
        """One page. `at` is moved to the start where the engine refuses to filter by time.

        Raises:
            Spent: the budget has ended.
        """
        while True:
            budget.spend()
            query = self._query(at, since)
            try:
                # A request that outlasts the budget is abandoned, except the first: every call makes progress.
                with anyio.move_on_after(budget.left if budget.requests > 1 else None):
                    answer = await self._waha.call(MESSAGES, path={"chatId": self._chat}, query=query)
                    return all_of(answer, "messages", lambda row: row if message_id_of(row.get("id")) else None)
                raise Spent
            except (Unsupported, Refused):
                # Some engines refuse some filters: then they are applied here.
                if self._ask_from_me:
                    self._ask_from_me = False
                    self.notes.append("This engine cannot filter by from_me: it was done here.")
                elif self.by_time and (at.before is not None or since is not None):
                    self.filter_here(at)
                else:
                    raise
            except TooLarge:
                if self.page == 1:
                    raise
                self.page = max(self.page // SHRINK, 1)

    def filter_here(self, at: _Position) -> None:
        """Go by offset from now on, because the engine does not filter by time."""
        self.by_time = False
        self.by_offset(at)
        self.notes.append("This engine cannot filter by the time: it was done here.")

    def by_offset(self, at: _Position) -> None:
        """Begin one page earlier than noted, so that a few deletions meanwhile skip nothing."""
        at.offset = max(at.passed - self.page, 0)

    def _query(self, at: _Position, since: float | None) -> dict[str, Any]:
        query: dict[str, Any] = {
            "limit": self.page,
            "offset": at.offset or None,
            "downloadMedia": False,
            "sortBy": "timestamp",
            "sortOrder": "desc",
        }
        if self.by_time:
            query["filter.timestamp.gte"] = None if since is None else int(since)
            query["filter.timestamp.lte"] = at.before
        if self._ask_from_me:
            query["filter.fromMe"] = self._from_me
        return query


class _Position:
    """What the next request asks for: messages up to a second, all but the first `offset` of them."""

    def __init__(self, place: Place) -> None:
        self.before, self.offset = place.time, 0
        #: How many messages of the whole chat were passed by, as far as the place tells.
        self.passed = place.offset


class _Reading:
    """One way back through the messages. `place` is behind the last message that was given or passed by."""

    def __init__(self, source: Rest, place: Place, since: float | None, budget: Budget) -> None:
        self.place = place
        self._source, self._since, self._budget = source, since, budget
        self._start, self._seeking = place, place.id != ""
        #: Messages of the place's second that came before its own message, which may be gone.
        self._held: list[tuple[str, Row]] = []
        self._given: set[str] = set()

    async def rows(self) -> AsyncIterator[Row]:
        """The messages.

        Raises:
            Spent: the budget has ended.
        """
        source, at = self._source, _Position(self.place)
        if not source.by_time:
            source.by_offset(at)
        last: list[Row] = []
        while True:
            counted = at.offset > 0 or not source.by_time
            rows = await source.fetch(at, self._since, self._budget)
            if rows and rows == last and counted:
                source.notes.append("WAHA gave the same page again: older messages could not be read.")
                break
            if source.by_time and at.before is not None and any((_second(row) or 0) > at.before for row in rows):
                # The engine took the filter and does not apply it.
                source.filter_here(at)
                rows = await source.fetch(at, self._since, self._budget)
            last = rows
            oldest, fresh = at.before, False
            for row in rows:
                # One without a time is of the second of the one before it; there may be none.
                row_id, second = message_id_of(row.get("id")) or "", _second(row, oldest)
                if row_id in self._given or (oldest is not None and second is not None and second > oldest):
                    continue
                if self._since is not None and second is not None and second < int(self._since):
                    rows = []
                    break
                self._given.add(row_id)
                oldest, fresh = second, True
                for each_id, each in self._pass(second, row_id, row):
                    self.place = self.place._replace(time=_second(each, second), id=each_id)
                    yield each
            if not rows or (source.by_time and not fresh and len(rows) < source.page):
                break
            self._move(at, oldest)
        for each_id, each in self._let_go():
            self.place = self.place._replace(time=self._start.time, id=each_id)
            yield each

    def _pass(self, second: int | None, row_id: str, row: Row) -> list[tuple[str, Row]]:
        """What is to be given once a message is met: those before the place are passed by."""
        if not self._seeking:
            return [(row_id, row)]
        if second != self._start.time:
            return [*self._let_go(), (row_id, row)]
        if row_id == self._start.id:
            self._held, self._seeking = [], False
        else:
            self._held.append((row_id, row))
        return []

    def _let_go(self) -> list[tuple[str, Row]]:
        """The held messages: the one behind which to go on is gone, so rather give them twice than not at all."""
        held, self._held, self._seeking = self._held, [], False
        return held

    def _move(self, at: _Position, oldest: int | None) -> None:
        """Go on behind a page."""
        if self._source.by_time and oldest != at.before:
            # Those of the last second that were given come again, and are dropped.
            at.before, at.offset = oldest, 0
        else:
            # A second with more messages than a page has, or an engine that goes by count alone.
            at.offset += self._source.page
        if not self._source.by_time:
            at.before, at.passed = oldest, at.offset
            self.place = self.place._replace(offset=at.offset)


async def rows_after(waha: Waha, chat: str, second: int, count: int) -> list[Row]:
    """The messages of a chat from the next second on, oldest first, a few more than `count` perhaps.

    Within one second the order is not told.

    Raises:
        WahaError: WAHA could not be read; Unsupported or Refused where the engine cannot read forward.
    """
    query = {
        "limit": count + 10,
        "downloadMedia": False,
        "sortBy": "timestamp",
        "sortOrder": "asc",
        "filter.timestamp.gte": second + 1,
    }
    answer = await waha.call(MESSAGES, path={"chatId": chat}, query=query)
    return [row for row in listing(answer, "messages") if (epoch(row.get("timestamp")) or 0) > second]


def _second(row: Row, unknown: int | None = None) -> int | None:
    found = epoch(row.get("timestamp"))
    return unknown if found is None else int(found)
