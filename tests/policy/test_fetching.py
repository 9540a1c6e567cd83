"""URLs that WAHA is asked to fetch."""

from __future__ import annotations

import socket
from typing import Any

import anyio
import pytest

from waha_mcp.policy import fetching
from waha_mcp.policy.fetching import links_in, refusal

pytestmark = pytest.mark.anyio

PRIVATE = [
    "http://127.0.0.1/",
    "http://127.1/",
    "http://2130706433/",
    "http://0x7f000001/",
    "http://0177.0.0.1/",
    "http://[::1]/",
    "http://[::]/",
    "http://[::ffff:10.0.0.1]/",
    "http://[64:ff9b::a00:1]/",
    "http://[2002:0a00:0001::1]/",
    "http://[fe80::1%25eth0]/",
    "http://[fc00::1]/",
    "http://0.0.0.0/",
    "http://10.1.2.3/",
    "http://172.16.0.1/",
    "http://192.168.1.1/",
    "http://169.254.169.254/",
    "http://100.64.0.1/",
    "http://224.0.0.1/",
    "http://255.255.255.255/",
    "http://localhost/",
    "http://LOCALHOST./",
    "http://api.localhost/",
    "http://redis/",
    "http://nas.local/",
    "http://metadata.google.internal/",
    "http://user:pw@203.0.113.9/",
    "http://127.0.0.1:99999/",
    "http://[::1/",
]


@pytest.mark.parametrize("url", PRIVATE)
async def test_a_private_address_in_any_writing_is_refused(url: str) -> None:
    assert await refusal(url, frozenset()) is not None


def resolver(*addresses: str) -> Any:
    async def look_up(host: str, port: int, **_: Any) -> list[Any]:
        if not addresses:
            raise socket.gaierror(8, "not known")
        return [(0, 0, 0, "", (address, port)) for address in addresses]

    return look_up


@pytest.mark.parametrize(
    ("addresses", "passes"),
    [(["8.8.8.8"], True), (["8.8.8.8", "10.0.0.1"], False), (["::1"], False), ([], False)],
    ids=["public", "one of them private", "loopback", "unknown"],
)
async def test_a_name_is_as_good_as_every_address_it_has(
    addresses: list[str], passes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(anyio, "getaddrinfo", resolver(*addresses))
    assert (await refusal("https://files.example.com/a.png", frozenset()) is None) is passes


async def test_a_look_up_that_hangs_is_given_up_and_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(anyio, "getaddrinfo", lambda *_, **__: anyio.sleep_forever())
    monkeypatch.setattr(fetching, "LOOKUP", 0.05)
    assert await refusal("https://files.example.com/a.png", frozenset()) is not None


async def test_a_host_that_the_app_lists_is_allowed() -> None:
    assert await refusal("http://media:8080/a.png", frozenset({"media"})) is None
    assert await refusal("http://media.evil.example:8080/a.png", frozenset({"media"})) is not None


@pytest.mark.parametrize(
    ("text", "links"),
    [
        ("See https://example.com/a?b=1.", ["https://example.com/a?b=1"]),
        ("www.example.com and example.org/x", ["http://www.example.com", "http://example.org/x"]),
        ("at 10.0.0.5:8080/admin", ["http://10.0.0.5:8080/admin"]),
        ("No link here, 3.5 litres", []),
    ],
)
def test_links_are_found_in_a_text(text: str, links: list[str]) -> None:
    assert links_in(text) == links
