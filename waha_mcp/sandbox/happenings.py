"""What happens in an account, for whoever listens: facts, which each engine words as events in its own way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from waha_mcp.sandbox.account import Chat, Group, Message

#: What becomes of members of a group.
Change = Literal["join", "leave", "promote", "demote"]


@dataclass(frozen=True, slots=True)
class StatusChanged:
    """The session has another status."""


@dataclass(frozen=True, slots=True)
class Written:
    """A message came, or one's own was sent."""

    message: Message


@dataclass(frozen=True, slots=True)
class Edited:
    """A message has another text; `before` is the old one."""

    message: Message
    before: str | None


@dataclass(frozen=True, slots=True)
class Revoked:
    """A message was deleted for everybody; `by` is who did it."""

    message: Message
    by: str


@dataclass(frozen=True, slots=True)
class Reacted:
    """Somebody set a reaction, or took it back (an empty text). `reaction` is the message that says so."""

    message: Message
    reaction: Message
    text: str


@dataclass(frozen=True, slots=True)
class Voted:
    """Somebody's choice in a poll is now this."""

    poll: Message
    by: str
    chosen: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """One's own message got as far as its `ack` says, with this reader."""

    message: Message
    reader: str


@dataclass(frozen=True, slots=True)
class ReadByMe:
    """Messages of others in one chat are read now."""

    messages: tuple[Message, ...]


@dataclass(frozen=True, slots=True)
class PresenceShown:
    """Somebody is `online`, `offline`, `typing`, `recording` or `paused`; None: typed, and has sent what came of it."""

    chat: str
    person: str
    presence: str | None


@dataclass(frozen=True, slots=True)
class GroupEntered:
    """The account is in a group now."""

    group: Group
    by: str


@dataclass(frozen=True, slots=True)
class GroupLeft:
    """The account is in a group no more."""

    group: Group
    by: str


@dataclass(frozen=True, slots=True)
class GroupChanged:
    """A group says something else about itself; `fields` are those of WAHA's `GroupInfo`."""

    group: Group
    by: str
    fields: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MembersChanged:
    """Others came, went, or have another role."""

    group: Group
    by: str
    people: tuple[str, ...]
    change: Change


@dataclass(frozen=True, slots=True)
class CallStarted:
    call_id: str
    caller: str


@dataclass(frozen=True, slots=True)
class CallEnded:
    """A call was rejected, or the caller gave up."""

    call_id: str
    caller: str
    by_me: bool


@dataclass(frozen=True, slots=True)
class LabelChanged:
    """A label is new, has another name or color, or is gone; `label` is WAHA's `Label`."""

    label: dict[str, Any]
    deleted: bool = False


@dataclass(frozen=True, slots=True)
class ChatLabelled:
    """A chat carries a label now, or no more."""

    chat: str
    label: dict[str, Any]
    added: bool


@dataclass(frozen=True, slots=True)
class ChatArchived:
    chat: Chat


#: What WhatsApp keeps for a session that is not up, and tells it later.
Kept = Written | Edited | Revoked | Reacted | Voted | Acknowledged
Happening = (
    Kept
    | StatusChanged
    | ReadByMe
    | PresenceShown
    | GroupEntered
    | GroupLeft
    | GroupChanged
    | MembersChanged
    | CallStarted
    | CallEnded
    | LabelChanged
    | ChatLabelled
    | ChatArchived
)
