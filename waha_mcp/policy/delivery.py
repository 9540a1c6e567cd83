"""Around the send itself: acting human before it, and finding out afterwards what a lost answer would have said."""

from __future__ import annotations

import contextlib
import logging
import random
from collections.abc import Mapping
from typing import Any

import anyio

from waha_mcp.app.actions import Action
from waha_mcp.tools.catalog import Context, Tool
from waha_mcp.waha.client import TAKES_MESSAGE_ID
from waha_mcp.waha.errors import WahaError
from waha_mcp.waha.models import Sent, message_key_of, sent_from
from waha_mcp.waha.parsing import kind_of_chat, mapping_of
from waha_mcp.whatsapp.ids import bare_id, parse_message_id

logger = logging.getLogger(__name__)

#: Seconds of typing per character, and for any text: clients give a whole call as little as five.
TYPING_RATE, LEAST_TYPING, MOST_TYPING = 0.03, 0.6, 3.0
#: Seconds before each look for a message whose answer was lost.
LOOK_AGAIN = (0.0, 1.0, 2.0)
#: Seconds for all looks: with the send before them, a call stays under what hosts give it.
LOOK_UP = 12.0
#: Message ids that are remembered as used.
MOST_IDS = 10_000


async def act_human(tool: Tool, arguments: Mapping[str, Any], context: Context) -> None:
    """Seen, typing, a pause by the length of the text, and stop. WAHA's advice against being taken for a bot.

    Only before something new is written to one person or group; what fails of it does not hold up the send.
    """
    named = [arguments[name] for name, mark in tool.references.items() if mark.reached]
    chats = [each for each in named if isinstance(each, str) and kind_of_chat(each) in ("person", "group")]
    if not tool.repeats or len(chats) != 1:
        return
    body = {"chatId": chats[0]}
    length = sum(len(value) for value in arguments.values() if isinstance(value, str))
    pause = min(MOST_TYPING, max(LEAST_TYPING, length * TYPING_RATE) * random.uniform(0.8, 1.2))  # noqa: S311 - no secret
    with contextlib.suppress(WahaError), anyio.move_on_after(MOST_TYPING + 1):
        await context.waha.call("POST /api/sendSeen", body=body)
        await context.waha.call("POST /api/startTyping", body=body)
        await anyio.sleep(pause)
        await context.waha.call("POST /api/stopTyping", body=body)


class MessageIds:
    """Ids for messages, from WAHA. Each is used once: what comes again (from a cache) would find an older message."""

    def __init__(self) -> None:
        self._used: dict[str, None] = {}

    async def new(self, tool: Tool, context: Context) -> str | None:
        """An id for the message that the tool is about to send; None where there can be none, which is no obstacle."""
        if Action.READ not in context.grant.actions or not TAKES_MESSAGE_ID.intersection(tool.calls):
            return None
        try:
            answer = await context.waha.call("GET /api/{session}/new-message-id")
        except WahaError as error:
            logger.debug("No message id beforehand: %s", error)
            return None
        found = mapping_of(answer).get("id")
        if not isinstance(found, str) or not found or bare_id(found) in self._used:
            return None
        while len(self._used) >= MOST_IDS:
            del self._used[next(iter(self._used))]
        self._used[bare_id(found)] = None
        return found


def is_ours(sent: Sent, message_id: str | None) -> bool:
    """Whether an answer to a send holds a message that this account can have sent with this id.

    An engine may have taken an id of its own; a message under another's name, or with no id, is no proof of a send.
    """
    if sent.message_id is None:
        return False
    try:
        key = parse_message_id(sent.message_id)
    except ValueError:
        return message_id is None or bare_id(sent.message_id) == bare_id(message_id)
    return key.from_me


async def look_up(message_id: str, chat: str, context: Context) -> Sent | None:
    """The message that a send without an answer was to make, as the tool would have answered; None: not found.

    That WAHA does not show it, or cannot be asked, proves nothing: it may be at work on it still.
    """
    with anyio.move_on_after(LOOK_UP):
        return await _look_up(message_id, chat, context)
    return None


async def _look_up(message_id: str, chat: str, context: Context) -> Sent | None:
    for wait in LOOK_AGAIN:
        await anyio.sleep(wait)
        try:
            answer = await context.waha.call(
                "GET /api/{session}/chats/{chatId}/messages/{messageId}",
                path={"chatId": chat, "messageId": message_id},
                query={"downloadMedia": False},
            )
        except WahaError as error:
            logger.warning("Could not look up a message whose answer was lost: %s", error)
            continue
        found = message_key_of(mapping_of(answer))
        if found is not None and found.from_me and found.id == bare_id(message_id):
            return sent_from(answer, chat)
    return None
