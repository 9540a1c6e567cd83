"""Tools that read messages."""

from typing import Annotated

from pydantic import Field

from waha_mcp.actions import Action
from waha_mcp.tools.catalog import READS, ArgumentError, Context, tool
from waha_mcp.tools.history import MESSAGES, Place, Walk
from waha_mcp.tools.paging import Page, decode_cursor, encode_cursor
from waha_mcp.tools.params import Chat, Cursor, Detail, Limit, Moment, Sender
from waha_mcp.waha.content import MessageKind
from waha_mcp.waha.messages import Message, message_from
from waha_mcp.waha.reading import iso_time
from waha_mcp.waha.untrusted import Name

#: Requests that one call makes at most to find messages of one sender or kind.
MOST_REQUESTS = 10


class Messages(Page):
    chat: str
    chat_name: Name | None = None
    messages: list[Message] = Field(description="Newest first")
    notes: list[str] | None = None


@tool(title="Read messages", action=Action.READ, calls=[MESSAGES], hints=READS)
async def get_messages(
    chat: Chat,
    limit: Limit = 20,
    since: Moment | None = None,
    until: Moment | None = None,
    sender: Sender | None = None,
    from_me: Annotated[bool, Field(description="true: only own ones, false: only others'")] | None = None,
    kind: Annotated[MessageKind, Field(description="Only of this kind")] | None = None,
    cursor: Cursor | None = None,
    detail: Detail = "concise",
    *,
    ctx: Context,
) -> Messages:
    """Read the messages of one chat, newest first, without marking anything as read."""
    place = _place(chat, cursor)
    await ctx.directory.load()
    picky = sender is not None or kind is not None
    walk = Walk(
        ctx.waha,
        chat,
        place=place,
        since=since.timestamp() if since else None,
        until=until.timestamp() if until else None,
        from_me=from_me,
        page=100 if picky else max(limit + 1, 10),
    )
    shown: list[Message] = []
    places: list[Place] = []
    more: dict[str, str] = {}
    async for row in walk.rows():
        if len(shown) == limit:
            more = {"left_out": "at least 1", "cursor": encode_cursor("messages", [chat, *places[-1].state])}
            break
        message = message_from(row, ctx.directory, full=detail == "full", chat=chat)
        if message is not None and _wanted(message, sender, kind, ctx):
            shown.append(message)
            places.append(walk.place)
        if picky and walk.requests > MOST_REQUESTS:
            walk.notes.append(f"Looked back to {iso_time(row.get('timestamp'))}; the cursor goes on from there.")
            more = {"left_out": "perhaps more", "cursor": encode_cursor("messages", [chat, *walk.place.state])}
            break
    page = Messages(chat=chat, chat_name=ctx.directory.name(chat), messages=shown, notes=walk.notes or None, **more)
    return page.resumable("messages", [[chat, *place.state] for place in places])


def _place(chat: str, cursor: str | None) -> Place:
    if cursor is None:
        return Place()
    match decode_cursor("messages", cursor):
        case [str(of), *state] if of == chat:
            return Place.from_state(state)
    raise ArgumentError("cursor: belongs to another chat; pass the cursor together with the chat it came from")


def _wanted(message: Message, sender: str | None, kind: str | None, ctx: Context) -> bool:
    if kind is not None and message.kind != kind:
        return False
    return sender is None or message.sender == ("me" if sender in ctx.directory.me else sender)
