"""Result models that tools return, and `*_from` functions that parse WAHA's answers into them.

Parsing is lenient, since answers differ by engine: fields are missing or null, ids end in `@s.whatsapp.net`, times are
numbers, text or Long objects.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr

from waha_mcp.waha.marks import BareChatId, Day, FullOnly, LongId, RowId, Time, Whom
from waha_mcp.waha.parsing import chat_id_of, count_of, first_of, iso_time, kind_of_chat, mapping_of, text_of
from waha_mcp.whatsapp.ids import MessageKey, parse_message_id, phone_of
from waha_mcp.whatsapp.untrusted import Name, Words


@dataclass(frozen=True)
class Attachment:
    """An image or sound that is sent along with a result's JSON."""

    kind: Literal["image", "audio"]
    mimetype: str
    data: bytes


class Reached(NamedTuple):
    """Description of a chat that an effect reached. `chosen`: it contains a name that other people chose."""

    words: str
    chosen: bool = False


class Touched(NamedTuple):
    """A message that an effect was about: its full id, and its first words if they may be shown.

    `name`: the name of the answer's field.
    """

    name: str
    message_id: str
    text: str | None = None
    #: If there is no text: what it is.
    kind: str | None = None


class Nested(BaseModel):
    """Base of the models nested in a result. Fields that are None are left out of the answer.

    Text that other people wrote may only be in fields of the types in `whatsapp.untrusted`.
    """

    # Build schemas on first use, not at import.
    model_config = ConfigDict(frozen=True, defer_build=True)


class Result(Nested):
    """Base of what tools return, with its attachments."""

    _attachments: tuple[Attachment, ...] = PrivateAttr(())
    _touched: tuple[Touched, ...] = PrivateAttr(())
    _reached: tuple[Reached, ...] = PrivateAttr(())

    @property
    def attachments(self) -> tuple[Attachment, ...]:
        """Attachments, in order. They are not part of the JSON or its schema."""
        return self._attachments

    def attach(self, *attachments: Attachment) -> Self:
        """Add attachments; return self."""
        self._attachments += attachments
        return self

    @property
    def touched(self) -> tuple[Touched, ...]:
        """The messages that the effect behind this result was about."""
        return self._touched

    def touching(self, *touched: Touched) -> Self:
        """Set the messages that the effect was about; return self."""
        self._touched = touched
        return self

    @property
    def reached(self) -> tuple[Reached, ...]:
        """The chats that the effect behind this result reached."""
        return self._reached

    def reaching(self, *reached: Reached) -> Self:
        """Set the chats that the effect reached; return self."""
        self._reached = reached
        return self


class Contact(Nested):
    id: RowId
    name: Name | None = Field(None, description="As saved in the address book")
    calls_themselves: Name | None = Field(None, description="The name that they chose")
    phone: str | None = Field(None, description="E.164")
    saved: Annotated[bool, FullOnly()] | None = Field(None, description="Whether it is in the address book")
    blocked: bool | None = None


class Group(Result):
    id: Annotated[str, Whom("subject", row=True)]
    subject: Name | None = None
    description: Words | None = None
    participants: int | None = None
    created: Day | None = None


class Sent(Result):
    message_id: LongId | None = Field(None, description="Left out where the engine does not say")
    chat: BareChatId
    time: Time | None = None

    #: Whether WAHA says that it was sent, without naming the message, as the browser engines do for forwards.
    _told: bool = PrivateAttr(default=False)

    @property
    def told(self) -> bool:
        return self._told


#: Fields of a contact for the name that the person chose.
_CHOSEN = ("pushname", "pushName", "notify")


def marks_saved(raw: Mapping[str, Any]) -> bool | None:
    """Whether a contact is marked as in the address book; None if the engine sets no such mark."""
    mark = raw.get("isMyContact")
    return mark if isinstance(mark, bool) else None


def keeps_apart(raw: Mapping[str, Any]) -> bool:
    """Whether a contact has a separate field, perhaps empty, for the name that the person chose."""
    return any(field in raw for field in _CHOSEN)


def has_letters(name: str) -> bool:
    """Whether a name is more than a number."""
    return any(map(str.isalpha, name))


def contact_from(raw: Mapping[str, Any]) -> Contact | None:
    """Parse a contact; None for a group, the owner, or without a valid chat id."""
    contact_id = chat_id_of(raw.get("id"))
    if contact_id is None or kind_of_chat(contact_id) != "person" or raw.get("isMe") is True:
        return None
    name, number = text_of(first_of(raw, "name", "shortName")), chat_id_of(raw.get("phoneNumber"))
    chosen = text_of(first_of(raw, *_CHOSEN, "verifiedName"))
    if chosen is None and name is None:
        # WhatsApp Web's `formattedName` may be either name, or a number.
        formatted = text_of(raw.get("formattedName")) or ""
        chosen = text_of(raw.get("username")) or (formatted if has_letters(formatted) else None)
    return Contact(
        id=contact_id,
        name=name,
        calls_themselves=chosen,
        phone=phone_of(contact_id) or (phone_of(number) if number else None),
        saved=marks_saved(raw),
        blocked=True if raw.get("isBlocked") is True else None,
    )


def group_fields(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    """A group's fields: the browser engines have most of them in `groupMetadata`, beside those of the chat."""
    own = {name: value for name, value in raw.items() if value not in (None, "")}
    return {**mapping_of(raw.get("groupMetadata")), **own}


def group_from(raw: Mapping[str, Any]) -> Group | None:
    """Parse a group of any engine; None without a valid chat id."""
    raw = group_fields(raw)
    group_id = chat_id_of(first_of(raw, "id", "JID"))
    if group_id is None:
        return None
    members = first_of(raw, "participants", "Participants")
    if isinstance(members, list) and members:
        # Someone who could not be added is listed with an error.
        count: int | None = sum(not mapping_of(each).get("Error") for each in members)
    else:
        count = count_of(first_of(raw, "size", "ParticipantCount"))
    return Group(
        id=group_id,
        subject=text_of(first_of(raw, "subject", "name", "Name")),
        description=text_of(first_of(raw, "description", "desc", "Topic")),
        participants=count or None,
        created=iso_time(first_of(raw, "creation", "GroupCreated")),
    )


def member_ids(raw: Mapping[str, Any]) -> list[str]:
    """The ids of a group's members as in WAHA's row, sorted; empty if it lists nobody."""
    members = first_of(group_fields(raw), "participants", "Participants")
    ids = [chat_id_of(first_of(mapping_of(each), "id", "JID")) for each in members] if isinstance(members, list) else []
    return sorted(each for each in ids if each is not None)


#: The `ack` of a message that WhatsApp did not accept.
NOT_TAKEN = -1


def sent_from(answer: Any, chat: str) -> Sent:
    """Parse the answer to a send: a WAMessage or the engine's raw message. `chat` is used if it names no chat."""
    raw = mapping_of(answer)
    key = message_key_of(raw)
    sent = Sent(
        # If WhatsApp did not accept a message, its id does not prove that it was sent.
        message_id=None if raw.get("ack") == NOT_TAKEN else _own_id(raw),
        chat=key.chat if key else chat,
        time=iso_time(first_of(raw, "timestamp", "messageTimestamp")),
    )
    sent._told = raw.get("sent") is True
    return sent


def message_key_of(raw: Mapping[str, Any]) -> MessageKey | None:
    """Parse a message's own id, in any engine's form; None if `raw` has no valid one."""
    try:
        return parse_message_id(_own_id(raw) or "")
    except ValueError:
        return None


def _own_id(raw: Mapping[str, Any]) -> str | None:
    found = message_id_of(raw.get("id"))
    key = mapping_of(raw.get("key"))
    remote, bare = chat_id_of(key.get("remoteJid")), text_of(key.get("id"))
    if found is not None or remote is None or bare is None:
        return found
    return MessageKey(key.get("fromMe") is not False, remote, bare, chat_id_of(key.get("participant"))).text


def message_id_of(value: Any) -> str | None:
    """A message id from text, or from an object with `_serialized` (raw messages of browser engines)."""
    return text_of(value.get("_serialized") if isinstance(value, dict) else value)
