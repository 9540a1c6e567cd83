"""Folding: which names and texts count as the same, and which do not."""

from __future__ import annotations

import pytest

from waha_mcp.whatsapp.folding import fold, fold_name, spell_name, spellings, words

SCOTLAND = "\U0001f3f4\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f"


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("  Maya \t LINDQVIST ", "maya lindqvist"),
        ("Zoë", "zoe"),
        ("Zoe\u0308", "zoe"),
        ("Łukasz Øre", "lukasz ore"),
        ("Ægir Þór", "aegir thor"),
        ("STRASSE", fold("straße")),
        ("façade", "facade"),  # a cedilla hangs on its letter
        ("\ufb01ne", "fine"),
        ("a\u200bb\u2060c\u00adc", "abcc"),
        ("a\u00a0b", "a b"),
        # Vowel points: the first and the last class of them, and one between.
        ("\u05d0\u05b0", "\u05d0"),
        ("\u0645\u064e", "\u0645"),
        ("\u0710\u0711", "\u0710"),
        # All variation selectors.
        *((f"a{chr(code)}b", "ab") for code in range(0xFE00, 0xFE10)),
    ],
)
def test_case_accents_and_what_does_not_show_make_no_difference(text: str, folded: str) -> None:
    assert fold(text) == folded


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("か", "が"),  # voicing, class 8
        ("क", "क्"),  # virama, class 9
        ("ก", "กุ"),  # a vowel below, class 103
        ("ก", "ก่"),  # tone, class 107
        ("е", "e"),  # Cyrillic
        ("й", "и"),
        ("a", "b"),
        ("\ufe0e" + "a", "\ufe10" + "a"),  # beside the variation selectors
        ("\ufdff" + "a", "a"),
        ("क", "कि"),
    ],
)
def test_marks_that_make_another_letter_stay(one: str, other: str) -> None:
    if (one, other) == ("й", "и"):
        assert fold(one) == fold(other)  # a breve is an accent
    else:
        assert fold(one) != fold(other)


@pytest.mark.parametrize(
    "written",
    ["Mum", "mum", "M u m", "Mum ❤️", "❤️ Mum", "Mum 👩🏽\u200d🦱", "Mum 🏽", "Mum 🇩🇪", "M\u20e3um", "Müm", "Mum`"],
)
def test_a_name_is_the_same_without_blanks_and_emoji(written: str) -> None:
    assert fold_name(written) == "mum"


@pytest.mark.parametrize("written", ["Mumm", "Mu", "Mum1", "Mum.", "М\u0443m", "Mum-"])
def test_a_name_with_other_letters_digits_or_signs_is_another(written: str) -> None:
    assert fold_name(written) != "mum"


def test_a_name_of_nothing_but_emoji_stays_as_it_is() -> None:
    assert fold_name("❤️") == "❤"
    assert fold_name("❤️ 🥾") == "❤ 🥾"
    assert fold_name("❤️") != fold_name("🥾")


@pytest.mark.parametrize(
    "written",
    [
        "Mum", "mum", "M u\u00a0m", "Mum ❤️", "Mum 👩🏽\u200d🦱", "Mum 🏽", "Mum 🇩🇪", f"{SCOTLAND} Mum",
        "Mum\ufe00", "Mum\ufe0f", "Mum\U0001f3fb", "Mum\U0001f3ff",  # the first and the last of their kinds
    ],
)  # fmt: skip
def test_a_spelling_leaves_case_blanks_and_emoji_aside(written: str) -> None:
    assert spell_name(written) == "mum"


@pytest.mark.parametrize(
    "written",
    [
        "Müm", "Mu\u0332m", "M\u20e3um", "Mum`", "Mu\u200dm", "Mum\u200d", "ⓂUM", "\U0001f17cum",
        "❤Mumm", "Mum❤a",  # a letter after an emoji
        "Mum\U0001f170", "Mum\u24d0",  # letters in a square and in a circle
        "Mum\u32d0", "Mum\u3200",  # a syllable in a circle, one in parentheses
        "Mum\ufe10",
    ],
)  # fmt: skip
def test_a_spelling_keeps_whatever_makes_it_another(written: str) -> None:
    assert spell_name(written) != "mum"
    assert spell_name(written) in spellings(written)


@pytest.mark.parametrize(
    ("saved", "others"),
    [
        ("Zoë ❤️", {"zoë", "zoe"}),
        ("Weiß", {"weiß", "weiss"}),
        ("\uff2d\uff55\uff4d", {"\uff4d\uff55\uff4d"}),
        ("\u24c2um", {"\u24dcum"}),
        ("❤️", {"❤"}),
        ("\u0301", set()),
        ("\u200b", set()),
    ],
)
def test_a_saved_name_goes_by_its_spelling_and_by_the_one_without_accents(saved: str, others: set[str]) -> None:
    assert spellings(saved) == others


def test_the_words_of_a_query_are_folded() -> None:
    assert words("  Zoë  MARTIN ") == ["zoe", "martin"]
