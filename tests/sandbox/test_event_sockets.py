"""The event socket itself: authorization, its life cycle, and faults on demand."""

from __future__ import annotations

import base64
import json
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from importlib.resources import files
from typing import Any

import anyio
import pytest
from anyio.abc import SocketStream
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.sandbox.box import MAYA, SAM, Box, Ear
from waha_mcp.sandbox import event_stream, running
from waha_mcp.sandbox.event_stream import COMMON_EVENTS, EVENTS, GARBAGE

pytestmark = pytest.mark.anyio


async def closing(ear: Ear) -> tuple[int, str] | None:
    """Code and reason with which the server closes the socket; None if there is no close frame."""
    with anyio.fail_after(10), pytest.raises(ConnectionClosed) as raised:
        await ear.socket.recv()
    told = raised.value.rcvd
    return None if told is None else (told.code, told.reason)


async def sockets(box: Box) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await box.control("GET", "socket"))["sockets"]
    return found


@asynccontextmanager
async def raw(box: Box, target: str) -> AsyncIterator[SocketStream]:
    """A connection that has asked for an upgrade, and answers nothing by itself."""
    host, _, port = box.info.url.removeprefix("http://").partition(":")
    lines = (
        f"GET {target} HTTP/1.1", f"Host: {host}", "Connection: Upgrade", "Upgrade: websocket",
        "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {base64.b64encode(bytes(16)).decode()}", "", "",
    )  # fmt: skip
    async with await anyio.connect_tcp(host, int(port)) as stream:
        await stream.send("\r\n".join(lines).encode())
        with anyio.fail_after(10):
            yield stream


def test_the_events_are_those_of_wahas_contract() -> None:
    schemas = json.loads(files("waha_mcp.sandbox").joinpath("contract.json").read_text())["schemas"]
    assert set(schemas["WAHAWebhookMessageAny"]["properties"]["event"]["enum"]) == EVENTS
    assert {"state.change", "engine.event"} == EVENTS - COMMON_EVENTS


@pytest.mark.parametrize("key", ["none", "send", "key_unknown"])
async def test_a_key_that_may_not_read_is_refused_once_the_socket_is_open(gows: Box, key: str) -> None:
    async with gows.ear(key=key) as ear:
        assert await closing(ear) == (1008, "Unauthorized" if key == "key_unknown" else "Forbidden")


async def test_only_the_query_is_read_for_the_key(gows: Box) -> None:
    url = gows.info.url.replace("http", "ws", 1)
    headers = {"X-Api-Key": gows.info.keys["read"]}
    async with connect(f"{url}/ws", additional_headers=headers, proxy=None) as socket:
        assert await closing(Ear(gows, socket)) == (1008, "Unauthorized")
    async with connect(f"{url}/ws?X-API-KEY={gows.info.keys['read']}", proxy=None) as socket:
        await gows.control("POST", "messages", chatId=MAYA, text="Heard")
        assert json.loads(await socket.recv())["event"] == "message"


async def test_a_key_hears_its_own_session_and_no_other_and_the_admin_all(gows: Box) -> None:
    await gows.do("POST", "/api/sessions", {"name": "second"}, key="admin")
    await gows.control("POST", "session", session="second", status="WORKING")
    async with gows.ear(session="second") as ear:
        assert await closing(ear) == (1008, "Forbidden")
    async with (
        gows.ear("message", session="*") as narrowed,
        gows.ear("message") as own,
        gows.ear("message", key="admin") as every,
        gows.ear("message", key="admin", session="second") as second,
    ):
        for name in ("second", "default"):
            await gows.control("POST", "messages", chatId=MAYA, text="Hello", session=name)
        told = [[each["session"] for each in await ear.heard()] for ear in (narrowed, own, every)]
        assert told == [["default"], ["default"], ["second", "default"]]
        # The event that ends `heard` has reached every listener each time.
        assert (await second.next())["session"] == "second"
        assert [each["session"] for each in await sockets(gows)] == ["default", "default", "*", "second"]


@pytest.mark.parametrize(
    ("asked", "heard"),
    [
        (["message", "session.status"], {"message", "session.status"}),
        (["message,presence.update", "message.ack"], {"message", "presence.update", "message.ack"}),
        ([], COMMON_EVENTS),
        (["*"], COMMON_EVENTS),
        (["engine.event,*"], COMMON_EVENTS | {"engine.event"}),
        ([""], set()),
        (["message.*", "mesage"], set()),
    ],
)
async def test_events_are_lists_and_unknown_ones_are_left_out_without_a_word(
    gows: Box, asked: list[str], heard: set[str]
) -> None:
    async with gows.ear(*asked) as ear:
        await gows.control("POST", "messages", chatId=MAYA, text="Hello")
        told = {each["event"] for each in await ear.heard()}
        assert told == {"message", "message.any"} & heard
        [listed] = await sockets(gows)
        assert set(listed["events"]) == heard
        assert (listed["key"], listed["session"]) == ("read", "default")


async def test_another_path_is_closed_without_an_answer(gows: Box) -> None:
    for path in ("/ws/", "/", "/api/ws"):
        async with raw(gows, f"{path}?x-api-key={gows.info.keys['read']}") as stream:
            with pytest.raises(anyio.EndOfStream):
                await stream.receive()


async def test_the_request_log_has_the_socket_without_its_key(gows: Box) -> None:
    async with gows.ear("message"), gows.ear("message", key="key_unknown") as refused:
        await closing(refused)
    opened, unknown = await gows.control("GET", "requests")
    assert (opened["path"], opened["query"], opened["key"]) == ("/ws", "x-api-key=***&events=message", "read")
    assert (opened["status"], opened["performed"] is None) == (101, False)
    assert (unknown["query"], unknown["key"], unknown["performed"]) == ("x-api-key=***&events=message", None, None)


async def test_no_log_and_no_spelling_has_the_key(gows: Box, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    key = gows.info.keys["read"]
    async with raw(gows, f"/ws?events=message&X%2DApi-Key={key}") as stream:
        assert (await stream.receive()).startswith(b"HTTP/1.1 101 ")
        [opened] = await gows.control("GET", "requests")
    assert (opened["query"], opened["key"]) == ("events=message&x-api-key=***", "read")
    assert key not in caplog.text


async def test_an_envelope_is_wahas(each: Box) -> None:
    async with each.ear("message", "message.any") as one, each.ear("message.any") as other:
        before = time.time_ns() // 1_000_000
        body = json.dumps({"chatId": MAYA, "text": "Half a surrogate pair: \ud83d"})
        await each.http.post("/sandbox/messages", content=body, headers={"X-Api-Key": each.info.admin_key})
        message, both = await one.heard()
        same = await other.next()
    assert same == both
    assert (message["event"], both["event"], message["payload"]) == ("message", "message.any", both["payload"])
    assert message["id"] != both["id"]
    assert message["id"].startswith("evt_01")
    assert len(message["id"]) == 30
    assert before <= message["timestamp"] <= time.time_ns() // 1_000_000
    assert message["payload"]["body"].endswith("pair: \ud83d")
    assert (message["session"], message["engine"]) == ("default", each.engine.upper())
    assert message["metadata"] == {"customer.id": "42"}
    assert message["me"]["id"] == "12025550100@c.us"
    assert ("reachoutTimelock" in message["me"]) is (each.engine != "wpp")
    assert message["environment"] == await each.get("/api/server/version")


async def test_what_a_listener_says_is_ignored_and_nothing_is_replayed(gows: Box) -> None:
    await gows.control("POST", "messages", chatId=MAYA, text="Before anybody listened")
    async with gows.ear("message") as ear:
        await ear.socket.send('{"event":"subscribe"}')
        await ear.socket.send(b"\x00")
        with anyio.fail_after(10):
            await (await ear.socket.ping())
        assert await ear.heard() == []


async def test_a_listener_closes_and_is_forgotten(gows: Box) -> None:
    async with gows.ear() as ear:
        assert len(await sockets(gows)) == 1
        await ear.socket.close()
        with anyio.fail_after(10):
            while await sockets(gows):
                await anyio.lowlevel.checkpoint()


async def test_a_subscription_outlives_a_stop_of_the_session_and_needs_none(gows: Box) -> None:
    async with gows.ear("session.status", "message", key="admin", session="later") as early:
        await gows.do("POST", "/api/sessions", {"name": "later"}, key="admin")
        assert [each["payload"]["status"] for each in await early.heard()] == ["STARTING"]
    async with gows.ear("session.status", "message") as ear:
        await gows.do("POST", "/api/sessions/default/stop")
        await gows.do("POST", "/api/sessions/default/start")
        await gows.control("POST", "settle")
        await gows.control("POST", "messages", chatId=MAYA, text="Hello again")
        told = [each["payload"].get("status") or each["payload"]["body"] for each in await ear.heard()]
    assert told == ["STOPPED", "STARTING", "WORKING", "Hello again"]


async def test_who_does_not_answer_a_ping_is_cut_off_at_the_next(gows: Box) -> None:
    async with raw(gows, f"/ws?x-api-key={gows.info.keys['read']}") as stream, gows.ear() as ear:
        assert (await stream.receive()).startswith(b"HTTP/1.1 101 ")
        await gows.control("POST", "socket", ping=True)
        assert await stream.receive() == b"\x89\x00"
        with anyio.fail_after(10):
            while [each["answered"] for each in await sockets(gows)] != [False, True]:
                await anyio.lowlevel.checkpoint()
        await gows.control("POST", "socket", ping=True)
        with pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):
            await stream.receive()
        await gows.control("POST", "messages", chatId=MAYA, text="Still there?")
        assert (await ear.next("message"))["payload"]["body"] == "Still there?"


async def test_listeners_are_pinged_by_themselves(gows: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_stream, "PING_EVERY", 0.01)
    async with raw(gows, f"/ws?x-api-key={gows.info.keys['read']}") as stream:
        received = b""
        with suppress(anyio.EndOfStream, anyio.BrokenResourceError):
            while True:
                received += await stream.receive()
        assert received.endswith(b"\r\n\r\n\x89\x00")
    assert await sockets(gows) == []


# Faults


async def test_a_drop_ends_all_sockets_without_a_close_frame(gows: Box) -> None:
    async with gows.ear() as one, gows.ear() as other:
        assert (await gows.control("POST", "socket", drop=True))["slow"] == 0
        assert [await closing(one), await closing(other)] == [None, None]
    async with gows.ear("message") as again:
        await gows.control("POST", "messages", chatId=MAYA, text="Hello")
        assert (await again.next())["payload"]["body"] == "Hello"


async def test_nothing_passes_a_half_open_socket_and_it_stays(gows: Box) -> None:
    async with gows.ear() as frozen:
        await gows.control("POST", "socket", half_open=True)
        async with gows.ear("message") as ear:
            await gows.control("POST", "messages", chatId=MAYA, text="Hello")
            await gows.control("POST", "socket", ping=True)
            await gows.control("POST", "socket", ping=True)
            pong = await frozen.socket.ping()
            assert (await ear.next())["payload"]["body"] == "Hello"
            assert [each["half_open"] for each in await sockets(gows)] == [True, False]
            await gows.control("POST", "socket", drop=True)
            assert await closing(frozen) is None
            with pytest.raises(ConnectionClosed):
                await pong


async def test_a_slow_feed_keeps_the_order_and_settling_ends_the_wait(gows: Box) -> None:
    async with gows.ear("message") as ear:
        await gows.control("POST", "socket", slow=60)
        for number in range(5):
            await gows.control("POST", "messages", chatId=MAYA, text=f"{number}")
        assert await ear.heard() == []
        await gows.control("POST", "settle")
        assert [each["payload"]["body"] for each in await ear.heard()] == ["0", "1", "2", "3", "4"]
        await gows.control("POST", "socket", reset=True)
        await gows.control("POST", "messages", chatId=MAYA, text="fast")
        assert (await ear.next())["payload"]["body"] == "fast"


async def test_a_slow_feed_that_is_dropped_loses_what_it_kept(gows: Box) -> None:
    async with gows.ear("message") as ear:
        await gows.control("POST", "socket", slow=60)
        for _ in range(2):
            await gows.control("POST", "messages", chatId=MAYA, text="Kept")
        assert (await gows.control("POST", "socket", drop=True))["sockets"] == []
        assert (await gows.control("POST", "settle"))["settled"] == 1
        assert await closing(ear) is None


async def test_garbage_is_no_event(gows: Box) -> None:
    async with gows.ear() as ear:
        await gows.control("POST", "socket", garbage=len(GARBAGE) + 1)
        frames = [await ear.socket.recv() for _ in range(len(GARBAGE) + 1)]
        assert {type(each) for each in frames} == {str, bytes}
        assert frames[0] == frames[-1] == ""
        await gows.control("POST", "messages", chatId=MAYA, text="Sense")
        assert (await ear.next("message"))["payload"]["body"] == "Sense"


@pytest.mark.slow
async def test_a_flood_comes_whole_and_in_order(gows: Box) -> None:
    async with gows.ear("message.any") as ear:
        await gows.control("POST", "socket", flood=5000, chatId=SAM)
        told = [each["payload"] for each in await ear.heard()]
        assert [each["body"] for each in told] == [f"Flood {number}" for number in range(1, 5001)]
        assert {each["from"] for each in told} == {SAM}
    assert len(await gows.messages(SAM, limit=6000)) >= 5000


async def test_new_sockets_are_refused_or_not_to_be_had_until_a_reset(gows: Box) -> None:
    async with gows.ear("message") as old:
        assert (await gows.control("POST", "socket", refuse=1013))["refuse"] == 1013
        async with gows.ear() as ear:
            assert await closing(ear) == (1013, "Refused")
        await gows.control("POST", "socket", absent=True)
        with pytest.raises(InvalidStatus) as raised:
            async with gows.ear():
                pytest.fail("there is no socket")
        assert raised.value.response.status_code == 404
        await gows.control("POST", "messages", chatId=MAYA, text="Hello")
        assert (await old.next())["payload"]["body"] == "Hello"
        told = await gows.control("POST", "socket", reset=True)
        assert (told["refuse"], told["absent"], len(told["sockets"])) == (None, False, 1)
        async with gows.ear():
            assert len(await sockets(gows)) == 2


@pytest.mark.parametrize("wish", [{"drpo": True}, {"refuse": 99}, {"refuse": 1006}, {"slow": "much"}, {"slow": -1}])
async def test_a_fault_that_makes_no_sense_is_refused(gows: Box, wish: dict[str, Any]) -> None:
    assert (await gows.ask("POST", "/sandbox/socket", wish, key="admin")).status_code == 400
    assert (await gows.control("GET", "socket")) == {"sockets": [], "refuse": None, "absent": False, "slow": 0.0}


async def test_it_ends_at_once_with_sockets_open(capfd: pytest.CaptureFixture[str]) -> None:
    async with running() as info, Box.opened(info, "gows") as box:
        inner = box.ear()
        ear = await inner.__aenter__()
        await box.control("POST", "messages", chatId=MAYA, text="Hello")
        leaving = time.perf_counter()
    assert time.perf_counter() - leaving < 1
    assert (await ear.next())["event"] == "message"
    with anyio.fail_after(5):
        await inner.__aexit__(None, None, None)
    assert capfd.readouterr() == ("", "")
