"""Happenings in an account, for its listeners: facts, which each engine reports as events in its own way."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from waha_mcp.sandbox.account import Chat, Group, Message

#: Changes of a group's members.
Change = Literal["join", "leave", "promote", "demote"]


class StatusChanged(NamedTuple):
    """The session has another status."""


class Written(NamedTuple):
    """A message arrived, or an own one was sent."""

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
    """Somebody set a reaction, or removed it (an empty text). `reaction` is the message that carries it."""

    message: Message
    reaction: Message
    text: str


class Voted(NamedTuple):
    """Somebody's vote in a poll has changed to this."""

    poll: Message
    by: str
    chosen: tuple[str, ...]


class Acknowledged(NamedTuple):
    """An own message reached this `ack` with this reader."""

    message: Message
    reader: str


class ReadByMe(NamedTuple):
    """Messages of others in one chat were read."""

    messages: tuple[Message, ...]


class PresenceShown(NamedTuple):
    """Somebody is `online`, `offline`, `typing`, `recording` or `paused`; None: has sent the message after typing."""

    chat: str
    person: str
    presence: str | None


class GroupEntered(NamedTuple):
    """The account has joined a group."""

    group: Group
    by: str


class GroupLeft(NamedTuple):
    """The account has left a group."""

    group: Group
    by: str


class GroupChanged(NamedTuple):
    """A group's information has changed; `fields` are those of WAHA's `GroupInfo`."""

    group: Group
    by: str
    fields: tuple[str, ...] = ()


class MembersChanged(NamedTuple):
    """Others joined, left, or have another role."""

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
    """A label was created, changed its name or color, or was deleted; `label` is WAHA's `Label`."""

    label: dict[str, Any]
    deleted: bool = False


class ChatLabelled(NamedTuple):
    """A chat gained or lost a label."""

    chat: str
    label: dict[str, Any]
    added: bool


class ChatArchived(NamedTuple):
    chat: Chat


#: The happenings that WhatsApp keeps for a session that is not up, and reports later.
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
