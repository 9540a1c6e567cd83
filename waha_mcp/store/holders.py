"""Records which processes have a store open: byte-range locks on a lock file beside the store.

The operating system releases them when a process ends in any way. As with SQLite's own locks, all processes must share
a file system that supports locks.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from waha_mcp.files import NO_LINK, open_private
from waha_mcp.store.file_locks import lock_byte, unlock_byte

#: The byte locked while a process opens, creates, migrates or moves the store. Each other byte stands for a holder.
_OPENING = 0
#: The highest byte: Windows takes offsets of 31 bits.
_LAST = 2**31 - 1
#: Seconds between two attempts to lock.
_AGAIN = 0.01


class Holders:
    """The lock file of one store, open once per process.

    POSIX locks belong to the process, and closing any handle of the file releases all of them. So each process opens
    it once and tracks its own locks.
    """

    _open: dict[Path, Holders] = {}  # noqa: RUF012 - of the process, as the locks are
    _guard = threading.Lock()

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = open_private(path, os.O_RDWR | os.O_CREAT | NO_LINK)
        self._held: set[int] = set()
        self._in_turn = threading.Lock()

    @classmethod
    def join(cls, path: Path) -> tuple[Holders, str]:
        """Lock a free byte; the open lock file, and the holder's name for `alive`.

        Raises:
            OSError: the file cannot be opened or locked.
        """
        with cls._guard:
            holders = cls._open.get(path)
            if holders is None:
                holders = cls._open[path] = cls(path)
            for _ in range(100):
                byte = 1 + secrets.randbelow(_LAST)
                if byte not in holders._held and lock_byte(holders._file, byte):
                    holders._held.add(byte)
                    return holders, str(byte)
            holders._close_if_unused()
            raise OSError("no byte could be locked")

    def leave(self, holder: str) -> None:
        """Release the holder's byte; closes the file after the last one."""
        with self._guard:
            self._held.discard(int(holder))
            unlock_byte(self._file, int(holder))
            self._close_if_unused()

    def _close_if_unused(self) -> None:
        if not self._held:
            del self._open[self._path]
            os.close(self._file)

    def alive(self, holder: str) -> bool:
        """Whether the holder's byte is locked, by any process. False for a malformed name."""
        if not holder.isdecimal() or not 0 < (byte := int(holder)) <= _LAST:
            return False
        with self._guard:
            if byte in self._held:
                return True
            if not lock_byte(self._file, byte, shared=True):
                return True
            unlock_byte(self._file, byte)
            return False

    @contextlib.contextmanager
    def opening(self, wait: float) -> Iterator[None]:
        """Exclusive lock for opening the store, among threads and processes.

        Raises:
            TimeoutError: another holder kept it for longer than `wait` seconds.
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
                    unlock_byte(self._file, _OPENING)
        finally:
            self._in_turn.release()

    def _try_opening(self) -> bool:
        with self._guard:
            return lock_byte(self._file, _OPENING)
