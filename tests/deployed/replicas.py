"""Several processes of `waha-mcp serve --http` on one store."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from tests.http_server import Served
from tests.serving import free_port


@contextmanager
def replicas(
    count: int, apps: Path, state: Path, *arguments: str, first: str = "", **env: str
) -> Iterator[list[Served]]:
    """N processes, each of which keeps its port over restarts; they end with the block. `first`: as for `Served`."""
    with ExitStack() as stack:
        yield [
            stack.enter_context(
                Served("--apps", str(apps), *arguments, state=state, first=first, port=free_port(), **env)
            )
            for _ in range(count)
        ]


def trail(state: Path, app_id: str) -> list[dict[str, Any]]:
    """The lines of an App's trail."""
    return [json.loads(line) for line in (state / "waha-mcp" / app_id / "trail.jsonl").read_text().splitlines()]
