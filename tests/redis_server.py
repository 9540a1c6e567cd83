"""A redis-server for tests: on loopback, in a folder, ended by its process id."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from redis import Redis as Client
from redis.exceptions import BusyLoadingError, ConnectionError, ResponseError

from tests.serving import free_port
from waha_mcp.store import redis_scripts
from waha_mcp.store.redis import Redis
from waha_mcp.store.redis_url import parse_redis_url


class RedisServer:
    """A redis-server with these options, which keeps its port over restarts. By default it persists nothing."""

    def __init__(self, folder: Path, *options: str, port: int | None = None) -> None:
        program = shutil.which("redis-server")
        if program is None:
            pytest.skip("redis-server is not installed (apt-get install redis-server)")
        self.port = port or free_port()
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self._command = [
            *(program, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(folder), "--save", ""),
            *options,
        ]
        self._process: subprocess.Popen[bytes] | None = None

    @staticmethod
    def installed() -> bool:
        """Whether there is a redis-server on this machine."""
        return shutil.which("redis-server") is not None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> RedisServer:
        """Start it, and wait until it answers."""
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 20
        while True:
            try:
                with self.client() as client:
                    client.ping()
                return self
            except ResponseError:
                return self  # it answers, and asks for a password
            except (ConnectionError, BusyLoadingError) as error:
                if "Authentication" in type(error).__name__:
                    return self
                assert time.monotonic() < deadline
                assert self._process.poll() is None
                time.sleep(0.02)

    def client(self) -> Client:
        return Client(port=self.port, decode_responses=True, protocol=2)

    def store(self, memory: Path | None = None, timeout: float = 2.0) -> Redis:
        return Redis(parse_redis_url(self.url), memory, timeout=timeout)

    def signal(self, number: int) -> None:
        assert self._process is not None
        os.kill(self._process.pid, number)

    def end(self, *, kill: bool = False) -> None:
        """End it, cleanly or by force."""
        if self._process is not None:
            if self._process.poll() is None:
                self.signal(signal.SIGCONT)
                self.signal(signal.SIGKILL if kill else signal.SIGTERM)
                self._process.wait(timeout=20)
            self._process = None


class Clock(list[float]):
    """A settable time, as the only item; `told` is called with each."""

    told: Callable[[float], object] | None = None

    def __setitem__(self, at: Any, value: Any) -> None:
        super().__setitem__(at, value)
        if self.told is not None:
            self.told(value)


class ClockedRedis(Redis):
    """A store in Redis whose clock can be set."""

    clock: Clock | None = None

    def now(self) -> float:
        return super().now() if self.clock is None else self.clock[0]

    def read_from(self, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
        """Set the clock of Redis."""
        monkeypatch.setattr(redis_scripts, "CLOCK", "local now = tonumber(redis.call('GET', 'clock'))")
        self.clock = clock
        clock.told = self._tell
        self._tell(clock[0])

    def _tell(self, time: float) -> None:
        self._connected().set("clock", f"{time * 1e6:.0f}")
