"""The user's folders. Cheap to import: the first answer of a server waits for it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import platformdirs

#: What the names of all that belongs to no single App begin with in `state_root()`, before a dot.
STORE = "store"


def config_dir() -> Path:
    """The folder of App definitions (`<id>.toml` or `<id>.json`). It may not exist yet."""
    return _folder("XDG_CONFIG_HOME", platformdirs.user_config_path)


def definitions() -> list[Path]:
    """The files of the user's App definitions, sorted."""
    return definitions_in(config_dir())


def definitions_in(folder: Path) -> list[Path]:
    """The files of App definitions in a folder, sorted."""
    return sorted(p for p in folder.glob("*.*") if p.suffix in (".toml", ".json") and p.is_file())


def state_root() -> Path:
    """The folder with the store, prepared listings and one state folder per App. It may not exist yet."""
    return _folder("XDG_STATE_HOME", platformdirs.user_state_path)


def _folder(variable: str, default: Callable[[str], Path]) -> Path:
    """The variable counts on every system; platformdirs asks for it on some."""
    chosen = os.environ.get(variable, "").strip()
    return Path(chosen, "waha-mcp") if os.path.isabs(chosen) else default("waha-mcp")
