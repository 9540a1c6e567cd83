"""A SQLite file shared by several processes of a user: opening, migrations, file modes, and damaged files.

Beside the file are SQLite's `-wal` and `-shm`, and a lock file (see `holders`). A damaged file is moved aside, to
`<name>.damaged-<time>`.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import sqlite3
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from sqlite3 import Connection
from typing import ClassVar

from waha_mcp.files import make_private
from waha_mcp.store import StoreAway
from waha_mcp.store.holders import Holders

logger = logging.getLogger(__name__)

#: Timeout in seconds of waiting for other processes.
WAIT = 5.0

#: SQLite's result codes: busy or locked; disk full; malformed or not a database.
_HELD, _DISK_FULL, _DAMAGED = (5, 6), 13, (11, 26)
#: What SQLite keeps beside a file.
BESIDE = ("-wal", "-shm", "-journal")


class Damaged(Exception):
    """The file is corrupt, or not one of ours."""


class Database:
    """A file that the first step opens. After StoreAway, the next step tries again. Threads take turns."""

    #: The statements that migrate each version of the file to the next. Never change released ones.
    MIGRATIONS: ClassVar[Sequence[Sequence[str]]]
    #: What the file is called in errors.
    WHAT: ClassVar[str]

    def __init__(self, path: Path, *, wait: float = WAIT) -> None:
        """`wait`: seconds to wait for other processes."""
        self.path, self._wait = path, wait
        self._lock = threading.Lock()
        self._connection: Connection | None = None
        #: Device and inode of the open file.
        self._opened: tuple[int, int] | None = None
        self._holders: Holders | None = None
        #: The id of this open file; empty before it is opened.
        self.holder = ""
        self._retired = False

    @property
    def process(self) -> str:
        """The id of this open file, for `alive`."""
        with self.step():
            return self.holder

    def alive(self, process: str) -> bool:
        """Whether the file opened under this id is still open in its process."""
        with self.step():
            return self.is_held(process)

    def is_held(self, process: str) -> bool:
        """As `alive`, within a step."""
        assert self._holders is not None
        return self._holders.alive(process)

    def flush(self) -> None:
        """Sync all writes to disk, so that deleted rows leave no trace; skipped while another process writes."""
        with self.step() as connection:
            connection.execute("COMMIT")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            connection.execute("BEGIN")

    def vacuum(self) -> None:
        """Rewrite the file without free space. Meanwhile it takes twice the space, and nobody else can write.

        Raises:
            StoreAway: the file is unchanged.
        """
        with self.step() as connection:
            connection.execute("COMMIT")
            connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            connection.execute("BEGIN")

    def close(self, *, for_good: bool = False) -> None:
        """Close the file. The next step opens it again, under another id; `for_good`: it raises StoreAway."""
        with self._lock:
            self._retired |= for_good
            self._close_file()
            holders, self._holders = self._holders, None
            if holders is not None:
                holders.leave(self.holder)

    def delete(self) -> None:
        """Close and delete the file. Other processes create a new one with their next step.

        Raises:
            OSError: it cannot be deleted.
        """
        self.close()
        if not self.path.parent.is_dir():
            return
        holders, holder = Holders.join(self.path.with_suffix(".lock"))
        try:
            # Under the lock: nobody may create a new file before the side files of this one are gone.
            with holders.opening(self._wait):
                for each in ("", *BESIDE):
                    _beside(self.path, each).unlink(missing_ok=True)
        except TimeoutError:
            raise TimeoutError(errno.ETIMEDOUT, "another process is opening it", str(self.path)) from None
        finally:
            holders.leave(holder)

    # Steps

    @contextlib.contextmanager
    def step(self, *, write: bool = False) -> Iterator[Connection]:
        """One transaction, rolled back if the block raises. SQLite and file errors become StoreAway.

        Where the block raises Damaged, the file is moved aside.
        """
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
            except Damaged as error:
                raise self._given_up(str(error)) from None
            except OSError as error:
                raise self._away(error.strerror or str(error)) from None

    @contextlib.contextmanager
    def _turn(self) -> Iterator[None]:
        """Exclude other threads. Threads queued behind a locked file share one timeout rather than adding theirs up."""
        if not self._lock.acquire(timeout=self._wait):
            raise self._away(f"another process has held it for more than {self._wait:.0f} s")
        try:
            yield
        finally:
            self._lock.release()

    def _check_version(self, connection: Connection) -> None:
        [version] = connection.execute("PRAGMA user_version").fetchone()
        if version > len(self.MIGRATIONS):
            raise self._away(
                f"a newer version of waha-mcp made it (version {version} of the file; this one knows "
                f"{len(self.MIGRATIONS)}). Update waha-mcp"
            )

    def _away(self, why: str) -> StoreAway:
        return StoreAway(f"The {self.WHAT} {self.path} cannot be used: {why}.")

    # Opening

    def _open(self) -> Connection:
        """The connection to the current file, reopened if the user or another process has replaced it."""
        if self._connection is not None and _identity(self.path) == self._opened:
            return self._connection
        # Checked in turn: a step that waited meanwhile would create the file again.
        if self._retired:
            raise self._away("it was deleted")
        self._close_file()
        make_private(self.path.parent)
        if self._holders is None:
            self._holders, self.holder = Holders.join(self.path.with_suffix(".lock"))
        with self._opening(self._holders):
            self._refuse_damaged()
            if self.path.is_symlink() or (self.path.exists() and not self.path.is_file()):
                raise self._away("it is a link or no file, and is not followed. Move it away")
            if not self.path.exists():
                self._make()
            self._make_private()
            try:
                self._connection = self._connect()
            except Damaged as error:
                raise self._move_aside(str(error)) from None
            self._opened = _identity(self.path)
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
        descriptor, name = tempfile.mkstemp(dir=self.path.parent, prefix=f".{self.path.name}.")
        os.close(descriptor)
        new = Path(name)
        try:
            connection = sqlite3.connect(new, isolation_level=None)
            try:
                connection.execute("PRAGMA journal_mode = WAL")
                self._set_up(connection)
                self._migrate(connection, 0)
            finally:
                connection.close()
            # A write-ahead log left by an earlier file would be applied to the new one.
            for each in BESIDE:
                _beside(self.path, each).unlink(missing_ok=True)
            new.replace(self.path)
        finally:
            for each in ("", *BESIDE):
                _beside(new, each).unlink(missing_ok=True)

    def _make_private(self) -> None:
        if sys.platform != "win32":
            for each in ("", *BESIDE):
                with contextlib.suppress(FileNotFoundError, PermissionError):  # some file systems have no modes
                    _beside(self.path, each).chmod(0o600)

    def _connect(self) -> Connection:
        """A connection to the file, checked and migrated to the current version.

        Raises:
            Damaged: the file is corrupt or not a store.
            StoreAway: a newer version has written it.
        """
        connection = sqlite3.connect(self.path, timeout=self._wait, isolation_level=None, check_same_thread=False)
        try:
            self._set_up(connection)
            [version] = connection.execute("PRAGMA user_version").fetchone()
            if version < 1:
                raise Damaged("it has no version")
            self._check(connection)
            self._check_version(connection)
            self._migrate(connection, version)
        except BaseException as error:
            connection.close()
            # SQLite's message about the damage may quote stored bytes.
            if isinstance(error, UnicodeDecodeError) or (isinstance(error, sqlite3.Error) and _code(error) in _DAMAGED):
                raise Damaged(str(error)) from None
            raise
        return connection

    def _close_file(self) -> None:
        connection, self._connection, self._opened = self._connection, None, None
        if connection is not None:
            connection.close()

    def _set_up(self, connection: Connection) -> None:
        """Prepare a new connection."""
        # A commit survives any end of the process; a power cut may lose the last ones.
        connection.execute("PRAGMA synchronous = NORMAL")
        # Deleted content is overwritten: `waha-mcp forget` relies on it.
        connection.execute("PRAGMA secure_delete = ON")

    def _check(self, connection: Connection) -> None:
        """Check for damage on opening.

        Raises:
            Damaged: it is corrupt.
        """

    def _migrate(self, connection: Connection, version: int) -> None:
        if version >= len(self.MIGRATIONS):
            return  # without waiting for writers
        connection.execute("BEGIN IMMEDIATE")
        try:
            for number, statements in enumerate(self.MIGRATIONS[version:], version + 1):
                for statement in statements:
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {number}")
            connection.execute("COMMIT")
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")

    # Damage

    def damaged(self) -> list[Path]:
        """The damaged files that were moved aside."""
        return sorted(self.path.parent.glob(f"{self.path.name}.damaged-*"))

    def _refuse_damaged(self) -> None:
        """Decide whether a new file may replace a damaged one; by default it may.

        Raises:
            StoreAway: it may not.
        """

    def _lost(self, aside: Path) -> StoreAway:
        return self._away(f"it was damaged and was moved to {aside}; a new one is made")

    def _given_up(self, why: str) -> StoreAway:
        """Move the damaged open file aside, unless another process has replaced it already."""
        damaged = self._opened
        self._close_file()
        assert self._holders is not None
        with self._opening(self._holders):
            self._refuse_damaged()
            if damaged is None or _identity(self.path) != damaged:
                return self._away(why)
            return self._move_aside(why)

    def _move_aside(self, why: str) -> StoreAway:
        aside = _beside(self.path, time.strftime(".damaged-%Y%m%dT%H%M%SZ", time.gmtime()))
        try:
            # The main file first: from then on every process sees the store as damaged.
            for each in ("", *BESIDE):
                with contextlib.suppress(FileNotFoundError):
                    _beside(self.path, each).replace(_beside(aside, each))
        except OSError as error:
            return self._away(
                f"it is damaged ({why}) and cannot be moved aside ({error.strerror}). End all waha-mcp processes and "
                "move it away"
            )
        logger.error("The %s %s is damaged (%s) and was moved to %s", self.WHAT, self.path, why, aside)
        return self._lost(aside)


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
