"""Input schemas in the form that every host passes on: ranges and defaults in words, nothing that converters refuse.

Hosts strip keywords such as `minimum`, `pattern` and `default`, and OpenAI's strict mode refuses some of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: Keywords whose meaning goes into the description, or is left to the check of the arguments.
_SAID = {"minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems", "pattern", "default", "title"}


def in_words(schema: Mapping[str, Any], definitions: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """A JSON Schema with its definitions in place and its ranges and defaults as words of the descriptions."""
    definitions = schema.get("$defs", definitions or {})
    if "$ref" in schema:
        named = definitions[schema["$ref"].rpartition("/")[2]]
        schema = {**named, **{key: value for key, value in schema.items() if key != "$ref"}}
    said = {key: value for key, value in schema.items() if key not in _SAID and key != "$defs"}
    if words := ", ".join(_words(schema)):
        about = schema.get("description")
        said["description"] = f"{about}; {words}" if about else f"{words[0].upper()}{words[1:]}"
    if "properties" in said:
        said["properties"] = {name: in_words(each, definitions) for name, each in said["properties"].items()}
    if "items" in said:
        said["items"] = in_words(said["items"], definitions)
    return said


def _words(schema: Mapping[str, Any]) -> list[str]:
    words = [
        _range(schema.get("minimum"), schema.get("maximum"), ""),
        _range(None, schema.get("maxLength"), " characters"),
        _range(schema.get("minItems"), schema.get("maxItems"), " of them"),
    ]
    if schema.get("default") not in (None, False, "", []):
        words.append(f"default {str(schema['default']).lower() if schema['default'] is True else schema['default']}")
    return [word for word in words if word]


def _range(least: float | None, most: float | None, of: str) -> str:
    if most is None:
        # A minimum of 0 says nothing, and an empty list is seldom meant.
        return f"from {least:,}" if least and not of else ""
    return f"{least:,} to {most:,}{of}" if least is not None else f"up to {most:,}{of}"
