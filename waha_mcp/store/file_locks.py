"""Locks on files between processes; the operating system releases them when a process ends in any way."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from waha_mcp.files import NO_LINK, open_private

#: Seconds between two attempts to lock a file.
_AGAIN = 0.001


@contextlib.contextmanager
def locked(path: Path, wait: float) -> Iterator[bool]:
    """Hold an exclusive lock on a file, which is created if missing, among threads and processes.

    Yields False if another holder kept it for longer than `wait` seconds. True also where the file system has no locks.

    Raises:
        OSError: the file cannot be opened.
    """
    file = open_private(path, os.O_RDWR | os.O_CREAT | NO_LINK)
    try:
        deadline = time.monotonic() + wait
        while not (held := _lock_all(file)) and time.monotonic() < deadline:
            time.sleep(_AGAIN)
        try:
            yield held
        finally:
            if held:
                _unlock_all(file)
    finally:
        os.close(file)


if sys.platform == "win32":
    import msvcrt

    def lock_byte(file: int, byte: int, *, shared: bool = False) -> bool:
        """Lock one byte, at or beyond the end; False where another process has."""
        os.lseek(file, byte, os.SEEK_SET)
        try:
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

    def unlock_byte(file: int, byte: int) -> None:
        """Release a byte that this process locked."""
        os.lseek(file, byte, os.SEEK_SET)
        msvcrt.locking(file, msvcrt.LK_UNLCK, 1)

    def _lock_all(file: int) -> bool:
        return lock_byte(file, 0)

    def _unlock_all(file: int) -> None:
        unlock_byte(file, 0)

else:
    import fcntl

    def lock_byte(file: int, byte: int, *, shared: bool = False) -> bool:
        """Lock one byte, at or beyond the end; False where another process has."""
        try:
            fcntl.lockf(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB, 1, byte)
        except (BlockingIOError, PermissionError):
            return False
        return True

    def unlock_byte(file: int, byte: int) -> None:
        """Release a byte that this process locked."""
        fcntl.lockf(file, fcntl.LOCK_UN, 1, byte)

    def _lock_all(file: int) -> bool:
        # Unlike the locks of `lockf`, these belong to the open file and not to the process: threads exclude each other.
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            pass  # a file system without locks
        return True

    def _unlock_all(file: int) -> None:
        with contextlib.suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_UN)
