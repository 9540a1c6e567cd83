"""Atomic file writes, private files (0600) and folders (0700)."""

from __future__ import annotations

import contextlib
import os
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

if sys.platform == "win32":
    _BINARY = os.O_BINARY
    #: A flag of `os.open`: a link is refused. Windows has none; who may make links there is an administrator.
    NO_LINK = 0
else:
    _BINARY = 0
    NO_LINK = os.O_NOFOLLOW


def write_atomically(path: Path, text: str, mode: int) -> None:
    """Replace a file atomically. `mode` (permission bits) applies before the file appears under its name.

    Raises:
        OSError: nothing was changed; its filename is `path`.
    """
    with _written(path, text.encode(), mode) as temporary:
        os.replace(temporary, path)


def create_atomically(path: Path, data: bytes, mode: int) -> None:
    """Create a new file with all of `data`, or none at all. An existing file or link is neither replaced nor followed.

    Raises:
        FileExistsError: `path` exists.
        OSError: nothing was created; its filename is `path`.
    """
    with _written(path, data, mode) as temporary:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode))
        try:
            os.replace(temporary, path)
        except BaseException:
            path.unlink(missing_ok=True)
            raise


@contextlib.contextmanager
def _written(path: Path, data: bytes, mode: int) -> Iterator[str]:
    """Write `data` to a temporary file in the folder of `path`, synced to disk; delete it on exit unless moved."""
    temporary = None
    try:
        make_folder(path.parent)
        # mkstemp creates it with mode 0600, so that a key is never readable by others.
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:40]}.")
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, mode)
        yield temporary
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)


def make_folder(folder: Path) -> None:
    """Create a folder and its missing parents with mode 0700, whatever the umask. Existing folders keep their mode.

    Raises:
        OSError: it cannot be created.
    """
    if folder.is_dir():
        return
    make_folder(folder.parent)
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        if not folder.is_dir():
            raise
    else:
        folder.chmod(0o700)


def make_private(folder: Path) -> None:
    """Like `make_folder`, and on POSIX set an existing folder of this user to mode 0700.

    Raises:
        OSError: it cannot be created, or its mode cannot be set (other than for lack of permission).
    """
    make_folder(folder)
    if sys.platform != "win32":
        found = folder.stat()
        if found.st_uid == os.geteuid() and found.st_mode & 0o777 != 0o700:
            with contextlib.suppress(PermissionError):  # some file systems have no modes
                folder.chmod(0o700)


def open_private(path: Path, flags: int) -> int:
    """Open a file for `os.read` and `os.write`; a regular one gets mode 0600, whatever the umask or others made of it.

    Raises:
        OSError: it cannot be opened.
    """
    file = os.open(path, flags | _BINARY, 0o600)
    if sys.platform != "win32":
        found = os.fstat(file).st_mode
        if stat.S_ISREG(found) and found & 0o777 != 0o600:
            with contextlib.suppress(PermissionError):  # some file systems have no modes
                os.fchmod(file, 0o600)
    return file


def read_by_others(path: Path) -> bool:
    """Whether other users of this machine may read or write a file; not known off POSIX, where files are the user's.

    Raises:
        OSError: it cannot be looked at.
    """
    return sys.platform != "win32" and bool(path.stat().st_mode & 0o077)


def stamp_of(path: Path) -> object:
    """What is another one once a file was written or replaced. None: it cannot be looked at."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
