"""No double effects: the same again within a minute is a mistake, unless the caller says that it is not.

What may have happened, although nobody knows, counts as if it had, and for longer.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Literal

#: Seconds within which the same is refused: after it was done, and after its outcome was lost.
WINDOW, UNKNOWN_WINDOW = 60.0, 600.0

Outcome = Literal["under way", "done", "unknown"]


@dataclass(eq=False)
class Attempt:
    """One call. `since` is of the monotonic clock, in seconds: when it began, or ended once it has."""

    since: float
    outcome: Outcome = "under way"

    @property
    def ago(self) -> float:
        """Seconds since it began, or ended."""
        return time.monotonic() - self.since

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
    """What was done lately, by digest. Several of one digest may be under way where the caller allowed it."""

    def __init__(self) -> None:
        self._attempts: dict[str, list[Attempt]] = {}

    def before(self, digest: str) -> Attempt | None:
        """The same call, earlier, where it stands in the way of doing it again: the one of which least is known."""
        holding = [each for each in self._attempts.get(digest, ()) if each.holds]
        return min(holding, key=lambda each: _LEAST_KNOWN.index(each.outcome), default=None)

    def begin(self, digest: str) -> Attempt:
        """Note that a call is under way."""
        held = {key: [each for each in attempts if each.holds] for key, attempts in self._attempts.items()}
        self._attempts = {key: attempts for key, attempts in held.items() if attempts}
        attempt = Attempt(time.monotonic())
        self._attempts.setdefault(digest, []).append(attempt)
        return attempt

    def end(self, digest: str, attempt: Attempt, outcome: Outcome) -> None:
        """Note what came of a call. Those that had ended when it began give way: the caller meant to repeat them."""
        began = attempt.since
        attempt.outcome, attempt.since = outcome, time.monotonic()
        self._attempts[digest] = [
            each
            for each in self._attempts[digest]
            if each is attempt or each.outcome == "under way" or each.since > began
        ]

    def undo(self, digest: str, attempt: Attempt) -> None:
        """Forget a call, because it certainly did not happen."""
        self._attempts[digest].remove(attempt)


_LEAST_KNOWN: tuple[Outcome, ...] = ("under way", "unknown", "done")
