"""Approvals that a person gives out of the agent's reach: files in the user's state folder.

One file is one question, `<id>.<state>.json`. Its content never changes; its state is in its name, so that every step
is one atomic rename that only one process can make: waiting -> approved -> (used, gone), or waiting -> refused.
"""

from __future__ import annotations

import contextlib
import json
import re
import secrets
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from waha_mcp.files import make_private, write_atomically
from waha_mcp.policy.question import Question
from waha_mcp.store.folders import state_dir, state_root

#: Questions that may wait at once, so that an agent cannot bury one among others.
MOST_WAITING = 20

State = Literal["waiting", "approved", "refused"]
_FILE = re.compile(r"(?P<id>[0-9a-f]{12})\.(?P<state>waiting|approved|refused)\.json")


class TooManyWaiting(Exception):
    """The App has more questions open than a person can be expected to read."""


@dataclass(frozen=True)
class Entry:
    """A question in the folder."""

    id: str
    state: State
    created: float
    expires: float
    question: Question


class Approvals:
    """The questions of one App, shared by every process of the user."""

    def __init__(self, app_id: str) -> None:
        """Raises OSError where the folder cannot be made."""
        self._folder = state_dir(app_id) / "approvals"
        make_private(self._folder)

    def entries(self) -> list[Entry]:
        """All that is still good, oldest first. A file that is not as it was written counts as gone."""
        found = []
        for path in self._folder.iterdir():
            entry = self._read(path)
            if entry is not None and entry.expires > time.time():
                found.append(entry)
            elif _FILE.fullmatch(path.name):
                path.unlink(missing_ok=True)
        return sorted(found, key=lambda entry: entry.created)

    def ask(self, question: Question) -> Entry:
        """The entry for a question: the one with the same digest where there is one, else a new one that waits.

        Raises:
            TooManyWaiting: the person has enough to read.
            OSError: the folder cannot be written.
        """
        entries = self.entries()
        for entry in entries:
            if entry.question.digest == question.digest:
                return entry
        if sum(entry.state == "waiting" for entry in entries) >= MOST_WAITING:
            raise TooManyWaiting
        now = time.time()
        entry = Entry(secrets.token_hex(6), "waiting", now, question.expires, question)
        record = {"created": entry.created, "expires": entry.expires, "question": asdict(question)}
        write_atomically(self._path(entry.id, "waiting"), json.dumps(record, indent=1), 0o600)
        return entry

    def decide(self, entry_id: str, *, approve: bool) -> bool:
        """Answer a question that waits; False where there is none of that id any more."""
        if not any(entry.id == entry_id for entry in self.entries()):
            return False
        return self._rename(entry_id, "waiting", "approved" if approve else "refused")

    def use(self, entry: Entry) -> bool:
        """Take an approval, once; False where there is none, somebody else did, or it is no longer good."""
        if entry.expires <= time.time():
            return False
        try:
            self._path(entry.id, "approved").unlink()
        except FileNotFoundError:
            return False
        return True

    def _rename(self, entry_id: str, before: State, after: State) -> bool:
        with contextlib.suppress(FileNotFoundError):
            self._path(entry_id, before).rename(self._path(entry_id, after))
            return True
        return False

    def _path(self, entry_id: str, state: State) -> Path:
        return self._folder / f"{entry_id}.{state}.json"

    def _read(self, path: Path) -> Entry | None:
        match = _FILE.fullmatch(path.name)
        if match is None:
            return None
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            expires = float(record["expires"])
            question = Question(**(record["question"] | {"expires": expires}))
            state: State = match["state"]  # type: ignore[assignment]
            return Entry(match["id"], state, float(record["created"]), expires, question)
        except (OSError, ValueError, KeyError, TypeError):
            return None


def every_app() -> list[Approvals]:
    """The approvals of all the user's Apps that ever asked."""
    return [Approvals(path.parent.name) for path in sorted(state_root().glob("*/approvals"))]


def waiting() -> list[Entry]:
    """What waits for the user, of all Apps, oldest first."""
    entries = [entry for each in every_app() for entry in each.entries() if entry.state == "waiting"]
    return sorted(entries, key=lambda entry: entry.created)


def decide(entry_id: str, *, approve: bool) -> bool:
    """Answer what waits under an id, of whichever App; False where nothing does."""
    return any(each.decide(entry_id, approve=approve) for each in every_app())
