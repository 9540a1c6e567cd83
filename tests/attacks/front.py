"""A proxy between the server and WAHA that answers in its place or spoils its answers."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from waha_mcp.sandbox import SandboxInfo

#: Handles one request: it gets the connection to write to, and a function that forwards the request and returns WAHA's
#: whole answer.
Does = Callable[[socket.socket, Callable[[], bytes]], None]


#: The number of bytes in a slow answer, five a second: it takes twice as long as the deadline of `hijacked.SOONER`.
DRIPS = 20


class Front:
    """A proxy on loopback, one request per connection. `rules` say what it does with requests.

    A rule is a method and the beginning of a path with its query, such as `POST /api/sendText`. Requests without a rule
    are forwarded. `hits` lists the rules that were applied.
    """

    def __init__(self, upstream: str) -> None:
        parts = urlsplit(upstream)
        self._upstream = str(parts.hostname), int(parts.port or 80)
        self.rules: dict[str, Does] = {}
        self.hits: list[str] = []
        self._listening = self._listen(0)
        self._port = self._listening.getsockname()[1]
        self.url = f"http://127.0.0.1:{self._port}"

    def _listen(self, port: int) -> socket.socket:
        listening = socket.create_server(("127.0.0.1", port))
        threading.Thread(target=self._accept, args=(listening,), daemon=True).start()
        return listening

    def _accept(self, listening: socket.socket) -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.settimeout(30)
            head, _, body = _until(connection, b"\r\n\r\n").partition(b"\r\n\r\n")
            if not head:
                return
            first, *headers = head.split(b"\r\n")
            length = next((int(each[15:]) for each in headers if each.lower().startswith(b"content-length:")), 0)
            while len(body) < length:
                body += connection.recv(65_536)
            kept = [each for each in headers if not each.lower().startswith(b"connection:")]
            request = b"\r\n".join([first, *kept, b"Connection: close", b"", body])
            wanted = first.decode().rpartition(" ")[0]
            rule = next((each for each in self.rules if wanted.startswith(each)), None)
            if rule is None:
                connection.sendall(self._hand_on(request))
                return
            self.hits.append(rule)
            self.rules[rule](connection, lambda: self._hand_on(request))

    def _hand_on(self, request: bytes) -> bytes:
        with socket.create_connection(self._upstream, timeout=30) as upstream:
            upstream.sendall(request)
            return _until(upstream, None)

    def shut(self) -> None:
        """Refuse connections from here on."""
        # A blocked accept() keeps the port open until it is woken up.
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def open(self) -> None:
        """Take connections again."""
        self._listening = self._listen(self._port)


def _until(connection: socket.socket, end: bytes | None) -> bytes:
    """Read until `end`, or until the other side closes."""
    got = b""
    while (end is None or end not in got) and (more := connection.recv(65_536)):
        got += more
    return got


@contextmanager
def front(sandbox: SandboxInfo) -> Iterator[Front]:
    made = Front(sandbox.url)
    try:
        yield made
    finally:
        made.shut()


def answer(body: bytes, status: str = "200 OK", *headers: str, kind: str = "application/json") -> bytes:
    """An HTTP answer."""
    head = [f"HTTP/1.1 {status}", f"Content-Type: {kind}", f"Content-Length: {len(body)}", "Connection: close"]
    return "\r\n".join([*head, *headers, "", ""]).encode() + body


def says(what: bytes) -> Does:
    """Answer in WAHA's place; the request is not forwarded."""
    return lambda connection, hand_on: connection.sendall(what)


def after(what: bytes) -> Does:
    """Let WAHA do it, and send another answer."""

    def do(connection: socket.socket, hand_on: Callable[[], bytes]) -> None:
        hand_on()
        connection.sendall(what)

    return do


def cut(part: float) -> Does:
    """Let WAHA do it, pass a part of its answer on, and close the connection."""

    def do(connection: socket.socket, hand_on: Callable[[], bytes]) -> None:
        whole = hand_on()
        connection.sendall(whole[: int(len(whole) * part)])

    return do


def reset(connection: socket.socket, hand_on: Callable[[], bytes]) -> None:
    """Let WAHA do it, and reset the connection."""
    hand_on()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


def half_closed(connection: socket.socket, hand_on: Callable[[], bytes]) -> None:
    """Close this direction first, then forward the request."""
    connection.shutdown(socket.SHUT_WR)
    hand_on()


def silent(connection: socket.socket, hand_on: Callable[[], bytes]) -> None:
    """Let WAHA do it, and send nothing until the client gives up."""
    hand_on()
    connection.recv(1)


def drips(what: bytes, at_once: int = 0) -> Does:
    """Let WAHA do it, and send an answer byte by byte, for longer than any client waits."""

    def do(connection: socket.socket, hand_on: Callable[[], bytes]) -> None:
        hand_on()
        connection.sendall(what[:at_once])
        for at in range(at_once, at_once + DRIPS):
            connection.sendall(what[at : at + 1])
            time.sleep(0.2)

    return do


def zeros(mebibytes: int) -> bytes:
    """gzip of this many MiB of spaces. One repeated block is compressed, so that memory stays small."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    head = packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(b" " * 2**20) + packer.flush(zlib.Z_FULL_FLUSH)
    return head + block * mebibytes + packer.flush()
