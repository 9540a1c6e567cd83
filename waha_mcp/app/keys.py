"""Where an App's key is kept: the operating system's keyring where there is one, else a file for the user's eyes only.

A reference to it stands in the App definition, `{keyring = "id"}` or `{file = "id.key"}`; the key itself never does.
"""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path
from typing import Any

from waha_mcp.files import write_atomically

_SERVICE = "waha-mcp"


class NoKeyThere(Exception):
    """The keyring has no such key, or is none. The text is one line with the way out."""


def keep(app_id: str, key: str, folder: Path) -> dict[str, str]:
    """Keep an App's key and return the reference to it; `folder` is that of the definition.

    Raises:
        OSError: the file cannot be written.
    """
    ring = _keyring()
    if ring is not None:
        try:
            ring.set_password(_SERVICE, app_id, key)
        except Exception:  # noqa: S110 - locked, refused, broken: backends differ, and the file is there
            pass
        else:
            (folder / f"{app_id}.key").unlink(missing_ok=True)
            return {"keyring": app_id}
    write_atomically(folder / f"{app_id}.key", key + "\n", 0o600)
    return {"file": f"{app_id}.key"}


def from_keyring(name: str) -> str:
    """The key of that name.

    Raises:
        NoKeyThere: there is none.
    """
    ring = _keyring()
    if ring is None:
        raise NoKeyThere(
            "this machine offers no keyring (pip install 'waha-mcp[keyring]'); `waha-mcp init` makes a file"
        )
    try:
        key: str | None = ring.get_password(_SERVICE, name)
    except Exception as error:  # backends differ in what they raise
        raise NoKeyThere(f"the keyring does not give '{name}' out ({type(error).__name__}): unlock it") from None
    if key is None:
        raise NoKeyThere(f"the keyring has no '{name}' of waha-mcp: run `waha-mcp init` again")
    return key


def forget(reference: Any, folder: Path) -> None:
    """Delete what a reference names, if it is ours to delete."""
    match reference:
        case {"keyring": str(name)} if (ring := _keyring()) is not None:
            # Not there, or locked: the key itself is switched off in WAHA.
            with contextlib.suppress(Exception):
                ring.delete_password(_SERVICE, name)
        case {"file": str(name)} if Path(name).name == name:
            (folder / name).unlink(missing_ok=True)


def open_to_others(reference: Any, definition: Path) -> Path | None:
    """The file that holds the key and that others than the user can read; None where there is no such thing."""
    match reference:
        case {"file": str(name)}:
            path = definition.parent / os.path.expanduser(name)
        case str():
            path = definition
        case _:
            return None
    try:
        return path if os.name == "posix" and path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO) else None
    except OSError:
        return None


def _keyring() -> Any:
    """The keyring in use; None where there is none worth the name (its priority says so)."""
    try:
        import keyring
    except ImportError:
        return None
    ring = keyring.get_keyring()
    return ring if ring.priority >= 1 else None
