"""The repeat guard: refuses the same call within `WINDOW` seconds, unless the caller allows the repeat.

An attempt with an unknown outcome counts as done, for `UNKNOWN_WINDOW` seconds. The attempts of all processes of an App
are in the store: one row per digest, a JSON list of `[id, outcome, since, process]`.
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

#: Seconds for which a repeat is refused: after the call was done, and after an unknown outcome.
WINDOW, UNKNOWN_WINDOW = 60.0, 600.0

Outcome = Literal["under way", "done", "unknown"]

_TABLE = "attempt"


@dataclass(frozen=True)
class Attempt:
    """One execution of a call. `since`: when it began or, once it has ended, when it ended (Unix seconds)."""

    id: str
    outcome: Outcome
    since: float
    #: The process that made it (`Store.process`).
    process: str
    #: Seconds from `since` to when the row was read.
    ago: float = 0.0
    #: Whether it was later than it is now, because a clock was set back.
    future: bool = False

    @property
    def holds(self) -> bool:
        """Whether it still blocks a repeat. One that is under way always does."""
        match self.outcome:
            case "under way":
                return True
            case "done":
                return self.ago < WINDOW
            case "unknown":
                return self.ago < UNKNOWN_WINDOW


class Repeated(Exception):
    """An earlier attempt of the same call, `before`, blocks this one."""

    def __init__(self, before: Attempt) -> None:
        super().__init__(before.outcome)
        self.before = before


class Repeats:
    """The recent attempts of one App, by digest. Several of one digest may be under way if the caller allowed it.

    Its methods block, but for `over`. `end` and `undo` never raise: an outcome that cannot be written is kept in this
    process and written with the next change of the row.
    """

    def __init__(self, app_id: str, store: Store) -> None:
        self._app_id, self._store = app_id, store
        #: Outcomes that are not written, by attempt id; None: the attempt did not happen.
        self._unwritten: dict[str, Attempt | None] = {}
        self._swept = False

    def before(self, digest: str) -> Attempt | None:
        """The attempt that blocks this call, or None; of several, the one with the least certain outcome.

        Raises:
            StoreAway: the store cannot be read.
        """
        key = self._key(digest)
        attempts = self._read(self._store.get(_TABLE, key))
        if any(each.future for each in attempts):
            # What a clock that was set back has left in the future is counted from now on.
            self._change(key, lambda attempts: attempts)
        return _standing(attempts)

    def begin(self, digest: str, *, again: bool = False) -> Attempt:
        """Store a call as under way. `again`: ignore attempts that would block it.

        Raises:
            Repeated: an earlier attempt blocks it.
            StoreAway: the store cannot be read or written.
        """
        self._sweep()
        attempt = Attempt(secrets.token_hex(8), "under way", self._store.now(), self._store.process)

        def added(attempts: list[Attempt]) -> list[Attempt]:
            if not again and (before := _standing(attempts)):
                raise Repeated(before)
            return [*attempts, attempt]

        self._change(self._key(digest), added)
        return attempt

    def over(self, attempt: Attempt, outcome: Outcome | None) -> None:
        """Set the outcome of a call (None: it did not happen) for this process at once; `end` or `undo` then writes it.

        Does not block, so that a call that is made again right after a cancelled one meets its outcome.
        """
        self._unwritten[attempt.id] = (
            None if outcome is None else replace(attempt, outcome=outcome, since=self._store.now())
        )

    def end(self, digest: str, attempt: Attempt, outcome: Outcome) -> None:
        """Store the outcome of a call. Attempts that had ended before it began are removed: it replaces them."""
        ended = self._unwritten.get(attempt.id) or replace(attempt, outcome=outcome, since=self._store.now())

        def changed(attempts: list[Attempt]) -> list[Attempt]:
            others = [each for each in attempts if each.id != attempt.id]
            return [each for each in others if each.outcome == "under way" or each.since > attempt.since] + [ended]

        self._settle(digest, attempt, ended, changed)

    def undo(self, digest: str, attempt: Attempt) -> None:
        """Remove an attempt that certainly had no effect."""
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
        """Apply `change` to the attempts that still hold and write the row. Retries when another process was faster."""
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
        """Parse a row: with unwritten outcomes applied, and attempts of ended processes as `unknown`."""
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
        """On the first call: rewrite all rows of the App, which removes attempts that no longer hold."""
        if not self._swept:
            for row in self._store.rows(_TABLE, f"{self._app_id}/"):
                self._change(row.key, lambda attempts: attempts)
            self._swept = True


def _standing(attempts: list[Attempt]) -> Attempt | None:
    holding = [each for each in attempts if each.holds]
    return min(holding, key=lambda each: _LEAST_KNOWN.index(each.outcome), default=None)


def _ends(attempt: Attempt) -> float | None:
    """The Unix time from which it no longer holds; None while it is under way."""
    match attempt.outcome:
        case "under way":
            return None
        case "done":
            return attempt.since + WINDOW
        case "unknown":
            return attempt.since + UNKNOWN_WINDOW


_LEAST_KNOWN: tuple[Outcome, ...] = ("under way", "unknown", "done")
