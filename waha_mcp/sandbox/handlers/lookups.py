"""Shared by handlers: parsing the ids in requests, and finding the message of an id."""

from __future__ import annotations

from typing import Any

from waha_mcp.sandbox.account import Account, Message
from waha_mcp.sandbox.answers import Crash, undefined
from waha_mcp.sandbox.registry import Call


def as_chat_id(value: Any) -> str:
    """A chat id from a request: a bare number gets `@c.us`, `@s.whatsapp.net` becomes it.

    Raises:
        Crash: not text, on which WAHA's method call fails.
    """
    if not isinstance(value, str):
        raise undefined("chatId")
    if "@" not in value:
        return f"{value}@c.us"
    return value.replace("@s.whatsapp.net", "@c.us")


def known_chat_id(account: Account, value: Any) -> str:
    """A chat id in the form under which the account already has that person's chat."""
    chat_id = as_chat_id(value)
    twin = account.twin(chat_id)
    return twin if chat_id not in account.chats and twin in account.chats else chat_id


def bare_id(message_id: str) -> str:
    """The engine's id within WAHA's `{true|false}_{chatId}_{ID}[_{participant}]`; a bare id stays.

    Raises:
        Crash: neither form.
    """
    parts = message_id.split("_")
    if len(parts) == 1:
        return message_id
    if len(parts) < 3 or parts[0] not in ("true", "false"):
        raise Crash("Message id be in format false_11111111111@c.us_AAAAAAAAAAAAAAAAAAAA[_participant]")
    # A channel may put its server id between the chat and the message's own id.
    return parts[3] if len(parts) > 3 and parts[1].endswith("@newsletter") else parts[2]


def find_message(account: Account, message_id: Any, chat_id: str = "all") -> Message | None:
    """The message with this id, in this chat, or in any chat for `all`."""
    if not isinstance(message_id, str):
        raise undefined("messageId", "split")
    found = account.messages.get(bare_id(message_id))
    if found is None or chat_id == "all" or chat_id in (found.chat, account.twin(found.chat)):
        return found
    return None


def field(call: Call, name: str, reading: str = "includes") -> Any:
    """A body field that WAHA uses without checking that it is there."""
    value = call.body.get(name) if isinstance(call.body, dict) else None
    if value is None:
        raise undefined(name, reading)
    return value
