"""The two ways to a server, as a client has them: a process of its own, or HTTP to one of several."""

from __future__ import annotations

import itertools
import json
import os
import queue
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path
from random import Random
from typing import IO, Any, NamedTuple, Protocol

from tests.harness import environment
from tests.http_server import LEGACY, Caller, Served

#: Python lines for a server. Its wall clock is off by the number (a double) in the file that SOAK_CLOCK names. On
#: SIGUSR1 it releases free memory, so that what remains is in use, and writes the numbers of its tasks and of the
#: memory blocks of Python's objects into a file in the folder SOAK_TASKS. Its bounded caches are made smaller, so that
#: they are full once it has warmed up.
FIRST = """
import functools
_lru_cache = functools.lru_cache
functools.lru_cache = lambda maxsize=128, typed=False: _lru_cache(
    min(maxsize, 256) if isinstance(maxsize, int) else maxsize, typed
)
import waha_mcp.feed.record as record
record.MOST, record.MOST_BYTES, record.RECOGNIZED = 100, 2**18, 400
import asyncio, ctypes, datetime, gc, mmap, os, signal, struct, sys, time
_shared = mmap.mmap(os.open(os.environ["SOAK_CLOCK"], os.O_RDWR), 8)
_time = time.time
time.time = lambda: _time() + struct.unpack("d", _shared)[0]
class _Shifted(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls.fromtimestamp(time.time(), tz)
datetime.datetime = _Shifted
def _count(*_):
    gc.collect()
    getattr(ctypes.CDLL(None), "malloc_trim", int)(0)
    with open(os.environ["SOAK_TASKS"] + f"/{os.getpid()}", "w") as told:
        told.write(f"{len(asyncio.all_tasks())} {sys.getallocatedblocks()}")
signal.signal(signal.SIGUSR1, _count)
"""


class Answer(NamedTuple):
    text: str
    is_error: bool


class Lost(Exception):
    """The answer was lost together with the process or the connection."""


class Hung(Exception):
    """There was no answer within the most time that a call may take."""


class Way(Protocol):
    """How a client reaches its server."""

    def call(self, tool: str, arguments: dict[str, Any]) -> Answer:
        """Call a tool.

        Raises:
            Lost, Hung: there is no answer.
        """

    def close(self) -> None: ...


#: The answer of the person at the client to a question: the result of the request.
Person = Callable[[dict[str, Any]], dict[str, Any]]


class Stdio:
    """A process that a client has started; one that was killed is started again with the next call.

    Its lines go into `out`, and its log into `err`, over all restarts.
    """

    def __init__(
        self,
        command: Sequence[str],
        env: Mapping[str, str],
        out: Path,
        err: Path,
        *,
        patience: float,
        person: Person | None,
    ) -> None:
        self._command, self._env, self._out, self._err = command, environment(**env), out, err
        self._patience, self._person = patience, person
        self._numbers = itertools.count(1)
        self._killed = self._closed = False
        #: Set while it must not be restarted.
        self.held = threading.Event()
        #: How often it ended without being told to.
        self.ended = 0
        self._start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def _start(self) -> None:
        with self._err.open("ab") as err:
            self._process = subprocess.Popen(
                self._command, env=self._env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=err
            )
        self._killed = False
        self._lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        assert self._process.stdout is not None
        threading.Thread(target=self._read, args=(self._process.stdout, self._lines), daemon=True).start()
        hello = {
            "protocolVersion": LEGACY,
            "capabilities": {"elicitation": {}} if self._person else {},
            "clientInfo": {"name": "soak", "version": "1"},
        }
        self._ask("initialize", hello)
        self._write({"jsonrpc": "2.0", "method": "notifications/initialized"})

    def _read(self, stream: IO[bytes], lines: queue.SimpleQueue[bytes]) -> None:
        with self._out.open("ab") as out:
            for line in stream:
                out.write(line)
                lines.put(line)
        lines.put(b"")

    def _write(self, message: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(message).encode() + b"\n")
            self._process.stdin.flush()
        except OSError:
            raise Lost from None

    def _ask(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        number = next(self._numbers)
        self._write({"jsonrpc": "2.0", "id": number, "method": method, "params": params})
        while True:
            try:
                line = self._lines.get(timeout=self._patience)
            except queue.Empty:
                raise Hung from None
            if not line:
                raise Lost
            message = json.loads(line)
            if "method" in message and "id" in message:
                assert self._person is not None
                self._write({"jsonrpc": "2.0", "id": message["id"], "result": self._person(message)})
            elif message.get("id") == number:
                found: dict[str, Any] = message
                return found

    def call(self, tool: str, arguments: dict[str, Any]) -> Answer:
        try:
            if self._process.poll() is not None:
                self._reap()
                self._start()
            message = self._ask("tools/call", {"name": tool, "arguments": arguments})
        except Lost:
            self._reap()
            raise
        return _answer(message)

    def _reap(self) -> None:
        self._process.wait(20)
        if not self._killed and not self._closed:
            self.ended += 1
        self._killed = True
        for each in (self._process.stdin, self._process.stdout):
            assert each is not None
            with suppress(OSError):
                each.close()

    def kill(self) -> None:
        """Kill it, as a crash would."""
        self._killed = True
        self._process.kill()

    def stop(self) -> None:
        """End it as a host does, so that it reads its App again."""
        self._killed = True
        self._process.terminate()

    def close(self) -> None:
        self._closed = True
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._reap()


class Web:
    """HTTP to one of several servers, chosen at random; its key is read again if it was refused."""

    def __init__(
        self, servers: Sequence[Served], key: Callable[[], str], version: str, draw: Random, *, patience: float
    ) -> None:
        self._servers, self._key, self._version, self._draw = servers, key, version, draw
        self._patience = patience
        self._callers: dict[str, Caller] = {}

    def call(self, tool: str, arguments: dict[str, Any]) -> Answer:
        server = self._draw.choice(self._servers)
        try:
            caller = self._callers.get(server.url) or self._opened(server)
            answer = caller.tool(tool, **arguments)
            if answer.status != 200:
                self._forget(server)
                return Answer(f"{answer.status}: {answer.text}", is_error=True)
            return _answer(answer.message)
        except TimeoutError:
            self._forget(server)
            raise Hung from None
        except (OSError, HTTPException, ValueError):
            # A broken connection, or a truncated answer.
            self._forget(server)
            raise Lost from None

    def _opened(self, server: Served) -> Caller:
        made = Caller(server.url, {"X-Api-Key": self._key()}, version=self._version, seconds=self._patience)
        if self._version == LEGACY:
            made.opened()
        self._callers[server.url] = made
        return made

    def _forget(self, server: Served) -> None:
        caller = self._callers.pop(server.url, None)
        if caller is not None:
            caller.__exit__()

    def close(self) -> None:
        for server in self._servers:
            self._forget(server)


def _answer(message: dict[str, Any]) -> Answer:
    if "error" in message:
        return Answer(json.dumps(message["error"], ensure_ascii=False), is_error=True)
    result = message["result"]
    text = "\n".join(each["text"] for each in result.get("content", ()) if each["type"] == "text")
    is_complete = result.get("resultType", "complete") == "complete"
    return Answer(text or json.dumps(result, ensure_ascii=False)[:2000], bool(result.get("isError")) or not is_complete)


def memory_of(pid: int) -> dict[str, float]:
    """Bytes in memory, open files and threads of a process."""
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return {
        "memory": float(fields["VmRSS"].split()[0]) * 1024,
        "files": float(len(os.listdir(f"/proc/{pid}/fd"))),
        "threads": float(fields["Threads"]),
    }
