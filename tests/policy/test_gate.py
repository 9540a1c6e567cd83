"""Nothing gets around the gate: every tool with an effect passes it, and no listing shows what may not be read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.harness import Admin, app_for
from tests.policy.common import DAD, SAM, bridge_with, effects
from waha_mcp.actions import Action
from waha_mcp.bridge import Bridge
from waha_mcp.policy import Refusal
from waha_mcp.policy.settings import Chats, SendRule
from waha_mcp.sandbox import SandboxInfo
from waha_mcp.tools import CATALOG, ArgumentError, Tool
from waha_mcp.tools.params import MessageReference, Reference
from waha_mcp.waha.errors import WahaError

pytestmark = pytest.mark.anyio

EFFECTS = {name: tool for name, tool in CATALOG.items() if tool.effect}


def sample(tool: Tool, chats: dict[str, str]) -> dict[str, Any]:
    """Arguments that the tool takes: the required ones, from its schema."""
    schema = tool.input_schema
    return {name: _value(name, schema["properties"][name], schema, tool, chats) for name in schema.get("required", ())}


def _value(name: str, schema: dict[str, Any], root: dict[str, Any], tool: Tool, chats: dict[str, str]) -> Any:
    if "$ref" in schema:
        schema = root["$defs"][schema["$ref"].rpartition("/")[2]]
    if name in tool.references:
        chat = chats[tool.references[name].kind or "person"]
        return [chat] if schema["type"] == "array" else chat
    if name in tool.messages:
        message = chats["message"]
        return [message] if schema["type"] == "array" else message
    if "enum" in schema or "const" in schema:
        return schema.get("enum", [schema.get("const")])[0]
    match schema.get("type"):
        case "array":
            count = max(1, schema.get("minItems", 1))
            items = [_value("", schema["items"], root, tool, chats) for _ in range(count)]
            return [f"{each}{n}" if isinstance(each, str) else each for n, each in enumerate(items)]
        case "object":
            required = schema.get("required", ())
            return {key: _value(key, schema["properties"][key], root, tool, chats) for key in required}
        case "integer" | "number":
            return schema.get("minimum", 1)
        case "boolean":
            return True
    if schema.get("format") == "date-time" or name in ("start", "at", "since"):
        return "2030-05-01T09:00:00+02:00"
    if name == "invite":
        return "https://chat.whatsapp.com/AbCdEfGhIjKlMnOpQrStUv"
    if "phone" in name:
        return "+12025550123"
    if name in ("link", "url", "image_url"):
        return "https://192.0.2.1/x"
    return "abc12345"


@pytest.mark.parametrize("rule", ["nobody", "approval"])
async def test_every_tool_with_an_effect_is_stopped_by_the_gate(
    rule: str, sandbox: SandboxInfo, admin: Admin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr("waha_mcp.policy.approval.MOST_WAITING", 1000)
    policy: dict[str, Any] = (
        {"approval": "all"} if rule == "approval" else {"chats": Chats(send=SendRule(allow=())), "audit": "off"}
    )
    app = app_for(
        sandbox,
        sandbox.keys["full"],
        session="default",
        actions=frozenset(Action),
        toolsets=frozenset({"all"}),
        **policy,
    )
    groups = await admin.request("GET", "/api/default/groups?limit=1")
    channels = await admin.request("GET", "/api/default/channels")
    group = groups[0] if isinstance(groups, list) else next(iter(groups.values()))
    arrived = await admin.request("POST", "/sandbox/messages", {"chatId": SAM, "text": "Hello"})
    chats = {
        "person": SAM,
        "group": group.get("id") or group["JID"],
        "channel": channels[0]["id"],
        "message": arrived["id"],
    }
    async with Bridge(app) as bridge:
        await bridge.settle()
        await admin.clear()
        for tool in EFFECTS.values():
            if rule == "nobody" and not _reaches(tool):
                continue
            arguments = sample(tool, chats)
            with pytest.raises(Refusal) as refusal:
                await bridge.call(tool.name, arguments)
            expected = {"waiting for approval"} if rule == "approval" else {"recipient refused"}
            assert refusal.value.decision in expected | {"url refused"}, tool.name
        assert await effects(admin) == []


def _reaches(tool: Tool) -> bool:
    marks: list[Reference | MessageReference] = [*tool.references.values(), *tool.messages.values()]
    return any(mark.reached for mark in marks) or tool.reaches in ("status", "everyone")


async def _everything_shown(bridge: Bridge) -> str:
    """All that the read-only tools say without being asked for a chat."""
    said = []
    for tool in CATALOG.values():
        if tool.effect or tool.action is not Action.READ:
            continue
        schema = tool.input_schema
        arguments = {"query": "a", "text": "a"} if "query" in schema.get("required", ()) else {}
        if set(schema.get("required", ())) - {"query"}:
            continue
        try:
            result = await bridge.call(tool.name, {k: v for k, v in arguments.items() if k in schema["properties"]})
        except (Refusal, WahaError, ArgumentError) as error:
            said.append(str(error))
        else:
            said.append(json.dumps(result.model_dump(mode="json"), ensure_ascii=False))
    return "\n".join(said)


async def test_no_listing_shows_a_chat_that_may_not_be_read(sandbox: SandboxInfo) -> None:
    hidden = ["Maya", "447700900142", "Kestrel", "Hikers", "Whitcombe", "Robert Rivers", "12025550101"]
    fields: dict[str, Any] = {"chats": {"read": {"allow": [SAM]}}}
    async with bridge_with(sandbox, **fields) as bridge:
        bridge.app = bridge.app.model_copy(update={"toolsets": frozenset({"all"})})
        shown = await _everything_shown(bridge)
    assert "Sam Okafor" in shown
    assert [name for name in hidden if name in shown] == []


async def test_a_denied_chat_is_left_out_where_others_are_shown(sandbox: SandboxInfo) -> None:
    async with bridge_with(sandbox, chats={"read": {"deny": [DAD]}}) as bridge:
        bridge.app = bridge.app.model_copy(update={"toolsets": frozenset({"all"})})
        shown = await _everything_shown(bridge)
    assert "Maya" in shown
    assert "12025550101@c.us" not in shown
