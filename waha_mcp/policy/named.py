"""The messages that a call names. An id only claims which chat a message is in, so each is looked at first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from waha_mcp.app.actions import Action
from waha_mcp.people.persons import People
from waha_mcp.policy import NOT_FOUND, Refusal
from waha_mcp.policy.call import Call, as_list
from waha_mcp.waha.errors import WahaError
from waha_mcp.waha.models import message_key_of
from waha_mcp.waha.parsing import mapping_of, one_of
from waha_mcp.whatsapp.ids import MessageKey, parse_message_id

#: Own messages that are remembered.
MOST_OWN = 10_000


class NamedMessages:
    """Finds named messages in the chats that their ids claim. What this App sent itself is known without WAHA."""

    def __init__(self, people: People) -> None:
        self._people = people
        self._own: dict[tuple[str, str], None] = {}

    def sent(self, message_id: str) -> None:
        """Note that this App has sent a message."""
        try:
            key = parse_message_id(message_id)
        except ValueError:
            return
        while len(self._own) >= MOST_OWN:
            del self._own[next(iter(self._own))]
        self._own[key.chat, key.id] = None

    async def look_up(self, call: Call) -> None:
        """Find every message that the call names, for the call and for its tool.

        Raises:
            Refusal: one is not in the chat that its id claims, or, without the action read, was not sent by this App.
            WahaError: WAHA cannot be asked.
        """
        found: dict[str, Mapping[str, Any]] = {}
        can_read = Action.READ in call.context.grant.actions
        for message_id in (each for name in call.tool.messages for each in as_list(call.arguments[name])):
            claim = parse_message_id(message_id)
            own = (claim.chat, claim.id) in self._own
            if not can_read and not own:
                raise Refusal(
                    "unknown message",
                    "Without the action read, only messages that this App has sent since it started can be named: "
                    "no other can be checked. Nothing was done.",
                )
            row: Mapping[str, Any] | None = None
            if can_read:
                try:
                    row = await self._look(call, message_id, claim)
                except WahaError:
                    if not own:
                        raise
            if row is None and not own:
                raise Refusal("not found", NOT_FOUND)
            found[message_id] = row or {}
        call.named_messages = found
        call.context = replace(call.context, messages=found)

    async def _look(self, call: Call, message_id: str, claim: MessageKey) -> Mapping[str, Any] | None:
        answer = await call.context.waha.call(
            "GET /api/{session}/chats/{chatId}/messages/{messageId}",
            path={"chatId": claim.chat, "messageId": message_id},
            query={"downloadMedia": False},
        )
        key = one_of(answer, "a message", message_key_of)
        if key is None or (key.id, key.from_me) != (claim.id, claim.from_me):
            return None
        if not await self._same(claim.chat, key.chat):
            return None
        # An id may leave out who wrote it.
        if claim.participant and key.participant and not await self._same(claim.participant, key.participant):
            return None
        return mapping_of(answer)

    async def _same(self, claimed: str, real: str) -> bool:
        """Whether two ids are one chat or person."""
        return claimed == real or await self._people.learn(claimed) == real
