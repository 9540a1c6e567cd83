"""Normalization of names and texts for comparison: case, accents and invisible characters are ignored."""

from __future__ import annotations

import unicodedata

#: Letters whose stroke or ligature NFKD does not decompose.
_PLAIN = str.maketrans({"ø": "o", "ł": "l", "đ": "d", "ð": "d", "ı": "i", "æ": "ae", "œ": "oe", "þ": "th"})


def fold(text: str) -> str:
    """Normalize a text for comparison: no case, accents or invisible characters; runs of blanks become one space."""
    if text.isascii():
        return " ".join(text.casefold().split())
    parts = unicodedata.normalize("NFKD", text.casefold())
    kept = "".join(c for c in parts if not _accent(c)).translate(_PLAIN)
    return " ".join(unicodedata.normalize("NFC", kept).casefold().split())


def fold_name(name: str) -> str:
    """Normalize a name for an exact match: like `fold`, and without blanks and emoji.

    A name of emoji alone keeps them.
    """
    folded = fold(name)
    return "".join(c for c in folded if not (c == " " or _pictured(c))) or folded


def _pictured(char: str) -> bool:
    """Whether a character is an emoji or part of one: symbols, skin tones, keycaps, flags."""
    return unicodedata.category(char) in ("So", "Sk", "Me")


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
