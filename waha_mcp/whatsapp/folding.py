"""Comparing names and texts as people do: case, accents and invisible marks make no difference."""

from __future__ import annotations

import unicodedata

#: Letters whose stroke or ligature Unicode does not take apart.
_PLAIN = str.maketrans({"ø": "o", "ł": "l", "đ": "d", "ð": "d", "ı": "i", "æ": "ae", "œ": "oe", "þ": "th"})


def fold(text: str) -> str:
    """The text as it is compared: without case, accents and invisible characters, with single blanks."""
    if text.isascii():
        return " ".join(text.casefold().split())
    parts = unicodedata.normalize("NFKD", text.casefold())
    kept = "".join(c for c in parts if not _accent(c)).translate(_PLAIN)
    return " ".join(unicodedata.normalize("NFC", kept).casefold().split())


def fold_name(name: str) -> str:
    """A name as it is compared where it must be the very one: as `fold`, and without blanks and emoji.

    A name that is nothing but emoji stays as it is.
    """
    folded = fold(name)
    return "".join(c for c in folded if not (c == " " or _pictured(c))) or folded


def _pictured(char: str) -> bool:
    """Whether a character is an emoji or a part of one: symbols, skin tones, keycaps, flags."""
    return unicodedata.category(char) in ("So", "Sk", "Me")


def _accent(char: str) -> bool:
    """Whether a character only colours the one before it.

    Accents of European scripts and the vowel points of Hebrew and Arabic do; marks that make another letter in
    other scripts (voicing in Japanese, vowels in Indic scripts, tones in Thai) do not.
    """
    weight = unicodedata.combining(char)
    return weight >= 200 or 10 <= weight <= 36 or unicodedata.category(char) == "Cf" or 0xFE00 <= ord(char) <= 0xFE0F


def words(text: str) -> list[str]:
    """The folded words of a query."""
    return fold(text).split()
