"""What the store keeps per account, over all its Apps: the chats that it has written to. An account is a phone number.

Several Apps may use one account, over several sessions and several spellings of WAHA's URL. They share what was sent;
each App compares it with its own limits.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from waha_mcp.people.filling import FilledTable
from waha_mcp.policy.question import digest_of
from waha_mcp.store import Store, in_thread
from waha_mcp.waha.errors import WahaError
from waha_mcp.whatsapp.ids import phone_of

logger = logging.getLogger(__name__)

#: How many chats the store keeps per account.
MOST_MET = 20_000

_NUMBERS, _MET = "account", "met"


class OwnAccount:
    """The account of one App's session."""

    def __init__(self, url: str, table: FilledTable, store: Store) -> None:
        """Makes no request."""
        self._url, self._table, self._store = url, table, store
        #: The number that this process has last seen in the store for this session.
        self._noted: str | None = None

    async def key(self) -> str:
        """The account's key in the store: its number if known, else a digest of WAHA's URL and session.

        If WAHA does not give the number, the one that any process has stored for the session is used.

        Raises:
            StoreAway: the store cannot be read or written.
        """
        try:
            await self._table.load("the account", behind=True)
        except WahaError as error:
            logger.debug("The account's number is not known: %s", error)
        number = self._number
        return number if number is not None and number == self._noted else await in_thread(self._key)

    def _key(self) -> str:
        number = self._number
        if number is not None and number == self._noted:
            return number
        place = digest_of(self._url, self._table.waha.session)
        known = self._store.get(_NUMBERS, place)
        if number is None:
            return known or place
        if known != number:
            self._store.swap(_NUMBERS, place, known, number)
        self._noted = number
        return number

    @property
    def _number(self) -> str | None:
        ids = (each for said in self._table.part("the account").said for each in (said.id, said.lid) if each)
        return next(filter(None, map(phone_of, ids)), None)

    async def has_met(self, chat: str) -> bool:
        """Whether the store says that this account has written to a chat.

        Raises:
            StoreAway: the store cannot be read or written.
        """
        return await in_thread(self._store.get, _MET, f"{await self.key()}/{chat}") is not None

    def remember(self, chats: Iterable[str]) -> None:
        """Store that this account, as `key` last found it, has written to these chats. Blocks.

        Raises:
            StoreAway: the store cannot be read or written.
        """
        key = self._key()
        # Most are known already, and a read waits for nobody.
        new = [row for chat in chats if self._store.get(_MET, row := f"{key}/{chat}") is None]
        for row in new:
            self._store.swap(_MET, row, None, "")
        if new:
            self._store.trim(_MET, f"{key}/", MOST_MET)


def known_key(store: Store, url: str, session: str) -> str | None:
    """The number of a session's account, as last stored by a process; None if none did. Blocks.

    Raises:
        StoreAway: the store cannot be read.
    """
    return store.get(_NUMBERS, digest_of(url, session))


def forget(store: Store, has: Callable[[str], bool]) -> int:
    """Delete, for every account, the record that it has written to the chats that `has` accepts; return how many.

    They become first contacts again, unless WAHA shows a message of the account to them.

    Raises:
        StoreAway: the store cannot be read or written.
    """
    found = [row for row in store.rows(_MET) if has(row.key.partition("/")[2])]
    return sum(store.swap(_MET, row.key, row.value, None) for row in found)
