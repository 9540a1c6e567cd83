"""A text formatted as WhatsApp shows it."""

from __future__ import annotations

import pytest
from markupsafe import escape

from tests.policy.common import HOSTILE
from waha_mcp.console.whatsapp_text import as_shown

SHOWN = {
    "*bold*": "<strong>bold</strong>",
    "_italic_ and ~struck~": "<em>italic</em> and <s>struck</s>",
    "*_both_*": "<strong><em>both</em></strong>",
    "`a *b*`": "<code>a *b*</code>",
    "```two\n*lines*```": "<code>two\n*lines*</code>",
    "(*bold*), *again*.": "(<strong>bold</strong>), <strong>again</strong>.",
    "- one\n* two": "• one\n• two",
    "> a *quote*\nand an answer": "<q>a <strong>quote</strong></q>\nand an answer",
    # Not formatted.
    "2*3*4 snake_case_name a~b~c": "2*3*4 snake_case_name a~b~c",
    "* not bold *": "• not bold *",
    "** __ ~~ ``": "** __ ~~ ``",
    "*one\nline*": "*one\nline*",
    "*open": "*open",
    "**twice**": "*<strong>twice</strong>*",
    "_a*b_": "<em>a*b</em>",
    "*a _b* c_": "<strong>a _b</strong> c_",
    ">tight": "&gt;tight",
    "-5 or - ": "-5 or - ",
    "*<b>*": "<strong>&lt;b&gt;</strong>",
    "{{7*7}} {% raw %}": "{{7*7}} {% raw %}",
}


@pytest.mark.parametrize("text", SHOWN)
def test_a_text_is_shown_as_whatsapp_shows_it(text: str) -> None:
    assert as_shown(text) == SHOWN[text]


@pytest.mark.parametrize(
    "text",
    [
        *HOSTILE,
        "*" * 5_000,
        "*a_b~" * 2_000,
        "```" * 999,
        "_*" * 3_000 + "a" + "*_" * 3_000,
        " *a" * 20_000,
        "*a* " * 15_000,
    ],
)
def test_whatever_it_is_its_words_stay_and_no_element_comes_in(text: str) -> None:
    shown = as_shown(text)
    for tag in ("strong", "em", "s", "code", "q"):
        assert shown.count(f"<{tag}>") == shown.count(f"</{tag}>")
        shown = shown.replace(f"<{tag}>", "").replace(f"</{tag}>", "")
    assert "<" not in shown
    assert set(str(escape(text))) - set(shown) <= set("*_~`->")
