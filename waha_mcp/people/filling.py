"""The table of people, filled from WAHA once for all who ask, and kept for a while.

Nothing is read until somebody asks for it, and only the lists that are asked for. A reader may be given an old table
while a new one is read behind its back; a name that an effect is to reach is looked up again where the table is older
than `MISS_LIFE`.
"""

from __future__ import annotations

import logging
import operator
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import anyio

from waha_mcp.concurrency import each
from waha_mcp.people.parts import NAMES, SHUT, SOURCES, Part, Reading, Source, hidden_id
from waha_mcp.people.people_table import NEVER, PeopleTable, table_of
from waha_mcp.waha.client import Waha
from waha_mcp.waha.errors import WahaError
from waha_mcp.waha.models import contact_from
from waha_mcp.waha.parsing import kind_of_chat, mapping_of
from waha_mcp.whatsapp.folding import fold_name

logger = logging.getLogger(__name__)

#: Seconds that what was read is good for, and the age from which on a name that is missing is looked for anew.
LIFE, MISS_LIFE = 300.0, 10.0
#: The same where something could not be read that the engine has.
GAP_LIFE = 30.0
#: The age up to which readers are given what there is while it is read anew.
OLDEST = 900.0
#: Second ids that are looked up one by one; for more, the whole list is read.
FEW = 5


class FilledTable:
    """The table of one session's people, and how it is filled.

    `start` runs a function beside the caller, as `start_soon` of a task group; None: nothing is read behind anybody.
    """

    def __init__(self, waha: Waha, start: Callable[..., object] | None = None) -> None:
        """An empty table. No request is made yet."""
        self.waha = waha
        self.start = start
        self.table = PeopleTable()
        self._cells = {source: _Cell() for source in SOURCES}
        self._built: list[Part] = []
        #: How many changes there were: what was begun before the last one counts as old when it ends.
        self._generation = 0
        self._refreshing = False
        #: Hidden ids to numbers and back. What was once known stays: neither changes.
        self._numbers: dict[str, str] = {}
        self._hidden: dict[str, str] = {}
        #: When a person was last looked up, and the saved name (by `fold_name`) that WAHA told; "" for none.
        self._seen: dict[str, tuple[float, str]] = {}

    # Filling

    async def load(
        self, *sources: Source, max_age: float | None = None, gap_age: float | None = None, behind: bool = False
    ) -> None:
        """Read those of `sources` (none named: all) that are older than `max_age` seconds, by default `LIFE`.

        What ended with an error is good for `gap_age` seconds at most, by default `GAP_LIFE`. With `behind`, what is
        whole and at most `OLDEST` seconds old will do, and is read anew beside the caller.

        Raises:
            WahaError: WAHA lets nobody in, or, where all are asked for, no source of names could be read.
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
                self.start(self._read_behind)
            return
        if old:
            await each(old, lambda source: self._fill(source, good, asked - life))
        if not sources:
            self._check_names()
        self._build()

    async def refresh(self) -> None:
        """Read anew what is older than `MISS_LIFE`: something was not found, or must be as it is now."""
        await self.load(max_age=MISS_LIFE)

    def expire(self) -> None:
        """Read anew when next asked: something was changed. That holds for what is being read just now, too."""
        self._generation += 1
        self._seen.clear()

    def part(self, source: Source) -> Part:
        """One list as it was last read."""
        return self._cells[source].part

    def _bearable(self, source: Source) -> bool:
        part = self._cells[source].part
        current = part.generation == self._generation and part.began >= time.monotonic() - OLDEST
        return current and not part.broken

    async def _read_behind(self) -> None:
        try:
            await self.load()
        except WahaError as error:
            logger.warning("Names could not be read anew: %s", error)
        except Exception:  # nobody waits for this, and it must not stop what runs beside it
            logger.exception("Names could not be read anew")
        finally:
            self._refreshing = False

    async def _fill(self, source: Source, good: Callable[[Part], bool], oldest: float) -> None:
        """Read one list, or wait for who reads it and take what that brings, be it an error.

        What another has read of it goes on, unless that began before `oldest` or before the last change.
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
                # Who was cancelled in the midst of it has found nothing: the next one goes on.
                cell.ended += 1
            if not cell.part.broken:
                cell.reading = None

    def _check_names(self) -> None:
        """Count nothing as known where no source of names could be read."""
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
        self.table = table_of(dict(zip(SOURCES, parts, strict=True)), dict(self._numbers))

    # Single rows

    async def row(self, chat: str) -> Mapping[str, Any]:
        """WAHA's row of one person or group, looked up now; empty where there is none.

        Raises:
            WahaError: WAHA does not tell.
        """
        if kind_of_chat(chat) == "group":
            return mapping_of(await self.waha.call("GET /api/{session}/groups/{id}", path={"id": chat}))
        return mapping_of(await self.waha.call("GET /api/contacts", query={"contactId": chat}))

    def saved_name(self, chat: str) -> str:
        """The name (by `fold_name`) under which the owner has a person saved, as the table has it; "" for none."""
        entry = self.table.get(chat)
        return fold_name(entry.name) if entry is not None and entry.saved and entry.name else ""

    async def saved_name_now(self, chat: str) -> str | None:
        """As `saved_name`, as of `MISS_LIFE` seconds ago or later; None where that is not certain.

        Raises:
            WahaError: WAHA lets nobody in.
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
        name = "" if contact.saved is False else fold_name(contact.name or "")
        self._seen[one] = now, name
        return name

    async def still_saved(self, chat: str, name: str) -> bool:
        """Whether the owner has a person saved under a name (by `fold_name`), as of `MISS_LIFE` seconds ago or later.

        False says only that this is not certain.

        Raises:
            WahaError: WAHA lets nobody in.
        """
        return await self.saved_name_now(chat) == name

    # Second ids

    def twin(self, chat: str) -> str | None:
        """The other id of the same person, as far as it is known: of a number its `@lid`, and the reverse."""
        return self._numbers.get(chat) or self._hidden.get(chat)

    def canonical(self, chat: str) -> str:
        """The id of a person that shows their number, as far as it is known."""
        return self._numbers.get(chat, chat)

    async def match(self, chats: Iterable[str]) -> None:
        """Look up the second ids of these: few one by one, more in WAHA's whole list.

        Who has none afterwards may have one all the same: whoever forbids must count on that.
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

    async def learn(self, chat: str) -> str | None:
        """The other id of the same person, looked up where it is not known.

        None is no answer: there is none, or WAHA does not tell. Whoever forbids must count on there being one.
        """
        if not self._unmatched([chat]):
            return self.twin(chat)
        try:
            if chat.endswith("@lid"):
                row = await self.waha.call("GET /api/{session}/lids/{lid}", path={"lid": chat})
            else:
                number = chat.partition("@")[0]
                row = await self.waha.call("GET /api/{session}/lids/pn/{phoneNumber}", path={"phoneNumber": number})
        except WahaError as error:
            logger.debug("No other id for a chat: %s", error)
            return None
        said = hidden_id(mapping_of(row))
        if said is not None and said.pair is not None:
            self._note(*said.pair)
        return self.twin(chat)

    def _unmatched(self, chats: Iterable[str]) -> list[str]:
        return [chat for chat in chats if kind_of_chat(chat) == "person" and self.twin(chat) is None]

    def _note(self, lid: str, number: str) -> None:
        # Where WAHA has corrected itself, neither is matched with what it was before.
        self._hidden.pop(self._numbers.get(lid, ""), None)
        self._numbers.pop(self._hidden.get(number, ""), None)
        self._numbers[lid], self._hidden[number] = number, lid


class _Cell:
    """One list: how it was last read, whoever reads it now, and what stands of a reading that did not end."""

    def __init__(self) -> None:
        self.lock = anyio.Lock()
        self.part = Part()
        self.reading: Reading | None = None
        #: How many readings have ended, and how the last one failed.
        self.ended = 0
        self.failure: WahaError | None = None
