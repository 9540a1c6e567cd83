"""Runs the suite against a separate server, and reads its results."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.clients_real.environments import node, node_environment
from tests.conformance.key_proxy import adding_key
from tests.conformance.scenarios import SUITE, Check
from tests.harness import sandbox_server
from tests.http_server import http_server, write_app

#: Seconds that one run may take.
PATIENCE = 300


@contextmanager
def served(folder: Path, *, sessions: bool) -> Iterator[str]:
    """A sandbox and `waha-mcp serve --http` with one App whose key may do everything; a URL that needs no key."""
    apps = folder / "apps"
    apps.mkdir()
    arguments = ["--apps", str(apps), *(["--sessions"] if sessions else [])]
    with sandbox_server() as sandbox:
        key = sandbox.keys["full"]
        write_app(apps, "conformance", sandbox, key)
        with http_server(*arguments, state=folder / "state") as server, adding_key(server.address, key) as port:
            yield f"http://127.0.0.1:{port}/mcp"


def found(url: str, revision: str, folder: Path) -> dict[str, list[Check]]:
    """The checks of every scenario that the suite has for a revision. `folder`: for what it writes.

    Raises:
        NotInstalled: the suite cannot be installed here.
    """
    program = node_environment([SUITE]) / "node_modules/.bin/conformance"
    command = [str(node()), str(program), "server", "--url", url, "--requirements", revision, "-o", str(folder)]
    environment = os.environ | {"NO_PROXY": "127.0.0.1"}
    # The exit code also covers scenarios that do not apply.
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False)
    results = {name: _checks(path) for path in sorted(folder.glob("server-*")) if (name := _name(path))}
    assert results, f"the suite has run nothing: {ran.stdout[-500:]}{ran.stderr[-500:]}"
    return results


def _name(folder: Path) -> str:
    """The scenario of a folder such as `server-ping-2026-11-30T03-57-46-479Z`."""
    return re.sub(r"-\d{4}-\d\d-\d\dT[\d-]+Z$", "", folder.name).removeprefix("server-")


def _checks(folder: Path) -> list[Check]:
    checks = json.loads((folder / "checks.json").read_text(encoding="utf-8"))
    return [Check(each["id"], each["status"], each.get("errorMessage") or "") for each in checks]
