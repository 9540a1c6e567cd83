"""Storage of an App's key: in the operating system's keyring if there is one, else in a file with mode 0600.

The App definition holds a reference, `{keyring = "id"}` or `{file = "id.key"}`, never the key itself.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

from waha_mcp.files import read_by_others, write_atomically

_SERVICE = "waha-mcp"


class NoKeyThere(Exception):
    """The keyring is missing or locked, or has no such key. The message is one line with the next step."""


def keep(app_id: str, key: str, folder: Path) -> dict[str, str]:
    """Store an App's key and return the reference to it. `folder` holds the App's definition.

    Raises:
        OSError: the key file cannot be written.
    """
    ring = _keyring()
    if ring is not None:
        try:
            ring.set_password(_SERVICE, app_id, key)
        except Exception:  # noqa: S110 - locked, refused, broken: backends differ; fall back to the file
            pass
        else:
            (folder / f"{app_id}.key").unlink(missing_ok=True)
            return {"keyring": app_id}
    write_atomically(folder / f"{app_id}.key", key + "\n", 0o600)
    return {"file": f"{app_id}.key"}


def replace(reference: Any, key: str, folder: Path) -> None:
    """Store another key where a reference points: in the keyring, or in the file, whose path is relative to `folder`.

    Raises:
        OSError: the key file cannot be written.
        NoKeyThere: the keyring refuses it.
    """
    match reference:
        case {"file": str(name)}:
            write_atomically((folder / os.path.expanduser(name)).resolve(), key + "\n", 0o600)
        case {"keyring": str(name)}:
            ring = _keyring()
            if ring is None:
                raise NoKeyThere("this machine offers no keyring")
            try:
                ring.set_password(_SERVICE, name, key)
            except Exception as error:  # backends differ in what they raise
                raise NoKeyThere(f"the keyring does not accept '{name}' ({type(error).__name__}): unlock it") from None


def from_keyring(name: str) -> str:
    """Read a key from the keyring by its name.

    Raises:
        NoKeyThere: no keyring, a locked one, or no such key in it.
    """
    ring = _keyring()
    if ring is None:
        raise NoKeyThere(
            "this machine offers no keyring (pip install 'waha-mcp[keyring]'); `waha-mcp init` makes a file"
        )
    try:
        key: str | None = ring.get_password(_SERVICE, name)
    except Exception as error:  # backends differ in what they raise
        raise NoKeyThere(f"the keyring does not release '{name}' ({type(error).__name__}): unlock it") from None
    if key is None:
        raise NoKeyThere(f"the keyring has no '{name}' of waha-mcp: run `waha-mcp init` again")
    return key


def forget(reference: Any, folder: Path) -> None:
    """Delete the key that a reference names: from the keyring, or a file directly in `folder`; others are left."""
    match reference:
        case {"keyring": str(name)} if (ring := _keyring()) is not None:
            # A missing or locked entry is not an error: the key is revoked in WAHA as well.
            with contextlib.suppress(Exception):
                ring.delete_password(_SERVICE, name)
        case {"file": str(name)} if Path(name).name == name:
            (folder / name).unlink(missing_ok=True)


def open_to_others(reference: Any, definition: Path) -> Path | None:
    """The file that holds the key, if its mode gives group or others access; else None.

    That is the key file, or the definition itself where `reference` is the key as text. Always None off POSIX.
    """
    match reference:
        case {"file": str(name)}:
            path = definition.parent / os.path.expanduser(name)
        case str():
            path = definition
        case _:
            return None
    try:
        return path if read_by_others(path) else None
    except OSError:
        return None


def _keyring() -> Any:
    """The active keyring backend; None if there is none, or only an unsafe or null one (priority below 1)."""
    try:
        import keyring
    except ImportError:
        return None
    ring = keyring.get_keyring()
    return ring if ring.priority >= 1 else None
