"""The events of a feed in order of arrival. The record is bounded, and reading does not consume it."""

from __future__ import annotations

import hashlib
import secrets
import time
from bisect import bisect_right
from collections import OrderedDict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, NamedTuple

import anyio

from waha_mcp.waha.events import Event

#: Most events that are kept, and most bytes of them; the oldest are dropped.
MOST, MOST_BYTES = 5_000, 16 * 2**20
#: How many messages are recognized when they arrive again, by the feed or over REST.
RECOGNIZED = 20_000
#: Seconds by which a message may arrive after newer ones; and how many messages a mark lists by id.
LATE, HELD = 60, 64
#: How many gaps, and how many notes of missed messages, are kept.
MOST_GAPS = 100
#: The last Unix second, and the largest number, that a mark may hold.
_LAST = 10**11


class Heard(NamedTuple):
    """An event, its number in the record, and when it arrived (Unix seconds)."""

    number: int
    when: float
    event: Event
    size: int


@dataclass(frozen=True)
class Mark:
    """A position in the feed: its holder knows everything before it.

    In the record that made it, it is a number. Elsewhere (after a restart, in another process) it is a position in
    time: the messages from the Unix second `start` on, except those in `seen` (by `short`), are new. `when`: until
    when the feed was heard (Unix seconds).
    """

    record: str
    number: int
    when: float
    start: int
    seen: frozenset[str] = frozenset()

    @property
    def state(self) -> list[Any]:
        """The mark as a cursor's state."""
        return [self.record, self.number, round(self.when, 3), self.start, sorted(self.seen)]

    @classmethod
    def from_state(cls, state: Any) -> Mark:
        """The mark in a cursor's state.

        Raises:
            ValueError: it holds none.
        """
        match state:
            case [str(record), int(number), int() | float() as when, int(start), [*seen]] if all(
                isinstance(each, str) for each in seen
            ) and all(0 <= each <= _LAST for each in (number, when, start)):
                return cls(record, number, when, start, frozenset(seen))
        raise ValueError("no mark")


@dataclass(frozen=True)
class Missing:
    """Messages that may have been missed.

    `when`: when this was noticed (Unix seconds). `text`: in words for the agent, unless it concerns only single chats.
    `unread`: these chats, and why their messages are incomplete.
    """

    when: float
    text: str | None = None
    unread: Mapping[str, str] = field(default_factory=dict)


class Record:
    """The events of one feed."""

    def __init__(self) -> None:
        self.id = secrets.token_hex(4)
        self.entries: deque[Heard] = deque()
        #: The number of the last event; 0 before the first.
        self.last = 0
        #: Intervals (Unix seconds) without live events: start and end.
        self.gaps: deque[tuple[float, float]] = deque(maxlen=MOST_GAPS)
        self.missing: deque[Missing] = deque(maxlen=MOST_GAPS)
        #: When it began (Unix seconds).
        self.begun = time.time()
        self._bytes = 0
        self._known: OrderedDict[str, None] = OrderedDict()
        #: Number, second and short id of the latest messages: enough for a mark at any event that is kept.
        self._recent: deque[tuple[int, int, str]] = deque(maxlen=MOST + 8 * HELD)
        #: The second of the newest message when it began, and the messages of that second (by `short`).
        self.start, self._before = 0, frozenset[str]()
        #: Set by the next event; None: nobody waits.
        self._came: anyio.Event | None = None

    def begin(self, start: int, seen: frozenset[str]) -> None:
        """Begin at the newest message: its second, and the messages of that second (by `short`)."""
        self.start, self._before, self.begun = second_of(start), seen, time.time()

    @property
    def newest(self) -> int:
        """The second of the newest message."""
        return max((second for _, second, _ in self._recent), default=self.start)

    def knows(self, key: str) -> bool:
        """Whether the message with this key is in the record, or was."""
        return key in self._known or short(key) in self._before

    def add(self, event: Event, size: int) -> bool:
        """Add an event of `size` bytes and wake those who wait; False for a known message."""
        if event.key is not None:
            if self.knows(event.key):
                return False
            self._known[event.key] = None
            if len(self._known) > RECOGNIZED:
                self._known.popitem(last=False)
        self.last += 1
        if event.key is not None:
            self._recent.append((self.last, second_of(event.time or self.newest), short(event.key)))
        self.entries.append(Heard(self.last, time.time(), event, size))
        self._bytes += size
        while len(self.entries) > MOST or (self._bytes > MOST_BYTES and len(self.entries) > 1):
            self._bytes -= self.entries.popleft().size
        self.wake()
        return True

    def wake(self) -> None:
        """Wake all who wait."""
        if self._came is not None:
            self._came.set()
            self._came = None

    async def more(self, number: int) -> None:
        """Wait for an event after this number, or for `wake`."""
        if self.last <= number:
            self._came = self._came or anyio.Event()
            await self._came.wait()

    def mark(self, number: int | None = None) -> Mark:
        """The mark right after the event with this number (default: the last one, now)."""
        when = time.time()
        if number is not None and number != self.last:
            when = next((each.when for each in self.entries if each.number == number), when)
        number = self.last if number is None else number
        count = bisect_right(self._recent, number, key=lambda each: each[0])
        recent = [(second, name) for _, second, name in islice(self._recent, max(count - 8 * HELD, 0), count)]
        newest = max((second for second, _ in recent), default=self.start)
        start = max(newest - LATE, self.start)
        if len(recent) > HELD:
            start = max(start, sorted(second for second, _ in recent)[-HELD])
        seen = {name for second, name in recent if second >= start}
        return Mark(self.id, number, when, start, frozenset(seen | (self._before if start == self.start else set())))

    def since(self, number: int) -> tuple[list[Heard], int]:
        """The events after this number, and how many of them are no longer kept."""
        first = self.entries[0].number if self.entries else self.last + 1
        dropped = max(first - number - 1, 0)
        return [each for each in self.entries if each.number > number], dropped


def second_of(when: float) -> int:
    """The Unix second of a message as a position in time, at most now.

    Otherwise one message dated in the future would hide all later ones.
    """
    return int(min(when, time.time()))


def short(key: str) -> str:
    """A short hash of a message's key."""
    return hashlib.sha256(key.encode()).hexdigest()[:10]
