"""No double effects: the same again within a minute is a mistake, unless the caller says that it is not.

What may have happened, although nobody knows, counts as if it had, and for longer.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Literal

#: Seconds within which the same is refused: after it was done, and after its outcome was lost.
WINDOW, UNKNOWN_WINDOW = 60.0, 600.0

Outcome = Literal["under way", "done", "unknown"]


@dataclass(frozen=True)
class Before:
    """The same call, earlier. `began` is of the monotonic clock, in seconds."""

    outcome: Outcome
    began: float

    @property
    def ago(self) -> float:
        """Seconds since it began."""
        return time.monotonic() - self.began

    @property
    def holds(self) -> bool:
        """Whether the same is still refused because of it. What is under way always stands in the way."""
        match self.outcome:
            case "under way":
                return True
            case "done":
                return self.ago < WINDOW
            case "unknown":
                return self.ago < UNKNOWN_WINDOW


class Repeats:
    """What was done lately, by digest."""

    def __init__(self) -> None:
        self._calls: dict[str, Before] = {}

    def before(self, digest: str) -> Before | None:
        """The same call, where it stands in the way of doing it again."""
        found = self._calls.get(digest)
        return found if found is not None and found.holds else None

    def begin(self, digest: str) -> Before | None:
        """Note that it is under way; what stood there before, for `undo`."""
        self._calls = {key: call for key, call in self._calls.items() if call.holds}
        before = self._calls.get(digest)
        self._calls[digest] = Before("under way", time.monotonic())
        return before

    def end(self, digest: str, outcome: Outcome) -> None:
        """Note what came of it."""
        self._calls[digest] = replace(self._calls[digest], outcome=outcome)

    def undo(self, digest: str, before: Before | None) -> None:
        """Forget it, because it certainly did not happen; `before` stands again."""
        if before is None:
            self._calls.pop(digest, None)
        else:
            self._calls[digest] = before
