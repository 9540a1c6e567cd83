"""Private copies of the files of questions that wait at the console, to show them there and for nothing else.

A call sends the bytes that it has read itself, never a copy. Each copy is a file `<entry id>-<number>` (0600) in the
folder `questions` (0700) of the App's state folder. Its modification time is the expiry of its question, so that any
process can delete what has expired, without the store.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from waha_mcp.files import create_atomically, make_private
from waha_mcp.places import state_root
from waha_mcp.policy.question import File
from waha_mcp.store.folders import state_dir

logger = logging.getLogger(__name__)

#: Most bytes of the copies of one question, all together.
MOST_COPIED = 20_000_000
#: Seconds for which a copy outlives its question, since a new file does not have its expiry yet.
_AFTER = 60.0

_FOLDER = "questions"
#: Held by the thread of this process that sweeps.
_sweeping = threading.Lock()


def keep(
    app_id: str, entry_id: str, files: Sequence[File], contents: Sequence[bytes], expires: float
) -> tuple[File, ...]:
    """Copy the files of a question, as far as `MOST_COPIED` allows; the files with `copied` set.

    What cannot be written is logged and counts as not copied.
    """
    room, kept = MOST_COPIED, list[File]()
    for number, (file, content) in enumerate(zip(files, contents, strict=True)):
        copied = len(content) <= room and _write(app_id, f"{entry_id}-{number}", content, expires)
        room -= len(content) * copied
        kept.append(replace(file, copied=copied))
    if room < MOST_COPIED and _sweeping.acquire(blocking=False):
        threading.Thread(target=_sweep_on, args=(_sweeping,), name="copies", daemon=True).start()
    return tuple(kept)


def _write(app_id: str, name: str, content: bytes, expires: float) -> bool:
    try:
        folder = state_dir(app_id) / _FOLDER
        make_private(folder)
        create_atomically(folder / name, content, 0o600)
        os.utime(folder / name, (expires, expires))
    except OSError as error:
        logger.warning("A file cannot be kept to be shown with its question: %s", error.strerror or "unknown reason")
        _delete(_found(name))
        return False
    return True


def read(entry_id: str, number: int) -> bytes | None:
    """The copy of one file of a question; None if there is none."""
    try:
        return next((path.read_bytes() for path in _found(f"{entry_id}-{number}")), None)
    except OSError:
        return None


def drop(entry_id: str) -> None:
    """Delete the copies of a question, which is decided or gone."""
    _delete(_found(f"{entry_id}-*"))


def sweep() -> int:
    """Delete the copies of all Apps whose questions have expired, and what a process that died left half written.

    Returns how many are left.
    """
    before, left = time.time() - _AFTER, 0
    for path in list(_found("*")):
        with contextlib.suppress(FileNotFoundError):
            if path.lstat().st_mtime < before:
                _delete([path])
            else:
                left += 1
    return left


def _sweep_on(held: threading.Lock) -> None:
    """Sweep from time to time, until nothing is left, and release the lock."""
    try:
        while sweep():
            time.sleep(_AFTER)
    finally:
        held.release()


def _found(name: str) -> Iterator[Path]:
    return state_root().glob(f"*/{_FOLDER}/{name}")


def _delete(paths: Iterable[Path]) -> None:
    for path in paths:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            logger.warning("A file kept to be shown with a question cannot be deleted: %s", error.strerror)
