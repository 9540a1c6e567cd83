"""A message's text as WhatsApp shows it: *bold*, _italic_, ~strike~, `code`, ```monospace```, quotes and lists."""

from __future__ import annotations

import re

from markupsafe import Markup, escape

_BLOCK = re.compile(r"```(.+?)```", re.DOTALL)
#: A pair of marks counts where neither stands inside a word, and no blank stands right inside of them.
_PAIR = re.compile(r"(?<![^\W_])(?P<mark>[*_~`])(?=[^\s*_~`]|[*_~`](?!(?P=mark)))(?P<inside>.*?\S)(?P=mark)(?![^\W_])")
_TAGS = {"*": "strong", "_": "em", "~": "s", "`": "code"}
_BULLET = re.compile(r"[*-] (?=\S)")


def as_shown(text: str) -> Markup:
    """The text as HTML, escaped, with elements for what WhatsApp formats. Links stay text."""
    parts = _BLOCK.split(text)
    # Every other part is the inside of a block.
    shown = [_tagged("code", escape(part)) if at % 2 else _lines(part) for at, part in enumerate(parts)]
    return Markup("").join(shown)


def _lines(text: str) -> Markup:
    return Markup("\n").join(map(_line, text.split("\n")))


def _line(line: str) -> Markup:
    if line.startswith("> ") and line[2:].strip():
        return _tagged("q", _inline(line[2:]))
    if bullet := _BULLET.match(line):
        return Markup("• ") + _inline(line[bullet.end() :])
    return _inline(line)


def _inline(text: str) -> Markup:
    match = _PAIR.search(text)
    if match is None:
        return escape(text)
    mark, inside = match["mark"], match["inside"]
    shown = escape(inside) if mark == "`" else _inline(inside)
    return escape(text[: match.start()]) + _tagged(_TAGS[mark], shown) + _inline(text[match.end() :])


def _tagged(tag: str, inside: Markup) -> Markup:
    return Markup(f"<{tag}>") + inside + Markup(f"</{tag}>")  # noqa: S704
