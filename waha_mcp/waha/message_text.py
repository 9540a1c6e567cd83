"""The words of a raw message that a person sees, for messages of any kind, including unknown ones.

Engines nest and spell the same fields differently (Baileys `hydratedTemplate`, Go `Format.HydratedFourRowTemplate`,
WhatsApp Web `interactiveHeader`), so field names are compared without case, wherever they are in the message.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

#: Fields whose text is shown, in lower case, in display order: titles, then texts, then footers.
_PLACES = {
    **dict.fromkeys(
        ("title", "hydratedtitletext", "headertext", "ordertitle", "groupname", "invitegrpname", "newslettername",
         "pollname", "eventname", "eventtitle", "name", "interactiveheader", "header"), 0),
    **dict.fromkeys(("subtitle", "publisher", "author"), 1),
    **dict.fromkeys(
        ("text", "caption", "body", "contenttext", "hydratedcontenttext", "conversation", "selecteddisplaytext",
         "comment", "message", "note", "invitemessage", "messagetext", "codecontent", "items", "description",
         "eventdescription", "quarantineextractedtext", "fallbacktext", "optionname"), 2),
    **dict.fromkeys(("footer", "footertext", "hydratedfootertext"), 4),
    **dict.fromkeys(("buttontext", "buttonparamsjson", "joinlink", "url"), 5),
}  # fmt: skip
#: The place of an object that has none of its own.
_BETWEEN = 3
#: Parts without words of the message itself, in lower case: other messages, files, keys, tappable choices.
_OTHERS = frozenset(
    ("contextinfo", "messagecontextinfo", "quotedmessage", "quotedmsg", "quotedquestion", "key", "options", "pollvotes",
     "location", "eventlocation", "hydratedbuttons", "dynamicreplybuttons", "sections", "params", "stickers",
     "unifiedresponse")
)  # fmt: skip
#: Objects that are files: their captions, and the name of a document, count as words.
_FILE = "mimetype"
_MOST_DEPTH, _MOST_LINES, _MOST_JSON = 12, 60, 200_000
#: The first characters of pictures in base64: JPEG, PNG, WebP, GIF.
_PICTURE = re.compile(r"(?:data:[\w/+.-]+;base64,)?(?:/9j/|iVBORw0KGgo|UklGR|R0lGOD)[\w+/=\s-]{12,}")


def is_picture(text: str) -> bool:
    """Whether a text is a picture in base64: some engines put a thumbnail where the text belongs."""
    return _PICTURE.fullmatch(text) is not None


def words_in(part: Mapping[str, Any]) -> list[str]:
    """The texts of a raw message or a part of it, in display order, without duplicates."""
    found: dict[str, None] = {}
    for text in _words(part, _MOST_DEPTH):
        found.setdefault(text)
        if len(found) == _MOST_LINES:
            break
    return list(found)


def _words(part: Mapping[str, Any], depth: int) -> Iterator[str]:
    named = [(name.lower(), value) for name, value in part.items() if isinstance(name, str)]
    if any(name in ("buttonid", "displaytext", "paramsjson") for name, _ in named):
        return  # a button: see `choices_of`; or what WhatsApp sends with the answer to one
    if any(name == "buttonparamsjson" for name, _ in named):
        named = [(name, value) for name, value in named if name == "buttonparamsjson"]
    is_file = any(name == _FILE for name, _ in named)
    for name, value in sorted(named, key=lambda field: _PLACES.get(field[0], _BETWEEN)):
        if name in _OTHERS or "thumb" in name or name.endswith(("key", "jid")):
            continue
        if is_file and name not in ("caption",):
            continue
        if name == "buttonparamsjson":
            yield from _in_button(value)
        elif isinstance(value, str):
            if name in _PLACES and value.strip() and not is_picture(value) and (name != "url" or _is_link(value)):
                yield value.strip()
        elif depth and isinstance(value, dict):
            yield from _words(value, depth - 1)
        elif depth and isinstance(value, list):
            yield from _in_list(name, value, depth - 1)


def _in_button(text: Any) -> Iterator[str]:
    """The words of a button that opens a list or an order: its label, and the order's number and items."""
    try:
        found = json.loads(text) if isinstance(text, str) and len(text) <= _MOST_JSON else None
    except (ValueError, RecursionError):
        return
    params = found if isinstance(found, dict) else {}
    if isinstance(params.get("sections"), list) and isinstance(params.get("title"), str):
        yield params["title"]
    if isinstance(params.get("reference_id"), str):
        yield params["reference_id"]
    order = params.get("order")
    items = order.get("items") if isinstance(order, dict) else None
    for each in items if isinstance(items, list) else ():
        if isinstance(each, dict) and isinstance(each.get("name"), str):
            yield each["name"]


def _is_link(text: str) -> bool:
    """Whether a URL is meant for people, rather than a file on WhatsApp's servers."""
    return text.startswith(("http://", "https://")) and ".whatsapp.net/" not in text


def _in_list(name: str, values: list[Any], depth: int) -> Iterator[str]:
    for each in values:
        if isinstance(each, dict):
            yield from _words(each, depth)
        elif isinstance(each, str) and name == "items" and each.strip():
            yield each.strip()


def joined(text: str | None, words: list[str]) -> str | None:
    """A message's text plus the words missing from it: titles before it, everything else after it."""
    if text is None:
        return "\n".join(words) or None
    missing = [each for each in words if each not in text]
    if not missing:
        return text
    if text in words:
        return "\n".join(words)
    return "\n".join([text, *missing])
