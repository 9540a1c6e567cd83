"""Installs and removes our entries in a host's configuration file: checked, with a backup, replaced atomically.

The user's own file, as it was before our first entry, is kept beside it. As long as that copy and our entries account
for every byte of the file, each change writes the file anew from them: removing the last entry restores the user's own
file, whatever the order of installations. If somebody else has changed the file since, only our entries are added and
removed, and the backup stays for the user.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, Literal, TypeVar

from waha_mcp.files import read_by_others, write_atomically
from waha_mcp.hosts import edit
from waha_mcp.hosts.launch import app_id_of, definition_of, is_ours, key_of, target_of, url_of
from waha_mcp.hosts.table import HOSTS, Host, Launch, Offer, Remote

T = TypeVar("T")

#: The name of our entry, if there is only one.
_NAME = "whatsapp"
#: Maximum characters of a generated name: prefixed with it, the longest tool names stay within the models' limit of 64.
_LONGEST = 30

#: To make entries with every key that a host's shapes can have.
_FULL = (
    Launch("waha-mcp", ("serve",), {"WAHA_URL": ""}, "WAHA_API_KEY"),
    Remote("https://waha.example/mcp", key_variable="WAHA_API_KEY"),
    Remote("https://waha.example/mcp"),
)


class HostError(Exception):
    """A host's configuration was left unchanged. The text names the file, the cause and the fix."""


@dataclass(frozen=True)
class Change:
    """A change of a file. `backup`: where the user's own file is kept, None where there is none; `old`: our entry that
    was replaced or removed. A file that holds a key is `private`: only its owner can read it."""

    path: Path
    what: Literal["added", "replaced", "removed", "unchanged"]
    backup: Path | None = None
    old: Any = None
    private: bool = False


def install(
    host: Host, name: str, entry: Mapping[str, Any], path: Path | None = None, offers: Sequence[Offer] = ()
) -> Change:
    """Merge one entry into the host's file, which is created if missing.

    Fields that a user has added to our entry, such as a list of the tools that the host may call, are kept, as are
    offers chosen before, as long as the entry leads to the same App. With a key in the entry, the file becomes readable
    by its owner only.

    Raises:
        HostError: nothing was changed.
    """
    path = path or host.file()
    text, old = _look(host, name, path)
    if old is not None and not is_ours(old):
        raise HostError(f"{path} has an entry '{name}' that is not waha-mcp's: choose another name with --name")
    made = {*entry}.union(*(host.entry(name, full) for full in _FULL)) - host.once
    kept = {} if old is None else {key: value for key, value in old.items() if key not in made}
    if old is not None and target_of(old) != target_of(entry):
        kept = {k: v for k, v in kept.items() if not any(k in offer.fields for offer in host.offers)}
    for offer in offers:
        # A value set by the user takes precedence over a default that nobody asked for.
        kept |= {k: v for k, v in offer.fields.items() if not (offer.default and k in kept)}
    entry = {k: v for k, v in {**entry, **kept}.items() if v is not None}
    private = holds_key(entry)
    if old == entry and not (private and read_by_others(path)):
        return Change(path, "unchanged", old=old, private=private)
    backup = _change(host, path, text, name, entry)
    return Change(path, "added" if old is None else "replaced", backup, old, private)


def uninstall(host: Host, name: str, path: Path | None = None) -> Change:
    """Remove exactly that entry.

    If nobody else has changed the file since our first entry was added, removing the last one restores it byte for
    byte, or deletes it if it did not exist before.

    Raises:
        HostError: nothing was changed.
    """
    path = path or host.file()
    text, old = _look(host, name, path)
    if old is None:
        return Change(path, "unchanged")
    if not is_ours(old):
        raise HostError(f"{path} has an entry '{name}' that is not waha-mcp's: name ours with --name")
    return Change(path, "removed", _change(host, path, text, name, None), old)


def holds_key(entry: Mapping[str, Any]) -> bool:
    """Whether an entry itself contains the key of a server over HTTP."""
    return url_of(entry) is not None and key_of(entry)[1] is not None


def entries_of(host: Host, path: Path | None = None) -> dict[str, Any]:
    """Our entries in a host's file, by name; none if the file is missing.

    Raises:
        HostError: the file cannot be read.
    """
    path = path or host.file()
    return _usable(path, lambda: _ours(host, _read(path)))


def entries_launching(definition: Path) -> list[tuple[Host, str]]:
    """The entries in the users' files of all hosts that launch this definition: the host, and the entry's name.

    An unreadable file counts as having none.
    """
    wanted, found = Path(os.path.realpath(definition)), []
    for host in HOSTS.values():
        with contextlib.suppress(HostError):
            found += [(host, name) for name, entry in entries_of(host).items() if definition_of(entry) == wanted]
    return found


def free_name(host: Host, target: Launch | Remote, path: Path | None = None) -> str:
    """The name for the entry of an App: that of its existing entry, else `whatsapp`, else one with the App's id.

    Raises:
        HostError: the file cannot be read.
    """
    path = path or host.file()
    inside = _usable(path, lambda: _inside(host, _read(path)))
    entry = host.entry(_NAME, target)
    ours = [name for name, old in inside.items() if is_ours(old) and target_of(old) == target_of(entry)]
    if ours:
        return _NAME if _NAME in ours else ours[0]
    # Goose identifies entries by a name inside them.
    taken = {*inside, *(str(each.get("name")) for each in inside.values() if isinstance(each, Mapping))}
    if _NAME not in taken:
        return _NAME
    longer = f"{_NAME}-{re.sub('[^a-z0-9]+', '-', app_id_of(entry).lower())}"[:_LONGEST].strip("-")
    return next(name for n in count(1) if (name := longer if n == 1 else f"{longer}-{n}") not in taken)


def backup_of(path: Path) -> Path:
    """The path of the backup: the user's own file, as it was before the first of our entries."""
    return path.with_name(f"{path.name}.waha-mcp.bak")


def _ours(host: Host, text: str) -> dict[str, Any]:
    """Our entries in a configuration, by name, unchanged."""
    return {k: v for k, v in _inside(host, text).items() if is_ours(v)}


def _inside(host: Host, text: str) -> Mapping[str, Any]:
    """All entries in a configuration."""
    inside: Any = edit.read(text, host.format)
    for key in host.place:
        inside = inside.get(key) if isinstance(inside, Mapping) else None
    return inside if isinstance(inside, Mapping) else {}


def _read(path: Path) -> str:
    try:
        if path.exists() and not path.is_file():
            raise HostError(f"{path} is left as it is: it is not a regular file")
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


def _change(host: Host, path: Path, text: str, name: str, entry: Mapping[str, Any] | None) -> Path | None:
    """Write the file, now holding `text`, with this entry, or without one of that name; return the backup's path."""
    now = _usable(path, lambda: _ours(host, text))
    then = {key: value for key, value in now.items() if key != name} | ({} if entry is None else {name: entry})
    private = any(holds_key(each) for each in then.values())
    # Without any of our entries, the file is the user's own.
    own = _own(host, path, text, now, then) if now else text
    if own is not None:
        missing = _missing(host, own, then)
        after = _usable(path, partial(edit.put_all, own, host.format, host.place, missing))
        return _write(path, text, after, keep=not now, done=not missing, private=private)
    if entry is None:
        after = _usable(path, lambda: edit.drop(text, host.format, host.place, name))
    else:
        after = _usable(path, lambda: edit.put(text, host.format, host.place, name, entry))
    return _write(path, text, after, keep=not backup_of(path).exists(), private=private)


def _missing(host: Host, own: str, entries: Mapping[str, Any]) -> dict[str, Any]:
    """Our entries that the user's own file lacks."""
    has = _ours(host, own)
    return {key: value for key, value in entries.items() if key not in has}


def _own(host: Host, path: Path, text: str, now: Mapping[str, Any], then: Mapping[str, Any]) -> str | None:
    """The user's own file, if the text consists of it and our current entries; else None.

    It may itself contain our entries, written by hand: these must be the same in both.
    """
    try:
        own = _read(backup_of(path))  # nothing: we made the file
        if any(now.get(key) != value or then.get(key) != value for key, value in _ours(host, own).items()):
            return None
        explained = edit.put_all(own, host.format, host.place, _missing(host, own, now))
    except (HostError, edit.Unusable):
        return None
    return own if explained == text else None


def _write(
    path: Path, before: str, after: str, *, keep: bool, done: bool = False, private: bool = False
) -> Path | None:
    """Replace a file whose content is still `before`; return the backup's path.

    `keep`: keep the old content as the backup. `done`: the new text is the user's own, so no backup is needed.
    `private`: only the owner may read the file and the backup.
    """
    real, backup = path.resolve(), backup_of(path)  # a link into someone's dotfiles stays a link
    try:
        there = real.exists()
        mode = (real.stat().st_mode if there else 0o600) & (0o700 if private else 0o7777)
        if keep:
            _set_aside(backup, before if there else None)
            if there:
                write_atomically(backup, before, mode)
        if _read(real) != before:
            raise HostError(f"{path} was changed by another program at the same time: run the command again")
        if done and not backup.exists():
            real.unlink()
            return None
        write_atomically(real, after, mode)
        if done:
            backup.unlink()
    except OSError as error:
        raise HostError(f"cannot write {error.filename or path}: {error.strerror or error}") from None
    return backup if backup.exists() else None


def _set_aside(backup: Path, text: str | None) -> None:
    """Rename an earlier backup, unless its content is the same: it may be the only copy."""
    if not backup.exists() or (text is not None and backup.read_bytes() == text.encode()):
        return
    backup.rename(next(each for n in count(1) if not (each := backup.with_name(f"{backup.name}.{n}")).exists()))
