"""The records of a search over WAHA's REST API: all chats at once where the engine can, else chat by chat."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator
from typing import Any

from waha_mcp.history.records import Found, Neighbours, Record, Sieve, record_from
from waha_mcp.history.rest import ALL, Rest, rows_after
from waha_mcp.history.source import START, Budget, NoPlace, Place, stopped
from waha_mcp.people.directory import Directory
from waha_mcp.people.people_table import Entry
from waha_mcp.waha.client import Waha
from waha_mcp.waha.errors import ONE_OPERATION, NotFound, WahaError
from waha_mcp.waha.rows import briefly

#: Messages of one request, and of each chat where chats must be read one by one.
PAGE, PER_CHAT = 200, 500


class RestRecords:
    """See `RecordSource`. The states of cursors: `[chat, *place]`, or `["chats", those that are done, the next]`."""

    looks_through = True

    def __init__(self, waha: Waha, directory: Directory) -> None:
        """Makes no request."""
        self.by_time = True
        self.notes: list[str] = []
        self.not_told: list[str] = []
        self._waha, self._directory = waha, directory
        #: Whether any message was read, or all chats at once had none.
        self._read = False

    def canonical(self, chat: str) -> str:
        """The id by which a chat is shown and read."""
        return self._directory.canonical(chat)

    def ids(self, chat: str) -> frozenset[str]:
        """All ids of a chat."""
        return frozenset(self._directory.ids(chat))

    async def records(self, sieve: Sieve, state: Any, budget: Budget) -> AsyncGenerator[Found]:
        """See `RecordSource.records`."""
        chats = None if sieve.chats is None else sorted(set(map(self._directory.canonical, sieve.chats)))
        one = ALL if chats is None else chats[0] if len(chats) == 1 else None
        match state:
            case None if one == ALL:
                found = self._everywhere(sieve, budget)
            case None if one is not None:
                found = self._onward(one, sieve, START, budget)
            case None:
                found = self._chat_by_chat(chats, sieve, [[], None], budget)
            case ["chats", *by_chat] if one in (ALL, None):
                found = self._chat_by_chat(chats, sieve, by_chat, budget)
            case [str(where), *place] if where == one:
                found = self._onward(where, sieve, Place.from_state(place), budget)
            case _:
                raise NoPlace("a place in other chats")
        async for each in found:
            yield each

    async def around(self, record: Record, count: int, budget: Budget) -> Neighbours:
        """See `RecordSource.around`. Those of the same second count as before it: the order there is not told."""
        chat = self._directory.canonical(record.chat)
        before: list[Record] = []
        source = Rest(self._waha, chat, page=max(count + 1, 10))
        async for step in source.rows(Place(record.time, record.id), None, None, budget):
            found = record_from(step.row, self._directory.me) if step.row is not None else None
            if found is not None:
                before.append(found)
            if step.row is None or len(before) == count:
                break
        after: list[Record] = []
        if not budget.spent:
            budget.spend()
            rows = await rows_after(self._waha, chat, record.time, count)
            after = [each for row in rows if (each := record_from(row, self._directory.me))]
        return Neighbours(before[::-1], after[:count])

    async def _onward(self, chat: str, sieve: Sieve, place: Place, budget: Budget) -> AsyncGenerator[Found]:
        async for step, record in self._walk(chat, sieve, place, budget):
            yield Found([chat, *step.state], record)

    async def _everywhere(self, sieve: Sieve, budget: Budget) -> AsyncGenerator[Found]:
        """All chats at once where the engine can; else one by one."""
        failure: WahaError | None = None
        try:
            async for found in self._onward(ALL, sieve, START, budget):
                yield found
        except (*ONE_OPERATION, NotFound) as error:
            failure = error
            if self._read:
                raise
        if not self._read:
            self._read = failure is None
            async for found in self._chat_by_chat(None, sieve, [[], None], budget):
                yield found

    async def _chat_by_chat(
        self, chats: list[str] | None, sieve: Sieve, state: Any, budget: Budget
    ) -> AsyncGenerator[Found]:
        """The chats from the most recent on. `state` holds those that are done, and the one that is not."""
        match state:
            case [[*done], None]:
                current, place = None, START
            case [[*done], [str(current), *rest]]:
                place = Place.from_state(rest)
            case _:
                raise NoPlace("a place in other chats")
        self.by_time = False
        entries = self._recent(chats, sieve)
        self.not_told += self._directory.not_known("chats") or []
        entries.sort(key=lambda each: each != current)
        failure: WahaError | None = None
        for number, chat in enumerate(entries):
            if short(chat) in done:
                continue
            if budget.spent:
                left = sum(short(each) not in done for each in entries[number:])
                self.notes.append(stopped(budget, START, f"{left} chats not searched yet"))
                yield Found(["chats", done, None], None)
                return
            before = tuple(done)
            try:
                walk = self._walk(chat, sieve, place if chat == current else START, budget, most=PER_CHAT)
                async for step, record in walk:
                    yield Found(["chats", before, [chat, *step.state]], record)
                    if record is None:
                        return
            except (*ONE_OPERATION, NotFound) as error:
                # A channel, most often: some engines cannot read them.
                failure = error
                self.not_told.append(f"messages of {chat}: {briefly(error)}")
            done.append(short(chat))
        if failure is not None and not self._read:
            raise failure
        self.notes.append(f"Searched chat by chat, the newest {PER_CHAT} messages of each: name a chat to go deeper.")

    async def _walk(
        self, chat: str, sieve: Sieve, place: Place, budget: Budget, *, most: int | None = None
    ) -> AsyncGenerator[tuple[Place, Record | None]]:
        """The records back in one chat, or in all at once; the last is None where the budget ends."""
        source = Rest(self._waha, chat, page=PAGE)
        count = 0
        async for step in source.rows(place, sieve.since, sieve.until, budget):
            if step.row is None:
                self.notes.append(stopped(budget, step.place, "older ones not searched yet"))
                yield step.place, None
                break
            self._read = True
            count += 1
            if record := record_from(step.row, self._directory.me):
                yield step.place, record
            if most is not None and count >= most:
                break
        self.notes += [note for note in source.notes if note not in self.notes]

    def _recent(self, chats: list[str] | None, sieve: Sieve) -> list[str]:
        """The chats to read, the most recent first."""
        active = {each.id: each for each in self._directory.entries() if each.last_active is not None}

        def last(chat: str) -> float:
            entry: Entry | None = active.get(chat)
            return (entry.last_active if entry else None) or 0

        found = list(active) if chats is None else chats
        if sieve.since is not None:
            since = sieve.since
            found = [each for each in found if not last(each) or last(each) >= since]
        return sorted(found, key=lambda each: -last(each))


def short(any_id: str) -> str:
    """A few characters for the id of a chat or message, so that a cursor stays short."""
    return hashlib.sha256(any_id.encode()).hexdigest()[:6]
