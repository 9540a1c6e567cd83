"""Normalization for comparison: case, accents and invisible characters are ignored.

`fold` and its derivatives decide whom a name means; `fold_text` only what a search finds, so it ignores more.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from functools import lru_cache

from waha_mcp.whatsapp.untrusted import hides

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

    Letters of other forms (full-width, mathematical, circled) stay distinct, since they only look like others.
    """
    folded = fold(name) if name.isascii() else _folded(unicodedata.normalize("NFD", name.casefold()))
    return (
        "".join(c for c in folded if not (c == " " or _pictured(c) or unicodedata.category(c) in ("Sk", "Me")))
        or folded
    )


@lru_cache(maxsize=4096)
def spell_name(name: str) -> str:
    """Normalize a name as written: without case, blanks and emoji, but with accents and invisible characters.

    A name means everyone whose saved name has this spelling, or has it as its `fold_name`: accents may be omitted but
    not added. A name of emoji alone keeps them.
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
    """The spellings (by `spell_name`) that mean a saved name; none for an invisible one, such as a lone accent."""
    folded = fold_name(name)
    return {spell_name(name), folded} if folded else set()


def _pictured(char: str) -> bool:
    """Whether a character is an emoji or part of one: a symbol, a skin tone, a flag. A circled letter is not."""
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


# Texts


def fold_text(text: str) -> str:
    """Normalize a text for the search: variant spellings become the same, including marks that people leave out.

    Beyond what `fold` ignores, it unifies digits of any script, typographic quotes, apostrophes and dashes, skin tones,
    the forms of Arabic and Persian letters, katakana for hiragana. Marks that make a different letter are kept: vowels
    of Indic scripts, tones in Thai, voicing in Japanese, the Cyrillic short i. Folding twice changes nothing more.
    """
    if text.isascii() and text.isprintable():
        return " ".join(text.lower().split())
    folded = unicodedata.normalize("NFC", text).translate(_LETTERS)
    return " ".join(unicodedata.normalize("NFC", folded).split())


#: Letters and signs that are equivalent, besides those that NFKD and case folding cover.
_ALIKE: Mapping[str, str] = (
    {chr(code): letter for code, letter in _PLAIN.items()}
    # Latin, Cyrillic
    | dict(zip("ħŧŀґѝ", "htlги", strict=True))
    # Arabic: alef wasla, teh marbuta, alef maksura; the yeh, keheh and heh of Persian, Urdu and Kurdish; tatweel
    | dict.fromkeys("ٱ", "ا")
    | dict.fromkeys("ىیې", "ي")
    | dict.fromkeys("کڪ", "ك")
    | dict.fromkeys("ةہھەۃ", "ه")
    | dict.fromkeys("ـ", "")
    # Devanagari: the dot below; the moon above with its dot as the dot alone
    | {"\u093c": "", "\u0901": "\u0902"}
    # Japanese: katakana as their hiragana; the wave dash as the tilde
    | {chr(code): chr(code - 0x60) for code in (*range(0x30A1, 0x30F7), 0x30FD, 0x30FE)}
    | dict.fromkeys("\u301c", "~")
    # Quotes, apostrophes, dashes; skin tones
    | dict.fromkeys("\u2018\u2019\u201a\u201b\u02bc\u02b9\u2032\u00b4\u05f3", "'")
    | dict.fromkeys("\u201c\u201d\u201e\u201f\u00ab\u00bb\u2033\u05f4", '"')
    | dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212", "-")
    | dict.fromkeys(map(chr, range(0x1F3FB, 0x1F400)), "")
)
#: Composed letters that differ from their base, although their mark is ignored elsewhere.
_WHOLE = frozenset("йў")


class _Letters(dict[int, str]):
    """The replacement of each character, computed on first use."""

    def __missing__(self, code: int) -> str:
        folded = self[code] = _letter(chr(code))
        return folded


def _letter(char: str) -> str:
    if char.isspace():
        return " "
    if char in _ALIKE:
        return _ALIKE[char]
    if char in _WHOLE:
        return char
    if _accent(char) or hides(char):
        return ""
    if char.isdecimal():
        return str(unicodedata.decimal(char))
    lowered = char.casefold()
    parts = lowered if lowered in _WHOLE else unicodedata.normalize("NFKD", lowered)
    return char if parts == char else unicodedata.normalize("NFC", parts.translate(_LETTERS))


_LETTERS = _Letters()
