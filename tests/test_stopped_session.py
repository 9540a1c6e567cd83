"""A session that is stopped, failed or not paired: no waiting, and a next step that the key allows."""

from __future__ import annotations

from typing import Any

import pytest

from tests.harness import Admin
from tests.policy.common import SAM, bridge_with
from waha_mcp.app.actions import Action
from waha_mcp.bridge import Bridge
from waha_mcp.sandbox import SandboxInfo
from waha_mcp.waha.errors import SessionNotReady

pytestmark = pytest.mark.anyio

STAYING = ["STOPPED", "FAILED", "SCAN_QR_CODE", "PASSKEY_REQUIRED", "PASSKEY_CONFIRMATION_REQUIRED"]
TEXT = {"chat": SAM, "text": "Hello"}
ALL = frozenset(Action)


async def become(admin: Admin, status: str) -> None:
    await admin.request("POST", "/sandbox/session", {"status": status})
    await admin.clear()


async def not_ready(bridge: Bridge, tool: str = "list_chats", arguments: dict[str, Any] | None = None) -> str:
    with pytest.raises(SessionNotReady) as said:
        await bridge.call(tool, arguments or {})
    return str(said.value)


async def asked(admin: Admin) -> list[str]:
    """The requests to WAHA since the log was cleared; clears it."""
    found = [r["path"] for r in await admin.requests()]
    await admin.clear()
    return found


@pytest.mark.parametrize("status", STAYING)
async def test_a_state_that_is_known_is_not_waited_for(status: str, sandbox: SandboxInfo, admin: Admin) -> None:
    async with bridge_with(sandbox) as bridge:
        await bridge.call("list_chats", {})
        await become(admin, status)
        first = await not_ready(bridge)
        await admin.clear()
        for tool, arguments in (("list_chats", {}), ("send_text", TEXT), ("get_messages", {"chat": SAM})):
            assert (await not_ready(bridge, tool, arguments)) == first
            # Only the list of sessions is requested, which WAHA answers at once.
            assert set(await asked(admin)) == {"/api/sessions"}


async def test_the_state_is_known_from_a_status_as_well(sandbox: SandboxInfo, admin: Admin) -> None:
    async with bridge_with(sandbox) as bridge:
        await become(admin, "FAILED")
        await bridge.call("get_status", {})
        await admin.clear()
        await not_ready(bridge)
        assert set(await asked(admin)) == {"/api/sessions"}


@pytest.mark.parametrize("again", ["WORKING", "STARTING"])
async def test_a_session_that_comes_back_is_used_at_once(again: str, sandbox: SandboxInfo, admin: Admin) -> None:
    async with bridge_with(sandbox) as bridge:
        await become(admin, "STOPPED")
        await not_ready(bridge)
        await become(admin, again)
        if again == "WORKING":
            await bridge.call("list_chats", {})
        else:
            # WAHA itself waits for a session that is starting.
            assert "still starting" in await not_ready(bridge)
        assert set(await asked(admin)) - {"/api/sessions"}  # from the operations on the session itself


async def test_where_the_list_of_sessions_cannot_be_had_waha_is_asked_itself(
    sandbox: SandboxInfo, admin: Admin
) -> None:
    async with bridge_with(sandbox) as bridge:
        await become(admin, "FAILED")
        await not_ready(bridge)
        await become(admin, "WORKING")
        await admin.fault("/api/sessions", status=500, body="{}", count=9)
        await bridge.call("list_chats", {})


async def test_the_tools_that_end_the_state_are_not_kept_from_it(sandbox: SandboxInfo, admin: Admin) -> None:
    async with bridge_with(
        sandbox, "full", actions=ALL, include=frozenset({"control_session", "get_session"})
    ) as bridge:
        await become(admin, "STOPPED")
        await not_ready(bridge)
        assert (await bridge.call("get_session", {})).model_dump()["state"] == "STOPPED"
        await bridge.call("control_session", {"do": "start"})
        await become(admin, "WORKING")
        await bridge.call("list_chats", {})
        await bridge.call("control_session", {"do": "stop"})
        await admin.clear()
        assert "control_session" in await not_ready(bridge, "send_text", TEXT)
        assert set(await asked(admin)) == {"/api/sessions"}


@pytest.mark.parametrize(
    ("status", "step"),
    [
        ("STOPPED", "start it with control_session"),
        ("FAILED", "restart it with control_session"),
        ("SCAN_QR_CODE", "get_qr_code shows it"),
    ],
)
async def test_with_control_the_next_step_is_a_tool(status: str, step: str, sandbox: SandboxInfo, admin: Admin) -> None:
    async with bridge_with(sandbox, "full", actions=ALL, toolsets=frozenset({"core", "session"})) as bridge:
        await become(admin, status)
        assert step in await not_ready(bridge)
        assert step in (await bridge.call("get_status", {})).model_dump()["next_step"]


@pytest.mark.parametrize(
    ("key", "fields", "tool"),
    [
        ("read_send", {"toolsets": frozenset({"core", "session"})}, False),
        ("full", {"actions": ALL}, True),
        ("full", {"actions": ALL, "exclude": frozenset({"control_session"})}, False),
        ("full", {"actions": ALL, "toolsets": frozenset({"all"}), "exclude": frozenset({"control_session"})}, False),
    ],
)
async def test_a_tool_that_is_not_on_offer_is_no_next_step(
    key: str, fields: dict[str, Any], tool: bool, sandbox: SandboxInfo, admin: Admin
) -> None:
    async with bridge_with(sandbox, key, **fields) as bridge:
        await become(admin, "STOPPED")
        said = await not_ready(bridge)
        assert (await bridge.call("get_status", {})).model_dump()["next_step"] == said
    assert "ask the user to start it in WAHA's dashboard" in said
    # If the key has the action and only the toolset was not chosen, the user may choose it.
    assert ("toolset session" in said) is tool
    assert ("control_session" in said) is tool
