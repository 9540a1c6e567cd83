"""The state folders, which only the user can read, and the store in them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs

from waha_mcp.files import make_private

if TYPE_CHECKING:
    from waha_mcp.store.sqlite import Sqlite


#: What the names of the store's file, of its lock and of all that SQLite puts beside them begin with, before a dot.
_STORE = "store"


def state_root() -> Path:
    """The folder with the store and one state folder per App. It may not exist yet."""
    return platformdirs.user_state_path("waha-mcp")


def state_dir(app_id: str) -> Path:
    """The App's state folder, created if missing, mode 0700.

    It is named as the App, unless the store that all Apps share needs the name for a file of its own.

    Raises:
        OSError: it cannot be created.
    """
    make_private(state_root())
    # No id holds this character. Some file systems do not tell letters by their case.
    folder = state_root() / (f"~{app_id}" if app_id.casefold().startswith(f"{_STORE}.") else app_id)
    make_private(folder)
    return folder


def app_ids() -> list[str]:
    """The Apps that have a state folder, sorted."""
    root = state_root()
    return sorted(path.name.removeprefix("~") for path in root.iterdir() if path.is_dir()) if root.is_dir() else []


def user_store() -> Sqlite:
    """The store that all Apps and processes of the user share. The file is opened with the first step."""
    from waha_mcp.store.sqlite import Sqlite

    return Sqlite(state_root() / f"{_STORE}.sqlite")
