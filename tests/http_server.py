"""`waha-mcp serve --http` as a process of its own, with Apps in a folder."""

from __future__ import annotations

import json
import queue
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.harness import NO_PACE_TEXT, command_after, environment
from waha_mcp.sandbox import SandboxInfo

#: Seconds in which a server must have answered or something must have happened.
SOON = 20.0


def write_app(folder: Path, name: str, sandbox: SandboxInfo, key: str, more: str = NO_PACE_TEXT, **fields: Any) -> Path:
    """Put a definition into a folder, whole or not at all, as people's editors do; its path."""
    values = {"url": sandbox.url, "key": key, "session": sandbox.session} | fields
    text = "".join(f"{field} = {json.dumps(value)}\n" for field, value in values.items() if value is not None)
    path = folder / f"{name}.toml"
    made = path.with_suffix(".new")
    made.write_text(text + more)
    made.chmod(0o600)
    made.replace(path)
    return path


@dataclass
class Served:
    """A server: where it is, and what it wrote on stderr."""

    url: str
    process: subprocess.Popen[str] = field(repr=False)
    lines: list[str] = field(repr=False)

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def base(self) -> str:
        return self.url.removesuffix("/mcp")

    @property
    def address(self) -> tuple[str, int]:
        host, _, port = self.base.rpartition("://")[2].rpartition(":")
        return host, int(port)

    def log(self) -> str:
        return "".join(self.lines)


@contextmanager
def http_server(*arguments: str, first: str = "", state: Path | None = None, **env: str) -> Iterator[Served]:
    """`waha-mcp serve --http --port 0`, once it takes requests; it runs the Python lines `first` before."""
    values = environment(**env) | ({} if state is None else {"XDG_STATE_HOME": str(state)})
    process = subprocess.Popen(
        [*command_after(first), "serve", "--http", "--port", "0", *arguments],
        env=values,
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    lines: list[str] = []
    told: queue.SimpleQueue[str] = queue.SimpleQueue()

    def read(stream: Any) -> None:
        for line in stream:
            lines.append(line)
            if line.startswith("Serving MCP on "):
                told.put(line.split()[-1])
        told.put("")

    reader = threading.Thread(target=read, args=(process.stderr,), daemon=True)
    reader.start()
    try:
        url = told.get(timeout=SOON)
        assert url, "".join(lines)
        yield Served(url, process, lines)
    finally:
        process.terminate()
        try:
            process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        reader.join(timeout=5)
        process.stderr.close()
