"""The files that get_media has saved, by chat, so that they can be deleted with what else is kept of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from waha_mcp.store import Store

#: How many saved files the store keeps per App.
MOST_SAVED = 20_000

#: Keys are `<App id>/<path>`, values chat ids.
_TABLE = "saved"


def remember(store: Store, app_id: str, path: str, chat: str) -> None:
    """Store that a file of a chat was saved.

    Raises:
        StoreAway: the store cannot be read or written.
    """
    key = f"{app_id}/{path}"
    while not store.swap(_TABLE, key, store.get(_TABLE, key), chat):
        pass
    store.trim(_TABLE, f"{app_id}/", MOST_SAVED)


def forget(store: Store, prefix: str, has: Callable[[str], bool]) -> tuple[list[str], list[str]]:
    """Delete the files of the chats that `has` accepts; the paths of those deleted, and what went wrong, as texts.

    `prefix`: of the keys in the store. A file that is gone, or a link in its place, is left.

    Raises:
        StoreAway: the store cannot be read or written.
    """
    deleted, problems = [], []
    for row in store.rows(_TABLE, prefix):
        if has(row.value):
            path = Path(row.key.partition("/")[2])
            try:
                if path.is_file() and not path.is_symlink():
                    path.unlink()
                    deleted.append(str(path))
            except OSError as error:
                problems.append(f"{path} cannot be deleted: {error.strerror or error}")
            else:
                store.swap(_TABLE, row.key, row.value, None)
    return deleted, problems
