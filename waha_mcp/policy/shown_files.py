"""Private copies of the files of questions that wait at the console, to show them there and for nothing else.

A call sends the bytes that it has read itself, never a copy. Each copy is a file `<entry id>-<number>` (0600) in the
folder `questions` (0700) of the App's state folder. Its modification time is the expiry of its question, so that any
process can delete what has expired, without the store. Of a store that several machines share, it is a row there, in
base64, so that the console of any machine can show it.
"""

from __future__ import annotations

import base64
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
from waha_mcp.store import Store, StoreAway
from waha_mcp.store.folders import state_dir

logger = logging.getLogger(__name__)

#: Most bytes of the copies of one question, all together; in a shared store, of all questions of one App.
MOST_COPIED = 20_000_000
#: Seconds for which a copy outlives its question, since a new file does not have its expiry yet.
_AFTER = 60.0

_FOLDER = "questions"
#: Keys are `<entry id>-<number>`.
_TABLE = "copy"
#: Held by the thread of this process that sweeps.
_sweeping = threading.Lock()


def keep(
    store: Store,
    app_id: str,
    entry_id: str,
    files: Sequence[File],
    contents: Sequence[bytes],
    expires: float,
    others: int = 0,
) -> tuple[File, ...]:
    """Copy the files of a question, as far as `MOST_COPIED` allows; the files with `copied` set.

    `others`: bytes that are copied for the App's other questions. What cannot be written is logged and counts as not
    copied.
    """
    room, kept, written = MOST_COPIED - (others if store.shared else 0), list[File](), False
    for number, (file, content) in enumerate(zip(files, contents, strict=True)):
        name = f"{entry_id}-{number}"
        copied = len(content) <= room and (
            _put(store, name, content, expires) if store.shared else _write(app_id, name, content, expires)
        )
        room -= len(content) * copied
        written = written or copied
        kept.append(replace(file, copied=copied))
    if written and not store.shared and _sweeping.acquire(blocking=False):
        threading.Thread(target=_sweep_on, args=(_sweeping,), name="copies", daemon=True).start()
    return tuple(kept)


def _put(store: Store, name: str, content: bytes, expires: float) -> bool:
    try:
        return store.swap(_TABLE, name, None, base64.b64encode(content).decode(), expires=expires + _AFTER)
    except StoreAway as error:
        logger.warning("A file cannot be kept to be shown with its question: %s", error)
        return False


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


def read(store: Store, entry_id: str, number: int) -> bytes | None:
    """The copy of one file of a question; None if there is none.

    Raises:
        StoreAway: the copies are in the store, which cannot be read.
    """
    name = f"{entry_id}-{number}"
    if store.shared:
        row = store.get(_TABLE, name)
        return None if row is None else base64.b64decode(row)
    try:
        return next((path.read_bytes() for path in _found(name)), None)
    except OSError:
        return None


def drop(store: Store, entry_id: str) -> None:
    """Delete the copies of a question that is decided or gone. Never raises: they expire by themselves."""
    if store.shared:
        try:
            store.trim(_TABLE, f"{entry_id}-", 0)
        except StoreAway as error:
            logger.warning("A file kept to be shown with a question cannot be deleted: %s", error)
    else:
        _delete(_found(f"{entry_id}-*"))


def sweep(store: Store | None = None) -> int:
    """Delete the copies of all Apps whose questions have expired, and files that a dead process left half written.

    Returns how many files are left. With a shared store, also the rows there.

    Raises:
        StoreAway: the store cannot be written.
    """
    if store is not None and store.shared:
        # A swap deletes the expired rows of its table.
        store.swap(_TABLE, "", None, None)
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
