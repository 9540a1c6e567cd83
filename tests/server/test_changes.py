"""Changes while clients are connected: a withdrawn tool says why, and clients of both eras are notified."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import anyio
import pytest
from anyio.abc import TaskStatus
from mcp import Client, MCPError
from mcp.client.caching import CacheConfig
from mcp.types import INVALID_PARAMS, Implementation

from tests.harness import ERAS, Admin, Era, app_for, memory_client, stdio_client, texts
from waha_mcp.app.actions import Action
from waha_mcp.bridge import Bridge, UnknownTool, Withdrawn
from waha_mcp.sandbox import SandboxInfo
from waha_mcp.server.protocol import LISTING_TTL, UNHEARD_TTL, Protocol

pytestmark = pytest.mark.anyio

READ_SEND = {Action.READ, Action.SEND}
TEXT = {"chat": "12025550123@c.us", "text": "Hi", "allow_repeat": True}
#: Seconds within which a client must be notified of a change.
AT_ONCE = 10.0


class Subscribed:
    """A subscription to changes of listings, and its notifications."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.tools = anyio.Event()

    async def run(self, client: Client, *, task_status: TaskStatus[None], **wanted: Any) -> None:
        async with client.listen(**{"tools_list_changed": True} | wanted) as events:
            task_status.started()
            async for event in events:
                self.told.append(type(event).__name__)
                if "Tools" in self.told[-1]:
                    self.tools.set()


@asynccontextmanager
async def subscribed(client: Client, **wanted: Any) -> AsyncIterator[Subscribed]:
    found = Subscribed()

    async def run(*, task_status: TaskStatus[None]) -> None:
        await found.run(client, task_status=task_status, **wanted)

    async with anyio.create_task_group() as tasks:
        await tasks.start(run)
        yield found
        tasks.cancel_scope.cancel()


async def lose_send(client: Client, admin: Admin, key: dict[str, Any]) -> None:
    """Remove the action send from the key, and let the server find out."""
    await admin.change_key(key, actions={"read": True})
    refused = await client.call_tool("send_text", TEXT)
    assert refused.is_error
    assert "403" in texts(refused)


# A tool that is gone


@pytest.mark.parametrize("era", ERAS)
async def test_a_tool_that_was_listed_and_went_away_says_why_when_it_is_called(
    era: Era, sandbox: SandboxInfo, admin: Admin
) -> None:
    key = await admin.mint(READ_SEND)
    async with stdio_client(sandbox, key["key"], era=era) as client:
        assert "send_text" in {tool.name for tool in (await client.list_tools()).tools}
        await lose_send(client, admin, key)
        await admin.clear()
        for name in ("send_text", "react"):
            result = await client.call_tool(name, {})
            assert result.is_error
            said = texts(result)
            assert said.startswith(f"{name} was offered and is no longer available since ")
            assert said.partition(" since ")[2][:5].replace(":", "").isdigit()
            assert "action 'send' is refused by WAHA for this key" in said
            assert "Nothing was done" in said
        assert await admin.requests() == []


@pytest.mark.parametrize("era", ERAS)
async def test_a_tool_that_was_never_listed_stays_unknown(era: Era, sandbox: SandboxInfo, admin: Admin) -> None:
    key = await admin.mint(READ_SEND)
    async with stdio_client(sandbox, key["key"], era=era) as client:
        await client.list_tools()
        await lose_send(client, admin, key)
        for name in ("delete_message", "control_session", "create_group", "list_waha_apps", "no_such_tool", ""):
            with pytest.raises(MCPError) as refusal:
                await client.call_tool(name, {})
            assert (refusal.value.code, refusal.value.message) == (INVALID_PARAMS, f"Unknown tool: {name}")
    # A process that has listed none does not know either.
    async with stdio_client(sandbox, key["key"], "--log-level", "info", era=era) as fresh:
        with pytest.raises(MCPError, match="Unknown tool"):
            await fresh.call_tool("send_text", TEXT)


@pytest.mark.parametrize("era", ERAS)
async def test_a_process_that_listed_nothing_says_why_a_tool_that_the_app_declares_is_gone(
    era: Era, sandbox: SandboxInfo, admin: Admin
) -> None:
    """CrewAI launches a server for the listing, and one for each call."""
    key = await admin.mint({Action.READ})
    async with stdio_client(sandbox, key["key"], "--actions", "read,send", "--exclude", "react", era=era) as fresh:
        gone = await fresh.call_tool("send_text", TEXT)
        assert gone.is_error
        assert "action 'send' is refused by WAHA for this key. Nothing was done" in texts(gone)
        for name in ("react", "control_session", "create_group"):
            with pytest.raises(MCPError, match=f"Unknown tool: {name}"):
                await fresh.call_tool(name, {})
    assert await admin.performed("/api/sendText") == []


async def test_a_revoked_key_is_the_reason_and_a_key_that_came_back_ends_it(sandbox: SandboxInfo, admin: Admin) -> None:
    key = await admin.mint(READ_SEND)
    bridge = Bridge(app_for(sandbox, key["key"]))
    async with bridge, memory_client(Protocol(lambda _: bridge).server, "auto") as client:
        await client.list_tools()
        await admin.change_key(key, isActive=False)
        assert (await client.call_tool("list_chats", {})).is_error
        gone = await client.call_tool("send_text", TEXT)
        assert "WAHA does not accept this key (401)" in texts(gone)
        await admin.change_key(key, isActive=True)
        assert not (await client.call_tool("get_status", {})).is_error
        assert not (await client.call_tool("send_text", TEXT)).is_error
        assert bridge._gone == {}


async def test_tools_that_resources_and_prompts_need_are_not_listed_by_that(sandbox: SandboxInfo, admin: Admin) -> None:
    key = await admin.mint(READ_SEND)
    bridge = Bridge(app_for(sandbox, key["key"]))
    async with bridge, memory_client(Protocol(lambda _: bridge).server, "auto") as client:
        await client.list_resources()
        await client.list_prompts()
        await lose_send(client, admin, key)
        with pytest.raises(UnknownTool) as unknown:
            await bridge.call("send_text", TEXT)
        assert not isinstance(unknown.value, Withdrawn)


async def test_a_reason_holds_no_key(sandbox: SandboxInfo, admin: Admin) -> None:
    key = await admin.mint(READ_SEND)
    bridge = Bridge(app_for(sandbox, key["key"]))
    async with bridge, memory_client(Protocol(lambda _: bridge).server, "auto") as client:
        await client.list_tools()
        await bridge.key.refuse(f"WAHA knows no {key['key'].upper()}.")
        assert "WAHA knows no [key]. Nothing was done." in texts(await client.call_tool("send_text", TEXT))


# Both eras learn of a change


async def test_subscriptions_are_announced_and_to_resources_only_with_read(sandbox: SandboxInfo) -> None:
    for era, name in itertools.product(ERAS, ("read_send", "send")):
        async with stdio_client(sandbox, sandbox.keys[name], era=era) as client:
            found = client.server_capabilities
            assert found.tools is not None
            assert found.tools.list_changed
            assert found.prompts is not None
            assert found.prompts.list_changed
            assert found.resources is not None
            assert found.resources.list_changed
            assert bool(found.resources.subscribe) is (name == "read_send")


async def test_what_is_never_told_is_not_acknowledged(sandbox: SandboxInfo) -> None:
    async with (
        stdio_client(sandbox, sandbox.keys["read_send"]) as client,
        client.listen(tools_list_changed=True, resource_subscriptions=["waha://status"]) as events,
    ):
        assert events.honored.tools_list_changed
        assert not events.honored.resource_subscriptions


@pytest.mark.parametrize("era", ERAS)
async def test_a_client_over_stdio_hears_of_a_change_at_once(era: Era, sandbox: SandboxInfo, admin: Admin) -> None:
    key = await admin.mint(READ_SEND)
    heard = anyio.Event()

    async def note(message: object) -> None:
        if type(message).__name__ == "ToolListChangedNotification":
            heard.set()

    made: Any = stdio_client(sandbox, key["key"], era=era)
    async with replace(made, message_handler=note) as client:
        if era == "auto":
            async with subscribed(client, prompts_list_changed=True) as subscription:
                assert (await client.list_tools()).ttl_ms == LISTING_TTL
                await lose_send(client, admin, key)
                with anyio.fail_after(AT_ONCE):
                    await subscription.tools.wait()
                # What was cached for a minute is not shown again.
                after = await client.list_tools()
        else:
            await client.list_tools()
            await lose_send(client, admin, key)
            with anyio.fail_after(AT_ONCE):
                await heard.wait()
            after = await client.list_tools()
        assert "send_text" not in {tool.name for tool in after.tools}


async def test_a_listing_is_kept_briefly_while_nobody_is_subscribed(sandbox: SandboxInfo, admin: Admin) -> None:
    key = await admin.mint(READ_SEND)
    clock = [0.0]
    made: Any = stdio_client(sandbox, key["key"])
    async with replace(made, cache=CacheConfig(clock=lambda: clock[0])) as client:
        assert (await client.list_tools()).ttl_ms == UNHEARD_TTL <= 5_000
        await lose_send(client, admin, key)
        clock[0] += UNHEARD_TTL / 1000 + 0.1
        assert "send_text" not in {tool.name for tool in (await client.list_tools()).tools}


async def test_how_long_a_listing_may_be_kept_follows_the_subscriptions(sandbox: SandboxInfo) -> None:
    async with stdio_client(sandbox, sandbox.keys["read_send"]) as client:

        async def ttl() -> int:
            return (await client.list_tools(cache_mode="bypass")).ttl_ms

        assert await ttl() == UNHEARD_TTL
        # A subscription to other changes does not cover tools.
        async with subscribed(client, tools_list_changed=False, prompts_list_changed=True):
            assert await ttl() == UNHEARD_TTL
        async with subscribed(client):
            assert await ttl() == LISTING_TTL
            async with subscribed(client):
                assert await ttl() == LISTING_TTL
            assert await ttl() == LISTING_TTL
        with anyio.fail_after(AT_ONCE):
            while await ttl() != UNHEARD_TTL:  # the server learns about the end a moment later
                pass


async def test_another_apps_subscriber_lets_no_listing_be_kept_longer(sandbox: SandboxInfo) -> None:
    one, two = (Bridge(app_for(sandbox, sandbox.keys["read_send"], id=name)) for name in ("one", "two"))
    bridges = {"one": one, "two": two}

    def bridge_for(ctx: Any) -> Bridge:
        return bridges[ctx.session.client_params.client_info.name]

    server = Protocol(bridge_for).server
    async with (
        one,
        two,
        Client(server, client_info=Implementation(name="one", version="1")) as first,
        Client(server, client_info=Implementation(name="two", version="1")) as second,
        subscribed(first),
    ):
        await one.key.settle()
        await two.key.settle()
        assert (await first.list_tools()).ttl_ms == LISTING_TTL
        assert (await second.list_tools()).ttl_ms == UNHEARD_TTL
