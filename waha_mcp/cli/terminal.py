"""Lines for a terminal: wrapped at its width, between words where there is a blank, with continuations indented."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
import unicodedata


def visible(text: str) -> str:
    """A text with escapes for all that would command the terminal, hide text or reverse a line; line feeds stay.

    The escapes are those of JSON, so that JSON stays JSON.
    """
    return "".join(c if c == "\n" or c.isprintable() else json.dumps(c)[1:-1] for c in text)


def wrapped(text: str, indent: str) -> str:
    """Wrap each line of a text at the width of the terminal, if stdout is one; continuation lines begin with `indent`.

    A line that begins with `indent` itself goes on twice as far in. Otherwise the terminal would wrap at the first
    column, where untrusted text could imitate a line of ours.
    """
    if not sys.stdout.isatty():
        return text
    columns = shutil.get_terminal_size().columns
    return "\n".join(_broken(line, columns, indent * (1 + line.startswith(indent))) for line in text.split("\n"))


def set_in(text: str, indent: str, first: str | None = None) -> str:
    """A text wrapped by words to the terminal, each line after the indentation, the first one after `first`."""
    columns = shutil.get_terminal_size().columns
    lines = (
        textwrap.fill(
            line,
            columns,
            initial_indent=indent if first is None else first,
            subsequent_indent=indent,
            break_long_words=False,
            break_on_hyphens=False,
        )
        for line in text.splitlines()
    )
    return "\n".join(lines)


def _broken(line: str, columns: int, indent: str) -> str:
    pieces, start, used, blank = [], 0, 0, 0
    for at, char in enumerate(line):
        used += _columns(char)
        if used > columns and at > start:
            cut = blank if blank > start else at
            pieces.append(line[start:cut])
            start, used = cut, len(indent) + sum(map(_columns, line[cut : at + 1]))
        if char == " ":
            blank = at + 1
    return f"\n{indent}".join([*pieces, line[start:]])


def _columns(char: str) -> int:
    """The most columns that a terminal may use for a character."""
    return 2 if unicodedata.east_asian_width(char) in "WFA" else 1
