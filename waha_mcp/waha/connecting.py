"""Why no connection to WAHA came about, or it broke: read from the causes of an httpx error, never from its text.

The text of such an error is left out of ours: it may quote a URL.
"""

from __future__ import annotations

import errno
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx

from waha_mcp.waha.errors import Unreachable, Untrusted

#: OpenSSL's codes (X509_V_ERR_...) for a certificate that no known authority has signed, the first two for a
#: self-signed one; for one that is too old or too new; and for one of another host.
_SELF_SIGNED, _UNKNOWN_AUTHORITY = (18,), (2, 19, 20, 21)
_EXPIRED, _NOT_YET_VALID, _OTHER_HOST = (10,), (9,), (62, 64)
#: OpenSSL's reasons for an answer that is no TLS, and for a server that wants a certificate of the client.
_NO_TLS = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE", "UNKNOWN_PROTOCOL")
_WANTS_CERTIFICATE = "CERTIFICATE_REQUIRED"
#: A server that wants a certificate of the client, and the next step.
NEEDS_OURS = "wants a certificate of the client, and waha-mcp has none"
OTHER_ADDRESS = "ask the user to set the App's url to an address of WAHA that needs none"
_NO_WAY = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL, errno.ENETDOWN, errno.EHOSTDOWN)
_NO_NAME = tuple(getattr(socket, name) for name in ("EAI_NONAME", "EAI_NODATA") if hasattr(socket, name))
_TRY_URL = "ask the user to correct the App's url"
_LOOK_THERE = f"{_TRY_URL} or look at what runs there"


@dataclass(frozen=True)
class Failure:
    """Why there is no connection. `lasting`: at once it would fail again. `untrusted`: the certificate is not good.

    `what` continues "Connecting to WAHA at https://host:port"; `step` is the next step, without a period.
    """

    what: str
    step: str
    lasting: bool = False
    untrusted: bool = False
    #: Whether the App's `ca_file` can make the certificate good.
    ca_file_helps: bool = False

    def error(self, origin: str) -> Unreachable:
        """The error for a request that was not sent."""
        what = f"Connecting to WAHA at {origin} {self.what}, so the request was not sent."
        if self.untrusted:
            return Untrusted(what, self.step, ca_file_helps=self.ca_file_helps)
        return Unreachable(what, self.step)


def why_not_connected(error: httpx.TransportError, url: str, *, ca_file: bool) -> Failure:
    """Why a request was not sent. `ca_file`: whether the App names certificates of its own."""
    causes = list(_causes(error))
    if not isinstance(error, httpx.TimeoutException):
        for cause in causes:
            if isinstance(cause, ssl.SSLError):
                return _tls(cause, ca_file)
    proxy = _proxy(url)
    if isinstance(error, httpx.ProxyError):
        return Failure("was refused by the proxy that the environment names", _PROXY_STEP, lasting=True)
    found = _plain(error, causes, proxy)
    return Failure(f"through the proxy that the environment names {found.what}", _PROXY_STEP) if proxy else found


def broken(error: httpx.TransportError, origin: str, *, ever_answered: bool) -> Unreachable:
    """The error for a look whose connection broke. `ever_answered`: there was an answer before."""
    if any(isinstance(cause, ssl.SSLError) and _wants_certificate(cause) for cause in _causes(error)):
        return Unreachable(f"What listens at {origin} {NEEDS_OURS}.", OTHER_ADDRESS)
    if origin.startswith("http:") and not ever_answered:
        return Unreachable(
            f"What listens at {origin} closes the connection without an HTTP answer.",
            "if it speaks https, ask the user to set the App's url to https://",
        )
    what = f"The connection to WAHA at {origin} broke."
    return Unreachable(what, "try again; if it persists, ask the user to look at WAHA")


_PROXY_STEP = (
    "ask the user to look at HTTP_PROXY, HTTPS_PROXY and ALL_PROXY, or add WAHA's host to NO_PROXY, where waha-mcp "
    "is started"
)


def _tls(error: ssl.SSLError, ca_file: bool) -> Failure:
    if isinstance(error, ssl.SSLCertVerificationError):
        return _certificate(error.verify_code, ca_file)
    reason = error.reason or ""
    if reason in _NO_TLS:
        return Failure("failed: what listens there speaks no TLS", "ask the user to set the App's url to http://", True)
    if _wants_certificate(error):
        return Failure(f"failed: the server {NEEDS_OURS}", OTHER_ADDRESS, True)
    if isinstance(error, ssl.SSLEOFError):
        return Failure("failed: the connection was closed during the TLS handshake", _LOOK_THERE)
    what = f"failed in the TLS handshake ({reason.replace('_', ' ').lower() or 'no reason given'})"
    return Failure(what, "ask the user to look at the TLS settings of WAHA or the proxy in front of it", True)


def _wants_certificate(error: ssl.SSLError) -> bool:
    # With TLS 1.3 the server says so after the handshake.
    return (error.reason or "").endswith(_WANTS_CERTIFICATE)


def _certificate(code: int, ca_file: bool) -> Failure:
    def bad(what: str, step: str, *, helps: bool = False) -> Failure:
        return Failure(f"failed: {what}", step, lasting=True, untrusted=True, ca_file_helps=helps)

    if code in (*_SELF_SIGNED, *_UNKNOWN_AUTHORITY):
        if ca_file:
            return bad(
                "its certificate is not signed by what the App's ca_file holds",
                "ask the user to put the certificate of WAHA or of its authority (PEM) there",
                helps=True,
            )
        whose = (
            "is self-signed" if code in _SELF_SIGNED else "is signed by an authority that this machine does not know"
        )
        of = "the certificate itself" if code in _SELF_SIGNED else "the authority's certificate"
        return bad(
            f"its certificate {whose}",
            f"ask the user to set the App's ca_file (--ca-file of `waha-mcp init`) to a file with {of} (PEM)",
            helps=True,
        )
    if code in _EXPIRED:
        return bad("its certificate has expired", "ask the user to renew it, or correct this machine's clock")
    if code in _NOT_YET_VALID:
        return bad("its certificate is not valid yet", "ask the user to correct this machine's clock")
    if code in _OTHER_HOST:
        return bad(
            "its certificate is for another host name",
            "ask the user to set the App's url to the name that it is for, or have one made for this name",
        )
    return bad(f"its certificate is not good (OpenSSL's code {code})", "ask the user to look at it")


def _plain(error: httpx.TransportError, causes: list[BaseException], proxy: bool) -> Failure:
    machine, there = ("the proxy", "at the proxy's address") if proxy else ("that machine", "there")
    if isinstance(error, httpx.TimeoutException):
        if any(isinstance(cause, ssl.SSLWantReadError) for cause in causes):
            return Failure("timed out: what listens there does not answer the TLS handshake", _LOOK_THERE)
        step = "ask the user to look whether it is on and no firewall is in the way"
        return Failure(f"timed out: {machine} does not answer", step)
    for cause in causes:
        if isinstance(cause, socket.gaierror):
            if cause.errno in _NO_NAME:
                return Failure("failed: there is no host of that name", _TRY_URL, lasting=True)
            step = "ask the user to look at this machine's network"
            return Failure("failed: its host name could not be looked up (DNS)", step)
    if any(isinstance(cause, ConnectionRefusedError) for cause in causes):
        return Failure(f"was refused: nothing listens {there}", "ask the user to start WAHA or correct the App's url")
    if any(isinstance(cause, OSError) and cause.errno in _NO_WAY for cause in causes):
        step = "ask the user to look at this machine's network or correct the App's url"
        return Failure("failed: there is no way from here to that address", step)
    return Failure("failed", "ask the user to look whether WAHA runs there")


def _proxy(url: str) -> bool:
    """Whether the environment has a proxy for this URL, as httpx reads it."""
    parts, proxies = urlsplit(url), getproxies()
    return bool(proxies.get(parts.scheme) or proxies.get("all")) and not proxy_bypass(parts.hostname or "")


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An exception and all that led to it, those of several attempts included."""
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
