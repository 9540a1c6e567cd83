"""Installs and removes our entry in a host's configuration file: checked, with a backup, replaced atomically."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from waha_mcp.files import write_atomically
from waha_mcp.hosts import edit
from waha_mcp.hosts.launch import is_ours
from waha_mcp.hosts.table import Host, Launch

T = TypeVar("T")

#: For an entry with every key that a host's shape can have.
_FULL = Launch("waha-mcp", ("serve",), {"WAHA_URL": ""}, "WAHA_API_KEY")


class HostError(Exception):
    """A host's configuration was left unchanged. The text names the file, the cause and the fix."""


@dataclass(frozen=True)
class Change:
    """A change of a file. `backup`: the path of its previous content; None if there was no file."""

    path: Path
    what: Literal["added", "replaced", "removed", "unchanged"]
    backup: Path | None = None


def install(host: Host, name: str, entry: Mapping[str, Any], path: Path | None = None) -> Change:
    """Merge one entry into the host's file, which is made if it is missing.

    What a user has added to our entry, such as a list of the tools that the host may call, stays.

    Raises:
        HostError: nothing was changed.
    """
    path = path or host.file()
    before, old = _look(host, name, path)
    if old is not None and not is_ours(old):
        raise HostError(f"{path} has an entry '{name}' that is not waha-mcp's: choose another name with --name")
    if old is not None:
        ours = host.entry(_FULL, host.key_reference)
        entry = {**entry, **{key: value for key, value in old.items() if key not in {*ours, *entry}}}
    after = _usable(path, lambda: edit.put(before, host.format, host.place, name, entry))
    if after == before:
        return Change(path, "unchanged")
    return Change(path, "added" if old is None else "replaced", _replace(path, before, after))


def uninstall(host: Host, name: str, path: Path | None = None) -> Change:
    """Remove exactly that entry.

    Where nothing else was changed since the installation, the file is afterwards byte for byte what it was before,
    and gone if there was none.

    Raises:
        HostError: nothing was changed.
    """
    path = path or host.file()
    text, old = _look(host, name, path)
    if old is None:
        return Change(path, "unchanged")
    if not is_ours(old):
        raise HostError(f"{path} has an entry '{name}' that is not waha-mcp's: name ours with --name")
    backup = backup_of(path)
    before = _read(backup)
    try:
        untouched = edit.put(before, host.format, host.place, name, old) == text
    except edit.Unusable:
        untouched = False
    if not untouched:
        after = _usable(path, lambda: edit.drop(text, host.format, host.place, name))
        return Change(path, "removed", _replace(path, text, after))
    try:
        if backup.exists():
            _replace(path, text, before)
            backup.unlink()
        else:
            path.unlink()
    except OSError as error:
        raise HostError(f"cannot remove {error.filename}: {error.strerror or error}") from None
    return Change(path, "removed")


def entries_of(host: Host, path: Path | None = None) -> dict[str, Any]:
    """Our entries in a host's file, by name; none where the file is missing.

    Raises:
        HostError: the file cannot be read.
    """
    path = path or host.file()
    inside: Any = _usable(path, lambda: edit.read(_read(path), host.format))
    for key in host.place:
        inside = inside.get(key) if isinstance(inside, Mapping) else None
    return {k: v for k, v in inside.items() if is_ours(v)} if isinstance(inside, Mapping) else {}


def backup_of(path: Path) -> Path:
    """Where the file as it was before the last change is kept."""
    return path.with_name(f"{path.name}.waha-mcp.bak")


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        return ""
    except UnicodeDecodeError:
        raise HostError(f"{path} is left as it is: it is not UTF-8 text") from None
    except OSError as error:
        raise HostError(f"cannot read {path}: {error.strerror or error}") from None


def _look(host: Host, name: str, path: Path) -> tuple[str, Any]:
    """The text of the file and the entry of that name in it."""
    text = _read(path)
    return text, _usable(path, lambda: edit.entry_at(edit.read(text, host.format), host.place, name))


def _usable(path: Path, work: Callable[[], T]) -> T:
    try:
        return work()
    except edit.Unusable as error:
        raise HostError(f"{path} is left as it is: {error} (--print shows what to put in by hand)") from None


def _replace(path: Path, before: str, after: str) -> Path | None:
    """Replace a file that still reads `before`; where the old one is kept."""
    real = path.resolve()  # a link into someone's dotfiles stays a link
    try:
        if not real.exists():
            write_atomically(real, after, 0o600)
            return None
        backup, mode = backup_of(path), real.stat().st_mode & 0o7777
        write_atomically(backup, before, mode)
        if _read(real) != before:
            raise HostError(f"{path} was changed by another program at the same time: run the command again")
        write_atomically(real, after, mode)
    except OSError as error:
        raise HostError(f"cannot write {path}: {error.strerror or error}") from None
    return backup
