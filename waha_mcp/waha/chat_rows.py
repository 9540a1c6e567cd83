"""Parsing of the rows of `GET /api/{session}/chats/overview`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from waha_mcp.waha.marks import FullOnly, RowId, Usual
from waha_mcp.waha.messages import NOBODY, Glimpse, Message, Names, glimpse_from, message_from
from waha_mcp.waha.models import Nested, has_letters
from waha_mcp.waha.parsing import ChatKind, chat_id_of, count_of, first_of, kind_of_chat, mapping_of, text_of
from waha_mcp.whatsapp.untrusted import Name

OVERVIEW = "GET /api/{session}/chats/overview"
#: Fields of an engine's chat that hold the time of its last message.
CHAT_TIMES = ("conversationTimestamp", "timestamp", "t")


class ChatSummary(Nested):
    id: RowId
    name: Name | None = None
    kind: Annotated[ChatKind, FullOnly()]
    unread: Annotated[int, Usual(0)] | None = Field(None, description="Unread messages; left out where none are known")
    marked_unread: bool | None = Field(None, description="The owner marked it as unread")
    archived: bool | None = None
    last_message: Message | Glimpse | None = None


def unread_of(raw: Mapping[str, Any]) -> tuple[int | None, bool]:
    """Parse (count of unread messages, marked as unread by the owner) from an overview row; count None: not given."""
    engine = mapping_of(raw.get("_chat"))
    found = first_of(engine, "unreadCount", "unread_count", "UnreadCount")
    marked = found == -1 or engine.get("markedAsUnread") is True or engine.get("markedUnread") is True
    return 0 if found == -1 else count_of(found), marked


def name_in(raw: Mapping[str, Any]) -> str | None:
    """The name in a row; None for a number, which WEBJS gives as the name of an unsaved person."""
    name = text_of(raw.get("name"))
    person = kind_of_chat(chat_id_of(raw.get("id")) or "") == "person"
    return name if name is not None and (has_letters(name) or not person) else None


def chat_from(raw: Mapping[str, Any], names: Names = NOBODY, *, full: bool = True) -> ChatSummary | None:
    """Parse an overview row; None if it has no valid chat id. Without `full`, the last message is a `Glimpse`."""
    chat_id = chat_id_of(raw.get("id"))
    if chat_id is None:
        return None
    chat_id = names.canonical(chat_id)
    unread, marked = unread_of(raw)
    engine = mapping_of(raw.get("_chat"))
    return ChatSummary(
        id=chat_id,
        name=names.name(chat_id) or name_in(raw),
        kind=kind_of_chat(chat_id),
        unread=unread,
        marked_unread=marked or None,
        archived=True in (engine.get("archived"), engine.get("archive")) or None,
        last_message=_last(raw, names, chat_id, full=full),
    )


def _last(raw: Mapping[str, Any], names: Names, chat: str, *, full: bool) -> Message | Glimpse | None:
    last = mapping_of(raw.get("lastMessage"))
    if not last:
        return None
    return message_from(last, names, chat=chat) if full else glimpse_from(last, names, chat)
