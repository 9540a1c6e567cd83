"""Tools that hear: they wait for messages, and tell what came since a place."""

import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import datetime
from typing import Annotated, Any, TypeVar

import anyio
from pydantic import Field

from waha_mcp.app.actions import Action
from waha_mcp.feed.live import PRESENCE, Feed
from waha_mcp.feed.record import Mark, second_of, short
from waha_mcp.feed.settling import SETTLE, Settling, monotonic
from waha_mcp.feed.since import Came, came_since
from waha_mcp.history.rest import MESSAGES
from waha_mcp.tools.catalog import READS, ArgumentError, Context, tool
from waha_mcp.tools.core.chat_messages import MESSAGE, no_message
from waha_mcp.tools.core.what_came import MOST, Change, Found, HeardMessage
from waha_mcp.tools.paging import Page, decode_cursor, encode_cursor
from waha_mcp.tools.params import Chat, PlaceReference, Sender
from waha_mcp.waha.chat_rows import OVERVIEW
from waha_mcp.waha.errors import Forbidden, Unreachable, WahaError
from waha_mcp.waha.events import Event, message_event, message_key
from waha_mcp.waha.marks import ChatId, LongCursor
from waha_mcp.waha.models import Sent, message_id_of
from waha_mcp.waha.parsing import iso_time, mapping_of
from waha_mcp.whatsapp.ids import NOT_KNOWN, parse_message_id
from waha_mcp.whatsapp.untrusted import Name

logger = logging.getLogger(__name__)
T = TypeVar("T")

#: Seconds of a whole call: hosts give one about 60. And those of them that are kept for wording what came.
WHOLE, WORDING = 55.0, 3.0
#: Seconds between two reports of progress, and at least between two of typing.
REPORT, REPORT_TYPING = 10.0, 1.0
After = Annotated[
    str,
    PlaceReference(),
    Field(description="Message id or cursor; default now"),
]


class Heard(Page):
    chat: ChatId | None = None
    chat_name: Name | None = None
    messages: list[HeardMessage] = Field(description="Oldest first")
    waited: int = Field(description="Seconds")
    typing: bool | None = Field(None, description="They are still writing")
    cursor: LongCursor | None = Field(None, description="For after, to go on from here")


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
    """Wait for others' messages, those since `after` included, until the chat is quiet."""
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
        not_told=_unread(ctx, came.unread),
    )
    return page.resumable("after", [row.mark().state for row in rows])


class Answered(Sent):
    """A message that was sent, and what came after it."""

    replies: list[HeardMessage] = Field(description="Oldest first")
    waited: int = Field(description="Seconds")
    typing: bool | None = Field(None, description="They are still writing")
    cursor: LongCursor | None = Field(None, description="For after, to go on from here")
    notes: list[str] | None = None


async def replies_to(sent: Sent, arguments: Mapping[str, Any], ctx: Context, place: Mark | None) -> Sent:
    """Wait for answers to a message that was sent, as long as its argument `wait_for_reply` says.

    `place`: where the feed was right before; None: nobody listened yet.
    """
    seconds, chat = arguments.get("wait_for_reply"), arguments["chat"]
    if not seconds:
        return sent
    told = {name: getattr(sent, name) for name in Sent.model_fields}
    try:
        heard = await _Wait(ctx, chat, None, SETTLE).run(place or _mark_of(sent) or sent.message_id, seconds)
    except Exception as error:  # whatever it is, the message was sent
        why = "an error inside"
        if isinstance(error, (ArgumentError, WahaError)):
            why = str(error).rstrip(".")
        else:
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
    second = second_of(datetime.fromisoformat(sent.time).timestamp())
    return Mark("", 0, time.time(), second, frozenset((short(key),)))


async def _feed(ctx: Context) -> Feed:
    assert ctx.feed is not None
    await ctx.feed.open()
    if ctx.feed.state == "off":
        raise _no_more()
    return ctx.feed


def _no_more() -> Forbidden:
    return Forbidden("This key may no longer read, so no events arrive")


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
        raise no_message()
    for each in feed.record.entries:
        if each.event.key is not None and message_id_of(each.event.row.get("id")) == after:
            return feed.record.mark(each.number)
    row = mapping_of(await ctx.waha.call(MESSAGE, path={"chatId": key.chat, "messageId": after}))
    event = message_event(row)
    if event is None or not event.time:
        raise no_message()
    assert event.key is not None
    second = second_of(event.time)
    return Mark("", 0, second, second, frozenset((short(event.key),)))


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


def _unread(ctx: Context, unread: Mapping[str, str]) -> list[str] | None:
    """The chats that may be shown and could not be read back."""
    shown = {chat: why for chat, why in unread.items() if ctx.readable(ctx.directory.canonical(chat))}
    return [f"new messages of {chat}: {why}" for chat, why in shown.items()] or None


class _Wait:
    """One wait for messages."""

    def __init__(self, ctx: Context, chat: str | None, sender: str | None, settle: float) -> None:
        self._ctx = ctx
        self._found = Found(ctx, chat, sender, only_messages=True)
        self._chat = chat
        self._began = time.monotonic()
        self._settling = Settling(settle)
        #: Where and who was last seen typing, and when that was last told (monotonic clock).
        self._typing: tuple[str | None, str | None] | None = None
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
            feed.see_typing(self._chat)
        notes, unread = list[str](), dict[str, str]()
        reported = time.monotonic()
        while True:
            if feed.record is not record:
                raise _no_more()
            # Each time, since more may come at once than is kept.
            came = await came_since(feed, mark)
            await self._take(came.events)
            mark = record.mark(came.number)
            notes += _notes(ctx, came)
            unread |= came.unread
            now = time.monotonic()
            quiet = self._settling.settled_from
            if now >= ends or (self._found and now >= quiet) or len(self._found) >= MOST:
                break
            typing = self._settling.typed_at > self._told + REPORT_TYPING
            if typing or now - reported >= REPORT:
                reported = now
                self._told = self._settling.typed_at
                await ctx.progress(now - self._began, ends - self._began, "typing …" if typing else "waiting …")
            until = min(ends, quiet if self._found else ends, reported + REPORT)
            with anyio.move_on_after(until - now):
                await record.more(came.number)
        rows = self._found.rows[:MOST]
        (chat_name, shown), why = await ctx.directory.named(
            lambda names: (names.name(self._chat) if self._chat else None, self._found.worded(rows, names)),
            whole=whole,
            group=self._chat or "",
        )
        end = rows[-1].mark() if len(self._found) > MOST else mark
        page = Heard(
            chat=self._chat,
            chat_name=chat_name,
            messages=shown,
            waited=round(time.monotonic() - self._began),
            typing=self._settling.typing(time.monotonic()) or None,
            left_out=len(self._found) - MOST if len(self._found) > MOST else None,
            cursor=_cursor(end),
            notes=[*dict.fromkeys(notes), *([f"Not all names are known: {why}"] if why else ())] or None,
            not_told=_unread(ctx, unread),
        )
        return page.resumable("after", [row.mark().state for row in rows])

    async def _take(self, events: Iterable[tuple[Event, float, Callable[[], Mark]]]) -> None:
        for event, when, mark in events:
            count = len(self._found)
            for seen in await self._found.take([(event, when, mark)]):
                came = monotonic(when)
                if seen.kind == "presence":
                    self._see(seen, came)
                if len(self._found) > count:
                    self._settling.message(came)

    def _see(self, presence: Event, came: float) -> None:
        """Take it that somebody types, or has stopped; of all but the wanted sender it does not count."""
        who = presence.chat, presence.by
        if presence.what not in ("typing", "recording"):
            if who == self._typing:
                self._settling.paused()
        elif self._found.sender in (None, self._ctx.directory.canonical(presence.by or presence.chat or "")):
            self._settling.typed(came)
            self._typing = who
