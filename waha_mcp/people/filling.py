"""Fills and caches the table of people from WAHA, with one reading at a time per list (single flight).

Lists are read on demand. A reader may get a stale table while it is refreshed in the background; before an effect
reaches someone by name, the contacts are read again if they are older than `MISS_LIFE`.
"""

from __future__ import annotations

import logging
import operator
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

import anyio

from waha_mcp.concurrency import each
from waha_mcp.people.parts import NAMES, SHUT, SOURCES, Part, Reading, Source, hidden_id
from waha_mcp.people.people_table import NEVER, Entry, PeopleTable, table_of
from waha_mcp.waha.client import Waha
from waha_mcp.waha.errors import ONE_OPERATION, NotFound, WahaError
from waha_mcp.waha.models import contact_from, group_from, keeps_apart, marks_saved
from waha_mcp.waha.parsing import kind_of_chat, mapping_of
from waha_mcp.waha.rows import briefly

logger = logging.getLogger(__name__)

#: Cache lifetime of a list in seconds, and the age from which a missing name causes a refresh.
LIFE, MISS_LIFE = 300.0, 10.0
#: Cache lifetime in seconds of a list whose reading ended with an error.
GAP_LIFE = 30.0
#: Greatest age in seconds of a stale list that readers get while it is refreshed.
OLDEST = 900.0
#: An account with more contacts than this is large: its lists are not read to resolve a few names.
SMALL = 500
#: The number of single rows of people and groups that are kept.
MOST_ROWS = 2_000
#: Up to this many second ids are looked up one by one; for more, the whole list is read.
FEW = 5


class FilledTable:
    """The cached table of one session's people."""

    def __init__(self, waha: Waha) -> None:
        """An empty table. Makes no request."""
        self.waha = waha
        #: Runs a function in the background (`start_soon` of a task group); None: no background refresh.
        self.start: Callable[..., object] | None = None
        self.table = PeopleTable()
        self._cells = {source: _Cell() for source in SOURCES}
        self._built: list[Part] = []
        #: Count of invalidations: a list whose reading began before the last one is stale.
        self._generation = 0
        self._refreshing = False
        #: Hidden ids (`@lid`) to ids with numbers (`@c.us`), and the reverse. Never expire; WAHA may correct a pair.
        self._numbers: dict[str, str] = {}
        self._hidden: dict[str, str] = {}
        #: Ids for which WAHA knew no second id, and when it was asked (monotonic clock).
        self._single: dict[str, float] = {}
        #: The people and groups of single rows, while the lists are not read.
        self._rows: dict[str, Entry] = {}
        self._looking = anyio.Lock()
        #: Whether the account is large, and when WAHA was asked (seconds of the monotonic clock).
        self._large = False, NEVER
        #: When a person was last looked up, and the saved name that WAHA gave; "" for none.
        self._seen: dict[str, tuple[float, str]] = {}

    # Filling

    async def load(
        self, *sources: Source, max_age: float | None = None, gap_age: float | None = None, behind: bool = False
    ) -> None:
        """Read those of `sources` (default: all) that are older than `max_age` seconds (default: `LIFE`).

        A list whose reading failed is tried again after `gap_age` seconds (default: `GAP_LIFE`). With `behind`, lists
        without errors that are at most `OLDEST` seconds old are accepted and refreshed in the background.

        Raises:
            WahaError: WAHA refuses access (`SHUT`), or all sources were asked for and none with names could be read.
        """
        life, gap_life = LIFE if max_age is None else max_age, GAP_LIFE if gap_age is None else gap_age
        asked, generation = time.monotonic(), self._generation

        def good(part: Part) -> bool:
            current = part.generation >= generation and part.began >= asked - life
            return current and not (part.broken and part.tried < asked - gap_life)

        old = [source for source in sources or SOURCES if not good(self._cells[source].part)]
        if old and behind and self.start is not None and all(map(self._bearable, old)):
            if not self._refreshing:
                self._refreshing = True
                self.behind(self._read_anew, *sources)
            return
        if old:
            await each(old, lambda source: self._fill(source, good, asked - life))
        if not sources:
            self._check_names()
        self._build()

    async def refresh(self, *sources: Source) -> None:
        """Read those of `sources` (default: all) that are older than `MISS_LIFE` seconds. Raises as `load`."""
        await self.load(*sources, max_age=MISS_LIFE)

    def expire(self) -> None:
        """Invalidate all lists, including those being read; the next `load` reads them again."""
        self._generation += 1
        self._seen.clear()
        self._rows.clear()

    def changed(self, group: str) -> None:
        """Note that a group has changed: its row is read again, and the list of groups within `GAP_LIFE` seconds.

        Meanwhile readers get the current list, since members can change a group at any rate.
        """
        self._rows.pop(self.canonical(group), None)
        cell, began = self._cells["groups"], time.monotonic() - (LIFE - GAP_LIFE)
        cell.part = replace(cell.part, began=min(cell.part.began, began))
        if cell.reading is not None:
            cell.reading.began = min(cell.reading.began, began)

    def part(self, source: Source) -> Part:
        """One list as last read."""
        return self._cells[source].part

    def _bearable(self, source: Source) -> bool:
        part = self._cells[source].part
        current = part.generation == self._generation and part.began >= time.monotonic() - OLDEST
        return current and not part.broken

    async def _read_anew(self, *sources: Source) -> None:
        try:
            await self.load(*sources)
        finally:
            self._refreshing = False

    async def _fill(self, source: Source, good: Callable[[Part], bool], oldest: float) -> None:
        """Read one list, or wait for the task that reads it and take its result or error.

        An unfinished reading is resumed, unless it began before `oldest` or before the last invalidation.

        Raises:
            WahaError: WAHA refuses access (`SHUT`).
        """
        cell = self._cells[source]
        ended = cell.ended
        async with cell.lock:
            if cell.ended != ended and cell.failure is not None:
                raise cell.failure
            if good(cell.part):
                return
            reading = cell.reading
            if reading is None or reading.generation != self._generation or reading.began < oldest:
                reading = cell.reading = Reading(self.waha, source, time.monotonic(), self._generation)
            cell.failure = None
            try:
                cell.part = await reading.read()
            except SHUT as error:
                cell.failure = error
                raise
            finally:
                # A cancelled reading leaves no failure: the next task resumes it.
                cell.ended += 1
            if not cell.part.broken:
                cell.reading = None

    def _check_names(self) -> None:
        """If no source of names could be read, discard them and raise the first error."""
        cells = [self._cells[source] for source in NAMES]
        errors = [cell.part.error for cell in cells if not cell.part.said]
        if len(errors) == len(cells) and None not in errors:
            for cell in cells:
                cell.part = Part()
            raise next(filter(None, errors))

    def _build(self) -> None:
        parts = [self._cells[source].part for source in SOURCES]
        if len(self._built) == len(parts) and all(map(operator.is_, parts, self._built)):
            return
        for part in parts:
            for said in part.said:
                if said.pair is not None:
                    self._note(*said.pair)
        self._built = parts
        if self._cells["contacts"].part.generation >= 0:
            self._rows.clear()
        self.table = table_of(dict(zip(SOURCES, parts, strict=True)), dict(self._numbers))

    def behind(self, step: Callable[..., Awaitable[object]], *arguments: Any) -> None:
        """Run a step in the background, if background tasks are possible; its errors are logged."""

        async def run() -> None:
            try:
                await step(*arguments)
            except WahaError as error:
                logger.warning("Fetching people in advance failed: %s", error)
            except Exception:  # it must not stop other tasks
                logger.exception("Fetching people in advance failed")

        if self.start is not None:
            self.start(run)

    # Single rows

    async def load_if_small(self) -> bool:
        """Load all lists, unless that takes many requests; return whether they are loaded.

        Stale ones are accepted as by `load(behind=True)`; for a large account, only its own ids are read.

        Raises:
            WahaError: as `load`.
        """
        async with self._looking:
            if not all(map(self._bearable, SOURCES)) and await self._is_large():
                await self.load("the account", behind=True)
                return False
        await self.load(behind=True)
        return True

    async def _is_large(self) -> bool:
        """Whether the account has more than `SMALL` contacts; False if WAHA does not say. Asked once in `LIFE`."""
        large, asked = self._large
        if asked >= time.monotonic() - LIFE:
            return large
        try:
            rows = await self.waha.call("GET /api/contacts/all", query={"limit": 1, "offset": SMALL})
        except SHUT:
            raise
        except WahaError:
            rows = None
        # On an engine without paging, the lists take few requests.
        large = isinstance(rows, list) and len(rows) == 1
        self._large = large, time.monotonic()
        return large

    async def look_up(self, chats: Iterable[str]) -> str | None:
        """Read the rows of these people and groups one by one, except known ones; return why some stay unknown.

        Raises:
            WahaError: WAHA refuses access (`SHUT`).
        """
        failures: list[WahaError] = []

        async def read(chat: str) -> None:
            try:
                one = self.canonical(chat)
                if chat.endswith("@lid") and one == chat:
                    one = await self.learn(chat) or chat
                if (entry := self._entry(one, await self.row(one))) is not None and self._generation == generation:
                    self._rows[entry.id] = entry
            except SHUT:
                raise
            except WahaError as error:
                failures.append(error)

        async with self._looking:
            generation, oldest = self._generation, time.monotonic() - LIFE
            wanted = (each for each in dict.fromkeys(chats) if kind_of_chat(each) in ("person", "group"))
            await each([chat for chat in wanted if not self._is_known(chat, oldest)], read)
            while len(self._rows) > MOST_ROWS:
                del self._rows[next(iter(self._rows))]
        return briefly(failures[0]) if failures else None

    def _is_known(self, chat: str, oldest: float) -> bool:
        row = self._rows.get(self.canonical(chat))
        return row is not None and row.learned >= oldest

    def _entry(self, chat: str, row: Mapping[str, Any]) -> Entry | None:
        now = time.monotonic()
        if kind_of_chat(chat) == "group":
            group = group_from(row)
            return None if group is None else Entry(chat, "group", group.subject, group=group, learned=now)
        contact = contact_from({**row, "id": chat})
        if contact is None:
            return None
        saved = bool(contact.name) and self.is_saved(row)
        return Entry(chat, "person", contact.name, saved, contact.calls_themselves, self.twin(chat), None, contact,
                     learned=now)  # fmt: skip

    def entry(self, chat: str) -> Entry | None:
        """The known data of a chat, by any of its ids: from the lists, or from its single row."""
        return self.table.get(chat) or self._rows.get(self.canonical(chat))

    async def row(self, chat: str) -> Mapping[str, Any]:
        """Request WAHA's row of one person or group; empty if the answer holds none.

        Raises:
            WahaError: the request failed.
        """
        if kind_of_chat(chat) == "group":
            return mapping_of(await self.waha.call("GET /api/{session}/groups/{id}", path={"id": chat}))
        return mapping_of(await self.waha.call("GET /api/contacts", query={"contactId": chat}))

    def is_saved(self, row: Mapping[str, Any]) -> bool:
        """Whether the `name` of WAHA's row of a person is the one under which the owner saved them."""
        if (mark := marks_saved(row)) is not None:
            return mark
        apart = self.part("contacts").apart
        return keeps_apart(row) if apart is None else apart

    def saved_name(self, chat: str) -> str:
        """The name under which the owner has saved a person, by the table; "" for none."""
        entry = self.table.get(chat)
        return entry.name if entry is not None and entry.saved and entry.name else ""

    async def saved_name_now(self, chat: str) -> str | None:
        """Like `saved_name`, but at most `MISS_LIFE` seconds old; None if that is not certain.

        Raises:
            WahaError: WAHA refuses access.
        """
        now = time.monotonic()
        entry = self.table.get(chat)
        one = chat if entry is None else entry.id
        learned = NEVER if entry is None else entry.learned
        seen, name = self._seen.get(one, (NEVER, ""))
        if max(seen, learned) >= now - MISS_LIFE:
            return name if seen > learned else self.saved_name(chat)
        generation = self._generation
        asked = entry.contact.id if entry is not None and entry.contact is not None else chat
        try:
            row = await self.row(asked)
        except SHUT:
            raise
        except WahaError as error:
            logger.debug("A person could not be looked up again: %s", error)
            return None
        contact = contact_from({"id": asked, **row})
        own = (chat, self.twin(chat)) if entry is None else (entry.id, entry.lid)
        if contact is None or contact.id not in own or self._generation != generation:
            return None
        name = (contact.name or "") if self.is_saved(row) else ""
        if len(self._seen) >= MOST_ROWS:
            self._seen.clear()
        self._seen[one] = now, name
        return name

    # Second ids

    def twin(self, chat: str) -> str | None:
        """The known second id of a person: the `@lid` for an id with a number, and the reverse; else None."""
        return self._numbers.get(chat) or self._hidden.get(chat)

    def canonical(self, chat: str) -> str:
        """The id of a person that shows their number, if known, else the id given."""
        return self._numbers.get(chat, chat)

    async def match(self, chats: Iterable[str]) -> None:
        """Look up the second ids of these chats: up to `FEW` one by one, more with WAHA's whole list.

        A person without one afterwards may still have one; deny lists must allow for that.
        """
        unmatched = self._unmatched(chats)
        if len(unmatched) > FEW:
            try:
                await self.load("hidden ids")
            except WahaError as error:
                logger.warning("Hidden ids are not known: %s", error)
                return
            unmatched = [] if self.part("hidden ids").gap is None else self._unmatched(unmatched)
        await each(unmatched, self.learn)

    async def learn(self, chat: str, again: float = 0.0) -> str | None:
        """The second id of a person, looked up if it is not known; if WAHA gave none, again after `again` seconds.

        None: there is none, or the request failed; deny lists must allow for an unknown one.
        """
        now = time.monotonic()
        if not self._unmatched([chat]) or self._single.get(chat, NEVER) > now - again:
            return self.twin(chat)
        try:
            if chat.endswith("@lid"):
                row = await self.waha.call("GET /api/{session}/lids/{lid}", path={"lid": chat})
            else:
                number = chat.partition("@")[0]
                row = await self.waha.call("GET /api/{session}/lids/pn/{phoneNumber}", path={"phoneNumber": number})
        except WahaError as error:
            logger.debug("No other id for a chat: %s", error)
            if not isinstance(error, (NotFound, *ONE_OPERATION)):
                return None
            row = None
        said = hidden_id(mapping_of(row))
        if said is not None and said.pair is not None:
            self._note(*said.pair)
        if self.twin(chat) is None:
            if len(self._single) >= MOST_ROWS:
                self._single.clear()
            self._single[chat] = now
        return self.twin(chat)

    def _unmatched(self, chats: Iterable[str]) -> list[str]:
        return [chat for chat in chats if kind_of_chat(chat) == "person" and self.twin(chat) is None]

    def _note(self, lid: str, number: str) -> None:
        # Remove the pairs that contradict this one: WAHA has corrected itself.
        self._hidden.pop(self._numbers.get(lid, ""), None)
        self._numbers.pop(self._hidden.get(number, ""), None)
        self._numbers[lid], self._hidden[number] = number, lid


class _Cell:
    """The state of one list: its last result, the lock of its current reader, and an unfinished reading."""

    def __init__(self) -> None:
        self.lock = anyio.Lock()
        self.part = Part()
        self.reading: Reading | None = None
        #: Count of ended readings, and the error of the last one.
        self.ended = 0
        self.failure: WahaError | None = None
