"""Detection of questions, by the question marks of all scripts."""

from __future__ import annotations

import re

#: The question marks of Unicode: Latin (also doubled, inverted, reversed, full width, small, vertical), Greek,
#: Armenian, Arabic, Ethiopic, Coptic, Limbu, Vai, Bamum, Chakma, Adlam, and the emoji.
_MARKS = (
    "?\u00bf\u2047\u2048\u2049\u203d\u2e18\u2e2e\u2e54\uff1f\ufe56\ufe16\u037e\u055e\u061f\u1367\u2cfa\u2cfb\u1945\ua60f\ua6f7"
    "\U00011143\U0001e95f\u2753\u2754"
)
_MARK = re.compile(f"[{re.escape(_MARKS)}]")
#: A link, without the punctuation after it.
_LINK = re.compile(rf"\b(?:\w{{1,20}}://|www\.)\S*[^\s{re.escape(_MARKS)}]", re.IGNORECASE)
#: Greek words that end with a semicolon, which most keyboards produce instead of U+037E.
_GREEK = re.compile(r"[\u0370-\u03ff\u1f00-\u1fff]['\"»”’)\]]*\s*;(?=\s|$)")


def question_in(text: str) -> str | None:
    """The last line of a text that asks a question; None without one. Question marks inside links do not count."""
    for line in reversed(text.splitlines()):
        bare = _LINK.sub("", line)
        if _MARK.search(bare) or _GREEK.search(bare):
            return line.strip()
    return None
