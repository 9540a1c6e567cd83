"""Runs Python lines in separate processes, which all start at once."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from waha_mcp.store.redis import Redis
from waha_mcp.store.redis_url import parse_redis_url
from waha_mcp.store.sqlite import Sqlite

_FIRST = """
import sys
from pathlib import Path
from waha_mcp.store import Count, Full, Limit, StoreAway
from tests.store.processes import opened
path = Path(sys.argv[1])
number = int(sys.argv[2])
store = opened(sys.argv[1], wait=30)
print("ready", flush=True)
sys.stdin.readline()
"""


def opened(place: Path | str, wait: float = 5.0) -> Sqlite | Redis:
    """The store in a file, or in the Redis of a URL. `wait`: how long to wait for other processes, of a file."""
    if str(place).startswith("redis://"):
        return Redis(parse_redis_url(str(place)))
    return Sqlite(Path(place), wait=wait)


def start(path: Path | str, lines: str, number: int = 0) -> subprocess.Popen[str]:
    """A process with `store`, `path` and `number`, which waits for a line (see `go`) and then runs `lines`.

    `path`: where its store is, as for `opened`.
    """
    process = subprocess.Popen(
        [sys.executable, "-c", _FIRST + lines, str(path), str(number)],
        cwd=Path(__file__).parents[2],
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


def together(path: Path | str, lines: str, processes: int) -> list[str]:
    """The output of each of several processes."""
    running = [start(path, lines, number) for number in range(processes)]
    for each in running:
        go(each)
    return ended(running)


def ended(running: Sequence[subprocess.Popen[str]]) -> list[str]:
    """The output of processes, all of which must succeed."""
    found = []
    for each in running:
        out, errors = each.communicate(timeout=60)
        assert each.returncode == 0, errors
        found.append(out)
    return found
