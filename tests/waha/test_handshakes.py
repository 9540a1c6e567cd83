"""What a server says instead of a good handshake is told apart, with the fix that is true of it."""

from __future__ import annotations

import errno
import socket
import ssl
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from tests.harness import Admin
from tests.waha.fronts import ca_file, context, for_known_clients, free_port, front, http, refusing, self_signed
from waha_mcp.sandbox import SandboxInfo
from waha_mcp.waha.client import Waha
from waha_mcp.waha.errors import BadAnswer, NotFound, OutcomeUnknown, Unauthorized, Unreachable, Untrusted, WahaError

pytestmark = pytest.mark.anyio

KEY = "key_sample_0123456789"
LOOK = "GET /api/server/version"
CHANGE = "POST /api/sendText"


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


async def failure(url: str, ca: Path | None = None, operation: str = LOOK) -> WahaError:
    async with Waha(url, SecretStr(KEY), "default", ca_file=ca) as waha:
        with pytest.raises(WahaError) as caught:
            await waha.call(operation, body=None if operation == LOOK else {"text": "hi"}, bound=operation != LOOK)
    assert KEY not in str(caught.value)
    return caught.value


#: What is wrong -> (the server, whether the App names its authority, what is said, the fix, whether ca_file helps).
CERTIFICATES: dict[str, tuple[Callable[[Path], ssl.SSLContext], bool, str, str, bool]] = {
    "self-signed": (lambda at: self_signed(at)[0], False, "is self-signed", "a file with that certificate", True),
    "of an unknown authority": (
        lambda at: context(), False, "authority that this machine does not know", "the authority's certificate", True,
    ),
    "of another authority": (
        lambda at: self_signed(at)[0], True, "not signed by what the App's ca_file holds", "put the", True,
    ),
    "expired": (lambda at: context(starts=-30, ends=-1), True, "has expired", "renew it", False),
    "of the future": (lambda at: context(starts=1), True, "is not valid yet", "this machine's clock", False),
    "of another host": (
        lambda at: context("waha.example.com", "192.0.2.7"), True,
        "is not for localhost but for waha.example.com, 192.0.2.7", "correct the host in the App's url", False,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CERTIFICATES)
@pytest.mark.parametrize("operation", [LOOK, CHANGE])
async def test_a_bad_certificate_is_named_and_nothing_is_sent(
    case: str, operation: str, sandbox: SandboxInfo, admin: Admin, tmp_path: Path
) -> None:
    made, knows, what, step, helps = CERTIFICATES[case]
    async with front(sandbox.url, tls=made(tmp_path)) as port:
        error = await failure(f"https://localhost:{port}", ca_file(tmp_path) if knows else None, operation)
    assert isinstance(error, Untrusted)
    assert f"https://localhost:{port} failed: its certificate" in str(error)
    assert what in str(error)
    assert step in str(error)
    assert "so the request was not sent" in str(error)
    assert error.ca_file_helps == helps
    assert await admin.requests() == []


async def test_a_certificate_that_the_app_names_is_good(sandbox: SandboxInfo, tmp_path: Path) -> None:
    own, file = self_signed(tmp_path)
    for tls, trusted in ((own, file), (context(), ca_file(tmp_path))):
        async with front(sandbox.url, tls=tls) as port:
            url = f"https://localhost:{port}"
            async with Waha(url, SecretStr(sandbox.keys["read"]), "default", ca_file=trusted) as waha:
                assert "version" in await waha.call(LOOK, bound=False)


Served = Callable[[Path], AbstractAsyncContextManager[int]]

#: What is wrong -> (URL with the port's place, the server, what is said, the next step).
SERVERS: dict[str, tuple[str, Served, str, str]] = {
    "https to a port of http": (
        "https://localhost:{}", lambda at: front(answer=http("200 OK", "{}")),
        "speaks no TLS, so the request was not sent", "set the App's url to http://",
    ),
    "https to a port of something else": (
        "https://localhost:{}", lambda at: front(answer=b"SSH-2.0-OpenSSH_9.9\r\n"), "no TLS", "correct its port",
    ),
    "https to a port that closes": (
        "https://localhost:{}", lambda at: front(), "closed in the TLS handshake", "correct the App's url",
    ),
    "http to a port of https that closes": (
        "http://localhost:{}", lambda at: front(tls=context()), "speaks https", "set the App's url to https://",
    ),
    "http to a port of https that tells it in TLS": (
        "http://localhost:{}", lambda at: front(answer=b"\x15\x03\x01\x00\x02\x02\x16"),
        "speaks https", "set the App's url to https://",
    ),
    "http to a port of something else": (
        "http://localhost:{}", lambda at: front(answer=b"SSH-2.0-OpenSSH_9.9\r\n"),
        "without an answer in HTTP", "correct the App's url",
    ),
    "a server that wants a certificate of the client, TLS 1.2": (
        "https://localhost:{}", lambda at: refusing(for_known_clients(at, ssl.TLSVersion.TLSv1_2)),
        "wants a client's certificate, so the request was not sent", "without one",
    ),
    "a server that wants a certificate of the client, TLS 1.3": (
        "https://localhost:{}", lambda at: refusing(for_known_clients(at, ssl.TLSVersion.TLSv1_3)),
        "wants a client's certificate.", "without one",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", SERVERS)
async def test_a_server_that_speaks_otherwise_is_named(case: str, tmp_path: Path) -> None:
    url, served, what, step = SERVERS[case]
    async with served(tmp_path) as port:
        error = await failure(url.format(port), ca_file(tmp_path))
    assert type(error) is Unreachable
    assert url.format(port) in str(error)
    assert what in str(error)
    assert step in str(error)


async def test_a_change_that_an_alert_answers_may_have_left(tmp_path: Path) -> None:
    async with refusing(for_known_clients(tmp_path, ssl.TLSVersion.TLSv1_3)) as port:
        error = await failure(f"https://localhost:{port}", ca_file(tmp_path), CHANGE)
    assert isinstance(error, OutcomeUnknown)


async def test_no_machine_no_name_and_nobody_listening_are_told_apart() -> None:
    port = free_port()
    refused = await failure(f"http://127.0.0.1:{port}")
    assert f"http://127.0.0.1:{port} was refused: nothing listens there, so" in str(refused)
    assert "start WAHA" in str(refused)
    nobody = await failure("http://waha.invalid:3000")
    assert "there is no host of the name waha.invalid, so" in str(nobody) or "cannot be looked up" in str(nobody)


class Raising(httpx.AsyncBaseTransport):
    """Fails as httpx does for one cause."""

    def __init__(self, cause: Exception) -> None:
        self.cause, self.tries = cause, 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.tries += 1
        raise httpx.ConnectError("https://user:secret@host?x-api-key=1") from self.cause


#: Causes that no test can bring about -> (what is said, how often it is tried).
CAUSES: dict[str, tuple[Exception, str, int]] = {
    "a name that is unknown": (socket.gaierror(socket.EAI_NONAME, "x"), "no host of the name waha.test", 1),
    "no resolver": (socket.gaierror(socket.EAI_AGAIN, "x"), "waha.test cannot be looked up now (DNS)", 3),
    "no network": (OSError(errno.ENETUNREACH, "x"), "there is no way from here to that address", 3),
    "a firewall here": (PermissionError(errno.EPERM, "x"), "does not let waha-mcp connect", 1),
    "one family refused, one without a way": (
        ExceptionGroup("x", [OSError(errno.ENETUNREACH, "x"), ConnectionRefusedError(errno.ECONNREFUSED, "x")]),
        "nothing listens there", 3,
    ),
    "something unheard of": (RuntimeError("x"), "https://waha.test failed, so the request was not sent", 3),
}  # fmt: skip


@pytest.mark.parametrize("case", CAUSES)
async def test_a_cause_is_found_and_tried_again_only_where_that_may_help(
    case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cause, says, tries = CAUSES[case]
    transport = Raising(cause)
    monkeypatch.setattr("waha_mcp.waha.client.anyio.sleep", _at_once)
    async with Waha("https://waha.test", SecretStr(KEY), "default") as waha:
        looks, _ = waha._clients()
        monkeypatch.setattr(looks, "_transport", transport)
        with pytest.raises(Unreachable) as caught:
            await waha.call(LOOK, bound=False)
    assert says in str(caught.value)
    assert "secret" not in str(caught.value)
    assert transport.tries == tries


async def _at_once(_: float) -> None:
    pass


#: What a proxy does -> (its answer to CONNECT; None: it is not there; what is said).
PROXIES: dict[str, tuple[bytes | None, str]] = {
    "refuses": (http("403 Forbidden"), "the proxy that the environment names refuses it (403)"),
    "wants a password": (http("407 Proxy Authentication Required"), "refuses it (407)"),
    "is not there": (None, "cannot be reached"),
}


@pytest.mark.parametrize("case", PROXIES)
async def test_a_proxy_of_the_environment_is_named_as_the_cause(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    answer, says = PROXIES[case]
    async with front(answer=answer) as taken:
        port = free_port() if answer is None else taken
        monkeypatch.setenv("HTTPS_PROXY", f"http://user:secret@127.0.0.1:{port}")
        error = await failure("https://waha.example.com", operation=CHANGE)
    assert type(error) is Unreachable
    assert says in str(error)
    assert "NO_PROXY=waha.example.com" in str(error)
    assert "so the request was not sent" in str(error)
    assert "secret" not in str(error)


#: A server -> what it answers to http where it wants https.
WANTS_HTTPS = {
    "nginx": http("400 Bad Request", "<html><h1>400</h1>The plain HTTP request was sent to HTTPS port</html>"),
    "Apache": http("400 Bad Request", "<p>Reason: You're speaking plain HTTP to an SSL-enabled server port.<br />"),
    "Go": http("400 Bad Request", "Client sent an HTTP request to an HTTPS server.\n", "text/plain"),
    "Tomcat": http("400 ", "Bad Request\nThis combination of host and port requires TLS.\n", "text/plain"),
}


@pytest.mark.parametrize("server", WANTS_HTTPS)
async def test_a_server_that_says_it_wants_https_is_believed(server: str) -> None:
    async with front(answer=WANTS_HTTPS[server]) as port:
        error = await failure(f"http://localhost:{port}")
        assert isinstance(error, BadAnswer)
        assert "speaks https" in str(error)
        assert "set the App's url to https://" in str(error)
        assert isinstance(await failure(f"http://localhost:{port}", operation=CHANGE), OutcomeUnknown)


@pytest.mark.parametrize("status", ["502 Bad Gateway", "504 Gateway Timeout", "521 Web Server Is Down"])
async def test_a_proxy_whose_waha_is_down_is_told_from_a_failure_inside_waha(
    status: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("waha_mcp.waha.client.anyio.sleep", _at_once)
    async with front(answer=http(status, "<html>down</html>")) as port:
        error = await failure(f"http://localhost:{port}")
    assert f"The proxy in front of WAHA answered {status[:3]}, so it does not reach WAHA" in str(error)
    assert "start WAHA" in str(error)


async def test_a_media_file_that_is_gone_is_not_taken_for_another_server(sandbox: SandboxInfo) -> None:
    async with Waha(sandbox.url, SecretStr(sandbox.keys["read"]), "default") as waha:
        with pytest.raises(NotFound):
            await waha.download(f"{sandbox.url}/api/files/default/gone.jpg", cap=1000)
    gone = http("404 Not Found", '{"error":{"code":404,"key":"FILE_NOT_FOUND"}}', "application/json")
    async with front(answer=gone) as port:
        assert isinstance(await failure(f"http://localhost:{port}"), NotFound)


async def test_a_key_that_is_empty_is_not_sent(sandbox: SandboxInfo, admin: Admin) -> None:
    async with Waha(sandbox.url, SecretStr("")) as waha:
        with pytest.raises(Unauthorized):
            await waha.call(LOOK, bound=False)
    [request] = await admin.requests()
    assert "x-api-key" not in [name.lower() for name in request["headers"]]
