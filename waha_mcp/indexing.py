"""Fills the local index of one App: from WAHA in the background, from the feed, and from messages that tools read.

One process fills an index; other processes of the App read it, and one takes over when the first ends. The work to do
is the gaps of `history.index`: at first each chat from its newest message back, later the messages that arrived while
nobody listened.
"""

from __future__ import annotations

import logging
import math
import random
import time
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

import anyio
from pydantic import SecretStr

from waha_mcp.digests import digest
from waha_mcp.feed.live import Feed
from waha_mcp.feed.reading_back import last_of
from waha_mcp.history.index import Index
from waha_mcp.history.index_rows import Found, Gap, Newest
from waha_mcp.history.records import Record, Sieve, record_from
from waha_mcp.history.rest import Rest
from waha_mcp.history.source import Budget, Place, Row, Step
from waha_mcp.log import redact_answer
from waha_mcp.people.filling import FilledTable
from waha_mcp.store import StoreAway, in_thread
from waha_mcp.store.folders import app_ids, state_dir
from waha_mcp.waha.chat_rows import OVERVIEW
from waha_mcp.waha.errors import ONE_OPERATION, NotFound, Unsupported, WahaError
from waha_mcp.waha.events import ME, Event
from waha_mcp.waha.models import message_key_of
from waha_mcp.waha.parsing import chat_id_of, mapping_of
from waha_mcp.waha.rows import Pages, briefly
from waha_mcp.whatsapp.ids import MessageKey, phone_of

logger = logging.getLogger(__name__)

MESSAGE = "GET /api/{session}/chats/{chatId}/messages/{messageId}"
#: off: not begun. waiting: WAHA or the store is unavailable. follows: another process fills it.
State = Literal["off", "waiting", "follows", "filling", "current", "deleted"]

#: Messages per request, requests per gap, and gaps that are read in turn, a page of each at a time.
PAGE, MOST_REQUESTS, AT_ONCE = 200, 1_000_000, 16
#: Least seconds between two requests; more if the last one took longer.
PAUSE = 0.25
#: Seconds between two looks at all chats, and between attempts to become or remain the filling process.
LOOK, CLAIM = 600.0, 10.0
#: Seconds for which the paired account counts as known while there are no live events.
PAIRED = 30.0
#: Seconds until the next look when a message is known to be missing.
SOON = 2.0
#: Chats per request of a look; a look ends after so many unchanged chats in a row.
CHATS, KNOWN = 100, 30
#: Seconds until a failed step is retried.
AGAIN = 60.0
#: Seconds that a tool waits for an index that is being brought up to date.
READY = 5.0
#: Most events waiting to be written.
MOST_WAITING = 10_000


def index_path(app_id: str, number: str) -> Path:
    """The file of the index of an App and an account (its phone number).

    Raises:
        OSError: the App's folder cannot be made.
    """
    return state_dir(app_id) / f"index-{digest(number)[:8]}.sqlite"


def index_files(app_id: str) -> list[Path]:
    """The indexes of an App, for any account, including those with only damaged files left."""
    if app_id not in app_ids():
        return []
    found = state_dir(app_id).glob("index-*.sqlite*")
    return sorted({path.with_name(path.name.partition(".")[0] + ".sqlite") for path in found})


class Progress(NamedTuple):
    """How far an index is filled.

    `chats`: how many are known; `whole`: how many of them are complete; `since`: the second from which all chats are
    complete, None if nothing is left to read.
    """

    chats: int
    whole: int
    since: int | None

    @property
    def share(self) -> float:
        """The share of complete chats, from 0 to 1. The number of messages still to read is unknown."""
        return self.whole / self.chats if self.chats else 0.0


def progress_of(index: Index, shown: Callable[[str], bool | None] = bool) -> Progress:
    """How far an index is filled, for the chats that are `shown`. Blocks.

    Raises:
        StoreAway: the index cannot be read.
    """
    # A chat without a head was heard of but not looked at yet.
    chats = [each for each in index.chats() if each.head and shown(each.id)]
    since = max((each.second for each in index.gaps() if shown(each.chat)), default=None)
    return Progress(len(chats), sum(not each.gaps for each in chats), since)


class Indexing:
    """Keeps the index of one App filled.

    `may_keep`: whether a chat is to be indexed; None: not known now. `prepare`: awaited before `may_keep` is called;
    raises WahaError. `paced`: whether to leave WAHA time for other requests.
    """

    def __init__(
        self,
        app_id: str,
        feed: Feed,
        people: FilledTable,
        *,
        kept: float | None,
        may_keep: Callable[[str], bool | None],
        prepare: Callable[[], Awaitable[object]],
        paced: bool = True,
        secrets: Sequence[SecretStr] = (),
    ) -> None:
        """Makes no request and no file. `kept`: seconds for which messages are kept; None: forever.

        `secrets`: removed from messages before they are stored.
        """
        self.state: State = "off"
        #: Whether it is closed permanently.
        self.ended = False
        #: Why it waits, in a few words, and the error.
        self.why: str | None = None
        self.error: Exception | None = None
        #: The index of the current account; None: not known yet, or deleted.
        self.index: Index | None = None
        #: Whether messages that arrived while nobody listened may be missing.
        self.behind = True
        #: Chats whose messages cannot be read, and why.
        self.unread: dict[str, str] = {}
        #: Why the list of chats is incomplete; None: it is complete.
        self.unlisted: str | None = None
        self._app_id, self._feed, self._people, self._waha = app_id, feed, people, feed.waha
        self._kept, self._may_keep, self._prepare, self._paced = kept, may_keep, prepare, paced
        self._secrets = secrets
        self._number: str | None = None
        self._heard: deque[Event] = deque(maxlen=MOST_WAITING)
        self._read: deque[Row] = deque(maxlen=MOST_WAITING)
        self._writing = anyio.Lock()
        self._wake: anyio.Event | None = None
        #: The gaps being read, by number.
        self._reading: dict[int, AsyncGenerator[Step]] = {}
        #: Gaps that could not be read, and when to retry them (monotonic clock).
        self._later: dict[int, float] = {}
        #: When all chats were last looked at (Unix seconds); 0: never.
        self._looked = 0.0
        #: Whether the index belongs to the account that was paired when last asked (monotonic clock), and nothing since
        #: suggests that another phone may be paired; and how often something did.
        self._sure, self._asked, self._sessions = False, -math.inf, 0
        self._changed = anyio.Event()

    # Input

    def heard(self, event: Event) -> None:
        """Take an event of the feed."""
        wanted = event.kind in ("message", "edited", "deleted") or (event.kind, event.what) == ("receipt", "sent")
        if wanted and self.state in ("filling", "current", "waiting"):
            if len(self._heard) == MOST_WAITING:
                # The oldest one is lost: read back.
                self._looked = 0.0
            self._heard.append(event)
            self._awake()
        elif event.kind == "session":
            # Another phone may be paired.
            self._sure, self._looked = False, 0.0
            self._sessions += 1
            self._awake()

    def noticed(self, rows: Iterable[Row]) -> None:
        """Take messages that a tool has read."""
        if self.state in ("filling", "current"):
            self._read.extend(rows)
            self._awake()

    def _awake(self) -> None:
        if self._wake is not None:
            self._wake.set()

    # Use by tools

    async def ready(self, seconds: float | None = None) -> Index | None:
        """The index, brought up to date if that takes at most `seconds` (`READY`); None: unavailable."""
        with anyio.move_on_after(READY if seconds is None else seconds):
            while not self.ended and self.state != "follows" and (not self._certain or self.behind):
                if isinstance(self.error, StoreAway | OSError):
                    break  # that takes longer
                self._awake()
                await self._changed.wait()
        index = self.index if self._certain else None
        if index is not None:
            with suppress(StoreAway):
                await self._write_what_came()
                # The file may have been deleted and created again.
                there = "caught_up" if self.state == "follows" else "looked"
                return index if await in_thread(index.noted, there) else None
        return None

    def keeps(self, chat: str) -> bool:
        """Whether a chat is known to be one to index."""
        return self._keeps(chat) is True

    async def progress(self) -> Progress | None:
        """How far it is filled, for the chats to be indexed; None: not known.

        Raises:
            StoreAway: the index cannot be read.
        """
        index = self.index
        return await in_thread(progress_of, index, self._keeps) if self._certain and index is not None else None

    async def newest(self, chat: str, most: int) -> list[Record]:
        """The newest messages of a chat, newest first, if the index is known to have them all; else none."""
        with suppress(StoreAway):
            if self.index is not None and self._certain and self.state in ("filling", "current") and not self.behind:
                await self._write_what_came()
                return await in_thread(self.index.newest, self._spellings(chat), most)
        return []

    async def since(
        self, second: int, shown: Callable[[str], bool], most: int
    ) -> tuple[list[Record], bool, dict[str, str]] | None:
        """All messages since a second in the chats that are `shown`; None if the index lacks some.

        At most `most` of them, newest first; whether there are more; and the chats that cannot be read, with why.
        """
        index = await self.ready()
        if index is None or self.unlisted is not None or (self.behind and self.state != "follows"):
            return None

        def read() -> tuple[list[Record], bool, dict[str, str]] | None:
            unread = {chat: why for chat, why in (index.unread() | self.unread).items() if shown(chat)}
            lacking = (gap for gap in index.gaps() if gap.second >= second and shown(gap.chat))
            if any(gap.chat not in unread for gap in lacking):
                return None
            chats = frozenset(each.id for each in index.chats() if shown(each.id))
            found = index.search(Sieve(chats=chats, since=second), most=most + 1)
            return [each.record for each in found[:most]], len(found) > most, unread

        with suppress(StoreAway):
            return await in_thread(read)
        return None

    async def transcript(self, digest: bytes, shown: Callable[[str], bool]) -> str | None:
        """The stored transcript of the voice note with this SHA-256, if its chat is `shown`."""
        with suppress(StoreAway):
            if self.index is not None and self._certain:
                return await in_thread(self.index.transcript, digest, shown)
        return None

    async def transcribed(self, row: Row, digest: bytes, text: str) -> None:
        """Store the transcript of a voice note, if its message is to be indexed."""
        records, _ = self._records([row])
        with suppress(StoreAway):
            if records and self.index is not None and self._sure:
                await in_thread(self.index.add, records)
                await in_thread(self.index.transcribed, records[0].key, digest, text)

    @property
    def _certain(self) -> bool:
        """Whether the index is known to belong to the paired account."""
        return self._sure and (self._feed.state == "live" or time.monotonic() - self._asked < PAIRED)

    # In the background

    def begin(self, start: Callable[..., object]) -> None:
        """Start filling in the background, once. `start`: `start_soon` of a task group."""
        if self.state == "off":
            self.state = "waiting"
            self._feed.listeners.add(self.heard)
            start(self.run)

    async def run(self) -> None:
        """Fill the index and keep it filled, until cancelled or `end`."""
        pause = 1.0
        while not self.ended:
            try:
                await self._keep()
                pause = 1.0
            except WahaError as error:
                self._wait(briefly(error), error)
            except (StoreAway, OSError) as error:
                self._wait(str(error), error)
                logger.warning("%s", error)
            except Exception as error:  # must not end the other tasks
                logger.exception("The index could not be filled")
                self._wait("filling it failed", error)
            await anyio.sleep(pause * random.uniform(0.7, 1.3))  # noqa: S311
            pause = min(pause * 2, AGAIN)

    async def end(self, *, delete: bool = False) -> None:
        """Close the index; with `delete`, delete it because it may no longer be kept.

        Raises:
            OSError: it could not be deleted.
        """
        index, self.index, self._sure, self.ended = self.index, None, False, True
        self._feed.listeners.discard(self.heard)
        if delete:
            self._set("deleted")
        if index is not None:
            await in_thread(index.delete if delete else index.close)
        if delete:
            for path in await in_thread(index_files, self._app_id):
                await in_thread(Index(path).delete)

    def _wait(self, why: str, error: Exception) -> None:
        if not self.ended:
            self.why, self.error = why, error
            self._set("waiting")

    def _set(self, state: State) -> None:
        self.state = state
        if state != "waiting":
            self.why = self.error = None
        self._changed.set()
        self._changed = anyio.Event()

    async def _keep(self) -> None:
        """Fill the index of the currently paired account, until something fails.

        Raises:
            WahaError: WAHA could not be asked.
            StoreAway: the index could not be used.
        """
        self._looked, self.behind = 0.0, True
        # It may be a different file now.
        self._reading.clear()
        self._later.clear()
        index = await self._of_account()
        while not await in_thread(index.claim):
            self._set("follows")
            await anyio.sleep(CLAIM)
            index = await self._of_account()
        await self._feed.open()
        while await in_thread(index.mine):
            if not self._certain:
                index = await self._of_account()
            if time.time() - self._looked >= LOOK:
                index = await self._of_account()
                if self.state not in ("filling", "current"):
                    self._set("filling")
                await self._look(index)
            await self._write_what_came()
            if (doubtful := await in_thread(index.doubtful)) is not None:
                await self._settle(index, doubtful)
            elif (gap := await in_thread(index.next_gap, self._put_off())) is not None:
                await self._note_behind(index, self.behind and gap.late)
                if self.state == "current":
                    self._set("filling")
                await self._fill(index, gap)
            else:
                await self._note_behind(index, False)
                if self.state != "current":
                    if not self._later and not await in_thread(index.noted, "whole"):
                        await in_thread(index.optimize)
                        await in_thread(partial(index.note, whole=1))
                    self._set("current")
                await self._until_something_comes()

    async def _note_behind(self, index: Index, behind: bool) -> None:
        if self.behind and not behind:
            self.behind = False
            # For other processes.
            await in_thread(partial(index.note, caught_up=int(time.time())))
            self._set(self.state)

    async def _of_account(self) -> Index:
        """The index of the currently paired account.

        Raises:
            WahaError: WAHA does not tell.
        """
        asked, sessions = time.monotonic(), self._sessions
        await self._people.load("the account", max_age=0.0)
        number = next(filter(None, map(phone_of, sorted(self._people.table.me))), None)
        if number is None or self._people.part("the account").broken:
            raise NotFound("WAHA does not say which account is paired")
        if number != self._number or self.index is None:
            if self.index is not None:
                await in_thread(self.index.close)
            path = await in_thread(index_path, self._app_id, number)
            self._number, self._looked = number, 0.0
            self._reading.clear()
            self._heard.clear()
            self._read.clear()
            self._refuse_ended()
            # From here on, `end` closes or deletes it.
            self.index = Index(path)
            self.unread = await in_thread(self.index.unread)
        self._refuse_ended()
        self._asked, self._sure = asked, sessions == self._sessions
        self._set(self.state)
        return self.index

    def _refuse_ended(self) -> None:
        if self.ended:
            raise StoreAway("The index was closed.")

    async def _look(self, index: Index) -> None:
        """Look for missing messages in all chats, and drop chats that may not be indexed."""
        await self._prepare()
        now = time.time()
        heard = self._listened_since(self._looked)
        # Events that arrive meanwhile may reset it.
        self._looked, self.behind = now, True
        oldest = None if self._kept is None else now - self._kept
        await in_thread(index.expire, now, oldest)
        chats = await in_thread(index.chats)
        if gone := [each.id for each in chats if self._keeps(each.id) is False]:
            await in_thread(index.drop, gone)
        whole = await in_thread(index.noted, "looked")
        look = partial(index.look, heard=heard, oldest=oldest)
        known = 0
        pages = Pages(self._waha, OVERVIEW, "chats", size=CHATS)
        newest: list[Newest] = []
        async for row in pages.rows():
            chat, second = chat_id_of(row.get("id")), last_of(row)
            if chat is not None and second is not None and second >= (oldest or 0) and self._keeps(chat):
                newest.append(Newest(chat, second, message_key_of(mapping_of(row.get("lastMessage")))))
            if not self._sure:
                return  # the chats may be those of another account
            if len(newest) >= CHATS // 2:
                for as_it_was in await in_thread(look, newest):
                    known = known + 1 if as_it_was else 0
                newest = []
                if whole and known >= KNOWN:
                    break
        await in_thread(look, newest)
        self.unlisted = pages.gap
        if pages.gap is None:
            await in_thread(partial(index.note, looked=int(now)))

    def _keeps(self, chat: str) -> bool | None:
        return self._may_keep(self._people.canonical(chat))

    def _listened_since(self, when: float) -> bool:
        """Whether the feed has missed nothing since then."""
        feed = self._feed
        return (
            when > 0
            and feed.state == "live"
            and feed.deaf_since is None
            and feed.record.begun <= when
            and all(end <= when for _, end in feed.record.gaps)
            and all(each.when <= when for each in feed.record.missing)
        )

    def _put_off(self) -> list[int]:
        now = time.monotonic()
        self._later = {number: until for number, until in self._later.items() if until > now}
        return list(self._later)

    async def _fill(self, index: Index, gap: Gap) -> None:
        """Read one page of a gap."""
        began = time.monotonic()
        keeps = self._keeps(gap.chat)
        if not keeps:
            if keeps is False:
                await in_thread(index.drop, [gap.chat])
            else:
                self._later[gap.number] = began + AGAIN
            return
        steps = self._reading.pop(gap.number, None)
        if steps is None:
            source = Rest(self._waha, gap.chat, page=PAGE)
            steps = source.rows(gap.place, gap.since, None, Budget(MOST_REQUESTS, math.inf))
        rows: list[Row] = []
        place: Place | None = gap.place
        try:
            while len(rows) < PAGE and place is not None:
                step = await anext(steps, None)
                place = None if step is None else step.place
                if step is not None and step.row is not None:
                    rows.append(step.row)
        except (Unsupported, NotFound) as error:
            self.unread[gap.chat] = why = briefly(error)
            if self._sure:
                await in_thread(partial(index.fill, gap, *self._records(rows), None, unread=why))
            return
        except ONE_OPERATION as error:
            self.unread[gap.chat] = briefly(error)
            self._later[gap.number] = began + AGAIN
            return
        self.unread.pop(gap.chat, None)
        if not self._sure:
            return  # it may be another account's
        if place is not None:
            self._reading[gap.number] = steps
            if len(self._reading) > AT_ONCE:
                await self._reading.pop(next(iter(self._reading))).aclose()
        records, gone = self._records(rows)
        await in_thread(index.fill, gap, records, gone, place)
        self._set(self.state)
        if self._paced:
            await anyio.sleep(max(PAUSE, time.monotonic() - began))

    async def _settle(self, index: Index, doubtful: Found) -> None:
        """Ask WAHA about a message that somebody else is said to have changed."""
        record: Record | None = doubtful.record
        path = {"chatId": doubtful.record.chat, "messageId": doubtful.record.id}
        try:
            row = mapping_of(await self._waha.call(MESSAGE, path=path, query={"downloadMedia": False}))
            record = self._record(row)
        except NotFound:
            record = None
        except ONE_OPERATION as error:
            logger.info("Whether a message has changed is not known: %s", briefly(error))
        if not self._sure:
            return  # the answer may be that of another account
        await in_thread(index.settle, doubtful, record)

    async def _write_what_came(self) -> None:
        """Write pending events and messages to the index."""
        async with self._writing:
            await self._write()

    async def _write(self) -> None:
        index = self.index
        while index is not None and self._heard and self._certain:
            events = [self._heard.popleft() for _ in range(min(len(self._heard), 200))]
            try:
                while events:
                    await self._write_next(index, events)
            except StoreAway:
                # Edits and deletions are reported only once.
                self._heard.extendleft(reversed(events))
                raise
        if index is not None and self._read and self._certain:
            rows = [self._read.popleft() for _ in range(len(self._read))]
            records, gone = self._records(rows)
            await in_thread(index.add, records, gone)

    async def _write_next(self, index: Index, events: list[Event]) -> None:
        """Write the first event, or the leading run of messages, and remove it from the list."""
        count = next((at for at, each in enumerate(events) if each.kind != "message"), len(events))
        event = events[0]
        if count:
            records, gone = self._records(each.row for each in events[:count])
            await in_thread(index.add, records, gone)
        elif event.kind == "receipt":
            key = message_key_of(event.row)
            if key is not None and self._keeps(key.chat) and not await in_thread(index.has, key):
                # Some engines report own messages only by their receipts.
                self._looked = min(self._looked, time.time() - LOOK + SOON)
        elif event.chat is not None and event.about is not None and self._keeps(event.chat):
            by = () if event.by is None else self._spellings(event.by)
            record = None if event.kind == "deleted" else self._record(event.row)
            if event.kind == "deleted" or record is not None:
                await in_thread(index.change, self._spellings(event.chat), event.about, by, record)
        del events[: count or 1]

    def _spellings(self, chat: str) -> tuple[str, ...]:
        twin = None if chat == ME else self._people.twin(chat)
        return (chat,) if twin is None else (chat, twin)

    def _record(self, row: Row) -> Record | None:
        """The record to store for a message, with secrets redacted as in answers."""
        record = record_from(row, self._people.table.me)
        if record is None:
            return None
        text, extra = (redact_answer(part, *self._secrets) for part in (record.text, record.extra))
        return record if (text, extra) == (record.text, record.extra) else replace(record, text=text, extra=extra)

    def _records(self, rows: Iterable[Row]) -> tuple[list[Record], list[MessageKey]]:
        """The records to store for these messages, and the messages that must not be stored."""
        oldest = 0.0 if self._kept is None else time.time() - self._kept
        records, gone = list[Record](), list[MessageKey]()
        for row in rows:
            key = message_key_of(row)
            if key is None or not self._keeps(key.chat):
                continue
            record = self._record(row)
            if record is None:
                gone.append(key)
            elif record.time >= oldest:
                records.append(record)
        return records, gone

    async def _until_something_comes(self) -> None:
        wake = self._wake = anyio.Event()
        if not (self._heard or self._read or not self._looked):
            later = min(self._later.values(), default=math.inf) - time.monotonic()
            # Wake now and then to check that the file still exists.
            with anyio.move_on_after(max(min(self._looked + LOOK - time.time(), later, CLAIM), 0.1)):
                await wake.wait()
        self._wake = None
