"""Writing files that nobody sees a part of, in folders that nobody else looks into."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path


def write_atomically(path: Path, text: str, mode: int) -> None:
    """Replace a file in one step. `mode` holds from the first byte on.

    Raises:
        OSError: nothing was changed; it names `path`.
    """
    with _written(path, text.encode(), mode) as temporary:
        os.replace(temporary, path)


def create_atomically(path: Path, data: bytes, mode: int) -> None:
    """Make a new file that holds all of `data`, or none. What is there, a link too, is neither replaced nor followed.

    Raises:
        FileExistsError: there is one of that name.
        OSError: nothing was made; it names `path`.
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
    """A file beside `path` that is on the disk as a whole. It is gone afterwards, moved or deleted."""
    temporary = None
    try:
        make_folder(path.parent)
        # mkstemp makes it readable for the user alone, so that a key is never open for a moment.
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
    """Make a folder and what is missing above it, for the user alone whatever the umask. What is there stays.

    Raises:
        OSError: it cannot be made.
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
    """The same for a folder of our own, which is closed to others, and open to the user, where it is not.

    Raises:
        OSError: it cannot be made.
    """
    make_folder(folder)
    if os.name == "posix":
        found = folder.stat()
        if found.st_uid == os.geteuid() and found.st_mode & 0o777 != 0o700:
            with contextlib.suppress(PermissionError):  # some file systems have no modes
                folder.chmod(0o700)
