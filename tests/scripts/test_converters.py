"""The check of frameworks' converters: it finds what a converter loses, refuses or does not make strict."""

from __future__ import annotations

from typing import Any

import pytest

from scripts import converters

INNER = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": False}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "n": {"type": "integer", "description": "How many; 1 to 9"},
        "kind": {"type": "string", "enum": ["x", "y"]},
        "rows": {"type": "array", "items": INNER},
    },
    "required": ["n", "kind", "rows"],
    "additionalProperties": False,
}


def found(monkeypatch: pytest.MonkeyPatch, convert: Any) -> list[str]:
    monkeypatch.setitem(converters.CONVERTERS, "ours", lambda: convert)
    return converters.check("ours", [{"name": "do_it", "inputSchema": SCHEMA}])


def test_what_stays_as_it_is_has_lost_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert found(monkeypatch, lambda tool: {"strict": tool["inputSchema"]}) == []


@pytest.mark.parametrize(
    ("properties", "says"),
    [
        ({"n": {"type": "integer"}}, "do_it, plain: .n: description 'How many; 1 to 9' became None"),
        ({"n": {"type": "STRING", "description": "How many; 1 to 9"}}, "do_it, plain: .n: type integer became STRING"),
        ({"kind": {"type": "string", "enum": ["x"]}}, "do_it, plain: .kind: enum ['x', 'y'] became ['x']"),
        ({"rows": {"type": "array", "items": {"type": "object"}}}, "do_it, plain: .rows[].a: is gone"),
    ],
)
def test_each_lost_fact_is_named(properties: dict[str, Any], says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    changed = SCHEMA | {"properties": SCHEMA["properties"] | properties}
    assert found(monkeypatch, lambda tool: {"plain": changed}) == [says]


@pytest.mark.parametrize("change", [{"additionalProperties": True}, {"required": ["n"]}])
def test_a_strict_schema_that_is_loose_is_named(change: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(found(monkeypatch, lambda tool: {"strict": SCHEMA | change})) == 1


def test_a_converter_that_fails_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(tool: dict[str, Any]) -> Any:
        raise KeyError("x")

    assert found(monkeypatch, fails) == ["do_it: refused: KeyError: 'x'"]


def test_the_listing_is_all_tools_as_the_wire_has_them() -> None:
    listed = converters.listing()
    assert len(listed) > 90
    assert all(tool["inputSchema"]["type"] == "object" for tool in listed)
