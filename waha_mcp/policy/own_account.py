"""What the store keeps of one account: whom it has written to. An account is a number, whatever Apps it has.

Several Apps may reach one account, over several sessions and several spellings of WAHA's URL. What was sent is the
account's; each App compares it with limits of its own.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

from waha_mcp.people.filling import FilledTable
from waha_mcp.policy.question import digest_of
from waha_mcp.store import Store, in_thread
from waha_mcp.waha.errors import WahaError
from waha_mcp.whatsapp.ids import phone_of

logger = logging.getLogger(__name__)

#: Chats that the store keeps of one account as written to.
MOST_MET = 20_000

_NUMBERS, _MET = "account", "met"


class OwnAccount:
    """The account of one App's session."""

    def __init__(self, url: str, table: FilledTable, store: Store) -> None:
        """Nothing is asked for yet."""
        self._url, self._table, self._store = url, table, store
        #: The number that the store has for this session, as far as this process knows.
        self._noted: str | None = None

    async def key(self) -> str:
        """The account's name in the store: its number where that is known, else one made of WAHA's URL and session.

        A process that WAHA doesn't tell the number just now goes by what another has noted for the same session.

        Raises:
            StoreAway: the store cannot be asked.
        """
        place = digest_of(self._url, self._table.waha.session)
        number = await self._number()
        if number is None:
            known = await in_thread(self._store.get, _NUMBERS, place)
            return known or place
        if number != self._noted:
            before = await in_thread(self._store.get, _NUMBERS, place)
            if before != number:
                await in_thread(self._store.swap, _NUMBERS, place, before, number)
            self._noted = number
        return number

    async def _number(self) -> str | None:
        try:
            await self._table.load("the account", behind=True)
        except WahaError as error:
            logger.debug("The account's number is not known: %s", error)
        ids = (each for said in self._table.part("the account").said for each in (said.id, said.lid) if each)
        return next(filter(None, map(phone_of, ids)), None)

    async def has_met(self, chat: str) -> bool:
        """Whether the store has it that this account wrote to a chat.

        Raises:
            StoreAway: the store cannot be asked.
        """
        return await in_thread(self._store.get, _MET, f"{await self.key()}/{chat}") is not None

    async def remember(self, chats: Iterable[str]) -> None:
        """Keep it that this account has written to these chats.

        Raises:
            StoreAway: it cannot be written.
        """
        await in_thread(self._remember, await self.key(), tuple(chats))

    def _remember(self, key: str, chats: tuple[str, ...]) -> None:
        new = [chat for chat in chats if self._store.swap(_MET, f"{key}/{chat}", None, "")]
        if new:
            self._store.trim(_MET, f"{key}/", MOST_MET)
