"""Approvals given outside the client, on the approvals page or in a terminal: one store row per question.

Each transition is one compare-and-swap, so only one process makes it: waiting -> approved -> deleted when used, or
waiting -> refused.
"""

from __future__ import annotations

import contextlib
import json
import re
import secrets
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

from waha_mcp.policy.question import Question
from waha_mcp.store import Store
from waha_mcp.store.folders import state_root, user_store

#: Questions of one App that may wait at once, so that an agent cannot hide one among many.
MOST_WAITING = 20

#: Seconds by which a clock may be set back without anything else to it. What was written in a future farther away is
#: gone: nobody can tell how long it would still be good.
_ASTRAY = 5.0

State = Literal["waiting", "approved", "refused"]
#: Keys are `<App id>/<digest of the call>`, so that the same call is asked about once.
_TABLE = "question"
#: File names of questions written by versions without a store, in the folder `approvals` of the App's state.
_FILE = re.compile(r"(?P<id>[0-9a-f]{12})\.(?P<state>waiting|approved|refused)\.json")


class TooManyWaiting(Exception):
    """The App already has `MOST_WAITING` questions waiting."""


@dataclass(frozen=True)
class Entry:
    """A question in the store; `created` and `expires` in Unix seconds."""

    id: str
    state: State
    created: float
    expires: float
    question: Question


class Approvals:
    """The questions of one App, shared by all processes of the user. Its methods block and may raise StoreAway."""

    def __init__(self, app_id: str, store: Store) -> None:
        self._app_id, self._store = app_id, store

    def entries(self) -> list[Entry]:
        """All entries that have not expired, oldest first. A row that cannot be parsed is skipped."""
        _take_over(self._store, self._app_id)
        return _entries(self._store, f"{self._app_id}/")

    def ask(self, question: Question) -> Entry:
        """The entry with the question's digest, or a new one in the state `waiting`.

        Raises:
            TooManyWaiting: `MOST_WAITING` questions wait already.
        """
        key = f"{self._app_id}/{question.digest}"
        entries = self.entries()
        while True:
            row = self._store.get(_TABLE, key)
            found = _read(row)
            if found is not None and found.question.digest == question.digest:
                return found
            if sum(entry.state == "waiting" for entry in entries) >= MOST_WAITING:
                raise TooManyWaiting
            entry = Entry(secrets.token_hex(6), "waiting", time.time(), question.expires, question)
            if self._store.swap(_TABLE, key, row, _written(entry), expires=entry.expires):
                return entry

    def decide(self, entry_id: str, *, approve: bool) -> bool:
        """Approve or refuse a waiting question; False if none with that id waits."""
        for entry in self.entries():
            if (entry.id, entry.state) == (entry_id, "waiting"):
                after = replace(entry, state="approved" if approve else "refused")
                return self._store.swap(
                    _TABLE, self._key(entry), _written(entry), _written(after), expires=entry.expires
                )
        return False

    def use(self, entry: Entry) -> bool:
        """Consume an approval; False if there is none, it has expired, or another process consumed it."""
        approved = replace(entry, state="approved")
        good = entry.expires > time.time()
        return good and self._store.swap(_TABLE, self._key(entry), _written(approved), None)

    def _key(self, entry: Entry) -> str:
        return f"{self._app_id}/{entry.question.digest}"


def _entries(store: Store, prefix: str = "") -> list[Entry]:
    found = [_read(row.value) for row in store.rows(_TABLE, prefix)]
    return sorted((entry for entry in found if entry is not None), key=lambda entry: entry.created)


def _written(entry: Entry) -> str:
    return json.dumps(asdict(entry))


def _read(text: str | None) -> Entry | None:
    try:
        row = json.loads(text or "null")
        entry = Entry(row["id"], row["state"], row["created"], row["expires"], Question(**row["question"]))
        return entry if entry.created <= time.time() + _ASTRAY else None
    except (ValueError, KeyError, TypeError):
        return None


def waiting() -> list[Entry]:
    """The waiting questions of all Apps, oldest first.

    Raises:
        StoreAway: the store cannot be read or written.
    """
    with closing(user_store()) as store:
        for folder in state_root().glob("*/approvals"):
            _take_over(store, folder.parent.name)
        return [entry for entry in _entries(store) if entry.state == "waiting"]


def decide(entry_id: str, *, approve: bool) -> bool:
    """Approve or refuse the waiting question with an id, of any App; False if there is none.

    Raises:
        StoreAway: the store cannot be read or written.
    """
    apps = {entry.question.app for entry in waiting() if entry.id == entry_id}
    with closing(user_store()) as store:
        return any(Approvals(app, store).decide(entry_id, approve=approve) for app in apps)


def forget(store: Store, prefix: str, about: Callable[[str], bool]) -> int:
    """Delete the questions, in any state, whose text `about` accepts; how many. `prefix`: of the keys in the store.

    Raises:
        StoreAway: the store cannot be read or written.
    """
    waiting()  # takes over the files of earlier versions
    found = [row for row in store.rows(_TABLE, prefix) if about(row.value)]
    return sum(store.swap(_TABLE, row.key, row.value, None) for row in found)


def _take_over(store: Store, app_id: str) -> None:
    """Move an App's question files into the store. Only the process that deletes a file imports it, so once."""
    folder = state_root() / app_id / "approvals"
    with contextlib.suppress(OSError):
        for path in list(folder.iterdir()):
            if match := _FILE.fullmatch(path.name):
                entry = _of_file(path, match["id"], match["state"])
                key = None if entry is None else f"{app_id}/{entry.question.digest}"
                # Read before the file is deleted, so that StoreAway does not lose the question.
                before = None if key is None else store.get(_TABLE, key)
                with contextlib.suppress(FileNotFoundError):
                    path.unlink()
                    if entry is not None and key is not None and before is None:
                        store.swap(_TABLE, key, None, _written(entry), expires=entry.expires)
        folder.rmdir()


def _of_file(path: Path, id_: str, state: str) -> Entry | None:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        expires = float(record["expires"])
        question = Question(**(record["question"] | {"expires": expires}))
        return Entry(id_, state, float(record["created"]), expires, question)  # type: ignore[arg-type]
    except (OSError, ValueError, KeyError, TypeError):
        return None
