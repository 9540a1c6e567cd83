"""Failing connections to WAHA: real servers and networks, each with the reason that must be named."""

from __future__ import annotations

import errno
import json
import socket
import socketserver
import ssl
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.serving import serving
from tests.tls import Kind, certificate, in_front_of, tls_in_front_of
from waha_mcp.sandbox import SandboxInfo
from waha_mcp.waha import client
from waha_mcp.waha.errors import BadAnswer, Unreachable, Untrusted, WahaError


@dataclass
class Place:
    """The setting of a case. `url`, `ca_file`: fields of the App; `opened`: an item for each connection."""

    sandbox: SandboxInfo
    folder: Path
    patch: pytest.MonkeyPatch
    url: str = ""
    ca_file: Path | None = None
    opened: list[None] = field(default_factory=list)

    def __post_init__(self) -> None:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
            self.patch.delenv(name, raising=False)
            self.patch.delenv(name.lower(), raising=False)
        self.patch.setattr(client, "CONNECT_TIMEOUT", 0.2)
        self.patch.setattr("random.uniform", lambda *_: 0.0)


Open = Callable[[Place], AbstractContextManager[None]]


@contextmanager
def listening(place: Place, reply: bytes | None, context: ssl.SSLContext | None = None) -> Iterator[int]:
    """A server that answers any bytes with `reply` and closes; None: it waits until the client closes.

    `context`: for a TLS handshake before.
    """

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            place.opened.append(None)
            self.request.settimeout(10)
            try:
                if context is not None:
                    with suppress(ssl.SSLError):
                        context.wrap_socket(self.request.dup(), server_side=True).close()
                while self.request.recv(65_536):
                    if reply is not None:
                        self.request.sendall(reply)
                        break
            except OSError:
                pass

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads, block_on_close = True, True

    with serving(Server(("127.0.0.1", 0), Handler)) as port:
        yield port


def tls(kind: Kind, ca: str = "none") -> Open:
    """A server with a certificate. `ca`: the App's ca_file: "none", "right" or "other"."""

    @contextmanager
    def opened(place: Place) -> Iterator[None]:
        made = certificate(kind, place.folder)
        other = place.folder / "other"
        other.mkdir()
        if ca != "none":
            place.ca_file = made.ca_file if ca == "right" else certificate("self-signed", other).ca_file
        with tls_in_front_of(place.sandbox.url, made, place.opened) as place.url:
            yield

    return opened


def wants_a_certificate(version: ssl.TLSVersion) -> Open:
    @contextmanager
    def opened(place: Place) -> Iterator[None]:
        made = certificate("self-signed", place.folder)
        place.ca_file = made.ca_file
        context = made.context()
        context.verify_mode, context.maximum_version = ssl.CERT_REQUIRED, version
        with listening(place, None, context) as port:
            place.url = f"https://127.0.0.1:{port}"
            yield

    return opened


@contextmanager
def https_to_an_http_port(place: Place) -> Iterator[None]:
    with in_front_of(place.sandbox.url, None, place.opened) as url:
        place.url = url.replace("http:", "https:")
        yield


@contextmanager
def http_to_an_https_port(place: Place) -> Iterator[None]:
    with tls_in_front_of(place.sandbox.url, certificate("self-signed", place.folder), place.opened) as url:
        place.url = url.replace("https:", "http:")
        yield


def answering(status: str, body: str, *headers: str, scheme: str = "http") -> Open:
    """A server with one answer to everything."""
    head = "\r\n".join([f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers])

    @contextmanager
    def opened(place: Place) -> Iterator[None]:
        with listening(place, f"{head}\r\n\r\n{body}".encode()) as port:
            place.url = f"{scheme}://127.0.0.1:{port}"
            yield

    return opened


def page(status: str, text: str) -> Open:
    return answering(status, f"<html><body>{text}</body></html>", "Content-Type: text/html")


def silent(reply: bytes | None, scheme: str) -> Open:
    @contextmanager
    def opened(place: Place) -> Iterator[None]:
        with listening(place, reply) as port:
            place.url = f"{scheme}://127.0.0.1:{port}"
            yield

    return opened


@contextmanager
def nothing_listens(place: Place) -> Iterator[None]:
    with socket.socket() as bound:  # bound without listening, so that nobody else takes the port
        bound.bind(("127.0.0.1", 0))
        place.url = f"http://127.0.0.1:{bound.getsockname()[1]}"
        yield


def lookup_fails(code: int) -> Open:
    @contextmanager
    def opened(place: Place) -> Iterator[None]:
        def getaddrinfo(*_: Any, **__: Any) -> Any:
            place.opened.append(None)
            raise socket.gaierror(code, "no")

        place.patch.setattr(socket, "getaddrinfo", getaddrinfo)
        place.url = "https://waha.invalid"
        yield

    return opened


@contextmanager
def no_way_there(place: Place) -> Iterator[None]:
    async def connect_tcp(*_: Any, **__: Any) -> Any:
        place.opened.append(None)
        raise OSError("All connection attempts failed") from OSError(errno.EHOSTUNREACH, "No route to host")

    place.patch.setattr(anyio, "connect_tcp", connect_tcp)
    place.url = "https://192.0.2.1:3000"
    yield


@contextmanager
def no_answer(place: Place) -> Iterator[None]:
    async def connect_tcp(*_: Any, **__: Any) -> Any:
        place.opened.append(None)
        await anyio.sleep_forever()

    place.patch.setattr(anyio, "connect_tcp", connect_tcp)
    place.url = "https://192.0.2.1:3000"
    yield


def a_proxy_that_refuses(status: str) -> Open:
    @contextmanager
    def opened(place: Place) -> Iterator[None]:
        with listening(place, f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode()) as port:
            place.patch.setenv("HTTPS_PROXY", f"http://user:secret@127.0.0.1:{port}")
            place.url = "https://waha.example:3000"
            yield

    return opened


@contextmanager
def a_proxy_that_is_away(place: Place) -> Iterator[None]:
    with nothing_listens(place):
        place.patch.setenv("HTTPS_PROXY", place.url.replace("//", "//user:secret@"))
        place.url = "https://waha.example:3000"
        yield


@dataclass(frozen=True)
class Case:
    """A reason. `cause`, `step`: parts of the text; the step as a person reads it."""

    open: Open
    cause: str
    step: str
    error: type[WahaError] = Unreachable
    ca_file_helps: bool = False
    tries: int = 1
    #: The number of handshakes without a request that finding the reason takes.
    looks: int = 0
    #: Whether the request may have left, so that the outcome of a change is unknown.
    left: bool = False


CA_FILE = "set the App's ca_file (--ca-file of `waha-mcp init`) to a file with"
SSH = b"SSH-2.0-OpenSSH_9.9\r\n"
LOGIN = ("Location: https://login.example/in?next=/api/chats&token=SECRET",)
CASES: dict[str, Case] = {
    "a self-signed certificate": Case(
        tls("self-signed"), "its certificate is self-signed", f"{CA_FILE} that certificate (PEM)", Untrusted, True
    ),
    "an unknown authority": Case(
        tls("unknown authority"), "signed by an authority that this machine does not trust",
        f"{CA_FILE} the authority's certificate (PEM)", Untrusted, True,
    ),
    "a ca_file of something else": Case(
        tls("unknown authority", "other"), "its certificate is not trusted by the App's ca_file",
        "put the certificate of WAHA or of its authority (PEM) there", Untrusted, True,
    ),
    "a self-signed certificate, and a ca_file of something else": Case(
        tls("self-signed", "other"), "its certificate is not trusted by the App's ca_file",
        "put the certificate of WAHA or of its authority (PEM) there", Untrusted, True,
    ),
    "an expired certificate": Case(
        tls("expired", "right"), "its certificate has expired", "renew it, or correct this machine's clock", Untrusted
    ),
    "a certificate that is not valid yet": Case(
        tls("not yet valid", "right"), "its certificate is not valid yet", "correct this machine's clock", Untrusted
    ),
    "a certificate of another host": Case(
        tls("other host", "right"), "its certificate is not valid for 127.0.0.1, only for waha.invalid",
        "correct the host in the App's url", Untrusted, looks=1,
    ),
    "a client certificate wanted": Case(
        wants_a_certificate(ssl.TLSVersion.TLSv1_3), "it requires a client certificate",
        "an address of WAHA that needs none", left=True, tries=3,
    ),
    "a client certificate wanted in the handshake": Case(
        wants_a_certificate(ssl.TLSVersion.TLSv1_2), "it requires a client certificate",
        "an address of WAHA that needs none",
    ),
    "https to an http port": Case(
        https_to_an_http_port, "what listens there does not speak TLS", "set the App's url to http://"
    ),
    "https to a port of something else": Case(
        silent(SSH, "https"), "what listens there does not speak TLS", "correct its port",
    ),
    "http to an https port that closes": Case(
        http_to_an_https_port, "speaks https", "set the App's url to https://", left=True, tries=3, looks=1,
    ),
    "http to nginx's https port": Case(
        page("400 Bad Request", "<center>The plain HTTP request was sent to HTTPS port</center>"),
        "What listens at WAHA's URL speaks https", "set the App's url to https://", BadAnswer, left=True,
    ),
    "http to an https port that answers in TLS": Case(
        silent(b"\x15\x03\x01\x00\x02\x02\x16", "http"), "speaks https", "set the App's url to https://",
        left=True, tries=3, looks=1,
    ),
    "http to a port of something else": Case(
        silent(SSH, "http"), "closes the connection without an HTTP answer", "correct the App's url",
        left=True, tries=3, looks=1,
    ),
    "http to Apache's https port": Case(
        page("400 Bad Request", "Reason: You're speaking plain HTTP to an SSL-enabled server port.<br />"),
        "speaks https", "set the App's url to https://", BadAnswer, left=True,
    ),
    "http to Go's https port": Case(
        answering("400 Bad Request", "Client sent an HTTP request to an HTTPS server.\n", "Content-Type: text/plain"),
        "speaks https", "set the App's url to https://", BadAnswer, left=True,
    ),
    "http to Tomcat's https port": Case(
        answering("400 ", "Bad Request\nThis combination of host and port requires TLS.\n", "Content-Type: text/plain"),
        "speaks https", "set the App's url to https://", BadAnswer, left=True,
    ),
    "nginx that wants a client certificate": Case(
        page("400 Bad Request", "<center>No required SSL certificate was sent</center>"),
        "requires a client certificate, and waha-mcp has none", "that needs none", BadAnswer, left=True,
    ),
    "closed in the handshake": Case(
        silent(b"", "https"), "the connection was closed in the TLS handshake", "look at what runs there", tries=3,
    ),
    "silent in the handshake": Case(
        silent(None, "https"), "timed out: nothing answers there", "correct the App's url", tries=3,
    ),
    "no answer to the connection": Case(
        no_answer, "timed out: nothing answers there", "no firewall blocks it", tries=3
    ),
    "a name that is none": Case(
        lookup_fails(socket.EAI_NONAME), "there is no host named waha.invalid", "correct the App's url"
    ),
    "a name that cannot be looked up": Case(
        lookup_fails(socket.EAI_AGAIN), "the name waha.invalid cannot be looked up now (DNS)",
        "look at this machine's network", tries=3,
    ),
    "nothing listens": Case(
        nothing_listens, "was refused: nothing listens there", "start WAHA or correct the App's url", tries=0
    ),
    "no way there": Case(
        no_way_there, "there is no route to that address", "correct the App's url", tries=3
    ),
    "a proxy that refuses": Case(
        a_proxy_that_refuses("403 Forbidden"),
        "the proxy that the environment names refuses it (403)", "set NO_PROXY=waha.example there"
    ),
    "a proxy that wants a password": Case(
        a_proxy_that_refuses("407 Proxy Authentication Required"),
        "the proxy that the environment names refuses it (407)", "set NO_PROXY=waha.example there",
    ),
    "a proxy that is away": Case(
        a_proxy_that_is_away,
        "the proxy that the environment names, 127.0.0.1:",
        "correct HTTP_PROXY, HTTPS_PROXY or ALL_PROXY", tries=0,
    ),
    "a login page by a redirect": Case(
        answering("302 Found", "", *LOGIN), "redirects to https on login.example",
        "set the App's url to WAHA itself", BadAnswer, left=True,
    ),
    "a login page": Case(
        page("200 OK", "Log in"), "A web page came back where WAHA's API should be", "check the App's url",
        BadAnswer, left=True,
    ),
    "a proxy without WAHA behind it": Case(
        page("502 Bad Gateway", "502"), "The proxy in front of WAHA answered 502, as it got no usable answer from WAHA",
        "start WAHA or look at the proxy", BadAnswer, left=True, tries=3,
    ),
    "Cloudflare without WAHA behind it": Case(
        page("521 Web Server Is Down", "521"),
        "The proxy in front of WAHA answered 521, as it got no usable answer from WAHA",
        "start WAHA or look at the proxy", BadAnswer, left=True,
    ),
    "another program's 404": Case(
        answering("404 Not Found", json.dumps({"detail": "Not Found"}), "Content-Type: application/json"),
        "Something in front of WAHA, and not WAHA itself, answered 404", "check the App's url", BadAnswer, left=True,
    ),
}  # fmt: skip
