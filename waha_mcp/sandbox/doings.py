"""Actions of any person in chats and groups: type, write, read, edit, delete, react, vote, join and leave."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import get_args

from waha_mcp.sandbox import happenings
from waha_mcp.sandbox.account import Account, Chat, Group, Message
from waha_mcp.sandbox.engines.engine_content import raw_key
from waha_mcp.sandbox.happenings import Change
from waha_mcp.sandbox.state import Sandbox, Session

SHOWN_IN_CHAT = ("typing", "recording", "paused")
PRESENCES = ("online", "offline", *SHOWN_IN_CHAT)
CHANGES = get_args(Change)


def arrive(
    sandbox: Sandbox, session: Session, account: Account, message: Message, told: Sequence[float] = (0,)
) -> None:
    """Add a message to the account, from somebody else or from the owner's phone.

    Args:
        told: delays in seconds after which its event is sent, such as the time of a download; several, or none.
    """
    account.add(message, unread=not message.from_me)
    for delay in told:
        if delay:
            sandbox.later(delay, partial(sandbox.emit, session, happenings.Written(message)))
        else:
            sandbox.emit(session, happenings.Written(message))
    place = account.place(message.chat, message.author)
    if account.presences.get(place) in SHOWN_IN_CHAT:
        del account.presences[place]
        sandbox.emit(session, happenings.PresenceShown(message.chat, message.author, None))


def show_presence(
    sandbox: Sandbox, session: Session, account: Account, chat_id: str, person: str, presence: str
) -> None:
    """Somebody types in a chat, or goes online or offline; the latter is reported to subscribers only."""
    account.presences[account.place(chat_id, person)] = presence
    if presence in SHOWN_IN_CHAT or chat_id in account.subscribed:
        sandbox.emit(session, happenings.PresenceShown(chat_id, person, presence))


def acknowledge(sandbox: Sandbox, session: Session, message: Message, ack: int, reader: str) -> None:
    """An own message reached a later `ack` with somebody."""
    if ack > message.ack or ack < 0:
        message.ack = ack
        sandbox.emit(session, happenings.Acknowledged(message, reader))


def read(sandbox: Sandbox, session: Session, chats: list[Chat], named: set[str] | None = None) -> None:
    """The account's owner reads chats, or only the messages with these bare ids, through WAHA or on the phone."""
    for chat in chats:
        found = []
        for message in chat.messages[-1000:]:
            if not message.from_me and message.ack < 3 and (named is None or message.id in named):
                message.ack = 3
                found.append(message)
        chat.unread = sum(1 for message in chat.messages[-1000:] if not message.from_me and message.ack < 3)
        chat.marked_unread = False
        sandbox.emit(session, happenings.ReadByMe(tuple(found)))


def edit(sandbox: Sandbox, session: Session, message: Message, text: str) -> None:
    before, message.text = message.text, text
    message.edited = int(sandbox.now())
    sandbox.emit(session, happenings.Edited(message, before))


def revoke(sandbox: Sandbox, session: Session, message: Message, by: str) -> None:
    message.deleted = True
    sandbox.emit(session, happenings.Revoked(message, by))


def react(
    sandbox: Sandbox, session: Session, account: Account, message: Message, by: str, text: str, *, source: str = "app"
) -> Message:
    """Set somebody's reaction, or remove it with an empty text; return the message that carries it."""
    mine, now = account.is_me(by), int(sandbox.now())
    reactions = message.reactions or {}
    for each in {by, account.twin(by)}:
        reactions.pop(str(each), None)
    if text:
        reactions[by] = (text, now)
    message.reactions = reactions or None
    reaction = Message(
        id=account.new_id(from_me=mine),
        chat=message.chat,
        from_me=mine,
        author=by,
        time=now,
        kind="reaction",
        extra={"key": raw_key(message), "text": text},
        source=source,
    )
    sandbox.emit(session, happenings.Reacted(message, reaction, text))
    return reaction


def vote(sandbox: Sandbox, session: Session, account: Account, poll: Message, by: str, chosen: list[str]) -> None:
    """Somebody votes for these options; none retracts the vote."""
    votes: dict[str, list[str]] = (poll.extra or {}).setdefault("votes", {})
    for each in {by, account.twin(by)}:
        votes.pop(str(each), None)
    if chosen:
        votes[by] = list(chosen)
    sandbox.emit(session, happenings.Voted(poll, by, tuple(chosen)))


def change_members(
    sandbox: Sandbox, session: Session, account: Account, group: Group, by: str, people: list[str], change: Change
) -> None:
    """People join or leave a group, or get another role; the account itself may be among them."""
    moved = [each for each in people if (each in group.members) is not (change == "join")]
    for each in moved:
        if change == "leave":
            del group.members[each]
        elif group.members.get(each) != "superadmin":
            group.members[each] = "admin" if change == "promote" else "participant"
    if change in ("join", "leave") and account.me.id in moved:
        moved.remove(account.me.id)
        if change == "join":
            account.groups[group.id] = group
            account.chat(group.id, started=int(sandbox.now()))
            sandbox.emit(session, happenings.GroupEntered(group, by))
        else:
            account.groups.pop(group.id, None)
            sandbox.emit(session, happenings.GroupLeft(group, by))
    if moved:
        sandbox.emit(session, happenings.MembersChanged(group, by, tuple(moved), change))
