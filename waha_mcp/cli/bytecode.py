"""Whether Python compiles waha-mcp again at each start, which makes a start about three times as long.

Python keeps the bytecode of what it has compiled beside the source. It cannot where the user may not write there, and
does not where it is told not to: then the installer has to compile.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from importlib.util import MAGIC_NUMBER, cache_from_source, find_spec
from pathlib import Path

from waha_mcp.cli.common import typed
from waha_mcp.cli.diagnosis import Finding

#: What most of a start's time goes into: ours, what it stands on, and the standard library, for which `asyncio` stands.
_PACKAGES = ("waha_mcp", "mcp", "mcp_types", "pydantic", "asyncio")


def look_at_bytecode() -> Iterator[Finding]:
    """A warning where packages have no bytecode and Python cannot keep any; nothing otherwise."""
    sources = {name: source for name in _PACKAGES if (source := _source(name)) is not None}
    lacking = {name: source for name, source in sources.items() if not _has_bytecode(source)}
    closed = {name: source for name, source in lacking.items() if not _writable(_folder(source))}
    found = lacking if sys.dont_write_bytecode else closed
    if not found:
        return
    if not sys.dont_write_bytecode:
        why = f"{_nearest(_folder(next(iter(closed.values()))))} cannot be written to"
    else:
        why = "PYTHONDONTWRITEBYTECODE is set" if os.environ.get("PYTHONDONTWRITEBYTECODE") else "it runs with -B"
    says = f"Python keeps no bytecode of {', '.join(found)}, because {why}: each start compiles them again and is slow"
    # All that others need lies beside them.
    folders = dict.fromkeys(str(s.parent if name == "waha_mcp" else s.parent.parent) for name, s in found.items())
    fix = f"`{typed([sys.executable, '-m', 'compileall', '-q', *folders])}`"
    if closed:
        fix += " as a user who may write there, or PYTHONPYCACHEPREFIX=FOLDER (one of yours) where waha-mcp is started"
    yield Finding("warning", "bytecode", says, fix)


def _source(name: str) -> Path | None:
    """The file that a package begins with; None where it is none that Python compiles, such as one in an archive."""
    spec = find_spec(name)
    source = Path(spec.origin) if spec is not None and spec.origin else None
    return source if source is not None and source.suffix == ".py" and source.is_file() else None


def _has_bytecode(source: Path) -> bool:
    """Whether there is valid bytecode: of this Python version, and of the source as it is now."""
    try:
        head = Path(cache_from_source(source)).read_bytes()[:16]
    except OSError:
        return False
    state = source.stat()
    number = 0xFFFF_FFFF
    times = (int(state.st_mtime) & number).to_bytes(4, "little") + (state.st_size & number).to_bytes(4, "little")
    # Flags of 0: by time and size; others go by the source's hash.
    return head[:4] == MAGIC_NUMBER and (head[4:8] != bytes(4) or head[8:] == times)


def _folder(source: Path) -> Path:
    """Where the bytecode belongs: beside the source, or below PYTHONPYCACHEPREFIX."""
    return Path(cache_from_source(source)).parent


def _nearest(folder: Path) -> Path:
    """The folder, or else its nearest parent that exists: Python creates the missing ones."""
    return next(each for each in (folder, *folder.parents) if each.exists())


def _writable(folder: Path) -> bool:
    nearest = _nearest(folder)
    return nearest.is_dir() and os.access(nearest, os.W_OK)
