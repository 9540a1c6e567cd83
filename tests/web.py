"""A web server on loopback that serves files, and keeps what it was asked."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.serving import serving

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 40

#: Answers a request with something other than a file.
Does = Callable[[BaseHTTPRequestHandler], None]


@dataclass
class Web:
    """`files`: paths without query to answers, each a body with its type, or a function."""

    port: int = 0
    scheme: str = "http"
    files: dict[str, tuple[bytes, str] | Does] = field(default_factory=dict)
    #: Paths with their queries, in order.
    asked: list[str] = field(default_factory=list)
    #: The headers of each request.
    headers: list[dict[str, str]] = field(default_factory=list)
    #: How many connections were taken.
    connections: int = 0

    def url(self, path: str = "/a.png", host: str = "127.0.0.1") -> str:
        return f"{self.scheme}://{host}:{self.port}{path}"

    def forget(self) -> None:
        self.asked.clear()
        self.headers.clear()
        self.connections = 0


@contextmanager
def web(tls: ssl.SSLContext | None = None) -> Iterator[Web]:
    """A server with one picture, at `/a.png`."""
    made = Web(scheme="https" if tls else "http", files={"/a.png": (PNG, "image/png")})

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            made.asked.append(self.path)
            made.headers.append({name.lower(): value for name, value in self.headers.items()})
            found = made.files.get(self.path.partition("?")[0])
            if found is None:
                self.send_error(404)
            elif isinstance(found, tuple):
                body, kind = found
                answer(body, kind)(self)
            else:
                found(self)

        def log_message(self, *_: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def get_request(self) -> Any:
            made.connections += 1
            return super().get_request()

        def handle_error(self, *_: Any) -> None:
            pass

    server = Server(("127.0.0.1", 0), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    with serving(server) as made.port:
        yield made


def answer(body: bytes, kind: str = "image/png", status: int = 200, **headers: str) -> Does:
    """A whole answer."""

    def do(request: BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        if kind:
            request.send_header("Content-Type", kind)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            request.send_header(name.replace("_", "-"), value)
        request.end_headers()
        request.wfile.write(body)

    return do


def redirect(to: str, status: int = 302) -> Does:
    return answer(b"", "", status, Location=to)
