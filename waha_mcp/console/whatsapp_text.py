"""A message's text as WhatsApp shows it: *bold*, _italic_, ~strike~, `code`, ```monospace```, quotes and lists."""

from __future__ import annotations

import re
from bisect import bisect
from functools import lru_cache

from markupsafe import Markup, escape

_BLOCK = re.compile(r"```(.+?)```", re.DOTALL)
_BULLET = re.compile(r"[*-] (?=\S)")
#: The element of each mark.
_TAGS = {"*": "strong", "_": "em", "~": "s", "`": "code"}


# What waits is drawn anew each time that a page asks.
@lru_cache(maxsize=64)
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
    """A line with its pairs of marks. The inside of a pair has no such pair, so that this goes four deep at most."""
    closing: dict[str, list[int]] = {mark: [] for mark in _TAGS}
    for at, char in enumerate(text):
        if char in _TAGS and _closes(text, at):
            closing[char].append(at)
    parts, plain, at = list[Markup](), 0, 0
    while at < len(text):
        mark = text[at]
        if mark in _TAGS and _opens(text, at):
            ends = closing[mark]
            if (next_one := bisect(ends, at + 1)) < len(ends):
                inside = text[at + 1 : ends[next_one]]
                shown = escape(inside) if mark == "`" else _inline(inside)
                parts += [escape(text[plain:at]), _tagged(_TAGS[mark], shown)]
                plain = at = ends[next_one] + 1
                continue
        at += 1
    return Markup("").join([*parts, escape(text[plain:])])


def _opens(text: str, at: int) -> bool:
    """Whether a mark stands at the beginning of a word."""
    after = text[at + 1 : at + 2]
    return not text[at - 1 : at].isalnum() and not after.isspace() and after not in ("", text[at])


def _closes(text: str, at: int) -> bool:
    """Whether a mark stands at the end of a word."""
    return at > 0 and not text[at - 1].isspace() and not text[at + 1 : at + 2].isalnum()


def _tagged(tag: str, inside: Markup) -> Markup:
    return Markup(f"<{tag}>") + inside + Markup(f"</{tag}>")  # noqa: S704
