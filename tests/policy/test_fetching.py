"""URLs that WAHA is asked to fetch."""

from __future__ import annotations

import socket
import time
from typing import Any

import anyio
import pytest

from waha_mcp.policy.fetching import refusal, refusal_as_written
from waha_mcp.policy.links import MOST_LINKS, links_in
from waha_mcp.waha import web_fetch

pytestmark = pytest.mark.anyio


async def why(url: str, *allowed: str) -> str | None:
    return await refusal([url], frozenset(allowed))


@pytest.fixture
def public(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every name resolves to a public address."""
    monkeypatch.setattr(anyio, "getaddrinfo", resolver("8.8.8.8"))


def resolver(*addresses: str) -> Any:
    async def look_up(host: str, port: int, **_: Any) -> list[Any]:
        if not addresses:
            raise socket.gaierror(8, "not known")
        return [(0, 0, 0, "", (address, port)) for address in addresses]

    return look_up


@pytest.mark.usefixtures("public")
@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://127.0.0.1/", "'127.0.0.1' is an address of this machine"),
        ("http://127.1/", "'127.0.0.1' is an address of this machine"),
        ("http://2130706433/", "'127.0.0.1' is an address of this machine"),
        ("http://0x7f000001/", "'127.0.0.1' is an address of this machine"),
        ("http://0177.0.0.1/", "'127.0.0.1' is an address of this machine"),
        ("http://127%2e0%2e0%2e1/", "'127.0.0.1' is an address of this machine"),
        ("http://１２７。０.0.1/", "'127.0.0.1' is an address of this machine"),
        ("http://127.0.0.1\\@example.com/", "'127.0.0.1' is an address of this machine"),
        ("http://[::]/", "'[::]' is an address of this machine"),
        ("http://[::ffff:10.0.0.1]/", "'[::ffff:a00:1]' is an IPv4 address within an IPv6 address"),
        ("http://[64:ff9b::a00:1]/", "'[64:ff9b::a00:1]' is an address of a private network"),
        ("http://169.254.169.254/", "'169.254.169.254' is a link-local address"),
        ("http://192.0.0.9/", "'192.0.0.9' is an address for protocols"),
        ("http://LOCALHOST./", "'localhost' is a name of a private network"),
        ("http://%6c%6fcalhost/", "'localhost' is a name of a private network"),
        ("http://Ⓛocalhost/", "'localhost' is a name of a private network"),
        ("http://redis:6379/", "'redis' is a name of a private network"),
        ("http://metadata.google.internal/", "'metadata.google.internal' is a name of a private network"),
        ("http://user:pw@example.com/", "must not hold a user name or password"),
        ("http://a,b.example.com/", "'a,b.example.com' is not a plain host name"),
        ("http://example.com:0/", "must not have the port 0"),
        ("ftp://example.com/", "must be an http:// or https:// URL such as https://example.com/a.png"),
        ("http://faß.de/", "the host 'xn--fa-hia.de' is written in a way that programs read differently"),
        ("http://example.com\\@x/", "the host 'example.com' is written in a way that programs read differently"),
    ],
)
async def test_what_waha_must_not_fetch_is_refused_for_what_it_is(url: str, reason: str) -> None:
    assert await why("https://files.example.com/a.png") is None
    assert await why(url) == reason


@pytest.mark.parametrize(
    ("addresses", "reason"),
    [
        (["8.8.8.8"], None),
        (["8.8.8.8", "10.0.0.1"], "'files.example.com' resolves to 10.0.0.1, an address of a private network"),
        (["::1"], "'files.example.com' resolves to ::1, an address of this machine"),
        (["2a00::1", "fe80::1%eth0"], "'files.example.com' resolves to fe80::1, a link-local address"),
        (["64:ff9b::808:808"], None),
        ([], "'files.example.com' cannot be resolved to an address"),
    ],
    ids=["public", "one of them private", "loopback", "with a zone", "NAT64", "unknown"],
)
async def test_a_name_is_as_good_as_every_address_it_has(
    addresses: list[str], reason: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(anyio, "getaddrinfo", resolver(*addresses))
    assert await why("https://files.example.com/a.png") == reason


async def test_a_look_up_that_hangs_is_given_up_and_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(anyio, "getaddrinfo", lambda *_, **__: anyio.sleep_forever())
    monkeypatch.setattr(web_fetch, "LOOKUP", 0.05)
    assert await why("https://files.example.com/a.png") == "'files.example.com' cannot be resolved to an address"


async def test_an_address_is_looked_up_as_itself() -> None:
    assert await why("http://8.8.8.8/") is None
    assert await why("http://[2a00::1]/") is None


async def test_a_host_that_the_app_lists_is_allowed_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(anyio, "getaddrinfo", resolver())
    assert await why("http://media.example.com/", "media.example.com") is None
    assert await why("http://MEDIA:8080/a.png", "media") is None
    assert await why("http://10.0.0.5/a.png", "10.0.0.5") is None
    assert await why("http://[::1]/a.png", "[::1]") is None
    assert await why("http://10.0.0.6/a.png", "10.0.0.5") == "'10.0.0.6' is an address of a private network"
    assert await why("http://user@media/", "media") == "must not hold a user name or password"
    assert "differently" in str(await why("http://media\\@10.0.0.6/", "media"))


@pytest.mark.usefixtures("public")
async def test_one_bad_link_among_good_ones_is_enough_and_so_are_too_many() -> None:
    good = [f"https://example.com/{at}" for at in range(MOST_LINKS)]
    assert await refusal(good, frozenset()) is None
    assert await refusal([*good[1:], "http://10.0.0.5/"], frozenset()) == (
        "'10.0.0.5' is an address of a private network"
    )
    assert await refusal([*good, "https://example.com/x"], frozenset()) == (
        f"there are more than {MOST_LINKS} links to check"
    )


def test_each_url_is_judged_as_it_is_written() -> None:
    good, bad = "https://example.com/", "http://10.0.0.5/"
    assert refusal_as_written([good, good], frozenset()) is None
    for urls in ([good, bad], [bad, good]):
        assert refusal_as_written(urls, frozenset()) == "'10.0.0.5' is an address of a private network"


# Links in a text


@pytest.mark.parametrize(
    ("text", "links"),
    [
        ("See https://example.com/a?b=1.", ["https://example.com/a?b=1"]),
        ("*https://example.com* and (http://example.org/x)", ["https://example.com", "http://example.org/x"]),
        ("www.example.com and example.org/x", ["http://www.example.com", "http://example.org/x"]),
        ("at 10.0.0.5:8080/admin", ["http://10.0.0.5:8080/admin"]),
        ("HTTPS://Example.com", ["https://Example.com"]),
        ("bücher.example, пример.рф/x", ["http://bücher.example", "http://пример.рф/x"]),
        ("https://example.com/files/report.pdf", ["https://example.com/files/report.pdf"]),
        ("write to me@example.com", ["http://example.com"]),
        ("twice: example.com example.com", ["http://example.com"]),
        ("es01.dc1:9200/_cat", ["http://es01.dc1:9200/_cat"]),
        ("node-7.rack3:8080?x now", ["http://node-7.rack3:8080?x"]),
    ],
)
def test_links_are_found_in_a_text(text: str, links: list[str]) -> None:
    assert links_in(text) == links


@pytest.mark.usefixtures("public")
@pytest.mark.parametrize(
    "link",
    [
        *("http://10.0.0.5", "HTTP://10.0.0.5/", "https:\\\\10.0.0.5\\x", "http:/10.0.0.5/", "http:10.0.0.5/"),
        *("http://ok.example.com\\@10.0.0.5/", "http://10.0.0.5\\@ok.example.com/", "http://me@10.0.0.5/"),
        *("http://127%2e0%2e0%2e1/", "http://2130706433", "http://0x7f.1", "http://[::1]", "http://redis", "http://0"),
        *("ftp://10.0.0.5/", "redis://redis:6379/0", "seehttp://10.0.0.5/"),
        *("10.0.0.5", "10.0.0.5:8080", "10.0.0.5/x", "127.1:3000", "127.1/x", "0x7f.1/x", "0x7f000001:80/"),
        *("2130706433:80/", "2130706433/x", "１０.0.0.5/x", "10。0。0。5/x", "012.0.0.5/x"),
        *("localhost:3000", "localhost/x", "LOCALHOST:3000/x", "redis:6379/", "redis:6379/0", "waha-app:3000/api"),
        *("Look.10.0.0.5/x", "to-10.0.0.5/x", "10.0.0.5-x", "127.0.0.①:80/x", "127%2e0.0.1/x", "nas.①an/x"),
        "4f2c9ab01d33:3000/api",
        *("waha_app:3000?x", "redis:80\\x", "user:pw@redis:6379/", "user@redis/x", "user@10.0.0.5"),
        *("[::1]:3000/", "[::1]", "[::ffff:10.0.0.5]/x", "[fd00::1]:80", "http://[fd00::1]:80/x"),
        *("nas.lan", "nas.local:5000/x", "metadata.google.internal/x", "NAS.LAN/", "a.b.c.corp", "nas。lan/x"),
        *("https://ok.example.com/http://10.0.0.5/", "https://ok.example.com/,10.0.0.5/x", "ok.example.com@nas.lan"),
    ],
)
@pytest.mark.parametrize("around", ["{}", "see {} now", "({})", "*{}*", '"{}"', "a,{}.", "...{}!", "\n{}\n"])
async def test_a_link_inside_is_found_and_refused_however_it_is_written(link: str, around: str) -> None:
    # A form that is refused on its own may also be linked when other characters surround it.
    assert await refusal(links_in(around.format(link)), frozenset()) is not None


@pytest.mark.usefixtures("public")
@pytest.mark.parametrize(
    "text",
    [
        *("at 10:30/11:00", "3:15", "and/or", "v1.2.3", "No link here, 3.5 litres", "1.2.3 is out"),
        *("costs 10.50", "ok.example.com:8080/x"),
        *("Rating:10/10", "score:5/5, well done", "[10:30] Bob: hi", "[10:30:15] Bob", "e.g. this", "i.e. that"),
        *("C:\\Users\\me", "him/her", "call +1 202 555 0123", "https: see above", "http://", "a...b", "9.30"),
        *("Thanks :) see you at 8:00!", "U.S.A.", "from 12:30/13:00 on", "100% sure", "100%20of/it"),
        *("№ 5", "½ l", "x²"),
        *("TODO: buy milk", "50:50", "10/12/2025"),
        *("2025-12-10T10:30:00",  "@sam: hello"),
        *("localhost is this machine", "a [link] in brackets", "ratio 16:9/4:3", "3.5/5 stars", "::", "[::"),
        "Look: https://example.com/v1.2.3/file.tar.gz?at=10:30, and *https://example.org* too.",
    ],
)  # fmt: skip
async def test_a_normal_text_is_not_refused(text: str) -> None:
    assert await refusal(links_in(text), frozenset()) is None


@pytest.mark.parametrize(
    "text",
    [
        *("a." * 32_000, "a" * 65_000, "http:" * 13_000, "[" + ":" * 65_000, "[:" * 32_000, "0x" * 32_000),
        *("1." * 32_000, "a-" * 32_000 + ":1", "@a" * 32_000, "http://" + "a" * 65_000, "a:" * 32_000),
    ],
    ids=lambda text: text[:6],
)
@pytest.mark.slow
def test_a_long_text_is_looked_through_in_little_time(text: str) -> None:
    started = time.process_time()
    links_in(text)
    assert time.process_time() - started < 5
