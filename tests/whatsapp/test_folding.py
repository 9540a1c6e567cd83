"""Folding: which names and texts count as the same, and which do not."""

from __future__ import annotations

import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waha_mcp.whatsapp.folding import fold, fold_name, fold_text, spell_name, spellings

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
        ("façade", "facade"),  # a cedilla is attached to its letter
        ("\ufb01ne", "fine"),
        ("a\u200bb\u2060c\u00adc", "abcc"),
        ("a\u00a0b", "a b"),
        # Vowel points: the first and the last class of them, and one in between.
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
        ("\ufe0e" + "a", "\ufe10" + "a"),  # next to the variation selectors
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


# Texts

#: Every character of Unicode except for the private use planes, which show nothing.
_TEXTS = st.text(st.characters(max_codepoint=0x1FFFF))


@pytest.mark.parametrize(
    ("written", "typed"),
    [
        ("Café", "CAFE"),
        ("Straße in İzmir", "strasse in izmir"),
        ("ırmak", "irmak"),
        ("Ещё ёлка", "еще елка"),
        ("Ґанок", "ганок"),
        ("Ὀδυσσεύς", "οδυσσευσ"),
        ("شَرِكَة أُخْرَى", "شركه اخري"),
        ("مـــرحبا إلى آخِره ٱلآن", "مرحبا الى اخره الان"),
        ("می\u200cخواهم کتاب", "ميخواهم كتاب"),
        ("۱۴۰۲ ٢٠٢٦ २०२६ ２０２６", "1402 2026 2026 2026"),
        ("שָׁלוֹם", "שלום"),
        ("ﾃﾞｰﾀ ラーメン", "でーた らーめん"),
        ("か\u3099", "が"),
        ("हँसी ज़रूर", "हंसी जरूर"),
        ("ｆｕｌｌ　ｗｉｄｔｈ", "full width"),
        ("don’t “stop” – now", 'don\'t "stop" - now'),
        ("👍🏽 ❤️", "👍 ❤"),
        ("a\u200bb\u00adc\u2060", "abc"),
        ("a\x00b \ud800c", "ab c"),
        (" a \n\t b\u00a0", "a b"),
        ("ﬁne ½", "fine 1⁄2"),
    ],
)
def test_what_people_write_in_several_ways_is_one_text(written: str, typed: str) -> None:
    assert fold_text(written) == fold_text(typed)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("мой", "мои"),
        ("か", "が"),
        ("कि", "क"),
        ("ก่", "ก"),
        ("தி", "த"),
        ("ש", "ס"),
        ("e", "е"),
        ("가", "각"),
        ("-", "_"),
    ],
)
def test_another_letter_is_another_text(one: str, other: str) -> None:
    assert fold_text(one) != fold_text(other)


@pytest.mark.slow
def test_each_character_is_folded_once_and_for_all() -> None:
    for code in range(sys.maxunicode + 1):
        once = fold_text(f"a{chr(code)}b")
        assert fold_text(once) == once, hex(code)


@given(_TEXTS)
def test_folding_twice_changes_nothing_more(text: str) -> None:
    once = fold_text(text)
    assert fold_text(once) == once


@given(_TEXTS)
def test_composed_and_decomposed_fold_the_same(text: str) -> None:
    assert fold_text(unicodedata.normalize("NFD", text)) == fold_text(unicodedata.normalize("NFC", text))


@given(st.text(st.characters(max_codepoint=0x7F)))
def test_a_text_of_ascii_folds_as_beside_any_other(text: str) -> None:
    assert fold_text(f"{text} é") == f"{fold_text(text)} e".strip()
