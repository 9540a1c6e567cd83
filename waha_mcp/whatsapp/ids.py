"""Chat ids, phone numbers and message ids, in the forms that WAHA takes and gives.

A chat id is `<number>@c.us` (a person), `<number>@lid` (the same person's hidden id), `<id>@g.us` (a group),
`<id>@newsletter` (a channel), `status@broadcast` (status stories) or `<id>@broadcast` (a broadcast list).
A message id is `{true|false}_{chat id}_{ID}[_{participant}]`; true means that the session's owner wrote it.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_CHAT_ID = re.compile(
    r"(?P<user>[0-9]{1,20})(?::[0-9]+)?@(?P<person>c\.us|s\.whatsapp\.net|lid)"
    r"|(?P<group>[0-9]+(?:-[0-9]+)?@g\.us)"
    r"|(?P<other>[0-9]+@newsletter|(?:status|[0-9]+)@broadcast)"
)
_MESSAGE_ID = re.compile(
    r"(?P<me>true|false)_(?P<chat>[^_\s]+@[a-z.]+)_(?P<id>[0-9A-Za-z.-]+)(?:_(?P<participant>\S+))?"
)
_DIRECTION_MARKS = re.compile("[\u200e\u200f\u202a-\u202e\u2066-\u2069]")

#: What a wrong chat argument is told.
CHAT_FORMS = (
    "a phone number with country code ('+1 202 555 0123') or a chat id ('12025550123@c.us', '120363000000000000@g.us')"
)


class MessageKey(NamedTuple):
    """The parts of a message id."""

    from_me: bool
    chat: str
    id: str
    participant: str | None


def normalize_chat_id(value: str) -> str | None:
    """A chat id in the form WAHA's API takes (`@c.us`, no device part), or None where it is not one."""
    match = _CHAT_ID.fullmatch(value.strip())
    if match is None:
        return None
    if match["person"]:
        return f"{match['user']}@{'lid' if match['person'] == 'lid' else 'c.us'}"
    return match["group"] or match["other"]


def parse_phone(value: str) -> str:
    """A phone number in any usual international writing, as bare digits with the country code.

    Raises:
        ValueError: not a number, or one without its country code.
    """
    import phonenumbers  # kept off the start-up path: only a number that is written as one needs it

    # Numbers are often pasted with no-break spaces in them and marks of direction around them.
    text = " ".join(_DIRECTION_MARKS.sub("", value).split()).removeprefix("tel:")
    if re.search(r"[^\W\d_]", text):
        raise ValueError(f"{_shown(value)} is not a phone number: write it like '+1 202 555 0123'")
    if text.startswith("00"):
        text = "+" + text[2:]
    elif text.startswith("0"):
        raise ValueError(f"{_shown(value)} has no country code: write it like '+1 202 555 0123'")
    elif not text.startswith(("+", "\uff0b")):
        text = "+" + text
    try:
        number = phonenumbers.parse(text)
    except phonenumbers.NumberParseException:
        number = None
    if number is None or not phonenumbers.is_possible_number(number):
        raise ValueError(f"{_shown(value)} is not a phone number that can exist: write it like '+1 202 555 0123'")
    return str(phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)).removeprefix("+")


def parse_chat(value: str) -> str:
    """The chat id for a chat id or a phone number.

    Raises:
        ValueError: neither; the message says what would be right.
    """
    if "@" in value:
        chat = normalize_chat_id(value)
        if chat is None:
            raise ValueError(f"{_shown(value)} is not a chat id: give {CHAT_FORMS}")
        return chat
    if re.search(r"[^\W\d_]", value.removeprefix("tel:")) or not any(c.isdigit() for c in value):
        raise ValueError(f"{_shown(value)} is neither a number nor a chat id: give {CHAT_FORMS}")
    return f"{parse_phone(value)}@c.us"


def phone_of(chat_id: str) -> str | None:
    """The phone number behind a person's chat id in E.164 form (`+12025550123`), where it shows one."""
    user, _, server = chat_id.partition("@")
    return f"+{user}" if server == "c.us" and len(user) > 4 else None


def parse_message_id(value: str) -> MessageKey:
    """The parts of a full message id, ids normalized.

    Raises:
        ValueError: not a full message id.
    """
    match = _MESSAGE_ID.fullmatch(value.strip())
    chat = normalize_chat_id(match["chat"]) if match else None
    if match is None or chat is None:
        raise ValueError(
            f"{_shown(value)} is not a message id: give one as WAHA gave it, such as "
            "'false_12025550123@c.us_3EB0C767D26A1B2E5F4C'"
        )
    participant = match["participant"]
    return MessageKey(
        match["me"] == "true",
        chat,
        match["id"],
        participant and (normalize_chat_id(participant) or participant),
    )


def bare_id(value: str) -> str:
    """The id of a message without its chat, from either form: ids that WAHA makes beforehand come in both."""
    match = _MESSAGE_ID.fullmatch(value)
    return match["id"] if match else value


def _shown(value: str) -> str:
    return repr(value if len(value) <= 60 else value[:59] + "…")
