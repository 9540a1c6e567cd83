"""A person's answers, in the store: they hold over restarts, for all processes and clients.

One row per question at the console (its page or a terminal). Each transition is one compare-and-swap, so only
one process makes it: waiting -> approved -> deleted when used, or waiting -> refused. An approval that was given back
is a row in the state approved, whatever its origin. Calls declined at a client have a table of their own.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import shutil
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from typing import Literal

from waha_mcp.places import state_root
from waha_mcp.policy import shown_files
from waha_mcp.policy.question import Question
from waha_mcp.store import ASTRAY, Store, put
from waha_mcp.store.folders import user_store

#: Questions of one App that may wait at once, in all and about the same chats, so that an agent cannot hide one among
#: many.
MOST_WAITING, MOST_PER_CHATS = 20, 3
#: Calls declined at a client that are kept per App.
MOST_DECLINED = 1_000

State = Literal["waiting", "approved", "refused"]
#: Keys are `<App id>/<digest of the call>`, so that the same call is asked about once.
_TABLE = "question"
#: Keys are `<App id>/<Question.seen>`: a call declined at a client stands for all calls that look the same.
_DECLINED = "declined"


class TooManyWaiting(Exception):
    """`MOST_PER_CHATS` questions about the same chats are already waiting."""


@dataclass(frozen=True)
class Entry:
    """A question in the store; `created` and `expires` in Unix seconds of the store's clock."""

    id: str
    state: State
    created: float
    expires: float
    question: Question


class Approvals:
    """The questions of one App, shared by all processes of the user. Its methods block and may raise StoreAway."""

    def __init__(self, app_id: str, store: Store, filed: Callable[[Entry], object] = lambda entry: None) -> None:
        """`filed` is called with each new question."""
        self._app_id, self._store, self._filed = app_id, store, filed
        #: Held while a question is filed, so that concurrent calls stay within the bounds.
        self._filing = threading.Lock()

    def entries(self) -> list[Entry]:
        """All entries that have not expired, oldest first. A row that cannot be parsed is skipped."""
        return _entries(self._store, f"{self._app_id}/")

    def find(self, digest: str) -> Entry | None:
        """The entry with a question's digest; None if there is none, or it has expired."""
        return self._found(digest)[1]

    def _found(self, digest: str) -> tuple[str | None, Entry | None]:
        """The row under the key of a digest, and the entry in it."""
        row = self._store.get(_TABLE, self._key(digest))
        found = _read(row, self._store.now())
        return row, found if found is not None and found.question.digest == digest else None

    def refused(self, digest: str, seen: str) -> Entry | None:
        """A refused entry with this digest, or for a call that looks the same to its recipients."""
        found = (entry for entry in self.entries() if entry.state == "refused")
        return next((entry for entry in found if _alike(entry, digest, seen)), None)

    def ask(self, question: Question, contents: Sequence[bytes] | None = None) -> Entry:
        """The entry with the question's digest, a refused one that looks the same, or a new one in the state `waiting`.

        A new one replaces a waiting one that looks the same to the recipients. `contents` are the bytes of the
        question's files, which are copied to be shown. If `MOST_WAITING` questions wait, the oldest one about the
        chat with the most of them is removed.

        Raises:
            TooManyWaiting: `MOST_PER_CHATS` other questions about the same chats are already waiting.
        """
        with self._filing:
            return self._ask(question, contents)

    def _ask(self, question: Question, contents: Sequence[bytes] | None) -> Entry:
        while True:
            row, found = self._found(question.digest)
            found = self.refused(question.digest, question.seen) or found
            if found is not None:
                return found
            waiting = [entry for entry in self.entries() if entry.state == "waiting"]
            alike = [entry for entry in waiting if _alike(entry, question.digest, question.seen)]
            others = [entry for entry in waiting if entry not in alike]
            if sum(entry.question.chats == question.chats for entry in others) >= MOST_PER_CHATS:
                raise TooManyWaiting
            for entry in alike:
                self._remove(entry)
            for entry in _surplus(others, question):
                self._remove(entry)
                others.remove(entry)
            entry_id = secrets.token_hex(6)
            if contents is not None:
                files = shown_files.keep(
                    self._store, self._app_id, entry_id, question.files, contents, question.expires, _copied(others)
                )
                question = replace(question, files=files)
            entry = Entry(entry_id, "waiting", self._store.now(), question.expires, question)
            if self._put(row, entry):
                self._filed(entry)
                return entry
            shown_files.drop(self._store, entry_id)

    def decide(self, entry_id: str, *, approve: bool) -> bool:
        """Approve or refuse a waiting question; False if none with that id waits."""
        for entry in self.entries():
            if (entry.id, entry.state) == (entry_id, "waiting"):
                done = self._put(_written(entry), replace(entry, state="approved" if approve else "refused"))
                if done:
                    shown_files.drop(self._store, entry_id)
                return done
        return False

    def use(self, entry: Entry) -> bool:
        """Consume an approval; False if there is none, it has expired, or another process consumed it."""
        approved = replace(entry, state="approved")
        good = entry.expires > self._store.now()
        return good and self._store.swap(_TABLE, self._key(entry.question.digest), _written(approved), None)

    def give_back(self, entry: Entry) -> None:
        """Make an approval usable again until it expires. A later refusal of the same call stays."""
        digest = entry.question.digest
        while entry.expires > self._store.now():
            row, found = self._found(digest)
            if found is not None and found.state != "waiting":
                return
            if self._put(row, replace(entry, state="approved")):
                if found is not None:
                    shown_files.drop(self._store, found.id)
                return

    def withdraw(self, digest: str, seen: str) -> None:
        """Withdraw waiting questions that look the same to the recipients, because one was answered elsewhere."""
        for entry in self.entries():
            if entry.state == "waiting" and _alike(entry, digest, seen):
                self._remove(entry)

    def decline(self, question: Question, client: str) -> None:
        """Record that a call was declined at a client of this name, for the lifetime of its question."""
        key, text = self._key(question.seen), json.dumps({"client": client, "created": self._store.now()})
        put(self._store, _DECLINED, key, text, expires=question.expires)
        self._store.trim(_DECLINED, f"{self._app_id}/", MOST_DECLINED)
        self.withdraw(question.digest, question.seen)

    def declined(self, seen: str) -> str | None:
        """The name of the client where a call that looks the same was recently declined; None if none was."""
        try:
            row = json.loads(self._store.get(_DECLINED, self._key(seen)) or "null")
            return str(row["client"]) if row["created"] <= self._store.now() + ASTRAY else None
        except (ValueError, KeyError, TypeError):
            return None

    def _put(self, before: str | None, entry: Entry) -> bool:
        key = self._key(entry.question.digest)
        return self._store.swap(_TABLE, key, before, _written(entry), expires=entry.expires)

    def _remove(self, entry: Entry) -> None:
        if self._store.swap(_TABLE, self._key(entry.question.digest), _written(entry), None):
            shown_files.drop(self._store, entry.id)

    def _key(self, digest: str) -> str:
        return f"{self._app_id}/{digest}"


def _alike(entry: Entry, digest: str, seen: str) -> bool:
    """Whether an entry is for the call with this digest, or for one that looks the same to its recipients."""
    return entry.question.digest == digest or (seen != "" and entry.question.seen == seen)


def _surplus(waiting: Sequence[Entry], question: Question) -> list[Entry]:
    """The waiting entries to remove for a new question, oldest first: each time one of the chat with the most.

    So a flood about some chats, alone or with others, displaces itself and not a question about another chat.
    """
    left, gone = list(waiting), list[Entry]()
    while len(left) >= MOST_WAITING:
        about = Counter(chat for each in (*(entry.question for entry in left), question) for chat in _about(each))
        gone.append(max(left, key=lambda entry: max(about[chat] for chat in _about(entry.question))))
        left.remove(gone[-1])
    return gone


def _copied(waiting: Sequence[Entry]) -> int:
    """The total size in bytes of the copied files of these questions."""
    return sum(file.size for entry in waiting for file in entry.question.files if file.copied)


def _about(question: Question) -> tuple[str, ...]:
    """The chats of a question. All questions without chats count as being about one and the same."""
    return question.chats or ("",)


def _entries(store: Store, prefix: str) -> list[Entry]:
    found = [_read(row.value, store.now()) for row in store.rows(_TABLE, prefix)]
    return sorted((entry for entry in found if entry is not None), key=lambda entry: entry.created)


def _written(entry: Entry) -> str:
    return json.dumps(asdict(entry))


def _read(text: str | None, now: float) -> Entry | None:
    try:
        row = json.loads(text or "null")
        entry = Entry(row["id"], row["state"], row["created"], row["expires"], Question(**row["question"]))
        return entry if entry.created <= now + ASTRAY else None
    except (ValueError, KeyError, TypeError):
        return None


def waiting() -> list[Entry]:
    """The waiting questions of all Apps, as `waiting_in` gives them from the user's store. Raises as `waiting_in`."""
    with closing(user_store()) as store:
        return waiting_in(store)


def waiting_in(store: Store, app_id: str | None = None) -> list[Entry]:
    """The waiting questions of an App, or of all, oldest first. Deletes the copies of files of expired questions.

    Raises:
        StoreAway: the store cannot be read or written.
    """
    shown_files.sweep(store)
    found = _entries(store, "" if app_id is None else f"{app_id}/")
    return [entry for entry in found if entry.state == "waiting"]


def decide(entry_id: str, *, approve: bool) -> bool:
    """Approve or refuse the waiting question with an id, of any App; False if there is none.

    Raises:
        StoreAway: the store cannot be read or written.
    """
    app_id = next((entry.question.app for entry in waiting() if entry.id == entry_id), None)
    if app_id is None:
        return False
    with closing(user_store()) as store:
        return Approvals(app_id, store).decide(entry_id, approve=approve)


def forget(store: Store, prefix: str, about: Callable[[str], bool]) -> int:
    """Delete the questions, in any state, whose text `about` accepts, and their file copies; return how many.

    `prefix`: of the keys in the store.

    Raises:
        StoreAway: the store cannot be read or written.
    """
    shown_files.sweep(store)
    gone = [
        row for row in store.rows(_TABLE, prefix) if about(row.value) and store.swap(_TABLE, row.key, row.value, None)
    ]
    for entry in filter(None, (_read(row.value, store.now()) for row in gone)):
        shown_files.drop(store, entry.id)
    return len(gone)


def forget_files(app_id: str) -> None:
    """Delete the folder in which 0.1.0 kept an App's questions, with their texts. Nothing else reads it.

    Raises:
        OSError: it cannot be deleted.
    """
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(state_root() / app_id / "approvals")
