"""How an engine reports happenings as WAHA's events: their names and payloads.

A message in an event is the same as over REST, with its file downloaded.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar

from waha_mcp.sandbox import happenings
from waha_mcp.sandbox.account import ACKS, Account, Group, Message
from waha_mcp.sandbox.engines.base import Engine

if TYPE_CHECKING:
    from waha_mcp.sandbox.happenings import Happening
    from waha_mcp.sandbox.state import Session

#: A name and a payload.
Event = tuple[str, Any]
#: Seconds from the end of a call until it is reported.
CALL_END_DELAY = 1.0
#: The role of somebody after a change.
ROLES = {"join": "participant", "leave": "left", "promote": "admin", "demote": "participant"}


class Wording(ABC):
    """The events of one engine. The defaults fit most engines; an engine that differs overrides them."""

    #: Whether times of changes in groups are in milliseconds.
    in_milliseconds: ClassVar[bool]
    #: Whether `membersCanSendMessages` means what its name says, and not the reverse.
    tells_who_writes: ClassVar[bool]
    #: Whether the account's own departure from a group that hides numbers is reported.
    sees_itself_leave: ClassVar[bool] = True
    #: Whether joining a group is also reported as a change of its members.
    is_a_member_too: ClassVar[bool] = True
    #: The fields of a group's information whose change is reported.
    group_fields: ClassVar[frozenset[str]]
    #: The presence of a person whose message has arrived after typing; None: not reported.
    after_typing: ClassVar[str | None]
    #: Seconds until an own message is reported.
    own_delay: ClassVar[float] = 0.0
    tells_other_calls_end: ClassVar[bool] = True

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def delay(self, happening: Happening) -> float:
        """Seconds until it is reported."""
        match happening:
            case happenings.Written(message) if message.from_me:
                return self.own_delay
            case happenings.CallEnded():
                return CALL_END_DELAY
        return 0.0

    def me(self, account: Account) -> dict[str, Any]:
        """The account's identity as in an envelope."""
        return self.engine.me(account) | {"reachoutTimelock": None, "messageCapping": None}

    def events(self, session: Session, happening: Happening) -> Iterator[Event]:
        """Names and payloads of the events for a happening; empty if this engine does not report it."""
        if isinstance(happening, happenings.StatusChanged):
            yield "session.status", {
                "name": session.name, "status": session.status, "statuses": session.statuses, "data": None,
            }  # fmt: skip
        elif session.account is not None:
            yield from self.of_account(session, session.account, happening)

    def of_account(self, session: Session, account: Account, happening: Happening) -> Iterator[Event]:
        match happening:
            case happenings.Written(message):
                if self.engine.shows(account, message):
                    payload = self.written(session, account, message)
                    if not message.from_me:
                        yield "message", payload
                    yield "message.any", payload
            case happenings.Edited(message, before):
                yield "message.edited", self.edited(account, message, before)
            case happenings.Revoked(message, by):
                yield "message.revoked", self.revoked(account, message, by)
            case happenings.Reacted(message, reaction, text):
                yield "message.reaction", self.reacted(account, message, reaction, text)
            case happenings.Voted(poll, by, chosen):
                yield "poll.vote", self.voted(account, poll, by, list(chosen))
            case happenings.Acknowledged(message, reader):
                receipt = self.acknowledged(session, account, message, reader)
                if receipt is not None:
                    yield ack_event(message), receipt
            case happenings.ReadByMe(messages):
                yield from self.read(account, messages)
            case happenings.PresenceShown(chat, person, presence):
                shown = presence or self.after_typing
                if shown is not None and self.tells_presence(session):
                    yield "presence.update", self.presence(account, chat, person, shown)
            case happenings.CallStarted(call_id, caller):
                yield "call.received", self.call(call_id, caller)
            case happenings.CallEnded(call_id, caller, by_me):
                if by_me or self.tells_other_calls_end:
                    yield "call.rejected", self.call(call_id, caller)
            case _:
                yield from self.of_group(account, happening)

    def of_group(self, account: Account, happening: Happening) -> Iterator[Event]:
        match happening:
            case happenings.GroupEntered(group, by):
                yield "group.v2.join", self.group(group, by, "add", self.group_info(account, group))
                if self.is_a_member_too:
                    yield self.members(account, group, by, (account.me.id,), "join")
            case happenings.GroupLeft(group, by):
                if self.sees_itself_leave or not group.lids:
                    yield "group.v2.leave", self.group(group, by, "remove", {"id": group.id})
                if self.is_a_member_too:
                    yield self.members(account, group, by, (account.me.id,), "leave")
            case happenings.GroupChanged(group, by, fields):
                changed = self.changed(account, group, fields)
                if changed:
                    yield "group.v2.update", self.group(group, by, "update", {"id": group.id} | changed)
            case happenings.MembersChanged(group, by, people, change):
                yield self.members(account, group, by, people, change)
            case _:
                yield from self.of_list(happening)

    def of_list(self, happening: Happening) -> Iterator[Event]:
        """Events about labels and about positions in the list of chats."""
        yield from ()

    # Messages

    def written(self, session: Session, account: Account, message: Message) -> dict[str, Any]:
        return self.engine.message(account, message, session=session.name, download=True)

    @abstractmethod
    def edited(self, account: Account, message: Message, before: str | None) -> dict[str, Any]: ...

    @abstractmethod
    def revoked(self, account: Account, message: Message, by: str) -> dict[str, Any]: ...

    @abstractmethod
    def reacted(self, account: Account, message: Message, reaction: Message, text: str) -> dict[str, Any]: ...

    @abstractmethod
    def voted(self, account: Account, poll: Message, by: str, chosen: list[str]) -> dict[str, Any]: ...

    @abstractmethod
    def acknowledged(self, session: Session, account: Account, message: Message, reader: str) -> dict[str, Any] | None:
        """The receipt of an own message; None if it is not reported."""

    def read(self, account: Account, messages: tuple[Message, ...]) -> Iterator[Event]:
        """The event that the account has read messages of others."""
        yield from ()

    # Presence and calls

    def tells_presence(self, session: Session) -> bool:
        return True

    def presence(self, account: Account, chat_id: str, person: str, presence: str) -> dict[str, Any]:
        shown_chat = self.engine.presence_id(account, chat_id)
        group = account.groups.get(chat_id)
        shown = shown_chat if group is None else self.member_id(account, group, person)
        seen = int(time.time()) if presence == "offline" and self.engine.tells_last_seen else None
        told = {"participant": shown, "lastKnownPresence": presence, "lastSeen": seen}
        return {"id": shown_chat, "presences": [told]}

    def call(self, call_id: str, caller: str) -> dict[str, Any]:
        told = {"id": call_id, "from": caller, "timestamp": int(time.time()), "isVideo": False, "isGroup": False}
        return told | {"_data": {"CallID": call_id}}

    # Groups

    def group_info(self, account: Account, group: Group) -> dict[str, Any]:
        """`GroupInfo` of WAHA."""
        return {
            "id": group.id,
            "subject": group.subject,
            "description": group.description,
            "invite": f"https://chat.whatsapp.com/{group.invite}" if group.invite else None,
            "membersCanAddNewMember": group.members_can_add,
            "membersCanSendMessages": group.messages_admin_only is not self.tells_who_writes,
            "newMembersApprovalRequired": group.approval,
            "participants": self.engine.members(account, group),
        }

    def changed(self, account: Account, group: Group, fields: tuple[str, ...]) -> dict[str, Any]:
        """The changed fields of the group's information."""
        info = self.group_info(account, group)
        return {name: info[name] for name in fields if name in self.group_fields}

    def group(self, group: Group, by: str, action: str, told: dict[str, Any]) -> dict[str, Any]:
        return {"timestamp": self.now(), "group": told, "_data": self.group_data(group, by, action)}

    def members(self, account: Account, group: Group, by: str, people: tuple[str, ...], change: str) -> Event:
        return "group.v2.participants", {
            "type": change,
            "timestamp": self.now(),
            "group": {"id": group.id},
            "participants": [self.member(account, group, each, self.role(change)) for each in people],
            "_data": self.group_data(group, by, change),
        }

    def role(self, change: str) -> str:
        return ROLES[change]

    def member_id(self, account: Account, group: Group, person: str) -> str:
        return self.engine.member_id(account, group, person)

    def member(self, account: Account, group: Group, person: str, role: str) -> dict[str, Any]:
        found = account.person(person)
        number = found.id if found else person
        shown = number if number.endswith("@c.us") else None
        return {"id": self.member_id(account, group, number), "pn": shown, "role": role}

    @abstractmethod
    def group_data(self, group: Group, by: str, action: str) -> dict[str, Any]:
        """`_data` of a change in a group, which includes the actor."""

    def now(self) -> int:
        return time.time_ns() // 1_000_000 if self.in_milliseconds else int(time.time())


def ack_event(message: Message) -> str:
    return "message.ack.group" if message.chat.endswith("@g.us") else "message.ack"


def ack_fields(ack: int) -> dict[str, Any]:
    return {"ack": ack, "ackName": ACKS[ack]}
