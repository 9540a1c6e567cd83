"""The records of a search from the local index, and over REST as far as the index does not reach back yet."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from waha_mcp.history.index import SLOTS, Index
from waha_mcp.history.records import Found, Neighbours, Record, Sieve
from waha_mcp.history.rest_records import RestRecords
from waha_mcp.history.source import Budget, NoPlace
from waha_mcp.store import StoreAway, in_thread
from waha_mcp.waha.parsing import iso_time
from waha_mcp.whatsapp.ids import MessageKey

#: Records of one look into the index.
BATCH = 100


class IndexRecords:
    """See `RecordSource`. The states of cursors: `["index", number]`, or `["walk", second, state]` of `RestRecords`.

    Up to the newest second up to which a chat is still to be read, messages are read over REST; behind it, all of them
    are in the index.
    """

    looks_through = False

    def __init__(
        self, index: Index, rest: RestRecords, readable: Callable[[str], bool], unread: Mapping[str, str]
    ) -> None:
        """`readable`: of a chat id as the engine gives it. `unread`: chats that cannot be indexed, and why."""
        self._index, self._rest, self._readable, self._unread = index, rest, readable, unread
        #: The numbers of the records that the index gave.
        self._numbers: dict[MessageKey, int] = {}

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
        before: int | None = None
        match state:
            case None | ["index", int()]:
                before = None if state is None else state[1]
            case ["walk", int() | None, _]:
                async for found in self._walk(sieve, state[1], state[2], budget):
                    yield found
                return
            case _:
                raise NoPlace("a place in another search")
        unread = [why for chat, why in self._unread.items() if self._is_of(chat, sieve)]
        if unread:
            self._rest.not_told.append(f"messages of {len(unread)} chat{'s' * (len(unread) > 1)}: {unread[0]}")
        walked = False
        try:
            upto = await self._still_to_read(sieve)
            walked = upto is not None
            chats = await self._chats(sieve)
            kept = replace(sieve, chats=chats, since=max(filter(None, (upto and upto + 1, sieve.since)), default=None))
            while True:
                found_here = await in_thread(partial(self._index.search, kept, before=before, most=BATCH))
                for number, record in found_here:
                    self._numbers[record.key] = before = number
                    yield Found(["index", number], record)
                if len(found_here) < BATCH:
                    break
        except StoreAway as error:
            # Messages of the last second come once more, and are passed by.
            upto, walked = None if before is None else before // SLOTS, True
            self.notes.append(f"{error} What it did not give was searched over WAHA.")
        if walked:
            async for found in self._walk(sieve, upto, None, budget):
                yield found

    async def around(self, record: Record, count: int, budget: Budget) -> Neighbours:
        """See `RecordSource.around`."""
        number = self._numbers.get(record.key)
        if number is not None:
            before, after = await in_thread(self._index.around, number, count, count)
            return Neighbours([each.record for each in before[::-1]], [each.record for each in after[::-1]])
        return await self._rest.around(record, count, budget)

    def _is_of(self, chat: str, sieve: Sieve) -> bool:
        return self._readable(chat) and (sieve.chats is None or chat in sieve.chats)

    async def _still_to_read(self, sieve: Sieve) -> int | None:
        """The newest second up to which messages that may be wanted are still to be read; None: all are here."""
        found: int | None = None
        late = 0
        for gap in await in_thread(self._index.gaps):
            if not self._is_of(gap.chat, sieve) or gap.chat in self._unread or gap.second < (sieve.since or 0):
                continue
            if sieve.until is not None and (gap.since or 0) > sieve.until:
                continue
            if gap.late:
                late += 1
            else:
                found = max(gap.second, found or 0)
        if late:
            self.notes.append(f"The latest messages of {late} chat{'s' * (late > 1)} are not in the index yet.")
        if found is not None:
            found = found if sieve.until is None else min(found, int(sieve.until))
            self.notes.append(
                f"The index is being filled: what is from before {iso_time(found)} is searched over WAHA."
            )
        return found

    async def _chats(self, sieve: Sieve) -> frozenset[str] | None:
        """The chats that may be read, of those wanted; None: all. What is of others does not leave the index."""
        known = frozenset(each.id for each in await in_thread(self._index.chats))
        readable = frozenset(filter(self._readable, known))
        if sieve.chats is None:
            return None if readable == known else readable
        return readable & sieve.chats

    async def _walk(self, sieve: Sieve, upto: int | None, state: Any, budget: Budget) -> AsyncGenerator[Found]:
        until = min((each for each in (upto, sieve.until) if each is not None), default=None)
        async for found in self._rest.records(replace(sieve, until=until), state, budget):
            if found.record is None or found.record.key not in self._numbers:
                yield Found(["walk", upto, found.state], found.record)
