"""The repeat guard: refuses an equal call for a time that depends on the outcome of the first.

An attempt is stored as under way before a byte of its request leaves, and then as done or unknown; one that certainly
had no effect is removed, and one whose process is gone counts as unknown. A done one refuses the same call for `WINDOW`
seconds unless the caller allows the repeat. An unknown one holds for `UNKNOWN_KEPT` seconds; for the first
`UNKNOWN_WINDOW` of them only a person can allow the repeat. The attempts of all processes of an App are in the store:
one row per digest, a JSON list of `_FIELDS`.
"""

from __future__ import annotations

import json
import logging
import secrets
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Literal

from waha_mcp.store import Store, StoreAway

logger = logging.getLogger(__name__)

#: Seconds for which a repeat is refused after the call was done.
WINDOW = 60.0
#: Seconds for which only a person can allow a repeat after an unknown outcome, and for which the caller has to.
UNKNOWN_WINDOW, UNKNOWN_KEPT = 600.0, 43_200.0

Outcome = Literal["under way", "done", "unknown"]

_TABLE = "attempt"
#: The fields of an attempt that are stored, in this order.
_FIELDS = ("id", "outcome", "since", "process", "at", "chat", "message_id", "found")


@dataclass(frozen=True)
class Attempt:
    """One execution of a call. Times are Unix seconds."""

    id: str
    outcome: Outcome
    #: When it began or, once it has ended, when it ended.
    since: float
    #: The process that made it (`Store.process`).
    process: str
    #: When it began; once `found`, when WAHA says that the message was sent.
    at: float
    #: The chat and id of its message: the id requested from WAHA or, once done, the full one. None: not known.
    chat: str | None = None
    message_id: str | None = None
    #: Whether the message was found after its outcome had been unknown.
    found: bool = False
    #: Seconds from `since` to when the row was read.
    ago: float = 0.0
    #: Whether that time is in the future, because a clock was set back.
    future: bool = False

    @property
    def holds(self) -> bool:
        """Whether it still blocks a repeat that nobody allows. One that is under way always does."""
        match self.outcome:
            case "under way":
                return True
            case "done":
                return self.ago < WINDOW
            case "unknown":
                return self.ago < UNKNOWN_KEPT

    @property
    def for_a_person(self) -> bool:
        """Whether only a person can allow a repeat."""
        return self.outcome == "unknown" and self.ago < UNKNOWN_WINDOW

    def lets(self, *, again: bool, despite: Collection[str]) -> bool:
        """Whether it permits a repeat that the caller allows (`again`), or a person (`despite` contains its id).

        Only for attempts that hold.
        """
        if self.for_a_person:
            return self.id in despite
        return again and self.outcome != "under way"


class Repeated(Exception):
    """An earlier attempt of the same call, `before`, blocks this one."""

    def __init__(self, before: Attempt) -> None:
        super().__init__(before.outcome)
        self.before = before


class Repeats:
    """The recent attempts of one App, by digest.

    Its methods block, except `over`. `end` never raises: an outcome that cannot be written is kept in this
    process and written by `settle`, with the next change of the row, or before the next call begins.
    """

    def __init__(self, app_id: str, store: Store) -> None:
        self._app_id, self._store = app_id, store
        #: Outcomes not written yet, by attempt id; None: the attempt did not happen.
        self._unwritten: dict[str, Attempt | None] = {}
        self._swept = False
        #: Keys of rows that may show an attempt as under way though it is over or never was, by its id.
        self._stray: dict[str, str] = {}

    def before(self, digest: str) -> list[Attempt]:
        """The attempts that block this call if nobody allows it, the least certain outcome first.

        Raises:
            StoreAway: the store cannot be read.
        """
        key = self._key(digest)
        attempts = self._read(self._store.get(_TABLE, key))
        if any(each.future for each in attempts):
            # Times in the future, left by a clock that was set back, are counted from now on.
            self._change(key, lambda attempts: attempts)
        return _by_certainty(each for each in attempts if each.holds)

    def begin(
        self,
        digest: str,
        *,
        again: bool = False,
        despite: Collection[str] = (),
        chat: str | None = None,
        message_id: str | None = None,
    ) -> Attempt:
        """Store a call as under way.

        `again`: the caller allows a repeat; `despite`: ids of the unknown attempts that a person allows it after.
        `message_id`: the id that its message gets in `chat`, if it is known beforehand.

        Raises:
            Repeated: an earlier attempt blocks it.
            StoreAway: the store cannot be read or written.
        """
        self._sweep()
        now = self._store.now()
        attempt = Attempt(secrets.token_hex(8), "under way", now, self._store.process, now, chat, message_id)

        def added(attempts: list[Attempt]) -> list[Attempt]:
            if blocking := [each for each in attempts if not each.lets(again=again, despite=despite)]:
                raise Repeated(_by_certainty(blocking)[0])
            return [*attempts, attempt]

        key = self._key(digest)
        try:
            self._change(key, added)
        except StoreAway:
            # It may have been written all the same.
            self._unwritten[attempt.id] = None
            self._stray[attempt.id] = key
            raise
        return attempt

    def found(self, digest: str, attempt: Attempt, message_id: str, at: float | None) -> Attempt:
        """Store that the message of an unknown attempt was found after all; the attempt as it is now.

        `message_id`: its full id; `at`: when WAHA says that it was sent (Unix seconds).

        Raises:
            StoreAway: the store cannot be read or written.
        """
        now = self._store.now()
        found = replace(attempt, outcome="done", since=now, at=at or attempt.at, message_id=message_id, found=True)
        self._change(
            self._key(digest), lambda attempts: [found if each.id == attempt.id else each for each in attempts]
        )
        return replace(found, ago=0.0)

    def over(self, attempt: Attempt, outcome: Outcome | None, message_id: str | None = None) -> None:
        """Set the outcome of a call (None: it had no effect) for this process at once; `end` then writes it.

        `message_id`: the full id of the message that a done one sent. Does not block, so that a call that is made again
        right after a cancelled one meets its outcome.
        """
        ended = None if outcome is None else replace(attempt, outcome=outcome, since=self._store.now())
        if ended is not None and outcome == "done":
            ended = replace(ended, message_id=message_id)
        self._unwritten[attempt.id] = ended

    def end(self, digest: str, attempt: Attempt, outcome: Outcome | None) -> None:
        """Store the outcome of a call; None, if it certainly had no effect, removes it.

        A done or unknown one replaces the attempts that had ended before it began.
        """
        if attempt.id not in self._unwritten:
            self.over(attempt, outcome)
        ended = self._unwritten[attempt.id]

        def changed(attempts: list[Attempt]) -> list[Attempt]:
            others = [each for each in attempts if each.id != attempt.id]
            if ended is None:
                return others
            return [each for each in others if each.since > attempt.since] + [ended]

        try:
            self._change(self._key(digest), changed)
        except StoreAway as error:
            self._stray[attempt.id] = self._key(digest)
            logger.error("The outcome of a call cannot be stored: %s", error)

    def _key(self, digest: str) -> str:
        return f"{self._app_id}/{digest}"

    def _change(self, key: str, change: Callable[[list[Attempt]], list[Attempt]]) -> None:
        """Apply `change` to the attempts that still hold and write the row. Retries when another process was faster."""
        while True:
            value = self._store.get(_TABLE, key)
            attempts = change([each for each in self._read(value) if each.holds])
            rows = [_stored(each) for each in attempts]
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
        """Rewrite rows, which removes attempts that no longer hold: on the first call all of the App; stray ones."""
        if not self._swept:
            for row in self._store.rows(_TABLE, f"{self._app_id}/"):
                self._change(row.key, lambda attempts: attempts)
            self._swept = True
        self._write_strays()

    @property
    def unsettled(self) -> bool:
        """Whether rows may show an attempt of this process as under way though it is over or never was."""
        return bool(self._stray)

    def settle(self) -> bool:
        """Write what could not be written; return whether all of it is."""
        try:
            self._write_strays()
        except StoreAway:
            return False
        return True

    def _write_strays(self) -> None:
        for id_, key in list(self._stray.items()):
            self._change(key, lambda attempts: attempts)
            for of in (self._stray, self._unwritten):
                of.pop(id_, None)


_stored = attrgetter(*_FIELDS)


def _by_certainty(attempts: Iterable[Attempt]) -> list[Attempt]:
    """The attempts, those with the least certain outcome first."""
    return sorted(attempts, key=lambda each: _LEAST_KNOWN.index(each.outcome))


def _ends(attempt: Attempt) -> float | None:
    """The Unix time from which it no longer holds; None while it is under way."""
    match attempt.outcome:
        case "under way":
            return None
        case "done":
            return attempt.since + WINDOW
        case "unknown":
            return attempt.since + UNKNOWN_KEPT


_LEAST_KNOWN: tuple[Outcome, ...] = ("under way", "unknown", "done")
