"""When a burst of messages in one chat has settled."""

from __future__ import annotations

import time
from dataclasses import dataclass

#: Seconds of quiet after which a burst has settled.
SETTLE = 4.0
#: Most seconds for which messages and typing put that off, counted from the first message.
LONGEST_SETTLE = 20.0
_NEVER = float("-inf")


def monotonic(when: float) -> float:
    """Unix seconds by the monotonic clock; not later than now."""
    return time.monotonic() - max(time.time() - when, 0.0)


@dataclass
class Settling:
    """Messages and typing in one chat; all times are of one clock, in seconds."""

    settle: float
    longest: float = LONGEST_SETTLE
    #: When somebody was last seen typing.
    typed_at: float = _NEVER
    _first: float = _NEVER
    _last: float = _NEVER

    def message(self, at: float) -> None:
        """A message arrived."""
        self._first = at if self._first == _NEVER else min(self._first, at)
        self._last = max(self._last, at)

    def typed(self, at: float) -> None:
        """Somebody was seen typing."""
        self.typed_at = at

    def paused(self) -> None:
        """The person typing has stopped."""
        self.typed_at = _NEVER

    def typing(self, now: float) -> bool:
        """Whether somebody still seems to be typing."""
        return self.typed_at > self._last and now - self.typed_at < self.longest

    @property
    def settled_from(self) -> float:
        """When it will have settled, if nothing more arrives."""
        return min(max(self._last, self.typed_at), self._first + self.longest) + self.settle
