"""Web pages, odd clients and floods get nothing from a server over HTTP, and it keeps serving."""

from __future__ import annotations

import gzip
import json
import select
import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from tests.harness import run, sandbox_server
from tests.http_server import LEGACY, Caller, Served, http_server, write_app
from waha_mcp.sandbox import SandboxInfo

pytestmark = pytest.mark.slow

NAME = "wa.example.com"


@pytest.fixture(scope="module")
def sandbox() -> Iterator[SandboxInfo]:
    with sandbox_server() as info:
        yield info


@pytest.fixture(scope="module")
def served(sandbox: SandboxInfo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("apps")
    write_app(folder, "mine", sandbox, sandbox.keys["full"])
    with http_server("--apps", str(folder), "--allowed-host", NAME, state=tmp_path_factory.mktemp("state")) as server:
        yield server


@pytest.fixture
def caller(served: Served, sandbox: SandboxInfo) -> Iterator[Caller]:
    """A client with a valid key: what is refused here is not refused for the key."""
    with served.caller(sandbox.keys["full"]) as found:
        yield found


HOSTS = (
    "evil.example", "evil.example:PORT", "127.0.0.1.evil.example:PORT", "localhost.evil.example", "evil-localhost",
    "localhost.:PORT", "127.0.0.1.:PORT", "127.0.0.1:PORT@evil.example", "user@127.0.0.1:PORT", "127.0.0.1:80:PORT",
    "127.1:PORT", "2130706433:PORT", "0x7f000001:PORT", "0177.0.0.1:PORT", "0.0.0.0:PORT", "127.0.0.2:PORT",
    "[::ffff:127.0.0.1]:PORT", "[::]:PORT", "::1", "[::1", "", " ", "*", "a.wa.example.com",
    "wa.example.com.evil.example",
    "xwa.example.com", "wa.example.com:443:evil", "wa.example.com/evil",
    "wa.example.com:x", "wa.example.com#", "wa%2eexample.com",
    "127.0.0.1:PORT, evil.example", "evil.example, 127.0.0.1:PORT", "wa.example.com@evil.example",
)  # fmt: skip
ORIGINS = (
    "http://evil.example", "https://evil.example", "null", "http://127.0.0.1.evil.example:PORT", "file://", "*", " ",
    "http://localhost.evil.example:PORT", "http://127.0.0.1:PORT@evil.example", "http://evil.example/127.0.0.1:PORT",
    "http://evil.example#127.0.0.1:PORT", "chrome-extension://abcdef", "https://wa.example.com.evil.example",
    "https://a.wa.example.com", "http://127.0.0.1:PORT http://evil.example", "http://0.0.0.0:PORT", "//127.0.0.1:PORT",
    "javascript:1", "http://[::ffff:7f00:1]:PORT",
)  # fmt: skip
PATHS = ("/mcp", "/", "/console", "/.well-known/oauth-protected-resource")


@pytest.mark.parametrize("host", HOSTS)
def test_a_host_by_another_name_is_refused_before_anything_else(host: str, served: Served, caller: Caller) -> None:
    value = host.replace("PORT", str(served.address[1]))
    answer = caller.tool("get_status", {"Host": value})
    assert answer.status in (400, 421)
    assert "result" not in answer.text


@pytest.mark.parametrize("origin", ORIGINS)
def test_a_web_page_of_another_origin_gets_nothing_even_with_the_key(
    origin: str, served: Served, caller: Caller
) -> None:
    value = origin.replace("PORT", str(served.address[1]))
    answer = caller.tool("get_status", {"Origin": value})
    assert answer.status == 403
    assert "result" not in answer.text
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("host", ["127.0.0.1:PORT", "localhost:PORT", "[::1]:PORT", NAME, f"{NAME}:443", NAME.upper()])
def test_a_host_by_its_own_names_is_served(host: str, served: Served, caller: Caller) -> None:
    assert caller.tool("get_status", {"Host": host.replace("PORT", str(served.address[1]))}).good


def test_two_hosts_or_two_origins_are_refused(served: Served, caller: Caller) -> None:
    good = f"127.0.0.1:{served.address[1]}"
    for hosts in ((good, "evil.example"), ("evil.example", good)):
        head = "".join(f"Host: {each}\r\n" for each in hosts)
        assert served.raw(f"POST /mcp HTTP/1.1\r\n{head}Content-Length: 0\r\n\r\n".encode()).startswith(b"HTTP/1.1 4")
    for origins in ((f"http://{good}", "http://evil.example"), ("http://evil.example", f"http://{good}")):
        assert caller.tool("get_status", [("Origin", each) for each in origins]).status in (400, 403)


@pytest.mark.parametrize("path", PATHS)
def test_every_path_checks_who_asks(path: str, served: Served, caller: Caller) -> None:
    assert caller.send("GET", path, {"Host": "evil.example"}).status in (400, 404, 421)


def test_a_preflight_allows_nothing(caller: Caller) -> None:
    for origin in ("http://evil.example", "null"):
        ask = {
            "Origin": origin,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "x-api-key, content-type",
            "Access-Control-Request-Private-Network": "true",
        }
        answer = caller.send("OPTIONS", "/mcp", ask)
        assert answer.status >= 400
        assert not [name for name in answer.headers if name.startswith("access-control-")]


def test_a_form_of_a_web_page_is_no_request(caller: Caller) -> None:
    """Requests that a page may send without a preflight: no JSON, and no header of ours."""
    message = json.dumps(caller.message("tools/call", {"name": "get_status", "arguments": {}})).encode()
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""):
        assert caller.post(message, {"Content-Type": kind}).status in (400, 415)


OTHER_PATHS = ("/mcp/", "//mcp", "/MCP", "/mcp/x", "/mcp%2f", "/mcp;x", "/./mcp", "/x/../mcp", "/mcp%00", "/sse",
               "/messages", "/admin", "/api/sessions", "/apps", "/docs", "/openapi.json", "*",
               "http://evil.example/mcp")  # fmt: skip


@pytest.mark.parametrize("path", OTHER_PATHS)
def test_there_is_one_way_in(path: str, served: Served, sandbox: SandboxInfo) -> None:
    with served.caller(None) as stranger:
        for method in ("GET", "POST"):
            answer = stranger.send(method, path, {}, b"")
            assert answer.status in (400, 401, 404, 405, 421)


@pytest.mark.parametrize("method", ["HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PROPFIND", "FOO"])
def test_other_methods_do_nothing(method: str, served: Served, sandbox: SandboxInfo) -> None:
    for key in (None, sandbox.keys["full"]):
        with served.caller(key) as asks:
            answer = asks.send(method, "/mcp", asks.headers)
            assert answer.status in (400, 401, 404, 405, 406)
            assert sandbox.keys["full"] not in answer.text


# Bodies


def test_a_body_is_limited_whatever_its_length_is_said_to_be(served: Served, sandbox: SandboxInfo) -> None:
    key = sandbox.keys["full"]
    head = (
        f"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Api-Key: {key}\r\nContent-Type: application/json\r\n"
        "Accept: application/json, text/event-stream\r\n"
    )
    before = served.memory()
    big = b"x" * (1 << 20)
    for announced in (
        b"Content-Length: 99999999999\r\n\r\n",
        b"Content-Length: -1\r\n\r\n",
        b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n",
    ):
        found = served.raw(head.encode() + announced, seconds=0.5)
        assert found.startswith((b"HTTP/1.1 400", b"HTTP/1.1 413")), announced
    chunk = f"{len(big):x}\r\n".encode() + big + b"\r\n"
    with socket.create_connection(served.address, timeout=10) as connection:
        connection.sendall(head.encode() + b"Transfer-Encoding: chunked\r\n\r\n")
        try:
            for _ in range(64):
                connection.sendall(chunk)
            answer = connection.recv(4096)
        except OSError:
            answer = b"HTTP/1.1 413"
        assert answer.startswith((b"HTTP/1.1 413", b"HTTP/1.1 400"))
    assert served.memory() - before < 48 << 20


def test_a_stranger_body_is_not_even_read(served: Served) -> None:
    head = "POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 4000000\r\nContent-Type: application/json\r\n\r\n"
    assert served.raw(head.encode(), seconds=0.5).startswith(b"HTTP/1.1 401")


BODIES = {
    "nothing": b"",
    "no JSON": b"{",
    "no UTF-8": b"\xff\xfe\x00",
    "a number": b"1",
    "null": b"null",
    "a list": b"[]",
    "a batch": b'[{"jsonrpc":"2.0","id":1,"method":"tools/list"},{"jsonrpc":"2.0","id":2,"method":"ping"}]',
    "deep lists": b"[" * 200_000,
    "deep objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "deep arguments": b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"get_status","arguments":'
    + b'{"a":' * 5_000 + b"1" + b"}" * 5_000 + b"}}",
    "a huge number": b'{"jsonrpc":"2.0","id":' + b"9" * 100_000 + b',"method":"ping"}',
    "NaN": b'{"jsonrpc":"2.0","id":NaN,"method":"ping"}',
    "two methods": b'{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/list"}',
    "a lone surrogate": b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"\\ud800","arguments":{}}}',
    "an object as id": b'{"jsonrpc":"2.0","id":{"a":1},"method":"ping"}',
}  # fmt: skip


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
@pytest.mark.parametrize("version", ["2026-07-28", LEGACY])
def test_a_body_that_is_no_request_is_refused_and_nothing_breaks(
    body: bytes, version: str, served: Served, caller: Caller
) -> None:
    answer = caller.post(body, {"MCP-Protocol-Version": version, "Mcp-Method": "ping"})
    assert answer.status in (200, 202, 400, 413)
    assert "Traceback" not in answer.text
    assert "Traceback" not in served.log()
    assert caller.tool("get_status").good


def test_a_request_that_is_compressed_is_not_unpacked(caller: Caller) -> None:
    bomb = gzip.compress(b"[" * (1 << 24))
    assert caller.post(bomb, {"Content-Encoding": "gzip"}).status in (400, 413, 415)


def test_who_says_nothing_or_only_half_a_head_is_hung_up_on(sandbox: SandboxInfo, tmp_path: Path) -> None:
    write_app(tmp_path, "mine", sandbox, sandbox.keys["full"])
    sooner = "import waha_mcp.server.patience as patience\npatience.LONGEST = 0.5\n"
    with http_server("--apps", str(tmp_path), first=sooner) as server:
        whole = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"
        for begun in (b"", b"POST /mcp HTTP/1.1\r\nHost: a\r\nX-Api-Key: k", whole + b"POST /mcp HTTP/1.1\r\nX"):
            with socket.create_connection(server.address, timeout=15) as connection:
                connection.sendall(begun)
                while connection.recv(65536):
                    pass
        # A call takes as long as it takes.
        with server.caller(sandbox.keys["full"]) as caller:
            place = json.loads(caller.tool("get_updates").words)["cursor"]
            assert caller.tool("wait_for_messages", after=place, timeout=2).good


@pytest.mark.parametrize("before", ["", "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"], ids=["alone", "after another"])
@pytest.mark.parametrize("path", ["/console/login", "/token", "/register"])
def test_without_a_key_a_body_that_never_ends_is_hung_up_on(
    path: str, before: str, sandbox: SandboxInfo, tmp_path: Path
) -> None:
    write_app(tmp_path, "mine", sandbox, sandbox.keys["full"])
    sooner = "import waha_mcp.server.patience as patience\npatience.LONGEST = 0.5\n"
    with http_server("--apps", str(tmp_path), "--console", "--oauth", "http://127.0.0.1:1", first=sooner) as server:
        origin = server.base
        head = (
            f"POST {path} HTTP/1.1\r\nHost: {origin.partition('//')[2]}\r\nOrigin: {origin}\r\nContent-Length: 900\r\n"
        )
        with socket.create_connection(server.address, timeout=15) as connection:
            kind = "Content-Type: application/x-www-form-urlencoded"
            connection.sendall(f"{before}{head}{kind}\r\n\r\ncode=".encode())
            said = b""
            while part := connection.recv(65536):
                said += part
        # The request itself had no answer.
        assert said.count(b"HTTP/1.1 ") == bool(before)
        assert server.raw(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n", seconds=0.2).endswith(b"ok")
    assert "Traceback" not in server.log()


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="the system has no such limit")
def test_who_does_not_read_what_was_asked_for_is_hung_up_on(sandbox: SandboxInfo, tmp_path: Path) -> None:
    write_app(tmp_path, "mine", sandbox, sandbox.keys["full"])
    sooner = "import waha_mcp.server.patience as patience\npatience.UNREAD = 1\n"
    with http_server("--apps", str(tmp_path), first=sooner) as server, socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        connection.connect(server.address)
        connection.settimeout(5)
        with suppress(TimeoutError, ConnectionError):
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n" * 100_000)
        ended = select.poll()
        ended.register(connection, select.POLLHUP | select.POLLERR)
        assert ended.poll(30_000)


def test_with_a_key_a_body_takes_as_long_as_it_takes(sandbox: SandboxInfo, tmp_path: Path) -> None:
    write_app(tmp_path, "mine", sandbox, sandbox.keys["full"])
    sooner = "import waha_mcp.server.patience as patience\npatience.LONGEST = 0.2\n"
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "ping"}).encode()
    head = (
        f"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Api-Key: {sandbox.keys['full']}\r\n"
        f"Accept: application/json, text/event-stream\r\nMCP-Protocol-Version: {LEGACY}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with http_server("--apps", str(tmp_path), first=sooner) as server:
        with socket.create_connection(server.address, timeout=1) as connection:
            connection.sendall(head.encode() + body[:1])
            with pytest.raises(TimeoutError):
                connection.recv(1)
            connection.settimeout(15)
            connection.sendall(body[1:])
            assert connection.recv(65536).startswith(b"HTTP/1.1 200")
        with socket.create_connection(server.address) as connection:
            connection.sendall(head.encode() + body[:1])
        assert server.raw(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n", seconds=0.2).endswith(b"ok")
    # Who leaves before the end of a body is nothing to report. The log is complete once the process has ended.
    assert "Traceback" not in server.log()


def test_who_sends_slowly_or_nothing_holds_nobody_up(served: Served, caller: Caller) -> None:
    with ExitStack() as stack:
        for number in range(150):
            connection = stack.enter_context(socket.create_connection(served.address, timeout=5))
            connection.sendall(b"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Api-Key: " if number % 2 else b"P")
        assert caller.tool("get_status").good


# Where it listens


OUTSIDE = (
    ("--host", "0.0.0.0"),
    ("--host", "::", "--allowed-host", NAME),
    ("--host", "192.0.2.1"),
    ("--allowed-host", "*"),
    ("--allowed-host", f"https://{NAME}"),
)


@pytest.mark.parametrize("options", OUTSIDE, ids=" ".join)
def test_it_is_not_reached_from_outside_without_being_told(
    options: tuple[str, ...], sandbox: SandboxInfo, tmp_path: Path
) -> None:
    write_app(tmp_path, "mine", sandbox, sandbox.keys["full"])
    ended = run("serve", "--http", "--apps", str(tmp_path), "--port", "0", *options, timeout=20)
    assert ended.returncode in (1, 2)
    assert "Serving" not in ended.stderr
    assert options[0] in ended.stderr
