"""Text that other people wrote, made harmless to print and to hand to an agent.

Every field of a result that carries such text has one of the types here. What they remove is what a person would not
see on a phone but an agent would read: control, zero-width, bidi and tag characters, lone surrogates, private use.
Emoji sequences stay whole and right-to-left text stays readable: its letters order themselves.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, get_args

from pydantic import AfterValidator, BaseModel

#: Characters of a name, a subject, a file name; of a text (WhatsApp itself takes no more).
MAX_NAME, MAX_TEXT = 120, 65_536


@dataclass(frozen=True)
class Others:
    """Marks text that other people wrote: data, never instructions."""


_PLAIN = re.compile(r"[\n\x20-\x7e]*")
_ZWNJ, _ZWJ, _TEXT_STYLE, _EMOJI_STYLE, _BLACK_FLAG = "\u200c", "\u200d", "\ufe0e", "\ufe0f", "\U0001f3f4"
#: Flags whose emoji is spelled with tag characters; any other tag could spell hidden words.
_TAGGED_FLAGS = tuple(
    _BLACK_FLAG + "".join(chr(0xE0000 + ord(c)) for c in region) + "\U000e007f"
    for region in ("gbeng", "gbsct", "gbwls")
)
_FLAGS = re.compile(f"({'|'.join(_TAGGED_FLAGS)})")
#: Letters and marks by category that nevertheless show nothing.
_BLANK = frozenset(
    "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0"
    + "".join(map(chr, range(0xFE00, 0xFE0E)))
    + "".join(map(chr, range(0xE0100, 0xE01F0)))
)
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co"})


def clean_text(text: str, limit: int = MAX_TEXT) -> str:
    """Text of several lines, without what hides in it, at most `limit` characters."""
    if not _PLAIN.fullmatch(text):
        text = re.sub(r"\r\n?|[\x0b\x0c\x85\u2028\u2029]", "\n", text).replace("\t", " ")
        text = "".join(_visible(text))
    return text if len(text) <= limit else text[: limit - 1] + "…"


def clean_name(text: str, limit: int = MAX_NAME) -> str:
    """The same as one line, without blanks around it."""
    return clean_text(" ".join(clean_text(text).split()), limit)


def reveal(text: str) -> str:
    """Text on one line in which nothing is taken out: each character that ends a line or hides is its `<U+…>`.

    For people who decide about a text, and have to see all of it.
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
    """The parts of a text that show; for each character that does not, what `instead` makes of it."""
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
        elif _hides(char):
            shows = ""
        if shows:
            kept.append(shows)
        elif instead is not None:
            kept.append(instead(char))
    return kept


def _joins(joiner: str, before: str, after: str) -> bool:
    """Whether a joiner does its work here: inside an emoji, or between letters of a script that needs it."""
    if not before or not after or _hides(after):
        return False
    if joiner == _ZWJ and (_emoji(before) or before == _EMOJI_STYLE) and _emoji(after):
        return True
    return all(0x0600 <= ord(c) < 0x0E00 for c in (before, after))


def _emoji(char: str) -> bool:
    return unicodedata.category(char) == "So" or 0x1F000 <= ord(char) <= 0x1FAFF


def _styled(char: str) -> bool:
    """Whether a character has a text and an emoji style."""
    return char in "0123456789#*" or unicodedata.category(char[-1]) in ("So", "Sm", "Po", "Pd")


def _hides(char: str) -> bool:
    """Whether a character is to be taken out wherever it stands."""
    return char != "\n" and (unicodedata.category(char) in _HIDDEN or char in _BLANK or _unassigned(char))


def _unassigned(char: str) -> bool:
    # Emoji newer than this Python are unassigned too; what is taken out are non-characters and the ignorable plane.
    code = ord(char)
    return code & 0xFFFE == 0xFFFE or 0xFDD0 <= code <= 0xFDEF or 0xE0000 <= code <= 0xE0FFF


#: A name, a subject, a file name: one short line.
Name = Annotated[str, Others(), AfterValidator(clean_name)]
#: A message, a description, a document: lines of text.
Words = Annotated[str, Others(), AfterValidator(clean_text)]


@cache
def others_in(model: type[BaseModel]) -> frozenset[str]:
    """The fields of a model that hold what other people wrote."""
    return frozenset(name for name, field in model.model_fields.items() if _marked(field))


def models_in(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """A model and all that its fields are made of."""
    found, left = {model}, [model]
    while left:
        current = left.pop()
        yield current
        inner = [each for field in current.model_fields.values() for each in _models_of(field.annotation)]
        left += [each for each in dict.fromkeys(inner) if each not in found]
        found.update(inner)


def _models_of(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models_of(inner)


def _marked(field: Any) -> bool:
    """Whether a field, or a list or union that it is, carries the mark `Others`."""
    marks = [*getattr(field, "metadata", ()), *getattr(field, "__metadata__", ())]
    inner = [getattr(field, "annotation", None), *get_args(field)]
    return any(isinstance(mark, Others) for mark in marks) or any(_marked(each) for each in inner if each is not None)
