"""Reading back: what came since a second, in all chats, and what of it could not be read."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.harness import Admin, app_for
from waha_mcp.bridge import Bridge
from waha_mcp.feed.reading_back import ReadBack, read_back
from waha_mcp.history.source import Budget
from waha_mcp.sandbox import SandboxInfo

pytestmark = pytest.mark.anyio

MAYA, SAM, DAD = "447700900142@c.us", "12025550123@c.us", "12025550101@c.us"


async def read(sandbox: SandboxInfo, start: int, requests: int = 100, **which: Any) -> ReadBack:
    async with Bridge(app_for(sandbox, sandbox.keys["read"])) as bridge:
        await bridge.key.settle()
        return await read_back(bridge.waha, start, Budget(requests, 30.0), **which)


async def come(admin: Admin, chat: str, text: str, when: int) -> None:
    await admin.request("POST", "/sandbox/messages", {"chatId": chat, "text": text, "timestamp": when})


async def test_messages_of_all_chats_stand_in_the_order_of_their_seconds(sandbox: SandboxInfo, admin: Admin) -> None:
    start = int(time.time()) - 10
    for number, chat in enumerate((MAYA, SAM, DAD, MAYA, DAD, SAM)):
        await come(admin, chat, f"message {number}", start + number)
    found = await read(sandbox, start)
    assert [row["body"] for row in found.rows] == [f"message {number}" for number in range(6)]
    assert found.whole
    assert not found.unread


async def test_what_is_older_is_left_out_and_the_first_second_is_not(sandbox: SandboxInfo, admin: Admin) -> None:
    start = int(time.time()) - 10
    await come(admin, MAYA, "before", start - 1)
    await come(admin, SAM, "in that second", start)
    found = await read(sandbox, start)
    assert [row["body"] for row in found.rows] == ["in that second"]


async def test_a_chat_that_fails_is_named_and_the_others_are_read(sandbox: SandboxInfo, admin: Admin) -> None:
    start = int(time.time()) - 10
    await come(admin, MAYA, "unread", start)
    await come(admin, SAM, "read", start)
    await admin.fault(f"/api/default/chats/{MAYA}/messages", status=500, count=20)
    found = await read(sandbox, start)
    assert [row["body"] for row in found.rows] == ["read"]
    assert list(found.unread) == [MAYA]
    assert found.whole


async def test_what_is_not_read_for_want_of_requests_is_told(sandbox: SandboxInfo, admin: Admin) -> None:
    start = int(time.time()) - 10
    for number in range(3):
        await come(admin, MAYA, f"message {number}", start + number)
    found = await read(sandbox, start, requests=1)
    assert not found.rows
    assert found.unread == {MAYA: "there are too many"}


async def test_however_many_chats_there_are_some_requests_are_left_for_what_is_in_them(
    sandbox: SandboxInfo, admin: Admin
) -> None:
    start = int(time.time()) - 10
    for number in range(90):
        await come(admin, f"120255502{number:02}@c.us", "here", start)
    found = await read(sandbox, start, requests=8)
    assert not found.whole
    assert {row["body"] for row in found.rows} == {"here"}


async def test_chats_that_are_not_wanted_are_not_read_and_those_that_shall_be_first_are(
    sandbox: SandboxInfo, admin: Admin
) -> None:
    start = int(time.time()) - 10
    for number, chat in enumerate((DAD, SAM, MAYA)):
        await come(admin, chat, chat, start + number)

    async def wanted(chat: str) -> bool:
        return chat != MAYA

    await admin.clear()
    found = await read(sandbox, start, requests=2, wanted=wanted, first=lambda chat: chat == DAD)
    assert [row["body"] for row in found.rows] == [DAD]
    assert list(found.unread) == [DAD, SAM]
    assert not [each for each in await admin.requests() if MAYA in each["path"]]
    assert found.names == {SAM: "Sam Okafor", DAD: "Dad 👨‍🔧"}
