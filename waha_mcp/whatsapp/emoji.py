"""Emoji: what WhatsApp shows as a reaction, and the names that people and programs use for the common ones."""

from __future__ import annotations

import re
import unicodedata

#: Code points with the property Emoji (Unicode 17), and the blocks in which new ones are added.
_BASE = (
    "[\u00a9\u00ae\u203c\u2049\u2122\u2139\u2194-\u2199\u21a9\u21aa\u231a\u231b\u2328\u23cf\u23e9-\u23f3\u23f8-\u23fa"
    "\u24c2\u25aa\u25ab\u25b6\u25c0\u25fb-\u25fe\u2600-\u2604\u260e\u2611\u2614\u2615\u2618\u261d\u2620\u2622\u2623"
    "\u2626\u262a\u262e\u262f\u2638-\u263a\u2640\u2642\u2648-\u2653\u265f\u2660\u2663\u2665\u2666\u2668\u267b\u267e"
    "\u267f\u2692-\u2697\u2699\u269b\u269c\u26a0\u26a1\u26a7\u26aa\u26ab\u26b0\u26b1\u26bd\u26be\u26c4\u26c5\u26c8"
    "\u26ce\u26cf\u26d1\u26d3\u26d4\u26e9\u26ea\u26f0-\u26f5\u26f7-\u26fa\u26fd\u2702\u2705\u2708-\u270d\u270f\u2712"
    "\u2714\u2716\u271d\u2721\u2728\u2733\u2734\u2744\u2747\u274c\u274e\u2753-\u2755\u2757\u2763\u2764\u2795-\u2797"
    "\u27a1\u27b0\u27bf\u2934\u2935\u2b05-\u2b07\u2b1b\u2b1c\u2b50\u2b55\u3030\u303d\u3297\u3299"
    "\U0001f004\U0001f0cf\U0001f170\U0001f171\U0001f17e\U0001f17f\U0001f18e\U0001f191-\U0001f19a\U0001f201\U0001f202"
    "\U0001f21a\U0001f22f\U0001f232-\U0001f23a\U0001f250\U0001f251\U0001f300-\U0001f64f\U0001f680-\U0001f6ff"
    "\U0001f7e0-\U0001f7eb\U0001f7f0\U0001f90c-\U0001f9ff\U0001fa70-\U0001faff]"
)
_SIGN = f"{_BASE}\ufe0f?[\U0001f3fb-\U0001f3ff]?"
#: The flags of England, Scotland and Wales. Other tag sequences, which could hide text, are not accepted.
_REGIONS = "|".join("".join(chr(0xE0000 + ord(letter)) for letter in name) for name in ("gbeng", "gbsct", "gbwls"))
#: One emoji: a symbol or several joined ones, a flag of two letters or of a region, or a keycap.
_ONE = re.compile(
    f"{_SIGN}(?:\u200d{_SIGN}){{0,4}}|[\U0001f1e6-\U0001f1ff]{{2}}|\U0001f3f4(?:{_REGIONS})\U000e007f|[0-9#*]\ufe0f?\u20e3"
)

_NAMES = {
    "👍": "thumbs up, thumbsup, thumb up, +1, like",
    "👎": "thumbs down, thumbsdown, thumb down, -1, dislike",
    "❤️": "heart, red heart, love, <3",
    "😂": "joy, laugh, laughing, lol, haha, tears of joy",
    "🤣": "rofl, rolling on the floor laughing",
    "😊": "smile, smiling, blush",
    "🙂": "slight smile, :)",
    "😀": "grin, grinning",
    "😉": "wink, ;)",
    "😍": "heart eyes",
    "😘": "kiss, kissing heart",
    "😎": "cool, sunglasses",
    "😮": "wow, surprised, open mouth",
    "😢": "cry, crying, sad",
    "😭": "sob, sobbing",
    "😠": "angry",
    "🤔": "thinking, think, hmm",
    "🤷": "shrug",
    "🤗": "hug, hugs, hugging",
    "🙏": "pray, folded hands, thanks, thank you",
    "👏": "clap, applause, clapping hands",
    "🙌": "raised hands, hooray",
    "👌": "ok, okay, ok hand",
    "👋": "wave, waving hand",
    "💪": "muscle, flexed biceps",
    "🎉": "tada, party, celebrate, party popper, congratulations",
    "🔥": "fire",
    "💯": "100, hundred, hundred points",
    "✅": "check, check mark, tick, done, white check mark",
    "❌": "x, cross, cross mark",
    "⭐": "star",
    "🚀": "rocket",
    "👀": "eyes",
    "⚠️": "warning",
    "❓": "question, question mark",
    "💔": "broken heart",
    "🎂": "cake, birthday, birthday cake",
}
_BY_NAME = {name: emoji for emoji, names in _NAMES.items() for name in names.split(", ")}


def emoji_of(text: str) -> str:
    """The emoji that a text is or names, such as 👍 for "thumbs up" or ":+1:"; an empty text stays empty.

    Common names and Unicode's own names are accepted.

    Raises:
        ValueError: not an emoji, or more than one.
    """
    text = text.strip()
    if not text or _ONE.fullmatch(text):
        return text
    name = text if text in _BY_NAME else text.strip(":").lower()
    spaced = " ".join(name.replace("_", " ").split())
    if found := _BY_NAME.get(name) or _BY_NAME.get(spaced) or _BY_NAME.get(spaced.replace("-", " ")):
        return found
    try:
        found = unicodedata.lookup(spaced)
    except KeyError:
        found = ""
    if not _ONE.fullmatch(found):
        raise ValueError("must be one emoji, such as 👍, or its name, such as thumbs up; empty takes the reaction back")
    return found
