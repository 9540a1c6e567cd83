"""Rules that every tool keeps."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from waha_mcp.actions import Action
from waha_mcp.server.protocol import describe
from waha_mcp.tools import CATALOG, Tool
from waha_mcp.tools.params import MessageReference, Reference
from waha_mcp.waha.contract import contract

SNAPSHOTS = Path(__file__).parent.parent / "snapshots"
TOOLS = pytest.mark.parametrize("tool", CATALOG.values(), ids=CATALOG)


def wire(tool: Tool) -> dict[str, Any]:
    return describe(tool).model_dump(mode="json", by_alias=True, exclude_none=True)


@TOOLS
def test_name_is_short_snake_case(tool: Tool) -> None:
    assert re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", tool.name)
    assert len(tool.name) <= 40


@TOOLS
def test_title_and_description_say_what_it_does_within_bounds(tool: Tool) -> None:
    assert 3 <= len(tool.title) <= 40
    assert 20 <= len(tool.description) <= 1024
    assert tool.description.endswith(".")


@TOOLS
def test_every_property_is_described(tool: Tool) -> None:
    for name, schema in tool.input_schema["properties"].items():
        assert schema.get("description"), name


@TOOLS
def test_input_schema_is_one_closed_object(tool: Tool) -> None:
    schema = tool.input_schema
    assert schema["type"] == "object"
    assert schema["additionalProperties"] is False
    assert not {"anyOf", "oneOf", "allOf"} & schema.keys()


@TOOLS
def test_output_schema_is_an_object(tool: Tool) -> None:
    assert tool.output_schema["type"] == "object"


@TOOLS
def test_all_four_annotations_are_set_and_agree_with_the_action(tool: Tool) -> None:
    annotations = wire(tool)["annotations"]
    assert annotations.keys() == {"readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint"}
    assert annotations["readOnlyHint"] is (tool.action in (None, Action.READ))


@TOOLS
def test_calls_are_operations_that_the_tools_action_opens(tool: Tool) -> None:
    assert tool.calls
    for call in tool.calls:
        method, path = call.split(" ")
        [operation] = [o for o in contract().operations if (o.method, o.path) == (method, path)]
        allowed = {"list", "server"} if tool.action is None else {tool.action.value}
        assert operation.action in allowed, call
        assert not operation.deprecated, call


@TOOLS
def test_a_tool_with_an_effect_says_whom_it_reaches_and_one_without_does_not(tool: Tool) -> None:
    """By a parameter that names chats or messages (`Reference`, `MessageReference`), or by `reaches=`."""
    named: list[Reference | MessageReference] = [*tool.references.values(), *tool.messages.values()]
    if tool.effect:
        assert any(mark.reached for mark in named) or tool.reaches is not None
    else:
        assert tool.reaches is None


@TOOLS
def test_a_parameter_that_is_named_like_a_chat_a_message_or_a_url_is_marked_as_one(tool: Tool) -> None:
    marked = tool.references.keys() | tool.messages.keys() | tool.fetched.keys()
    for name in tool.input_schema["properties"]:
        if re.search(r"(^|_)(chats?|persons?|people|members?|participants?|mentions|recipients?|message_ids?)$", name):
            assert name in marked, name
        if re.search(r"(^|_)urls?$", name) and tool.effect:
            assert name in tool.fetched, name


@TOOLS
def test_schema_matches_its_snapshot(tool: Tool) -> None:
    """UPDATE_SNAPSHOTS=1 rewrites them."""
    file = SNAPSHOTS / f"{tool.name}.json"
    shown = json.dumps(wire(tool), indent=2, ensure_ascii=False) + "\n"
    if os.environ.get("UPDATE_SNAPSHOTS"):
        file.write_text(shown, encoding="utf-8")
    assert shown == file.read_text(encoding="utf-8")


def test_there_is_no_snapshot_without_a_tool() -> None:
    assert {file.stem for file in SNAPSHOTS.glob("*.json")} == CATALOG.keys()
