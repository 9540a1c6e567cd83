"""The local index of messages: one SQLite file with a full-text index (FTS5) of the lines of each message.

A message's number is its second and a slot in it, so that numbers are in order of time and the newest of many matches
are found first, whatever their number. The trigrams of folded lines are indexed: they find parts of words in every
script. Which lines hold which trigrams is all that FTS5 keeps (`detail=none`): candidates are looked at once more by
whoever searches (`history.matching`).

The methods block; call them through `store.in_thread`. Threads read while another one writes.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import time
import unicodedata
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from sqlite3 import Connection
from typing import Any, NamedTuple, get_args

from waha_mcp.history.records import NOTHING, Has, Record, Sieve
from waha_mcp.history.source import START, Place
from waha_mcp.store import StoreAway
from waha_mcp.store.database import BESIDE, Damaged, Database
from waha_mcp.waha.message_kinds import MessageKind
from waha_mcp.waha.parsing import kind_of_chat
from waha_mcp.whatsapp.folding import fold_text
from waha_mcp.whatsapp.ids import MessageKey

#: Messages of one second that stand in it; further ones take the nearest numbers that are free.
SLOTS = 8
#: The numbers of kinds; new ones are only added behind them.
_KINDS: tuple[MessageKind, ...] = get_args(MessageKind)
#: Beside what a record has: whether it is the account's own.
_OWN = 1 << 10
#: What stands in `meta` for the folding: lines that were folded otherwise are indexed anew.
_FOLDING = f"1/{unicodedata.unidata_version}"
#: What stands for all chats and people among those that were forgotten.
_ALL = "*"
#: Messages of a chat up to which they are looked at one by one rather than found by their words.
_FEW = 3_000
#: Most trigrams of one part of a word that are looked for at once.
_MOST_TERMS = 30_000
#: Most characters of an expression of several parts.
_LONGEST = 300_000
#: The Unix seconds that a message may have. Moved numbers stay positive.
_FIRST, _LAST = 2**24, 2**40


#: What only a row raises that cannot be there.
_ODD = (ValueError, TypeError, LookupError)


def _is_odd(error: BaseException | None) -> bool:
    """Whether it is an error of SQLite that says nothing of the file, the disk or who holds it."""
    return isinstance(error, sqlite3.Error) and int(getattr(error, "sqlite_errorcode", 0)) & 0xFF in (0, 1)


class NoTrigrams(StoreAway):
    """This Python's SQLite cannot index the parts of words."""


class Found(NamedTuple):
    """A message and its number."""

    number: int
    record: Record


class Gap(NamedTuple):
    """Messages of a chat that are to be read: from `place` back to the second `since` (None: to the first one).

    `second`: of the place, or of the chat's newest message. `late`: they came while nobody listened; the others of the
    chat were read before.
    """

    number: int
    chat: str
    late: bool
    since: int | None
    second: int
    place: Place


class Newest(NamedTuple):
    """The newest message of a chat: its second, and its key where WAHA tells it."""

    chat: str
    second: int
    last: MessageKey | None


class Chat(NamedTuple):
    """`head`: the second up to which its messages are here, but for gaps. `gaps`: whether there are any."""

    id: str
    head: int
    gaps: bool


class Counts(NamedTuple):
    """`oldest`: the second from which on all messages are here; None: all there are. `begun`: what was to be read."""

    messages: int
    chats: int
    gaps: int
    oldest: int | None


def lines_of(text: str | None, extra: str | None, transcript: str | None) -> str:
    """The folded lines of a message, as they are indexed."""
    whole = "\n".join(part for part in (text, extra, transcript) if part)
    # Two more characters, so that each one begins a trigram.
    return folded_lines(whole.splitlines()) + "\n\n" if whole else ""


def folded_lines(lines: Iterable[str]) -> str:
    """Lines, folded for the search."""
    return "\n".join(map(fold_text, lines))


class _File(Database):
    """The file of an index."""

    WHAT = "index"
    MIGRATIONS = (
        (
            "CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID",
            """CREATE TABLE chat (
                number INTEGER PRIMARY KEY,
                id TEXT NOT NULL UNIQUE,
                head INTEGER NOT NULL,
                last TEXT,
                unread TEXT
            )""",
            "CREATE TABLE person (number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, pushname TEXT)",
            """CREATE TABLE message (
                number INTEGER PRIMARY KEY,
                moved INTEGER NOT NULL,
                chat INTEGER NOT NULL,
                sender INTEGER,
                participant INTEGER,
                kind INTEGER NOT NULL,
                has INTEGER NOT NULL,
                id BLOB NOT NULL,
                expires INTEGER,
                text TEXT,
                extra TEXT,
                transcript TEXT,
                digest BLOB
            )""",
            "CREATE INDEX message_chat ON message (chat, number)",
            # A part of the id tells nearly all messages apart, and takes half the room.
            "CREATE INDEX message_id ON message (substr(id, 1, 6))",
            "CREATE INDEX message_expires ON message (expires) WHERE expires IS NOT NULL",
            "CREATE INDEX message_digest ON message (digest) WHERE digest IS NOT NULL",
            # A number is of one gap for good: whoever reads one may do so while it is dropped and others are made.
            """CREATE TABLE gap (
                number INTEGER PRIMARY KEY AUTOINCREMENT,
                chat INTEGER NOT NULL,
                late INTEGER NOT NULL,
                since INTEGER,
                second INTEGER NOT NULL,
                place TEXT NOT NULL
            )""",
            "CREATE INDEX gap_second ON gap (second)",
            "CREATE INDEX gap_chat ON gap (chat)",
            "CREATE TABLE doubt (number INTEGER PRIMARY KEY)",
            "CREATE TABLE forgotten (chat BLOB PRIMARY KEY, second INTEGER NOT NULL) WITHOUT ROWID",
            "CREATE VIEW lines AS SELECT number, lines_of(text, extra, transcript) AS folded FROM message",
            """CREATE VIRTUAL TABLE words USING fts5(
                folded, content='lines', content_rowid='number', columnsize=0, detail=none,
                tokenize='trigram case_sensitive 1'
            )""",
            """CREATE TRIGGER message_added AFTER INSERT ON message BEGIN
                INSERT INTO words (rowid, folded) VALUES (new.number, lines_of(new.text, new.extra, new.transcript));
            END""",
            """CREATE TRIGGER message_changed AFTER UPDATE OF text, extra, transcript ON message BEGIN
                INSERT INTO words (words, rowid, folded)
                    VALUES ('delete', old.number, lines_of(old.text, old.extra, old.transcript));
                INSERT INTO words (rowid, folded) VALUES (new.number, lines_of(new.text, new.extra, new.transcript));
            END""",
            """CREATE TRIGGER message_deleted AFTER DELETE ON message BEGIN
                INSERT INTO words (words, rowid, folded)
                    VALUES ('delete', old.number, lines_of(old.text, old.extra, old.transcript));
                DELETE FROM doubt WHERE number = old.number;
            END""",
        ),
    )

    def _set_up(self, connection: Connection) -> None:
        super()._set_up(connection)
        connection.create_function("lines_of", 3, lines_of, deterministic=True)
        _try_trigrams(connection)
        connection.execute("CREATE VIRTUAL TABLE temp.terms USING fts5vocab(main, words, row)")

    def _check(self, connection: Connection) -> None:
        names = {row[0] for row in connection.execute("SELECT name FROM sqlite_master")}
        if not names >= {"meta", "message", "words"}:
            raise Damaged("it is no index")


def no_trigrams() -> str | None:
    """Why this Python can have no index; None if it can."""
    with closing(sqlite3.connect(":memory:")) as connection:
        try:
            _try_trigrams(connection)
        except NoTrigrams as error:
            return str(error)
    return None


def _try_trigrams(connection: Connection) -> None:
    """See that parts of words can be indexed.

    Raises:
        NoTrigrams: they cannot.
    """
    try:
        connection.execute("CREATE VIRTUAL TABLE temp.trial USING fts5(a, tokenize='trigram')")
    except sqlite3.OperationalError as error:
        raise NoTrigrams(
            f"The index needs SQLite 3.34 or newer with FTS5; this Python has {sqlite3.sqlite_version} ({error}): "
            "use a Python that brings one, as those of python.org and uv do."
        ) from None
    connection.execute("DROP TABLE temp.trial")


class Index:
    """The messages of one account."""

    def __init__(self, path: Path) -> None:
        """The file is made with the first step."""
        self.path = path
        self._write, self._read = _File(path), _File(path)
        self._deleted = False

    def close(self) -> None:
        """Close the file. The next step opens it again."""
        self._read.close()
        self._write.close()

    def delete(self) -> None:
        """Close and delete the file, with those that were damaged. Further steps raise StoreAway.

        Raises:
            OSError: a file cannot be deleted.
        """
        self._deleted = True
        self.close()
        self._write.delete()
        self.delete_damaged()

    def delete_damaged(self) -> int:
        """Delete the damaged files; how many.

        Raises:
            OSError: one cannot be deleted.
        """
        found = self.damaged()
        for path in found:
            for each in ("", *BESIDE):
                path.with_name(path.name + each).unlink(missing_ok=True)
        return len(found)

    def size(self) -> int:
        """Its size on the disk in bytes, with what SQLite keeps beside it and with damaged files."""
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
            if _meta(connection, "folding") != _FOLDING:
                # No other process may be half-way, and nothing was added yet in a new file.
                connection.execute("INSERT INTO words (words) VALUES ('rebuild')")
                _set_meta(connection, "folding", _FOLDING)
            yield connection

    @contextmanager
    def _step(self, file: _File, *, write: bool = False) -> Iterator[Connection]:
        if self._deleted:
            raise StoreAway("The index was deleted.")
        try:
            with file.step(write=write) as connection:
                yield connection
        except (StoreAway, *_ODD) as error:
            # SQLite does not see all damage, as in the bytes of a text.
            if (isinstance(error, StoreAway) and not _is_odd(error.__context__)) or (why := self.check()) is None:
                raise
            raise StoreAway(why) from None

    # Writing

    def add(self, records: Iterable[Record], gone: Iterable[MessageKey] = (), *, backwards: bool = False) -> int:
        """Add messages, or bring those that are there up to date; how many are new.

        `gone`: messages that are not to be here. `backwards`: they are newest first.

        Raises:
            StoreAway: nothing was added.
        """
        with self._writing() as connection:
            _remove(connection, gone)
            return _add(connection, records, backwards=backwards)

    def change(self, chats: Collection[str], bare_id: str, by: Collection[str], record: Record | None) -> None:
        """Bring the message with this bare id in one of these chats up to date, or with None delete it.

        Only its words are taken from the record: events of an edit do not tell what else there is.

        `by`: the ids of who did that. Of a message by somebody else it is only noted that it may have changed: an
        engine does not see to it that nobody changes others' messages (see `doubtful`).
        """
        with self._writing() as connection:
            for number, found in _with_id(connection, bare_id):
                if found.chat not in chats:
                    continue
                if found.sender not in by:
                    connection.execute("INSERT OR IGNORE INTO doubt VALUES (?)", (number,))
                elif record is None:
                    connection.execute("DELETE FROM message WHERE number = ?", (number,))
                else:
                    _update(connection, number, found, _edited(found, record))

    def doubtful(self) -> Found | None:
        """A message that may have changed; None: there is none."""
        with self._reading() as connection:
            row = connection.execute(_DOUBTFUL).fetchone()
            return row and Found(int(row[0]), _record(row))

    def settle(self, doubtful: Found, record: Record | None) -> None:
        """Bring a message that was doubtful up to date, or with None delete it."""
        with self._writing() as connection:
            connection.execute("DELETE FROM doubt WHERE number = ?", (doubtful.number,))
            if doubtful not in _with_id(connection, doubtful.record.key.id):
                return
            if record is None:
                connection.execute("DELETE FROM message WHERE number = ?", (doubtful.number,))
            else:
                _update(connection, doubtful.number, doubtful.record, record)

    def transcribed(self, message: MessageKey, digest: bytes, text: str) -> None:
        """Keep the transcript of a voice note, under the SHA-256 of its bytes."""
        with self._writing() as connection:
            if (same := _same(connection, message)) is not None:
                connection.execute(
                    "UPDATE message SET transcript = ?, digest = ? WHERE number = ?",
                    (_clean(text), digest, same.number),
                )

    def transcript(self, digest: bytes, shown: Callable[[str], bool] = bool) -> str | None:
        """The transcript of bytes with this SHA-256, if one is kept of a chat that is `shown`."""
        with self._reading() as connection:
            rows = connection.execute(
                "SELECT c.id, m.transcript FROM message m JOIN chat c ON c.number = m.chat"
                " WHERE m.digest = ? AND (m.expires IS NULL OR m.expires > ?)",
                (digest, time.time()),
            )
            return next((str(text) for chat, text in rows if shown(chat)), None)

    # Gaps

    def claim(self) -> bool:
        """Become the process that fills the index, or stay it; False while another one is."""
        with self._writing() as connection:
            mine, filling = self._write.holder, _meta(connection, "filling")
            if filling is not None and filling != mine and self._write.is_held(str(filling)):
                return False
            if filling != mine:
                _set_meta(connection, "filling", mine)
                _set_meta(connection, "caught_up", None)
            return True

    def mine(self) -> bool:
        """Whether this process still is the one that fills it: the file may have been deleted or replaced."""
        with self._reading() as connection:
            return bool(self._write.holder) and _meta(connection, "filling") == self._write.holder

    def filled(self) -> bool:
        """Whether a process that is running fills the index."""
        with self._reading() as connection:
            filling = _meta(connection, "filling")
            return filling is not None and self._read.is_held(str(filling))

    def look(self, newest: Iterable[Newest], *, heard: bool, oldest: float | None) -> list[bool]:
        """Note the newest messages of chats; what may not be here becomes a gap. For each, whether it was known.

        `heard`: all that came since the last look was heard. `oldest`: the second before which nothing is kept.
        """
        with self._writing() as connection:
            forgotten = _forgotten(connection)
            return [_look(connection, each, _last_forgotten(forgotten, [each.chat]), heard, oldest) for each in newest]

    def next_gap(self, but: Collection[int] = ()) -> Gap | None:
        """The gap that reaches nearest to now, but for those with these numbers; None: there is none."""
        with self._reading() as connection:
            found = connection.execute(
                "SELECT gap.number, chat.id, late, since, second, place FROM gap JOIN chat ON chat.number = gap.chat"
                " WHERE gap.number NOT IN (SELECT value FROM json_each(?)) ORDER BY second DESC, gap.number LIMIT 1",
                (json.dumps(list(but)),),
            ).fetchone()
            return found and _gap(found)

    def fill(
        self,
        gap: Gap,
        records: Iterable[Record],
        gone: Iterable[MessageKey],
        place: Place | None,
        *,
        unread: str | None = None,
    ) -> int:
        """Add messages of a gap, newest first, which is read down to `place` with them, or closed; how many are new.

        `gone`: messages that are read and not to be here. `unread`: why no more of the chat can be read, for good.
        Nothing is done where the gap is not there any more: its chat was dropped or forgotten meanwhile.
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
            _remove(connection, gone)
            return _add(connection, records, backwards=True)

    # Leaving out

    def expire(self, now: float, oldest: float | None) -> int:
        """Delete messages that have disappeared, and those before the second `oldest`; how many."""
        with self._writing() as connection:
            gone = connection.execute("DELETE FROM message WHERE expires <= ?", (now,)).rowcount
            if oldest is not None:
                moved = int(_meta(connection, "moved") or 0)
                gone += connection.execute(
                    "DELETE FROM message WHERE number < ? AND number / ? - moved < ?",
                    ((int(oldest) + moved) * SLOTS, SLOTS, int(oldest)),
                ).rowcount
                connection.execute("DELETE FROM gap WHERE second < ?", (int(oldest),))
            return gone

    def drop(self, chats: Iterable[str]) -> int:
        """Delete what is kept of chats; how many messages."""
        with self._writing() as connection:
            gone = sum(_drop(connection, chat) for chat in chats)
            if gone:
                # People are only known by what they wrote.
                connection.execute(
                    "DELETE FROM person WHERE number NOT IN (SELECT sender FROM message WHERE sender IS NOT NULL"
                    " UNION SELECT participant FROM message WHERE participant IS NOT NULL)"
                )
                connection.execute("INSERT INTO words (words) VALUES ('optimize')")
        if gone:
            self._write.flush()
        return gone

    def forget(self, has: Callable[[str], bool], now: float, *, named: Iterable[str] = (), every: bool = False) -> int:
        """As `drop`, of the chats and the people that `has` names; what is older than now is not read again.

        `named`: ids of them that may not be known here yet. `every`: all that there is, whatever `has` says.
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
                gone += _drop(connection, chat)
            marks = {_ALL} if every else {*chats, *(person for _, person in people), *named}
            for each in marks:
                connection.execute("INSERT OR REPLACE INTO forgotten VALUES (?, ?)", (_digest(each), int(now)))
            connection.execute("INSERT INTO words (words) VALUES ('optimize')")
        self._write.flush()
        return gone

    # Reading

    def search(self, sieve: Sieve, *, before: int | None = None, after: int | None = None, most: int) -> list[Found]:
        """Messages that may be what is wanted, newest first, at most `most`. `before`, `after`: numbers, excluded.

        Raises:
            StoreAway: the index cannot be read.
        """
        with self._reading() as connection:
            where, values = _conditions(connection, sieve, before, after)
            if where is None:
                return []
            chats = _numbers(connection, "chat", sieve.chats)
            if chats is not None and len(chats) <= 3:
                parts = [_of_chat(connection, chat, sieve, where, values, most) for chat in chats]
                found = sorted((row for part in parts for row in part), key=lambda row: -int(row[0]))[:most]
            else:
                if chats is not None:
                    where += " AND +m.chat IN (SELECT value FROM json_each(?))"
                    values = [*values, json.dumps(chats)]
                found = _matching(connection, sieve, where, values, most)
            return [Found(int(row[0]), _record(row)) for row in found]

    def around(
        self, number: int, before: int, after: int, *, chats: Collection[str] | None = None
    ) -> tuple[list[Found], list[Found]]:
        """The neighbours of a message in its chat, each newest first. `chats`: all ids of that chat."""
        with self._reading() as connection:
            of = "m.chat IN (SELECT value FROM json_each(?)) AND (m.expires IS NULL OR m.expires > ?)"
            ids = _numbers(connection, "chat", chats)
            if ids is None:
                ids = [each[0] for each in connection.execute("SELECT chat FROM message WHERE number = ?", (number,))]
            values = (json.dumps(ids), time.time(), number)
            earlier = connection.execute(
                f"{_SELECT} WHERE {of} AND m.number < ? ORDER BY m.number DESC LIMIT ?", (*values, before)
            ).fetchall()
            later = connection.execute(
                f"{_SELECT} WHERE {of} AND m.number > ? ORDER BY m.number LIMIT ?", (*values, after)
            ).fetchall()
            older, newer = ([Found(int(row[0]), _record(row)) for row in rows] for rows in (earlier, later[::-1]))
            return older, newer

    def newest(self, chats: Collection[str], most: int) -> list[Record]:
        """The newest messages of one chat, by its ids, newest first; only those behind which none is missing."""
        with self._reading() as connection:
            numbers = json.dumps(_numbers(connection, "chat", chats))
            [gap] = connection.execute(
                "SELECT max(second) FROM gap WHERE chat IN (SELECT value FROM json_each(?))", (numbers,)
            ).fetchone()
            after = 0 if gap is None else (int(gap) + 1) * SLOTS
            rows = connection.execute(_NEWEST, (numbers, after, time.time(), most))
            return [_record(row) for row in rows]

    def chats(self) -> list[Chat]:
        """The chats that are known."""
        with self._reading() as connection:
            return [
                Chat(str(row[0]), int(row[1]), bool(row[2]))
                for row in connection.execute(
                    "SELECT id, head, EXISTS (SELECT 1 FROM gap WHERE gap.chat = chat.number) FROM chat"
                )
            ]

    def has(self, key: MessageKey) -> bool:
        """Whether a message is here."""
        with self._reading() as connection:
            return _same(connection, key) is not None

    def gaps(self) -> list[Gap]:
        """What is to be read, the newest first."""
        with self._reading() as connection:
            rows = connection.execute(
                "SELECT gap.number, chat.id, late, since, second, place FROM gap JOIN chat ON chat.number = gap.chat"
                " ORDER BY second DESC, gap.number"
            )
            return list(map(_gap, rows))

    def unread(self) -> dict[str, str]:
        """The chats whose messages cannot be read, and why."""
        with self._reading() as connection:
            return dict(connection.execute("SELECT id, unread FROM chat WHERE unread IS NOT NULL").fetchall())

    def counts(self) -> Counts:
        """How much is here."""
        with self._reading() as connection:
            [messages] = connection.execute("SELECT count(*) FROM message").fetchone()
            [chats] = connection.execute("SELECT count(*) FROM chat").fetchone()
            [gaps, oldest] = connection.execute("SELECT count(*), max(second) FROM gap").fetchone()
            return Counts(messages, chats, gaps, oldest)

    def note(self, **values: Any) -> None:
        """Keep values by name."""
        with self._writing() as connection:
            for name, value in values.items():
                _set_meta(connection, name, value)

    def noted(self, name: str) -> Any:
        """A value that was kept; None if there is none."""
        with self._reading() as connection:
            return _meta(connection, name)

    def check(self) -> str | None:
        """Read the whole file; why it was moved aside as damaged, None if it is whole.

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
                    for row in connection.execute(_SELECT):
                        _record(row)
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
        """Merge what was written bit by bit, which makes the file smaller and the search faster."""
        with self._writing() as connection:
            connection.execute("INSERT INTO words (words) VALUES ('optimize')")
        # Messages that are added newest first leave half of each page free.
        self._write.vacuum()


# Rows

_SELECT = """SELECT m.number, m.moved, c.id, s.id, coalesce(s.pushname, p.pushname), p.id, m.kind, m.has, m.id,
    m.expires, m.text, m.extra, m.transcript
    FROM message m JOIN chat c ON c.number = m.chat
    LEFT JOIN person s ON s.number = m.sender LEFT JOIN person p ON p.number = m.participant"""

_NEWEST = f"""{_SELECT} WHERE m.chat IN (SELECT value FROM json_each(?)) AND m.number >= ?
    AND (m.expires IS NULL OR m.expires > ?) ORDER BY m.number DESC LIMIT ?"""  # noqa: S608 - nothing of it is given
_DOUBTFUL = f"{_SELECT} WHERE m.number IN (SELECT min(number) FROM doubt)"  # noqa: S608 - nothing of it is given


def _record(row: Sequence[Any]) -> Record:
    number, moved, chat, sender, pushname, participant, kind, has, bare_id, expires, text, extra, transcript = row
    own = bool(has & _OWN)
    alone = kind_of_chat(chat) == "person"
    return Record(
        MessageKey(own, chat, bare_id.hex().upper() if isinstance(bare_id, bytes) else bare_id, participant),
        number // SLOTS - moved,
        "me" if own else sender or participant or (chat if alone else "unknown"),
        _KINDS[kind],
        text or "",
        extra or "",
        Has(has & ~_OWN),
        pushname,
        expires,
        transcript or "",
    )


def _gap(row: Sequence[Any]) -> Gap:
    number, chat, late, since, second, place = row
    return Gap(number, chat, bool(late), since, second, Place.from_state(json.loads(place)))


def _packed(bare_id: str) -> bytes | str:
    """A message's bare id as it is kept: most are hexadecimal, which takes half the room as bytes."""
    with suppress(ValueError):
        packed = bytes.fromhex(bare_id)
        if packed.hex().upper() == bare_id:
            return packed
    return bare_id


def _with_id(connection: Connection, bare_id: str) -> list[Found]:
    packed = _packed(_clean(bare_id))
    rows = connection.execute(
        f"{_SELECT} WHERE substr(m.id, 1, 6) = substr(?, 1, 6) AND m.id = ?", (packed, packed)
    ).fetchall()
    return [Found(int(row[0]), _record(row)) for row in rows]


def _same(connection: Connection, key: MessageKey, record: Record | None = None) -> Found | None:
    """The message with this identity. `record`: what is known of it besides.

    Others choose the ids of their messages: one with an id that was there before, by somebody else or in another chat,
    is another message. A person has two ids, which are not known here to be the same one's: messages by one of each
    kind are the same if they are of the same second.
    """
    sender = _sender(key) if record is None else record.sender
    second = None if record is None else record.time
    return next((each for each in _with_id(connection, key.id) if _is_same(each.record, key, sender, second)), None)


def _is_same(found: Record, key: MessageKey, sender: str, second: int | None) -> bool:
    if found.key.from_me != key.from_me:
        return False
    exact = second in (None, found.time)
    if found.chat != key.chat and not (exact and _may_be_one(found.chat, key.chat)):
        return False
    return found.sender == sender or (exact and _may_be_one(found.sender, sender))


def _may_be_one(one: str, other: str) -> bool:
    """Whether two ids may be of the same person."""
    return "unknown" in (one, other) or {one.rpartition("@")[2], other.rpartition("@")[2]} == {"c.us", "lid"}


def _sender(key: MessageKey) -> str:
    if key.from_me:
        return "me"
    return key.chat if kind_of_chat(key.chat) == "person" else key.participant or "unknown"


def _look(connection: Connection, newest: Newest, forgotten: int | None, heard: bool, oldest: float | None) -> bool:
    chat, second, last = newest
    full = None if last is None else last.text
    found = connection.execute("SELECT number, head, last FROM chat WHERE id = ?", (chat,)).fetchone()
    number, head, known = found or (_chat(connection, chat), 0, None)
    if head and second <= head and full == known:
        return True
    since = max((int(each) for each in (oldest, forgotten) if each is not None), default=None)
    if head:
        # Where the newest one is not there any more, an older one is the newest.
        since = max(min(head, second), since or 0)
    here = heard and head > 0 and last is not None and _same(connection, last) is not None
    if not here and second >= (since or 0):
        connection.execute(
            "INSERT INTO gap (chat, late, since, second, place) VALUES (?, ?, ?, ?, ?)",
            (number, head > 0, since, second, json.dumps(START.state)),
        )
    connection.execute("UPDATE chat SET head = ?, last = ? WHERE number = ?", (max(second, head, 1), full, number))
    return False


def _remove(connection: Connection, keys: Iterable[MessageKey]) -> None:
    for key in keys:
        if (same := _same(connection, key)) is not None:
            connection.execute("DELETE FROM message WHERE number = ?", (same.number,))


def _add(connection: Connection, records: Iterable[Record], *, backwards: bool) -> int:
    count = 0
    forgotten = _forgotten(connection)
    #: Where the last number of a second was found.
    last: dict[int, int] = {}
    for record in records:
        if (same := _same(connection, record.key, record)) is not None:
            _update(connection, same.number, same.record, record)
            continue
        if not _FIRST < record.time < _LAST:
            continue
        if (until := _last_forgotten(forgotten, _whose(record))) is not None and record.time <= until:
            continue
        number = last[record.time] = _free(connection, record.time, last.get(record.time), backwards=backwards)
        moved = number // SLOTS - record.time
        if moved and abs(moved) > int(_meta(connection, "moved") or 0):
            _set_meta(connection, "moved", abs(moved))
        key = record.key
        alone = kind_of_chat(key.chat) == "person"
        sender = None if key.from_me or record.sender in ("me", "unknown", key.participant) else record.sender
        # In a chat with one person, the sender is only needed for the name that they chose.
        sender = None if alone and sender == key.chat and record.pushname is None else sender
        connection.execute(
            "INSERT INTO message (number, moved, chat, sender, participant, kind, has, id, expires, text, extra)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                number,
                moved,
                _chat(connection, key.chat),
                _person(connection, sender, record.pushname),
                _person(connection, key.participant, None if key.from_me else record.pushname),
                _KINDS.index(record.kind),
                int(record.has) | (_OWN if key.from_me else 0),
                _packed(key.id),
                record.expires,
                _clean(record.text) or None,
                _clean(record.extra) or None,
            ),
        )
        count += 1
    return count


def _whose(record: Record) -> Iterator[str]:
    yield record.chat
    yield record.sender
    if record.key.participant is not None:
        yield record.key.participant


def _forgotten(connection: Connection) -> dict[bytes, int]:
    """The digests of chats and people that were forgotten, and the last second of which nothing is kept."""
    return {bytes(row[0]): int(row[1]) for row in connection.execute("SELECT chat, second FROM forgotten")}


def _last_forgotten(forgotten: Mapping[bytes, int], ids: Iterable[str]) -> int | None:
    """The last second of which nothing is kept of any of these ids; None: all is."""
    if not forgotten:
        return None
    return max((forgotten[key] for each in (*ids, _ALL) if (key := _digest(each)) in forgotten), default=None)


def _edited(before: Record, after: Record) -> Record:
    if before.has & Has.FILE:
        return replace(after, kind=before.kind, has=after.has | Has.FILE, extra=after.extra or before.extra)
    return replace(after, kind=before.kind)


def _update(connection: Connection, number: int, before: Record, record: Record) -> None:
    """What may change of a message: its words, and what it has. When it was written, and by whom, do not.

    An edit may not tell that a message disappears.
    """
    text, extra = _clean(record.text), _clean(record.extra)
    expires = before.expires if record.expires is None else record.expires
    if (before.has, before.kind, before.expires) != (record.has, record.kind, expires):
        own = _OWN if before.key.from_me else 0
        connection.execute(
            "UPDATE message SET has = ?, kind = ?, expires = ? WHERE number = ?",
            (int(record.has) | own, _KINDS.index(record.kind), expires, number),
        )
    if (before.text, before.extra) != (text, extra):
        connection.execute(
            "UPDATE message SET text = ?, extra = ? WHERE number = ?", (text or None, extra or None, number)
        )


def _free(connection: Connection, second: int, start: int | None, *, backwards: bool) -> int:
    """The free number that is nearest to a second: from its first slot on, or back from its last one.

    `start`: a number up to which none of these is free.
    """
    at = start if start is not None else second * SLOTS + (SLOTS - 1 if backwards else 0)
    compared, order, step = ("<=", "DESC", -1) if backwards else (">=", "ASC", 1)
    for [taken] in connection.execute(
        f"SELECT number FROM message WHERE number {compared} ? ORDER BY number {order}",  # noqa: S608
        (at,),
    ):
        if taken != at:
            break
        at += step
    return at


def _chat(connection: Connection, chat: str) -> int:
    """The number of a chat. A new one has no head: it is not looked at yet."""
    found = connection.execute("SELECT number FROM chat WHERE id = ?", (chat,)).fetchone()
    if found is not None:
        return int(found[0])
    return int(connection.execute("INSERT INTO chat (id, head) VALUES (?, 0)", (chat,)).lastrowid or 0)


def _person(connection: Connection, person: str | None, pushname: str | None) -> int | None:
    if person is None:
        return None
    person, pushname = _clean(person), pushname and _clean(pushname)
    found = connection.execute("SELECT number, pushname FROM person WHERE id = ?", (person,)).fetchone()
    if found is None:
        done = connection.execute("INSERT INTO person (id, pushname) VALUES (?, ?)", (person, pushname))
        return int(done.lastrowid or 0)
    if pushname is not None and found[1] is None:
        connection.execute("UPDATE person SET pushname = ? WHERE number = ?", (pushname, found[0]))
    return int(found[0])


def _drop(connection: Connection, chat: str) -> int:
    found = connection.execute("SELECT number FROM chat WHERE id = ?", (chat,)).fetchone()
    if found is None:
        return 0
    gone = connection.execute("DELETE FROM message WHERE chat = ?", found).rowcount
    connection.execute("DELETE FROM gap WHERE chat = ?", found)
    connection.execute("DELETE FROM chat WHERE number = ?", found)
    return int(gone)


def _digest(chat: str) -> bytes:
    return hashlib.sha256(_clean(chat).encode()).digest()[:12]


def _clean(text: str) -> str:
    """A text without what SQLite cannot keep or would end at: halves of surrogate pairs, and NUL."""
    return text.encode("utf-8", "replace").decode().replace("\0", "\ufffd")


def _meta(connection: Connection, key: str) -> Any:
    found = connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
    return None if found is None else found[0]


def _set_meta(connection: Connection, key: str, value: Any) -> None:
    connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))


# Searching


def _conditions(
    connection: Connection, sieve: Sieve, before: int | None, after: int | None
) -> tuple[str | None, list[Any]]:
    """The conditions of a search on messages, but for their words and chats; None where there can be none."""
    parts = ["(m.expires IS NULL OR m.expires > ?)"]
    values: list[Any] = [time.time()]
    if before is not None:
        parts.append("m.number < ?")
        values.append(before)
    if after is not None:
        parts.append("m.number > ?")
        values.append(after)
    moved = int(_meta(connection, "moved") or 0)
    since, until = (None if each is None else int(min(max(each, 0), _LAST)) for each in (sieve.since, sieve.until))
    if since is not None:
        parts.append("m.number >= ? AND m.number / ? - m.moved >= ?")
        values += [(since - moved) * SLOTS, SLOTS, since]
    if until is not None:
        parts.append("m.number < ? AND m.number / ? - m.moved <= ?")
        values += [(until + moved + 1) * SLOTS, SLOTS, until]
    if sieve.kinds is not None:
        parts.append("m.kind IN (SELECT value FROM json_each(?))")
        values.append(json.dumps([_KINDS.index(each) for each in sieve.kinds]))
    if sieve.has != NOTHING:
        parts.append("m.has & ? = ?")
        values += [int(sieve.has), int(sieve.has)]
    if sieve.senders is not None:
        people = _numbers(connection, "person", sieve.senders) or []
        chats = _numbers(connection, "chat", [each for each in sieve.senders if kind_of_chat(each) == "person"]) or []
        if not people and not chats and "me" not in sieve.senders:
            return None, []
        parts.append(
            "(? AND m.has & ? != 0 OR m.has & ? = 0 AND (m.sender IN (SELECT value FROM json_each(?))"
            " OR m.participant IN (SELECT value FROM json_each(?)) OR m.chat IN (SELECT value FROM json_each(?))))"
        )
        values += ["me" in sieve.senders, _OWN, _OWN, json.dumps(people), json.dumps(people), json.dumps(chats)]
    return " AND ".join(parts), values


def _numbers(connection: Connection, table: str, ids: Collection[str] | None) -> list[int] | None:
    if ids is None:
        return None
    rows = connection.execute(
        f"SELECT number FROM {table} WHERE id IN (SELECT value FROM json_each(?))",  # noqa: S608
        (json.dumps(list(ids)),),
    )
    return [int(row[0]) for row in rows]


def _of_chat(
    connection: Connection, chat: int, sieve: Sieve, where: str, values: list[Any], most: int
) -> list[Sequence[Any]]:
    [few] = connection.execute(
        "SELECT count(*) <= ? FROM (SELECT 1 FROM message WHERE chat = ? LIMIT ?)", (_FEW, chat, _FEW + 1)
    ).fetchone()
    if not few and sieve.words:
        return _matching(connection, sieve, f"{where} AND +m.chat = ?", [*values, chat], most)
    return connection.execute(
        f"{_SELECT} WHERE m.chat = ? AND {where} ORDER BY m.number DESC LIMIT ?", (chat, *values, most)
    ).fetchall()


def _matching(connection: Connection, sieve: Sieve, where: str, values: list[Any], most: int) -> list[Sequence[Any]]:
    match = _match(connection, sieve.words)
    if match is None:
        return []
    if not match:
        return connection.execute(f"{_SELECT} WHERE {where} ORDER BY m.number DESC LIMIT ?", (*values, most)).fetchall()
    # FTS5 gives its rows by number as well, so that the first ones are the newest.
    select = _SELECT.replace("FROM message m", "FROM words w CROSS JOIN message m ON m.number = w.rowid")
    where = where.replace("m.number <", "w.rowid <").replace("m.number >", "w.rowid >")
    return connection.execute(
        f"{select} WHERE w.words MATCH ? AND {where} ORDER BY w.rowid DESC LIMIT ?", (match, *values, most)
    ).fetchall()


def _match(connection: Connection, words: Sequence[Sequence[str]]) -> str | None:
    """The FTS5 expression for lines that may hold one of each of these; None where none does, "" where any may."""
    parts: list[str] = []
    length = 0
    for any_of in dict.fromkeys(words):
        either = [found for text in any_of if (found := _holding(connection, text)) is not None]
        if not either:
            return None
        part = f"({' OR '.join(either)})"
        length += len(part)
        # Whoever searches looks at each candidate once more, so that no part is needed.
        if "" not in either and (not parts or length <= _LONGEST):
            parts.append(part)
    return " AND ".join(parts)


def _holding(connection: Connection, text: str) -> str | None:
    """The expression for lines with a folded text; None where there are none, "" where any may have it."""
    text = _clean(text)
    if not text:
        return ""
    if len(text) >= 3:
        grams = dict.fromkeys(text[at : at + 3] for at in range(len(text) - 2))
        return f"({' AND '.join(map(_quoted, grams))})"
    # A shorter one is the beginning of some trigrams.
    rows = connection.execute(
        "SELECT term FROM temp.terms WHERE term >= ? AND term <= ? LIMIT ?",
        (text, text + "\U0010ffff" * 2, _MOST_TERMS + 1),
    )
    grams = dict.fromkeys(str(row[0]) for row in rows)
    if len(grams) > _MOST_TERMS:
        return ""
    return f"({' OR '.join(map(_quoted, grams))})" if grams else None


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'
