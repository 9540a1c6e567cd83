"""Connections to WAHA: whether a request may have been sent, and why a connection failed.

The reason is read from the causes of an httpx error. Its text may quote a URL, so our messages leave it out.
"""

from __future__ import annotations

import errno
import os
import socket
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import anyio
import httpx
from anyio.streams.tls import TLSAttribute

from waha_mcp.files import stamp_of
from waha_mcp.waha.errors import Unreachable, Untrusted, clean

#: Errors that end a request before any byte of it was sent.
_BEFORE = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError, httpx.UnsupportedProtocol)
#: OpenSSL's codes (X509_V_ERR_...) for a self-signed certificate; for one that no known authority has signed; for one
#: that has expired or is not yet valid; and for one of another host.
_SELF_SIGNED, _UNKNOWN_AUTHORITY = (18,), (2, 19, 20, 21)
_EXPIRED, _NOT_YET_VALID, _OTHER_HOST = (10,), (9,), (62, 64)
#: Endings of OpenSSL's reasons: a server that requires a client certificate, has none for the host name, or speaks an
#: old TLS.
_WANTS_CERTIFICATE = ("ALERT_CERTIFICATE_REQUIRED", "ALERT_BAD_CERTIFICATE", "ALERT_HANDSHAKE_FAILURE")
_NO_CERTIFICATE = ("UNRECOGNIZED_NAME", "ALERT_INTERNAL_ERROR")
_OLD_TLS = ("ALERT_PROTOCOL_VERSION", "UNSUPPORTED_PROTOCOL")
_NO_WAY = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL, errno.ENETDOWN, errno.EHOSTDOWN)
_CUT = (errno.ECONNRESET, errno.ECONNABORTED, errno.EPIPE)
_NO_NAME = tuple(getattr(socket, name) for name in ("EAI_NONAME", "EAI_NODATA") if hasattr(socket, name))
#: Seconds for a second connection to a server that makes the handshake alone.
_LOOK = 3.0


class Departure:
    """Tracks whether any byte of a request may have been sent; if unknown, it counts as sent (`left` is True)."""

    left = False
    #: Whether an answer has begun.
    answered = False
    #: Host and port of the connection: the server's or a proxy's.
    peer: tuple[str, int] | None = None

    def failed(self, failure: httpx.TransportError) -> None:
        """Record a transport error: unless the error precedes sending, the request counts as sent, traced or not."""
        self.left = self.left or not isinstance(failure, _BEFORE)

    async def trace(self, event: str, info: Mapping[str, Any]) -> None:
        """httpcore's trace callback, called at each step of a request."""
        if event.endswith(".connect_tcp.started"):
            self.peer = (info["host"], info["port"])
        # A CONNECT request goes to a proxy only.
        if event.endswith(".send_request_headers.started") and info["request"].method != b"CONNECT":
            self.left = True


def trusted(url: str, ca_file: Path | None) -> ssl.SSLContext:
    """The TLS context for connections to `url`; do not modify it, since all connections share it.

    The default authorities take tens of milliseconds to load and most of a megabyte of memory. `ca_file` replaces them.
    """
    if not url.lower().startswith("https:"):
        # Plain http needs none, and an empty store trusts no server.
        return _loaded(False, None, ())
    names = (ca_file, *(os.environ.get(name) for name in ("SSL_CERT_FILE", "SSL_CERT_DIR")))
    return _loaded(True, ca_file, tuple((name, stamp_of(Path(name))) for name in names if name))


@lru_cache(maxsize=32)
def _loaded(secure: bool, ca_file: Path | None, _: object) -> ssl.SSLContext:
    """The last argument is the state of the files it was loaded from, since files may change."""
    return certificates(ca_file) if secure else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def certificates(ca_file: Path | None) -> ssl.SSLContext:
    """A TLS context that checks an https server's certificate. `ca_file` replaces the default authorities."""
    if ca_file is None:
        return httpx.create_ssl_context()
    # A certificate that the user names is accepted whatever its extensions, and without its authority: only some
    # versions of Python do both by default.
    context = ssl.create_default_context(cafile=ca_file)
    context.verify_flags = (context.verify_flags & ~ssl.VERIFY_X509_STRICT) | ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


@dataclass(frozen=True)
class _Why:
    """Why a connection failed. `what` continues "Connecting to WAHA at https://host:port"; `step` has no period."""

    what: str
    step: str
    #: Whether an immediate retry would fail as well.
    lasting: bool = False
    #: Whether the server's certificate is the reason, and whether the App's `ca_file` can fix it.
    certificate: bool = False
    ca_file_helps: bool = False

    def error(self, at: str, more: str = "") -> Unreachable:
        what = f"Connecting to WAHA at {at} {self.what}{more}."
        if self.certificate:
            return Untrusted(what, self.step, ca_file_helps=self.ca_file_helps)
        return Unreachable(what, self.step)


def lasts(failure: httpx.TransportError, url: httpx.URL, departure: Departure) -> bool:
    """Whether an immediate retry of a request that was not sent would fail the same way."""
    return not departure.left and _why(list(_causes(failure)), url, departure, None).lasting


async def connection_error(
    failure: httpx.TransportError, url: httpx.URL, departure: Departure, *, ca_file: Path | None, silent: bool
) -> Unreachable:
    """The error for a look whose connection failed, or a change that was not sent.

    `silent`: that server has never answered.
    """
    at = f"{url.scheme}://{url.netloc.decode('ascii')}"
    causes = list(_causes(failure))
    if not departure.left:
        names = await _names(causes, url, departure, ca_file)
        return _why(causes, url, departure, ca_file).error(at, f"{names}, so the request was not sent")
    if not departure.answered:
        # With TLS 1.3 a server looks at the client's certificate after the handshake.
        if alert := next((each for each in causes if isinstance(each, ssl.SSLError) and _is_alert(each)), None):
            return _tls(alert, url.host, ca_file).error(at)
        if silent and url.scheme == "http":
            if await _speaks_tls(url):
                return Unreachable(
                    f"What listens at {at} speaks https.", "ask the user to set the App's url to https://"
                )
            return Unreachable(
                f"What listens at {at} closes the connection without an HTTP answer.",
                "ask the user to check whether WAHA runs there, or correct the App's url",
            )
    what = f"The connection to WAHA at {at} broke."
    return Unreachable(what, "try again; if it persists, ask the user to look at WAHA")


def _why(causes: list[BaseException], url: httpx.URL, departure: Departure, ca_file: Path | None) -> _Why:
    for cause in causes:
        # The two excluded ones are steps of every handshake.
        if isinstance(cause, ssl.SSLError) and not isinstance(cause, ssl.SSLWantReadError | ssl.SSLWantWriteError):
            return _tls(cause, url.host, ca_file)
    proxy = (
        "ask the user to correct HTTP_PROXY, HTTPS_PROXY or ALL_PROXY where waha-mcp is started, or set "
        f"NO_PROXY={url.host} there"
    )
    if isinstance(causes[0], httpx.ProxyError):
        # Its text is the status and the proxy's reason.
        status = str(causes[0])[:3]
        said = f" ({status})" if status.isdecimal() else ""
        return _Why(f"failed: the proxy that the environment names refuses it{said}", proxy, lasting=True)
    found = _plain(causes, url)
    if departure.peer is None or departure.peer == _address(url):
        return found
    host, port = departure.peer
    what = f"failed: the proxy that the environment names, {host}:{port}, cannot be reached"
    return _Why(what, proxy, found.lasting)


def _tls(error: ssl.SSLError, host: str, ca_file: Path | None) -> _Why:
    if isinstance(error, ssl.SSLCertVerificationError):
        return _certificate(error, host, ca_file)
    if isinstance(error, ssl.SSLEOFError):
        return _CLOSED
    reason = error.reason or ""
    if reason.endswith(_WANTS_CERTIFICATE):
        what = "failed: the server refuses the TLS handshake, most often because it requires a client certificate"
        step = "ask the user to set the App's url to an address of WAHA that needs none: waha-mcp has none"
        return _Why(what, step, lasting=True)
    if reason.endswith(_NO_CERTIFICATE):
        what = f"failed: the server there has no certificate for the name {host}"
        step = "ask the user to correct the host in the App's url, or look at the proxy there"
        return _Why(what, step, lasting=True)
    if reason.endswith(_OLD_TLS):
        what = "failed: the server there supports only TLS older than 1.2"
        return _Why(what, "ask the user to update the server or proxy there", lasting=True)
    if _is_alert(error):
        what = f"failed: the server refuses the TLS handshake ({reason.replace('_', ' ').lower()})"
        return _Why(what, "ask the user to look at the TLS settings of the server there", lasting=True)
    # What OpenSSL cannot read is not TLS.
    step = "ask the user to set the App's url to http://, or correct its port if WAHA has https on another"
    return _Why("failed: what listens there does not speak TLS", step, lasting=True)


_CLOSED = _Why(
    "failed: the connection was closed in the TLS handshake",
    "ask the user to correct the App's url (its port may not be an https port), or look at what runs there",
)


_NAME_FILE = "ask the user to set the App's ca_file (--ca-file of `waha-mcp init`) to a file with {} (PEM)"


def _is_alert(error: ssl.SSLError) -> bool:
    return "ALERT_" in (error.reason or "")


def _certificate(error: ssl.SSLCertVerificationError, host: str, ca_file: Path | None) -> _Why:
    def bad(what: str, step: str, *, helps: bool = False) -> _Why:
        return _Why(f"failed: its certificate {what}", step, lasting=True, certificate=True, ca_file_helps=helps)

    code = error.verify_code
    if code in (*_SELF_SIGNED, *_UNKNOWN_AUTHORITY):
        if ca_file is not None:
            step = "ask the user to put the certificate of WAHA or of its authority (PEM) there"
            return bad("is not trusted by the App's ca_file", step, helps=True)
        if code in _SELF_SIGNED:
            return bad("is self-signed", _NAME_FILE.format("that certificate"), helps=True)
        what = "is signed by an authority that this machine does not trust"
        return bad(what, _NAME_FILE.format("the authority's certificate"), helps=True)
    if code in _EXPIRED:
        return bad("has expired", "ask the user to renew it, or correct this machine's clock")
    if code in _NOT_YET_VALID:
        return bad("is not valid yet", "ask the user to correct this machine's clock")
    if code in _OTHER_HOST:
        return bad(
            f"is not valid for {host}", "ask the user to correct the host in the App's url to one that it is valid for"
        )
    # The message is one of OpenSSL's own.
    what = f"is not valid ({clean(error.verify_message, limit=80)})"
    return bad(what, "ask the user to have a new one issued for the server there")


def _plain(causes: list[BaseException], url: httpx.URL) -> _Why:
    if isinstance(causes[0], httpx.TimeoutException):
        step = "ask the user to check that WAHA's machine is on and no firewall blocks it, or correct the App's url"
        return _Why("timed out: nothing answers there", step)
    for cause in causes:
        if isinstance(cause, socket.gaierror):
            if cause.errno in _NO_NAME:
                what = f"failed: there is no host named {url.host}"
                return _Why(what, "ask the user to correct the App's url", lasting=True)
            what = f"failed: the name {url.host} cannot be looked up now (DNS)"
            return _Why(what, "ask the user to look at this machine's network")
    numbers = {cause.errno for cause in causes if isinstance(cause, OSError)}
    if errno.ECONNREFUSED in numbers:
        return _Why("was refused: nothing listens there", "ask the user to start WAHA or correct the App's url")
    if numbers.intersection(_NO_WAY):
        step = "ask the user to look at this machine's network, or correct the App's url"
        return _Why("failed: there is no route to that address", step)
    if numbers & {errno.EACCES, errno.EPERM}:
        what = "failed: this machine's firewall or sandbox does not let waha-mcp connect"
        return _Why(what, "ask the user to allow it", lasting=True)
    if url.scheme == "https" and numbers.intersection(_CUT):
        return _CLOSED
    return _Why("failed", "ask the user to check whether WAHA runs there")


async def _names(causes: list[BaseException], url: httpx.URL, departure: Departure, ca_file: Path | None) -> str:
    """The hosts that a certificate for another host is valid for, as the end of a clause.

    Empty if they cannot be determined. They are given only for a certificate that is otherwise valid.
    """
    other = any(isinstance(each, ssl.SSLCertVerificationError) and each.verify_code in _OTHER_HOST for each in causes)
    if not other or departure.peer != _address(url):
        return ""
    context = certificates(ca_file)
    context.check_hostname = False
    shown = await _handshake(url, context)
    told: Any = shown.get("subjectAltName", ()) if isinstance(shown, dict) else ()
    names = [clean(str(each[1]), limit=80) for each in told if each[0] in ("DNS", "IP Address")]
    return f", only for {', '.join(names[:3])}{' and others' if len(names) > 3 else ''}" if names else ""


async def _speaks_tls(url: httpx.URL) -> bool:
    """Whether the server at a plain http URL answers a TLS handshake."""
    answer = await _handshake(url, ssl.create_default_context())
    if isinstance(answer, ssl.SSLError):
        return isinstance(answer, ssl.SSLCertVerificationError) or _is_alert(answer)
    return answer is not None


async def _handshake(url: httpx.URL, context: ssl.SSLContext) -> dict[str, Any] | ssl.SSLError | None:
    """The certificate that a server presents, as Python's ssl gives it, or why there is none; None: no answer.

    No request is sent.
    """
    host, port = _address(url)
    with anyio.move_on_after(_LOOK):
        try:
            async with await anyio.connect_tcp(host, port, ssl_context=context, tls_hostname=host) as stream:
                return dict(stream.extra(TLSAttribute.peer_certificate) or ())  # noqa: S610 - no Django
        except ssl.SSLError as error:
            return error
        except (OSError, anyio.BrokenResourceError, anyio.EndOfStream):
            return None
    return None


def _address(url: httpx.URL) -> tuple[str, int]:
    return url.raw_host.decode("ascii"), url.port or (443 if url.scheme == "https" else 80)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An exception and all its causes, including those of several attempts."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        found = waiting.pop(0)
        if found is None or id(found) in seen:
            continue
        seen.add(id(found))
        yield found
        waiting += [found.__cause__, found.__context__]
        if isinstance(found, BaseExceptionGroup):
            waiting += found.exceptions
