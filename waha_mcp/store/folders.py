"""Where a policy keeps what outlives a call: folders that only the user can look into."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs

from waha_mcp.files import make_private

if TYPE_CHECKING:
    from waha_mcp.store.sqlite import Sqlite


def state_root() -> Path:
    """The folder that holds one folder of state per App. It may not be there yet."""
    return platformdirs.user_state_path("waha-mcp")


def state_dir(app_id: str) -> Path:
    """The App's folder of state, made if it is missing and closed to others.

    Raises:
        OSError: it cannot be made.
    """
    make_private(state_root())
    folder = state_root() / app_id
    make_private(folder)
    return folder


def user_store() -> Sqlite:
    """The store that all Apps and processes of the user share. Its file is opened with the first step."""
    from waha_mcp.store.sqlite import Sqlite

    return Sqlite(state_root() / "store.sqlite")
