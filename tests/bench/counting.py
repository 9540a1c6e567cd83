"""A proxy to WAHA that counts requests and the bytes of answers."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from threading import Lock, Thread
from urllib.parse import urlsplit

_CHUNK = 1 << 16


@dataclass
class Counter:
    """`url`: the proxy's. Bytes are those of whole answers, including heads."""

    url: str = ""
    requests: int = 0
    bytes: int = 0
    _lock: Lock = field(default_factory=Lock)

    def add(self, *, requests: int = 0, size: int = 0) -> None:
        """Count, from any thread."""
        with self._lock:
            self.requests += requests
            self.bytes += size

    def seen(self) -> tuple[int, int]:
        """Requests and bytes until now."""
        with self._lock:
            return self.requests, self.bytes


@contextmanager
def counting(url: str) -> Iterator[Counter]:
    """Forward connections to a plain HTTP server, whose clients wait for an answer before the next request."""
    target = urlsplit(url)
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        counter = Counter(f"http://127.0.0.1:{listener.getsockname()[1]}")

        def accept() -> None:
            with suppress(OSError):
                while True:
                    client, _ = listener.accept()
                    _pass_on(client, (target.hostname or "", target.port or 80), counter)

        Thread(target=accept, daemon=True).start()
        yield counter
        # Closing alone would leave accept() blocked.
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)


def _pass_on(client: socket.socket, target: tuple[str, int], counter: Counter) -> None:
    server = socket.create_connection(target)
    for each in (client, server):
        each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    asking = False

    def asks(size: int) -> None:
        # A request may come in several pieces; the next one comes after an answer.
        nonlocal asking
        counter.add(requests=not asking)
        asking = True

    def answers(size: int) -> None:
        nonlocal asking
        counter.add(size=size)
        asking = False

    def pump(source: socket.socket, sink: socket.socket, count: Callable[[int], None]) -> None:
        with suppress(OSError):
            while data := source.recv(_CHUNK):
                count(len(data))
                sink.sendall(data)
        for each in (source, sink):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    for source, sink, count in ((client, server, asks), (server, client, answers)):
        Thread(target=pump, args=(source, sink, count), daemon=True).start()
