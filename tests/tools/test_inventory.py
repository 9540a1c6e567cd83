"""Rules that every tool keeps."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from scripts import docs
from waha_mcp.app.actions import Action
from waha_mcp.sandbox.contract import contract
from waha_mcp.server.protocol import describe
from waha_mcp.tools.catalog import CATALOG, Tool
from waha_mcp.tools.params import MessageReference, Reference

TOOLS = pytest.mark.parametrize("tool", CATALOG.values(), ids=CATALOG)
OPERATIONS = {str(operation): operation for operation in contract().operations}


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
        assert schema.get("description"), f'{name}: Annotated[..., Field(description="...")]'


@TOOLS
def test_input_schema_is_one_closed_object(tool: Tool) -> None:
    schema = tool.input_schema
    assert schema["type"] == "object"
    assert schema["additionalProperties"] is False
    assert not {"anyOf", "oneOf", "allOf"} & schema.keys()


@TOOLS
def test_no_output_schema_is_listed(tool: Tool) -> None:
    assert "outputSchema" not in wire(tool)


@TOOLS
def test_all_four_annotations_are_set_and_agree_with_what_is_called(tool: Tool) -> None:
    annotations = wire(tool)["annotations"]
    assert annotations.keys() == {"readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint"}
    if annotations["readOnlyHint"]:
        # A few reads of WAHA are POSTs, because their parameters do not fit into a URL.
        assert all(call.startswith("GET ") or OPERATIONS[call].action == "read" for call in tool.calls)
    else:
        # A tool that returns an invite changes nothing in WAHA, and lets people in all the same.
        assert any(not call.startswith("GET ") for call in tool.calls) or tool.reaches == "everyone"


TAKES_AWAY = re.compile(r"^DELETE |/(leave|block|logout|purge|remove|revoke)$|/status/delete$")


@TOOLS
def test_what_deletes_leaves_blocks_or_logs_out_is_in_the_destructive_toolset_besides_its_own(tool: Tool) -> None:
    destructive = any(TAKES_AWAY.search(call) for call in tool.calls)
    assert wire(tool)["annotations"]["destructiveHint"] is destructive
    assert tool.toolsets == ((tool.toolset, "destructive") if destructive else (tool.toolset,))


def test_core_stays_small_and_takes_nothing_away() -> None:
    core = [tool for tool in CATALOG.values() if tool.toolsets == ("core",)]
    assert len([tool for tool in core if tool.action in (None, Action.READ, Action.SEND)]) <= 18
    assert not any(tool.hints.destructive for tool in CATALOG.values() if tool.toolset == "core")


@TOOLS
def test_a_tool_with_an_effect_says_whom_it_reaches_and_one_without_does_not(tool: Tool) -> None:
    """By a parameter that names chats or messages (`Reference`, `MessageReference`), or by `reaches=`."""
    named: list[Reference | MessageReference] = [*tool.references.values(), *tool.messages.values()]
    if tool.effect:
        assert any(mark.reached for mark in named) or tool.reaches is not None
    else:
        assert tool.reaches is None


NAMES_CHATS = re.compile(
    r"(^|_)(chats?|persons?|people|members?|participants?|mentions|recipients?|groups?|message_ids?)$"
)


@TOOLS
def test_a_parameter_that_is_named_like_a_chat_a_message_or_a_url_is_marked_as_one(tool: Tool) -> None:
    marked = tool.references.keys() | tool.messages.keys() | tool.fetched.keys()
    for name in tool.input_schema["properties"]:
        if NAMES_CHATS.search(name):
            assert name in marked, f"{name}: type it as Chat, GroupId, MessageId (waha_mcp/tools/params.py)"
        if re.search(r"(^|_)urls?$", name) and tool.effect:
            assert name in tool.fetched, name


@TOOLS
def test_schema_matches_its_snapshot(tool: Tool) -> None:
    file = docs.SNAPSHOTS / f"{tool.name}.json"
    kept = file.read_text(encoding="utf-8") if file.exists() else "{}"
    assert json.loads(docs.snapshot(tool)) == json.loads(kept), "python scripts/docs.py, if this is meant"
