"""Contact cards (vCards of any version), as people send them."""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Iterator
from typing import Any, NamedTuple


class CardFields(NamedTuple):
    """What a card tells of a person or firm; texts as they stand there. `others`: further numbers."""

    name: str | None
    phone: str | None
    others: tuple[str, ...] = ()
    email: str | None = None
    organization: str | None = None


#: Pictures, sounds and keys in a card, of which nothing is told, and which may be broken.
_FILES = re.compile(r"^(?:\w+\.)?(?:PHOTO|LOGO|SOUND|KEY)[;:].*(?:\r?\n[ \t].*)*\r?\n", re.IGNORECASE | re.MULTILINE)
#: Most bytes of one card that are parsed.
_MOST = 200_000


def is_card(text: str) -> bool:
    return text.lstrip()[:12].upper().startswith("BEGIN:VCARD")


def cards_in(text: str) -> list[CardFields]:
    """The cards in a text; without those that cannot be parsed at all."""
    if not text:
        return []
    # Loaded when the first card comes: it costs as much as half the server's start.
    from vobject import readComponents
    from vobject.base import VObjectError

    # It logs what it cannot parse, which is somebody's message; its modules have levels of their own.
    logging.getLogger("vobject.base").disabled = True
    found: list[CardFields] = []
    # What its parser raises on bad ones.
    with contextlib.suppress(VObjectError, ValueError, TypeError, AttributeError, LookupError):
        cards = readComponents(_FILES.sub("", text[:_MOST]), ignoreUnreadable=True, allowQP=True)
        found.extend(_fields(each.contents) for each in cards)
    return found


def _fields(contents: dict[str, list[Any]]) -> CardFields:
    phones = list(_texts(contents, "tel"))
    names = [*_texts(contents, "fn"), *_texts(contents, "n"), *_texts(contents, "nickname")]
    return CardFields(
        name=next(iter(names), None),
        phone=next(iter(phones), None),
        others=tuple(phones[1:]),
        email=next(_texts(contents, "email"), None),
        organization=next(_texts(contents, "org"), None),
    )


def _texts(contents: dict[str, list[Any]], name: str) -> Iterator[str]:
    for each in contents.get(name, ()):
        value = each.value
        text = ", ".join(filter(None, value)) if isinstance(value, list) else str(value)
        if text := " ".join(text.split()).strip(" ;,"):
            yield text
