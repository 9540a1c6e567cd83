"""The shipped configurations of nginx and Caddy, unchanged except for addresses."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from tests.deployed.deployment import SHIPPED, Deployment, Proxy, ProxyName, deployed, missing
from tests.harness import NO_PACE_TEXT, payload
from tests.http_server import connected
from tests.serving import free_port
from waha_mcp.server.http import MOST_BODY

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

PROXIES: tuple[ProxyName, ...] = ("nginx", "caddy")
both = pytest.mark.parametrize("name", PROXIES)


class Upstream:
    """A server that treats every connection alike, and records its requests."""

    def __init__(self, answer: bytes | None, *, then: bytes = b"") -> None:
        """`answer`: to each request; None: it closes the connection once it has read the request.

        `then`: written once it is to `go_on`, whereupon the connection stays open until `end`.
        """
        self._answer, self._then = answer, then
        self.go_on, self.end = threading.Event(), threading.Event()
        self.requests: list[bytes] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Upstream:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        # Closing alone would not wake up the thread.
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join(5)

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            with connection:
                request = b""
                while not re.search(rb"\r\n\r\n.*END", request, re.DOTALL) and (part := connection.recv(65536)):
                    request += part
                    if b"GET /readyz" in request:
                        break
                if b"GET /readyz" in request:
                    connection.sendall(_OK)
                elif request:
                    self.requests.append(request)
                    if self._answer is not None:
                        connection.sendall(self._answer)
                        if self._then and self.go_on.wait(10):
                            connection.sendall(self._then)
                            self.end.wait(10)


_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"


@contextmanager
def in_front(name: ProxyName, folder: Path, first: int, second: int) -> Iterator[httpx2.Client]:
    if missing(name):
        pytest.skip(missing(name))
    with (
        Proxy(name, folder / "proxy", [first, second]) as proxy,
        httpx2.Client(base_url=proxy.url, verify=proxy.trusted, timeout=20) as client,
    ):
        yield client


@both
def test_a_call_that_was_sent_is_never_sent_again_to_another_process(name: ProxyName, tmp_path: Path) -> None:
    with Upstream(None) as one, Upstream(None) as two, in_front(name, tmp_path, one.port, two.port) as client:
        for number in range(4):
            assert client.post("/mcp", content=b"call %d END" % number).status_code in (502, 503)
        came = [re.findall(rb"call \d", request) for request in one.requests + two.requests]
    # A failed process is not tried for a while, so some requests never arrive.
    assert [b"call 0"] in came
    assert all(came.count(each) == 1 for each in came)


@both
def test_a_process_that_accepts_no_connection_is_passed_over(name: ProxyName, tmp_path: Path) -> None:
    with Upstream(_OK) as there, in_front(name, tmp_path, free_port(), there.port) as client:
        assert [client.post("/mcp", content=b"send END").status_code for _ in range(4)] == [200] * 4
        assert len(there.requests) == 4


@both
def test_what_a_client_says_of_its_address_is_dropped(name: ProxyName, tmp_path: Path) -> None:
    with Upstream(_OK) as one, Upstream(_OK) as two, in_front(name, tmp_path, one.port, two.port) as client:
        client.post("/mcp", content=b"END", headers={"X-Forwarded-For": "10.9.8.7"})
        [request] = one.requests + two.requests
    assert re.findall(rb"(?im)^x-forwarded-for: (.*)\r$", request) == [b"127.0.0.1"]


@both
def test_what_is_for_machines_inside_is_not_passed_on(name: ProxyName, tmp_path: Path) -> None:
    passed = (
        "/mcp",
        "/console",
        "/console/login",
        "/authorize",
        "/oauth/consent",
        "/.well-known/oauth-protected-resource/mcp",
    )
    kept = (
        "/",
        "/metrics",
        "/readyz",
        "/healthz",
        "/mcp/../metrics",
        "/mcp%2f..%2fmetrics",
        "//metrics",
        "/mcp/x",
        "/consoles",
    )
    with Upstream(_OK) as one, Upstream(_OK) as two, in_front(name, tmp_path, one.port, two.port) as client:
        for path in passed + kept:
            assert (path, client.post(path, content=b"END").status_code) == (path, 200 if path in passed else 404)
        assert len(one.requests + two.requests) == len(passed)


def test_the_limits_of_bodies_are_that_of_the_server() -> None:
    [nginx] = re.findall(r"client_max_body_size (\d+)m;", (SHIPPED / "nginx.conf").read_text())
    [caddy] = re.findall(r"max_size (\d+)MiB", (SHIPPED / "Caddyfile").read_text())
    assert {int(nginx) * 2**20, int(caddy) * 2**20} == {MOST_BODY}


@both
def test_what_is_written_is_passed_on_at_once(name: ProxyName, tmp_path: Path) -> None:
    begun = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n"
    with Upstream(begun, then=b"data: 2\n\n") as there, in_front(name, tmp_path, there.port, free_port()) as client:
        with client.stream("POST", "/mcp", content=b"END") as answer:
            lines = (line for line in answer.iter_lines() if line)
            assert next(lines) == "data: 1"
            there.go_on.set()
            assert next(lines) == "data: 2"
        there.end.set()


# In front of real processes


@both
async def test_sessions_stay_with_one_process_where_the_key_leads_to_it(name: ProxyName, tmp_path: Path) -> None:
    with _deployed(tmp_path, name, "--sessions", sticky=True) as here:
        for key in here.keys.values():
            async with connected(here.proxy.url, key, "legacy", verify=here.proxy.trusted) as client:
                for _ in range(6):
                    payload(await client.call_tool("list_chats", {"limit": 1}))


@contextmanager
def _deployed(folder: Path, name: ProxyName, *arguments: str, sticky: bool = False) -> Iterator[Deployment]:
    if missing(name):
        pytest.skip(missing(name))
    apps = dict.fromkeys(("shop", "desk", "bar") if sticky else ("shop",), NO_PACE_TEXT)
    with deployed(folder, apps, *arguments, proxy=name, sticky=sticky) as here:
        yield here
