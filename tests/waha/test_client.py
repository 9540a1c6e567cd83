"""The client: what it sends, retries and returns, and what its errors never contain."""

from __future__ import annotations

import email.utils
import gzip
import itertools
import json
import ssl
import time
import tracemalloc
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

import anyio
import anyio.abc
import httpx
import pytest
import respx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from waha_mcp.waha.client import Waha
from waha_mcp.waha.errors import (
    BadAnswer,
    Forbidden,
    NotDone,
    OutcomeUnknown,
    Refused,
    TooBusy,
    Unreachable,
    WahaError,
)
from waha_mcp.waha.responses import MAX_JSON

pytestmark = pytest.mark.anyio

KEY = "k-4f9a1c77d2e84b0f"
BASE = "http://waha.test:3000"
CHATS = "GET /api/{session}/chats/overview"
SEND = "POST /api/sendText"


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The waits between attempts; no time passes."""
    waited: list[float] = []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)

    monkeypatch.setattr("waha_mcp.waha.client.anyio.sleep", sleep)
    return waited


@pytest.fixture
def net() -> Iterator[respx.MockRouter]:
    with respx.mock(base_url=BASE, assert_all_called=False) as router:
        yield router


@pytest.fixture
async def waha(anyio_backend: str, net: respx.MockRouter) -> AsyncIterator[Waha]:
    async with Waha(BASE, SecretStr(KEY), "default") as bound:
        yield bound


def sent(net: respx.MockRouter) -> httpx.Request:
    (call,) = net.calls
    request: httpx.Request = call.request
    return request


# What leaves


async def test_the_key_goes_into_the_header_alone(waha: Waha, net: respx.MockRouter) -> None:
    net.route().respond(201, json={})
    await waha.call(SEND, body={"text": "hi"})
    request = sent(net)
    assert request.headers["x-api-key"] == KEY
    assert "authorization" not in request.headers
    assert KEY not in str(request.url)
    assert KEY not in request.content.decode()


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ("123@c.us", b"/api/default/chats/123%40c.us/messages"),
        ("a/../b", b"/api/default/chats/a%2F..%2Fb/messages"),
        ("?x=1#y", b"/api/default/chats/%3Fx%3D1%23y/messages"),
        ("é 😀", b"/api/default/chats/%C3%A9%20%F0%9F%98%80/messages"),
        ("%2e%2e", b"/api/default/chats/%252e%252e/messages"),
        ("{session}", b"/api/default/chats/%7Bsession%7D/messages"),
        ("\\1", b"/api/default/chats/%5C1/messages"),
    ],
)
async def test_path_segments_are_escaped_whole(waha: Waha, net: respx.MockRouter, value: str, path: bytes) -> None:
    net.route().respond(json=[])
    await waha.call("GET /api/{session}/chats/{chatId}/messages", path={"chatId": value})
    assert sent(net).url.raw_path == path


@pytest.mark.parametrize("value", ["", ".", ".."])
async def test_a_segment_that_would_lead_elsewhere_does_not_leave(
    waha: Waha, net: respx.MockRouter, value: str
) -> None:
    with pytest.raises(Refused):
        await waha.call("GET /api/{session}/chats/{chatId}/messages", path={"chatId": value})
    assert not net.calls


async def test_the_session_goes_where_the_operation_wants_it(waha: Waha, net: respx.MockRouter) -> None:
    net.route().respond(json={})
    await waha.call(CHATS)
    await waha.call("GET /api/contacts/all")
    await waha.call(SEND, body={"text": "hi"})
    await waha.call("GET /api/server/version", bound=False)
    first, second, third, fourth = (call.request for call in net.calls)
    assert first.url.raw_path == b"/api/default/chats/overview"
    assert second.url.query == b"session=default"
    assert json.loads(third.content) == {"session": "default", "text": "hi"}
    assert third.url.query == b""
    assert fourth.url.raw_path == b"/api/server/version"


async def test_a_change_with_the_session_in_its_path_has_no_body(waha: Waha, net: respx.MockRouter) -> None:
    net.route().respond(201)
    await waha.call("POST /api/{session}/chats/{chatId}/messages/read", path={"chatId": "1@c.us"})
    assert sent(net).content == b""


async def test_booleans_in_a_query_are_words_and_none_is_left_out(waha: Waha, net: respx.MockRouter) -> None:
    net.route().respond(json=[])
    await waha.call(CHATS, query={"a": True, "b": False, "c": None, "d": 0, "e": "ä&"})
    assert sent(net).url.query == b"a=true&b=false&d=0&e=%C3%A4%26"


async def test_none_in_a_body_is_left_out_and_false_stays(waha: Waha, net: respx.MockRouter) -> None:
    net.route().respond(201, json={})
    await waha.call(SEND, body={"a": None, "b": False, "c": ""})
    assert json.loads(sent(net).content) == {"session": "default", "b": False, "c": ""}


async def test_a_path_prefix_of_the_url_is_kept(net: respx.MockRouter) -> None:
    net.route().respond(json=[])
    async with Waha(f"{BASE}/prefix/", SecretStr(KEY), "default") as waha:
        await waha.call(CHATS)
    assert sent(net).url.raw_path == b"/prefix/api/default/chats/overview"


async def test_nothing_is_asked_before_the_session_is_known(net: respx.MockRouter) -> None:
    async with Waha(BASE, SecretStr(KEY)) as waha:
        with pytest.raises(RuntimeError):
            await waha.call(CHATS)
    assert not net.calls


async def test_https_checks_certificates_however_it_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(httpx, "AsyncClient", lambda **options: seen.append(options["verify"]))
    for url in ("https://waha.test", "HTTPS://waha.test", "http://waha.test"):
        Waha(url, SecretStr(KEY))._open()
    assert len(seen) == 6
    for context in seen:
        assert isinstance(context, ssl.SSLContext)
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.check_hostname
    # The system's trusted certificates; none for plain HTTP, which shows no certificate.
    assert [bool(context.cert_store_stats()["x509_ca"]) for context in seen] == [True] * 4 + [False] * 2


@pytest.mark.parametrize(
    ("name", "value"),
    [("ALL_PROXY", "gopher://proxy"), ("SSL_CERT_FILE", "/nowhere/certificates.pem")],
)
async def test_unusable_network_settings_of_the_environment_are_told(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    async with Waha("https://waha.test", SecretStr(KEY), "default") as waha:
        with pytest.raises(Unreachable) as caught:
            await waha.call(CHATS)
    assert name in str(caught.value)


# What is tried again


@pytest.mark.parametrize(
    "failure", [httpx.ConnectError, httpx.ConnectTimeout, httpx.ReadError, httpx.RemoteProtocolError]
)
async def test_a_get_is_tried_three_times_when_the_connection_fails(
    waha: Waha, net: respx.MockRouter, waits: list[float], failure: type[httpx.TransportError]
) -> None:
    net.route().mock(side_effect=failure("secret detail"))
    with pytest.raises(Unreachable) as caught:
        await waha.call(CHATS)
    assert len(net.calls) == 3
    assert len(waits) == 2
    assert all(0 < wait < 1 for wait in waits)
    assert "secret detail" not in str(caught.value)
    assert "waha.test:3000" in str(caught.value)


@pytest.mark.parametrize("status", [429, 502, 503, 504])
async def test_a_get_is_tried_again_until_it_is_answered(
    waha: Waha, net: respx.MockRouter, waits: list[float], status: int
) -> None:
    net.route().mock(side_effect=[httpx.Response(status), httpx.ConnectError(""), httpx.Response(200, json=[1])])
    assert await waha.call(CHATS) == [1]
    assert len(waits) == 2


@pytest.mark.parametrize(("status", "kind"), [(429, TooBusy), (502, BadAnswer), (503, BadAnswer), (504, BadAnswer)])
async def test_a_get_that_stays_refused_ends_after_three_tries(
    waha: Waha, net: respx.MockRouter, waits: list[float], status: int, kind: type[WahaError]
) -> None:
    net.route().respond(status)
    with pytest.raises(kind):
        await waha.call(CHATS)
    assert len(net.calls) == 3


async def test_retry_after_is_waited_for_in_seconds_and_as_a_date(
    waha: Waha, net: respx.MockRouter, waits: list[float]
) -> None:
    soon = email.utils.formatdate(time.time() + 4, usegmt=True)
    net.route().mock(
        side_effect=[
            httpx.Response(429, headers={"Retry-After": "2"}),
            httpx.Response(503, headers={"Retry-After": soon}),
            httpx.Response(200, json=[]),
        ]
    )
    await waha.call(CHATS)
    assert waits[0] == 2
    assert 1 < waits[1] <= 4


@pytest.mark.parametrize("value", ["3600", "9" * 400, "Fri, 31 Dec 9999 23:59:59 GMT"])
async def test_a_long_retry_after_is_told_and_not_waited_out(
    waha: Waha, net: respx.MockRouter, waits: list[float], value: str
) -> None:
    net.route().respond(429, headers={"Retry-After": value})
    with pytest.raises(TooBusy) as caught:
        await waha.call(CHATS)
    assert waits == []
    assert len(net.calls) == 1
    assert " s." in str(caught.value)


@pytest.mark.parametrize("value", ["soon", "", "-1", "²", "Mon, 99999999999999999999 Jan 2026 00:00:00 GMT"])
async def test_a_retry_after_that_says_nothing_is_passed_over(
    waha: Waha, net: respx.MockRouter, waits: list[float], value: str
) -> None:
    answer = httpx.Response(429, headers=[(b"Retry-After", value.encode("latin-1"))])
    net.route().mock(side_effect=[answer, httpx.Response(200, json=[])])
    assert await waha.call(CHATS) == []
    assert 0 < waits[0] < 1


async def test_a_get_that_was_not_answered_in_time_is_not_tried_again(
    waha: Waha, net: respx.MockRouter, waits: list[float]
) -> None:
    net.route().mock(side_effect=httpx.ReadTimeout(""))
    with pytest.raises(Unreachable) as caught:
        await waha.call(CHATS)
    assert len(net.calls) == 1
    assert "30 s" in str(caught.value)


@pytest.mark.parametrize("operation", [SEND, "PUT /api/reaction", "DELETE /api/{session}/chats/{chatId}"])
@pytest.mark.parametrize(
    "outcome",
    [httpx.ReadTimeout(""), httpx.ReadError(""), httpx.RemoteProtocolError(""), httpx.WriteError(""), 502, 503, 504],
    ids=repr,
)
async def test_a_change_whose_answer_is_lost_is_sent_once_and_its_outcome_is_unknown(
    waha: Waha, net: respx.MockRouter, waits: list[float], operation: str, outcome: Exception | int
) -> None:
    if isinstance(outcome, int):
        net.route().respond(outcome, html="<html>bad gateway</html>")
    else:
        net.route().mock(side_effect=outcome)
    with pytest.raises(OutcomeUnknown) as caught:
        await waha.call(operation, path={"chatId": "1@c.us"})
    assert len(net.calls) == 1
    assert "outcome is unknown" in str(caught.value)
    assert "Do not repeat" in str(caught.value)


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(201, content=b'{"id": "tru', headers={"content-type": "application/json"}),
        httpx.Response(201, content=b" " * (MAX_JSON + 1)),
        httpx.Response(200, html="<html>logged in</html>"),
    ],
    ids=["cut off", "too large", "web page"],
)
async def test_a_change_whose_answer_cannot_be_read_is_of_unknown_outcome_too(
    waha: Waha, net: respx.MockRouter, answer: httpx.Response
) -> None:
    net.route().mock(return_value=answer)
    with pytest.raises(OutcomeUnknown) as caught:
        await waha.call(SEND, body={"text": "hi"})
    assert "Try again" not in str(caught.value)


@pytest.mark.parametrize("failure", [httpx.ConnectError(""), httpx.ConnectTimeout(""), httpx.ProxyError("")], ids=repr)
async def test_a_change_that_never_left_is_known_not_to_have_happened(
    waha: Waha, net: respx.MockRouter, failure: Exception
) -> None:
    net.route().mock(side_effect=failure)
    with pytest.raises(Unreachable) as caught:
        await waha.call(SEND, body={"text": "hi"})
    assert len(net.calls) == 1
    assert "was not sent" in str(caught.value)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422, 429, 500, 501])
async def test_a_refused_change_is_sent_once(
    waha: Waha, net: respx.MockRouter, waits: list[float], status: int
) -> None:
    net.route().respond(status, json={"message": "no"})
    with pytest.raises(WahaError):
        await waha.call(SEND, body={"text": "hi"})
    assert len(net.calls) == 1


# What comes back


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_redirects_are_not_followed(waha: Waha, net: respx.MockRouter, status: int) -> None:
    net.route().respond(status, headers={"location": "https://elsewhere.test/login?key=1"})
    with pytest.raises(BadAnswer) as caught:
        await waha.call(CHATS)
    assert len(net.calls) == 1
    assert "elsewhere.test" in str(caught.value)
    assert "login" not in str(caught.value)
    assert "App's url" in str(caught.value)


@pytest.mark.parametrize("location", ["", "/login", "http://[broken"])
async def test_a_redirect_to_an_odd_place_is_told_too(waha: Waha, net: respx.MockRouter, location: str) -> None:
    net.route().respond(302, headers={"location": location})
    with pytest.raises(BadAnswer):
        await waha.call(CHATS)


@pytest.mark.parametrize("status", [200, 201, 204])
@pytest.mark.parametrize("body", [b"", b"  \n"])
async def test_an_empty_answer_is_none(waha: Waha, net: respx.MockRouter, status: int, body: bytes) -> None:
    net.route().respond(status, content=body)
    assert await waha.call(CHATS) is None


@pytest.mark.parametrize("content_type", ["text/plain", "text/html; charset=utf-8"])
async def test_bare_text_is_text(waha: Waha, net: respx.MockRouter, content_type: str) -> None:
    net.route().respond(200, content=b"KXq7invite\n", headers={"content-type": content_type})
    assert await waha.call("GET /api/{session}/groups/{id}/invite-code", path={"id": "1@g.us"}) == "KXq7invite"


@pytest.mark.parametrize("status", [200, 400, 401, 403, 404])
@pytest.mark.parametrize("content_type", ["text/html", "application/json", ""])
async def test_a_web_page_is_told_as_one_and_not_taken_for_wahas_word(
    waha: Waha, net: respx.MockRouter, status: int, content_type: str
) -> None:
    net.route().respond(status, content=b"\n<!DOCTYPE html><p>Log in", headers={"content-type": content_type})
    with pytest.raises(BadAnswer) as caught:
        await waha.call(CHATS)
    assert "web page" in str(caught.value)
    assert "App's url" in str(caught.value)
    assert "Log in" not in str(caught.value)


@pytest.mark.parametrize("body", [b"{", b"nonsense", b"[" * 200_000, b"\xff\xfe\x00"])
async def test_broken_json_is_told(waha: Waha, net: respx.MockRouter, body: bytes) -> None:
    net.route().respond(200, content=body, headers={"content-type": "application/json"})
    with pytest.raises(BadAnswer):
        await waha.call(CHATS)


async def test_half_an_emoji_becomes_something_that_can_be_written_out(waha: Waha, net: respx.MockRouter) -> None:
    net.route().respond(200, content=rb'{"cut \ud83d": ["\uD83D\uDE00 \ud83d"], "n": 1}')
    answer = await waha.call(CHATS)
    assert answer["n"] == 1
    assert json.dumps(answer, ensure_ascii=False).encode()
    assert "😀" in next(iter(answer.values()))[0]


async def test_an_answer_over_the_cap_is_refused(waha: Waha, net: respx.MockRouter) -> None:
    net.route().respond(200, content=b'"' + b"x" * MAX_JSON + b'"')
    with pytest.raises(BadAnswer) as caught:
        await waha.call(CHATS)
    assert "10 MiB" in str(caught.value)
    assert "smaller limit" in str(caught.value)


async def test_an_endless_answer_is_read_no_further_than_the_cap(waha: Waha, net: respx.MockRouter) -> None:
    given_out = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal given_out
        while True:
            given_out += 2**20
            yield b" " * 2**20

    net.route().mock(return_value=httpx.Response(200, stream=_Stream(endless())))
    with pytest.raises(BadAnswer):
        await waha.call(CHATS)
    assert given_out <= MAX_JSON + 2 * 2**20


class _Stream(httpx.AsyncByteStream):
    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        self._chunks = chunks
        self.closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._chunks:
            yield chunk

    async def aclose(self) -> None:
        self.closed = True


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "GZIP"])
@pytest.mark.slow
async def test_a_compressed_bomb_is_refused_before_it_is_unpacked(
    waha: Waha, net: respx.MockRouter, encoding: str
) -> None:
    packed = gzip.compress(b" " * (10 * MAX_JSON))
    assert len(packed) < 2**17
    answer = httpx.Response(200, stream=_Stream(_once(packed)), headers={"content-encoding": encoding})
    net.route().mock(return_value=answer)
    tracemalloc.start()
    with pytest.raises(BadAnswer) as caught:
        await waha.call(CHATS)
    assert "10 MiB" in str(caught.value)
    assert tracemalloc.get_traced_memory()[1] < 4 * MAX_JSON
    tracemalloc.stop()


@pytest.mark.parametrize(
    "encoding", ["gzip, gzip", "gzip,gzip", "deflate", "br", "zstd", "identity, gzip", "gzip, identity"]
)
async def test_an_answer_that_is_packed_in_any_other_way_is_not_unpacked(
    waha: Waha, net: respx.MockRouter, encoding: str
) -> None:
    packed = gzip.compress(gzip.compress(b'{"id": "x"}'))
    answer = httpx.Response(200, stream=_Stream(_once(packed)), headers={"content-encoding": encoding})
    net.route().mock(return_value=answer)
    with pytest.raises(BadAnswer, match="not requested"):
        await waha.call(CHATS)


async def test_only_gzip_is_asked_for_and_undone(waha: Waha, net: respx.MockRouter) -> None:
    net.route().respond(200, content=gzip.compress(b'{"id": 7}'), headers={"content-encoding": "gzip"})
    assert await waha.call(CHATS) == {"id": 7}
    assert sent(net).headers["accept-encoding"] == "gzip"


# Slow answers


async def _drip(pieces: Iterable[bytes], stream: anyio.abc.SocketStream) -> None:
    """Read the request, and answer byte by byte."""
    async with stream:
        with suppress(anyio.BrokenResourceError, anyio.EndOfStream, anyio.ClosedResourceError):
            await stream.receive()
            for piece in pieces:
                await stream.send(piece)
                await anyio.sleep(0.01)


@asynccontextmanager
async def dripping(head: bytes, body: bytes) -> AsyncIterator[str]:
    """A server that sends `head` at once and `body` byte by byte; its URL."""
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.extra(anyio.abc.SocketAttribute.local_port)
    pieces = [head, *(bytes([each]) for each in body)] if head else [bytes([each]) for each in body]
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, partial(_drip, pieces))
        yield f"http://127.0.0.1:{port}"
        tasks.cancel_scope.cancel()
    await listener.aclose()


SLOW = {
    "its head": (b"", b"HTTP/1.1 200 OK\r\nx-filler: " + b"x" * 10_000),
    "its body": (b"HTTP/1.1 200 OK\r\ncontent-length: 10000\r\n\r\n", b" " * 10_000),
    "the body of a refusal": (b"HTTP/1.1 403 Forbidden\r\ncontent-length: 10000\r\n\r\n", b" " * 10_000),
    "its chunks": (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", b"1\r\n \r\n" * 2_000),
    "interim answers": (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 500),
}


@pytest.mark.parametrize("part", SLOW)
@pytest.mark.slow
async def test_an_answer_that_drips_in_ends_with_the_deadline(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("waha_mcp.waha.client.DEADLINE", 0.1)
    head, body = SLOW[part]
    async with dripping(head, body) as url, Waha(url, SecretStr(KEY), "default") as waha:
        with anyio.fail_after(5):
            with pytest.raises(Unreachable, match="no complete answer"):
                await waha.call(CHATS)
            with pytest.raises(Unreachable, match="no complete answer"):
                await waha.download(f"{url}/api/files/x.jpg", cap=1000)
            with pytest.raises(OutcomeUnknown):
                await waha.call(SEND, body={"text": "hi"})


@pytest.mark.slow
async def test_a_large_request_gets_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("waha_mcp.waha.client.DEADLINE", 0.1)
    monkeypatch.setattr("waha_mcp.waha.client.BYTES_PER_SECOND", 1000)
    answer = b"HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\n"
    async with dripping(answer, b'{"id": "0123456789"}') as url, Waha(url, SecretStr(KEY), "default") as waha:
        with pytest.raises(OutcomeUnknown):
            await waha.call(SEND, body={"text": "hi"})
        assert await waha.call(SEND, body={"text": "x" * 3000}) == {"id": "0123456789"}


@asynccontextmanager
async def kept_open(answers: Mapping[str, bytes]) -> AsyncIterator[tuple[str, list[str]]]:
    """A server with keep-alive connections: its URL, and each request as "connection method path".

    `answers` holds the bytes that are sent at once, by "method path".
    """
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.extra(anyio.abc.SocketAttribute.local_port)
    asked: list[str] = []
    numbers = itertools.count(1)

    async def serve(stream: anyio.abc.SocketStream) -> None:
        number = next(numbers)
        with suppress(anyio.BrokenResourceError, anyio.EndOfStream, anyio.ClosedResourceError):
            async with stream:
                while True:
                    head = await stream.receive()
                    what = head.split(b" HTTP")[0].partition(b"?")[0].decode()
                    asked.append(f"{number} {what}")
                    await stream.send(answers[what])

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, serve)
        yield f"http://127.0.0.1:{port}", asked
        tasks.cancel_scope.cancel()
    await listener.aclose()


def whole(body: bytes, status: str = "200 OK") -> bytes:
    head = f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


async def test_an_answer_too_many_is_not_taken_for_that_to_a_change() -> None:
    refusal = whole(b'{"statusCode": 404, "message": "Not Found"}', "404 Not Found")
    answers = {
        "GET /api/default/chats/overview": whole(b"[]") + refusal,
        "POST /api/sendText": whole(b'{"id": "true_1@c.us_AA"}', "201 Created"),
    }
    async with kept_open(answers) as (url, asked), Waha(url, SecretStr(KEY), "default") as waha:
        assert await waha.call(CHATS) == []
        assert await waha.call(SEND, body={"text": "hi"}) == {"id": "true_1@c.us_AA"}
        assert await waha.call(SEND, body={"text": "ho"}) == {"id": "true_1@c.us_AA"}
    # Each change has a separate connection.
    assert asked == ["1 GET /api/default/chats/overview", "2 POST /api/sendText", "3 POST /api/sendText"]


async def test_looks_share_a_connection() -> None:
    answers = {"GET /api/default/chats/overview": whole(b"[]")}
    async with kept_open(answers) as (url, asked), Waha(url, SecretStr(KEY), "default") as waha:
        for _ in range(3):
            assert await waha.call(CHATS) == []
    assert asked == ["1 GET /api/default/chats/overview"] * 3


async def test_broken_compression_is_told(waha: Waha, net: respx.MockRouter) -> None:
    net.route().mock(
        return_value=httpx.Response(200, stream=_Stream(_once(b"nonsense")), headers={"content-encoding": "gzip"})
    )
    with pytest.raises(BadAnswer) as caught:
        await waha.call(CHATS)
    assert "compression" in str(caught.value)


async def _once(chunk: bytes) -> AsyncIterator[bytes]:
    yield chunk


NOT_WAHAS: dict[str, bytes] = {
    "nothing": b"",
    "a word": b"Forbidden",
    "half an object": b"{",
    "an empty object": b"{}",
    "a list": b"[]",
    "no status": b'{"message": "Forbidden"}',
    "another status": b'{"message": "Forbidden", "statusCode": 502}',
    "a status as text": b'{"message": "Forbidden", "statusCode": "403"}',
    "another form": b'{"error": {"code": 403, "message": "Forbidden"}}',
    "too much": b" " * (MAX_JSON + 1),
}


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 413, 422, 429, 499, 501])
@pytest.mark.parametrize("body", NOT_WAHAS)
async def test_what_is_not_in_wahas_own_words_refuses_neither_a_change_nor_the_key(
    waha: Waha, net: respx.MockRouter, body: str, status: int
) -> None:
    net.route().respond(status, content=NOT_WAHAS[body], headers={"content-type": "application/json"})
    with pytest.raises(OutcomeUnknown):
        await waha.call(SEND, body={"text": "hi"})
    if status in (401, 403):
        with pytest.raises(BadAnswer, match="in front of WAHA"):
            await waha.call(CHATS)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (403, {"message": "Forbidden", "statusCode": 403}),
        (400, {"message": ["text must be a string"], "error": "Bad Request", "statusCode": 400}),
        (422, {"error": 'Session "x" does not exist', "session": "x"}),
        (501, {"message": "Not implemented", "error": "Not Implemented", "statusCode": 501}),
    ],
)
async def test_a_refusal_in_wahas_own_words_says_that_it_was_not_done(
    waha: Waha, net: respx.MockRouter, status: int, body: dict[str, Any]
) -> None:
    net.route().respond(status, json=body)
    with pytest.raises(WahaError) as caught:
        await waha.call(SEND, body={"text": "hi"})
    assert not isinstance(caught.value, OutcomeUnknown | BadAnswer)


@pytest.mark.parametrize(
    "body",
    [
        {"statusCode": 500, "message": "Internal server error"},
        {"statusCode": 400},
        {"error": "boom"},
        {"ok": False},
        {"result": False},
        {"status": "error"},
        {"status": "failed"},
    ],
    ids=str,
)
async def test_an_error_in_a_successful_answer_leaves_a_change_unknown(
    waha: Waha, net: respx.MockRouter, body: dict[str, Any]
) -> None:
    net.route().respond(200, json=body)
    with pytest.raises(OutcomeUnknown, match="with a success status"):
        await waha.call(SEND, body={"text": "hi"})
    assert await waha.call("GET /api/server/version", bound=False) == body


@pytest.mark.parametrize("body", [False, {"success": False}, {"success": False, "error": "no"}], ids=str)
async def test_wahas_no_in_a_successful_answer_says_that_a_change_was_not_done(
    waha: Waha, net: respx.MockRouter, body: Any
) -> None:
    net.route().respond(201, json=body)
    with pytest.raises(NotDone):
        await waha.call(SEND, body={"text": "hi"})


@pytest.mark.parametrize(
    "body",
    [{"status": "FAILED"}, {"error": None}, {"statusCode": 200}, {"success": True}, {"result": True}, {"ok": 0}, []],
    ids=str,
)
async def test_other_answers_to_a_change_are_handed_on(waha: Waha, net: respx.MockRouter, body: Any) -> None:
    net.route().respond(201, json=body)
    assert await waha.call(SEND, body={"text": "hi"}) == body


async def test_a_part_of_an_answer_is_none(waha: Waha, net: respx.MockRouter) -> None:
    net.route().respond(206, json=[])
    with pytest.raises(BadAnswer, match="part"):
        await waha.call(CHATS)


async def test_an_answer_that_must_stay_unread_is_not_read(waha: Waha, net: respx.MockRouter) -> None:
    read = False

    async def secrets() -> AsyncIterator[bytes]:
        nonlocal read
        read = True
        yield b"{}"

    stream = _Stream(secrets())
    as_json = {"content-type": "application/json; charset=utf-8"}
    net.route().mock(return_value=httpx.Response(200, stream=stream, headers=as_json))
    assert await waha.call("GET /api/server/environment", bound=False, unread=True) is None
    assert stream.closed
    assert not read


async def test_an_error_to_an_unread_call_is_an_error(waha: Waha, net: respx.MockRouter) -> None:
    net.route().respond(403, json={"message": "Forbidden", "statusCode": 403})
    with pytest.raises(Forbidden):
        await waha.call("GET /api/server/environment", bound=False, unread=True)


async def test_cancelling_a_call_closes_its_request() -> None:
    arrived, gone = anyio.Event(), anyio.Event()

    async def handle(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            await stream.receive()
            arrived.set()
            with pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):
                await stream.receive()
            gone.set()

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.extra(anyio.abc.SocketAttribute.local_port)
    with anyio.fail_after(10):
        async with anyio.create_task_group() as server, Waha(f"http://127.0.0.1:{port}", SecretStr(KEY), "s") as waha:
            server.start_soon(listener.serve, handle)
            async with anyio.create_task_group() as calls:
                calls.start_soon(waha.call, SEND)
                await arrived.wait()
                calls.cancel_scope.cancel()
            await gone.wait()
            server.cancel_scope.cancel()
        await listener.aclose()


async def test_a_closed_client_opens_again(waha: Waha, net: respx.MockRouter) -> None:
    net.route().respond(json=[])
    await waha.call(CHATS)
    await waha.aclose()
    assert await waha.call(CHATS) == []


# What errors never contain

_MARK = "the-echoed-body"
_STACK = "Error: boom\n    at Object.send (/app/dist/main.js:1:2)"
_hidden = st.sampled_from([KEY, KEY.upper(), f"https://waha/api?x-api-key={KEY}", f"x{KEY}y", f"'{KEY}'"])
_noise = st.text(max_size=320)
_said = st.tuples(_noise, _hidden, _noise).map("".join)
_echo = st.fixed_dictionaries(
    {
        "statusCode": st.just(500),
        "exception": st.fixed_dictionaries({"message": _said, "stack": st.just(f"{_MARK} {_STACK}")}),
        "request": st.fixed_dictionaries({"body": st.just({"text": _MARK}), "path": _said}),
        "message": st.just(_MARK),
    }
)
_words = st.one_of(
    st.fixed_dictionaries({"message": st.one_of(_said, st.lists(st.one_of(_said, st.integers()), max_size=3))}),
    st.fixed_dictionaries({"error": _said, "status": _said, "session": _said}),
    st.fixed_dictionaries({"error": _said.map(lambda text: text + "\n" + _STACK)}),
    st.fixed_dictionaries({"error": st.fixed_dictionaries({"message": _said})}),
)
_bodies = st.one_of(
    st.one_of(_echo, _words, _said, st.lists(_said, max_size=2)).map(lambda body: json.dumps(body).encode()),
    _said.map(lambda text: text.encode("utf-8", "replace")),
    _said.map(lambda text: f"<html>{text} {_MARK}".encode("utf-8", "replace")),
)


@given(
    status=st.sampled_from([301, 302, 400, 401, 403, 404, 409, 413, 422, 429, 500, 501, 502, 503, 504]),
    body=_bodies,
    content_type=st.sampled_from(["application/json", "text/plain", "text/html", "", KEY]),
    header=st.sampled_from([KEY, f"http://{KEY}.test/{KEY}", f"{KEY}://x", f"/{KEY}", "0"]),
    operation=st.sampled_from([CHATS, SEND]),
)
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.slow
async def test_whatever_waha_answers_no_error_holds_the_key_a_stack_or_an_echoed_body(
    anyio_backend: str, status: int, body: bytes, content_type: str, header: str, operation: str
) -> None:
    headers = {"content-type": content_type, "location": header, "retry-after": "3600", "x-error": header}

    transport = httpx.MockTransport(
        lambda request: httpx.Response(status, stream=_Stream(_once(body)), headers=headers)
    )
    waha = Waha(BASE, SecretStr(KEY), "default")
    waha._connections.clients = httpx.AsyncClient(transport=transport), httpx.AsyncClient(transport=transport)
    async with waha:
        with pytest.raises(WahaError) as caught:
            await waha.call(operation, body={"text": _MARK} if operation == SEND else None)
    said = str(caught.value)
    assert KEY.lower() not in said.lower()
    assert _MARK not in said
    assert "main.js" not in said
    assert "\n" not in said
    assert len(said) < 600
