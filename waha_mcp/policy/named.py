"""Looks up the messages that a call names: the chat inside a message id is a claim that must be verified."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from waha_mcp.app.actions import Action
from waha_mcp.people.persons import People
from waha_mcp.policy import NOT_FOUND, Refusal
from waha_mcp.policy.call import Call, as_list
from waha_mcp.store import Store, StoreAway, in_thread
from waha_mcp.waha.errors import WahaError
from waha_mcp.waha.models import message_key_of
from waha_mcp.waha.parsing import mapping_of, one_of
from waha_mcp.whatsapp.ids import MessageKey, is_broadcast, parse_message_id

logger = logging.getLogger(__name__)

#: How many ids of sent messages the store keeps per App.
MOST_OWN = 10_000

_OWN = "sent"


class NamedMessages:
    """Verifies message ids with WAHA, or with the ids of messages that this App has sent."""

    def __init__(self, app_id: str, people: People, store: Store) -> None:
        """Makes no request."""
        self._app_id, self._people, self._store = app_id, people, store
        #: Store keys of sent messages that could not be written.
        self._unwritten: set[str] = set()

    def sent(self, message_id: str) -> None:
        """Remember that this App has sent a message: in the store, or in this process while the store is away.

        Blocks, and never raises.
        """
        try:
            key = self._key(parse_message_id(message_id))
        except ValueError:
            return
        try:
            if self._store.swap(_OWN, key, None, ""):
                self._store.trim(_OWN, f"{self._app_id}/", MOST_OWN)
        except StoreAway as error:
            self._unwritten.add(key)
            logger.warning("A message that was sent cannot be recorded: %s", error)

    async def _is_own(self, claim: MessageKey) -> bool:
        key = self._key(claim)
        return key in self._unwritten or await in_thread(self._store.get, _OWN, key) is not None

    async def _is_own_for_sure(self, claim: MessageKey) -> bool:
        """As `_is_own`, but False while the store is away."""
        try:
            return await self._is_own(claim)
        except StoreAway as error:
            logger.warning("The messages sent by this App cannot be looked up: %s", error)
            return False

    async def sent_under(self, message: MessageKey) -> bool:
        """Whether this App has sent a message, under either id of its chat.

        Raises:
            StoreAway: the store cannot be read.
        """
        chats = {message.chat, await self._people.learn(message.chat) or message.chat}
        return any([await self._is_own(message._replace(chat=chat)) for chat in chats])

    def _key(self, message: MessageKey) -> str:
        return f"{self._app_id}/{message.chat}/{message.id}"

    async def look_up(self, call: Call) -> None:
        """Look up every message that the call names; sets `call.named_messages` and `messages` of its context.

        Raises:
            Refusal: one is not in the chat that its id claims, or, without the action read, was not sent by this App.
            WahaError: WAHA cannot be asked.
            StoreAway: without the action read, the store cannot be read.
        """
        found: dict[str, Mapping[str, Any]] = {}
        can_read = Action.READ in call.context.grant.actions
        for message_id in (each for name in call.tool.messages for each in as_list(call.arguments[name])):
            claim = parse_message_id(message_id)
            if not can_read and not await self._is_own(claim):
                raise Refusal(
                    "unknown message",
                    "Without the action read, only messages that this App has sent can be named: others "
                    "cannot be checked. Nothing was done.",
                )
            row: Mapping[str, Any] | None = None
            if can_read:
                try:
                    row = await self._look(call, message_id, claim)
                except WahaError:
                    if not await self._is_own_for_sure(claim):
                        raise
                if row is None and not await self._is_own_for_sure(claim):
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
        # An id may leave out the author (participant), but whoever acts on a status story reaches its author.
        if key.participant is None and is_broadcast(claim.chat) and not claim.from_me:
            return None
        if claim.participant and key.participant and not await self._same(claim.participant, key.participant):
            return None
        return mapping_of(answer)

    async def _same(self, claimed: str, real: str) -> bool:
        """Whether two ids are the same chat or person."""
        return claimed == real or await self._people.learn(claimed) == real


def forget(store: Store, prefix: str, has: Callable[[str], bool]) -> int:
    """Delete the ids of messages sent to the chats that `has` accepts; how many. `prefix`: of the keys in the store.

    Raises:
        StoreAway: the store cannot be read or written.
    """
    found = [row for row in store.rows(_OWN, prefix) if has(row.key.split("/")[1])]
    return sum(store.swap(_OWN, row.key, row.value, None) for row in found)
