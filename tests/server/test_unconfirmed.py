"""Declared actions are listed before WAHA has confirmed them, but not callable until then."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field

import anyio
import pytest
from mcp import Client
from pydantic import SecretStr

from tests.harness import ERAS, NO_PACE, Admin, Era, app_for, texts
from tests.server.test_listing import expected
from waha_mcp.app.actions import Action
from waha_mcp.app.definition import App
from waha_mcp.bridge import Bridge
from waha_mcp.sandbox import SandboxInfo
from waha_mcp.server.protocol import LISTING_TTL, Protocol

pytestmark = pytest.mark.anyio

READ_SEND = frozenset({Action.READ, Action.SEND})
TEXT = {"chat": "12025550123@c.us", "text": "Hi"}
#: Seconds that a listing waits if nothing is declared; and far fewer, with room for a busy machine.
BUDGET, AT_ONCE = 60.0, 20.0
#: How long a confirmed listing may be cached; the older era has no field for it.
TTL: dict[Era, int] = {"auto": LISTING_TTL, "legacy": 0}
#: The first requests to WAHA about a key.
LOOK = "/api/server/environment"


@pytest.fixture(autouse=True)
def long_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("waha_mcp.waha.key_probe.SETTLE_BUDGET", BUDGET)


@dataclass
class Told:
    """The changes that a client was notified of, by the word for what changed."""

    kinds: set[str] = field(default_factory=set)
    some: anyio.Event = field(default_factory=anyio.Event)

    def note(self, kind: str) -> None:
        self.kinds.add(kind)
        if len(self.kinds) == 3:
            self.some.set()


@asynccontextmanager
async def telling_client(bridge: Bridge, era: Era) -> AsyncIterator[tuple[Client, Told]]:
    """A client on a bridge, and its notifications."""
    told = Told()
    names = {f"{name}ListChangedNotification": name for name in ("Tool", "Resource", "Prompt")}
    names |= {f"{name}sListChanged": name for name in ("Tool", "Resource", "Prompt")}

    async def note(message: object) -> None:
        if name := names.get(type(message).__name__):
            told.note(name)

    async def listen(client: Client, *, task_status: anyio.abc.TaskStatus[None]) -> None:
        async with client.listen(
            tools_list_changed=True, resources_list_changed=True, prompts_list_changed=True
        ) as events:
            task_status.started()
            async for event in events:
                if name := names.get(type(event).__name__):
                    told.note(name)

    server = Protocol(lambda _: bridge).server
    async with (
        bridge,
        Client(server, mode=era, message_handler=note, raise_exceptions=True) as client,
        anyio.create_task_group() as tasks,
    ):
        if era == "auto":
            await tasks.start(listen, client)
        yield client, told
        tasks.cancel_scope.cancel()


@contextmanager
def port(*, listening: bool) -> Iterator[int]:
    """A port that refuses connections, or takes them and never answers."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        if listening:
            taken.listen(20)
        yield taken.getsockname()[1]


async def listed(client: Client) -> tuple[list[str], int]:
    found = await client.list_tools(cache_mode="bypass")
    return [tool.name for tool in found.tools], found.ttl_ms


async def answer(admin: Admin) -> None:
    """Let a slow WAHA answer its first requests."""
    while LOOK not in [request["path"] for request in await admin.requests()]:  # noqa: ASYNC110
        await anyio.sleep(0.005)
    await admin.settle()


async def calls_in_vain(client: Client, admin: Admin) -> None:
    """Call a tool that was listed before the key was probed; returns why it is gone, once WAHA has answered."""

    async def call() -> None:
        result = await client.call_tool("send_text", TEXT)
        assert result.is_error
        assert "send_text was offered and is no longer available" in texts(result)
        assert "Nothing was done" in texts(result)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(call)
        await anyio.wait_all_tasks_blocked()
        await answer(admin)


@pytest.mark.parametrize("listening", [False, True], ids=["away", "silent"])
@pytest.mark.parametrize("era", ERAS)
async def test_without_a_waha_declared_actions_are_listed_at_once(era: Era, listening: bool) -> None:
    with port(listening=listening) as number:
        app = App(url=f"http://127.0.0.1:{number}", key=SecretStr("k" * 20), actions=READ_SEND, pace=NO_PACE)
        async with telling_client(Bridge(app), era) as (client, told):
            with anyio.fail_after(AT_ONCE):
                assert await listed(client) == (expected(READ_SEND), 0)
                assert [each.name for each in (await client.list_resources()).resources] == ["status", "unread"]
                assert len((await client.list_resource_templates()).resource_templates) == 2
                assert (await client.list_prompts()).prompts
            assert told.kinds == set()


@pytest.mark.parametrize("listening", [False, True], ids=["away", "silent"])
async def test_without_a_waha_what_is_not_declared_is_waited_for(
    listening: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("waha_mcp.waha.key_probe.SETTLE_BUDGET", 0.1)
    with port(listening=listening) as number:
        app = App(url=f"http://127.0.0.1:{number}", key=SecretStr("k" * 20), pace=NO_PACE)
        async with telling_client(Bridge(app), "auto") as (client, _):
            started = anyio.current_time()
            assert await listed(client) == (["get_status"], 0)
            assert anyio.current_time() - started >= 0.1


@pytest.mark.parametrize("era", ERAS)
async def test_what_a_slow_waha_confirms_is_listed_at_once_and_needs_no_announcement(
    era: Era, sandbox: SandboxInfo, admin: Admin
) -> None:
    await admin.fault(LOOK, delay=60)
    bridge = Bridge(app_for(sandbox, sandbox.keys["read_send"], session="default", actions=READ_SEND))
    async with telling_client(bridge, era) as (client, told):
        with anyio.fail_after(AT_ONCE):
            assert await listed(client) == (expected(READ_SEND), 0)
        await answer(admin)
        assert await bridge.key.settle(10)
        assert await listed(client) == (expected(READ_SEND), TTL[era])
        assert told.kinds == set()


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("key", ["none", "admin", "unknown"])
async def test_what_a_slow_waha_takes_back_is_announced_and_cannot_be_called(
    key: str, era: Era, sandbox: SandboxInfo, admin: Admin
) -> None:
    await admin.fault(LOOK, delay=60)
    held = {"admin": sandbox.admin_key, "unknown": "x" * 24}.get(key) or sandbox.keys[key]
    bridge = Bridge(app_for(sandbox, held, session="default", actions=READ_SEND))
    async with telling_client(bridge, era) as (client, told):
        with anyio.fail_after(AT_ONCE):
            assert await listed(client) == (expected(READ_SEND), 0)
            assert len((await client.list_prompts()).prompts) == 3
        assert not bridge.key._settled.is_set()
        await calls_in_vain(client, admin)
        with anyio.fail_after(5):
            await told.some.wait()
        assert told.kinds == {"Tool", "Resource", "Prompt"} or told.kinds == {"Tool", "Prompt"}
        assert (await listed(client))[0] == ["get_status"]
        assert (await client.list_prompts()).prompts == []
    assert all(r["method"] == "GET" for r in await admin.requests())


@pytest.mark.parametrize("era", ERAS)
async def test_a_narrower_key_loses_the_tools_that_it_was_listed_with(
    era: Era, sandbox: SandboxInfo, admin: Admin
) -> None:
    await admin.fault(LOOK, delay=60)
    bridge = Bridge(app_for(sandbox, sandbox.keys["read"], session="default", actions=READ_SEND))
    async with telling_client(bridge, era) as (client, told):
        with anyio.fail_after(AT_ONCE):
            assert await listed(client) == (expected(READ_SEND), 0)
        await calls_in_vain(client, admin)
        assert await bridge.key.settle(10)
        # Tools that are still offered need no notification.
        assert told.kinds == {"Tool"}
        assert await listed(client) == (expected(frozenset({Action.READ})), TTL[era])
    assert all(r["method"] == "GET" for r in await admin.requests())


@pytest.mark.slow
async def test_a_call_to_a_silent_waha_sends_nothing_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("waha_mcp.waha.client.READ_TIMEOUT", 0.3)
    with port(listening=True) as number:
        app = App(url=f"http://127.0.0.1:{number}", key=SecretStr("k" * 20), actions=READ_SEND, pace=NO_PACE)
        async with telling_client(Bridge(app), "auto") as (client, _):
            assert (await listed(client))[1] == 0
            result = await client.call_tool("send_text", TEXT)
            assert result.is_error
            assert "gave no answer" in result.content[0].text  # type: ignore[union-attr]
