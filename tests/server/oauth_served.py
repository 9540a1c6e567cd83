"""`waha-mcp serve --http --oauth` in a separate process, with one App on a sandbox."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.harness import run, sandbox_server
from tests.http_server import Served, write_app
from tests.serving import free_port


@dataclass(frozen=True)
class WithOAuth:
    """The server, and the folder with the App `assistant`."""

    server: Served
    apps: Path

    @property
    def url(self) -> str:
        """Its URL without MCP's path."""
        return self.server.base

    def command(self, *arguments: str) -> Any:
        """The output of a `waha-mcp apps` command about the App, as JSON."""
        done = run("apps", *arguments, "assistant", "--apps", str(self.apps), "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def code(self) -> str:
        """A one-time code for the App."""
        return str(self.command("code")["code"])


@contextmanager
def served(folder: Path, issuer: str | None = None) -> Iterator[WithOAuth]:
    """The server, in debug. `issuer`: its public URL, if it is not the one that it listens on."""
    port, apps = free_port(), folder / "apps"
    arguments = ["--apps", str(apps), "--oauth", issuer or f"http://127.0.0.1:{port}", "--log-level", "debug"]
    with sandbox_server() as sandbox:
        write_app(apps, "assistant", sandbox, sandbox.keys["full"], "", actions=["read", "send"])
        with Served(*arguments, port=port) as server:
            yield WithOAuth(server, apps)
