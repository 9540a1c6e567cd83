"""Removes chats that may not be read from the results of calls that name no chat: lists, searches, counts.

Tools that list chats filter with `Context.readable` themselves, so that their pages stay full. This is the safety net
for a tool that does not.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from pydantic import BaseModel

from waha_mcp.waha.models import Result
from waha_mcp.whatsapp.ids import normalize_chat_id, parse_message_id

#: Fields that hold the chat of an item, as an id or as a model with an id. The author of a message is not among them:
#: a readable chat is shown with all its members.
_OWNERS = frozenset({"id", "chat", "chat_id", "lid", "phone", "message", "message_id", "group", "channel", "contact"})


def swept(result: Result, readable: Callable[[str], bool]) -> Result:
    """The result without items of chats that may not be read."""
    kept: Result = _kept(result, readable)
    return kept


def _kept(value: Any, readable: Callable[[str], bool]) -> Any:
    """A list, dict or model without such items, recursively; other values unchanged."""
    if isinstance(value, list):
        return [_kept(each, readable) for each in value if _may_show(each, readable)]
    if isinstance(value, dict):
        return {key: _kept(each, readable) for key, each in value.items() if _may_show(key, readable)}
    if isinstance(value, BaseModel):
        return value.model_copy(update={name: _kept(each, readable) for name, each in value})
    return value


def _may_show(item: Any, readable: Callable[[str], bool]) -> bool:
    if isinstance(item, str):
        chat = _chat(item)
        return chat is None or readable(chat)
    if isinstance(item, BaseModel):
        return all(_may_show(value, readable) for name, value in item if name in _OWNERS)
    return True


@lru_cache(maxsize=10_000)
def _chat(value: str) -> str | None:
    """The chat id of a chat id, phone number (`+…`) or message id; None for any other text."""
    if value.startswith("+") and value[1:].isdigit():
        return f"{value[1:]}@c.us"
    try:
        return normalize_chat_id(value) or parse_message_id(value).chat
    except ValueError:
        return None
