"""A running `waha-mcp listen`, and a program for it to run."""

from __future__ import annotations

import json
import queue
import signal
import subprocess
import sys
import threading
from abc import ABC, abstractmethod
from pathlib import Path
from typing import IO, Any

from tests.harness import command_after, environment

#: Shorter waits than a user's.
QUICK = (
    "from waha_mcp.feed import live, settling\n"
    "settling.SETTLE, settling.LONGEST_SETTLE = 0.4, 3.0\n"
    "live.FIRST_PAUSE = live.LONGEST_PAUSE = live.TRY_AGAIN = 0.1\n"
)
#: Seconds until an expected line counts as missing.
PATIENCE = 30.0


class Woken(ABC):
    """A listener: it prints bursts, and logs on stderr what it does."""

    _err: Lines
    #: The lines of stderr that were read.
    logged: list[str]

    @abstractmethod
    def burst(self) -> dict[str, Any]:
        """The next burst."""

    def texts(self) -> list[str]:
        return [each["text"] for each in self.burst()["messages"]]

    def says(self, words: str) -> str:
        """The next line of stderr that contains these words."""
        while words not in (line := self._err.next()):
            self.logged.append(line)
        self.logged.append(line)
        return line


class Listener(Woken):
    """A running `waha-mcp listen`, and its output."""

    def __init__(self, app: Path, *arguments: str, first: str = "", **env: str) -> None:
        self._process = subprocess.Popen(
            [*command_after(QUICK + first), "listen", "--app", str(app), *arguments],
            env=environment(**env),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )
        self._out, self._err = Lines(self._process.stdout), Lines(self._process.stderr)
        self.logged: list[str] = []

    def __enter__(self) -> Listener:
        self.says("from now on")
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._process.poll() is None:
            self._process.terminate()
        self._process.wait(PATIENCE)
        self._out.close()
        self._err.close()

    def line(self) -> str:
        """The next line on stdout."""
        return self._out.next()

    def burst(self) -> dict[str, Any]:
        """The content of the next line of stdout."""
        found: dict[str, Any] = json.loads(self.line())
        return found

    def stop(self, number: int = signal.SIGTERM) -> int:
        self._process.send_signal(number)
        return self.code()

    def code(self) -> int:
        return self._process.wait(PATIENCE)


class Lines:
    """The lines of a stream, with a time-out for each."""

    def __init__(self, stream: IO[str] | None) -> None:
        assert stream is not None
        self._stream = stream
        self._found: queue.Queue[str] = queue.Queue()
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()

    def _read(self) -> None:
        for line in self._stream:
            self._found.put(line)

    def next(self) -> str:
        return self._found.get(timeout=PATIENCE)

    def close(self) -> None:
        self._reading.join(PATIENCE)
        self._stream.close()


def script(folder: Path, text: str) -> list[str]:
    """The arguments that make it run a Python program for each burst."""
    path = folder / "agent.py"
    path.write_text("import json, os, sys, time\n" + text)
    return ["--exec", sys.executable, str(path)]
