"""What happens in an account, for whoever listens: facts, which each engine words as events in its own way."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from waha_mcp.sandbox.account import Chat, Group, Message

#: What becomes of members of a group.
Change = Literal["join", "leave", "promote", "demote"]


class StatusChanged(NamedTuple):
    """The session has another status."""


class Written(NamedTuple):
    """A message came, or one's own was sent."""

    message: Message


class Edited(NamedTuple):
    """A message has another text; `before` is the old one."""

    message: Message
    before: str | None


class Revoked(NamedTuple):
    """A message was deleted for everybody; `by` is who did it."""

    message: Message
    by: str


class Reacted(NamedTuple):
    """Somebody set a reaction, or took it back (an empty text). `reaction` is the message that says so."""

    message: Message
    reaction: Message
    text: str


class Voted(NamedTuple):
    """Somebody's choice in a poll is now this."""

    poll: Message
    by: str
    chosen: tuple[str, ...]


class Acknowledged(NamedTuple):
    """One's own message got as far as its `ack` says, with this reader."""

    message: Message
    reader: str


class ReadByMe(NamedTuple):
    """Messages of others in one chat are read now."""

    messages: tuple[Message, ...]


class PresenceShown(NamedTuple):
    """Somebody is `online`, `offline`, `typing`, `recording` or `paused`; None: typed, and has sent what came of it."""

    chat: str
    person: str
    presence: str | None


class GroupEntered(NamedTuple):
    """The account is in a group now."""

    group: Group
    by: str


class GroupLeft(NamedTuple):
    """The account is in a group no more."""

    group: Group
    by: str


class GroupChanged(NamedTuple):
    """A group says something else about itself; `fields` are those of WAHA's `GroupInfo`."""

    group: Group
    by: str
    fields: tuple[str, ...] = ()


class MembersChanged(NamedTuple):
    """Others came, went, or have another role."""

    group: Group
    by: str
    people: tuple[str, ...]
    change: Change


class CallStarted(NamedTuple):
    call_id: str
    caller: str


class CallEnded(NamedTuple):
    """A call was rejected, or the caller gave up."""

    call_id: str
    caller: str
    by_me: bool


class LabelChanged(NamedTuple):
    """A label is new, has another name or color, or is gone; `label` is WAHA's `Label`."""

    label: dict[str, Any]
    deleted: bool = False


class ChatLabelled(NamedTuple):
    """A chat carries a label now, or no more."""

    chat: str
    label: dict[str, Any]
    added: bool


class ChatArchived(NamedTuple):
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
