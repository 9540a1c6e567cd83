"""Tools that hear: they wait for messages, and tell what came since a place."""

import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Annotated, Any, Literal, TypeVar

import anyio
from pydantic import Field

from waha_mcp.app.actions import Action
from waha_mcp.feed.live import Feed
from waha_mcp.feed.reading_back import OVERVIEW
from waha_mcp.feed.record import Mark, short
from waha_mcp.feed.settling import SETTLE, Settling
from waha_mcp.feed.since import Came, came_since
from waha_mcp.history.rest import MESSAGES
from waha_mcp.tools.catalog import READS, ArgumentError, Context, tool
from waha_mcp.tools.paging import Page, decode_cursor, encode_cursor
from waha_mcp.tools.params import Chat, PlaceReference, Sender
from waha_mcp.waha.errors import Forbidden, NotFound, Unreachable, WahaError
from waha_mcp.waha.events import ME, RECEIPTS, Event, Row, message_event, message_key
from waha_mcp.waha.marks import Author, ChatId, LongCursor, LongId, Time
from waha_mcp.waha.messages import Message, Names, message_from, shown_name
from waha_mcp.waha.models import Nested, Sent, message_id_of
from waha_mcp.waha.parsing import iso_time, kind_of_chat, mapping_of, text_of
from waha_mcp.whatsapp.ids import NOT_KNOWN, MessageKey, parse_message_id
from waha_mcp.whatsapp.untrusted import Name, Words

logger = logging.getLogger(__name__)
T = TypeVar("T")

MESSAGE = "GET /api/{session}/chats/{chatId}/messages/{messageId}"
PRESENCE = "GET /api/{session}/presence/{chatId}"
#: Seconds of a whole call: hosts give one about 60. And those of them that are kept for wording what came.
WHOLE, WORDING = 55.0, 3.0
#: Seconds between two reports of progress.
REPORT = 10.0
#: Most messages or changes of one answer.
MOST = 50
#: How many hidden ids of new people are looked up in one call, where not all chats may be read.
LOOKED_UP = 20
#: Kinds of rows that are no messages to anybody.
_SILENT = ("reaction", "call", "system")

After = Annotated[
    str,
    PlaceReference(),
    Field(description="Message id or cursor; left out: now"),
]


class HeardMessage(Message):
    chat: ChatId | None = Field(None, description="As in the row before, where left out")
    chat_name: Name | None = None


class Heard(Page):
    chat: ChatId | None = None
    chat_name: Name | None = None
    messages: list[HeardMessage] = Field(description="Oldest first")
    waited: int = Field(description="Seconds")
    typing: bool | None = Field(None, description="They are still writing")
    cursor: LongCursor | None = Field(None, description="For after, to go on from here")


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


class Updates(Page):
    updates: list[HeardMessage | Change] = Field(description="Oldest first")
    cursor: LongCursor | None = Field(None, description="For after, to go on from here")


@tool(title="Wait for messages", action=Action.READ, calls=[OVERVIEW, MESSAGES, MESSAGE, PRESENCE], hints=READS)
async def wait_for_messages(
    chat: Chat | None = None,
    sender: Sender | None = None,
    after: After | None = None,
    timeout: Annotated[int, Field(ge=0, le=50, description="Seconds at most")] = 45,
    settle: Annotated[int, Field(ge=0, le=15, description="Seconds of quiet")] = int(SETTLE),
    *,
    ctx: Context,
) -> Heard:
    """Wait for others' messages, those since `after` included; returns them once the chat is quiet."""
    return await _Wait(ctx, chat, sender, settle).run(after, timeout)


@tool(title="What has happened", action=Action.READ, calls=[OVERVIEW, MESSAGES, MESSAGE], hints=READS)
async def get_updates(after: After | None = None, *, ctx: Context) -> Updates:
    """Tell what has happened since `after`: messages, edits, reactions, receipts, votes, groups, calls."""
    return await _in_time(ctx, _updates(ctx, after))


async def _updates(ctx: Context, after: str | None) -> Updates:
    whole = await ctx.directory.load_if_small()
    feed = await _feed(ctx)
    mark = await _mark(ctx, feed, after)
    came = await came_since(feed, mark)
    found = Found(ctx)
    await found.take(came.events)
    there, rows = len(found), found.rows[:MOST]
    shown, why = await ctx.directory.named(lambda names: found.worded(rows, names), whole=whole)
    end = feed.record.mark(came.number)
    last = rows[-1].mark() if there > MOST else end
    page = Updates(
        updates=shown,
        left_out=there - MOST if there > MOST else None,
        cursor=_cursor(last),
        notes=[*_notes(ctx, came), *_deaf(came), *([f"Not all names are known: {why}"] if why else ())] or None,
        not_told=_unread(ctx, came),
    )
    return page.resumable("after", [row.mark().state for row in rows])


class Answered(Sent):
    """A message that was sent, and what came after it."""

    replies: list[HeardMessage] = Field(description="Oldest first")
    waited: int = Field(description="Seconds")
    typing: bool | None = Field(None, description="They are still writing")
    cursor: LongCursor | None = Field(None, description="For after, to go on from here")
    notes: list[str] | None = None


async def replies_to(sent: Sent, arguments: Mapping[str, Any], ctx: Context) -> Sent:
    """Wait for answers to a message that was sent, as long as its argument `wait_for_reply` says."""
    seconds, chat = arguments.get("wait_for_reply"), arguments["chat"]
    if not seconds:
        return sent
    told = {name: getattr(sent, name) for name in Sent.model_fields}
    try:
        heard = await _Wait(ctx, chat, None, SETTLE).run(_mark_of(sent) or sent.message_id, seconds)
    except Exception as error:  # whatever it is, the message was sent
        why = str(error).rstrip(".") if isinstance(error, (ArgumentError, WahaError)) else "an error inside"
        if why == "an error inside":
            logger.exception("Waiting for an answer failed")
        after = f" Wait with wait_for_messages(after={sent.message_id})." if sent.message_id else ""
        note = f"It was sent; waiting for an answer failed: {why}.{'' if isinstance(error, Forbidden) else after}"
        return Answered(**told, replies=[], waited=0, notes=[note])
    return Answered(
        **told,
        replies=heard.messages,
        waited=heard.waited,
        typing=heard.typing,
        cursor=heard.cursor,
        notes=heard.notes,
    )


def _mark_of(sent: Sent) -> Mark | None:
    """The place behind a message that was sent; None where WAHA has not told its time and id."""
    if sent.time is None or sent.message_id is None:
        return None
    try:
        key = message_key(parse_message_id(sent.message_id))
    except ValueError:
        return None
    second = int(datetime.fromisoformat(sent.time).timestamp())
    return Mark("", 0, time.time(), second, frozenset((short(key),)))


async def _feed(ctx: Context) -> Feed:
    assert ctx.feed is not None
    await ctx.feed.open()
    if ctx.feed.state == "off":
        raise _no_more()
    return ctx.feed


def _no_more() -> Forbidden:
    return Forbidden("This key may not read any more, so nothing is heard")


async def _in_time(ctx: Context, work: Awaitable[T]) -> T:
    """The result of `work`, which is broken off where it takes longer than a whole call may.

    Raises:
        Unreachable: it did.
    """
    with anyio.move_on_after(ctx.started + WHOLE - time.monotonic()):
        return await work
    raise Unreachable("It took too long to find out what has happened.", "try again with the same after")


def _cursor(mark: Mark) -> str:
    return encode_cursor("after", mark.state)


async def _mark(ctx: Context, feed: Feed, after: str | Mark | None) -> Mark:
    """The place that an argument `after` names.

    Raises:
        ArgumentError: it names none.
        WahaError: the message cannot be looked up.
    """
    if isinstance(after, Mark):
        return after
    if after is None:
        return feed.record.mark()
    try:
        key = parse_message_id(after)
    except ValueError:
        try:
            return Mark.from_state(decode_cursor("after", after))
        except (ValueError, ArgumentError):
            raise ArgumentError(
                "after: neither a message id nor a cursor of wait_for_messages or get_updates; the cursor of a page "
                "leads to older messages. Pass the id of the newest message that you know"
            ) from None
    if not ctx.readable(ctx.directory.canonical(key.chat)) or not ctx.shows(key.chat, after):
        raise NotFound("WAHA has no message with this id: take one from get_messages or search_messages.")
    for each in feed.record.entries:
        if each.event.key is not None and message_id_of(each.event.row.get("id")) == after:
            return feed.record.mark(each.number)
    row = mapping_of(await ctx.waha.call(MESSAGE, path={"chatId": key.chat, "messageId": after}))
    event = message_event(row)
    if event is None or not event.time:
        raise NotFound("WAHA has no message with this id: take one from get_messages or search_messages.")
    assert event.key is not None
    return Mark("", 0, event.time, int(event.time), frozenset((short(event.key),)))


def _notes(ctx: Context, came: Came) -> list[str]:
    dropped = [f"{_counted(ctx, came.dropped)} were too many to keep: their messages were read back."]
    return [*(dropped if came.dropped else ()), *came.notes]


def _counted(ctx: Context, count: int) -> str:
    """A number of events; of how many there are in other chats, who may not read all is not told."""
    return f"{count} events" if ctx.readable(NOT_KNOWN) else "Events"


def _deaf(came: Came) -> list[str]:
    """Notes on times of which only messages are known."""
    if not came.deaf:
        return []
    spans = [f"from {iso_time(start)} " + (f"to {iso_time(end)}" if end else "on") for start, end in came.deaf[-3:]]
    if len(came.deaf) > 3:
        spans.insert(0, f"{len(came.deaf) - 3} times before")
    return [f"Reactions, receipts, edits, deletions and calls may be missing {', '.join(spans)}."]


def _unread(ctx: Context, came: Came) -> list[str] | None:
    """The chats that may be shown and could not be read back."""
    shown = {chat: why for chat, why in came.unread.items() if ctx.readable(ctx.directory.canonical(chat))}
    return [f"new messages of {chat}: {why}" for chat, why in shown.items()] or None


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
        by = event.by if event.by in (None, ME) else names.canonical(event.by)
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
        if not self.only_messages and _is_told(event):
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
    by = event.by if event.by in (None, ME) else names.canonical(event.by)
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


def _is_told(event: Event) -> bool:
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
    return _id_from(key._replace(id=event.about, chat=event.chat))


def _id_from(key: MessageKey) -> str:
    parts = [str(key.from_me).lower(), key.chat, key.id]
    return "_".join([*parts, key.participant] if key.participant else parts)


class _Wait:
    """One wait for messages."""

    def __init__(self, ctx: Context, chat: str | None, sender: str | None, settle: float) -> None:
        self._ctx = ctx
        self._found = Found(ctx, chat, sender, only_messages=True)
        self._chat = chat
        self._began = time.monotonic()
        self._settling = Settling(settle)
        #: Where somebody was last seen typing, and when that was last told (monotonic clock).
        self._typing_in: str | None = None
        self._told = float("-inf")

    async def run(self, after: str | Mark | None, seconds: float) -> Heard:
        """Wait so many seconds at most, and no longer than the call may take.

        Raises:
            ArgumentError, WahaError: as `_mark` and `came_since`; or the key may not read any more.
        """
        return await _in_time(self._ctx, self._run(after, seconds))

    async def _run(self, after: str | Mark | None, seconds: float) -> Heard:
        ctx = self._ctx
        ends = min(time.monotonic() + seconds, ctx.started + WHOLE - WORDING)
        whole = await ctx.directory.load_if_small()
        feed = await _feed(ctx)
        record = feed.record
        mark = await _mark(ctx, feed, after)
        for each in filter(None, (self._chat, self._found.sender)):
            # WAHA may call them by their other id.
            await ctx.directory.learn(each)
        if self._chat is not None:
            # It tells of typing only once it was asked.
            assert feed.start is not None
            feed.start(self._see_typing, self._chat)
        came = await came_since(feed, mark)
        await self._take(came.events)
        number, notes = came.number, _notes(ctx, came)
        reported = time.monotonic()
        while True:
            if feed.record is not record:
                raise _no_more()
            entries, dropped = record.since(number)
            if dropped:
                notes.append(
                    f"{_counted(ctx, dropped)} came too fast to keep: messages among them may be missing here."
                )
            await self._take((each.event, each.when, partial(record.mark, each.number)) for each in entries)
            number = entries[-1].number if entries else number
            now = time.monotonic()
            quiet = self._settling.settled_from
            if now >= ends or (self._found and now >= quiet) or len(self._found) >= MOST:
                break
            typing = self._settling.typed_at > self._told
            if typing or now - reported >= REPORT:
                reported = now
                self._told = self._settling.typed_at
                await ctx.progress(now - self._began, ends - self._began, "typing …" if typing else "waiting …")
            until = min(ends, quiet if self._found else ends, reported + REPORT)
            with anyio.move_on_after(until - now):
                await record.more(number)
        rows = self._found.rows[:MOST]
        (chat_name, shown), why = await ctx.directory.named(
            lambda names: (names.name(self._chat) if self._chat else None, self._found.worded(rows, names)),
            whole=whole,
            group=self._chat or "",
        )
        end = rows[-1].mark() if len(self._found) > MOST else record.mark(number)
        page = Heard(
            chat=self._chat,
            chat_name=chat_name,
            messages=shown,
            waited=round(time.monotonic() - self._began),
            typing=self._settling.typing(time.monotonic()) or None,
            left_out=len(self._found) - MOST if len(self._found) > MOST else None,
            cursor=_cursor(end),
            notes=[*notes, *([f"Not all names are known: {why}"] if why else ())] or None,
            not_told=_unread(ctx, came),
        )
        return page.resumable("after", [row.mark().state for row in rows])

    async def _take(self, events: Iterable[tuple[Event, float, Callable[[], Mark]]]) -> None:
        for event, when, mark in events:
            count = len(self._found)
            for seen in await self._found.take([(event, when, mark)]):
                came = time.monotonic() - max(time.time() - when, 0)
                if seen.kind == "presence" and seen.what in ("typing", "recording"):
                    self._settling.typed(came)
                    self._typing_in = seen.chat
                elif seen.kind == "presence" and seen.chat == self._typing_in:
                    self._settling.paused()
                if len(self._found) > count:
                    self._settling.message(came)

    async def _see_typing(self, chat: str) -> None:
        """Have WAHA tell of typing in the chat, which it does once asked for who is there."""
        with suppress(WahaError):
            await self._ctx.waha.call(PRESENCE, path={"chatId": chat})
