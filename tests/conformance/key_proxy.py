"""A proxy that adds a key to each request, which the suite cannot do, and changes nothing else, not even `Host`."""

from __future__ import annotations

import socket
from contextlib import AbstractContextManager, suppress
from socketserver import StreamRequestHandler, ThreadingTCPServer
from threading import Thread

from tests.serving import serving


def adding_key(address: tuple[str, int], key: str) -> AbstractContextManager[int]:
    """Forward requests to a server, each on a separate connection; yields the port."""

    class Handler(StreamRequestHandler):
        def handle(self) -> None:
            head = []
            while (line := self.rfile.readline()) not in (b"\r\n", b""):
                if not line.lower().startswith(b"connection:"):
                    head.append(line)
            if not head:
                return
            # Otherwise the client would send its next request on this connection, past the head that gets the key.
            head += [f"X-Api-Key: {key}\r\n".encode(), b"Connection: close\r\n", b"\r\n"]
            with socket.create_connection(address) as server:
                server.sendall(b"".join(head))
                Thread(target=self._body, args=(server,), daemon=True).start()
                with suppress(OSError):
                    while part := server.recv(65536):
                        self.connection.sendall(part)

        def _body(self, server: socket.socket) -> None:
            # A ValueError: the server's answer has ended, and `handle` with it, which closes the file.
            with suppress(OSError, ValueError):
                while part := self.rfile.read1(65536):
                    server.sendall(part)
            # The client has left: the server must see that, as it would without the proxy.
            with suppress(OSError):
                server.shutdown(socket.SHUT_RDWR)

    class Server(ThreadingTCPServer):
        allow_reuse_address, daemon_threads, request_queue_size = True, True, 128

    return serving(Server(("127.0.0.1", 0), Handler))
