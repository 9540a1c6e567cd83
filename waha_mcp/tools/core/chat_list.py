"""Tools that list and find chats, and show unread messages."""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any

from pydantic import Field

from waha_mcp.app.actions import Action
from waha_mcp.concurrency import each
from waha_mcp.history.records import Has, message_of
from waha_mcp.history.rest import MESSAGES
from waha_mcp.people.parts import NAMES
from waha_mcp.tools.catalog import READS, Context, tool
from waha_mcp.tools.paging import Page, encode_cursor, left, offset_of
from waha_mcp.tools.params import Cursor, Detail, Limit
from waha_mcp.waha.chat_rows import OVERVIEW, ChatSummary, chat_from, unread_of
from waha_mcp.waha.errors import ONE_OPERATION
from waha_mcp.waha.marks import Day, FullOnly, RowId
from waha_mcp.waha.messages import Message, Names, message_from
from waha_mcp.waha.models import Nested, message_id_of
from waha_mcp.waha.parsing import ChatKind, chat_id_of, iso_time, listing, mapping_of
from waha_mcp.waha.rows import Pages, briefly
from waha_mcp.whatsapp.ids import bare_id, phone_of
from waha_mcp.whatsapp.untrusted import Name

#: The note where the engine counts nothing.
NO_COUNTS = "This engine does not say what is unread: see list_chats for what is new."
#: Most chats that get_unread examines per call.
LOOKED_AT = 500


class Chats(Page):
    chats: list[ChatSummary]


@tool(title="List chats", action=Action.READ, calls=[OVERVIEW], hints=READS)
async def list_chats(
    limit: Limit = 20, cursor: Cursor | None = None, detail: Detail = "concise", *, ctx: Context
) -> Chats:
    """List WhatsApp chats, most recent first, with name and last message."""
    offset = offset_of("chats", cursor)
    whole = await ctx.directory.load_if_small()
    rows: list[Mapping[str, Any]] = []
    places: list[int] = []
    more: dict[str, Any] = {}
    pages = Pages(ctx.waha, OVERVIEW, "chats", size=limit + 1, offset=offset)
    async for row in pages.rows():
        chat_id = chat_id_of(row.get("id"))
        if chat_id is None or not ctx.readable(ctx.directory.canonical(chat_id)):
            continue
        if len(rows) == limit:
            known = ctx.directory.count_chats()
            exact = whole and known > places[-1] and not ctx.directory.not_known("chats")
            more = left(known - places[-1] if exact else 1, encode_cursor("chats", places[-1]), exact=exact)
            break
        rows.append(row)
        places.append(pages.offset)

    def read(names: Names) -> list[ChatSummary]:
        return list(filter(None, (chat_from(row, names, full=detail == "full") for row in rows)))

    shown, why = await ctx.directory.named(read, whole=whole)
    page = Chats(chats=shown, not_told=_not_told(ctx, pages, [f"names of people: {why}"] if why else ()), **more)
    return page.resumable("chats", places)


def _not_told(ctx: Context, pages: Pages, others: Iterable[str] = ()) -> list[str] | None:
    """What is missing in a page of chats: chats, names and `others`; None if nothing."""
    missing = [f"chats: {pages.gap}"] if pages.gap else []
    names = [f"names of {each}" for each in ctx.directory.not_known("contacts", "groups") or ()]
    return [*missing, *names, *others] or None


class UnreadChat(Nested):
    id: RowId
    name: Name | None = None
    kind: Annotated[ChatKind, FullOnly()]
    unread: int | None = None
    marked_unread: bool | None = Field(None, description="The owner marked it as unread")
    messages: list[Message] = Field(description="The last of the unread ones, oldest first")


class Unread(Page):
    chats: list[UnreadChat]
    looked_at: int = Field(description="How many chats were looked through, the most recent first")


@tool(title="What is new", action=Action.READ, calls=[OVERVIEW, MESSAGES], hints=READS)
async def get_unread(
    limit: Limit = 10,
    lines: Annotated[int, Field(ge=1, le=20, description="Messages of each chat")] = 3,
    cursor: Cursor | None = None,
    *,
    ctx: Context,
) -> Unread:
    """Show what is new: chats with unread messages and their last lines. Marks nothing as read."""
    start = offset_of("unread", cursor)
    whole = await ctx.directory.load_if_small()
    found: list[Mapping[str, Any]] = []
    places: list[int] = []
    unreadable: list[str] = []
    told = more = False
    # Chats that may not be read are not counted.
    looked_at = 0
    pages = Pages(ctx.waha, OVERVIEW, "chats", size=100, offset=start)
    async for row in pages.rows():
        if pages.offset - start > LOOKED_AT:
            more = True
            break
        unread, marked = unread_of(row)
        told = told or unread is not None
        chat_id = chat_id_of(row.get("id"))
        if chat_id is None or not ctx.readable(ctx.directory.canonical(chat_id)):
            continue
        if (unread or marked) and len(found) == limit:
            more = True
            break
        looked_at += 1
        if not (unread or marked):
            continue
        found.append(row)
        places.append(pages.offset)
    full = more and len(found) == limit
    place = places[-1] if full else min(pages.offset, start + LOOKED_AT)
    chats = await each(found, lambda row: _with_lines(ctx, row, lines, unreadable, whole=whole))
    page = Unread(
        chats=chats,
        looked_at=looked_at,
        notes=None if told or not place else [NO_COUNTS],
        not_told=_not_told(ctx, pages, unreadable),
        **(left(1 if full else 0, encode_cursor("unread", place), exact=False) if more else {}),
    )
    return page.resumable("unread", places)


async def _with_lines(
    ctx: Context, row: Mapping[str, Any], lines: int, unreadable: list[str], *, whole: bool
) -> UnreadChat:
    """A chat with at most `lines` of its unread messages; errors are appended to `unreadable`."""
    summary, _ = await ctx.directory.named(lambda names: chat_from(row, names, full=False), whole=whole)
    assert summary is not None
    chat = summary.id
    count = min(lines, summary.unread or 1)
    why = None
    if (kept := await _kept_lines(ctx, row, chat, count)) is not None:
        return _unread(summary, kept)
    try:
        answer = await ctx.waha.call(
            MESSAGES,
            path={"chatId": chat},
            # Own and deleted messages may be among them, so request a few more.
            query={"limit": count + 5, "downloadMedia": False, "sortBy": "timestamp", "sortOrder": "desc"},
        )
        rows = listing(answer, "messages")
    except ONE_OPERATION as error:
        # Not every engine can read channels; use the last message of the overview instead.
        rows = [mapping_of(row.get("lastMessage"))]
        why = briefly(error)

    def read(names: Names) -> list[Message | None]:
        return [message_from(each, names, full=False, chat=chat) for each in rows]

    last, _ = await ctx.directory.named(read, whole=whole)
    incoming = [message for message in last if message is not None and message.sender != "me"][:count]
    if why and len(incoming) < count:
        unreadable.append(f"more messages of {summary.id}: {why}")
    return _unread(summary, incoming)


def _unread(summary: ChatSummary, messages: list[Message]) -> UnreadChat:
    return UnreadChat(
        id=summary.id,
        name=summary.name,
        kind=summary.kind,
        unread=summary.unread or None,
        marked_unread=summary.marked_unread,
        messages=messages[::-1],
    )


async def _kept_lines(ctx: Context, row: Mapping[str, Any], chat: str, count: int) -> list[Message] | None:
    """The lines of `_with_lines` from the index, newest first; None where it does not have them just as they are."""
    last = message_id_of(mapping_of(row.get("lastMessage")).get("id"))
    if ctx.indexing is None or last is None:
        return None
    records = await ctx.indexing.newest(chat, count + 5)
    incoming = [record for record in records if not record.key.from_me][:count]
    # Quotes are not kept, nor whom a mention names.
    plain = all(
        record.kind == "text" and not record.extra and "@" not in record.text and not record.has & Has.QUOTE
        for record in incoming
    )
    if len(incoming) < count or not plain or records[0].key.id != bare_id(last):
        return None

    def read(names: Names) -> list[Message]:
        return [message_of(record, names, chat) for record in incoming]

    messages, _ = await ctx.directory.named(read, whole=False)
    return messages


class FoundChat(Nested):
    id: RowId
    name: Name | None = Field(None, description="As saved, or a group's subject")
    calls_themselves: Name | None = Field(None, description="The name that they chose")
    kind: Annotated[ChatKind, FullOnly()]
    phone: str | None = Field(None, description="E.164")
    last_active: Day | None = Field(
        None, description="When the chat last had a message; none: no chat yet, or WAHA does not say"
    )


class FoundChats(Page):
    chats: list[FoundChat] = Field(description="Best first")


@tool(title="Find chats", action=Action.READ, calls=["GET /api/contacts/all"], hints=READS)
async def find_chats(
    query: Annotated[
        str, Field(min_length=1, max_length=200, description="A name, or digits of a number; typos are fine")
    ],
    limit: Limit = 10,
    *,
    ctx: Context,
) -> FoundChats:
    """Find people, groups and channels by name or number, best match first."""
    await ctx.directory.load()
    found = ctx.directory.find(query, limit)
    if not found:
        await ctx.directory.refresh()
        found = ctx.directory.find(query, limit)
    return FoundChats(
        chats=[
            FoundChat(
                id=entry.id,
                name=entry.name,
                calls_themselves=entry.push_name if entry.push_name != entry.name else None,
                kind=entry.kind,
                phone=phone_of(entry.id),
                last_active=iso_time(entry.last_active),
            )
            for entry in found
        ],
        not_told=ctx.directory.not_known(*NAMES),
    )
