"""The directory: who is behind a name or an id, for the arguments of calls and for their results."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from waha_mcp.people import finding
from waha_mcp.people.filling import FilledTable
from waha_mcp.people.finding import Readable
from waha_mcp.people.parts import Source
from waha_mcp.people.people_table import Entry
from waha_mcp.people.resolving import Resolver
from waha_mcp.waha.parsing import ChatKind


def _everyone(chat: str) -> bool:
    return True


async def _never(chat: str) -> bool:
    return False


class Directory:
    """The names of one session. `readable` says which chats may be shown: what it refuses is as if it were not there.
    `written` finds out whether the account has written to a chat.
    """

    def __init__(
        self,
        people: FilledTable,
        readable: Readable = _everyone,
        written: Callable[[str], Awaitable[bool]] = _never,
    ) -> None:
        """A view of `people`. No request is made yet."""
        self._people = people
        self._readable = readable
        self._resolver = Resolver(people, readable, written)

    @property
    def available(self) -> bool:
        """False for a key that may not read: then ids and numbers work and names do not."""
        return self._resolver.available

    @available.setter
    def available(self, value: bool) -> None:
        self._resolver.available = value

    async def load(self, max_age: float | None = None) -> None:
        """Read what is older than `max_age` seconds. None: an old table will do while it is read anew. Without
        `available` this does nothing.

        Raises:
            WahaError: WAHA answered none of it.
        """
        if self.available:
            await self._people.load(max_age=max_age, behind=max_age is None)

    async def refresh(self) -> None:
        """Read anew, unless that was done a moment ago: something was not found."""
        if self.available:
            await self._people.refresh()

    def expire(self) -> None:
        """Read anew when next asked: something in it was changed."""
        self._people.expire()

    def not_known(self, *sources: Source) -> list[str] | None:
        """What of these sources could not be read, each with why in a few words; None where they are wholly known."""
        return self._people.table.not_known(*sources)

    @property
    def me(self) -> frozenset[str]:
        """The account's own ids."""
        return self._people.table.me

    def canonical(self, chat_id: str) -> str:
        """The id under which a person stands here: the one with the number, where it is known."""
        return self._people.table.canonical(chat_id)

    def name(self, chat_id: str) -> str | None:
        """The name that an id goes by."""
        entry = self._people.table.get(chat_id)
        return entry.shown if entry else None

    def get(self, chat_id: str) -> Entry | None:
        """The entry of an id, where it may be shown."""
        entry = self._people.table.get(chat_id)
        return entry if entry is not None and self._readable(entry.id) else None

    def entries(self) -> list[Entry]:
        """All that may be shown."""
        return [entry for entry in self._people.table.entries.values() if self._readable(entry.id)]

    def find(self, query: str, limit: int) -> list[Entry]:
        """Entries whose name is like `query`, or whose number holds its digits, best first."""
        return finding.find(self._people.table, query, limit, self._readable)

    def completions(self, beginning: str, limit: int) -> list[str]:
        """Texts that `resolve` takes for chats like `beginning`, best first; empty: the most recent."""
        return finding.completions(self._people.table, beginning, limit, self._readable)

    async def resolve(self, value: str, kind: ChatKind | None = None, *, effect: bool = False) -> str:
        """The chat id that `value` means: a chat id, a phone number, or the exact name of one person, group or channel.

        With `kind`, names of chats of other kinds do not count. For an `effect`, names that others chose do not: a
        person goes by the saved name alone, a group or channel by its subject only where the account created it or
        has written in it, and where no saved name is the same; and who has the name is as it was `MISS_LIFE` seconds
        ago or later.

        Raises:
            Unresolved: nobody, or several; it lists who may be meant.
            WahaError: WAHA could not be asked.
        """
        return await self._resolver.resolve(value, kind, effect=effect)
