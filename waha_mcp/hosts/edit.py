"""Add one entry to a configuration text, or remove it, leaving everything else byte for byte unchanged.

Libraries parse the text and give positions (json-five for JSON with comments and JSON5, ruamel.yaml, tomlkit); the edit
itself is an insertion or a cut at those positions. Afterwards the result is parsed again and must contain exactly the
intended data, so that an unusual file is refused rather than damaged.
"""

from __future__ import annotations

import copy
import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from waha_mcp.hosts.table import Format

_BOM = "\ufeff"


class Unusable(Exception):
    """A configuration text that cannot be read or edited. The text names the problem."""


def read(text: str, format: Format) -> dict[str, Any]:
    """The data of a configuration; an empty text is an empty object.

    Raises:
        Unusable: not valid, or not an object.
    """
    text = text.removeprefix(_BOM)
    if not text.strip():
        return {}
    data = _FORMATS[format].read(text)
    if data is None and format == "yaml":  # comments alone
        return {}
    if not isinstance(data, Mapping):
        raise Unusable("it must hold an object")
    return dict(data)


def entry_at(data: Mapping[str, Any], place: tuple[str, ...], name: str) -> Any:
    """The entry of that name; None if there is none.

    Raises:
        Unusable: a value on the path is not an object.
    """
    inside: Any = data
    for key in place:
        inside = inside.get(key)
        if inside is None:
            return None
        if not isinstance(inside, Mapping):
            raise Unusable(f"{'.'.join(place)} must be an object")
    return inside.get(name)


def put(text: str, format: Format, place: tuple[str, ...], name: str, entry: Mapping[str, Any]) -> str:
    """The text with the entry added; it replaces one of that name.

    Raises:
        Unusable: the text cannot be read, or cannot be edited safely.
    """
    before = read(text, format)
    if entry_at(before, place, name) == entry:
        return text
    rest = drop(text, format, place, name)
    wanted = copy.deepcopy(read(rest, format))
    inside = wanted
    for key in place:
        if inside.get(key) is None:
            inside[key] = {}
        inside = inside[key]
    inside[name] = dict(entry)
    return _edited(rest, lambda bare: _FORMATS[format].put(bare, place, name, entry), format, wanted)


def drop(text: str, format: Format, place: tuple[str, ...], name: str) -> str:
    """The text without the entry of that name; the object that held it stays.

    Raises:
        Unusable: as for `put`.
    """
    data = read(text, format)
    if entry_at(data, place, name) is None:
        return text
    wanted = copy.deepcopy(data)
    inside = wanted
    for key in place:
        inside = inside[key]
    del inside[name]
    return _edited(text, lambda bare: _FORMATS[format].drop(bare, place, name), format, wanted)


def put_all(text: str, format: Format, place: tuple[str, ...], entries: Mapping[str, Mapping[str, Any]]) -> str:
    """The text with these entries added, whose names must be unused in it; `read` then gives them in this order.

    Raises:
        Unusable: as for `put`.
    """
    for name in reversed([*entries]) if _FORMATS[format].before_others else entries:
        text = put(text, format, place, name, entries[name])
    return text


def show(format: Format, place: tuple[str, ...], name: str, entry: Mapping[str, Any]) -> str:
    """A configuration with only this entry."""
    return put("", format, place, name, entry)


def _edited(text: str, edit: Callable[[str], str], format: Format, wanted: Mapping[str, Any]) -> str:
    """The text after an edit, checked to contain the intended data."""
    bom = _BOM if text.startswith(_BOM) else ""
    odd = Unusable("it is valid, but written in a way that cannot be edited safely")
    try:
        edited = bom + edit(text.removeprefix(_BOM))
    except (LookupError, ValueError, AttributeError):
        raise odd from None
    try:
        made = read(edited, format)
    except Unusable:
        raise odd from None
    if _without_empty(made) != _without_empty(wanted):
        raise odd
    return edited


def _without_empty(data: Mapping[str, Any]) -> dict[str, Any]:
    """TOML cannot express an empty table of tables."""
    return {k: v for k, v in data.items() if v != {}}


@dataclass(frozen=True)
class _Editor:
    read: Callable[[str], Any]
    put: Callable[[str, tuple[str, ...], str, Mapping[str, Any]], str]
    drop: Callable[[str, tuple[str, ...], str], str]
    #: Whether `put` inserts an entry before the others in its object, rather than after them.
    before_others: bool


def _newline(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"


def _indent_at(text: str, at: int) -> str:
    """The indentation of the line that contains a position."""
    line = text[text.rfind("\n", 0, at) + 1 : at]
    return line[: len(line) - len(line.lstrip())]


# JSON


def _read_json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        pass  # comments, trailing commas, or invalid
    except RecursionError:
        raise Unusable("it is nested too deep") from None
    json5 = _json5()
    try:
        return json5.loads(text)
    except (ValueError, RecursionError) as error:
        # If there are several errors, json-five puts the first one under a heading.
        said = str(error).rpartition("The primary error was:")[2].strip() or "cannot be read"
        raise Unusable(f"it is not valid JSON: {said.splitlines()[0]}") from None


def _json5() -> Any:
    import json5

    if not hasattr(json5, "loader"):
        raise Unusable("json-five is hidden by the package json5: install waha-mcp in an environment of its own")
    return json5


_BLANK = frozenset({"WHITESPACE", "LINE_COMMENT", "BLOCK_COMMENT"})
_OPENING, _CLOSING = frozenset({"LBRACE", "LBRACKET"}), frozenset({"RBRACE", "RBRACKET"})


@dataclass(frozen=True)
class _Member:
    """A member of a JSON object: the start of its key, and the tokens around and in its value."""

    before: Any
    start: int
    value: list[Any]
    after: Any


def _members(tokens: list[Any]) -> dict[str, _Member]:
    """The members of the object that these tokens (of valid JSON5, without blanks) form."""
    members = {}
    at = 1
    while tokens[at].type != "RBRACE":
        key, first = tokens[at], at + 2
        depth, last = 0, first
        while depth or tokens[last].type not in ("COMMA", "RBRACE"):
            depth += (tokens[last].type in _OPENING) - (tokens[last].type in _CLOSING)
            last += 1
        name = key.value if key.type == "NAME" else _json5().loads(key.value)
        members[name] = _Member(tokens[at - 1], key.index, tokens[first:last], tokens[last])
        at = last + (tokens[last].type == "COMMA")
    return members


def _tokens(text: str) -> tuple[list[Any], dict[int, int]]:
    """The significant tokens, and for each (by its start) the start of the blanks before it."""
    from json5.tokenizer import tokenize

    tokens, solid = [], {}
    end = 0
    for token in tokenize(text):
        if token.type not in _BLANK:
            tokens.append(token)
            solid[token.index] = end
        if token.type != "WHITESPACE":
            end = token.end
    return tokens, solid


def _put_json(text: str, place: tuple[str, ...], name: str, entry: Mapping[str, Any]) -> str:
    if not text.strip():
        text = "{}\n"
    newline = _newline(text)
    tokens, _ = _tokens(text)
    path = [*place, name]
    while (member := _members(tokens).get(path[0])) is not None and member.value[0].type == "LBRACE":
        tokens, path = member.value, path[1:]
    value: Any = dict(entry)
    for key in reversed(path[1:]):
        value = {key: value}
    brace = tokens[0].end
    outer = _indent_at(text, tokens[0].index)
    first = tokens[1]
    if first.type != "RBRACE" and "\n" not in text[brace : first.index]:
        return f"{text[:brace]}{json.dumps(path[0])}: {json.dumps(value, ensure_ascii=False)}, {text[brace:].lstrip()}"
    inner = _indent_at(text, first.index) if first.type != "RBRACE" else outer + _step(text)
    step = inner.removeprefix(outer) or "  "
    lines = json.dumps(value, indent=step, ensure_ascii=False).splitlines()
    written = f"{newline}{inner}{json.dumps(path[0])}: " + f"{newline}{inner}".join(lines)
    rest = text[brace:]
    if first.type != "RBRACE":
        written += ","
    elif "\n" not in text[brace : first.index]:
        written, rest = f"{written}{newline}{outer}", rest.lstrip(" \t")
    return text[:brace] + written + rest


def _step(text: str) -> str:
    """One level of indentation, as in the first indented line."""
    for line in text.splitlines():
        if line.strip() and line[0] in " \t":
            return line[: len(line) - len(line.lstrip())]
    return "  "


def _drop_json(text: str, place: tuple[str, ...], name: str) -> str:
    tokens, solid = _tokens(text)
    for key in place:
        tokens = _members(tokens)[key].value
    member = _members(tokens)[name]
    start, end = solid[member.start], member.value[-1].end
    if member.after.type == "COMMA":
        rest = text[member.after.end :]
        return text[:start] + (rest if start < member.start else rest.lstrip(" \t"))
    if member.before.type == "COMMA":
        return text[: member.before.index] + text[member.before.end : start] + text[end:]
    inside = text[tokens[0].end : start] + text[end : tokens[-1].index]
    return text[: tokens[0].end] + (inside if inside.strip() else "") + text[tokens[-1].index :]


# YAML


def _read_yaml(text: str) -> Any:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        return YAML(typ="safe", pure=True).load(text)
    except (YAMLError, RecursionError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" (line {mark.line + 1})" if mark else ""
        raise Unusable(f"it is not valid YAML: {getattr(error, 'problem', None) or 'cannot be read'}{where}") from None


def _node(text: str, place: tuple[str, ...]) -> tuple[Any, Any] | None:
    """The key and the value at a path in a YAML text, as ruamel.yaml composes it."""
    from ruamel.yaml import YAML

    value = YAML(typ="safe", pure=True).compose(io.StringIO(text))
    key = None
    for name in place:
        pair = next(
            (p for p in getattr(value, "value", None) or [] if isinstance(p, tuple) and p[0].value == name), None
        )
        if pair is None:
            return None
        key, value = pair
    return key, value


def _yaml_lines(data: Mapping[str, Any], indent: str, newline: str) -> str:
    from ruamel.yaml import YAML

    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.width = 10_000
    out = io.StringIO()
    yaml.dump(dict(data), out)
    return "".join(f"{indent}{line}{newline}" for line in out.getvalue().splitlines())


def _put_yaml(text: str, place: tuple[str, ...], name: str, entry: Mapping[str, Any]) -> str:
    newline = _newline(text)
    found = _node(text, place) if text.strip() else None
    if found is None:
        data: dict[str, Any] = {name: dict(entry)}
        for key in reversed(place):
            data = {key: data}
        gap = "" if not text or text.endswith("\n") else newline
        return text + gap + _yaml_lines(data, "", newline)
    key, value = found
    pairs = getattr(value, "value", None)
    if isinstance(pairs, list) and pairs and value.flow_style is not True:
        line = text.index("\n", key.end_mark.index) + 1
        return text[:line] + _yaml_lines({name: entry}, " " * pairs[0][0].start_mark.column, newline) + text[line:]
    if pairs:
        raise Unusable(f"{'.'.join(place)} is written on one line ({{...}}): spread it over several lines first")
    # Still empty: `extensions:` or `extensions: {}`
    colon = text.index(":", key.end_mark.index) + 1
    end = value.end_mark.index if isinstance(pairs, list) else max(colon, value.end_mark.index)
    line_end = text.find("\n", end)
    line_end = len(text) if line_end < 0 else line_end + 1
    comment = text[end:line_end].rstrip()
    written = _yaml_lines({name: entry}, " " * (key.start_mark.column + 2), newline)
    return f"{text[:colon]}{comment}{newline}{written}{text[line_end:]}"


def _drop_yaml(text: str, place: tuple[str, ...], name: str) -> str:
    found, holder = _node(text, (*place, name)), _node(text, place)
    assert found is not None
    assert holder is not None
    if holder[1].flow_style:
        raise Unusable(f"{'.'.join(place)} is written on one line ({{...}}): take the entry out by hand")
    start = found[0].start_mark.index - found[0].start_mark.column
    end = text.find("\n", _last_mark(found[1]))
    end = len(text) if end < 0 else end + 1
    if len(holder[1].value) > 1:
        return text[:start] + text[end:]
    colon = text.index(":", holder[0].end_mark.index) + 1
    return f"{text[:colon]} {{}}{text[colon:start]}{text[end:]}"


def _last_mark(node: Any) -> int:
    """The end of a node's content; the end marks of ruamel.yaml include the blanks after it."""
    if isinstance(node.value, list) and node.value and not node.flow_style:
        last = node.value[-1]
        return _last_mark(last[1] if isinstance(last, tuple) else last)
    end: int = node.end_mark.index
    return end


# TOML


def _read_toml(text: str) -> Any:
    import tomllib

    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise Unusable(f"it is not valid TOML: {error}") from None


def _put_toml(text: str, place: tuple[str, ...], name: str, entry: Mapping[str, Any]) -> str:
    import tomlkit

    data: Any = {name: dict(entry)}
    for key in reversed(place):
        data = {key: data}
    newline = _newline(text)
    gap = "" if not text else newline if text.endswith("\n") else newline * 2
    return text + gap + tomlkit.dumps(data).replace("\n", newline)


def _drop_toml(text: str, place: tuple[str, ...], name: str) -> str:
    import tomlkit

    document = tomlkit.parse(text)
    inside: Any = document
    for key in place:
        inside = inside[key]
    del inside[name]
    return tomlkit.dumps(document)


_FORMATS: dict[Format, _Editor] = {
    "json": _Editor(_read_json, _put_json, _drop_json, True),
    "yaml": _Editor(_read_yaml, _put_yaml, _drop_yaml, True),
    "toml": _Editor(_read_toml, _put_toml, _drop_toml, False),
}
