"""A stdio server, driven with raw JSON lines, so that no client library is measured."""

from __future__ import annotations

import contextlib
import json
import subprocess
import tempfile
from contextlib import ExitStack
from typing import Any

from tests.harness import environment


class Pipe:
    """A server that was started and initialized. `greeting`: its answer to initialize."""

    def __init__(self, command: list[str], **env: str) -> None:
        # Its log is shown if it ends too early.
        with ExitStack() as failing:
            self._log = failing.enter_context(tempfile.TemporaryFile())
            self._process = subprocess.Popen(
                command,
                env=environment(**env),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log,
                text=True,
                encoding="utf-8",
            )
            failing.callback(self.close)
            self._number = 1
            self.greeting: dict[str, Any] = self.ask(
                "initialize",
                protocolVersion="2025-06-18",
                capabilities={},
                clientInfo={"name": "bench", "version": "1"},
            )
            self._write({"jsonrpc": "2.0", "method": "notifications/initialized"})
            failing.pop_all()

    @property
    def pid(self) -> int:
        """The server's process."""
        return self._process.pid

    def _write(self, message: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(message) + "\n")
        self._process.stdin.flush()

    def send(self, method: str, **params: Any) -> None:
        self._write({"jsonrpc": "2.0", "id": self._number, "method": method, "params": params})
        self._number += 1

    def receive(self) -> Any:
        """The next answer's result. Lines that are not JSON are skipped: some servers print a greeting on stdout."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with contextlib.suppress(ValueError):
                message = json.loads(line)
                if "id" in message:
                    return message["result"]
        self._log.seek(0)
        said = self._log.read().decode(errors="replace").strip()
        raise EOFError(f"the server ended before it answered; it said: {said[-500:]}")

    def ask(self, method: str, **params: Any) -> Any:
        self.send(method, **params)
        return self.receive()

    def close(self) -> None:
        """End the server by closing its input, and by force if it does not end."""
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            with contextlib.suppress(BrokenPipeError):
                stream.close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()
