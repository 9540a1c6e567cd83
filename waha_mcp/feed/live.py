"""The feed of one bridge: fills the record from WAHA's live events, or by polling where there are none."""

from __future__ import annotations

import logging
import math
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Literal

import anyio

from waha_mcp.feed.reading_back import last_of, read_back
from waha_mcp.feed.record import LATE, Missing, Record, second_of, short
from waha_mcp.history.source import Budget
from waha_mcp.waha.chat_rows import OVERVIEW
from waha_mcp.waha.client import Waha
from waha_mcp.waha.errors import WahaError
from waha_mcp.waha.event_socket import Arrived, NoEvents, NoneForThisKey, NoneHere
from waha_mcp.waha.events import Event, event_from, message_event
from waha_mcp.waha.parsing import iso_time, listing, mapping_of
from waha_mcp.waha.rows import briefly

if TYPE_CHECKING:
    from waha_mcp.waha.shared_events import SharedEvents

logger = logging.getLogger(__name__)

PRESENCE = "GET /api/{session}/presence/{chatId}"
#: off: nobody has needed it yet. starting: connecting, or connecting again.
State = Literal["off", "starting", "live", "polling"]

#: Seconds before the first attempt to connect again, and the longest before a later one.
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
#: Seconds that the first user waits for the connection.
CONNECTING = 2.0
#: Seconds after which a silent connection counts as working.
STEADY = 10.0
#: Seconds between checks that the key may still read: WAHA checks only when a connection opens.
LOOK_AGAIN = 30.0
#: Failed attempts in a row before it also polls; seconds between attempts where there is no WebSocket.
PATIENT, NONE_HERE = 2, 300.0
#: Seconds between polls, at first and while nothing arrives.
POLL, SLOWEST_POLL = 5.0, 30.0
#: Requests and seconds for reading back what was missed, and the number of tries.
REQUESTS, SECONDS, TRIES = 200, 60.0, 3
#: Seconds before the second try, doubled before the third.
TRY_AGAIN = 2.0
#: Requests for reading back when it opens.
OPENING = 10


class Feed:
    """Events in WhatsApp from the moment somebody first needs them."""

    def __init__(self, waha: Waha, *, live: bool = True, shared: SharedEvents | None = None) -> None:
        """Makes no request. Without `live`, it polls. `shared`: the connections of a process with several bridges."""
        self.record = Record()
        self.state: State = "off"
        #: Why it is not live, in a few words; None: it is live, or nobody has needed it.
        self.why: str | None = None if live else 'the App has feed = "poll"'
        #: Since when (Unix seconds) only messages arrive, by reading back; None: all events do.
        self.deaf_since: float | None = None
        #: Called with each event before anybody waiting sees it. They do not raise.
        self.listeners: set[Callable[[Event], object]] = set()
        #: Awaited when WAHA refuses events to the key, and regularly, to check that the key may still read.
        self.refused: Callable[[], Awaitable[object]] | None = None
        #: Called whenever `state` or `why` may have changed. It does not raise.
        self.turned: Callable[[], object] = lambda: None
        #: Starts a task in the background (`start_soon` of a task group).
        self.start: Callable[..., object] | None = None
        self.waha, self._live = waha, live
        self._connect = waha.listening if shared is None else partial(shared.listening, waha)
        self._opening = anyio.Lock()
        self._running: anyio.CancelScope | None = None
        #: Attempts in a row that gave no working connection.
        self._failures = 0

    async def open(self) -> None:
        """Begin to listen, unless it already does: no message is missed from the first return on.

        Raises:
            WahaError: WAHA cannot be asked what the newest message is.
        """
        async with self._opening:
            if self.state != "off":
                return
            now = time.time()
            rows = listing(await self.waha.call(OVERVIEW, query={"limit": 20}), "chats")
            seconds = [(row, second) for row in rows if (second := last_of(row)) is not None]
            newest = max((second_of(second) for _, second in seconds), default=int(now) - LATE)
            last = [mapping_of(row.get("lastMessage")) for row, second in seconds if second >= newest]
            if last:
                # Others of the same second are not new either.
                last += (await read_back(self.waha, newest, Budget(OPENING, SECONDS))).rows
            before = [message_event(row) for row in last]
            self.record.begin(newest, frozenset(short(event.key) for event in before if event and event.key))
            self.state, self.deaf_since = "starting", now
            self.turned()
            assert self.start is not None
            self._running, self._failures = anyio.CancelScope(), 0
            self.start(self._run, self._running)
            self.start(self._look_again, self._running)
            # So that the caller misses no other events either.
            with anyio.move_on_after(CONNECTING):
                while self.state == "starting":
                    await self.record.more(self.record.last)

    def close(self) -> None:
        """Stop listening and drop the record, until somebody needs it again."""
        if self._running is not None:
            self._running.cancel()
        self.record.wake()
        self.record, self.state, self.deaf_since = Record(), "off", None
        self.turned()

    def see_typing(self, chat: str) -> None:
        """Make WAHA report typing in a chat, which it does once asked for the chat's presence."""

        async def ask() -> None:
            with suppress(WahaError):
                await self.waha.call(PRESENCE, path={"chatId": chat})

        assert self.start is not None
        self.start(ask)

    # In the background

    async def _run(self, until: anyio.CancelScope) -> None:
        with until:
            while True:
                try:
                    await self._keep_on()
                except Exception:  # it must not stop what runs beside it
                    logger.exception("Listening for events failed; starting again")
                    self._deafen("starting", NoEvents("listening failed"))
                    await anyio.sleep(_about(LONGEST_PAUSE))

    async def _look_again(self, until: anyio.CancelScope) -> None:
        while not until.cancel_called:
            await anyio.sleep(_about(LOOK_AGAIN))
            if not until.cancel_called:
                await self._doubt()

    async def _doubt(self) -> None:
        try:
            if self.refused is not None:
                await self.refused()
        except Exception:  # it must not stop what runs beside it
            logger.exception("Whether the key may still read could not be looked up")

    async def _keep_on(self) -> None:
        while True:
            began = math.inf
            try:
                if not self._live:
                    raise NoneHere(self.why or "")
                async with self._connect() as arriving:
                    began = time.monotonic()
                    await self._catch_up()
                    await self._listen(arriving)
            except NoneForThisKey as error:
                # Do not ask again. If the key may read after all, polling is what remains.
                self._live = False
                self._deafen("polling", error)
                assert self.start is not None
                # As a task of its own: it may cancel this one.
                self.start(self._doubt)
            except NoEvents as error:
                # A server that accepts and closes at once is retried as rarely as one that refuses.
                self._failures = 1 if time.monotonic() - began > STEADY else self._failures + 1
                lasting = isinstance(error, NoneHere)
                self._deafen("polling" if lasting or self._failures >= PATIENT else "starting", error)
                await self._rest(NONE_HERE if lasting else LONGEST_PAUSE)

    async def _listen(self, arriving: AsyncIterator[Arrived]) -> None:
        """Take what arrives, until the connection ends.

        Raises:
            NoEvents: it has ended.
        """
        if self.deaf_since is not None:
            self.record.gaps.append((self.deaf_since, time.time()))
        self.state, self.why, self.deaf_since = "live", None, None
        self.turned()
        self.record.wake()
        async for arrived in arriving:
            event = event_from(arrived.raw)
            if event is None:
                logger.debug("An event of %d bytes could not be read", arrived.size)
            else:
                self.take(event, arrived.size)
                if event.kind != "session":
                    # Session states prove nothing: WAHA sends one to every new connection.
                    self._failures = 0
                if event.kind == "session" and event.what == "WORKING":
                    # Messages that arrived while the engine was offline may have no events.
                    await self._catch_up(tries=1)

    def _deafen(self, state: State, why: NoEvents) -> None:
        if self.state == "live":
            logger.info("No live events: %s", why)
        self.state, self.why = state, str(why)
        self.turned()
        self.deaf_since = self.deaf_since or time.time()
        # Waiting calls may have to report it.
        self.record.wake()

    async def _rest(self, longest: float) -> None:
        """Wait for the next attempt to connect, polling meanwhile if it may be long."""
        if self.state != "polling":
            await anyio.sleep(_about(min(FIRST_PAUSE * 2 ** (self._failures - 1), LONGEST_PAUSE)))
            return
        ends = time.monotonic() + _about(longest) if self._live else math.inf
        pause = POLL
        while True:
            before = self.record.last
            await self._catch_up(tries=1)
            pause = min(pause * 1.5, SLOWEST_POLL) if self.record.last == before else POLL
            left = ends - time.monotonic()
            await anyio.sleep(max(min(_about(pause), left), 0))
            if left <= pause:
                return

    async def _catch_up(self, tries: int = TRIES) -> None:
        """Read back messages since the newest known one, and any that arrived late before it."""
        start = self.record.mark().start
        for attempt in range(tries):
            if attempt:
                await anyio.sleep(_about(TRY_AGAIN * 2 ** (attempt - 1)))
            try:
                found = await read_back(self.waha, start, Budget(REQUESTS, SECONDS))
            except WahaError as error:
                why, unread = f": {briefly(error)}", {}
                continue
            for row in found.rows:
                if (event := message_event(row)) is not None:
                    self.take(event, len(str(row)))
            if found.whole and not found.unread:
                return
            why, unread = "" if found.whole else ": there is too much", found.unread
        logger.warning("Not all messages since %s could be read back%s %s", iso_time(start), why, unread or "")
        # Chats are named only to those who may read them.
        text = f"Messages since {iso_time(start)} may be missing{why}." if why else None
        self.record.missing.append(Missing(time.time(), text, unread))

    def take(self, event: Event, size: int) -> None:
        """Record an event of `size` bytes, unless it is a known message."""
        if self.record.add(event, size):
            for listener in tuple(self.listeners):
                listener(event)


def in_words(state: str, why: str | None) -> str:
    """How it is heard what happens. `state` and `why`: as of `Feed`."""
    if state == "polling":
        return f"WAHA is polled every {POLL:.0f} to {SLOWEST_POLL:.0f} s, for messages only: {why}"
    if state == "starting":
        return f"connecting again: {why}" if why else "connecting"
    return "live" if state == "live" else "not needed yet"


def _about(seconds: float) -> float:
    """Jitter keeps several bridges from doing the same at the same time."""
    return seconds * random.uniform(0.7, 1.3)  # noqa: S311
