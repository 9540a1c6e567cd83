"""Checks that frameworks' converters keep every fact of every input schema: names, descriptions, choices.

The converters do not fit into one environment, so each runs in its own; this script imports the one that it is given:

    python scripts/converters.py --listing > listing.json
    uv run --no-project --with openai-agents scripts/converters.py openai-agents listing.json
    uv run --no-project --with langchain-mcp-adapters scripts/converters.py langchain listing.json
    uv run --no-project --with google-genai --with 'mcp<2' scripts/converters.py google-genai listing.json
    uv run --no-project --with google-adk scripts/converters.py google-adk listing.json

tests/tools/test_schema_words.py holds the
published rules of OpenAI's strict mode without any of them.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

Schema = dict[str, Any]
Convert = Callable[[dict[str, Any]], dict[str, Schema]]


def listing() -> list[dict[str, Any]]:
    """All tools as tools/list gives them."""
    from waha_mcp.server.protocol import describe
    from waha_mcp.tools.catalog import CATALOG
    from waha_mcp.tools.toolsets import load_tools

    load_tools()
    return [describe(tool).model_dump(mode="json", by_alias=True, exclude_none=True) for tool in CATALOG.values()]


def openai_agents() -> Convert:
    """openai-agents: the schemas unchanged, and made strict."""
    from agents.strict_schema import ensure_strict_json_schema

    def convert(tool: dict[str, Any]) -> dict[str, Schema]:
        copy = json.loads(json.dumps(tool["inputSchema"]))
        return {"as it is": tool["inputSchema"], "strict": ensure_strict_json_schema(copy)}

    return convert


def langchain() -> Convert:
    """LangChain: the tools that its MCP adapters make, with the schemas that models get."""
    from langchain_core.utils.function_calling import convert_to_openai_tool
    from langchain_mcp_adapters.tools import convert_mcp_tool_to_langchain_tool
    from mcp.types import Tool

    def convert(tool: dict[str, Any]) -> dict[str, Schema]:
        connection = {"transport": "stdio", "command": "waha-mcp", "args": []}
        made = convert_mcp_tool_to_langchain_tool(None, Tool.model_validate(tool), connection=connection)
        return {
            how: convert_to_openai_tool(made, strict=strict)["function"]["parameters"]
            for how, strict in (("as it is", None), ("strict", True))
        }

    return convert


def google_genai() -> Convert:
    """google-genai: an MCP server's tools as it declares them to Gemini.

    Version 3.6.1 breaks on the `additionalProperties: false` that most servers send, ours among them.
    """
    from google.genai._mcp_utils import mcp_to_gemini_tool
    from mcp.types import Tool

    def convert(tool: dict[str, Any]) -> dict[str, Schema]:
        opened = Tool.model_validate(tool | {"inputSchema": _without_closing(tool["inputSchema"])})
        [declared] = mcp_to_gemini_tool(opened).function_declarations
        return {"for Gemini": _camel(declared.parameters)}

    return convert


def google_adk() -> Convert:
    """Google's ADK: its MCP tools as it declares them to Gemini."""
    from google.adk.tools._gemini_schema_util import _to_gemini_schema

    def convert(tool: dict[str, Any]) -> dict[str, Schema]:
        return {"for Gemini": _camel(_to_gemini_schema(tool["inputSchema"]))}

    return convert


def _camel(schema: Any) -> Schema:
    """A schema of google-genai as JSON Schema."""
    made: Schema = schema.model_dump(mode="json", exclude_none=True, by_alias=True)
    return made


def _without_closing(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_closing(each) for name, each in value.items() if each is not False}
    return [_without_closing(each) for each in value] if isinstance(value, list) else value


CONVERTERS: dict[str, Callable[[], Convert]] = {
    "openai-agents": openai_agents,
    "langchain": langchain,
    "google-genai": google_genai,
    "google-adk": google_adk,
}


def lost(before: Schema, after: Schema, path: str = "") -> Iterator[str]:
    """The facts of a schema that a conversion has lost."""
    if before.get("type", "") != str(after.get("type", "")).lower():
        yield f"{path or 'arguments'}: type {before.get('type')} became {after.get('type')}"
    for fact in ("description", "enum"):
        if path and fact in before and before[fact] != after.get(fact):
            yield f"{path}: {fact} {before[fact]!r} became {after.get(fact)!r}"
    for name, each in before.get("properties", {}).items():
        kept = (after.get("properties") or {}).get(name)
        if kept is None:
            yield f"{path}.{name}: is gone"
        else:
            yield from lost(each, kept, f"{path}.{name}")
    if "items" in before:
        yield from lost(before["items"], after.get("items") or {}, f"{path}[]")


def loose(schema: Schema, path: str = "arguments") -> Iterator[str]:
    """Where a schema is not strict: an object that allows other properties, or a property that is not required."""
    if schema.get("type") == "object":
        if schema.get("additionalProperties") is not False:
            yield f"{path}: is open"
        if set(schema.get("required", ())) != schema.get("properties", {}).keys():
            yield f"{path}: does not require all"
        for name, each in schema.get("properties", {}).items():
            yield from loose(each, f"{path}.{name}")
    if "items" in schema:
        yield from loose(schema["items"], f"{path}[]")


def check(converter: str, tools: list[dict[str, Any]]) -> list[str]:
    """What one converter loses, refuses or does not make strict; empty when there is nothing."""
    wrong: list[str] = []
    convert = CONVERTERS[converter]()
    for tool in tools:
        try:
            made = convert(tool)
        except Exception as error:
            wrong.append(f"{tool['name']}: refused: {type(error).__name__}: {error}")
            continue
        for how, schema in made.items():
            found = [*lost(tool["inputSchema"], schema), *(loose(schema) if how == "strict" else ())]
            wrong += [f"{tool['name']}, {how}: {each}" for each in found]
    return wrong


def main() -> None:
    """Print what is wrong, and exit with 1 if anything is."""
    if sys.argv[1:] == ["--listing"]:
        print(json.dumps(listing()))
        return
    converter, file = sys.argv[1:]
    tools = json.loads(Path(file).read_text(encoding="utf-8"))
    wrong = check(converter, tools)
    print(*wrong, f"{converter}: {len(tools)} tools, {len(wrong)} facts lost", sep="\n")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
