"""Removes chats that may not be read from the results of calls that name no chat (lists, searches, counts), and from
those that read status stories the ones whose author may not be read.

Tools that list chats filter with `Context.readable` themselves, so that their pages stay full. This is the safety net
for a tool that does not.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from operator import is_
from typing import Any

from pydantic import BaseModel

from waha_mcp.waha.models import Result
from waha_mcp.whatsapp.ids import chats_of, normalize_chat_id

#: Fields that hold the chat of an item, as an id or as a model with an id. The author of a message is not among them:
#: a readable chat is shown with all its members. Those of status stories stand in their ids.
_OWNERS = frozenset({"id", "chat", "chat_id", "lid", "phone", "message", "message_id", "group", "channel", "contact"})


def swept(result: Result, readable: Callable[[str], bool]) -> Result:
    """The result without items of chats that may not be read."""
    kept: Result = _kept(result, readable)
    return kept


def _kept(value: Any, readable: Callable[[str], bool]) -> Any:
    """A list, dict or model without such items, recursively; such a field becomes None. Unchanged if it has none."""
    if isinstance(value, list):
        items = [_kept(each, readable) for each in value if _may_show(each, readable)]
        return value if len(items) == len(value) and all(map(is_, items, value)) else items
    if isinstance(value, dict):
        entries = {key: _kept(each, readable) for key, each in value.items() if _may_show(key, readable)}
        return value if len(entries) == len(value) and all(map(is_, entries.values(), value.values())) else entries
    if isinstance(value, BaseModel):
        changes = {}
        for name, each in vars(value).items():
            hidden = isinstance(each, BaseModel) and not _may_show(each, readable)
            kept = None if hidden else _kept(each, readable)
            if kept is not each:
                changes[name] = kept
        return value.model_copy(update=changes) if changes else value
    return value


def _may_show(item: Any, readable: Callable[[str], bool]) -> bool:
    if isinstance(item, str):
        return all(map(readable, _chats(item)))
    if isinstance(item, BaseModel):
        return all(_may_show(value, readable) for name, value in vars(item).items() if name in _OWNERS)
    return True


@lru_cache(maxsize=10_000)
def _chats(value: str) -> tuple[str, ...]:
    """The chats of a chat id, phone number (`+…`) or message id; none of any other text."""
    chat = f"{value[1:]}@c.us" if value.startswith("+") and value[1:].isdigit() else normalize_chat_id(value)
    try:
        return (chat,) if chat else chats_of(value)
    except ValueError:
        return ()
