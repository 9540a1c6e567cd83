"""The directory: resolves names to chat ids for arguments, and chat ids to names for results."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from waha_mcp.people import finding
from waha_mcp.people.filling import MISS_LIFE, FilledTable
from waha_mcp.people.finding import Readable
from waha_mcp.people.parts import Source
from waha_mcp.people.people_table import Entry
from waha_mcp.people.resolving import Resolver
from waha_mcp.waha.messages import Names
from waha_mcp.waha.parsing import ChatKind, kind_of_chat

T = TypeVar("T")


def everyone(chat: str) -> bool:
    """The `readable` of an App that may show all chats."""
    return True


async def _never(chat: str) -> bool:
    return False


class Directory:
    """The people, groups and channels of one session.

    `readable`: whether a chat may be shown; others are treated as absent. `written`: whether the account has written
    to a chat.
    """

    def __init__(
        self,
        people: FilledTable,
        readable: Readable = everyone,
        written: Callable[[str], Awaitable[bool]] = _never,
    ) -> None:
        """A view of `people`. Makes no request."""
        self._people = people
        self._readable = readable
        self._resolver = Resolver(people, readable, written)

    @property
    def available(self) -> bool:
        """Whether names can be looked up. False for a key without the action read: only ids and numbers resolve."""
        return self._resolver.available

    @available.setter
    def available(self, value: bool) -> None:
        self._resolver.available = value

    async def load(self, *sources: Source, max_age: float | None = None) -> None:
        """Refresh those of `sources` (default: all) older than `max_age` seconds.

        None: a stale table is accepted and refreshed in the background.

        Does nothing if not `available`.

        Raises:
            WahaError: WAHA refuses access, or no source of names could be read.
        """
        if self.available:
            await self._people.load(*sources, max_age=max_age, behind=max_age is None)

    async def named(self, read: Callable[[Names], T], *, whole: bool, group: str = "") -> tuple[T, str | None]:
        """The result of `read` on WAHA's rows with names filled in, and why some names are unknown.

        Unless `whole` (see `load_if_small`), the people that `read` asks for are looked up, and it is called again. Of
        the groups, only `group` is looked up: rows of chats contain their groups' names.

        Raises:
            WahaError: WAHA refuses access.
        """
        asked = _Asked(self)
        found = read(asked)
        wanted = [] if whole else [*asked.people, *([group] if group else ())]
        unknown = [each for each in wanted if self._people.table.get(each) is None]
        if not unknown:
            return found, None
        why = await self._people.look_up(unknown)
        return read(self), why

    async def load_if_small(self) -> bool:
        """Like `load`, except that the lists of a large account are not loaded; return whether they are loaded.

        They are always loaded if not all chats may be shown.
        """
        if self.available and self._readable is everyone:
            return await self._people.load_if_small()
        await self.load()
        return True

    async def refresh(self) -> None:
        """Refresh lists older than `MISS_LIFE` seconds, because something was not found. Raises as `load`."""
        if self.available:
            await self._people.refresh()

    def not_known(self, *sources: Source) -> list[str] | None:
        """The incomplete ones of these sources, as `source: why`; None if all are complete."""
        return self._people.table.not_known(*sources)

    @property
    def me(self) -> frozenset[str]:
        """The account's own ids."""
        return self._people.table.me

    async def learn(self, chat_id: str) -> str:
        """Like `canonical`, but first looks up a person's other id if it is unknown. It may stay unknown.

        Each message of a person without one may ask for it, so WAHA is asked at most once in `MISS_LIFE` seconds.
        """
        if self.available:
            await self._people.learn(chat_id, MISS_LIFE)
        return self.canonical(chat_id)

    def canonical(self, chat_id: str) -> str:
        """The id of a person's entry: the one with the number (`@c.us`), if known."""
        one = self._people.table.canonical(chat_id)
        # This id may have been looked up without the lists being read.
        return one if one in self._people.table.entries else self._people.canonical(one)

    def ids(self, chat_id: str) -> frozenset[str]:
        """All ids of a person, as far as they are known, or of the account itself; of another chat its only one."""
        own = self.me if chat_id in self.me else ()
        return frozenset(filter(None, (chat_id, self.canonical(chat_id), self._people.twin(chat_id), *own)))

    def shows(self, chat_id: str) -> bool:
        """Whether the content of a chat may be shown; for `NOT_KNOWN`: whether that of any chat may."""
        return self._readable(chat_id)

    def name(self, chat_id: str) -> str | None:
        """The display name of a chat id, or None."""
        entry = self._people.entry(chat_id)
        return entry.shown if entry else None

    def saved_name(self, chat_id: str) -> str | None:
        """The name that the account's owner has saved for a person; None if there is none, or it may not be shown."""
        entry = self.get(chat_id)
        return entry.name if entry is not None and entry.saved else None

    def handle(self, chat_id: str) -> str | None:
        """The permanent identifier of a chat: its phone number or id. None for a person whose saved name suffices."""
        return finding.handle(self._people.table, self.canonical(chat_id), self._readable)

    def get(self, chat_id: str) -> Entry | None:
        """The entry of a chat id; None if there is none or it may not be shown."""
        entry = self._people.entry(chat_id)
        return entry if entry is not None and self._readable(entry.id) else None

    def entries(self) -> list[Entry]:
        """All entries that may be shown."""
        return [entry for entry in self._people.table.entries.values() if self._readable(entry.id)]

    def count_chats(self) -> int:
        """The number of chats that may be shown, as far as the lists contain them."""
        active = self._people.table.active
        return len(active) if self._readable is everyone else sum(map(self._readable, active))

    def find(self, query: str, limit: int) -> list[Entry]:
        """Entries whose name resembles `query` or whose number contains its digits, best match first."""
        return finding.find(self._people.table, query, limit, self._readable)

    def completions(self, beginning: str, limit: int) -> list[str]:
        """Names or ids for `resolve`, of chats that match `beginning`, best first; the most recent if it is empty."""
        return finding.completions(self._people.table, beginning, limit, self._readable)

    async def resolve(self, value: str, kind: ChatKind | None = None, *, effect: bool = False) -> str:
        """Resolve `value` (a chat id, a phone number, or the exact name of a person, group or channel) to a chat id.

        With `kind`, names of chats of other kinds are ignored. For an `effect`, names that others chose are ignored:
        a person matches by the saved name only; a group or channel by its subject only if no saved name matches and
        the account created it or has written in it. The match is then at most `MISS_LIFE` seconds old.

        Raises:
            Unresolved: no match, or several; the text lists candidates.
            WahaError: WAHA could not be asked.
        """
        return await self._resolver.resolve(value, kind, effect=effect)


class _Asked:
    """Names that record whose names were looked up."""

    def __init__(self, names: Directory) -> None:
        self._names = names
        self.people: dict[str, None] = {}

    @property
    def me(self) -> frozenset[str]:
        return self._names.me

    def canonical(self, chat_id: str) -> str:
        self._note(chat_id)
        return self._names.canonical(chat_id)

    def name(self, chat_id: str) -> str | None:
        self._note(chat_id)
        return self._names.name(chat_id)

    def shows(self, chat_id: str) -> bool:
        return self._names.shows(chat_id)

    def _note(self, chat_id: str) -> None:
        if kind_of_chat(chat_id) == "person":
            self.people[chat_id] = None
