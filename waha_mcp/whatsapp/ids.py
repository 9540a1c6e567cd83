"""Parsing and normalization of chat ids, phone numbers and message ids, in the forms that WAHA accepts and returns.

A chat id is `<number>@c.us` (a person), `<number>@lid` (the same person's hidden id), `<id>@g.us` (a group),
`<id>@newsletter` (a channel), `<id>@bot` (an assistant such as Meta AI, which counts as a person),
`status@broadcast` (status stories) or `<id>@broadcast` (a broadcast list).
A message id is `{true|false}_{chat id}_{ID}[_{participant}]`; true means that the session's owner wrote it.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_CHAT_ID = re.compile(
    # Numbers have no leading zero; 0 itself is WhatsApp's own account.
    r"(?P<user>(?:0|[1-9][0-9]{0,19})|[0-9]{1,20}(?=(?::[0-9]+)?@lid))(?::[0-9]+)?@(?P<person>c\.us|s\.whatsapp\.net|lid)"
    r"|(?P<group>[0-9]+(?:-[0-9]+)?@g\.us)"
    r"|(?P<other>[0-9]+@newsletter|[0-9]+@bot|(?:status|[0-9]+)@broadcast)"
)
_MESSAGE_ID = re.compile(
    r"(?P<me>true|false)_(?P<chat>[^_\s]+@[a-z.]+)_(?P<id>[0-9A-Za-z.-]+)(?:_(?P<participant>\S+))?"
)
#: A message id within a text written by waha-mcp.
MESSAGE_ID_IN_TEXT = re.compile(
    r"\b(?:true|false)_[0-9a-z-]+@[a-z.]*[a-z]_[0-9A-Za-z]+(?:[.-][0-9A-Za-z]+)*(?:_[0-9]+(?::[0-9]+)?@[a-z.]*[a-z])?\b(?!…)"
)
#: A chat id within a text written by waha-mcp.
CHAT_ID_IN_TEXT = re.compile(r"(?<![\w@.+-])[0-9]+(?:-[0-9]+)?@(?:c\.us|lid|g\.us|newsletter|bot)\b")
_DIRECTION_MARKS = re.compile("[\u200e\u200f\u202a-\u202e\u2066-\u2069]")

#: The accepted forms of a chat argument, for error messages.
CHAT_FORMS = (
    "a phone number with country code ('+1 202 555 0123') or a chat id ('12025550123@c.us', '120363000000000000@g.us')"
)

#: Stands for the chat of an unknown author.
NOT_KNOWN = ""


class MessageKey(NamedTuple):
    """The parts of a message id."""

    from_me: bool
    chat: str
    id: str
    participant: str | None = None

    @property
    def text(self) -> str:
        """The message id."""
        parts = [str(self.from_me).lower(), self.chat, self.id]
        return "_".join([*parts, self.participant] if self.participant else parts)


def normalize_chat_id(value: str) -> str | None:
    """Normalize a chat id to the form that WAHA's API takes (`@c.us`, no device part); None if it is not a chat id."""
    match = _CHAT_ID.fullmatch(value.strip())
    if match is None:
        return None
    if match["person"]:
        return f"{match['user']}@{'lid' if match['person'] == 'lid' else 'c.us'}"
    return match["group"] or match["other"]


def parse_phone(value: str) -> str:
    """Parse a phone number in any usual international notation; return its digits with the country code, without '+'.

    Raises:
        ValueError: not a phone number, or without a country code.
    """
    import phonenumbers  # slow to import, and needed only for phone numbers

    # Pasted numbers often contain no-break spaces and directional marks.
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
    """Parse a chat id or a phone number; return the chat id, normalized.

    Raises:
        ValueError: neither; the message names the accepted forms.
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
    """The phone number of a `@c.us` chat id in E.164 form (`+12025550123`); None for any other chat id."""
    user, _, server = chat_id.partition("@")
    return f"+{user}" if server == "c.us" and len(user) > 4 else None


def parse_message_id(value: str) -> MessageKey:
    """Split a full message id into its parts, with normalized chat ids.

    Raises:
        ValueError: not a full message id.
    """
    match = _MESSAGE_ID.fullmatch(value.strip())
    chat = normalize_chat_id(match["chat"]) if match else None
    if match is None or chat is None:
        raise ValueError(
            f"{_shown(value)} is not a message id: give one as an answer gave it, such as m482915036, or WAHA's own "
            "(false_12025550123@c.us_3EB0…)"
        )
    participant = match["participant"]
    return MessageKey(
        match["me"] == "true",
        chat,
        match["id"],
        participant and (normalize_chat_id(participant) or participant),
    )


def chats_of(message_id: str) -> tuple[str, ...]:
    """The chats that a message is about: its chat, and for somebody else's status story (or broadcast) its author.

    WhatsApp delivers reactions and answers to the author alone. The author is `NOT_KNOWN` if the id does not contain
    it.

    Raises:
        ValueError: not a full message id.
    """
    key = parse_message_id(message_id)
    if key.from_me or not is_broadcast(key.chat):
        return (key.chat,)
    return key.chat, normalize_chat_id(key.participant or "") or NOT_KNOWN


def is_broadcast(chat_id: str) -> bool:
    """Whether it is `status@broadcast` or a broadcast list, where each message is also about its author."""
    return chat_id.endswith("@broadcast")


def bare_id(value: str) -> str:
    """The `{ID}` part of a full message id; a bare id is returned unchanged. WAHA's new-message-id returns either."""
    match = _MESSAGE_ID.fullmatch(value)
    return match["id"] if match else value


def _shown(value: str) -> str:
    return repr(value if len(value) <= 60 else value[:59] + "…")
