"""Sanitizing of text that other people wrote, before it is printed or returned to an agent.

Every result field that holds such text has one of the types here (`Name`, `Words`). They remove characters that are
invisible on a phone but readable to an agent: control, zero-width, bidi and tag characters, lone surrogates, private
use. Emoji sequences stay whole; right-to-left text stays readable without the removed direction marks.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Annotated, Any, get_args

from pydantic import AfterValidator, BaseModel

#: Maximum characters of a name, subject or file name, and of a text (WhatsApp's own limit).
MAX_NAME, MAX_TEXT = 120, 65_536


@dataclass(frozen=True)
class Others:
    """Annotation of fields that hold text of other people: data, never instructions.

    `own`: the account's owner chose it, as far as WhatsApp goes; it is cleaned and marked like others' text.
    """

    own: bool = False


_ZWNJ, _ZWJ, _TEXT_STYLE, _EMOJI_STYLE, _BLACK_FLAG = "\u200c", "\u200d", "\ufe0e", "\ufe0f", "\U0001f3f4"
#: Flag emoji that are encoded with tag characters. Tag characters elsewhere can encode hidden words.
_TAGGED_FLAGS = tuple(
    _BLACK_FLAG + "".join(chr(0xE0000 + ord(c)) for c in region) + "\U000e007f"
    for region in ("gbeng", "gbsct", "gbwls")
)
_FLAGS = re.compile(f"({'|'.join(_TAGGED_FLAGS)})")
#: Invisible characters whose Unicode category is letter, mark, symbol or unassigned: Unicode's
#: Default_Ignorable_Code_Point (except the two styles above), and blanks, joiners and selectors of single scripts.
_BLANK = frozenset(
    "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2065\u3164\uffa0"
    + "".join(map(chr, range(0xFE00, 0xFE0E)))
    + "".join(map(chr, range(0xFFF0, 0xFFF9)))
    + "".join(map(chr, range(0xE0100, 0xE01F0)))
    + "\u2800\u2d7f\U0001107f\U00013441\U00013442\U00016fe4\U0001bc9d\U0001d159"
)
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co"})
#: Characters that Python calls printable, but that are invisible or show only next to certain others.
_TO_LOOK_AT = re.compile(f"[{''.join(sorted(_BLANK))}{_TEXT_STYLE}{_EMOJI_STYLE}]")


def clean_text(text: str, limit: int = MAX_TEXT) -> str:
    """Remove invisible characters, unify line ends to a newline, and truncate to `limit` characters (with "…")."""
    if not _all_shows(text):
        text = re.sub(r"\r\n?|[\x0b\x0c\x85\u2028\u2029]", "\n", text).replace("\t", " ")
        text = "".join(_visible(text))
    return _truncated(text, limit)


def clean_name(text: str, limit: int = MAX_NAME) -> str:
    """Like `clean_text`, as one line with single spaces."""
    return _truncated(" ".join(clean_text(text).split()), limit)


def _truncated(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _all_shows(text: str) -> bool:
    """Whether nothing in a text needs to be removed or replaced, which holds for nearly all texts."""
    # Every character that `hides` is unprintable or in the set to check, and so is every joiner and selector.
    return text.replace("\n", "").isprintable() and (text.isascii() or _TO_LOOK_AT.search(text) is None)


def reveal(text: str) -> str:
    """Text on one line with nothing removed: each line end or invisible character is shown as `<U+…>`.

    For people who decide about a text and must see all of it.
    """
    between = _FLAGS.split(text)
    # Every other part is a flag.
    between[::2] = ["".join(map(_printable, _visible(part, _code_point))) for part in between[::2]]
    return "".join(between)


def _code_point(char: str) -> str:
    return f"<U+{ord(char):04X}>"


def _printable(part: str) -> str:
    return part if part.isprintable() or part in (_ZWNJ, _ZWJ) else _code_point(part)


def _visible(text: str, instead: Callable[[str], str] | None = None) -> list[str]:
    """The visible parts of a text, with the result of `instead` for each invisible character."""
    kept: list[str] = []
    for at, char in enumerate(text):
        shows = char
        if char == _BLACK_FLAG:
            shows = next((flag for flag in _TAGGED_FLAGS if text.startswith(flag, at)), char)
        elif char in (_ZWNJ, _ZWJ):
            if not _joins(char, kept[-1][-1] if kept else "", text[at + 1 : at + 2]):
                shows = ""
        elif char in (_TEXT_STYLE, _EMOJI_STYLE):
            if not (kept and _styled(kept[-1])):
                shows = ""
        elif hides(char):
            shows = ""
        if shows:
            kept.append(shows)
        elif instead is not None:
            kept.append(instead(char))
    return kept


def _joins(joiner: str, before: str, after: str) -> bool:
    """Whether a joiner is legitimate here: inside an emoji, or between letters of an Arabic or Indic script."""
    if not before or not after or hides(after):
        return False
    if joiner == _ZWJ and (_emoji(before) or before == _EMOJI_STYLE) and _emoji(after):
        return True
    return all(0x0600 <= ord(c) < 0x0E00 for c in (before, after))


def _emoji(char: str) -> bool:
    return unicodedata.category(char) == "So" or 0x1F000 <= ord(char) <= 0x1FAFF


def _styled(char: str) -> bool:
    """Whether a character can take a variation selector (text or emoji style)."""
    return char in "0123456789#*" or unicodedata.category(char[-1]) in ("So", "Sm", "Po", "Pd")


@lru_cache(maxsize=4096)
def hides(char: str) -> bool:
    """Whether a character is removed in any position."""
    return char != "\n" and (unicodedata.category(char) in _HIDDEN or char in _BLANK or _unassigned(char))


def _unassigned(char: str) -> bool:
    # Only noncharacters and the ignorable plane: emoji newer than this Python's Unicode data are unassigned too.
    code = ord(char)
    return code & 0xFFFE == 0xFFFE or 0xFDD0 <= code <= 0xFDEF or 0xE0000 <= code <= 0xE0FFF


#: A name, subject or file name: one line of at most `MAX_NAME` characters.
Name = Annotated[str, Others(), AfterValidator(clean_name)]
#: A name of the account itself, or a name that its owner chose.
OwnName = Annotated[str, Others(own=True), AfterValidator(clean_name)]
#: A message, description or document: at most `MAX_TEXT` characters, with line breaks.
Words = Annotated[str, Others(), AfterValidator(clean_text)]


@cache
def others_in(model: type[BaseModel]) -> frozenset[str]:
    """The names of a model's fields that are annotated with `Others`."""
    return frozenset(name for name, field in model.model_fields.items() if _marked(field))


@cache
def own_in(model: type[BaseModel]) -> frozenset[str]:
    """The names in `others_in` whose text the account's owner chose."""
    return frozenset(name for name, field in model.model_fields.items() if _marked(field, own=True))


def _marked(field: Any, *, own: bool = False) -> bool:
    """Whether a field, or a type nested in its annotation (list item, union member), is annotated with `Others`.

    `own`: with an `Others` whose `own` is set.
    """
    marks = [*getattr(field, "metadata", ()), *getattr(field, "__metadata__", ())]
    inner = [getattr(field, "annotation", None), *get_args(field)]
    found = (mark for mark in marks if isinstance(mark, Others))
    return any(mark.own or not own for mark in found) or any(
        _marked(each, own=own) for each in inner if each is not None
    )
