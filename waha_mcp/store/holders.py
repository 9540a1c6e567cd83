"""Who has a store open, and who is opening it: locks on single bytes of a file beside the store.

The operating system lets go of them when a process ends, however it does. As with SQLite's own locks, all processes
must see one file system that keeps locks.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

#: The byte that whoever opens, makes, changes or moves the store has locked. The others each stand for a holder.
_OPENING = 0
#: Windows takes offsets of 31 bits.
_LAST = 2**31 - 1
#: Seconds between two tries for a lock.
_AGAIN = 0.01


class Holders:
    """The lock file of one store, as this process has it open.

    The system counts locks by process and drops them all when the process closes the file, whichever of its handles
    that is. So a process opens it once, and knows by itself what it has locked.
    """

    _open: dict[Path, Holders] = {}  # noqa: RUF012 - of the process, as the locks are
    _guard = threading.Lock()

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o600)
        if os.name == "posix":
            os.fchmod(self._file, 0o600)
        self._held: set[int] = set()
        self._in_turn = threading.Lock()

    @classmethod
    def join(cls, path: Path) -> tuple[Holders, str]:
        """Hold a byte of the file from now on: the file's holders, and the name under which `alive` finds this one.

        Raises:
            OSError: the file cannot be opened or locked.
        """
        with cls._guard:
            holders = cls._open.get(path)
            if holders is None:
                holders = cls._open[path] = cls(path)
            for _ in range(100):
                byte = 1 + secrets.randbelow(_LAST)
                if byte not in holders._held and _lock(holders._file, byte):
                    holders._held.add(byte)
                    return holders, str(byte)
            holders._close_if_unused()
            raise OSError("no lock is to be had")

    def leave(self, holder: str) -> None:
        """Hold that byte no more."""
        with self._guard:
            self._held.discard(int(holder))
            _unlock(self._file, int(holder))
            self._close_if_unused()

    def _close_if_unused(self) -> None:
        if not self._held:
            del self._open[self._path]
            os.close(self._file)

    def alive(self, holder: str) -> bool:
        """Whether that byte is held. A name of no known form is of nobody."""
        if not holder.isdecimal() or not 0 < (byte := int(holder)) <= _LAST:
            return False
        with self._guard:
            if byte in self._held:
                return True
            if not _lock(self._file, byte, shared=True):
                return True
            _unlock(self._file, byte)
            return False

    @contextlib.contextmanager
    def opening(self, wait: float) -> Iterator[None]:
        """Hold off everybody else who opens the store.

        Raises:
            TimeoutError: somebody else took longer than `wait` seconds.
        """
        deadline = time.monotonic() + wait
        if not self._in_turn.acquire(timeout=wait):
            raise TimeoutError
        try:
            while not self._try_opening():
                if time.monotonic() > deadline:
                    raise TimeoutError
                time.sleep(_AGAIN)
            try:
                yield
            finally:
                with self._guard:
                    _unlock(self._file, _OPENING)
        finally:
            self._in_turn.release()

    def _try_opening(self) -> bool:
        with self._guard:
            return _lock(self._file, _OPENING)


if sys.platform == "win32":
    import msvcrt

    def _lock(file: int, byte: int, *, shared: bool = False) -> bool:
        """Lock one byte, at or beyond the end; False where another process has."""
        os.lseek(file, byte, os.SEEK_SET)
        try:
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

    def _unlock(file: int, byte: int) -> None:
        os.lseek(file, byte, os.SEEK_SET)
        msvcrt.locking(file, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _lock(file: int, byte: int, *, shared: bool = False) -> bool:
        """Lock one byte, at or beyond the end; False where another process has."""
        try:
            fcntl.lockf(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB, 1, byte)
        except (BlockingIOError, PermissionError):
            return False
        return True

    def _unlock(file: int, byte: int) -> None:
        fcntl.lockf(file, fcntl.LOCK_UN, 1, byte)
