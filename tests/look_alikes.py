"""Names that look like "Mum" and are not, by how they differ."""

from __future__ import annotations

ALIKE = {
    "Cyrillic": "M\u0443m",
    "Greek": "\u039cum",
    "Armenian": "M\u057dm",
    "full-width": "\uff2d\uff55\uff4d",
    "one full-width letter": "Mu\uff4d",
    "mathematical": "\U0001d5e0\U0001d602\U0001d5fa",
    "double-struck": "\U0001d544\U0001d566\U0001d55e",
    "circled": "\u24c2um",
    "squared": "\U0001f17cum",
    "an accent": "M\u00fam",
    "a combining accent": "Mu\u0301m",
    "a combining line": "Mu\u0332m",
    "a strike": "Mu\u0336m",
    "an enclosing mark": "Mu\u20e3m",
    "a spacing accent": "Mum\u00b4",
    "a mark within": "Mu\u00b4m",
    "zero width": "Mu\u200bm",
    "a word joiner": "Mu\u2060m",
    "a joiner": "Mu\u200dm",
    "a mark of direction": "\u200eMum",
    "a tag": "Mum\U000e0061",
    "a filler": "Mu\u3164m",
    "a soft hyphen": "Mu\u00adm",
    "a digit": "Mu1n",
}
