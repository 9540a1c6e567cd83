"""The state folders, which only the user can read, and the store in them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from waha_mcp.files import make_private
from waha_mcp.places import STORE, state_root

if TYPE_CHECKING:
    from waha_mcp.store.sqlite import Sqlite


def state_dir(app_id: str) -> Path:
    """The App's state folder, created if missing, mode 0700.

    It is named as the App, unless what all Apps share needs the name.

    Raises:
        OSError: it cannot be created.
    """
    make_private(state_root())
    # No id holds this character. Some file systems do not tell letters by their case.
    folder = state_root() / (f"~{app_id}" if app_id.casefold().startswith(f"{STORE}.") else app_id)
    make_private(folder)
    return folder


def app_ids() -> list[str]:
    """The Apps that have a state folder, sorted."""
    root = state_root()
    found = root.iterdir() if root.is_dir() else ()
    return sorted(
        path.name.removeprefix("~")
        for path in found
        if path.is_dir() and not path.name.casefold().startswith(f"{STORE}.")
    )


def user_store() -> Sqlite:
    """The store that all Apps and processes of the user share. The file is opened with the first step."""
    from waha_mcp.store.sqlite import Sqlite

    return Sqlite(state_root() / f"{STORE}.sqlite")
