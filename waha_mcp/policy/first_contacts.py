"""First contacts: people to whom no message of this account is known to have been sent."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping

from waha_mcp.app.actions import Action
from waha_mcp.app.definition import App
from waha_mcp.people.persons import People
from waha_mcp.policy.call import Call
from waha_mcp.policy.own_account import OwnAccount
from waha_mcp.policy.pace import Pacer
from waha_mcp.policy.recipients import Verdict, kind
from waha_mcp.store import StoreAway
from waha_mcp.waha.errors import WahaError

logger = logging.getLogger(__name__)

#: Most members of a group that are checked for whether the account has written to them.
MEMBERS = 256


class FirstContacts:
    """The first contacts of one App's account."""

    def __init__(self, app: App, people: People, account: OwnAccount, pacer: Pacer) -> None:
        """Makes no request."""
        self._app, self._people, self._account, self._pacer = app, people, account, pacer

    async def among(self, call: Call, verdicts: Mapping[str, Verdict]) -> list[str]:
        """Recipients not known to have been written to by this account; those allowed by name don't count."""
        if not self._app.pace.first_contacts and "first_contact" not in self._app.approval.when:
            return []
        can_read = Action.READ in call.context.grant.actions
        return [
            chat
            for chat, verdict in verdicts.items()
            if verdict is not Verdict.NAMED
            and kind(chat) in ("people", "groups", "broadcasts")
            and not await self.has_met(chat, can_read)
        ]

    async def strangers_in(self, call: Call, first: list[str]) -> list[str]:
        """The members of a group written to for the first time to whom the account has not written: each counts.

        At most as many as pass at once, so that a large group uses up the whole limit. Nobody if WAHA does not list the
        members, as for broadcast lists.
        """
        room = self._pacer.first_at_once - len(first)
        groups = [chat for chat in call.posted_in() if chat in first and kind(chat) == "groups"]
        found: list[str] = []
        if room <= 0 or Action.READ not in call.context.grant.actions:
            return found
        for group in groups:
            try:
                members = await self._people.members(group)
            except WahaError as error:
                logger.warning("The members of a group are not known, so it counts as one: %s", error)
                continue
            for each in members[:MEMBERS]:
                if len(found) < room and not (self._people.is_met(each) or await self._account.has_met(each)):
                    found.append(each)
        return found

    def met(self, call: Call) -> set[str]:
        """Record the chats that now hold a message of ours; return all their ids, for `remember`."""
        chats = call.posted_in()
        for chat in chats:
            self._people.remember(chat)
        return {each for chat in chats for each in (chat, self._people.twin(chat)) if each}

    def remember(self, met: Iterable[str]) -> None:
        """Store that the account has written to these chats. Blocks, and never raises: the effect has happened."""
        try:
            self._account.remember(met)
        except StoreAway as error:
            logger.warning("The chats that this account has written to cannot be stored: %s", error)

    async def has_met(self, chat: str, can_read: bool) -> bool:
        """Whether this account is known to have sent a message to a chat. `can_read`: WAHA may be asked.

        Raises:
            StoreAway: the store cannot be read or written.
        """
        # Asking for the account's key also finds out whether the account has changed.
        await self._account.key()
        if self._people.is_met(chat) or await self._account.has_met(chat):
            return True
        try:
            return can_read and await self._people.has_messages(chat, ours=True)
        except WahaError:
            return False
