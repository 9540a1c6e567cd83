"""Detection of questions, in all scripts."""

from __future__ import annotations

import time
import unicodedata

import pytest

from waha_mcp.whatsapp.questions import _MARKS, question_in


@pytest.mark.parametrize(
    "text",
    [
        "Are you coming?",
        "Really?!",
        "¿Vienes",
        "你来吗？",
        "来る﹖",
        "هل تأتي؟",
        "Έρχεσαι;",
        "Έρχεσαι\u037e",
        "«Έρχεσαι»;",
        "Գալի՞ս ես",
        "ትመጣለህ፧",
        "What‽",
        "Sure⁇",
        "❓",
        "Have you seen https://example.com/a?",
        "Have you seen www.example.com？",
        "? https://example.com",
    ],
)
def test_a_question_mark_of_any_script_asks(text: str) -> None:
    assert question_in(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "No.",
        "https://example.com/a?b=1",
        "See HTTPS://example.com/?q=who&x=1 now",
        "www.example.com/?q=1",
        "one; two",
        "int x = 1;",
    ],
)
def test_marks_in_links_and_semicolons_of_other_scripts_ask_nothing(text: str) -> None:
    assert question_in(text) is None


def test_the_last_line_that_asks_is_the_question() -> None:
    assert question_in("Hello?\n  Can you come? \nSee https://example.com/?a\nThanks") == "Can you come?"


def test_all_punctuation_that_unicode_names_a_question_mark_is_known() -> None:
    named = {chr(each) for each in range(0x110000) if "QUESTION MARK" in unicodedata.name(chr(each), "")}
    assert {each for each in named if unicodedata.category(each) == "Po"} <= set(_MARKS)


@pytest.mark.parametrize("text", ["a" * 65_536, "www." * 16_000 + "?", "www." + "?" * 65_000 + " ", "α" + ")" * 65_000])
def test_the_longest_text_is_read_at_once(text: str) -> None:
    began = time.process_time()
    question_in(text)
    assert time.process_time() - began < 1.0
