"""Socket servers in threads, and free ports for servers that get theirs as an argument."""

from __future__ import annotations

import random
import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def serving(server: socketserver.BaseServer) -> Iterator[int]:
    """Serve until the block ends, and close; yields the port."""
    with server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield server.server_address[1]  # type: ignore[index, misc]  # of a TCP server
        finally:
            server.shutdown()
            thread.join()


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on, and that no outgoing connection gets."""
    while True:
        with socket.socket() as probe, suppress(OSError):
            port = random.randrange(12_000, 32_000)
            probe.bind(("127.0.0.1", port))
            return port
