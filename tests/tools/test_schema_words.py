"""Input schemas: nothing is lost in what hosts and converters do to them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from waha_mcp.tools.catalog import CATALOG, Tool
from waha_mcp.tools.schema_words import in_words

TOOLS = pytest.mark.parametrize("tool", CATALOG.values(), ids=CATALOG)

#: What converters pass on, and what OpenAI's strict mode accepts
#: (developers.openai.com/api/docs/guides/structured-outputs, "Supported schemas").
PASSED_ON = {"type", "description", "properties", "required", "additionalProperties", "items", "enum"}
TYPES = {"string", "number", "integer", "boolean", "object", "array"}
#: The limits: levels of nesting, properties of one schema, values of all its enums, and characters of all names and
#: values.
DEEPEST, MOST_PROPERTIES, MOST_VALUES, MOST_CHARACTERS = 10, 5_000, 1_000, 120_000


def parts(schema: dict[str, Any], depth: int = 1) -> Iterator[tuple[dict[str, Any], int]]:
    yield schema, depth
    for each in (*schema.get("properties", {}).values(), *([schema["items"]] if "items" in schema else [])):
        yield from parts(each, depth + 1)


@TOOLS
def test_a_schema_keeps_the_published_rules_of_strict_mode(tool: Tool) -> None:
    found = list(parts(tool.input_schema))
    for part, depth in found:
        assert part.keys() <= PASSED_ON
        assert part["type"] in TYPES
        assert depth <= DEEPEST
        if part["type"] == "object":
            assert part["additionalProperties"] is False
            assert set(part.get("required", ())) <= part["properties"].keys()
            assert all(re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name) for name in part["properties"])
        if part["type"] == "array":
            assert "items" in part
    names = [name for part, _ in found for name in part.get("properties", ())]
    values = [value for part, _ in found for value in part.get("enum", ())]
    assert len(names) <= MOST_PROPERTIES
    assert len(values) <= MOST_VALUES
    assert sum(map(len, names + values)) <= MOST_CHARACTERS


@pytest.mark.parametrize(
    ("tool", "name", "words"),
    [
        ("list_chats", "limit", "1 to 100, default 20"),
        ("get_unread", "lines", "1 to 20, default 3"),
        ("list_chats", "detail", "default concise"),
        ("send_media", "caption", "up to 4,096 characters"),
        ("send_poll", "options", "2 to 12 of them"),
        ("send_location", "latitude", "-90 to 90"),
        ("pin_message", "pinned", "default true"),
    ],
)
def test_ranges_and_defaults_stand_in_words(tool: str, name: str, words: str) -> None:
    assert CATALOG[tool].input_schema["properties"][name]["description"].endswith(words)


@TOOLS
def test_every_limit_of_a_number_stands_in_its_description(tool: Tool) -> None:
    model = tool.arguments.model_json_schema()["properties"]
    for name, schema in tool.input_schema["properties"].items():
        for keyword in ("minimum", "maximum", "maxLength", "maxItems"):
            if model[name].get(keyword):
                assert f"{model[name][keyword]:,}" in schema["description"], name


def test_a_default_of_nothing_takes_no_words() -> None:
    nothing: list[Any] = [None, False, 0, "", []]
    for default in nothing:
        assert in_words({"type": "string", "default": default, "description": "About"}) == {
            "type": "string",
            "description": "About",
        }


def test_what_stands_in_definitions_stands_in_place_with_its_own_description() -> None:
    color = {"enum": ["red", "blue"], "type": "string", "title": "Color"}
    schema = {
        "$defs": {"Color": color, "Pair": {"type": "object", "properties": {"one": {"$ref": "#/$defs/Color"}}}},
        "type": "object",
        "properties": {"pairs": {"type": "array", "maxItems": 3, "items": {"$ref": "#/$defs/Pair"}}},
    }
    one = {"enum": ["red", "blue"], "type": "string"}
    pair = {"type": "object", "properties": {"one": one}}
    pairs = {"type": "array", "description": "Up to 3 of them", "items": pair}
    assert in_words(schema) == {"type": "object", "properties": {"pairs": pairs}}


def test_a_property_may_be_called_as_a_keyword_is() -> None:
    schema = {"type": "object", "properties": {"title": {"type": "string"}, "default": {"type": "string"}}}
    assert in_words(schema) == schema
