"""Several bridges and several clients in one process: none reaches another's state."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import anyio
import pytest
from mcp import Client
from mcp.types import ElicitRequest, ElicitResult, Implementation, InputRequiredResult

from tests.harness import ERAS, NO_PACE, Admin, Era, app_for, texts
from tests.policy.common import MAYA, SAM, effects
from waha_mcp.app.actions import Action
from waha_mcp.bridge import Bridge
from waha_mcp.sandbox import SandboxInfo
from waha_mcp.server.protocol import Protocol

pytestmark = pytest.mark.anyio

YES = ElicitResult(action="accept", content={"approve": True})


async def never_asked(context: Any, params: Any) -> ElicitResult:
    """Only declares that the client can ask: the tests do the round trip themselves."""
    raise AssertionError


class Many:
    """One server for several bridges. The part of a client's name before a blank selects its bridge."""

    def __init__(self, bridges: dict[str, Bridge]) -> None:
        self.heard: list[str] = []
        self._server = Protocol(lambda ctx: bridges[_name(ctx).partition(" ")[0]]).server

    def client(self, name: str, era: Era) -> Client:
        async def note(message: object) -> None:
            self.heard.append(f"{name}: {type(message).__name__}")

        info = Implementation(name=name, version="1")
        return Client(self._server, mode=era, client_info=info, message_handler=note, elicitation_callback=never_asked)


def _name(ctx: Any) -> str:
    if ctx.method == "initialize":  # nothing about it is known to the session yet
        return str(ctx.params["clientInfo"]["name"])
    return str(ctx.session.client_params.client_info.name)


@asynccontextmanager
async def serving(**bridges: Bridge) -> AsyncIterator[Many]:
    async with AsyncExitStack() as stack:
        for bridge in bridges.values():
            await stack.enter_async_context(bridge)
            await bridge.key.settle()
        yield Many(bridges)


@pytest.mark.parametrize("era", ERAS)
async def test_each_client_has_the_tools_instructions_and_account_of_its_own_bridge(
    era: Era, sandbox: SandboxInfo
) -> None:
    read, send = (Bridge(app_for(sandbox, sandbox.keys[each], id=each)) for each in ("read", "send"))
    async with (
        serving(read=read, send=send) as many,
        many.client("read one", era) as one,
        many.client("send", era) as two,
        many.client("read two", era) as three,
    ):
        clients = one, two, three
        listings = [{tool.name for tool in (await client.list_tools()).tools} for client in clients]
        assert listings[0] == listings[2]
        assert "list_chats" in listings[0] - listings[1]
        assert "send_text" in listings[1] - listings[0]
        reader, sender, _ = [client.instructions or "" for client in clients]
        assert "list_chats" in reader
        assert "cannot read" in sender
        assert "App read." in reader
        assert "App send." in sender
        assert [client.server_info and client.server_info.title for client in clients] == [
            "WhatsApp: read",
            "WhatsApp: send",
            "WhatsApp: read",
        ]
        assert [resource.name for resource in (await clients[0].list_resource_templates()).resource_templates]
        assert not (await clients[1].list_resource_templates()).resource_templates


@pytest.mark.parametrize("era", ERAS)
async def test_a_server_says_which_account_it_is_once_that_is_known(era: Era, sandbox: SandboxInfo) -> None:
    bridge = Bridge(app_for(sandbox, sandbox.keys["read_send"], id="shop"))
    async with serving(shop=bridge) as many:
        async with many.client("shop", era) as first:
            await first.call_tool("list_chats", {"limit": 1})
        async with many.client("shop", era) as client:
            info, text = client.server_info, client.instructions or ""
    phone = bridge.phone
    assert phone is not None
    assert info is not None
    assert info.title == f"WhatsApp: shop ({phone})"
    assert f"as account {phone}, App shop. Other servers" in text
    assert info.name == "waha-mcp"
    assert info.website_url
    assert info.description
    assert [icon.src.partition(",")[0] for icon in info.icons or ()] == ["data:image/svg+xml;base64"]


async def test_a_change_is_announced_to_all_clients_of_its_bridge_and_to_nobody_else(
    sandbox: SandboxInfo, admin: Admin
) -> None:
    key = await admin.mint({Action.READ, Action.SEND})
    changed = Bridge(app_for(sandbox, key["key"], id="changed"))
    other = Bridge(app_for(sandbox, sandbox.keys["read_send"], id="other"))
    async with (
        serving(changed=changed, other=other) as many,
        many.client("changed one", "legacy") as one,
        many.client("changed two", "legacy") as two,
        many.client("other", "legacy") as three,
    ):
        clients = one, two, three
        for client in clients:
            await client.list_tools()
        await admin.change_key(key, actions={"read": True})
        result = await one.call_tool("send_text", {"chat": SAM, "text": "Hi"})
        assert result.is_error
        # The answers to these come after whatever was announced.
        for client in clients:
            await client.list_tools(cache_mode="bypass")
        await anyio.wait_all_tasks_blocked()
    told = sorted(each for each in many.heard if "ToolListChanged" in each)
    assert told == ["changed one: ToolListChangedNotification", "changed two: ToolListChangedNotification"]


async def test_a_client_that_has_gone_keeps_no_other_from_hearing(sandbox: SandboxInfo, admin: Admin) -> None:
    key = await admin.mint({Action.READ, Action.SEND})
    changed = Bridge(app_for(sandbox, key["key"], id="changed"))
    async with serving(changed=changed) as many, many.client("changed here", "legacy") as here:
        async with many.client("changed gone", "legacy") as gone:
            await gone.list_tools()
        await here.list_tools()
        await admin.change_key(key, actions={"read": True})
        assert (await here.call_tool("send_text", {"chat": SAM, "text": "Hi"})).is_error
        await here.list_tools(cache_mode="bypass")
        await anyio.wait_all_tasks_blocked()
    assert "changed here: ToolListChangedNotification" in many.heard


async def test_an_answer_to_one_bridges_question_is_none_to_anothers(sandbox: SandboxInfo, admin: Admin) -> None:
    """Even if both Apps would do exactly the same: an approval is for one App."""
    key = sandbox.keys["read_send"]
    policy: dict[str, Any] = {"approval": "send", "session": "default", "pace": NO_PACE}
    first_app, second_app = (Bridge(app_for(sandbox, key, id=name, **policy)) for name in ("first", "second"))
    wish = {"chat": MAYA, "text": "At six"}
    async with (
        serving(first=first_app, second=second_app) as many,
        many.client("first", "auto") as asked,
        many.client("second", "auto") as other,
    ):
        first = await asked.session.call_tool("send_text", wish, allow_input_required=True)
        assert isinstance(first, InputRequiredResult)
        [(name, request)] = (first.input_requests or {}).items()
        assert isinstance(request, ElicitRequest)
        await admin.clear()
        answer: dict[str, Any] = {"input_responses": {name: YES}, "request_state": first.request_state}
        again = await other.session.call_tool("send_text", wish, allow_input_required=True, **answer)
        assert isinstance(again, InputRequiredResult)
        assert again.request_state != first.request_state
        assert await effects(admin) == []
        done = await asked.session.call_tool("send_text", wish, allow_input_required=True, **answer)
        assert not isinstance(done, InputRequiredResult)
        assert not done.is_error, texts(done)
        assert await effects(admin) == ["/api/sendText"]
