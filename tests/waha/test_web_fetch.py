"""Files from the web, fetched from the addresses that were checked."""

from __future__ import annotations

import datetime
import gzip
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from tests.web import PNG, Does, Web, answer, redirect, web
from waha_mcp import __version__
from waha_mcp.waha import web_fetch
from waha_mcp.waha.web_fetch import MOST_ADDRESSES, MOST_REDIRECTS, NotAllowed, NotFetched, WebFile, fetch

pytestmark = pytest.mark.anyio

CAP = 2**20
LISTED = frozenset({"127.0.0.1"})


@pytest.fixture
def server() -> Iterator[Web]:
    with web() as made:
        yield made


def resolver(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> list[str]:
    """Let successive look-ups return these answers, the last one for good; returns the names that were looked up."""
    real = anyio.getaddrinfo
    asked: list[str] = []

    async def look_up(host: str, port: Any, **more: Any) -> list[Any]:
        if host[:1].isdigit():
            return list(await real(host, port, **more))
        addresses = answers[min(len(asked), len(answers) - 1)]
        asked.append(host)
        if not addresses:
            raise socket.gaierror(8, "not known")
        return [(0, 0, 0, "", (address, port)) for address in addresses]

    monkeypatch.setattr(anyio, "getaddrinfo", look_up)
    return asked


async def why(url: str, **how: Any) -> str:
    given: dict[str, Any] = {"cap": CAP, "listed": LISTED} | how
    with pytest.raises(NotFetched) as error:
        await fetch(url, **given)
    return str(error.value)


async def test_a_file_comes_with_the_type_that_the_server_states(server: Web) -> None:
    server.files["/b"] = (b"x", "Image/JPEG; charset=utf-8")
    server.files["/c"] = answer(b"x", "")
    server.files["/d"] = (b"x", "no type")
    assert await fetch(server.url("/a.png?b=c%20d#e"), cap=CAP, listed=LISTED) == WebFile(PNG, "image/png")
    assert await fetch(server.url("/b"), cap=CAP, listed=LISTED) == WebFile(b"x", "image/jpeg")
    assert await fetch(server.url("/c"), cap=CAP, listed=LISTED) == WebFile(b"x", None)
    assert await fetch(server.url("/d"), cap=CAP, listed=LISTED) == WebFile(b"x", None)
    assert server.asked == ["/a.png?b=c%20d", "/b", "/c", "/d"]


async def test_nothing_of_ours_is_in_the_request(server: Web, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password secret")
    for name, value in {
        "HTTP_PROXY": "http://127.0.0.1:9",
        "ALL_PROXY": "http://127.0.0.1:9",
        "NETRC": str(netrc),
    }.items():
        monkeypatch.setenv(name, value)
    server.files["/first"] = answer(b"", "", 302, Location="/a.png", Set_Cookie="a=b")
    await fetch(server.url("/first"), cap=CAP, listed=LISTED)
    assert (
        server.headers
        == [
            {
                "host": f"127.0.0.1:{server.port}",
                "user-agent": f"waha-mcp/{__version__}",
                "accept": "*/*",
                "accept-encoding": "identity",
                "connection": "close",
            }
        ]
        * 2
    )


# Whose address it is


async def test_the_name_is_looked_up_once_and_its_server_asked_by_name(
    server: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = resolver(monkeypatch, ["127.0.0.1"], ["10.0.0.5"])
    await fetch(server.url(host="files.example.com"), cap=CAP, listed=frozenset({"files.example.com"}))
    assert asked == ["files.example.com"]
    assert server.headers[0]["host"] == f"files.example.com:{server.port}"


async def test_a_name_that_changes_its_address_after_the_check_is_asked_at_the_checked_one(
    server: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The address that was checked is treated as public in this test.
    monkeypatch.setattr(web_fetch, "not_public", lambda host: None if host != "127.0.0.2" else "inside")
    asked = resolver(monkeypatch, ["127.0.0.1"], ["127.0.0.2"])
    assert (await fetch(server.url(host="rebinds.example.com"), cap=CAP)).content == PNG
    assert asked == ["rebinds.example.com"]
    assert (
        await why(server.url(host="rebinds.example.com"), listed=())
        == "'rebinds.example.com' resolves to 127.0.0.2, inside"
    )


@pytest.mark.parametrize(
    ("host", "addresses", "says"),
    [
        ("127.0.0.1", [], "'127.0.0.1' is an address of this machine"),
        ("[::1]", [], "'[::1]' is an address of this machine"),
        ("2130706433", [], "'127.0.0.1' is an address of this machine"),
        ("169.254.169.254", [], "'169.254.169.254' is a link-local address"),
        ("localhost", ["8.8.8.8"], "'localhost' is a name of a private network"),
        ("files.example.com", ["127.0.0.1"], "'files.example.com' resolves to 127.0.0.1, an address of this machine"),
        ("files.example.com", ["8.8.8.8", "10.0.0.5"], "resolves to 10.0.0.5, an address of a private network"),
        ("files.example.com", ["fe80::1%eth0"], "resolves to fe80::1, a link-local address"),
        ("files.example.com", [], "'files.example.com' cannot be resolved to an address"),
    ],
)
async def test_what_is_not_public_is_not_even_connected_to(
    host: str, addresses: list[str], says: str, server: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolver(monkeypatch, addresses)
    assert says in await why(server.url(host=host), listed=())
    assert server.connections == 0


async def test_the_next_address_is_tried_where_one_takes_no_connection(
    server: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = frozenset({"files.example.com"})
    dead = [f"127.0.0.{at}" for at in range(2, 2 + MOST_ADDRESSES)]
    resolver(monkeypatch, [*dead[1:], "127.0.0.1"], dead)
    url = server.url(host="files.example.com")
    assert (await fetch(url, cap=CAP, listed=listed)).content == PNG
    assert await why(url, listed=listed) == "no connection to 'files.example.com' could be made"


async def test_no_more_addresses_are_tried_than_a_few(server: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    dead = [f"127.0.0.{at}" for at in range(2, 2 + MOST_ADDRESSES)]
    resolver(monkeypatch, [*dead, "127.0.0.1"])
    listed = frozenset({"files.example.com"})
    assert (
        await why(server.url(host="files.example.com"), listed=listed)
        == "no connection to 'files.example.com' could be made"
    )


async def test_an_ipv6_address_is_asked_as_such() -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("no IPv6 here")
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as listening:
        got: list[bytes] = []

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                got.append(connection.recv(65_536))
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")

        thread = threading.Thread(target=serve)
        thread.start()
        port = listening.getsockname()[1]
        assert (await fetch(f"http://[::1]:{port}/", cap=CAP, listed=frozenset({"[::1]"}))).content == b"hi"
        thread.join()
    assert f"Host: [::1]:{port}".encode() in got[0]


async def test_the_request_goes_to_the_address_and_names_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[httpx.Request] = []

    async def handle(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        if len(asked) == 1:
            raise httpx.ConnectTimeout("")
        return httpx.Response(200, stream=httpx.ByteStream(b"hi"))

    monkeypatch.setattr(httpx, "AsyncHTTPTransport", lambda **_: httpx.MockTransport(handle))
    resolver(monkeypatch, ["8.8.8.8", "2a00::1", "9.9.9.9"])
    assert await fetch("https://Files.example.com./a%20b?c=d/e#f", cap=CAP) == WebFile(b"hi", None)
    assert [str(each.url) for each in asked] == ["https://8.8.8.8/a%20b?c=d/e", "https://[2a00::1]/a%20b?c=d/e"]
    for each in asked:
        assert each.headers["host"] == "files.example.com"
        assert each.extensions["sni_hostname"] == "files.example.com"


# Redirects


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("to", ["/a.png", "a.png?x=1", "//127.0.0.1:{port}/a.png", "http://127.0.0.1:{port}/a.png#x"])
async def test_a_redirect_is_followed(to: str, status: int, server: Web) -> None:
    server.files["/first"] = redirect(to.format(port=server.port), status)
    assert (await fetch(server.url("/first"), cap=CAP, listed=LISTED)).content == PNG


@pytest.mark.parametrize(
    ("to", "says"),
    [
        ("http://127.0.0.2:{port}/a.png", "'127.0.0.2' is an address of this machine"),
        ("http://2130706434:{port}/a.png", "'127.0.0.2' is an address of this machine"),
        ("http://127.0.0.2\\@127.0.0.1:{port}/a.png", "'127.0.0.2' is an address of this machine"),
        ("http://localhost:{port}/a.png", "'localhost' is a name of a private network"),
        ("http://inside.example.com:{port}/a.png", "'inside.example.com' resolves to 10.0.0.5"),
        (
            "http://me:pw@127.0.0.1:{port}/a.png",
            "'127.0.0.1' redirects to something other than a plain http or https URL",
        ),
        ("ftp://127.0.0.1/a.png", "'127.0.0.1' redirects to something other than a plain http or https URL"),
        ("file:///etc/passwd", "'127.0.0.1' redirects to something other than a plain http or https URL"),
        ("data:image/png;base64,QQ==", "'127.0.0.1' redirects to something other than a plain http or https URL"),
        ("http://[", "'127.0.0.1' redirects to something other than a plain http or https URL"),
    ],
)
async def test_a_redirect_is_checked_as_the_first_url_is(
    to: str, says: str, server: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolver(monkeypatch, ["10.0.0.5"])
    server.files["/first"] = redirect(to.format(port=server.port))
    with pytest.raises(NotAllowed) as error:
        await fetch(server.url("/first?secret"), cap=CAP, listed=LISTED)
    assert says in str(error.value)
    assert "secret" not in str(error.value)
    assert server.asked == ["/first?secret"]


async def test_redirects_end(server: Web) -> None:
    server.files["/round"] = redirect("/round")
    assert await why(server.url("/round")) == f"it is redirected more than {MOST_REDIRECTS} times"
    assert len(server.asked) == MOST_REDIRECTS + 1


async def test_each_host_is_asked_about_first(server: Web) -> None:
    seen: list[str] = []

    def why_not(host: str) -> str | None:
        seen.append(host)
        return None if host == "127.0.0.1" else f"not {host}"

    server.files["/first"] = redirect("http://example.com/")
    with pytest.raises(NotAllowed, match=r"^not example\.com$"):
        await fetch(server.url("/first"), cap=CAP, listed=LISTED, why_not=why_not)
    assert seen == ["127.0.0.1", "example.com"]


async def test_a_redirect_without_a_target_is_no_file(server: Web) -> None:
    server.files["/first"] = answer(PNG, status=302)
    assert await why(server.url("/first")) == "'127.0.0.1' answered 302"


# What comes back


@pytest.mark.parametrize(
    ("status", "says"),
    [
        (404, "'127.0.0.1' answered 404: there is no such file"),
        (403, "'127.0.0.1' answered 403: access is denied"),
        (204, "'127.0.0.1' answered 204"),
        (206, "'127.0.0.1' answered 206"),
        (500, "'127.0.0.1' answered 500"),
    ],
)
async def test_what_is_no_whole_file_is_said(status: int, says: str, server: Web) -> None:
    server.files["/x"] = answer(b"", "image/png", status)
    assert await why(server.url("/x")) == says


def drips(request: BaseHTTPRequestHandler) -> None:
    request.send_response(200)
    request.end_headers()
    for _ in range(100):
        request.wfile.write(b"x")
        request.wfile.flush()
        time.sleep(0.02)


def silent(request: BaseHTTPRequestHandler) -> None:
    request.connection.settimeout(10)
    request.rfile.read(1)


def cut(request: BaseHTTPRequestHandler) -> None:
    request.send_response(200)
    request.send_header("Content-Length", "100")
    request.end_headers()
    request.wfile.write(b"half")


def no_http(request: BaseHTTPRequestHandler) -> None:
    request.wfile.write(b"SSH-2.0-x\r\n")


BROKEN = "the connection to '127.0.0.1' broke, or it does not speak HTTP"
PACKED = "the answer of '127.0.0.1' is damaged, or compressed in an unsupported way"


@pytest.mark.parametrize(
    ("does", "says"),
    [
        (answer(b"x" * (CAP + 1)), "the file is over 1 MiB"),
        (answer(gzip.compress(b"x" * (CAP + 1)), Content_Encoding="gzip"), "the file is over 1 MiB"),
        (answer(gzip.compress(b"x" * 99)[:-9], Content_Encoding="gzip"), PACKED),
        (answer(b"x", Content_Encoding="br"), PACKED),
        (answer(gzip.compress(gzip.compress(b"x")), Content_Encoding="gzip, gzip"), PACKED),
        (cut, BROKEN),
        (no_http, BROKEN),
        (drips, "no complete answer came within 0 s"),
        (silent, "'127.0.0.1' gave no answer in time"),
    ],
)
async def test_what_cannot_be_had_is_said(does: Does, says: str, server: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web_fetch, "DEADLINE", 0.4)
    monkeypatch.setattr(web_fetch, "READ_TIMEOUT", 0.2)
    server.files["/x"] = does
    assert await why(server.url("/x")) == says


async def test_what_is_said_besides_a_whole_file_changes_nothing(server: Web) -> None:
    server.files["/x"] = answer(PNG, Location="/y")
    server.files["/e"] = answer(b"", Content_Encoding="gzip")
    assert (await fetch(server.url("/x"), cap=CAP, listed=LISTED)).content == PNG
    assert (await fetch(server.url("/e"), cap=CAP, listed=LISTED)).content == b""


async def test_a_file_of_just_the_cap_is_taken_packed_or_not(server: Web) -> None:
    server.files["/x"] = answer(b"x" * CAP)
    server.files["/z"] = answer(gzip.compress(b"x" * CAP), Content_Encoding="gzip")
    server.files["/i"] = answer(b"x" * CAP, Content_Encoding="Identity")
    server.files["/y"] = answer(gzip.compress(b"x" * CAP), Content_Encoding="X-GZip")
    for path in ("/x", "/z", "/i", "/y"):
        assert len((await fetch(server.url(path), cap=CAP, listed=LISTED)).content) == CAP


async def test_a_server_that_is_not_there_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    assert await why(f"http://127.0.0.1:{port}/") == "no connection to '127.0.0.1' could be made"


async def test_a_look_up_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(anyio, "getaddrinfo", lambda *_, **__: anyio.sleep_forever())
    monkeypatch.setattr(web_fetch, "LOOKUP", 0.05)
    assert "cannot be resolved to an address" in await why("https://files.example.com/", listed=())


# TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for files.example.com and 127.0.0.1, with its key."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "files.example.com")])
    alternatives: list[x509.GeneralName] = [
        x509.DNSName("files.example.com"),
        x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
    ]
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return path


@pytest.fixture
def secure(certificate: Path) -> Iterator[tuple[Web, list[str | None]]]:
    """A server over TLS, and the names that it was asked for."""
    names: list[str | None] = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    context.sni_callback = lambda connection, name, _: names.append(name)
    with web(context) as made:
        yield made, names


async def test_tls_checks_the_name_although_the_address_is_asked(
    secure: tuple[Web, list[str | None]], certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, names = secure
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    resolver(monkeypatch, ["127.0.0.1"])
    listed = frozenset({"files.example.com", "other.example.com", "127.0.0.1"})
    assert (await fetch(server.url(host="files.example.com"), cap=CAP, listed=listed)).content == PNG
    assert (await fetch(server.url(), cap=CAP, listed=listed)).content == PNG
    assert names == ["files.example.com", None]
    said = await why(server.url(host="other.example.com"), listed=listed)
    assert said == "the certificate of 'other.example.com' cannot be verified"
    assert len(server.asked) == 2


async def test_a_certificate_that_nobody_vouches_for_is_not_taken(secure: tuple[Web, list[str | None]]) -> None:
    server, _ = secure
    assert await why(server.url()) == "the certificate of '127.0.0.1' cannot be verified"
    assert server.asked == []


async def test_https_does_not_redirect_to_http(
    secure: tuple[Web, list[str | None]], server: Web, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    secure[0].files["/first"] = redirect(server.url())
    server.files["/first"] = redirect(secure[0].url())
    secure[0].files["/second"] = redirect(secure[0].url())
    assert "'127.0.0.1' redirects from https to http on '127.0.0.1'" in await why(secure[0].url("/first"))
    assert server.asked == []
    for url in (server.url("/first"), secure[0].url("/second")):
        assert (await fetch(url, cap=CAP, listed=LISTED)).content == PNG
