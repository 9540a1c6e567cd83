"""Processes of `waha-mcp serve --http` on one store, and Apps for them."""

from __future__ import annotations

import json
import random
import signal
import socket
import subprocess
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any, Self

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from tests.harness import NO_PACE_TEXT, Era, command_after, environment
from waha_mcp.sandbox import SandboxInfo

#: Seconds in which a process must be there, or gone.
PATIENCE = 30.0


class Replica:
    """One process, ended with the block. Started again, it has the same port."""

    def __init__(self, apps: Path, state: Path, *arguments: str, first: str = "", **env: str) -> None:
        """`apps`: the folder of definitions. `state`: the store's. `first`: lines of Python that it runs first."""
        self.port = free_port()
        command = [*command_after(first), "serve", "--http", "--port", str(self.port), "--apps", str(apps)]
        self._command, self._env = [*command, *arguments], environment(XDG_STATE_HOME=str(state), **env)
        #: The lines that it has written to stderr.
        self.log: list[str] = []

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        return self._process.pid

    def start(self) -> None:
        """Start it, and wait until it accepts connections."""
        self._process = subprocess.Popen(self._command, env=self._env, stderr=subprocess.PIPE, text=True)
        serving = threading.Event()
        self._reader = threading.Thread(target=self._read, args=(self._process, serving), daemon=True)
        self._reader.start()
        assert serving.wait(PATIENCE), self.log
        assert self._process.poll() is None, self.log

    def _read(self, process: subprocess.Popen[str], serving: threading.Event) -> None:
        assert process.stderr is not None
        with process.stderr:
            for line in process.stderr:
                self.log.append(line.rstrip("\n"))
                if "Serving MCP on" in line:
                    serving.set()
        serving.set()  # it has ended: `start` says so

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def ended(self, timeout: float = PATIENCE) -> int:
        """Its exit code, once it has ended."""
        code = self._process.wait(timeout)
        self._reader.join(PATIENCE)
        return code

    def stop(self) -> int:
        """End it gently; its exit code."""
        self.signal(signal.SIGTERM)
        return self.ended()

    def kill(self) -> None:
        """End it as a machine ends that loses its power."""
        self._process.kill()
        self.ended()

    def get(self, path: str, **headers: str) -> httpx2.Response:
        """A GET of one of its paths besides MCP's."""
        return httpx2.get(self.url + path, headers=headers)

    def await_ready(self, status: int = 200) -> Any:
        """Wait until `/readyz` has this status, which it finds out once a second; what it says then."""
        ends = time.monotonic() + PATIENCE
        while (answer := self.get("/readyz")).status_code != status:
            assert time.monotonic() < ends, self.log
            time.sleep(0.1)
        return answer.json()

    def metrics(self) -> dict[str, float]:
        """Its metrics: each sample as Prometheus's text has it, and its value."""
        lines = self.get("/metrics").raise_for_status().text.splitlines()
        samples = (line.rpartition(" ") for line in lines if not line.startswith("#"))
        return {sample: float(value) for sample, _, value in samples}


@contextmanager
def replicas(count: int, apps: Path, state: Path, *arguments: str, **options: str) -> Iterator[list[Replica]]:
    """So many processes, ended with the block."""
    with ExitStack() as stack:
        yield [stack.enter_context(Replica(apps, state, *arguments, **options)) for _ in range(count)]


def write_app(apps: Path, app_id: str, sandbox: SandboxInfo, key: str, text: str = NO_PACE_TEXT) -> Path:
    """An App's definition in a folder. `text`: further lines of it."""
    apps.mkdir(exist_ok=True)
    path = apps / f"{app_id}.toml"
    path.write_text(f'id = "{app_id}"\nurl = "{sandbox.url}"\nkey = "{key}"\nsession = "{sandbox.session}"\n{text}')
    path.chmod(0o600)
    return path


@asynccontextmanager
async def connected(url: str, key: str, era: Era = "auto", *, verify: Any = False) -> AsyncIterator[Client]:
    """A client of the SDK's on a server's `/mcp`. `verify`: the TLS context, where the server has TLS."""
    async with (
        httpx2.AsyncClient(headers={"X-Api-Key": key}, timeout=httpx2.Timeout(60), verify=verify) as http,
        Client(streamable_http_client(f"{url}/mcp", http_client=http), mode=era) as client,
    ):
        yield client


def trail(state: Path, app_id: str) -> list[dict[str, Any]]:
    """The lines of an App's trail."""
    return [json.loads(line) for line in (state / "waha-mcp" / app_id / "trail.jsonl").read_text().splitlines()]


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on, and that no outgoing connection gets."""
    while True:
        with socket.socket() as probe, suppress(OSError):
            port = random.randrange(12_000, 32_000)
            probe.bind(("127.0.0.1", port))
            return port
