"""The listeners to events, and the events that each one gets.

WAHA keeps no events: a client that is not listening misses them. A subscription is to a session's name, whether or not
that session exists, and outlives its stop and start.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import parse_qsl

from waha_mcp.sandbox.key_ring import Key, Keys

#: The events that `*` stands for.
COMMON_EVENTS = frozenset(
    {
        "session.status", "message", "message.reaction", "message.any", "message.ack", "message.ack.group",
        "message.waiting", "message.revoked", "message.edited", "group.join", "group.leave", "group.v2.join",
        "group.v2.leave", "group.v2.update", "group.v2.participants", "group.v2.participants.join-request",
        "presence.update", "poll.vote", "poll.vote.failed", "chat.archive", "call.received", "call.accepted",
        "call.rejected", "label.upsert", "label.deleted", "label.chat.added", "label.chat.deleted", "event.response",
        "event.response.failed",
    }
)  # fmt: skip
EVENTS = COMMON_EVENTS | {"state.change", "engine.event"}
#: Seconds between two pings. A listener that has not answered the last one by then is disconnected.
PING_EVERY = 60.0
#: Frames that are not events, and whether they are binary.
GARBAGE: tuple[tuple[bytes, bool], ...] = (
    (b"", False),
    (b"{", False),
    (b"\x00\xff\xfe", True),
    (b'{"event":"message.any","session":"default","payload":{}}', True),
    (b"[]", False),
    (b"null", False),
    (b'"message.any"', False),
    (b"1e999", False),
    (b"[" * 20_000, False),
    (b"{}", False),
    (b'{"event":"message.any"}', False),
    (b'{"event":5,"session":"default","payload":{}}', False),
    (b'{"event":"message.any","session":"default","payload":[]}', False),
    (b'{"event":"message.any","session":"default","payload":{"id":7,"timestamp":"soon","from":null}}', False),
    (b'{"event":"message.any","session":"default","payload":{"id":"true_","body":{},"_data":[]}}', False),
    (b'{"id":null,"timestamp":-1,"event":"message.revoked","session":"default","payload":{"after":"x"}}', False),
    (b'{"event":"presence.update","session":"default","payload":{"id":"1@c.us","presences":{}}}', False),
    (b'{"event":"session.status","session":"other","payload":{"status":"WORKING"}}', False),
)
#: The codes that a close frame may have.
CLOSE_CODES = (range(1000, 1004), range(1007, 1015), range(3000, 5000))
_CROCKFORD = "0123456789abcdefghjkmnpqrstvwxyz"


class Refused(Exception):
    """The client may not listen; the text is the reason given in the close frame."""


@dataclass(frozen=True, slots=True)
class Subscription:
    """One listener's subscription: a session's name, or `*` for all, and the names of events."""

    key: Key
    session: str
    events: frozenset[str]

    @classmethod
    def asked(cls, query: str, keys: Keys) -> Subscription:
        """The subscription that a socket's query asks for. Unknown events are silently left out.

        Raises:
            Refused: an unknown key, or one that may not read that session.
        """
        pairs = parse_qsl(query, keep_blank_values=True)
        given = [value for name, value in pairs if name.lower() == "x-api-key"]
        key = keys.find(given[0] if given else None)
        if key is None:
            raise Refused("Unauthorized")
        session = next((value for name, value in pairs if name == "session"), "") or "*"
        if session == "*" and not key.is_admin:
            session = key.session or ""
        if not key.may("read", session):
            raise Refused("Forbidden")
        named = [part for name, value in pairs if name == "events" for part in value.split(",")]
        asked = set(named) if any(name == "events" for name, _ in pairs) else {"*"}
        return cls(key, session, frozenset((asked & EVENTS) | (COMMON_EVENTS if "*" in asked else set())))

    def wants(self, session: str, event: str) -> bool:
        return event in self.events and self.hears(session)

    def hears(self, session: str) -> bool:
        return self.session in ("*", session)


class Listener(Protocol):
    """An open socket, as the stream sees it."""

    subscription: Subscription | None

    def deliver(self, text: bytes) -> None:
        """Send an event, or keep it for a while where the feed is slow."""

    def send(self, data: bytes, binary: bool = False) -> None:
        """Send a frame now."""

    def ping(self) -> None:
        """Ping the other side, or disconnect it if it has not answered the last ping."""

    def drop(self) -> None:
        """Abort the connection."""

    def freeze(self) -> None:
        """Stop all traffic in both directions while the connection stays open."""

    def as_json(self) -> dict[str, Any]: ...


@dataclass(slots=True)
class SocketFaults:
    """Faults of the feed: `refuse` closes new sockets with that code, `absent` removes `/ws`, and `slow` puts that many
    seconds between two events.
    """

    refuse: int | None = None
    absent: bool = False
    slow: float = 0.0

    def change(self, wish: Mapping[str, Any]) -> None:
        """Set the faults given in a request.

        Raises:
            ValueError: a code that a close frame may not have, or an invalid time.
        """
        refuse, slow = wish.get("refuse", self.refuse), float(wish.get("slow", self.slow))
        if refuse is not None and not any(refuse in codes for codes in CLOSE_CODES):
            raise ValueError("refuse must be a code that a close frame may have")
        if slow < 0:
            raise ValueError("slow must be a number of seconds, 0 or more")
        self.refuse, self.absent, self.slow = refuse, bool(wish.get("absent", self.absent)), slow


class Stream:
    """The open sockets, in order of connection."""

    def __init__(self) -> None:
        self.listeners: dict[Listener, None] = {}
        self.faults = SocketFaults()
        self._timer: asyncio.TimerHandle | None = None

    def join(self, listener: Listener) -> None:
        self.listeners[listener] = None
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(PING_EVERY, self._tick)

    def leave(self, listener: Listener) -> None:
        self.listeners.pop(listener, None)
        if not self.listeners:
            self.close()

    def close(self) -> None:
        """Stop the pings."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tick(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(PING_EVERY, self._tick)
        self.ping()

    def ping(self) -> None:
        for each in [*self.listeners]:
            each.ping()

    def spill(self, count: int) -> None:
        """Send every listener this many frames that are not events."""
        for number in range(count):
            for each in [*self.listeners]:
                each.send(*GARBAGE[number % len(GARBAGE)])

    def hears(self, session: str) -> bool:
        """Whether anybody listens to the session: otherwise no event needs to be built."""
        return any(each.subscription is not None and each.subscription.hears(session) for each in self.listeners)

    def publish(self, session: str, before: dict[str, Any], events: Iterable[tuple[str, Any]], after: Any) -> None:
        """Send events to their subscribers, each in its envelope.

        Args:
            before, after: the envelope's other fields, before and after the payload.
            events: name and payload of each.
        """
        for name, payload in events:
            wanted = [
                each
                for each in self.listeners
                if each.subscription is not None and each.subscription.wants(session, name)
            ]
            if wanted:
                now = time.time_ns() // 1_000_000
                head = {"id": event_id(now), "timestamp": now, "event": name, "session": session}
                text = json.dumps(head | before | {"payload": payload} | after, ensure_ascii=False)
                # JSON.stringify writes half of a surrogate pair as an escape.
                frame = text.encode("utf-8", "backslashreplace")
                for each in wanted:
                    each.deliver(frame)


def event_id(now: int) -> str:
    """A ULID of this time (ms) with WAHA's prefix."""
    number = now << 80 | secrets.randbits(80)
    return "evt_" + "".join(_CROCKFORD[number >> shift & 31] for shift in range(125, -1, -5))
