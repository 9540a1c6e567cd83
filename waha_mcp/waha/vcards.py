"""Contact cards (vCards of any version), as people send them."""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Iterator
from typing import Any, NamedTuple


class CardFields(NamedTuple):
    """The data of a card for a person or business; texts unchanged. `others`: further numbers."""

    name: str | None
    phone: str | None
    others: tuple[str, ...] = ()
    email: str | None = None
    organization: str | None = None


#: Pictures, sounds and keys in a card, which are ignored and may be malformed.
_FILES = re.compile(r"^(?:\w+\.)?(?:PHOTO|LOGO|SOUND|KEY)[;:].*(?:\r?\n[ \t].*)*\r?\n", re.IGNORECASE | re.MULTILINE)
#: The maximum bytes of one card that are parsed.
_MOST = 200_000


def is_card(text: str) -> bool:
    return text.lstrip()[:12].upper().startswith("BEGIN:VCARD")


def cards_in(text: str) -> list[CardFields]:
    """The cards in a text; without those that cannot be parsed at all."""
    if not text:
        return []
    # Loaded for the first card, since it takes half as long as starting the server.
    from vobject import readComponents
    from vobject.base import VObjectError

    # It logs text that it cannot parse, which is part of a message; its modules set their own log levels.
    logging.getLogger("vobject.base").disabled = True
    found: list[CardFields] = []
    # What its parser raises on malformed cards.
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
