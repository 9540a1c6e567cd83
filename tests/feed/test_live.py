"""The feed of a bridge, on a real WebSocket that fails in many ways: no message is lost, and WAHA is not flooded."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest

from tests.harness import Admin, app_for
from waha_mcp.app.actions import Action
from waha_mcp.bridge import Bridge
from waha_mcp.feed import live
from waha_mcp.feed.live import Feed
from waha_mcp.sandbox import SandboxInfo
from waha_mcp.waha import event_socket

pytestmark = pytest.mark.anyio

MAYA = "447700900142@c.us"


@pytest.fixture
async def bridge(sandbox: SandboxInfo) -> AsyncIterator[Bridge]:
    async with Bridge(app_for(sandbox, sandbox.keys["read_send"])) as bridge:
        await bridge.key.settle()
        yield bridge


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Attempts to connect, and polls, follow without delay."""
    for name in ("FIRST_PAUSE", "LONGEST_PAUSE", "POLL", "SLOWEST_POLL"):
        monkeypatch.setattr(live, name, 0.02)


async def socket(admin: Admin, **wish: Any) -> None:
    await admin.request("POST", "/sandbox/socket", wish)


async def come(admin: Admin, text: str) -> None:
    await admin.request("POST", "/sandbox/messages", {"chatId": MAYA, "text": text})


async def connections(admin: Admin) -> int:
    """How often a connection was requested."""
    return sum(each["path"] == "/ws" for each in await admin.request("GET", "/sandbox/requests"))


async def until(feed: Feed, state: str) -> None:
    with anyio.fail_after(20):
        while feed.state != state:
            await feed.record.more(feed.record.last)


async def hears(feed: Feed, text: str) -> None:
    """Wait until the feed has that message, and check that it has it once."""
    with anyio.fail_after(20):
        while not (found := [each for each in feed.record.entries if each.event.row.get("body") == text]):
            await feed.record.more(feed.record.last)
    assert len(found) == 1


async def test_what_takes_connections_and_closes_them_at_once_is_soon_asked_seldom(
    bridge: Bridge, admin: Admin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "FIRST_PAUSE", 0.01)
    await socket(admin, refuse=1011)
    await bridge.feed.open()
    await until(bridge.feed, "polling")
    assert await connections(admin) == live.PATIENT
    assert "1011" in str(bridge.feed.why)
    await come(admin, "while it polls")
    await hears(bridge.feed, "while it polls")


async def test_a_connection_that_has_worked_is_made_again_at_once(
    bridge: Bridge, admin: Admin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "FIRST_PAUSE", 0.01)
    await bridge.feed.open()
    for number in range(3 * live.PATIENT):
        await until(bridge.feed, "live")
        await come(admin, f"message {number}")
        await hears(bridge.feed, f"message {number}")
        await socket(admin, drop=True)
        await until(bridge.feed, "starting")
    await until(bridge.feed, "live")
    assert len([each for each in bridge.feed.record.entries if each.event.kind == "message"]) == 3 * live.PATIENT


async def test_a_key_that_may_not_listen_is_not_tried_again_and_its_reading_is_doubted(
    bridge: Bridge, admin: Admin, quick: None
) -> None:
    asked: list[None] = []

    async def refused() -> None:
        asked.append(None)

    bridge.feed.refused = refused
    await socket(admin, refuse=1008)
    await bridge.feed.open()
    await until(bridge.feed, "polling")
    for text in ("first", "second"):
        await come(admin, text)
        await hears(bridge.feed, text)
    assert await connections(admin) == 1
    assert len(asked) == 1


async def test_without_websockets_it_polls_and_listens_once_there_are_some(
    bridge: Bridge, admin: Admin, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "NONE_HERE", 0.3)
    await socket(admin, absent=True)
    await bridge.feed.open()
    await until(bridge.feed, "polling")
    await come(admin, "polled")
    await hears(bridge.feed, "polled")
    await socket(admin, absent=False)
    await until(bridge.feed, "live")
    await come(admin, "live")
    await hears(bridge.feed, "live")
    assert len(bridge.feed.record.gaps) == 1


async def test_frames_that_are_no_events_and_a_flood_of_them_cost_nothing_but_themselves(
    bridge: Bridge, admin: Admin
) -> None:
    await bridge.feed.open()
    await until(bridge.feed, "live")
    bridge.feed.record.gaps.clear()
    await socket(admin, garbage=2_000)
    await come(admin, "after them")
    await hears(bridge.feed, "after them")
    assert bridge.feed.state == "live"
    assert not bridge.feed.record.gaps


async def test_a_frame_that_is_too_long_ends_the_connection_and_loses_no_message(
    bridge: Bridge, admin: Admin, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_socket, "LONGEST", 10_000)
    await bridge.feed.open()
    await until(bridge.feed, "live")
    # The garbage has a frame of 20,000 bytes.
    await socket(admin, garbage=20)
    await come(admin, "after it")
    await hears(bridge.feed, "after it")
    assert bridge.feed.record.gaps or bridge.feed.deaf_since is not None


async def test_a_connection_through_which_nothing_passes_any_more_is_given_up_and_loses_no_message(
    bridge: Bridge, admin: Admin, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_socket, "PING", 0.2)
    monkeypatch.setattr(event_socket, "PONG", 0.5)
    await bridge.feed.open()
    await until(bridge.feed, "live")
    await socket(admin, half_open=True)
    await come(admin, "unheard")
    await hears(bridge.feed, "unheard")
    await until(bridge.feed, "live")


async def test_a_feed_that_is_closed_the_moment_that_it_is_opened_listens_no_more(bridge: Bridge, admin: Admin) -> None:
    started: list[Any] = []
    assert bridge.feed.start is not None
    start, bridge.feed.start = bridge.feed.start, lambda *run: started.append(run)
    with anyio.move_on_after(0.1):
        await bridge.feed.open()
    bridge.feed.close()
    for run in started:
        start(*run)
    await come(admin, "unheard")
    await anyio.wait_all_tasks_blocked()
    assert bridge.feed.state == "off"
    assert await connections(admin) == 0


async def test_a_wait_that_is_cancelled_leaves_nothing_behind(bridge: Bridge, admin: Admin) -> None:
    await bridge.feed.open()
    await until(bridge.feed, "live")
    before = len(bridge.feed.listeners)
    for _ in range(3):
        with anyio.move_on_after(0.3):
            await bridge.call("wait_for_messages", {"timeout": 40})
    await come(admin, "afterwards")
    await hears(bridge.feed, "afterwards")
    assert len(bridge.feed.listeners) == before
    assert bridge.feed.record._came is None


async def test_the_key_stands_in_no_log_however_the_connection_ends(
    bridge: Bridge, admin: Admin, sandbox: SandboxInfo, quick: None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    await bridge.feed.open()
    await until(bridge.feed, "live")
    for wish in ({"drop": True}, {"garbage": 20}, {"refuse": 1011}, {"refuse": None, "absent": True}):
        await socket(admin, **wish)
        await socket(admin, drop=True)
        await come(admin, str(wish))
        await hears(bridge.feed, str(wish))
    assert "No live events" in caplog.text
    assert sandbox.keys["read_send"] not in caplog.text


async def test_a_look_at_the_key_that_fails_ends_nothing_and_the_next_one_ends_what_a_lost_key_hears(
    sandbox: SandboxInfo, admin: Admin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "LOOK_AGAIN", 0.05)
    key = await admin.mint({Action.READ, Action.SEND})
    async with Bridge(app_for(sandbox, key["key"])) as bridge:
        await bridge.key.settle()
        look, failed = bridge.feed.refused, anyio.Event()
        assert look is not None

        async def fails() -> None:
            bridge.feed.refused = look
            failed.set()
            raise RuntimeError

        bridge.feed.refused = fails
        await bridge.feed.open()
        await until(bridge.feed, "live")
        with anyio.fail_after(20):
            await failed.wait()
        await come(admin, "still heard")
        await hears(bridge.feed, "still heard")
        await admin.change_key(key, actions={"send": True})
        await until(bridge.feed, "off")
        assert Action.READ not in bridge.key.grant.actions
