"""Where messages are read back from, whatever keeps them: places in time, and what one call may cost."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from waha_mcp.waha.parsing import iso_time

Row = Mapping[str, Any]


class NoPlace(ValueError):
    """A cursor's state holds no place, or one of another reading."""


class Place(NamedTuple):
    """A place in the messages, newest first: right behind the message `id` of the second `time` (Unix seconds).

    It is no count, so that messages that arrive meanwhile shift nothing, and it holds after a restart. Without an id it
    is before all messages of that second; without a time it is before the newest message. `offset` is how many messages
    a source that cannot find a time may pass over: arrivals only push older ones further.
    """

    time: int | None = None
    id: str = ""
    offset: int = 0

    @classmethod
    def from_state(cls, state: Any) -> Place:
        """The place in a cursor's state, of this version or of 0.1.0, which listed all ids of the second.

        Raises:
            NoPlace: it holds none.
        """
        match state:
            case [int(second), [*seen]] if all(isinstance(each, str) for each in seen):
                return cls(second, seen[-1] if seen else "")
            case [int(second) | (None as second), str(message_id), int(offset)] if offset >= 0:
                return cls(second, message_id, offset)
        raise NoPlace("no place")

    @property
    def state(self) -> list[Any]:
        """The place as a cursor's state."""
        return list(self)


#: Before the newest message.
START = Place()


class Step(NamedTuple):
    """A message, and the place behind it. Without a row: the budget has ended there, and not the messages."""

    place: Place
    row: Row | None


class Budget:
    """Requests and seconds of one call. Every request is counted here, retries too."""

    def __init__(self, requests: int, seconds: float) -> None:
        """The seconds count from now on."""
        self.most = requests
        self.requests = 0
        self._until = time.monotonic() + seconds

    @property
    def spent(self) -> bool:
        """Whether no further request may be made. The first one always may, so that each call gets on."""
        return self.requests >= self.most or (self.requests > 0 and self.left <= 0)

    @property
    def left(self) -> float:
        """Seconds that are left."""
        return self._until - time.monotonic()

    def spend(self) -> None:
        """Count one request.

        Raises:
            Spent: there is none left.
        """
        if self.spent:
            raise Spent
        self.requests += 1


class Share(Budget):
    """So many requests of a budget, which they are counted in as well."""

    def __init__(self, whole: Budget, requests: int) -> None:
        super().__init__(whole.requests + requests, whole.left)
        self.requests, self._whole = whole.requests, whole

    def spend(self) -> None:
        if self.spent:
            raise Spent
        self._whole.spend()
        super().spend()


class Spent(Exception):
    """The budget is used up."""


def stopped(budget: Budget, place: Place, rest: str) -> str:
    """The note of a call whose budget ended at a place. `rest`: what was not looked at, in words."""
    back = f", back to {iso_time(place.time)}" if place.time is not None else ""
    return f"Stopped after {budget.requests} requests{back}: {rest}; the cursor goes on."
