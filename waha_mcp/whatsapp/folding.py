"""Normalization of names and texts for comparison: case, accents and invisible characters are ignored."""

from __future__ import annotations

import unicodedata
from functools import lru_cache

#: Letters whose stroke or ligature NFKD does not decompose.
_PLAIN = str.maketrans({"ø": "o", "ł": "l", "đ": "d", "ð": "d", "ı": "i", "æ": "ae", "œ": "oe", "þ": "th"})


@lru_cache(maxsize=4096)
def fold(text: str) -> str:
    """Normalize a text for comparison: no case, accents or invisible characters; runs of blanks become one space."""
    if text.isascii():
        return " ".join(text.casefold().split())
    return _folded(unicodedata.normalize("NFKD", text.casefold()))


def _folded(parts: str) -> str:
    kept = "".join(c for c in parts if not _accent(c)).translate(_PLAIN)
    return " ".join(unicodedata.normalize("NFC", kept).casefold().split())


def fold_name(name: str) -> str:
    """Normalize a name for an exact match: like `fold`, and without blanks and emoji. A name of emoji alone keeps them.

    Letters of other forms (full-width, mathematical, circled) stay what they are: they look like others.
    """
    folded = fold(name) if name.isascii() else _folded(unicodedata.normalize("NFD", name.casefold()))
    return (
        "".join(c for c in folded if not (c == " " or _pictured(c) or unicodedata.category(c) in ("Sk", "Me")))
        or folded
    )


@lru_cache(maxsize=4096)
def spell_name(name: str) -> str:
    """Normalize a name as somebody wrote it: without case, blanks and emoji, but with accents and what does not show.

    A name means those whose saved name has this spelling, or has it as its `fold_name`: accents may be left out, and
    none may be added. A name of emoji alone keeps them.
    """
    if name.isascii():
        return "".join(name.lower().split())
    lowered = unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).lower())
    kept: list[str] = []
    in_emoji = False
    for char in lowered:
        if _pictured(char) or (in_emoji and unicodedata.category(char) == "Cf"):
            in_emoji = True
        else:
            in_emoji = False
            if not char.isspace():
                kept.append(char)
    return "".join(kept) or fold_name(name)


def spellings(name: str) -> set[str]:
    """The spellings (by `spell_name`) that mean a saved name; none for one that shows nothing, as a lone accent."""
    folded = fold_name(name)
    return {spell_name(name), folded} if folded else set()


def _pictured(char: str) -> bool:
    """Whether a character is an emoji or part of one: a symbol, a skin tone, a flag. A letter in a circle is none."""
    if 0xFE00 <= ord(char) <= 0xFE0F or 0x1F3FB <= ord(char) <= 0x1F3FF:
        return True
    if unicodedata.category(char) != "So":
        return False
    name = unicodedata.name(char, "")
    letter = any(f" {size} LETTER " in name for size in ("CAPITAL", "SMALL"))
    return not letter and not any(c.isalnum() for c in unicodedata.normalize("NFKD", char))


def _accent(char: str) -> bool:
    """Whether a character is a mark that comparison ignores, or invisible.

    Ignored: accents of European scripts, vowel points of Hebrew and Arabic. Kept: marks that make a different letter
    (voicing in Japanese, vowels in Indic scripts, tones in Thai).
    """
    weight = unicodedata.combining(char)
    return weight >= 200 or 10 <= weight <= 36 or unicodedata.category(char) == "Cf" or 0xFE00 <= ord(char) <= 0xFE0F


def words(text: str) -> list[str]:
    """The folded words of a query."""
    return fold(text).split()


def fold_text(text: str) -> str:
    """Normalize a text of a message for the search."""
    return fold(text)
