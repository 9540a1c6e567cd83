"""The files that get_media has saved, by chat, so that they can be deleted with the other data kept about it."""

from __future__ import annotations

import platform
from collections.abc import Callable
from pathlib import Path

from waha_mcp.store import Store, put

#: How many saved files the store keeps per App.
MOST_SAVED = 20_000

#: Keys are `<App id>/<path>`, values chat ids; in a shared store each with a blank and the name of the machine.
_TABLE = "saved"


def remember(store: Store, app_id: str, path: str, chat: str) -> None:
    """Store that a file of a chat was saved.

    Raises:
        StoreAway: the store cannot be read or written.
    """
    put(store, _TABLE, f"{app_id}/{path}", f"{chat} {platform.node()}" if store.shared else chat)
    store.trim(_TABLE, f"{app_id}/", MOST_SAVED)


def forget(store: Store, prefix: str, has: Callable[[str], bool]) -> tuple[list[str], list[str]]:
    """Delete the files of the chats that `has` accepts; the paths of those deleted, and what went wrong, as texts.

    `prefix`: of the keys in the store. A file that no longer exists, or a link in its place, is skipped. One on another
    machine is skipped, too, and reported as a problem.

    Raises:
        StoreAway: the store cannot be read or written.
    """
    deleted, problems = [], []
    for row in store.rows(_TABLE, prefix):
        chat, _, machine = row.value.partition(" ")
        if has(chat):
            path = Path(row.key.partition("/")[2])
            if machine not in ("", platform.node()) and not path.exists():
                problems.append(f"{path} is on {machine}: run it there, too")
                continue
            try:
                if path.is_file() and not path.is_symlink():
                    path.unlink()
                    deleted.append(str(path))
            except OSError as error:
                problems.append(f"{path} cannot be deleted: {error.strerror or error}")
            else:
                store.swap(_TABLE, row.key, row.value, None)
    return deleted, problems
