"""A store in one SQLite file, shared by all processes of a user on one machine.

Beside `store.sqlite` are SQLite's `-wal` and `-shm`, and `store.lock` (see `holders`). A damaged file is moved to
`store.sqlite.damaged-<time>`. While that file exists, every step raises StoreAway: the counts are lost, and the user
decides whether effects may start from zero, by deleting it or moving it elsewhere.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from sqlite3 import Connection

from waha_mcp.files import make_private
from waha_mcp.store import KEPT, Count, Full, Row, StoreAway, Taken
from waha_mcp.store.holders import Holders

logger = logging.getLogger(__name__)

#: Timeout in seconds of waiting for other processes.
WAIT = 5.0

#: The statements that migrate each version of the file to the next. Released ones are never changed.
MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE row (
            number INTEGER PRIMARY KEY AUTOINCREMENT,
            tab TEXT NOT NULL,
            key TEXT NOT NULL,
            value TEXT NOT NULL,
            expires REAL,
            UNIQUE (tab, key)
        )""",
        "CREATE INDEX row_expires ON row (expires) WHERE expires IS NOT NULL",
        "CREATE TABLE event (number INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL, at REAL NOT NULL)",
        "CREATE INDEX event_key ON event (key, at)",
        "CREATE INDEX event_at ON event (at)",
    ),
)

#: SQLite's result codes: busy or locked; disk full; malformed or not a database.
_HELD, _DISK_FULL, _DAMAGED = (5, 6), 13, (11, 26)
#: Appended to a prefix: the upper bound of the keys with it.
_END = "\U0010ffff"
_BESIDE = ("-wal", "-shm", "-journal")


class _Damaged(Exception):
    """The file is corrupt or not a store."""


class Sqlite:
    """A Store in a file, opened with the first step. After StoreAway, the next step tries again. `wait`: seconds."""

    def __init__(self, path: Path, *, wait: float = WAIT) -> None:
        self._path, self._wait = path, wait
        self._lock = threading.Lock()
        self._connection: Connection | None = None
        #: Device and inode of the open file.
        self._opened: tuple[int, int] | None = None
        self._holders: Holders | None = None
        self._holder = ""

    # The interface

    @property
    def process(self) -> str:
        with self._step():
            return self._holder

    def alive(self, process: str) -> bool:
        with self._step():
            assert self._holders is not None
            return self._holders.alive(process)

    def now(self) -> float:
        return time.time()

    def get(self, table: str, key: str) -> str | None:
        with self._step() as connection:
            return self._get(connection, table, key)

    def _get(self, connection: Connection, table: str, key: str) -> str | None:
        found = connection.execute(
            "SELECT value FROM row WHERE tab = ? AND key = ? AND (expires IS NULL OR expires > ?)",
            (table, key, self.now()),
        ).fetchone()
        return None if found is None else str(found[0])

    def rows(self, table: str, prefix: str = "") -> list[Row]:
        with self._step() as connection:
            found = connection.execute(
                "SELECT key, value FROM row WHERE tab = ? AND key >= ? AND key < ?"
                " AND (expires IS NULL OR expires > ?) ORDER BY number",
                (table, prefix, prefix + _END, self.now()),
            )
            return [Row(key, value) for key, value in found]

    def swap(
        self, table: str, key: str, before: str | None, after: str | None, *, expires: float | None = None
    ) -> bool:
        with self._step(write=True) as connection:
            connection.execute("DELETE FROM row WHERE expires <= ?", (self.now(),))
            if self._get(connection, table, key) != before:
                return False
            if after is None:
                connection.execute("DELETE FROM row WHERE tab = ? AND key = ?", (table, key))
            else:
                connection.execute(
                    "INSERT INTO row (tab, key, value, expires) VALUES (?, ?, ?, ?)"
                    " ON CONFLICT (tab, key) DO UPDATE SET value = excluded.value, expires = excluded.expires",
                    (table, key, after, expires),
                )
            return True

    def claim(self, table: str, wanted: Mapping[str, str]) -> dict[str, str]:
        with self._step(write=True) as connection:
            connection.execute("DELETE FROM row WHERE expires <= ?", (self.now(),))
            connection.executemany(
                "INSERT INTO row (tab, key, value) VALUES (?, ?, ?) ON CONFLICT (tab, key) DO NOTHING",
                [(table, key, value) for key, value in wanted.items()],
            )
            found = ((key, self._get(connection, table, key)) for key in wanted)
            return {key: value for key, value in found if value is not None}

    def trim(self, table: str, prefix: str, most: int) -> None:
        of = (table, prefix, prefix + _END)
        with self._step(write=True) as connection:
            [count] = connection.execute(
                "SELECT count(*) FROM row WHERE tab = ? AND key >= ? AND key < ?", of
            ).fetchone()
            if count > most:
                connection.execute(
                    "DELETE FROM row WHERE number IN"
                    " (SELECT number FROM row WHERE tab = ? AND key >= ? AND key < ? ORDER BY number LIMIT ?)",
                    (*of, count - (most - most // 10)),
                )

    def take(self, counts: Iterable[Count]) -> Taken:
        with self._step(write=True) as connection:
            return self._take(connection, counts)

    def check(self, counts: Iterable[Count]) -> None:
        with contextlib.suppress(_Undone), self._step(write=True) as connection:
            self._take(connection, counts)
            raise _Undone

    def _take(self, connection: Connection, counts: Iterable[Count]) -> list[int]:
        now = self.now()
        taken: list[int] = []
        connection.execute("DELETE FROM event WHERE at <= ?", (now - KEPT,))
        # Events in the future (the clock was set back) count as of now.
        connection.execute("UPDATE event SET at = ? WHERE at > ?", (now, now))
        for each in counts:
            for limit in each.limits:
                standing = connection.execute(
                    "SELECT at FROM event WHERE key = ? AND at > ? ORDER BY at DESC LIMIT 1 OFFSET ?",
                    (each.key, now - limit.window, limit.amount - 1),
                ).fetchone()
                if standing is not None:
                    raise Full(each, limit, standing[0] + limit.window - now)
            cursor = connection.execute("INSERT INTO event (key, at) VALUES (?, ?)", (each.key, now))
            assert cursor.lastrowid is not None
            taken.append(cursor.lastrowid)
        return taken

    def give_back(self, taken: Taken) -> None:
        with self._step(write=True) as connection:
            connection.executemany("DELETE FROM event WHERE number = ?", [(number,) for number in taken])

    def flush(self) -> None:
        with self._step() as connection:
            connection.execute("COMMIT")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            connection.execute("BEGIN")

    def close(self) -> None:
        with self._lock:
            self._close_file()
            holders, self._holders = self._holders, None
            if holders is not None:
                holders.leave(self._holder)

    # Steps

    @contextlib.contextmanager
    def _step(self, *, write: bool = False) -> Iterator[Connection]:
        """One transaction, rolled back if the block raises. SQLite and file errors become StoreAway."""
        with self._turn():
            try:
                connection = self._open()
                try:
                    connection.execute("BEGIN IMMEDIATE" if write else "BEGIN")
                    self._check_version(connection)
                    yield connection
                    connection.execute("COMMIT")
                finally:
                    if connection.in_transaction:
                        connection.execute("ROLLBACK")
            except sqlite3.Error as error:
                if _code(error) in _DAMAGED:
                    raise self._given_up(str(error)) from None
                raise self._away(_why(error, self._wait)) from None
            except OSError as error:
                raise self._away(error.strerror or str(error)) from None

    @contextlib.contextmanager
    def _turn(self) -> Iterator[None]:
        """Hold off the other threads. Whoever stands behind many that wait for a held file does not wait for each."""
        if not self._lock.acquire(timeout=self._wait):
            raise self._away(f"another process has held it for more than {self._wait:.0f} s")
        try:
            yield
        finally:
            self._lock.release()

    def _check_version(self, connection: Connection) -> None:
        [version] = connection.execute("PRAGMA user_version").fetchone()
        if version > len(MIGRATIONS):
            raise self._away(
                f"a newer version of waha-mcp made it (version {version} of the file; this one knows "
                f"{len(MIGRATIONS)}). Update waha-mcp"
            )

    def _away(self, why: str) -> StoreAway:
        return StoreAway(f"The store {self._path} cannot be used: {why}.")

    # Opening

    def _open(self) -> Connection:
        """The connection to the current file, reopened if the user or another process has replaced it."""
        if self._connection is not None and _identity(self._path) == self._opened:
            return self._connection
        self._close_file()
        make_private(self._path.parent)
        if self._holders is None:
            self._holders, self._holder = Holders.join(self._path.with_suffix(".lock"))
        with self._opening(self._holders):
            self._refuse_damaged()
            if self._path.is_symlink() or (self._path.exists() and not self._path.is_file()):
                raise self._away("it is a link or no file, and is not followed. Move it away")
            if not self._path.exists():
                self._make()
            self._make_private()
            try:
                self._connection = self._connect()
            except _Damaged as error:
                raise self._move_aside(str(error)) from None
            self._opened = _identity(self._path)
        return self._connection

    @contextlib.contextmanager
    def _opening(self, holders: Holders) -> Iterator[None]:
        try:
            with holders.opening(self._wait):
                yield
        except TimeoutError:
            raise self._away(f"another process has been opening it for more than {self._wait:.0f} s") from None

    def _make(self) -> None:
        """Create a complete new file and rename it into place, since an empty file counts as damaged."""
        descriptor, name = tempfile.mkstemp(dir=self._path.parent, prefix=f".{self._path.name}.")
        os.close(descriptor)
        new = Path(name)
        try:
            connection = sqlite3.connect(new, isolation_level=None)
            try:
                connection.execute("PRAGMA journal_mode = WAL")
                _migrate(connection, 0)
            finally:
                connection.close()
            # A write-ahead log left by an earlier file would be applied to the new one.
            for each in _BESIDE:
                _beside(self._path, each).unlink(missing_ok=True)
            new.replace(self._path)
        finally:
            for each in ("", *_BESIDE):
                _beside(new, each).unlink(missing_ok=True)

    def _make_private(self) -> None:
        if os.name == "posix":
            for each in ("", *_BESIDE):
                with contextlib.suppress(FileNotFoundError, PermissionError):  # some file systems have no modes
                    _beside(self._path, each).chmod(0o600)

    def _connect(self) -> Connection:
        """A connection to the file, checked and migrated to the current version.

        Raises:
            _Damaged: the file is corrupt or not a store.
            StoreAway: a newer version has written it.
        """
        connection = sqlite3.connect(self._path, timeout=self._wait, isolation_level=None, check_same_thread=False)
        try:
            # A commit outlives the process, however it ends; a power cut may take the last ones. What is kept holds for
            # seconds to a day, which is no reason to wait for the disk several times per effect.
            connection.execute("PRAGMA synchronous = NORMAL")
            # What is deleted is overwritten: `waha-mcp forget` counts on it.
            connection.execute("PRAGMA secure_delete = ON")
            [version] = connection.execute("PRAGMA user_version").fetchone()
            [found] = connection.execute("PRAGMA quick_check(1)").fetchone()
            if version < 1 or found != "ok":
                raise _Damaged("it has no version" if version < 1 else str(found).replace("\n", " "))
            self._check_version(connection)
            _migrate(connection, version)
        except BaseException as error:
            connection.close()
            if isinstance(error, sqlite3.Error) and _code(error) in _DAMAGED:
                raise _Damaged(str(error)) from None
            raise
        return connection

    def _close_file(self) -> None:
        connection, self._connection, self._opened = self._connection, None, None
        if connection is not None:
            connection.close()

    # Damage

    def _refuse_damaged(self) -> None:
        aside = sorted(self._path.parent.glob(f"{self._path.name}.damaged-*"))
        if aside:
            raise self._lost(aside[0])

    def _lost(self, aside: Path) -> StoreAway:
        return self._away(
            f"it was damaged and lies in {aside} now. Delete that file or move it to another folder, and what was sent "
            "lately, who was written to before, which questions are open and what is paused starts from zero"
        )

    def _given_up(self, why: str) -> StoreAway:
        """Move the open file aside, because it is damaged, unless another process has replaced it already."""
        damaged = self._opened
        self._close_file()
        assert self._holders is not None
        with self._opening(self._holders):
            self._refuse_damaged()
            if damaged is None or _identity(self._path) != damaged:
                return self._away(why)
            return self._move_aside(why)

    def _move_aside(self, why: str) -> StoreAway:
        aside = _beside(self._path, time.strftime(".damaged-%Y%m%dT%H%M%SZ", time.gmtime()))
        try:
            # The main file first: from then on every process sees the store as damaged.
            for each in ("", *_BESIDE):
                with contextlib.suppress(FileNotFoundError):
                    _beside(self._path, each).replace(_beside(aside, each))
        except OSError as error:
            return self._away(
                f"it is damaged ({why}) and cannot be moved aside ({error.strerror}). End all waha-mcp processes and "
                "move it away"
            )
        logger.error("The store %s is damaged (%s) and was moved to %s", self._path, why, aside)
        return self._lost(aside)


class _Undone(Exception):
    """Raised to roll back a transaction that only checks."""


def _migrate(connection: Connection, version: int) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        for number, statements in enumerate(MIGRATIONS[version:], version + 1):
            for statement in statements:
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {number}")
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.lstat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _code(error: Exception) -> int:
    """SQLite's primary result code; 0 for an error of the Python module itself."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def _why(error: Exception, wait: float) -> str:
    code = _code(error)
    if code in _HELD:
        return f"another process has held it for more than {wait:.0f} s"
    return "the disk is full" if code == _DISK_FULL else str(error)
