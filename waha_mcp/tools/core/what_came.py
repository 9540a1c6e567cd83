"""What may be shown of what was heard: messages with what became of them, and other changes, with names.

Edits, deletions and receipts of a message in the same answer are folded into it.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import Field

from waha_mcp.feed.record import Mark
from waha_mcp.tools.catalog import Context
from waha_mcp.waha.events import ME, RECEIPTS, Event, Row
from waha_mcp.waha.marks import Author, ChatId, LongId, Time
from waha_mcp.waha.messages import Message, Names, message_from, shown_name
from waha_mcp.waha.models import Nested, message_id_of
from waha_mcp.waha.parsing import iso_time, kind_of_chat, mapping_of, text_of
from waha_mcp.whatsapp.ids import parse_message_id
from waha_mcp.whatsapp.untrusted import Name, Words

#: Most messages or changes of one answer.
MOST = 50
#: How many hidden ids of new people are looked up in one call, where not all chats may be read.
LOOKED_UP = 20
#: Kinds of rows that are no messages to anybody.
_SILENT = ("reaction", "call", "system")


class HeardMessage(Message):
    chat: ChatId | None = Field(None, description="As in the row before, where left out")
    chat_name: Name | None = None


What = Literal[
    "edited", "deleted", "reacted", "took a reaction back", "voted", "failed", "delivered", "read", "played",
    "joined", "left", "promoted", "demoted", "changed the group", "called", "answered elsewhere", "call ended",
    "session",
]  # fmt: skip


class Change(Nested):
    what: What
    time: Time | None = None
    chat: ChatId | None = Field(None, description="As in the row before, where left out")
    chat_name: Name | None = None
    id: LongId | None = Field(None, description="The message")
    sender: Annotated[str | None, Author(message=None)] = Field(None, description="Who did it")
    sender_name: Name | None = None
    text: Words | None = Field(None, description="The new text, emoji, options or state")
    people: list[Name] | None = None


@dataclass
class _Row:
    """A message or a change, and what gives the place behind it.

    `edited`, `deleted`, `status`: what became of it meanwhile.
    """

    event: Event
    chat: str
    mark: Callable[[], Mark]
    edited: Row | None = None
    deleted: bool = False
    status: str | None = None


@dataclass
class Found:
    """What may be shown of events; edits and deletions of messages among them are folded into these.

    `chat`, `sender`: only messages of this chat and person. `only_messages`: no changes, and no own messages.
    """

    ctx: Context
    chat: str | None = None
    sender: str | None = None
    only_messages: bool = False
    #: The rows in their order, by their identity.
    _rows: dict[int, _Row] = field(default_factory=dict)
    #: Messages by chat, author and bare id, and what became of messages before they came. Others choose the ids of
    #: their messages, so that two may have the same.
    _by_id: dict[tuple[str, str | None, str], _Row] = field(default_factory=dict)
    _early: dict[tuple[str, str | None, str], list[_Row]] = field(default_factory=dict)
    #: Receipts, reactions and votes, of which the last counts.
    _changes: dict[tuple[object, ...], _Row] = field(default_factory=dict)
    #: The hidden ids that were looked up, and what was found.
    _looked_up: dict[str, str] = field(default_factory=dict)

    @property
    def rows(self) -> list[_Row]:
        return list(self._rows.values())

    def __len__(self) -> int:
        return len(self._rows)

    async def take(self, events: Iterable[tuple[Event, float, Callable[[], Mark]]]) -> list[Event]:
        """Take events; those of chats that may be shown and are wanted are returned."""
        wanted: list[Event] = []
        for event, _, mark in events:
            chat = await self._shown_chat(event)
            if chat is None or (self.chat is not None and chat != self.chat):
                continue
            wanted.append(event)
            self._add(event, chat, mark)
        return wanted

    async def _shown_chat(self, event: Event) -> str | None:
        """The chat of an event, "" for one of none; None if it may not be shown."""
        if event.chat is None:
            return "" if event.kind == "session" else None
        names = self.ctx.directory
        chat = names.canonical(event.chat)
        if chat.endswith("@lid") and not self.ctx.readable(chat):
            if chat not in self._looked_up and len(self._looked_up) < LOOKED_UP:
                self._looked_up[chat] = await names.learn(chat)
            chat = self._looked_up.get(chat, chat)
        if not self.ctx.readable(chat):
            return None
        if kind_of_chat(chat) in ("status", "broadcast"):
            # Each of these is about its author, and about whose story it is.
            written = [] if event.kind == "deleted" else [message_id_of(event.row.get("id"))]
            about = [*written, *([_full_id(event)] if event.about else ())]
            by = event.by in (None, ME) or self.ctx.readable(names.canonical(event.by or ""))
            if not by or not all(each and self.ctx.shows(chat, each) for each in about):
                return None
        return chat

    def _add(self, event: Event, chat: str, mark: Callable[[], Mark]) -> None:
        names = self.ctx.directory
        by = _by(event, names)
        row = _Row(event, chat, mark)
        if event.kind == "message":
            if self.only_messages and by == ME:
                return
            if self.sender is not None and by != self.sender:
                return
            message = message_from(event.row, names, full=False, chat=chat)
            if message is None or not is_told(message):
                return
            at = chat, by, parse_message_id(message.id).id
            if at in self._by_id:
                # It came while it was read back.
                return
            self._rows[id(row)] = row
            self._by_id[at] = row
            for change in self._early.pop(at, ()):
                if _fold(row, change.event):
                    self._drop(change)
            return
        # Only its author edits or deletes a message: their app has seen to that, the engine has not.
        at = chat, ME if event.kind == "receipt" else by, event.about or ""
        of = self._by_id.get(at)
        if of is not None and by is not None and _fold(of, event):
            return
        if of is None and by is not None and event.kind in ("edited", "deleted", "receipt"):
            # Some engines tell of it before the message.
            self._early.setdefault(at, []).append(row)
        if not self.only_messages and _is_change(event):
            self._add_change(row)

    def _add_change(self, row: _Row) -> None:
        """Add a change; of the receipts of a message the furthest counts, of a person's reactions to it the last."""
        event = row.event
        if event.kind in ("receipt", "reaction", "vote"):
            same = event.kind, row.chat, event.about, None if event.kind == "receipt" else event.by
            before = self._changes.get(same)
            if before is not None and event.kind == "receipt" and _is_further(before.event.what, event.what):
                return
            if before is not None:
                self._drop(before)
            self._changes[same] = row
        self._rows[id(row)] = row

    def _drop(self, row: _Row) -> None:
        self._rows.pop(id(row), None)

    def worded(self, rows: list[_Row], names: Names) -> list[Any]:
        """The models of rows, with names."""
        found: list[Any] = []
        before: str | None = None
        for row in rows:
            chat = row.chat if self.chat is None and row.chat != before else None
            before = row.chat
            of = {"chat": chat or None, "chat_name": names.name(chat) if chat else None}
            found.append(_message(row, names, of) if row.event.kind == "message" else _change(row, names, of))
        return found


def _by(event: Event, names: Names) -> str | None:
    return event.by if event.by in (None, ME) else names.canonical(event.by)


def _fold(of: _Row, event: Event) -> bool:
    """Fold what became of a message into it, where it is certain; whether that was done. Edits are by its author."""
    if event.kind == "receipt" and kind_of_chat(of.chat) == "person" and event.by != ME:
        of.status = of.status if _is_further(of.status, event.what) else str(event.what)
        return True
    if event.kind == "edited":
        of.edited = event.row
    of.deleted = of.deleted or event.kind == "deleted"
    return event.kind in ("edited", "deleted")


def _is_further(one: object, other: object) -> bool:
    """Whether one receipt tells more than another: they may come in another order."""
    order = tuple(RECEIPTS.values())
    return one in order and other in order and order.index(one) > order.index(other)


def _message(row: _Row, names: Names, of: dict[str, Any]) -> HeardMessage:
    message = message_from(row.event.row, names, full=False, chat=row.chat)
    assert message is not None
    fields = {name: getattr(message, name) for name in Message.model_fields}
    if row.deleted:
        kept = ("id", "time", "sender", "sender_name", "calls_themselves")
        fields = {name: fields[name] for name in kept} | {"deleted": True}
    elif row.edited is not None:
        edit = message_from(row.edited, names, full=False, chat=row.chat)
        fields |= {"text": edit.text if edit else None, "edited": True}
    if row.status is not None:
        fields["status"] = row.status
    return HeardMessage(**fields | of)


def _change(row: _Row, names: Names, of: dict[str, Any]) -> Change:
    event = row.event
    by = _by(event, names)
    # In a chat with one person, who reads and hears it is clear.
    told = by if event.kind != "receipt" or kind_of_chat(row.chat) != "person" or by == ME else None
    return Change(
        what=_what(event),
        time=iso_time(event.time),
        id=_full_id(event),
        sender=told,
        sender_name=names.name(told) if told and told != ME else None,
        text=_text(event, names),
        people=[shown_name(each, names) for each in event.people[:10]] or None,
        **of,
    )


_WHAT: dict[str, What] = {
    "join": "joined", "leave": "left", "promote": "promoted", "demote": "demoted", "received": "called",
    "accepted": "answered elsewhere", "rejected": "call ended",
}  # fmt: skip


def _what(event: Event) -> What:
    match event.kind:
        case "reaction":
            return "reacted" if event.what else "took a reaction back"
        case "vote":
            return "voted"
        case "group":
            return _WHAT.get(str(event.what), "changed the group")
        case "call":
            return _WHAT.get(str(event.what), "call ended")
        case "edited" | "deleted" | "session":
            return event.kind
    return event.what  # type: ignore[return-value]  # a receipt


def _text(event: Event, names: Names) -> str | None:
    match event.kind:
        case "edited":
            edit = message_from(event.row, names, full=False)
            return edit.text if edit else None
        case "reaction" | "session":
            return str(event.what) or None
        case "vote":
            return ", ".join(event.what or ()) or "nothing any more"
        case "group":
            return text_of(mapping_of(event.row.get("group")).get("subject"))
    return None


def _is_change(event: Event) -> bool:
    """Whether it is told as a change of its own."""
    return event.kind != "presence" and not (event.kind == "receipt" and event.what == "sent")


def is_told(message: Message) -> bool:
    """Whether somebody wrote it: some engines give a row of a change that is no message, with nothing at all in it."""
    given = ("id", "time", "sender", "sender_name", "calls_themselves", "kind", "note", "status")
    told = [getattr(message, name) for name in Message.model_fields if name not in given]
    if message.kind in ("text", "other"):
        return any(value is not None for value in told)
    return message.kind not in _SILENT


def _full_id(event: Event) -> str | None:
    """The full id of the message that a change is about, where the event tells enough."""
    if event.about is None or event.chat is None:
        return None
    row = event.row
    written: Any = row.get("id")
    if event.kind == "reaction":
        written = mapping_of(row.get("reaction")).get("messageId")
    elif event.kind == "vote":
        written = mapping_of(row.get("poll")).get("id")
    elif event.kind == "deleted":
        written = mapping_of(row.get("after")).get("id")
    try:
        key = parse_message_id(message_id_of(written) or "")
    except ValueError:
        return None
    return key._replace(id=event.about, chat=event.chat).text
