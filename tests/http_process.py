"""`waha-mcp serve --http` in a process of its own."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.harness import COMMAND, environment


@contextmanager
def http_process(
    apps: Path, *arguments: str, env: Mapping[str, str] | None = None, command: Sequence[str] = COMMAND
) -> Iterator[str]:
    """Serve the definitions of a folder on a free port; the URL of MCP."""
    process = subprocess.Popen(
        [*command, "serve", "--http", "--apps", str(apps), "--port", "0", *arguments],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(**(env or {})),
    )
    assert process.stderr is not None
    said = ""
    try:
        for line in process.stderr:
            said += line
            if "Serving MCP on " in line:
                yield line.split()[-1]
                return
        raise AssertionError(said)
    finally:
        process.terminate()
        process.communicate(timeout=20)
