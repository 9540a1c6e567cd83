"""The user's folders. Cheap to import: the first answer of a server waits for it."""

from __future__ import annotations

from pathlib import Path

import platformdirs

#: What the names of all that belongs to no single App begin with in `state_root()`, before a dot.
STORE = "store"


def config_dir() -> Path:
    """The folder of App definitions (`<id>.toml` or `<id>.json`). It may not exist yet."""
    return platformdirs.user_config_path("waha-mcp")


def definitions() -> list[Path]:
    """The files of the user's App definitions, sorted."""
    return definitions_in(config_dir())


def definitions_in(folder: Path) -> list[Path]:
    """The files of App definitions in a folder, sorted."""
    return sorted(p for p in folder.glob("*.*") if p.suffix in (".toml", ".json") and p.is_file())


def state_root() -> Path:
    """The folder with the store, prepared listings and one state folder per App. It may not exist yet."""
    return platformdirs.user_state_path("waha-mcp")
