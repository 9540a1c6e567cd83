"""The client's end of stdio: threads read lines from one descriptor and write lines to another.

It opens before the event loop and the SDK are loaded. Lines wait in it until `connect`; the requests of a prepared
opening are answered at once. Nothing heavy is imported here.
"""

from __future__ import annotations

import os
import queue
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from waha_mcp.server.prepared import Prepared, Replies

#: Longest line in bytes: tools take files of up to 32 MiB as base64.
MOST = 64 * 2**20
#: Bytes kept of each end of a line that is too long, to find its id in.
END = 4096
#: Most lines waiting for `connect`; further ones are not read.
_WAITING = 32
#: Most bytes of one read.
_CHUNK = 2**20


class TooLong(NamedTuple):
    """A line longer than the limit: its first and last `END` bytes."""

    head: bytes
    tail: bytes


class Early(NamedTuple):
    """A line that arrived before `connect`, and the result it was answered with; None: not answered."""

    line: bytes | TooLong
    result: dict[str, Any] | None


def lines(read: Callable[[], bytes], most: int = MOST) -> Iterator[bytes | TooLong]:
    """Split the chunks that `read` returns, until an empty one, into lines without newline. `most`: bytes of a line."""
    line = bytearray()
    tail: bytes | None = None
    while chunk := read():
        *ended, rest = chunk.split(b"\n")
        for part, ends in [*((part, True) for part in ended), (rest, False)]:
            if tail is None and len(line) + len(part) <= most:
                line += part
            else:
                tail = ((bytes(line[-END:]) if tail is None else tail) + part)[-END:]
                del line[END:]
            if ends:
                yield bytes(line) if tail is None else TooLong(bytes(line), tail)
                line, tail = bytearray(), None
    if line:  # the last line, without a newline
        yield bytes(line) if tail is None else TooLong(bytes(line), tail)


class Wire:
    """stdin and stdout. The threads are daemons: the process does not wait for them."""

    def __init__(self, prepared: Prepared | None = None) -> None:
        """Take over stdin and stdout, and answer the prepared opening."""
        self._replies = None if prepared is None else Replies(prepared)
        #: Set when the listing has been answered, when no prepared opening matches, or when stdin has ended.
        self._opened = threading.Event()
        self._lock = threading.Lock()
        self._early: list[Early] = []
        self._receive: Callable[[bytes | TooLong], bool] | None = None
        self._end: Callable[[], object] = lambda: None
        self._connected = threading.Event()
        self._to_write: queue.SimpleQueue[tuple[bytes, Callable[[], object]]] = queue.SimpleQueue()
        for work, descriptor in zip((self._read, self._write), _take_descriptors(), strict=True):
            if sys.platform != "win32":
                os.set_blocking(descriptor, True)
            threading.Thread(target=work, args=(descriptor,), daemon=True).start()

    def wait_for_opening(self, seconds: float) -> None:
        """Wait until the listing is answered or known not to be prepared, for at most `seconds`."""
        self._opened.wait(seconds)

    def connect(self, receive: Callable[[bytes | TooLong], bool], end: Callable[[], object]) -> list[Early]:
        """From now on pass each line to `receive`, in the reading thread; return the earlier lines.

        `receive` returns whether it takes more. `end` is called, in a thread, when stdin has ended or stdout is closed.
        """
        self._end = end
        with self._lock:
            self._receive = receive
            early, self._early = self._early, []
        self._connected.set()
        return early

    def write(self, line: bytes, written: Callable[[], object]) -> None:
        """Write a line; in the writing thread `written` is called after it, whether or not stdout is closed."""
        self._to_write.put((line, written))

    # In threads

    def _read(self, descriptor: int) -> None:
        def chunk() -> bytes:
            try:
                return os.read(descriptor, _CHUNK)
            except OSError:
                return b""

        for line in lines(chunk):
            with self._lock:
                receive = self._receive
                if receive is None:
                    self._early.append(Early(line, self._answered(line)))
                    full = len(self._early) == _WAITING
            if receive is not None:
                if not receive(line):
                    return
            elif full:
                self._connected.wait()
        self._opened.set()
        self._connected.wait()
        self._end()

    def _answered(self, line: bytes | TooLong) -> dict[str, Any] | None:
        if self._replies is None:
            return None
        if isinstance(line, TooLong) or (reply := self._replies.reply(line)) is None:
            if not self._replies.begun:
                self._opened.set()
            return None
        answer, result = reply
        self.write(answer, lambda: None)
        if self._replies.listed:
            self._opened.set()
        return result

    def _write(self, descriptor: int) -> None:
        heard = True
        while True:
            line, written = self._to_write.get()
            left = memoryview(line)
            while left and heard:
                try:
                    left = left[os.write(descriptor, left) :]
                except OSError:
                    # Nobody reads the answers: end as if stdin had been closed.
                    heard = False
                    self._connected.wait()
                    self._end()
            written()


def _take_descriptors() -> tuple[int, int]:
    """Duplicate stdin and stdout; the new descriptors.

    The standard ones are redirected to the null device and stderr, so that a stray print or a child process cannot
    write into the protocol.
    """
    wire = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(2 if sys.stderr is not None else nothing, 1)
    os.close(nothing)
    return wire
