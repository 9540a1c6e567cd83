"""A way to a server that can be taken away."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress


class Forwarder:
    """Listens on a port (0: a free one) and passes all on to another, until it is closed.

    `close` returns when no connection through it is left.
    """

    def __init__(self, to: int, port: int = 0) -> None:
        self._to = to
        self._listening = socket.create_server(("127.0.0.1", port))
        self.port: int = self._listening.getsockname()[1]
        #: How many answers are still to be cut off.
        self.cuts = 0
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._accepting = self._run(self._accept)

    def _run(self, what: Callable[..., None], *given: object) -> threading.Thread:
        thread = threading.Thread(target=what, args=given)
        thread.start()
        return thread

    def cut(self) -> None:
        """Close the connection in place of the next answer."""
        assert self.cuts == 0
        self.cuts = 1

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                self._open.append(client)
                try:
                    server = socket.create_connection(("127.0.0.1", self._to))
                except OSError:
                    client.close()
                    continue
                self._open.append(server)
                self._threads += [
                    self._run(self._pass, client, server, False),
                    self._run(self._pass, server, client, True),
                ]

    def _pass(self, one: socket.socket, other: socket.socket, answers: bool) -> None:
        with suppress(OSError):
            while data := one.recv(65536):
                if answers and self.cuts:
                    self.cuts = 0
                    break
                other.sendall(data)
        for each in (one, other):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._accepting.join(timeout=10)
        for each in self._open:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(timeout=10)
        for each in (self._listening, *self._open):
            each.close()
