"""Everything since a mark: from the record if it reaches back that far, otherwise over REST."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial

from waha_mcp.feed.live import Feed
from waha_mcp.feed.reading_back import read_back
from waha_mcp.feed.record import LATE, Mark, second_of, short
from waha_mcp.history.source import Budget
from waha_mcp.waha.events import Event, message_event
from waha_mcp.waha.parsing import iso_time

#: Requests and seconds of one call to read back.
REQUESTS, SECONDS = 20, 15.0


@dataclass
class Came:
    """Events in order of arrival, each with its time and a function that makes the mark after it; older messages that
    were read back come first.

    `number`: the last number of the record that is covered. `dropped`: events that are no longer kept. `notes`: what
    may be missing, in words for the agent; `unread`: chats whose messages could not all be read back, and why. `deaf`:
    intervals (Unix seconds, end None: until now) for which only messages are known.
    """

    events: list[tuple[Event, float, Callable[[], Mark]]] = field(default_factory=list)
    number: int = 0
    dropped: int = 0
    notes: list[str] = field(default_factory=list)
    unread: dict[str, str] = field(default_factory=dict)
    deaf: list[tuple[float, float | None]] = field(default_factory=list)


async def came_since(feed: Feed, mark: Mark) -> Came:
    """Everything since the mark.

    Raises:
        WahaError: older messages could not be read back.
    """
    record = feed.record
    here = mark.record == record.id
    behind = mark.number if here else 0
    dropped = record.since(behind)[1]
    # A record that reaches back to the mark and missed nothing also covers a position in time.
    covers = here or (mark.start > record.start and feed.deaf_since is None)
    came, read = Came(dropped=dropped if here else 0), list[Event]()
    if not covers or dropped:
        back = await read_back(feed.waha, mark.start, Budget(REQUESTS, SECONDS))
        for row in back.rows:
            if (event := message_event(row)) is not None:
                read.append(event)
                if event.time > record.start:
                    # The feed has not seen it yet and would report it again.
                    feed.take(event, len(str(row)))
        if not back.whole:
            since = iso_time(mark.start)
            came.notes.append(f"Too many chats have new messages: see get_unread, or get_messages with since={since}.")
        came.unread |= back.unread
    # Not earlier: more may have arrived meanwhile.
    kept, _ = record.since(behind)
    known = {each.event.key for each in kept}
    came.events += _with_marks([event for event in read if event.key not in known], mark)
    came.events += [
        (each.event, each.when, partial(record.mark, each.number))
        for each in kept
        if here or _is_new(each.event, each.when, mark)
    ]
    came.number = record.last
    for missing in record.missing:
        if missing.when > mark.when:
            came.notes += [missing.text] if missing.text else []
            came.unread |= missing.unread
    came.deaf = deaf_since(feed, mark.when)
    return came


def deaf_since(feed: Feed, when: float) -> list[tuple[float, float | None]]:
    """The intervals since then (Unix seconds) for which only messages are known."""
    ended = [(max(start, when), end) for start, end in feed.record.gaps if end > when]
    begun = feed.record.begun
    before: list[tuple[float, float | None]] = [(when, begun)] if begun - when > 1.0 else []
    now: list[tuple[float, float | None]] = [] if feed.deaf_since is None else [(max(feed.deaf_since, when), None)]
    return [*before, *ended, *now]


def _is_new(event: Event, when: float, mark: Mark) -> bool:
    if event.key is None:
        return when > mark.when
    return event.time >= mark.start and short(event.key) not in mark.seen


def _with_marks(events: Iterable[Event], mark: Mark) -> list[tuple[Event, float, Callable[[], Mark]]]:
    """The unseen messages, each with a function that makes the mark after it."""
    found: list[tuple[Event, float, Callable[[], Mark]]] = []
    passed: list[tuple[int, str]] = []
    for event in events:
        assert event.key is not None
        second, name = second_of(event.time), short(event.key)
        passed.append((second, name))
        if name in mark.seen:
            continue
        start = max(mark.start, second - LATE)
        seen = frozenset(each for at, each in passed if at >= start)
        # Seen messages that are gone by now stay seen as long as the mark reaches back to them.
        seen |= mark.seen if start == mark.start else frozenset()
        found.append((event, event.time, partial(Mark, "", 0, mark.when, start, seen)))
    return found
