"""`waha-mcp` in processes forked from one that has imported it: real processes, which start in a fifth of the time.

`python -m tests.evals.forked [CODE]` is the parent; it runs the Python in CODE first. Over a Unix socket at its stdin
it takes the arguments and the environment of a process as a line of JSON, with its standard streams and the end of a
pipe that it holds for as long as it lives, and answers with its id in a line.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import pkgutil
import select
import signal
import socket
import subprocess
import sys
import threading
from contextlib import ExitStack, suppress
from types import TracebackType
from typing import IO, Self

#: The most bytes read from the socket at once.
_CHUNK = 65_536
#: What `serve` has imported by the time that it has done something, and what the listener imports.
_ROOMS = (
    "app", "bridge", "cli", "feed", "history", "listening", "people", "policy", "server", "store", "tools", "waha",
    "whatsapp",
)  # fmt: skip


class Forked:
    """A forked process: the part of `subprocess.Popen` that is used here, with pipes at stdin and stdout."""

    def __init__(self, pid: int, stdin: IO[bytes], stdout: IO[bytes], life: IO[bytes]) -> None:
        """`life` ends with the process."""
        self.pid = pid
        self.stdin: IO[bytes] | None = stdin
        self.stdout: IO[bytes] | None = stdout
        self._life = life

    def send_signal(self, sig: int) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.pid, sig)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def wait(self, timeout: float | None = None) -> None:
        """Wait until it has ended."""
        if not self._life.closed:
            if not select.select([self._life], [], [], timeout)[0]:
                raise TimeoutError
            self._life.close()


class Nursery:
    """Forks processes of `waha-mcp`, for any thread."""

    def __init__(self, first: str = "") -> None:
        """`first`: Python that is run in the parent before it forks."""
        self._near, far = socket.socketpair()
        self._lock = threading.Lock()
        with far:
            self._process = subprocess.Popen([sys.executable, "-m", "tests.evals.forked", first], stdin=far.fileno())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._near.close()
        self._process.wait(timeout=10)

    def launch(self, arguments: list[str], env: dict[str, str], log: IO[bytes]) -> Forked:
        """Fork one with these arguments, this environment, and this stderr."""
        line = json.dumps({"arguments": arguments, "env": env}).encode() + b"\n"
        with ExitStack() as theirs:
            (stdin, to), (out, stdout), (life, lives) = (os.pipe() for _ in range(3))
            for each in (stdin, stdout, lives):
                theirs.callback(os.close, each)
            with self._lock:
                sent = socket.send_fds(self._near, [line], [stdin, stdout, log.fileno(), lives])
                self._near.sendall(line[sent:])
                answer = _line(self._near, b"")
        return Forked(int(answer), os.fdopen(to, "wb"), os.fdopen(out, "rb"), os.fdopen(life, "rb"))


def _line(end: socket.socket, begun: bytes) -> bytes:
    """A line of which a part has been read already."""
    while not begun.endswith(b"\n"):
        more = end.recv(_CHUNK)
        if not more:
            raise SystemExit("the other end of the socket is closed")
        begun += more
    return begun


def _preload() -> None:
    """Import what takes long, and build what calls need."""
    for room in _ROOMS:
        module = importlib.import_module(f"waha_mcp.{room}")
        for each in pkgutil.walk_packages(getattr(module, "__path__", ()), f"{module.__name__}."):
            with suppress(ImportError):  # an extra that is not installed
                importlib.import_module(each.name)
    from waha_mcp.tools.catalog import CATALOG
    from waha_mcp.tools.toolsets import load_tools

    load_tools()
    for tool in CATALOG.values():
        tool.arguments.model_rebuild()


def _be(message: bytes, streams: list[int]) -> None:
    """Become the process, and run it to its end."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    wish = json.loads(message)
    for number, each in enumerate(streams[:3]):
        os.dup2(each, number)
        os.close(each)
    os.environ.clear()
    os.environ.update(wish["env"])
    sys.argv = ["waha-mcp", *wish["arguments"]]
    from waha_mcp.__main__ import main

    main()


def run(first: str) -> None:
    """Fork on request, until the other end is closed."""
    asked = socket.socket(fileno=os.dup(0))
    exec(first, {})
    _preload()
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        begun, streams, _, _ = socket.recv_fds(asked, _CHUNK, 4)
        if not begun:
            return
        message = _line(asked, begun)
        pid = os.fork()
        if pid == 0:
            asked.close()
            code = 1
            try:
                _be(message, streams)
                code = 0
            except SystemExit as ended:
                code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
        for each in streams:
            os.close(each)
        asked.sendall(b"%d\n" % pid)


if __name__ == "__main__":
    run(sys.argv[1] if len(sys.argv) > 1 else "")
