"""What a client sees listed, and that nothing else can be called."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest
from anyio.abc import TaskStatus
from mcp import Client, MCPError
from mcp.types import INVALID_PARAMS

from tests.harness import ERAS, Admin, Era, app_for, memory_client, payload
from waha_mcp.app.actions import NULL_ACTIONS, Action
from waha_mcp.bridge import Bridge
from waha_mcp.sandbox import SandboxInfo
from waha_mcp.server.protocol import Protocol
from waha_mcp.tools.catalog import CATALOG

pytestmark = pytest.mark.anyio

COMBINATIONS = [None] + [
    frozenset(chosen) for size in range(len(Action) + 1) for chosen in itertools.combinations(Action, size)
]


def expected(actions: frozenset[Action], toolset: str = "core") -> list[str]:
    return [
        tool.name
        for tool in CATALOG.values()
        if (tool.action is None or tool.action in actions) and toolset in ("all", tool.toolset)
    ]


@asynccontextmanager
async def client_on(bridge: Bridge, era: Era = "auto") -> AsyncIterator[Client]:
    async with bridge, memory_client(Protocol(lambda _: bridge).server, era) as client:
        yield client


async def listed(client: Client) -> list[str]:
    return [tool.name for tool in (await client.list_tools(cache_mode="bypass")).tools]


@pytest.mark.parametrize("actions", COMBINATIONS, ids=lambda a: "null" if a is None else "+".join(sorted(a)) or "none")
async def test_an_app_lists_exactly_its_actions_tools_and_calls_no_other(
    actions: frozenset[Action] | None, sandbox: SandboxInfo, admin: Admin
) -> None:
    granted = NULL_ACTIONS if actions is None else actions
    key = await admin.mint(actions)
    app = app_for(sandbox, key["key"], actions=granted, toolsets=frozenset({"all"}))
    bridge = Bridge(app)
    async with client_on(bridge) as client:
        assert await bridge.key.settle()
        assert await listed(client) == expected(granted, "all")
        await admin.clear()
        for name in CATALOG.keys() - set(expected(granted, "all")):
            with pytest.raises(MCPError) as refusal:
                await client.call_tool(name, {})
            assert refusal.value.code == INVALID_PARAMS
        assert await admin.requests() == []


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize(
    ("name", "actions"),
    [
        ("none", set()),
        ("read", {Action.READ}),
        ("send", {Action.SEND}),
        ("read_send", {Action.READ, Action.SEND}),
        ("full", {Action.READ, Action.SEND}),
    ],
)
async def test_an_app_without_actions_lists_what_its_key_is_found_to_allow(
    name: str, actions: set[Action], era: Era, sandbox: SandboxInfo
) -> None:
    async with client_on(Bridge(app_for(sandbox, sandbox.keys[name])), era) as client:
        assert await listed(client) == expected(frozenset(actions))


async def test_an_app_that_declares_more_than_its_key_allows_lists_what_the_key_allows(sandbox: SandboxInfo) -> None:
    bridge = Bridge(app_for(sandbox, sandbox.keys["read"], actions=frozenset({Action.READ, Action.SEND})))
    async with client_on(bridge) as client:
        assert await bridge.key.settle()
        assert await listed(client) == expected(frozenset({Action.READ}))


@pytest.mark.parametrize("era", ERAS)
async def test_an_unknown_tool_is_invalid_params(era: Era, sandbox: SandboxInfo) -> None:
    async with client_on(Bridge(app_for(sandbox, sandbox.keys["read_send"])), era) as client:
        with pytest.raises(MCPError) as refusal:
            await client.call_tool("format_disk", {})
        assert refusal.value.code == INVALID_PARAMS


@pytest.mark.parametrize("era", ERAS)
async def test_a_listing_may_be_kept_only_privately(era: Era, sandbox: SandboxInfo) -> None:
    async with client_on(Bridge(app_for(sandbox, sandbox.keys["read"])), era) as client:
        assert (await client.list_tools()).cache_scope == "private"


@pytest.mark.parametrize("narrowed", [{"actions": {"read": True}}, {"isActive": False}], ids=["narrowed", "revoked"])
@pytest.mark.parametrize("era", ERAS)
async def test_a_key_narrowed_or_revoked_takes_its_tools_along_and_clients_are_told(
    era: Era, narrowed: dict[str, object], sandbox: SandboxInfo, admin: Admin
) -> None:
    key = await admin.mint({Action.READ, Action.SEND})
    told = anyio.Event()

    async def note(message: object) -> None:
        if type(message).__name__ == "ToolListChangedNotification":
            told.set()

    bridge = Bridge(app_for(sandbox, key["key"]))
    async with (
        bridge,
        Client(Protocol(lambda _: bridge).server, mode=era, message_handler=note) as client,
        anyio.create_task_group() as tasks,
    ):
        if era == "auto":
            await tasks.start(_listen, client, told)
        assert await listed(client) == expected(frozenset({Action.READ, Action.SEND}))
        await admin.change_key(key, **narrowed)
        result = await client.call_tool("send_text", {"chat": "+12025550123", "text": "Hi"})
        assert result.is_error
        with anyio.fail_after(5):
            await told.wait()
        kept = {Action.READ} if "actions" in narrowed else set()
        assert await listed(client) == expected(frozenset(kept))
        tasks.cancel_scope.cancel()


async def _listen(client: Client, told: anyio.Event, *, task_status: TaskStatus[None]) -> None:
    async with client.listen(tools_list_changed=True) as events:
        task_status.started()
        async for _ in events:
            told.set()


async def test_an_admin_key_opens_nothing_but_the_status_that_says_why(sandbox: SandboxInfo, admin: Admin) -> None:
    bridge = Bridge(app_for(sandbox, sandbox.admin_key, session="default", actions=frozenset(Action)))
    async with client_on(bridge) as client:
        assert await bridge.key.settle()
        assert await listed(client) == ["get_status"]
        status = payload(await client.call_tool("get_status", {}))
        assert "admin key" in status["next_step"]
        assert status["actions"] == {}


async def test_an_admin_key_works_where_the_app_allows_it(sandbox: SandboxInfo) -> None:
    app = app_for(sandbox, sandbox.admin_key, session="default", allow_admin_key=True)
    async with client_on(Bridge(app)) as client:
        assert "send_text" in await listed(client)


async def test_several_sessions_are_named_when_none_is_chosen(sandbox: SandboxInfo, admin: Admin) -> None:
    await admin.request("POST", "/api/sessions", {"name": "second", "start": False})
    async with client_on(Bridge(app_for(sandbox, sandbox.admin_key, allow_admin_key=True))) as client:
        assert await listed(client) == ["get_status"]
        status = payload(await client.call_tool("get_status", {}))
        assert "default, second" in status["next_step"]


@pytest.mark.slow
async def test_finding_out_does_not_hold_up_the_listing_beyond_its_budget(sandbox: SandboxInfo, admin: Admin) -> None:
    await admin.fault("/api/default/status/new-message-id", delay=30)
    async with client_on(Bridge(app_for(sandbox, sandbox.keys["read_send"]))) as client:
        with anyio.fail_after(4):
            names = await listed(client)
    assert names == expected(frozenset({Action.READ}))
