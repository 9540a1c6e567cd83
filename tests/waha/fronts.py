"""Servers that something is wrong with: their certificates, what they speak, and what they answer."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_DAY = timedelta(days=1)


@cache
def authority() -> trustme.CA:
    """A certificate authority that no machine knows."""
    return trustme.CA()


def ca_file(folder: Path) -> Path:
    """The authority's certificate as a file in a folder."""
    path = folder / "authority.pem"
    authority().cert_pem.write_to_path(path)
    return path


def context(*names: str, starts: float = -1, ends: float = 30) -> ssl.SSLContext:
    """A server's context with a certificate of the authority for `names`; the moments are in days from now."""
    now = datetime.now(UTC)
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    issued = authority().issue_cert(
        *(names or ("localhost", "127.0.0.1")), not_before=now + starts * _DAY, not_after=now + ends * _DAY
    )
    issued.configure_cert(made)
    return made


def for_known_clients(folder: Path, version: ssl.TLSVersion) -> ssl.SSLContext:
    """A server's context that wants a certificate of its clients."""
    made = context()
    made.load_verify_locations(ca_file(folder))
    made.verify_mode = ssl.CERT_REQUIRED
    made.maximum_version = version
    return made


def self_signed(folder: Path) -> tuple[ssl.SSLContext, Path]:
    """A server's context with a certificate that it has signed itself, for localhost; and that certificate's file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _DAY)
        .not_valid_after(now + 30 * _DAY)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    shown, secret = folder / "self-signed.pem", folder / "self-signed-key.pem"
    shown.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    secret.write_bytes(key.private_bytes(*form))
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(shown, secret)
    return made, shown


@asynccontextmanager
async def front(
    target: str | None = None, *, tls: ssl.SSLContext | None = None, answer: bytes | None = None, silent: bool = False
) -> AsyncIterator[int]:
    """A port on loopback that passes connections on to the server at the URL `target`.

    Without one it gives each request the bytes of `answer`, or none, and closes; with `silent` it says nothing.
    `tls`: it speaks https.
    """
    ends: set[asyncio.StreamWriter] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ends.add(writer)
        with suppress(OSError, ssl.SSLError):
            if target is not None:
                await _pass_on(target, reader, writer, ends)
            elif silent:
                await reader.read()
            elif answer is not None:
                await reader.read(65536)
                writer.write(answer)
                await writer.drain()
        writer.close()

    # Handshakes that fail are the subject.
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for each in ends:
            each.transport.abort()


async def _pass_on(
    target: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, ends: set[asyncio.StreamWriter]
) -> None:
    to = urlsplit(target)
    behind, ahead = await asyncio.open_connection(to.hostname, to.port)
    ends.add(ahead)

    async def copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with suppress(OSError, ssl.SSLError):
            while piece := await source.read(65536):
                sink.write(piece)
                await sink.drain()
        sink.close()

    await asyncio.gather(copy(reader, ahead), copy(behind, writer))


@asynccontextmanager
async def refusing(tls: ssl.SSLContext) -> AsyncIterator[int]:
    """A port on loopback whose server fails every handshake and says why, which asyncio's servers do not."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with suppress(OSError):
            while True:
                taken, _ = listener.accept()
                with tls.wrap_socket(taken, server_side=True, do_handshake_on_connect=False) as each:
                    each.settimeout(5)
                    with suppress(ssl.SSLError):
                        each.do_handshake()
                    each.shutdown(socket.SHUT_WR)
                    with suppress(OSError):
                        while each.recv(65536):
                            pass

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def http(status: str, body: str = "", kind: str = "text/html", **headers: str) -> bytes:
    """An HTTP answer."""
    lines = [f"HTTP/1.1 {status}", f"content-type: {kind}", f"content-length: {len(body.encode())}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "connection: close", "", body]).encode()


def free_port() -> int:
    """A port of loopback that nothing listens at."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def untaken() -> socket.socket:
    """A socket that is full, so that whoever connects waits: a machine that does not answer."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    return listener
