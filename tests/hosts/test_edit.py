"""One entry is added to a configuration text and removed again; no other byte changes."""

from __future__ import annotations

import difflib
from typing import Any

import pytest

from waha_mcp.hosts import edit
from waha_mcp.hosts.table import Format

ENTRY: dict[str, Any] = {"command": "/opt/waha/bin/waha-mcp", "args": ["serve", "--app", "/home/sam/ä.toml"]}
PLACE: dict[Format, tuple[str, ...]] = {"json": ("mcpServers",), "yaml": ("extensions",), "toml": ("mcp_servers",)}

#: Configurations with entries of others, each with its difficulty.
FOREIGN: dict[str, tuple[Format, str]] = {
    "empty object": ("json", '{\n  "mcpServers": {}\n}\n'),
    "two spaces": ("json", '{\n  "mcpServers": {\n    "a": {\n      "command": "x"\n    }\n  }\n}\n'),
    "tabs, no newline at the end": ("json", '{\n\t"mcpServers": {\n\t\t"a": {"command": "x", "args": []}\n\t}\n}'),
    "one line": ("json", '{"mcpServers":{"a":{"command":"x"},"b":{}},"z":[1,{"y":"}"}]}'),
    "comments": (
        "json",
        '// mine\n{\n  /* { "mcpServers": 1 } */\n  "mcpServers": { // here\n'
        '    // about a\n    "a": {"x": "//"}, // tail\n'
        '    "b": {} // no comma\n  },\n  "url": "http://host//path" }\n',
    ),
    "trailing commas": ("json", '{\n  "mcpServers": {\n    "a": {"args": [1, 2,],},\n  },\n}\n'),
    "JSON5": ("json", "{\n  mcpServers: {\n    a: {command: 'it\\'s', n: +1.5e3, h: 0xFF},\n  },\n}\n"),
    "Windows line ends": ("json", '{\r\n  "mcpServers": {\r\n    "a": {}\r\n  }\r\n}\r\n'),
    "byte order mark": ("json", '\ufeff{\n  "mcpServers": {\n    "a": {}\n  }\n}\n'),
    "any script": ("json", '{\n  "mcpServers": {\n    "мой 😀": {"k": "\\u00e9\\"\\\\"}\n  }\n}\n'),
    "yaml with comments": (
        "yaml",
        "# goose\nGOOSE_MODEL: 'm' # quoted\nextensions:\n  # first\n  developer:\n    enabled: true\n"
        "    args: [a,   b]\n"
        "\n  # second\n  memory: {enabled: false}\n\nGOOSE_MODE:   auto\n",
    ),
    "yaml, four spaces, text blocks": (
        "yaml",
        "extensions:\n    dev:\n        note: |\n            one\n\n            two\n"
        "        folded: >-\n          a\n          b\n",
    ),
    "yaml as serde writes it": (
        "yaml",
        "extensions:\n  a:\n    args:\n    - x\n    - y\n    envs: {}\n    timeout: 300\nX: 1\n",
    ),
    "yaml with an anchor": ("yaml", "extensions: &all\n  a: {x: 1}\nother: *all\n"),
    "yaml, empty flow mapping": ("yaml", "extensions: {} # nothing yet\nX: 1\n"),
    "toml": (
        "toml",
        'model = "m" # why\n\n[mcp_servers.a]\ncommand = \'x\'\nenv = { K = "v" }\n\n[profiles.p]\nx = 1\n',
    ),
    "toml, servers apart": ("toml", "[mcp_servers.a]\nx=1\n[z]\ny = 1979-05-27\n[mcp_servers.b]\nx=[\n 1, # one\n]\n"),
}


@pytest.mark.parametrize("case", FOREIGN)
def test_what_goes_in_leaves_every_foreign_line_as_it_was(case: str) -> None:
    format, text = FOREIGN[case]
    edited = edit.put(text, format, PLACE[format], "whatsapp", ENTRY)
    assert edit.entry_at(edit.read(edited, format), PLACE[format], "whatsapp") == ENTRY
    changes = difflib.SequenceMatcher(None, text, edited, autojunk=False).get_opcodes()
    inserted = "".join(edited[b:c] for kind, _, _, b, c in changes if kind != "equal")
    removed = "".join(text[a:b] for kind, a, b, _, _ in changes if kind != "equal")
    assert "/opt/waha/bin/waha-mcp" in edited
    assert removed.strip() in ("", "{}"), removed
    assert inserted


@pytest.mark.parametrize("case", FOREIGN)
def test_what_is_taken_out_leaves_the_bytes_of_before(case: str) -> None:
    format, text = FOREIGN[case]
    edited = edit.put(text, format, PLACE[format], "whatsapp", ENTRY)
    left = edit.drop(edited, format, PLACE[format], "whatsapp")
    assert left == text if format != "toml" else left.rstrip() == text.rstrip()


@pytest.mark.parametrize("case", FOREIGN)
def test_putting_in_twice_replaces_and_the_same_again_changes_nothing(case: str) -> None:
    format, text = FOREIGN[case]
    once = edit.put(text, format, PLACE[format], "whatsapp", ENTRY)
    assert edit.put(once, format, PLACE[format], "whatsapp", ENTRY) == once
    other = {**ENTRY, "args": ["serve"]}
    data = edit.read(edit.put(once, format, PLACE[format], "whatsapp", other), format)
    before = edit.read(text, format)
    assert edit.entry_at(data, PLACE[format], "whatsapp") == other
    [container] = PLACE[format]
    assert {k: v for k, v in data[container].items() if k != "whatsapp"} == (before.get(container) or {})


@pytest.mark.parametrize("position", [0, 1, 2])
@pytest.mark.parametrize("layout", ["lines", "one line"])
def test_an_entry_is_taken_out_of_any_position(position: int, layout: str) -> None:
    members = ['"a": {"x": 1}', '"b": [2]']
    members.insert(position, '"whatsapp": {"command": "waha-mcp"}')
    joined = ",\n    ".join(members) if layout == "lines" else ", ".join(members)
    text = f'{{\n  "mcpServers": {{\n    {joined}\n  }}\n}}\n'
    left = edit.drop(text, "json", PLACE["json"], "whatsapp")
    assert edit.read(left, "json") == {"mcpServers": {"a": {"x": 1}, "b": [2]}}
    assert "whatsapp" not in left


@pytest.mark.parametrize("format", ["json", "yaml", "toml"])
@pytest.mark.parametrize("text", ["", "\n", "  \n"])
def test_an_empty_file_becomes_one_with_the_entry(format: Format, text: str) -> None:
    edited = edit.put(text, format, PLACE[format], "whatsapp", ENTRY)
    [container] = PLACE[format]
    assert edit.read(edited, format) == {container: {"whatsapp": ENTRY}}


def test_objects_on_the_way_are_made_and_kept() -> None:
    text = '{\n  "mcp": {\n    "x": 1\n  }\n}\n'
    edited = edit.put(text, "json", ("mcp", "servers"), "whatsapp", ENTRY)
    assert edit.read(edited, "json") == {"mcp": {"x": 1, "servers": {"whatsapp": ENTRY}}}


BROKEN: dict[str, tuple[Format, str]] = {
    "cut off": ("json", '{"mcpServers": {"a": 1}'),
    "comma missing": ("json", '{"a": 1 "b": 2}'),
    "a list": ("json", "[1, 2]"),
    "servers are a list": ("json", '{"mcpServers": []}'),
    "servers are text": ("json", '{"mcpServers": "x"}'),
    "servers are null": ("json", '{"mcpServers": null}'),
    "deep": ("json", "[" * 100_000),
    "yaml cut off": ("yaml", "extensions: {a: 1\n"),
    "yaml with tabs": ("yaml", "extensions:\n\ta: 1\n"),
    "yaml, several documents": ("yaml", "a: 1\n---\nb: 2\n"),
    "yaml, one name twice": ("yaml", "extensions:\n  a: 1\n  a: 2\n"),
    "yaml on one line": ("yaml", "extensions: {a: {b: 1}}\n"),
    "toml cut off": ("toml", "[mcp_servers\n"),
    "toml, one name twice": ("toml", "a = 1\na = 2\n"),
    "toml, closed table": ("toml", 'mcp_servers = { a = { command = "x" } }\n'),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_cannot_be_read_or_edited_is_refused_with_the_reason(case: str) -> None:
    format, text = BROKEN[case]
    with pytest.raises(edit.Unusable) as refusal:
        edit.put(text, format, PLACE[format], "whatsapp", ENTRY)
    assert len(str(refusal.value).splitlines()) == 1
