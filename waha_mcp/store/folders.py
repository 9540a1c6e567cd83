"""The state folders, which only the user can read, and the store in them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs

from waha_mcp.files import make_private

if TYPE_CHECKING:
    from waha_mcp.store.sqlite import Sqlite


def state_root() -> Path:
    """The folder with the store and one state folder per App. It may not exist yet."""
    return platformdirs.user_state_path("waha-mcp")


def state_dir(app_id: str) -> Path:
    """The App's state folder, created if missing, mode 0700.

    Raises:
        OSError: it cannot be created.
    """
    make_private(state_root())
    folder = state_root() / app_id
    make_private(folder)
    return folder


def user_store() -> Sqlite:
    """The store that all Apps and processes of the user share. The file is opened with the first step."""
    from waha_mcp.store.sqlite import Sqlite

    return Sqlite(state_root() / "store.sqlite")
