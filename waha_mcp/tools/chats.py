"""Tools that read chats and their messages."""

from collections.abc import Sequence
from typing import Any

from pydantic import Field

from waha_mcp.actions import Action
from waha_mcp.tools.catalog import READS, ArgumentError, Context, tool
from waha_mcp.tools.paging import Page, decode_cursor, encode_cursor, offset_of, page_of
from waha_mcp.tools.params import Chat, Cursor, Limit, Moment
from waha_mcp.waha.models import ChatSummary, Message, chat_from, message_from
from waha_mcp.waha.reading import epoch, listing


class Chats(Page):
    chats: list[ChatSummary]


@tool(
    title="List chats",
    action=Action.READ,
    calls=["GET /api/{session}/chats/overview"],
    hints=READS,
)
async def list_chats(limit: Limit = 20, cursor: Cursor | None = None, *, ctx: Context) -> Chats:
    """List WhatsApp chats, the most recent first: people, groups and channels with name and last message."""
    offset = offset_of("chats", cursor)
    answer = await ctx.waha.call("GET /api/{session}/chats/overview", query={"limit": limit + 1, "offset": offset})
    rows, more = page_of("chats", listing(answer, "chats"), limit, offset)
    return Chats(chats=[chat for row in rows if (chat := chat_from(row))], **more)


class Messages(Page):
    chat: str
    messages: list[Message] = Field(description="Newest first")


@tool(
    title="Read messages",
    action=Action.READ,
    calls=["GET /api/{session}/chats/{chatId}/messages"],
    hints=READS,
)
async def get_messages(
    chat: Chat,
    limit: Limit = 20,
    since: Moment | None = None,
    until: Moment | None = None,
    cursor: Cursor | None = None,
    *,
    ctx: Context,
) -> Messages:
    """Read the messages of one chat, newest first, without marking anything as read."""
    before, seen = _resume(chat, cursor)
    if until is not None and (before is None or until.timestamp() < before):
        before, seen = int(until.timestamp()), []
    answer = await ctx.waha.call(
        "GET /api/{session}/chats/{chatId}/messages",
        path={"chatId": chat},
        query={
            # Those of the last second that the page before has shown come again and are dropped.
            "limit": limit + len(seen) + 1,
            "downloadMedia": False,
            "sortBy": "timestamp",
            "sortOrder": "desc",
            "filter.timestamp.gte": None if since is None else int(since.timestamp()),
            "filter.timestamp.lte": before,
        },
    )
    rows = [row for row in listing(answer, "messages") if row.get("id") not in seen]
    shown = rows[:limit]
    more = _more(chat, shown, before, seen) if len(rows) > limit else {}
    return Messages(chat=chat, messages=[message for row in shown if (message := message_from(row))], **more)


def _resume(chat: str, cursor: str | None) -> tuple[int | None, list[str]]:
    """Where a page starts: the second it reaches back from, and the ids of that second already shown.

    A place in time, not a count, so that messages that arrive meanwhile shift nothing.
    """
    if cursor is None:
        return None, []
    match decode_cursor("messages", cursor):
        case [str(of), int(before), [*seen]] if of == chat:
            return before, [str(message_id) for message_id in seen]
    raise ArgumentError("cursor: belongs to another chat; pass the cursor together with the chat it came from")


def _more(chat: str, shown: Sequence[Any], before: int | None, seen: list[str]) -> dict[str, str]:
    oldest = int(epoch(shown[-1].get("timestamp")) or 0)
    ids = [row.get("id") for row in shown if int(epoch(row.get("timestamp")) or 0) == oldest]
    if oldest == before:
        ids = [*seen, *ids]
    return {"left_out": "at least 1", "cursor": encode_cursor("messages", [chat, oldest, ids])}
