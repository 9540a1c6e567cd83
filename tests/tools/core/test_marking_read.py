"""Marking a chat as read: all of it, or a statement of what is left."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from tests.harness import Admin
from tests.policy.common import MAYA, SAM, bridge_with
from waha_mcp.bridge import Bridge
from waha_mcp.sandbox import SandboxInfo

pytestmark = pytest.mark.anyio

DAY = 86_400
READ = "/messages/read"


async def arrive(admin: Admin, count: int, *, chat: str = SAM, days: float = 0) -> None:
    """This many unread messages arrive that are this many days old."""
    when = int(time.time() - days * DAY)
    for number in range(count):
        body = {"chatId": chat, "text": f"news {number}", "timestamp": when + number}
        await admin.request("POST", "/sandbox/messages", body)
    await admin.clear()


async def unread(admin: Admin, chat: str = SAM) -> int:
    (row,) = [
        each for each in await admin.request("GET", "/api/default/chats/overview?limit=100") if each["id"] == chat
    ]
    count: int = row["_chat"]["unreadCount"]
    return count


async def times(admin: Admin) -> int:
    """How often WAHA was asked to mark something."""
    return sum(each["path"].endswith(READ) for each in await admin.requests())


async def mark(bridge: Bridge, chat: str = SAM) -> dict[str, Any]:
    result = await bridge.call("mark_read", {"chat": chat})
    return result.model_dump(exclude_none=True, exclude={"reached"})


@pytest.mark.parametrize(("count", "days", "requests"), [(1, 0, 1), (29, 30, 1), (31, 0, 2), (60, 400, 2), (150, 9, 3)])
async def test_all_that_is_unread_is_marked_however_many_and_however_old(
    count: int, days: float, requests: int, bridge: Bridge, admin: Admin
) -> None:
    await mark(bridge)
    await arrive(admin, count, days=days)
    assert await unread(admin) == count
    said = await mark(bridge)
    assert said == {"chat": SAM, "messages": count}
    assert await unread(admin) == 0
    # WAHA marks at most 100 at once.
    assert await times(admin) == requests


async def test_what_is_read_already_is_marked_with_one_request(bridge: Bridge, admin: Admin) -> None:
    await mark(bridge)
    await admin.clear()
    assert await mark(bridge) == {"chat": SAM}
    assert await times(admin) == 1


@pytest.mark.parametrize("count", [0, 3, 150])
async def test_of_a_chat_that_may_not_be_read_neither_answer_nor_requests_tell_how_many_wait(
    count: int, sandbox: SandboxInfo, admin: Admin
) -> None:
    async with bridge_with(sandbox, chats={"read": {"deny": [SAM]}}) as bridge:
        await arrive(admin, count)
        assert await mark(bridge) == {"chat": SAM}
        # The same as for a chat without unread messages.
        asked = [each["path"].rpartition("/")[2] for each in await admin.requests()]
        assert [each for each in asked if each in ("read", "overview")] == ["read", "overview"]


async def fault(admin: Admin, ids: Any) -> None:
    await admin.fault(f"/api/default/chats/*{READ}", body=json.dumps({"ids": ids}), count=50)


async def test_what_waha_still_counts_as_unread_is_said(bridge: Bridge, admin: Admin) -> None:
    await mark(bridge)
    await arrive(admin, 5)
    await fault(admin, [])
    assert await mark(bridge) == {"chat": SAM, "left": 5}
    await admin.request("DELETE", "/sandbox/faults")
    await fault(admin, None)
    # A case of the browser engines, which name no messages.
    assert await mark(bridge) == {"chat": SAM, "left": 5}


async def test_a_counter_that_comes_late_is_not_taken_for_messages_that_are_left(bridge: Bridge, admin: Admin) -> None:
    await mark(bridge)
    await arrive(admin, 2)
    await fault(admin, ["a", "b"])
    assert await mark(bridge) == {"chat": SAM, "messages": 2}


async def test_a_waha_that_marks_without_end_is_not_asked_without_end(bridge: Bridge, admin: Admin) -> None:
    for turn in range(25):
        ids = [f"{turn}.{number}" for number in range(100)]
        await admin.fault(f"/api/default/chats/*{READ}", body=json.dumps({"ids": ids}), count=1)
    await admin.fault("/api/default/chats/overview", status=500, body="{}", count=9)
    said = await mark(bridge)
    assert said["messages"] == 2_000
    assert "call it again" in said["note"]
    assert await times(admin) == 20


async def test_without_read_nothing_is_looked_up_and_all_is_marked(sandbox: SandboxInfo, admin: Admin) -> None:
    async with bridge_with(sandbox, "send") as bridge:
        await arrive(admin, 40, chat=MAYA)
        await mark(bridge, MAYA)
        asked = [each["path"] for each in await admin.requests()]
        assert not any("overview" in each for each in asked)
    assert await unread(admin, MAYA) == 0
