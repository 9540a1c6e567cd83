"""Tools that read messages."""

from typing import Annotated, Any

from pydantic import Field, WithJsonSchema

from waha_mcp.app.actions import Action
from waha_mcp.history.matching import Wanted
from waha_mcp.history.rest import MESSAGES, Rest, rows_after
from waha_mcp.history.source import START, Budget, Place, Row, stopped
from waha_mcp.tools.catalog import READS, ArgumentError, Context, tool
from waha_mcp.tools.moments import Since, Until
from waha_mcp.tools.paging import Page, decode_cursor, encode_cursor, left, place_of
from waha_mcp.tools.params import Chat, Cursor, Detail, Limit, Sender, SourceMessageId
from waha_mcp.waha.errors import ONE_OPERATION, NotFound, Refused, Unsupported
from waha_mcp.waha.marks import ChatId
from waha_mcp.waha.message_kinds import MessageKind
from waha_mcp.waha.messages import Message, Names, message_from
from waha_mcp.waha.models import Result, message_id_of
from waha_mcp.waha.parsing import epoch
from waha_mcp.waha.rows import briefly
from waha_mcp.whatsapp.ids import parse_message_id
from waha_mcp.whatsapp.untrusted import Name

MESSAGE = "GET /api/{session}/chats/{chatId}/messages/{messageId}"
#: Requests that one call makes at most, and the seconds after which it makes no further one.
MOST_REQUESTS, SECONDS = 10, 15.0


class Messages(Page):
    chat: ChatId
    chat_name: Name | None = None
    messages: list[Message] = Field(description="Newest first")


#: The whole list would be a third of the tool's schema; who names another kind gets it with the error.
_KIND = WithJsonSchema({"type": "string", "description": "Only image, voice, document, poll, ..."})


@tool(title="Read messages", action=Action.READ, calls=[MESSAGES], hints=READS)
async def get_messages(
    chat: Chat,
    limit: Limit = 20,
    since: Since | None = None,
    until: Until | None = None,
    sender: Sender | None = None,
    from_me: Annotated[bool, Field(description="true: only own, false: only others'")] | None = None,
    kind: Annotated[MessageKind, _KIND] | None = None,
    cursor: Cursor | None = None,
    detail: Detail = "concise",
    *,
    ctx: Context,
) -> Messages:
    """Read one chat's messages, newest first. Marks nothing as read. `them` is the other side; a time without a day is
    of the day above it, at first today.
    """
    place = _place(chat, cursor)
    whole = await ctx.directory.load_if_small()
    wanted = Wanted("me" if sender in ctx.directory.me else sender, kind)
    picky = wanted != Wanted() or from_me is not None
    budget = Budget(MOST_REQUESTS, SECONDS)
    # One more than is shown tells whether there are more.
    source = Rest(ctx.waha, chat, from_me=from_me, page=100 if picky else max(limit + 1, 10))
    rows: list[Row] = []
    places: list[Place] = []
    more: dict[str, Any] = {}
    span = since.timestamp() if since else None, until.timestamp() if until else None
    async for step in source.rows(place, *span, budget):
        if step.row is None:
            source.notes.append(stopped(budget, step.place, "older messages not looked at yet"))
            more = left(0, encode_cursor("messages", [chat, *step.place.state]), exact=False)
            break
        if len(rows) == limit:
            more = left(1, encode_cursor("messages", [chat, *places[-1].state]), exact=False)
            break
        if not _may_show(ctx, chat, step.row):
            continue
        if picky:
            message = message_from(step.row, ctx.directory, full=False, chat=chat)
            if message is None or message not in wanted:
                continue
        rows.append(step.row)
        places.append(step.place)

    ctx.noticed(rows)

    def read(names: Names) -> tuple[str | None, list[Message]]:
        read = (message_from(row, names, full=detail == "full", chat=chat) for row in rows)
        return names.name(chat), list(filter(None, read))

    (chat_name, shown), why = await ctx.directory.named(read, whole=whole, group=chat)
    if why:
        source.notes.append(f"Not all names are known: {why}")
    page = Messages(chat=chat, chat_name=chat_name, messages=_once(shown), notes=source.notes or None, **more)
    return page.resumable("messages", [[chat, *place.state] for place in places])


def _once(messages: list[Message]) -> list[Message]:
    """The messages, each name that somebody chose for themselves only where it comes first."""
    told: set[str] = set()
    found: list[Message] = []
    for message in messages:
        name = message.calls_themselves
        found.append(message.model_copy(update={"calls_themselves": None}) if name in told else message)
        if name is not None:
            told.add(name)
    return found


def _place(chat: str, cursor: str | None) -> Place:
    if cursor is None:
        return START
    match decode_cursor("messages", cursor):
        case [str(of), *state] if of == chat:
            return place_of(state)
    raise ArgumentError("cursor: belongs to another chat; pass the cursor together with the chat it came from")


class MessageView(Result):
    chat: ChatId
    chat_name: Name | None = None
    message: Message
    before: list[Message] | None = Field(None, description="Oldest first")
    after: list[Message] | None = Field(None, description="Oldest first")
    notes: list[str] | None = None


Around = Annotated[int, Field(ge=0, le=20, description="How many messages")]


@tool(title="Read one message", action=Action.READ, calls=[MESSAGE, MESSAGES], hints=READS)
async def get_message(
    message_id: SourceMessageId,
    before: Around = 0,
    after: Around = 0,
    text_from: Annotated[int, Field(ge=0, description="Character to start a long text at")] = 0,
    *,
    ctx: Context,
) -> MessageView:
    """Show one message in full, with those around it if asked for."""
    whole = await ctx.directory.load_if_small()
    here = parse_message_id(message_id).chat
    chat, _ = await ctx.directory.named(lambda names: names.canonical(here), whole=whole)
    raw = ctx.messages[message_id]
    notes: list[str] = []
    rows_before = await _before(ctx, chat, raw, before, notes)
    rows_after = await _after(ctx, chat, raw, after, notes)
    ctx.noticed([raw, *rows_before, *rows_after])

    def read(names: Names) -> tuple[str | None, Message | None, list[Message], list[Message]]:
        def in_brief(rows: list[Row]) -> list[Message]:
            return list(filter(None, (message_from(row, names, full=False, chat=chat) for row in rows)))

        return names.name(chat), message_from(raw, names, chat=chat), in_brief(rows_before), in_brief(rows_after)

    (chat_name, message, *around), why = await ctx.directory.named(read, whole=whole, group=chat)
    if message is None:
        raise no_message()
    if text_from:
        message = message.model_copy(update={"text": (message.text or "")[text_from:] or None})
    if why:
        notes.append(f"Not all names are known: {why}")
    found_before, found_after = around
    return MessageView(
        chat=chat,
        chat_name=chat_name,
        message=message,
        before=found_before[::-1] or None,
        after=found_after or None,
        notes=notes or None,
    )


def no_message() -> NotFound:
    """The error where there is no message with an id."""
    return NotFound("WAHA has no message with this id: take one from get_messages or search_messages.")


async def _before(ctx: Context, chat: str, raw: Row, count: int, notes: list[str]) -> list[Row]:
    found: list[Row] = []
    if count == 0:
        return found
    message_id = message_id_of(raw.get("id")) or ""
    place = Place(int(epoch(raw.get("timestamp")) or 0), message_id)
    source = Rest(ctx.waha, chat, page=max(count + 1, 10))
    try:
        async for step in source.rows(place, None, None, Budget(MOST_REQUESTS, SECONDS)):
            if step.row is None:
                break
            if _may_show(ctx, chat, step.row):
                found.append(step.row)
            if len(found) == count:
                break
    except ONE_OPERATION as error:
        notes.append(f"Not all that came before could be read: {briefly(error)}.")
    return found


async def _after(ctx: Context, chat: str, raw: Row, count: int, notes: list[str]) -> list[Row]:
    if count == 0:
        return []
    second = int(epoch(raw.get("timestamp")) or 0)
    try:
        rows = await rows_after(ctx.waha, chat, second, count)
    except (Unsupported, Refused):
        notes.append("This engine cannot read forward from a message: see get_messages for what came after.")
        return []
    except ONE_OPERATION as error:
        notes.append(f"What came after could not be read: {briefly(error)}.")
        return []
    return [row for row in rows if _may_show(ctx, chat, row)][:count]


def _may_show(ctx: Context, chat: str, row: Row) -> bool:
    message_id = message_id_of(row.get("id"))
    return message_id is not None and ctx.shows(chat, message_id)
