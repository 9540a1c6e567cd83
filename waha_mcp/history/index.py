"""The local index of messages: one SQLite file that returns the newest matches first.

A search returns candidates; the caller checks each with `history.matching`. The methods block: call them through
`store.in_thread`. Several threads can read while one writes.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from sqlite3 import Connection
from typing import Any, NamedTuple

from waha_mcp.history import index_rows as stored
from waha_mcp.history.index_file import FOLDING, IndexFile
from waha_mcp.history.index_rows import SLOTS, Found, Gap, Newest
from waha_mcp.history.index_search import search
from waha_mcp.history.records import Record, Sieve
from waha_mcp.history.source import Place
from waha_mcp.store import StoreAway
from waha_mcp.store.database import BESIDE, Damaged
from waha_mcp.whatsapp.ids import MessageKey

#: Exceptions that only a corrupt row can raise.
_ODD = (ValueError, TypeError, LookupError)


def _is_odd(error: BaseException | None) -> bool:
    """Whether this is a generic SQLite error, one that does not name the file, the disk or a lock as the cause."""
    return isinstance(error, sqlite3.Error) and int(getattr(error, "sqlite_errorcode", 0)) & 0xFF in (0, 1)


class Chat(NamedTuple):
    """`head`: the second up to which its messages are indexed, except for gaps. `gaps`: whether it has any."""

    id: str
    head: int
    gaps: bool


class Counts(NamedTuple):
    """How much is indexed. `oldest`: the second from which the index is complete; None: it is complete."""

    messages: int
    chats: int
    gaps: int
    oldest: int | None


class Index:
    """The messages of one account."""

    def __init__(self, path: Path) -> None:
        """The first step creates the file."""
        self.path = path
        self._write, self._read = IndexFile(path), IndexFile(path)

    def close(self) -> None:
        """Close the file. The next step opens it again."""
        self._read.close()
        self._write.close()

    def delete(self) -> None:
        """Close and delete the file and any damaged copies. Further steps raise StoreAway.

        Raises:
            OSError: a file cannot be deleted.
        """
        for file in (self._read, self._write):
            file.close(for_good=True)
        self._write.delete()
        self.delete_damaged()

    def delete_damaged(self) -> int:
        """Delete the damaged files; return how many.

        Raises:
            OSError: one cannot be deleted.
        """
        found = self.damaged()
        for path in found:
            for each in ("", *BESIDE):
                path.with_name(path.name + each).unlink(missing_ok=True)
        return len(found)

    def size(self) -> int:
        """Size on disk in bytes, including SQLite's side files and damaged files."""
        paths = (path.with_name(path.name + each) for path in (self.path, *self.damaged()) for each in ("", *BESIDE))
        return sum(path.stat().st_size for path in paths if path.exists())

    def damaged(self) -> list[Path]:
        """The damaged files that were moved aside. They hold messages."""
        return self._write.damaged()

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        with self._step(self._read) as connection:
            yield connection

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        with self._step(self._write, write=True) as connection:
            if stored.meta(connection, "folding") != FOLDING:
                # Under the write lock: no other process is half-way, and a new file has no rows yet.
                connection.execute("INSERT INTO words (words) VALUES ('rebuild')")
                stored.set_meta(connection, "folding", FOLDING)
            yield connection

    @contextmanager
    def _step(self, file: IndexFile, *, write: bool = False) -> Iterator[Connection]:
        try:
            with file.step(write=write) as connection:
                yield connection
        except (StoreAway, *_ODD) as error:
            # SQLite does not notice all damage, for example in the bytes of a text.
            if (isinstance(error, StoreAway) and not _is_odd(error.__context__)) or (why := self.check()) is None:
                raise
            raise StoreAway(why) from None

    # Writing

    def add(self, records: Iterable[Record], gone: Iterable[MessageKey] = (), *, backwards: bool = False) -> int:
        """Add messages, or update the existing ones; return how many are new.

        `gone`: messages to remove. `backwards`: they are ordered newest first.

        Raises:
            StoreAway: nothing was added.
        """
        with self._writing() as connection:
            stored.remove(connection, gone)
            return stored.add(connection, records, backwards=backwards)

    def change(self, chats: Collection[str], bare_id: str, by: Collection[str], record: Record | None) -> None:
        """Update the message with this bare id in one of these chats; with None, delete it.

        Only its words are taken from the record: edit events carry nothing else.

        `by`: the ids of the person who made the change. A message by anyone else is only marked as doubtful (see
        `doubtful`): engines do not check that people change only their own messages.
        """
        with self._writing() as connection:
            for number, found in stored.with_id(connection, bare_id):
                if found.chat not in chats:
                    continue
                if found.sender not in by:
                    connection.execute("INSERT OR IGNORE INTO doubt VALUES (?)", (number,))
                elif record is None:
                    connection.execute("DELETE FROM message WHERE number = ?", (number,))
                else:
                    stored.update(connection, number, found, stored.edited(found, record))

    def doubtful(self) -> Found | None:
        """A message that may have changed, or None."""
        with self._reading() as connection:
            row = connection.execute(stored.DOUBTFUL).fetchone()
            return row and Found(int(row[0]), stored.record_of(row))

    def settle(self, doubtful: Found, record: Record | None) -> None:
        """Update a message that was doubtful; with None, delete it."""
        with self._writing() as connection:
            connection.execute("DELETE FROM doubt WHERE number = ?", (doubtful.number,))
            if doubtful not in stored.with_id(connection, doubtful.record.key.id):
                return
            if record is None:
                connection.execute("DELETE FROM message WHERE number = ?", (doubtful.number,))
            else:
                stored.update(connection, doubtful.number, doubtful.record, record)

    def transcribed(self, message: MessageKey, digest: bytes, text: str) -> None:
        """Store the transcript of a voice note under the SHA-256 of its bytes."""
        with self._writing() as connection:
            if (same := stored.find_same(connection, message)) is not None:
                connection.execute(
                    "UPDATE message SET transcript = ?, digest = ? WHERE number = ?",
                    (stored.clean(text), digest, same.number),
                )

    def transcript(self, digest: bytes, shown: Callable[[str], bool] = bool) -> str | None:
        """The transcript of the bytes with this SHA-256, if one is stored for a chat that is `shown`."""
        with self._reading() as connection:
            rows = connection.execute(
                "SELECT c.id, m.transcript FROM message m JOIN chat c ON c.number = m.chat"
                " WHERE m.digest = ? AND (m.expires IS NULL OR m.expires > ?)",
                (digest, time.time()),
            )
            return next((str(text) for chat, text in rows if shown(chat)), None)

    # Gaps

    def claim(self) -> bool:
        """Become, or remain, the process that fills the index; False while another process is."""
        with self._writing() as connection:
            mine, filling = self._write.holder, stored.meta(connection, "filling")
            if filling is not None and filling != mine and self._write.is_held(str(filling)):
                return False
            if filling != mine:
                stored.set_meta(connection, "filling", mine)
                stored.set_meta(connection, "caught_up", None)
            return True

    def mine(self) -> bool:
        """Whether this process still fills the index: the file may have been deleted or replaced."""
        with self._reading() as connection:
            return bool(self._write.holder) and stored.meta(connection, "filling") == self._write.holder

    def filled(self) -> bool:
        """Whether a running process fills the index."""
        with self._reading() as connection:
            filling = stored.meta(connection, "filling")
            return filling is not None and self._read.is_held(str(filling))

    def look(self, newest: Iterable[Newest], *, heard: bool, oldest: float | None) -> list[bool]:
        """Record each chat's newest message; what may be missing becomes a gap. For each, whether it was known.

        `heard`: the feed missed nothing since the last look. `oldest`: the second before which nothing is kept.
        """
        with self._writing() as connection:
            forgotten = stored.all_forgotten(connection)
            return [
                stored.look(connection, each, stored.last_forgotten(forgotten, [each.chat]), heard, oldest)
                for each in newest
            ]

    def next_gap(self, but: Collection[int] = ()) -> Gap | None:
        """The most recent gap whose number is not in `but`, or None."""
        with self._reading() as connection:
            found = connection.execute(
                stored.GAPS,
                (json.dumps(list(but)), 1),
            ).fetchone()
            return found and stored.gap_of(found)

    def fill(
        self,
        gap: Gap,
        records: Iterable[Record],
        gone: Iterable[MessageKey],
        place: Place | None,
        *,
        unread: str | None = None,
    ) -> int:
        """Add messages of a gap, newest first, and move the gap to `place` (None: close it); return how many are new.

        `gone`: messages that were read and must not be indexed. `unread`: why the rest of the chat can never be read.
        Does nothing if the gap no longer exists because its chat was dropped or forgotten meanwhile.
        """
        with self._writing() as connection:
            there = connection.execute("SELECT 1 FROM gap WHERE number = ?", (gap.number,)).fetchone()
            if there is None:
                return 0
            connection.execute("UPDATE chat SET unread = ? WHERE id = ?", (unread, gap.chat))
            if place is None:
                connection.execute("DELETE FROM gap WHERE number = ?", (gap.number,))
            else:
                connection.execute(
                    "UPDATE gap SET place = ?, second = ? WHERE number = ?",
                    (json.dumps(place.state), place.time or 0, gap.number),
                )
            stored.remove(connection, gone)
            return stored.add(connection, records, backwards=True)

    # Removing

    def expire(self, now: float, oldest: float | None) -> int:
        """Delete messages that have disappeared or are older than the second `oldest`; return how many."""
        with self._writing() as connection:
            gone = connection.execute("DELETE FROM message WHERE expires <= ?", (now,)).rowcount
            if oldest is not None:
                moved = int(stored.meta(connection, "moved") or 0)
                gone += connection.execute(
                    "DELETE FROM message WHERE number < ? AND number / ? - moved < ?",
                    ((int(oldest) + moved) * SLOTS, SLOTS, int(oldest)),
                ).rowcount
                connection.execute("DELETE FROM gap WHERE second < ?", (int(oldest),))
            return gone

    def drop(self, chats: Iterable[str]) -> int:
        """Delete everything stored for these chats; return how many messages."""
        with self._writing() as connection:
            gone = sum(stored.drop(connection, chat) for chat in chats)
            if gone:
                # A person without messages has no other reason to be stored.
                connection.execute(
                    "DELETE FROM person WHERE number NOT IN (SELECT sender FROM message WHERE sender IS NOT NULL"
                    " UNION SELECT participant FROM message WHERE participant IS NOT NULL)"
                )
                connection.execute("INSERT INTO words (words) VALUES ('optimize')")
        if gone:
            self._write.flush()
        return gone

    def forget(self, has: Callable[[str], bool], now: float, *, named: Iterable[str] = (), every: bool = False) -> int:
        """Like `drop`, for the chats and people for which `has` is true; nothing older than now is read again.

        `named`: ids of theirs that may not be stored yet. `every`: everything, whatever `has` says.
        """
        with self._writing() as connection:
            chats = {row[0] for row in connection.execute("SELECT id FROM chat") if every or has(row[0])}
            people = [row for row in connection.execute("SELECT number, id FROM person") if every or has(row[1])]
            numbers = json.dumps([number for number, _ in people])
            gone = connection.execute(
                "DELETE FROM message WHERE sender IN (SELECT value FROM json_each(?))"
                " OR participant IN (SELECT value FROM json_each(?))",
                (numbers, numbers),
            ).rowcount
            connection.execute("DELETE FROM person WHERE number IN (SELECT value FROM json_each(?))", (numbers,))
            for chat in chats:
                gone += stored.drop(connection, chat)
            marks = {stored.EVERY} if every else {*chats, *(person for _, person in people), *named}
            for each in marks:
                connection.execute("INSERT OR REPLACE INTO forgotten VALUES (?, ?)", (stored.digest_of(each), int(now)))
            connection.execute("INSERT INTO words (words) VALUES ('optimize')")
        self._write.flush()
        return gone

    # Reading

    def search(self, sieve: Sieve, *, before: int | None = None, after: int | None = None, most: int) -> list[Found]:
        """Candidate messages, newest first, at most `most`. `before`, `after`: numbers, exclusive.

        Raises:
            StoreAway: the index cannot be read.
        """
        with self._reading() as connection:
            found = search(connection, sieve, before, after, most)
            return [Found(int(row[0]), stored.record_of(row)) for row in found]

    def around(
        self, number: int, before: int, after: int, *, chats: Collection[str] | None = None
    ) -> tuple[list[Found], list[Found]]:
        """The neighbours of a message in its chat, each newest first. `chats`: all ids of that chat."""
        with self._reading() as connection:
            of = "m.chat IN (SELECT value FROM json_each(?)) AND (m.expires IS NULL OR m.expires > ?)"
            ids = stored.numbers(connection, "chat", chats)
            if ids is None:
                ids = [each[0] for each in connection.execute("SELECT chat FROM message WHERE number = ?", (number,))]
            values = (json.dumps(ids), time.time(), number)
            earlier = connection.execute(
                f"{stored.SELECT} WHERE {of} AND m.number < ? ORDER BY m.number DESC LIMIT ?", (*values, before)
            ).fetchall()
            later = connection.execute(
                f"{stored.SELECT} WHERE {of} AND m.number > ? ORDER BY m.number LIMIT ?", (*values, after)
            ).fetchall()
            older, newer = (
                [Found(int(row[0]), stored.record_of(row)) for row in rows] for rows in (earlier, later[::-1])
            )
            return older, newer

    def newest(self, chats: Collection[str], most: int) -> list[Record]:
        """The newest messages of one chat (all its ids), newest first, down to its first gap."""
        with self._reading() as connection:
            numbers = json.dumps(stored.numbers(connection, "chat", chats))
            [gap] = connection.execute(
                "SELECT max(second) FROM gap WHERE chat IN (SELECT value FROM json_each(?))", (numbers,)
            ).fetchone()
            after = 0 if gap is None else (int(gap) + 1) * SLOTS
            rows = connection.execute(stored.NEWEST, (numbers, after, time.time(), most))
            return [stored.record_of(row) for row in rows]

    def chats(self) -> list[Chat]:
        """The known chats."""
        with self._reading() as connection:
            return [
                Chat(str(row[0]), int(row[1]), bool(row[2]))
                for row in connection.execute(
                    "SELECT id, head, EXISTS (SELECT 1 FROM gap WHERE gap.chat = chat.number) FROM chat"
                )
            ]

    def has(self, key: MessageKey) -> bool:
        """Whether a message is indexed."""
        with self._reading() as connection:
            return stored.find_same(connection, key) is not None

    def gaps(self) -> list[Gap]:
        """The messages still to be read, newest first."""
        with self._reading() as connection:
            rows = connection.execute(stored.GAPS, ("[]", -1))
            return list(map(stored.gap_of, rows))

    def unread(self) -> dict[str, str]:
        """The chats whose messages cannot be read, and why."""
        with self._reading() as connection:
            return dict(connection.execute("SELECT id, unread FROM chat WHERE unread IS NOT NULL").fetchall())

    def counts(self) -> Counts:
        """How much is indexed."""
        with self._reading() as connection:
            [messages] = connection.execute("SELECT count(*) FROM message").fetchone()
            [chats] = connection.execute("SELECT count(*) FROM chat").fetchone()
            [gaps, oldest] = connection.execute("SELECT count(*), max(second) FROM gap").fetchone()
            return Counts(messages, chats, gaps, oldest)

    def note(self, **values: Any) -> None:
        """Store values by name."""
        with self._writing() as connection:
            for name, value in values.items():
                stored.set_meta(connection, name, value)

    def noted(self, name: str) -> Any:
        """A stored value, or None."""
        with self._reading() as connection:
            return stored.meta(connection, name)

    def check(self) -> str | None:
        """Check the whole file; return why it was moved aside as damaged, None if it is intact.

        Raises:
            StoreAway: it cannot be read or written.
        """
        damaged = self.damaged()
        try:
            with self._write.step(write=True) as connection:
                try:
                    [found] = connection.execute("PRAGMA integrity_check(1)").fetchone()
                    if found != "ok":
                        raise Damaged(str(found))
                    connection.execute("INSERT INTO words (words, rank) VALUES ('integrity-check', 1)")
                    for row in connection.execute(stored.SELECT):
                        stored.record_of(row)
                except (sqlite3.Error, *_ODD) as error:
                    if isinstance(error, sqlite3.Error) and not _is_odd(error):
                        raise
                    raise Damaged(str(error)) from None
        except StoreAway as away:
            if self.damaged() == damaged:
                raise
            return str(away)
        return None

    def optimize(self) -> None:
        """Merge the segments of the full-text index: a smaller file and faster searches."""
        with self._writing() as connection:
            connection.execute("INSERT INTO words (words) VALUES ('optimize')")
        # Messages that are added newest first leave half of each page free.
        self._write.vacuum()
