"""Search results from the local index, and over REST for what the index lacks."""

from __future__ import annotations

from bisect import insort
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

from waha_mcp.history.index import Index
from waha_mcp.history.index_rows import SLOTS
from waha_mcp.history.index_rows import Found as Numbered
from waha_mcp.history.records import Found, Neighbours, Record, Sieve
from waha_mcp.history.rest_records import RestRecords, short
from waha_mcp.history.source import Budget, NoPlace
from waha_mcp.store import StoreAway, in_thread
from waha_mcp.waha.parsing import iso_time
from waha_mcp.whatsapp.ids import MessageKey

#: Records fetched from the index at a time.
BATCH = 100


class Extent(NamedTuple):
    """What an index is supposed to hold. Chat ids are spelled as the engine gives them.

    `readable`: whether a chat may be read; `keeps`: whether it is indexed. `every`: all readable chats are indexed.
    `since`: nothing older than this second is kept; None: no limit. `unread`: chats that cannot be indexed, and why.
    `unlisted`: why the list of chats is incomplete; None: it is complete.
    """

    readable: Callable[[str], bool]
    keeps: Callable[[str], bool]
    every: bool = True
    since: int | None = None
    unread: Mapping[str, str] = {}
    unlisted: str | None = None


class IndexRecords:
    """See `RecordSource`.

    Messages newer than every gap come from the index; from the newest gap on back, they are read over REST. Cursor
    states:

    - `["index", second, again]` continues at a second, skipping the messages whose short ids are in `again`: in the
      index, or over REST if the index is unavailable;
    - `["walk", second, again, state]` continues over REST, with a state of `RestRecords`;
    - a state of `RestRecords` belongs to a search that began without the index, and continues without it.
    """

    looks_through = False

    def __init__(self, index: Index | None, rest: RestRecords, extent: Extent) -> None:
        """`index`: None if it is unavailable now; needed for states of a search that began with it."""
        self._index, self._rest, self._extent = index, rest, extent
        #: The numbers of the records that came from the index.
        self._numbers: dict[MessageKey, int] = {}
        #: The chats with gaps.
        self._partly = frozenset[str]()

    @property
    def by_time(self) -> bool:
        """See `RecordSource`."""
        return self._rest.by_time

    @property
    def notes(self) -> list[str]:
        """See `RecordSource`."""
        return self._rest.notes

    @property
    def not_told(self) -> list[str]:
        """See `RecordSource`."""
        return self._rest.not_told

    async def records(self, sieve: Sieve, state: Any, budget: Budget) -> AsyncGenerator[Found]:
        """See `RecordSource.records`."""
        match state:
            case None:
                found = self._from_index(sieve, None, [], budget)
            case ["index", int(second), [*again]]:
                found = self._from_index(sieve, second, _shorts(again), budget)
            case ["walk", int() | None, [*again], _]:
                found = self._walk(sieve, state[1], _shorts(again), state[3], budget)
            case _:
                found = self._rest.records(sieve, state, budget)
        async for each in found:
            yield each

    async def around(self, record: Record, count: int, budget: Budget) -> Neighbours:
        """See `RecordSource.around`."""
        number, chats = self._numbers.get(record.key), self._rest.ids(record.chat)
        if self._index is not None and number is not None and not chats & self._partly:
            try:
                before, after = await in_thread(partial(self._index.around, number, count, count, chats=chats))
            except StoreAway as error:
                self.notes.append(str(error))
            else:
                # Older ones may have left the index.
                if len(before) == count or self._extent.since is None:
                    return Neighbours([each.record for each in before[::-1]], [each.record for each in after[::-1]])
        return await self._rest.around(record, count, budget)

    async def _from_index(
        self, sieve: Sieve, second: int | None, again: list[str], budget: Budget
    ) -> AsyncGenerator[Found]:
        """The records in the index from a second on back, then those it lacks."""
        stops = False
        try:
            if self._index is None:
                raise StoreAway("The index is not available.")
            if await self._knows(self._index, sieve):
                seam = await self._seam(self._index, sieve, second)
                kept = replace(
                    sieve,
                    chats=await self._chats(self._index, sieve),
                    since=max(filter(None, (sieve.since, seam and seam.second + 1)), default=None),
                    until=_earlier(sieve.until, second),
                )
                async for number, record in self._in_order(self._index, kept):
                    told = short(record.id)
                    if record.time == second and told in again:
                        continue
                    again = [*again, told] if record.time == second else [told]
                    second = record.time
                    self._numbers[record.key] = number
                    yield Found(["index", second, again], record)
                if seam is None:
                    return
                if seam.second != second:
                    second, again = seam.second, []
                stops = seam.stops
                self.notes.append(seam.note)
        except StoreAway as error:
            self.notes.append(f"{error} What it did not give was searched over WAHA.")
        if stops:
            yield Found(["walk", second, again, None], None)
            return
        async for each in self._walk(sieve, second, again, None, budget):
            yield each

    async def _in_order(self, index: Index, sieve: Sieve) -> AsyncGenerator[Numbered]:
        """The records in the index, newest first, even where a second has more messages than slots."""
        moved = int(await in_thread(index.noted, "moved") or 0)
        waiting: list[Numbered] = []
        before: int | None = None
        more = True
        while more:
            found = await in_thread(partial(index.search, sieve, before=before, most=BATCH))
            more = len(found) == BATCH
            for each in found:
                before = each.number
                insort(waiting, each, key=lambda one: -one.record.time)
                # No later record can be newer than this.
                following = before // SLOTS + moved
                while waiting and waiting[0].record.time >= following:
                    yield waiting.pop(0)
        for each in waiting:
            yield each

    def _is_of(self, chat: str, sieve: Sieve) -> bool:
        return self._extent.readable(chat) and (sieve.chats is None or chat in sieve.chats)

    async def _knows(self, index: Index, sieve: Sieve) -> bool:
        """Whether the index covers all the chats named. Without named chats it does, and notes say what it lacks."""
        extent, canonical = self._extent, self._rest.canonical
        if sieve.chats is not None:
            known = {canonical(each.id) for each in await in_thread(index.chats)}
            return all(extent.keeps(each) and canonical(each) in known for each in sieve.chats)
        if not extent.every:
            self.not_told.append("messages of chats that are not indexed: name one to search it")
        if extent.unlisted is not None:
            self.not_told.append(f"messages of chats that could not be listed: {extent.unlisted}")
        return True

    async def _seam(self, index: Index, sieve: Sieve, second: int | None) -> _Seam | None:
        """Where the index stops being complete for this search; None: nowhere. `second`: that of the cursor."""
        unread = [why for chat, why in self._extent.unread.items() if self._is_of(chat, sieve)]
        if unread:
            self.not_told.append(f"messages of {_chats(len(unread))}: {unread[0]}")
        gaps = [each for each in await in_thread(index.gaps) if self._is_of(each.chat, sieve)]
        self._partly = frozenset(each.chat for each in gaps)
        wanted = [
            each
            for each in gaps
            if each.chat not in self._extent.unread
            and each.second >= (sieve.since or 0)
            and (sieve.until is None or (each.since or 0) <= sieve.until)
        ]
        if late := {each.chat for each in wanted if each.late}:
            self.notes.append(f"The latest messages of {_chats(len(late))} are not in the index yet.")
        to_read = max((each.second for each in wanted if not each.late), default=None)
        oldest = self._extent.since
        old = oldest is not None and (sieve.since or 0) < oldest
        found = max((each for each in (to_read, oldest if old else None) if each is not None), default=None)
        if found is None:
            return None
        # Everything before the cursor was shown, or arrived since.
        upto = int(min(each for each in (found, sieve.until, second) if each is not None))
        if to_read is None:
            return _Seam(
                upto, f"The index keeps what is from after {iso_time(upto)}: the cursor goes on over WAHA.", True
            )
        return _Seam(upto, f"The index is being filled: what is from before {iso_time(upto)} is searched over WAHA.")

    async def _chats(self, index: Index, sieve: Sieve) -> frozenset[str] | None:
        """The readable ones of the chats wanted; None: all. Messages of other chats never leave the index."""
        known = frozenset(each.id for each in await in_thread(index.chats))
        readable = frozenset(filter(self._extent.readable, known))
        if sieve.chats is None:
            return None if readable == known else readable
        return readable & sieve.chats

    async def _walk(
        self, sieve: Sieve, upto: int | None, again: list[str], state: Any, budget: Budget
    ) -> AsyncGenerator[Found]:
        async for found in self._rest.records(replace(sieve, until=_earlier(upto, sieve.until)), state, budget):
            record = found.record
            if record is None or (record.key not in self._numbers and short(record.id) not in again):
                yield Found(["walk", upto, again, found.state], record)


class _Seam(NamedTuple):
    """Up to `second` the index is incomplete. `stops`: older messages are read only if the caller continues."""

    second: int
    note: str
    stops: bool = False


def _earlier(one: float | None, other: float | None) -> float | None:
    return min((each for each in (one, other) if each is not None), default=None)


def _shorts(again: list[Any]) -> list[str]:
    if not all(isinstance(each, str) for each in again):
        raise NoPlace("no place")
    return again


def _chats(count: int) -> str:
    return "1 chat" if count == 1 else f"{count} chats"
