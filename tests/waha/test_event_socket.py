"""The WebSocket of live events, against real servers: how it ends, and that the key is sent nowhere else."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs, urlsplit

import anyio
import pytest
from websockets.asyncio.server import ServerConnection, serve

from waha_mcp.waha import event_socket as module
from waha_mcp.waha.event_socket import Arrived, NoEvents, NoneForThisKey, NoneHere, listening

pytestmark = pytest.mark.anyio

KEY = "key_0123456789abcdef"
Handler = Callable[[ServerConnection], Awaitable[None]]


@asynccontextmanager
async def server(handler: Handler, **options: Any) -> AsyncIterator[str]:
    async with serve(handler, "127.0.0.1", 0, close_timeout=0.1, **options) as running:
        port = next(iter(running.sockets)).getsockname()[1]
        yield f"http://127.0.0.1:{port}"


async def end_of(url: str, found: list[Arrived] | None = None) -> NoEvents:
    """How the connection ends; what arrives until then is added to `found`."""
    with pytest.raises(NoEvents) as caught, anyio.fail_after(10):
        await listen(url, [] if found is None else found)
    return caught.value


async def listen(url: str, found: list[Arrived]) -> None:
    async with listening(url, KEY, "default", ["message.any", "session.status"]) as arriving:
        async for each in arriving:
            found.append(each)  # noqa: PERF401 - it ends by raising


def answering(status: HTTPStatus, **headers: str) -> Any:
    def answer(connection: ServerConnection, request: Any) -> Any:
        response = connection.respond(status, "")
        for name, value in headers.items():
            response.headers[name] = value
        return response

    return answer


async def never(connection: ServerConnection) -> None:
    raise AssertionError("nobody connects here")


async def test_the_key_the_session_and_each_event_stand_in_the_url_and_what_arrives_is_parsed() -> None:
    seen: list[str] = []

    async def handler(connection: ServerConnection) -> None:
        assert connection.request is not None
        seen.append(connection.request.path)
        await connection.send(json.dumps({"event": "message.any"}))
        await connection.send(b'{"event": "binary"}')
        await connection.send("{no json")
        await connection.close(1001)

    async with server(handler) as url:
        found: list[Arrived] = []
        assert str(await end_of(url, found)) == "the connection was closed (1001)"
    assert [each.raw for each in found] == [{"event": "message.any"}, {"event": "binary"}, None]
    assert found[0].size == len(json.dumps({"event": "message.any"}))
    path, query = urlsplit(seen[0]).path, parse_qs(urlsplit(seen[0]).query)
    assert path == "/ws"
    assert query == {"session": ["default"], "events": ["message.any", "session.status"], "x-api-key": [KEY]}


@pytest.mark.parametrize("reason", ["Unauthorized", "Forbidden", ""])
async def test_a_key_that_may_not_listen_is_told_apart(reason: str) -> None:
    async def handler(connection: ServerConnection) -> None:
        await connection.close(1008, reason)

    async with server(handler) as url:
        assert type(await end_of(url)) is NoneForThisKey


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (HTTPStatus.UNAUTHORIZED, NoneForThisKey),
        (HTTPStatus.FORBIDDEN, NoneForThisKey),
        (HTTPStatus.NOT_FOUND, NoneHere),
        (HTTPStatus.BAD_REQUEST, NoneHere),
        (HTTPStatus.OK, NoneHere),
        (HTTPStatus.BAD_GATEWAY, NoEvents),
        (HTTPStatus.SERVICE_UNAVAILABLE, NoEvents),
    ],
)
async def test_an_answer_that_is_no_websocket_says_whether_it_is_worth_trying_again(
    status: HTTPStatus, kind: type[NoEvents]
) -> None:
    async with server(never, process_request=answering(status)) as url:
        assert type(await end_of(url)) is kind


async def test_a_redirect_is_not_followed() -> None:
    async with server(never) as elsewhere:
        there = answering(HTTPStatus.FOUND, Location=elsewhere.replace("http", "ws") + "/ws")
        async with server(never, process_request=there) as url:
            assert type(await end_of(url)) is NoneHere


async def test_a_server_that_speaks_no_http_and_one_that_is_away_are_errors_of_their_own() -> None:
    async def babble(stream: Any) -> None:
        async with stream:
            await stream.send(b"220 ready\r\n")

    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
        url = f"http://127.0.0.1:{listener.extra(anyio.abc.SocketAttribute.local_port)}"
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(listener.serve, babble)
            assert isinstance(await end_of(url), NoneHere)
            tasks.cancel_scope.cancel()
    assert type(await end_of(url)) is NoEvents


async def test_a_connection_that_is_cut_and_a_message_that_is_too_long_end_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async def cut(connection: ServerConnection) -> None:
        connection.transport.abort()

    async def lengthy(connection: ServerConnection) -> None:
        await connection.send("x" * 2_000)
        await connection.wait_closed()

    monkeypatch.setattr(module, "LONGEST", 1_000)
    for handler in (cut, lengthy):
        async with server(handler) as url:
            assert type(await end_of(url)) is NoEvents


async def test_who_answers_no_ping_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    over = anyio.Event()

    async def half_open(connection: ServerConnection) -> None:
        connection.transport.pause_reading()  # so that no ping is seen
        await over.wait()
        connection.transport.abort()

    monkeypatch.setattr(module, "PING", 0.05)
    monkeypatch.setattr(module, "PONG", 0.05)
    async with server(half_open) as url:
        assert type(await end_of(url)) is NoEvents
        over.set()


@pytest.mark.parametrize("url", ["http://waha.example.com:3000", "http://203.0.113.7"])
async def test_the_key_does_not_go_over_plain_http_to_a_public_host(url: str) -> None:
    with pytest.raises(NoneHere, match="plain http"):
        await listen(url, [])


async def test_the_key_stands_in_no_log_and_no_error(caplog: pytest.LogCaptureFixture) -> None:
    async def greet(connection: ServerConnection) -> None:
        await connection.send("{}")
        await connection.close(1008, f"x-api-key={KEY}")

    caplog.set_level(logging.DEBUG)
    for options in ({}, {"process_request": answering(HTTPStatus.NOT_FOUND)}):
        async with server(greet, logger=logging.Logger("quiet", logging.CRITICAL), **options) as url:
            error = await end_of(url)
        shown = [str(error), repr(error.__cause__), repr(error.__context__) if not error.__suppress_context__ else ""]
        assert KEY not in "".join(shown)
    assert KEY not in caplog.text
