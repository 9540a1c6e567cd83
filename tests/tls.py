"""TLS in front of a test's server, with a certificate that is valid or invalid in one way."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Literal, get_args
from urllib.parse import urlsplit

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

Kind = Literal["self-signed", "unknown authority", "expired", "not yet valid", "other host"]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True)
class Certificate:
    """A server's certificate. `chain`: it with its private key (PEM); `ca_file`: what makes it valid, if anything."""

    chain: Path
    ca_file: Path

    def context(self) -> ssl.SSLContext:
        """The server's side of TLS with it."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.chain)
        return context


def certificate(kind: Kind, folder: Path) -> Certificate:
    """A certificate for 127.0.0.1 with its authority's, as files in `folder`."""
    chain, ca_file = folder / f"{kind}.chain.pem", folder / f"{kind}.pem"
    if kind == "self-signed":
        own, key = _self_signed()
        chain.write_bytes(key + own)
        ca_file.write_bytes(own)
        return Certificate(chain, ca_file)
    now, year = datetime.now(UTC), timedelta(days=365)
    authority = trustme.CA()
    begin, end = {"expired": (now - 2 * year, now - year), "not yet valid": (now + year, now + 2 * year)}.get(
        kind, (None, None)
    )
    name = "waha.invalid" if kind == "other host" else "127.0.0.1"
    issued = authority.issue_cert(name, not_before=begin, not_after=end)
    issued.private_key_and_cert_chain_pem.write_to_path(chain)
    authority.cert_pem.write_to_path(ca_file)
    return Certificate(chain, ca_file)


def _self_signed() -> tuple[bytes, bytes]:
    """A self-signed certificate, as `openssl req -x509` makes them, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "waha")])
    own = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=30))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(own, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own), critical=False)
        .sign(key, hashes.SHA256())
    )
    as_pem = serialization.Encoding.PEM
    return made.public_bytes(as_pem), key.private_bytes(
        as_pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


@contextlib.contextmanager
def tls_in_front_of(url: str, certificate: Certificate, opened: list[None] | None = None) -> Iterator[str]:
    """The https URL of a server with `certificate` that forwards to `url`; the rest as in `in_front_of`."""
    with in_front_of(url, certificate.context(), opened) as front:
        yield front


@contextlib.contextmanager
def in_front_of(url: str, context: ssl.SSLContext | None = None, opened: list[None] | None = None) -> Iterator[str]:
    """The URL of a server on 127.0.0.1 that forwards all bytes to `url`; `opened` gets an item for each connection.

    `context`: the server's side of TLS; None: it speaks none.
    """
    front = _Front(url, context, [] if opened is None else opened)
    thread = threading.Thread(target=asyncio.run, args=(front.run(),), daemon=True)
    thread.start()
    try:
        front.listens.wait(10)
        yield f"{'http' if context is None else 'https'}://127.0.0.1:{front.port}"
    finally:
        front.end()
        thread.join(10)


class _Front:
    def __init__(self, url: str, context: ssl.SSLContext | None, opened: list[None]) -> None:
        parts = urlsplit(url)
        self._target = parts.hostname, parts.port
        self._context, self._opened = context, opened
        self._pipes: set[asyncio.Task[None]] = set()
        self.listens, self.port = threading.Event(), 0

    async def run(self) -> None:
        self._loop, self._ended = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self.listens.set()
        await self._ended.wait()
        server.close()
        for pipe in self._pipes:
            pipe.cancel()
        await asyncio.gather(*self._pipes, return_exceptions=True)

    def end(self) -> None:
        self._loop.call_soon_threadsafe(self._ended.set)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._opened.append(None)
        pipe = self._loop.create_task(self._pipe(reader, writer))
        self._pipes.add(pipe)
        pipe.add_done_callback(self._pipes.discard)

    async def _pipe(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        onward: asyncio.StreamWriter | None = None
        try:
            with contextlib.suppress(OSError, ssl.SSLError):
                if self._context is not None:
                    await writer.start_tls(self._context)
                back, onward = await asyncio.open_connection(*self._target)
                await asyncio.wait(
                    [asyncio.ensure_future(_copy(reader, onward)), asyncio.ensure_future(_copy(back, writer))],
                    return_when=asyncio.FIRST_COMPLETED,
                )
        finally:
            for each in (writer, onward):
                if each is not None:
                    each.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError, ssl.SSLError):
        while some := await reader.read(65_536):
            writer.write(some)
            await writer.drain()
