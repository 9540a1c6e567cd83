"""What only some systems have, for tests that depend on it."""

from __future__ import annotations

import stat
import sys
from pathlib import Path

import pytest

posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no permission bits, umask or limits")


def mode_of(path: Path) -> int:
    """The permission bits of a file or folder."""
    return stat.S_IMODE(path.stat().st_mode)


def only_mine(path: Path) -> bool:
    """Whether nobody else can read or write a file or folder, by its mode; Windows has none."""
    return sys.platform == "win32" or not mode_of(path) & 0o077
