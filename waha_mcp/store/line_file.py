"""A file of lines, rotated by size, to which several processes append without losing or tearing lines.

Each step opens the files again under a lock, so that it never writes to a file that another process has rotated, and so
that rotation works on Windows, where open files cannot be moved.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from waha_mcp.files import open_private
from waha_mcp.store.file_locks import locked

#: Seconds to wait for a process that holds the lock. An append then goes on without it, but does not rotate.
WAIT = 1.0


class LineFile:
    """The file at `path` with at most `kept` older ones (`path.1` is the newest of these), of `most` bytes each.

    All are readable only by the user. Its methods block, and raise OSError if a file cannot be read or written.
    """

    def __init__(self, path: Path, *, most: int, kept: int) -> None:
        self._path, self._most, self._kept = path, most, kept

    def append(self, line: str) -> None:
        """Write one line to the file, whole or not at all."""
        data = line.encode(errors="backslashreplace") + b"\n"
        with self._turn() as alone:
            if alone and (size := self._size()) and size + len(data) > self._most:
                with contextlib.suppress(OSError):  # another program has a file open, or the folder is not ours
                    self._rotate()
            file = open_private(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
            try:
                _append(file, data, alone)
            finally:
                os.close(file)

    def backwards(self) -> Iterator[str]:
        """The lines of all files, the newest first."""
        with contextlib.ExitStack() as stack:
            with self._turn():
                files = [
                    stack.enter_context(path.open(encoding="utf-8", errors="replace", newline="\n"))
                    for path in self._paths()
                ]
            for file in files:
                yield from filter(None, reversed(file.read().split("\n")))

    def rewrite(self, change: Callable[[str], str]) -> int:
        """Replace lines in place by the result of `change`, which must not be longer; return how many changed.

        A shorter line is padded with blanks, so that nothing of the old one remains.

        Raises:
            TimeoutError: another process holds the lock.
        """
        changed = 0
        with self._turn() as alone:
            if not alone:
                raise TimeoutError(errno.ETIMEDOUT, "another process holds its lock", str(self._path))
            for path in self._paths():
                with path.open("r+b") as file:
                    at = 0
                    for old in file.read().split(b"\n"):
                        new = change(old.decode(errors="replace")).encode(errors="backslashreplace")
                        if new.rstrip() != old.rstrip():
                            if len(new) > len(old):
                                raise ValueError("a line cannot become longer")
                            file.seek(at)
                            file.write(new.ljust(len(old)))
                            changed += 1
                        at += len(old) + 1
                    file.flush()
                    os.fsync(file.fileno())
        return changed

    def _turn(self) -> contextlib.AbstractContextManager[bool]:
        return locked(self._path.with_suffix(".lock"), WAIT)

    def _paths(self) -> list[Path]:
        """The existing files, the newest first."""
        return [path for path in (self._path, *map(self._older, range(1, self._kept + 1))) if path.is_file()]

    def _older(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")

    def _size(self) -> int:
        try:
            return self._path.stat().st_size
        except FileNotFoundError:
            return 0

    def _rotate(self) -> None:
        # Oldest first, and stop if one cannot be moved: only the oldest is ever overwritten.
        for number in range(self._kept - 1, 0, -1):
            with contextlib.suppress(FileNotFoundError):
                os.replace(self._older(number), self._older(number + 1))
        os.replace(self._path, self._older(1))


def _append(file: int, data: bytes, alone: bool) -> None:
    size = os.fstat(file).st_size
    if size:
        # A process killed while writing may have left half a line.
        os.lseek(file, size - 1, os.SEEK_SET)
        if os.read(file, 1) != b"\n":
            data = b"\n" + data
    written = os.write(file, data)
    if written < len(data):
        if alone:
            os.ftruncate(file, size)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
