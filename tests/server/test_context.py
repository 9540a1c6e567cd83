"""Resources, prompts and completions: listed as the grant allows, in both protocol eras."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest
from mcp import Client, MCPError
from mcp.types import INVALID_PARAMS, PromptReference, ResourceTemplateReference, TextResourceContents

from tests.harness import ERAS, Era, app_for, memory_client, payload
from waha_mcp.app.actions import Action
from waha_mcp.bridge import Bridge
from waha_mcp.sandbox import SandboxInfo
from waha_mcp.server.prompts import PROMPTS
from waha_mcp.server.protocol import Protocol

pytestmark = pytest.mark.anyio

MAYA = "447700900142@c.us"


@pytest.fixture(params=ERAS)
async def client(request: pytest.FixtureRequest, sandbox: SandboxInfo) -> AsyncIterator[Client]:
    era: Era = request.param
    bridge = Bridge(app_for(sandbox, sandbox.keys["read_send"]))
    async with bridge, memory_client(Protocol(lambda _: bridge).server, era) as connected:
        yield connected


async def read(client: Client, uri: str) -> dict[str, object]:
    [content] = (await client.read_resource(uri)).contents
    assert isinstance(content, TextResourceContents)
    found: dict[str, object] = json.loads(content.text)
    return found


async def test_resources_are_what_the_tools_show(client: Client) -> None:
    assert [each.uri for each in (await client.list_resources()).resources] == ["waha://status", "waha://unread"]
    templates = [each.uri_template for each in (await client.list_resource_templates()).resource_templates]
    assert templates == ["waha://chats/{chat}", "waha://messages/{id}"]
    assert (await read(client, "waha://status"))["state"] == "WORKING"
    chat = await read(client, "waha://chats/Maya%20Lindqvist")
    assert chat == payload(await client.call_tool("get_messages", {"chat": MAYA}))
    [message, *_] = payload(await client.call_tool("get_messages", {"chat": MAYA, "limit": 1}))["messages"]
    shown = await read(client, f"waha://messages/{message['id']}")
    assert shown["message"]["id"] == message["id"]  # type: ignore[index]


@pytest.mark.parametrize(
    "uri", ["waha://nothing", "waha://chats/Zzyzx%20Qwrtpl", f"waha://messages/false_{MAYA}_FFFF", "file:///etc/passwd"]
)
async def test_a_resource_that_is_not_there_is_invalid_params_with_its_uri(uri: str, client: Client) -> None:
    with pytest.raises(MCPError) as refusal:
        await client.read_resource(uri)
    assert refusal.value.code == INVALID_PARAMS
    assert refusal.value.error.data == {"uri": uri}


async def test_prompts_are_described_and_filled_in(client: Client) -> None:
    prompts = (await client.list_prompts()).prompts
    assert [prompt.name for prompt in prompts] == list(PROMPTS)
    for prompt in prompts:
        assert prompt.description
        assert all(argument.description for argument in prompt.arguments or ())
    filled = await client.get_prompt("draft_reply", {"chat": "Maya", "wish": "yes {chat}"})
    text = filled.messages[0].content.text  # type: ignore[union-attr]
    assert "chat with Maya." in text
    assert "It should say: yes" in text


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("no_such", {}), ("draft_reply", {}), ("draft_reply", {"chat": " "}), ("catch_up", {"x": "y"})],
)
async def test_a_prompt_that_cannot_be_filled_in_is_invalid_params(
    name: str, arguments: dict[str, str], client: Client
) -> None:
    with pytest.raises(MCPError) as refusal:
        await client.get_prompt(name, arguments)
    assert refusal.value.code == INVALID_PARAMS


async def test_chats_are_completed_by_name_and_by_id_where_a_name_is_shared(client: Client) -> None:
    chat = ResourceTemplateReference(type="ref/resource", uri="waha://chats/{chat}")
    maya = (await client.complete(chat, {"name": "chat", "value": "may"})).completion.values
    assert maya[0] == "Maya Lindqvist"
    prompt = PromptReference(type="ref/prompt", name="draft_reply")
    annas = (await client.complete(prompt, {"name": "chat", "value": "anna"})).completion.values
    assert {"491713920011@c.us", "493023125042@c.us"} <= set(annas)
    recent = (await client.complete(prompt, {"name": "chat", "value": ""})).completion.values
    assert recent[0] == "Maya Lindqvist"
    assert (await client.complete(prompt, {"name": "wish", "value": "may"})).completion.values == []


@pytest.mark.parametrize("era", ERAS)
async def test_without_read_there_is_only_the_status(era: Era, sandbox: SandboxInfo) -> None:
    bridge = Bridge(app_for(sandbox, sandbox.keys["send"], actions=frozenset({Action.SEND})))
    async with bridge, memory_client(Protocol(lambda _: bridge).server, era) as client:
        assert [each.uri for each in (await client.list_resources()).resources] == ["waha://status"]
        assert (await client.list_resource_templates()).resource_templates == []
        assert (await client.list_prompts()).prompts == []
        prompt = PromptReference(type="ref/prompt", name="draft_reply")
        assert (await client.complete(prompt, {"name": "chat", "value": "may"})).completion.values == []
        with pytest.raises(MCPError):
            await client.read_resource("waha://chats/Maya%20Lindqvist")


async def test_chats_that_may_not_be_read_are_neither_completed_nor_read(sandbox: SandboxInfo) -> None:
    bridge = Bridge(app_for(sandbox, sandbox.keys["read"], chats={"read": {"deny": [MAYA]}}))
    async with bridge, memory_client(Protocol(lambda _: bridge).server, "auto") as client:
        prompt = PromptReference(type="ref/prompt", name="draft_reply")
        values = (await client.complete(prompt, {"name": "chat", "value": "maya"})).completion.values
        assert not {"Maya Lindqvist", MAYA} & set(values)
        with pytest.raises(MCPError):
            await client.read_resource(f"waha://chats/{MAYA}")
