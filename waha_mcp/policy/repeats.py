"""No double effects: the same again within a minute is a mistake, unless the caller says that it is not.

What may have happened, although nobody knows, counts as if it had, and for longer. The attempts of all processes of an
App stand in the store: one row per digest, a JSON list of `[id, outcome, since, process]`.
"""

from __future__ import annotations

import json
import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from waha_mcp.store import Store, StoreAway

logger = logging.getLogger(__name__)

#: Seconds within which the same is refused: after it was done, and after its outcome was lost.
WINDOW, UNKNOWN_WINDOW = 60.0, 600.0

Outcome = Literal["under way", "done", "unknown"]

_TABLE = "attempt"


@dataclass(frozen=True)
class Attempt:
    """One call. `since`: when it began, or ended once it has, in seconds since 1970."""

    id: str
    outcome: Outcome
    since: float
    #: Who made it, as the store names them.
    process: str
    #: Seconds since then, when it was looked at.
    ago: float = 0.0
    #: Whether it was later than it is now, because a clock was set back.
    future: bool = False

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


class Repeated(Exception):
    """The same call was made earlier and stands in the way."""

    def __init__(self, before: Attempt) -> None:
        super().__init__(before.outcome)
        self.before = before


class Repeats:
    """What one App did lately, by digest. Several of one digest may be under way where the caller allowed it.

    Its methods block, as the store's do. `end` and `undo` never fail: what cannot be written is known to this process
    all the same, and written with the next step.
    """

    def __init__(self, app_id: str, store: Store) -> None:
        self._app_id, self._store = app_id, store
        #: Of own attempts whose end could not be written, what is so; None: it did not happen.
        self._unwritten: dict[str, Attempt | None] = {}
        self._swept = False

    def before(self, digest: str) -> Attempt | None:
        """The same call, earlier, where it stands in the way of doing it again: the one of which least is known.

        Raises:
            StoreAway: it cannot be looked up.
        """
        key = self._key(digest)
        attempts = self._read(self._store.get(_TABLE, key))
        if any(each.future for each in attempts):
            # What a clock that was set back has left in the future is counted from now on.
            self._change(key, lambda attempts: attempts)
        return _standing(attempts)

    def begin(self, digest: str, *, again: bool = False) -> Attempt:
        """Note that a call is under way. `again`: what stands in the way is meant to be repeated.

        Raises:
            Repeated: something stands in the way.
            StoreAway: it cannot be noted.
        """
        self._sweep()
        attempt = Attempt(secrets.token_hex(8), "under way", self._store.now(), self._store.process)

        def added(attempts: list[Attempt]) -> list[Attempt]:
            if not again and (before := _standing(attempts)):
                raise Repeated(before)
            return [*attempts, attempt]

        self._change(self._key(digest), added)
        return attempt

    def end(self, digest: str, attempt: Attempt, outcome: Outcome) -> None:
        """Note what came of a call. Those that had ended when it began give way: the caller meant to repeat them."""
        ended = replace(attempt, outcome=outcome, since=self._store.now())

        def changed(attempts: list[Attempt]) -> list[Attempt]:
            others = [each for each in attempts if each.id != attempt.id]
            return [each for each in others if each.outcome == "under way" or each.since > attempt.since] + [ended]

        self._settle(digest, attempt, ended, changed)

    def undo(self, digest: str, attempt: Attempt) -> None:
        """Forget a call, because it certainly did not happen."""
        self._settle(digest, attempt, None, lambda attempts: [each for each in attempts if each.id != attempt.id])

    def _settle(
        self,
        digest: str,
        attempt: Attempt,
        so: Attempt | None,
        change: Callable[[list[Attempt]], list[Attempt]],
    ) -> None:
        try:
            self._change(self._key(digest), change)
        except StoreAway as error:
            self._unwritten[attempt.id] = so
            logger.error("What came of a call cannot be written down: %s", error)

    def _key(self, digest: str) -> str:
        return f"{self._app_id}/{digest}"

    def _change(self, key: str, change: Callable[[list[Attempt]], list[Attempt]]) -> None:
        """Replace the attempts that still hold by what `change` makes of them."""
        while True:
            value = self._store.get(_TABLE, key)
            attempts = change([each for each in self._read(value) if each.holds])
            rows = [[each.id, each.outcome, each.since, each.process] for each in attempts]
            ends = [_ends(each) for each in attempts]
            expires = None if None in ends else max(filter(None, ends), default=None)
            if self._store.swap(_TABLE, key, value, json.dumps(rows) if rows else None, expires=expires):
                for id_ in [each[0] for each in json.loads(value or "[]")]:
                    self._unwritten.pop(id_, None)
                return

    def _read(self, value: str | None) -> list[Attempt]:
        """The attempts in a row, as they are now."""
        found: list[Attempt] = []
        for attempt in [Attempt(*each) for each in json.loads(value or "[]")]:
            so = self._unwritten.get(attempt.id, attempt)
            if so is None:
                continue
            if so.outcome == "under way" and not self._store.alive(so.process):
                so = replace(so, outcome="unknown")
            now = self._store.now()
            found.append(replace(so, since=min(so.since, now), ago=max(0.0, now - so.since), future=so.since > now))
        return found

    def _sweep(self) -> None:
        """Once, let go of what processes have left behind that are gone."""
        if not self._swept:
            for row in self._store.rows(_TABLE, f"{self._app_id}/"):
                self._change(row.key, lambda attempts: attempts)
            self._swept = True


def _standing(attempts: list[Attempt]) -> Attempt | None:
    holding = [each for each in attempts if each.holds]
    return min(holding, key=lambda each: _LEAST_KNOWN.index(each.outcome), default=None)


def _ends(attempt: Attempt) -> float | None:
    """When it no longer holds; None as long as it is under way."""
    match attempt.outcome:
        case "under way":
            return None
        case "done":
            return attempt.since + WINDOW
        case "unknown":
            return attempt.since + UNKNOWN_WINDOW


_LEAST_KNOWN: tuple[Outcome, ...] = ("under way", "unknown", "done")
