"""Tools that hear: they wait for messages, and tell what came since a place."""

import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any, Literal

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
from waha_mcp.waha.errors import NotFound, WahaError
from waha_mcp.waha.events import ME, Event, Row, message_event, message_key
from waha_mcp.waha.marks import Author, ChatId, LongCursor, LongId, Time
from waha_mcp.waha.messages import Message, Names, message_from, shown_name
from waha_mcp.waha.models import Nested, Sent, message_id_of
from waha_mcp.waha.parsing import iso_time, kind_of_chat, mapping_of, text_of
from waha_mcp.whatsapp.ids import MessageKey, parse_message_id
from waha_mcp.whatsapp.untrusted import Name, Words

MESSAGE = "GET /api/{session}/chats/{chatId}/messages/{messageId}"
PRESENCE = "GET /api/{session}/presence/{chatId}"
#: Seconds of a whole call: hosts give one about 60.
WHOLE = 55.0
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
    ends = min(time.monotonic() + timeout, ctx.started + WHOLE)
    return await _Wait(ctx, chat, sender, settle).run(after, ends)


@tool(title="What has happened", action=Action.READ, calls=[OVERVIEW, MESSAGES, MESSAGE], hints=READS)
async def get_updates(after: After | None = None, *, ctx: Context) -> Updates:
    """Tell what has happened since `after`: messages, edits, reactions, receipts, votes, groups, calls."""
    whole = await ctx.directory.load_if_small()
    feed = await _feed(ctx)
    mark = await _mark(ctx, feed, after)
    came = await came_since(feed, mark)
    found = Found(ctx)
    await found.take(came.events)
    rows = found.rows[:MOST]
    shown, why = await ctx.directory.named(lambda names: found.worded(rows, names), whole=whole)
    end = feed.record.mark(came.number)
    last = rows[-1].mark if len(found.rows) > MOST else end
    page = Updates(
        updates=shown,
        left_out=len(found.rows) - MOST if len(found.rows) > MOST else None,
        cursor=_cursor(last),
        notes=[*came.notes, *_deaf(came), *([f"Not all names are known: {why}"] if why else ())] or None,
        not_told=_unread(ctx, came),
    )
    return page.resumable("after", [row.mark.state for row in rows])


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
        ends = min(time.monotonic() + seconds, ctx.started + WHOLE)
        heard = await _Wait(ctx, chat, None, SETTLE).run(_mark_of(sent) or sent.message_id, ends)
    except (ArgumentError, WahaError) as error:
        after = f" Wait with wait_for_messages(after={sent.message_id})." if sent.message_id else ""
        note = f"It was sent; waiting for an answer failed: {str(error).rstrip('.')}.{after}"
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
    return ctx.feed


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
    """A message or a change, and the place behind it. `edited`, `deleted`, `status`: what became of it meanwhile."""

    event: Event
    chat: str
    mark: Mark
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
    rows: list[_Row] = field(default_factory=list)
    #: Messages by chat and bare id, and the edits and deletions that came before their message.
    _by_id: dict[tuple[str, str], _Row] = field(default_factory=dict)
    _early: dict[tuple[str, str], list[_Row]] = field(default_factory=dict)
    _looked_up: int = 0

    async def take(self, events: Iterable[tuple[Event, float, Mark]]) -> list[Event]:
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
        if chat.endswith("@lid") and self._looked_up < LOOKED_UP and not self.ctx.readable(chat):
            self._looked_up += 1
            chat = await names.learn(chat)
        if not self.ctx.readable(chat):
            return None
        message_id = message_id_of(event.row.get("id"))
        if kind_of_chat(chat) in ("status", "broadcast") and not (message_id and self.ctx.shows(chat, message_id)):
            return None
        return chat

    def _add(self, event: Event, chat: str, mark: Mark) -> None:
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
            self.rows.append(row)
            at = chat, parse_message_id(message.id).id
            self._by_id[at] = row
            for change in self._early.pop(at, ()):
                if _fold(row, change.event, names) and change in self.rows:
                    self.rows.remove(change)
            return
        at = chat, event.about or ""
        of = self._by_id.get(at)
        if of is not None and _fold(of, event, names):
            return
        if of is None and event.kind in ("edited", "deleted", "receipt"):
            # Some engines tell of it before the message.
            self._early.setdefault(at, []).append(row)
        if not self.only_messages and _is_told(event):
            self._add_change(row)

    def _add_change(self, row: _Row) -> None:
        """Add a change; of receipts of a message, and reactions of one person to it, the last counts."""
        event = row.event
        if event.kind in ("receipt", "reaction", "vote"):
            same = next((each for each in self.rows if _replaces(event, each.event)), None)
            if same is not None:
                self.rows.remove(same)
        self.rows.append(row)

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


def _fold(of: _Row, event: Event, names: Names) -> bool:
    """Fold what became of a message into it, where it is certain; whether that was done."""
    by, author = (each.by if each.by in (None, ME) else names.canonical(each.by) for each in (event, of.event))
    if event.kind == "receipt" and author == ME and kind_of_chat(of.chat) == "person" and by != ME:
        of.status = str(event.what)
        return True
    # That only its author edits or deletes a message, their app has seen to; the engine has not.
    if by is None or by != author:
        return False
    if event.kind == "edited":
        of.edited = event.row
    of.deleted = of.deleted or event.kind == "deleted"
    return event.kind in ("edited", "deleted")


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
    return HeardMessage.model_construct(**fields | of)


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


def _replaces(event: Event, before: Event) -> bool:
    same = before.kind == event.kind and before.chat == event.chat and before.about == event.about
    return same and (event.kind == "receipt" or before.by == event.by)


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
        #: When it was last told that somebody types (monotonic clock).
        self._told = float("-inf")

    async def run(self, after: str | Mark | None, ends: float) -> Heard:
        """Wait until `ends` (monotonic clock) at most.

        Raises:
            ArgumentError, WahaError: as `_mark` and `came_since`.
        """
        ctx = self._ctx
        whole = await ctx.directory.load_if_small()
        feed = await _feed(ctx)
        mark = await _mark(ctx, feed, after)
        if self._chat is not None:
            # WAHA may call them by their other id, and tells of typing only once it was asked.
            await ctx.directory.learn(self._chat)
            assert feed.start is not None
            feed.start(self._see_typing, self._chat)
        came = await came_since(feed, mark)
        await self._take(came.events)
        number, notes = came.number, came.notes
        reported = time.monotonic()
        while True:
            entries, dropped = feed.record.since(number)
            if dropped:
                notes.append(f"{dropped} events came too fast to keep: messages among them may be missing here.")
            await self._take((each.event, each.when, feed.record.mark(each.number)) for each in entries)
            number = entries[-1].number if entries else number
            now = time.monotonic()
            quiet = self._settling.settled_from
            if now >= ends or (self._found.rows and now >= quiet) or len(self._found.rows) >= MOST:
                break
            typing = self._settling.typed_at > self._told
            if typing or now - reported >= REPORT:
                reported = now
                self._told = self._settling.typed_at
                await ctx.progress(now - self._began, ends - self._began, "typing …" if typing else "waiting …")
            until = min(ends, quiet if self._found.rows else ends, reported + REPORT)
            with anyio.move_on_after(until - now):
                await feed.record.more(number)
        rows = self._found.rows[:MOST]
        (chat_name, shown), why = await ctx.directory.named(
            lambda names: (names.name(self._chat) if self._chat else None, self._found.worded(rows, names)),
            whole=whole,
            group=self._chat or "",
        )
        end = rows[-1].mark if len(self._found.rows) > MOST else feed.record.mark(number)
        page = Heard(
            chat=self._chat,
            chat_name=chat_name,
            messages=shown,
            waited=round(time.monotonic() - self._began),
            typing=self._settling.typing(time.monotonic()) or None,
            left_out=len(self._found.rows) - MOST if len(self._found.rows) > MOST else None,
            cursor=_cursor(end),
            notes=[*notes, *([f"Not all names are known: {why}"] if why else ())] or None,
            not_told=_unread(ctx, came),
        )
        return page.resumable("after", [row.mark.state for row in rows])

    async def _take(self, events: Iterable[tuple[Event, float, Mark]]) -> None:
        for event, when, mark in events:
            count = len(self._found.rows)
            for seen in await self._found.take([(event, when, mark)]):
                came = time.monotonic() - max(time.time() - when, 0)
                if seen.kind == "presence" and seen.what in ("typing", "recording"):
                    self._settling.typed(came)
                if len(self._found.rows) > count:
                    self._settling.message(came)

    async def _see_typing(self, chat: str) -> None:
        """Have WAHA tell of typing in the chat, which it does once asked for who is there."""
        with suppress(WahaError):
            await self._ctx.waha.call(PRESENCE, path={"chatId": chat})
