"""Names in answers about an account whose lists are too large to be read for the names of a few."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest

from tests.harness import Admin, app_for
from waha_mcp.app.policy_fields import Chats, ReadRule
from waha_mcp.bridge import Bridge
from waha_mcp.people import filling
from waha_mcp.sandbox import SandboxInfo, running
from waha_mcp.tools.core import chat_list

pytestmark = pytest.mark.anyio

MAYA = "447700900142@c.us"
LISTS = ("/api/contacts/all", "/api/default/groups", "/api/default/chats", "/api/default/lids")
CALLS: dict[str, dict[str, Any]] = {
    "list_chats": {"limit": 15},
    "get_unread": {},
    # The same second in each call.
    "get_catch_up": {"since": f"{int(time.time()) - 50 * 3_600}"},
    "get_messages": {"chat": MAYA, "limit": 10},
}


@pytest.fixture(params=["gows", "noweb", pytest.param("webjs", marks=pytest.mark.slow)])
async def sandbox(request: pytest.FixtureRequest, anyio_backend: str) -> AsyncIterator[SandboxInfo]:
    async with running(engine=request.param, contacts=filling.SMALL + 50, reply_after=0.05) as info:
        yield info


async def lists_read(admin: Admin) -> list[str]:
    """The lists that were requested, except for the check whether there are many contacts."""
    return [r["path"] for r in await admin.requests() if r["path"] in LISTS and "limit=1&" not in r["query"]]


@pytest.mark.parametrize("tool", CALLS)
async def test_the_names_are_those_of_the_lists_and_no_list_is_read(
    tool: str, sandbox: SandboxInfo, admin: Admin
) -> None:
    app = app_for(sandbox, sandbox.keys["read_send"])
    async with Bridge(app) as bridge, Bridge(app) as other:
        await admin.clear()
        found = await bridge.call(tool, CALLS[tool])
        assert await lists_read(admin) == []
        await other.call("find_chats", {"query": "maya"})
        assert await lists_read(admin) != []
        with_lists = await other.call(tool, CALLS[tool])
    what: dict[str, Any] = {"mode": "json", "exclude": {"left_out", "at_least"}}
    assert found.model_dump(**what) == with_lists.model_dump(**what)
    assert "Lindqvist" in found.model_dump_json()


@pytest.mark.parametrize("subject", ["Project Kestrel", "Maya Lindqvist"])
async def test_one_message_is_read_with_its_names_and_its_chat_without_any_list(
    subject: str, sandbox: SandboxInfo, admin: Admin
) -> None:
    app = app_for(sandbox, sandbox.keys["read_send"])
    async with Bridge(app) as bridge, Bridge(app) as other, Bridge(app) as third:
        chat = MAYA if subject.startswith("Maya") else (await group_of(other, subject))
        messages = (await other.call("get_messages", {"chat": chat, "limit": 8})).model_dump()
        around = {"message_id": messages["messages"][3]["id"], "before": 2, "after": 2}
        with_lists = await other.call("get_message", around)
        await admin.clear()
        found = await bridge.call("get_message", around)
        page = await third.call("get_messages", {"chat": chat})
        assert await lists_read(admin) == []
    assert found.model_dump() == with_lists.model_dump()
    assert found.model_dump()["chat_name"] == page.model_dump()["chat_name"] == subject


async def test_a_file_is_fetched_with_its_senders_name_without_any_list(sandbox: SandboxInfo, admin: Admin) -> None:
    async with Bridge(app_for(sandbox, sandbox.keys["read_send"])) as bridge:
        messages = (await bridge.call("get_messages", {"chat": MAYA, "kind": "image"})).model_dump()["messages"]
        await admin.clear()
        found = await bridge.call("get_media", {"message_id": messages[0]["id"]})
        assert await lists_read(admin) == []
    assert found.model_dump()["sender_name"] == "Maya Lindqvist"


async def group_of(bridge: Bridge, subject: str) -> str:
    """The id of the group; reads the account's lists."""
    await bridge.call("find_chats", {"query": "maya"})
    groups = (await bridge.call("list_groups", {})).model_dump()["groups"]
    found: str = next(each["id"] for each in groups if each["subject"] == subject)
    return found


async def test_who_was_looked_up_is_not_asked_for_again_until_names_may_have_changed(
    sandbox: SandboxInfo, admin: Admin
) -> None:
    async with Bridge(app_for(sandbox, sandbox.keys["read_send"])) as bridge:
        await bridge.call("list_chats", {})
        await admin.clear()
        await bridge.call("list_chats", {})
        assert [r["path"] for r in await admin.requests()] == ["/api/default/chats/overview"]
        bridge.people.expire()
        await bridge.call("list_chats", {})
        assert "/api/contacts" in [r["path"] for r in await admin.requests()]


async def test_no_list_is_read_in_the_background_either(
    sandbox: SandboxInfo, admin: Admin, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Bridge(app_for(sandbox, sandbox.keys["read_send"])) as bridge:
        await bridge.call("list_chats", {})
        monkeypatch.setattr(filling, "LIFE", 0.0)
        await bridge.call("list_chats", {})
        while bridge.people._refreshing:  # noqa: ASYNC110
            await anyio.sleep(0.01)
        assert await lists_read(admin) == []


async def test_the_list_of_groups_needs_no_other_list(sandbox: SandboxInfo, admin: Admin) -> None:
    async with Bridge(app_for(sandbox, sandbox.keys["read_send"])) as bridge:
        found = await bridge.answer("list_groups", {})
        assert set(await lists_read(admin)) == {"/api/default/groups"}
    assert "Project Kestrel" in [group["subject"] for group in found.data["groups"]]


async def test_a_name_that_cannot_be_looked_up_is_said_to_be_missing(sandbox: SandboxInfo, admin: Admin) -> None:
    async with Bridge(app_for(sandbox, sandbox.keys["read_send"])) as bridge:
        await admin.fault("*/api/contacts", status=500, body="{}", count=100)
        answer = await bridge.answer("list_chats", {})
    assert any("names of people" in each for each in answer.data["not_told"])
    assert len(answer.data["chats"]) == 20


async def test_an_app_that_may_not_show_all_chats_reads_the_lists(sandbox: SandboxInfo, admin: Admin) -> None:
    chats = Chats(read=ReadRule(deny=(MAYA,)))
    async with Bridge(app_for(sandbox, sandbox.keys["read_send"], chats=chats)) as bridge:
        await admin.clear()
        found = await bridge.call("list_chats", {"limit": 50})
        assert "/api/contacts/all" in await lists_read(admin)
    assert isinstance(found, chat_list.Chats)
    assert found.chats
    assert MAYA not in [chat.id for chat in found.chats]


async def test_of_very_many_people_the_rows_of_the_last_are_kept(
    sandbox: SandboxInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filling, "MOST_ROWS", 25)
    async with Bridge(app_for(sandbox, sandbox.keys["read_send"])) as bridge:
        first = await bridge.answer("list_chats", {"limit": 10})
        assert "Maya Lindqvist" in [chat["name"] for chat in first.data["chats"]]
        assert MAYA in bridge.people._rows
        for start in range(0, 60, 20):
            await bridge.people.look_up(f"120355501{number:02}@c.us" for number in range(start, start + 20))
            assert len(bridge.people._rows) <= 25
        assert MAYA not in bridge.people._rows
