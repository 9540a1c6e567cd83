"""`waha-mcp serve --http --oauth` in a process of its own, with one App on a sandbox."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.harness import COMMAND, environment, run, sandbox_server


@dataclass(frozen=True)
class Served:
    """The server: its public URL, the folder with the App `assistant`, and the file that it logs into."""

    url: str
    apps: Path
    log: Path

    def command(self, *arguments: str) -> Any:
        """What a command of `waha-mcp apps` prints of the App, as JSON."""
        done = run("apps", *arguments, "assistant", "--apps", str(self.apps), "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def code(self) -> str:
        """A one-time code for the App."""
        return str(self.command("code")["code"])


@contextmanager
def served(folder: Path, issuer: str | None = None) -> Iterator[Served]:
    """The server, in debug. `issuer`: its public URL, if it is not the one that it listens on."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url, apps, log = f"http://127.0.0.1:{port}", folder / "apps", folder / "log"
    apps.mkdir()
    with sandbox_server() as sandbox:
        definition = {
            "url": sandbox.url,
            "key": sandbox.keys["full"],
            "session": sandbox.session,
            "actions": ["read", "send"],
        }
        file = apps / "assistant.toml"
        file.write_text("".join(f"{name} = {json.dumps(value)}\n" for name, value in definition.items()))
        file.chmod(0o600)
        arguments = ["serve", "--http", "--port", str(port), "--apps", str(apps), "--oauth", issuer or url]
        with (
            log.open("w") as errors,
            subprocess.Popen(
                [*COMMAND, *arguments, "--log-level", "debug"], stderr=subprocess.PIPE, text=True, env=environment()
            ) as process,
        ):
            assert process.stderr is not None
            try:
                for line in process.stderr:
                    errors.write(line)
                    if line.startswith("Serving MCP on"):
                        break
                yield Served(url, apps, log)
            finally:
                process.terminate()
                errors.write(process.communicate(timeout=60)[1])
