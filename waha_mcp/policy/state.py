"""Where a policy keeps what outlives a call: folders and files that only the user can read."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs


def state_dir(app_id: str) -> Path:
    """The App's folder of state, made if it is missing and closed to others.

    Raises:
        OSError: it cannot be made.
    """
    folder = platformdirs.user_state_path("waha-mcp") / app_id
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


def write_private(path: Path, text: str) -> None:
    """Write a file whole or not at all, readable only by the user.

    Raises:
        OSError: it cannot be written.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(draft, path)
