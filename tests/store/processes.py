"""Runs Python lines in processes of their own, all beginning at once."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

_FIRST = """
import sys
from pathlib import Path
from waha_mcp.store import Count, Full, Limit, StoreAway
from waha_mcp.store.sqlite import Sqlite
path = Path(sys.argv[1])
number = int(sys.argv[2])
store = Sqlite(path, wait=30)
print("ready", flush=True)
sys.stdin.readline()
"""


def start(path: Path, lines: str, number: int = 0) -> subprocess.Popen[str]:
    """A process that has `store`, `path` and `number`, waits for a line (see `go`), and then runs `lines`."""
    process = subprocess.Popen(
        [sys.executable, "-c", _FIRST + lines, str(path), str(number)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def together(path: Path, lines: str, processes: int) -> list[str]:
    """What each of several processes prints."""
    running = [start(path, lines, number) for number in range(processes)]
    for each in running:
        go(each)
    return ended(running)


def ended(running: Sequence[subprocess.Popen[str]]) -> list[str]:
    """What processes have printed, each to its good end."""
    found = []
    for each in running:
        out, errors = each.communicate(timeout=60)
        assert each.returncode == 0, errors
        found.append(out)
    return found
