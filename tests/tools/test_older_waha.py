"""On a WAHA without one of a tool's operations, the tool answers with the others, and says so."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.contract.rows import arguments, chosen
from tests.contract.world import World, furnish
from tests.harness import Admin, app_for
from waha_mcp.app.actions import Action
from waha_mcp.bridge import Bridge
from waha_mcp.sandbox import SandboxInfo
from waha_mcp.sandbox.contract import contract
from waha_mcp.tools.catalog import CATALOG
from waha_mcp.waha.errors import UnknownOperation

pytestmark = pytest.mark.anyio

#: Operations without which there is nothing to answer.
MAIN = {
    "get_message": ("GET /api/{session}/chats/{chatId}/messages/{messageId}",),
    "get_unread": ("GET /api/{session}/chats/overview",),
    "get_catch_up": ("GET /api/{session}/chats/overview",),
    "wait_for_messages": (
        "GET /api/{session}/chats/overview",
        "GET /api/{session}/chats/{chatId}/messages/{messageId}",
    ),
    "get_updates": ("GET /api/{session}/chats/overview", "GET /api/{session}/chats/{chatId}/messages/{messageId}"),
    # Whether a channel may be read depends on the channel's own row.
    "preview_channel": ("GET /api/{session}/channels/{id}", "GET /api/{session}/channels/{id}/messages/preview"),
}
#: It is requested in the background, and its answer is not awaited.
TYPING = "GET /api/{session}/presence/{chatId}"
#: Fields that say what is missing.
SAYS = {"not_told", "notes", "next_step"}
UNKNOWN = '{"statusCode": 404, "message": "Cannot GET /x", "error": "Not Found"}'


@pytest.fixture
async def world(admin: Admin) -> World:
    # Each engine lacks a few operations; here it has them all.
    await admin.request("POST", "/sandbox/engine", {"has": [operation.id for operation in contract().operations]})
    return await furnish(admin)


@pytest.fixture
async def bridge(world: World, sandbox: SandboxInfo) -> AsyncIterator[Bridge]:
    key, everything = sandbox.keys["full"], frozenset({"all"})
    app = app_for(sandbox, key, session="default", actions=frozenset(Action), toolsets=everything)
    async with Bridge(app) as bound:
        await bound.call("list_chats", {"limit": 1})
        yield bound


async def _asked(admin: Admin) -> list[str]:
    ids = dict.fromkeys(entry["operation"] for entry in await admin.requests() if entry["key"] == "full")
    return [str(contract().by_id[each]) for each in ids if each is not None]


async def _without(bridge: Bridge, admin: Admin, operation: str, name: str, given: dict[str, Any]) -> set[str] | None:
    """The fields of a tool's answer on a WAHA that lacks an operation; None if the tool says that WAHA lacks it."""
    method, path = re.sub(r"{\w+}", "*", operation.replace("{session}", "default")).split(" ")
    await admin.fault(path, method=method, status=404, body=UNKNOWN, count=20, content_type="application/json")
    try:
        return set((await bridge.call(name, given)).model_dump(exclude_none=True))
    except UnknownOperation:
        return None
    finally:
        await admin.request("DELETE", "/sandbox/faults")


@pytest.mark.tools
async def test_a_tool_of_several_requests_says_what_is_missing_where_waha_does_not_know_one_of_them(
    bridge: Bridge, world: World, admin: Admin
) -> None:
    tried, wrong = set(), []
    for name in chosen(CATALOG):
        tool = CATALOG[name]
        if not tool.hints.read_only or name in ("get_qr_code", "get_passkey_request"):
            continue
        given = arguments(world)[name]
        await admin.clear()
        await bridge.call(name, given)
        operations = [each for each in await _asked(admin) if each in tool.calls and each != TYPING]
        for operation in operations if len(operations) > 1 else ():
            said = await _without(bridge, admin, operation, name, given)
            if (said is None) != (operation in MAIN.get(name, ())) or (said is not None and not said & SAYS):
                wrong.append((name, operation, said))
            tried.add(name)
    assert wrong == [], "say what is missing in the answer (`tools.several`), or name the operation in MAIN"
    known = {"get_status", "get_unread", "get_message", "get_contact", "get_group_settings", "get_limits"}
    assert tried >= set(chosen(known))
