"""Who may be written to, be read and wake an agent: the App's lists against resolved chat ids."""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Iterable, Mapping
from enum import Enum

import anyio

from waha_mcp.app.policy_fields import KINDS, Chats
from waha_mcp.people.filling import MISS_LIFE
from waha_mcp.people.persons import PUBLIC, STATUS, People
from waha_mcp.waha.errors import Forbidden, WahaError
from waha_mcp.waha.parsing import kind_of_chat
from waha_mcp.whatsapp.folding import spell_name, spellings
from waha_mcp.whatsapp.ids import NOT_KNOWN
from waha_mcp.whatsapp.untrusted import clean_name

logger = logging.getLogger(__name__)

_KIND = {"person": "people", "group": "groups", "channel": "channels", "broadcast": "broadcasts", "status": "status"}


class Verdict(Enum):
    """The result of the lists for one chat. NAMED: it is on the allowlist itself, not only by its kind or `*`."""

    NO = "not allowed"
    ASK = "a person must approve"
    ALLOWED = "allowed"
    NAMED = "allowed by name"


def kind(chat: str) -> str:
    """The kind (as in `KINDS`) of a chat id, or `public` for `PUBLIC`."""
    return "public" if chat == PUBLIC else _KIND[kind_of_chat(chat)]


class Entries:
    """One list of an App: `*`, kinds, and chat ids with all known ids of the same chat."""

    def __init__(self, names: Iterable[str]) -> None:
        self._entries = tuple(names)
        self.everyone = "*" in self._entries
        #: Names as the App gives them.
        self.listed = frozenset(e for e in self._entries if "@" not in e and e != "*" and e not in KINDS)
        self._begin()

    def _begin(self) -> None:
        self.ids = {e for e in self._entries if "@" in e}
        self._counted, self._numbers = 0, frozenset[str]()
        #: Hidden ids (`@lid`) whose number is unknown: any number may be theirs.
        self.unmatched = {e for e in self.ids if e.endswith("@lid")}
        #: Names not resolved to chat ids.
        self.names = set(self.listed)

    def __bool__(self) -> bool:
        return bool(self._entries)

    def learn(self, people: People, owners: Mapping[str, Collection[str]]) -> None:
        """Set whom the list holds: its ids, the owners of the names on it, and the other ids of everybody on it.

        `owners` are the current ones of each name: a previous owner who is not otherwise on the list is removed.
        A name that means no saved contact, or several, is open.
        """
        self._begin()
        for name in list(self.names):
            found = owners.get(name, ())
            # Both ids of one person count once.
            if len({people.table.canonical(each) for each in found}) == 1:
                self.ids.update(found)
                self.names.discard(name)
        self.match(people, list(self.ids))

    def match(self, people: People, ids: Iterable[str]) -> None:
        """Add the second ids of these chats, if known."""
        for each in ids:
            twin = people.twin(each)
            if twin:
                self.ids.add(twin)
                self.unmatched -= {each, twin}
            elif each.endswith("@lid"):
                self.unmatched.add(each)

    def holds(self, chat: str, twin: str | None) -> bool:
        """Whether the list contains this chat by id; `twin` is its second id."""
        return chat in self.ids or twin in self.ids

    def covers(self, chat: str, twin: str | None) -> bool:
        """Whether the list contains this chat, by id, by kind or by `*`."""
        return self.everyone or kind(chat) in self._entries or self.holds(chat, twin)

    def may_cover(self, chat: str, twin: str | None) -> bool:
        """As `covers`, for deny lists: also True if the chat might be one on the list (unresolved name or id)."""
        if self.names or self.covers(chat, twin):
            return True
        if kind(chat) != "people":
            return False
        if twin is None and chat.endswith("@c.us") and self.unmatched:
            return True
        numbers = self._subscribers()
        number = chat if chat.endswith("@c.us") else twin
        return bool(numbers) if number is None else _subscriber(number) in numbers

    def _subscribers(self) -> frozenset[str]:
        if self._counted != len(self.ids):
            self._counted = len(self.ids)
            self._numbers = frozenset(_subscriber(each) for each in self.ids if each.endswith("@c.us"))
        return self._numbers

    def __str__(self) -> str:
        if self.everyone:
            return "everyone"
        count = len([e for e in self._entries if e not in KINDS])
        parts = [f"all {each}" for each in KINDS if each in self._entries]
        if count:
            parts.append(f"{count} listed chat{'s' if count > 1 else ''}")
        return " and ".join(parts) or "nobody"


class Recipients:
    """The lists of one App. Before `prepare` only the entries given as ids, kinds or `*` are resolved."""

    def __init__(
        self, chats: Chats, people: People, waking: Iterable[str] = (), indexed: Iterable[str] = ("*",)
    ) -> None:
        """`waking`: the list of those whose messages wake an agent; `indexed`: of the chats to index."""
        self._people = people
        self._allow, self._ask, self._deny = (
            Entries(chats.send.allow),
            Entries(chats.send.ask),
            Entries(chats.send.deny),
        )
        self._read_allow, self._read_deny = Entries(chats.read.allow), Entries(chats.read.deny)
        self._waking = Entries(waking)
        self._indexed = Entries(indexed)
        self._lists = (
            self._allow,
            self._ask,
            self._deny,
            self._read_allow,
            self._read_deny,
            self._waking,
            self._indexed,
        )
        self._existing_only = chats.existing_only
        self._readable: dict[tuple[str, str | None], bool] = {}
        #: Why the saved contacts are incomplete, so that no name was resolved; None if they are complete.
        self._gap: str | None = None
        #: Chat ids of each name when the lists were resolved.
        self._had: Mapping[str, Collection[str]] = {}
        self._ready = False
        self._preparing = anyio.Lock()

    @property
    def limited(self) -> bool:
        """Whether any list limits who may be written to."""
        return not self._allow.everyone or bool(self._deny)

    @property
    def read_limited(self) -> bool:
        """Whether any list limits what may be read."""
        return not self._read_allow.everyone or bool(self._read_deny)

    @property
    def hides_some(self) -> bool:
        """Whether a list denies the reading of some chats while others may be read."""
        return bool(self._read_deny)

    async def prepare(self, *, can_read: bool) -> None:
        """Resolve the names on the lists, and look up the second ids of their chats.

        Without the action read, names stay unresolved: on an allowlist such a name allows nobody, on a deny list it
        denies everybody.

        Raises:
            WahaError: WAHA cannot be reached.
        """
        if not can_read or not (self.limited or self.read_limited or self._waking or not self._indexed.everyone):
            return
        async with self._preparing:
            if not self._ready or await self._readable_names_are_others():
                await self._look_up()
            elif unmatched := [each for each in (self._deny, self._read_deny) if each.unmatched]:
                # Hidden ids without a number deny every number, so look them up again.
                await self._people.table.match(set[str]().union(*(each.unmatched for each in unmatched)))
                for each in unmatched:
                    each.match(self._people, list(each.unmatched))
            else:
                return
            self._readable.clear()

    def _names(self) -> set[str]:
        """All names on the lists."""
        return set[str]().union(*(each.listed for each in self._lists))

    async def _readable_names_are_others(self) -> bool:
        """As `_names_are_others`, for the lists of chats that may be read. `verdict` checks those for effects."""
        if not (self._read_allow.listed or self._read_deny.listed):
            return False
        await self._people.table.load("contacts", behind=True)
        return self._names_are_others()

    def _names_are_others(self) -> bool:
        """Whether the names on the lists now belong to somebody else.

        Raises:
            WahaError: the contacts could not be read.
        """
        return bool(self._names()) and self._owners() != self._had

    async def _look_up(self) -> None:
        lists = self._lists
        owners: Mapping[str, Collection[str]] = {}
        if self._names():
            await self._people.table.load("contacts", gap_age=None if self._ready else 0.0)
            owners = self._owners()
        if self.read_limited:
            await self._people.learn_all()
        await self._people.table.match(set[str]().union(*(each.ids for each in lists), *owners.values()))
        for each in lists:
            each.learn(self._people, owners)
        self._had, self._ready = owners, True
        if unknown := self.unresolved():
            logger.warning(
                "%s: an allow list with such a name allows nobody by it, and a deny list denies everybody",
                unknown,
            )

    def _owners(self) -> Mapping[str, Collection[str]]:
        """Chat ids by the names under which the account's owner saved them: nobody else can choose those.

        Empty if the contacts are not fully known: somebody else may have any of the names.

        Raises:
            WahaError: the contacts could not be read.
        """
        people = self._people.table
        contacts = people.part("contacts")
        if contacts.broken and contacts.error is not None:
            raise contacts.error
        self._gap = contacts.gap
        if self._gap is not None:
            return {}
        return {name: people.table.saved.get(spell_name(clean_name(name)), ()) for name in self._names()}

    async def _learn_who_has_the_names(self, chat: str) -> None:
        """Make sure that whether a name on a list means this chat was checked at most `MISS_LIFE` seconds ago.

        As long as WAHA shows the person under the name that the table has, the other contacts need not be read.

        Raises:
            WahaError: WAHA does not tell.
        """
        people = self._people.table
        async with self._preparing:
            if not self._ready or not (names := self._names()):
                return
            try:
                await people.load("contacts")
                if kind(chat) == "people":
                    listed = {spell_name(clean_name(name)) for name in names}
                    known, now = people.saved_name(chat), await people.saved_name_now(chat)
                    if now is None or (known != now and not listed.isdisjoint(spellings(known) | spellings(now))):
                        await people.load("contacts", max_age=MISS_LIFE, gap_age=0.0)
                if not self._names_are_others():
                    return
                await self._look_up()
            except Forbidden:
                # A key that can no longer read: nobody is known by name.
                for each in self._lists:
                    each.learn(self._people, {})
                self._had, self._ready = {}, False
            self._readable.clear()

    async def renames(self, chat: str, names: Iterable[str]) -> bool:
        """Whether saving a person under one of these names would change whom a name on the lists means.

        True if the person has a name on the lists now, or if that is not certain.

        Raises:
            WahaError: WAHA admits nobody.
        """
        listed = {spell_name(clean_name(name)) for name in self._names()}
        if not listed:
            return False
        if any(not listed.isdisjoint(spellings(clean_name(name))) for name in names):
            return True
        now = await self._people.table.saved_name_now(chat)
        return now is None or not listed.isdisjoint(spellings(clean_name(now)))

    async def verdict(self, chat: str) -> Verdict:
        """Whether something may be sent to a chat id, `STATUS` or `PUBLIC`.

        Raises:
            WahaError: names are on the lists, and WAHA does not tell whom they mean.
        """
        await self._learn_who_has_the_names(chat)
        twin = await self._people.learn(chat) if self.limited and "@" in chat else None
        if self._deny.may_cover(chat, twin):
            return Verdict.NO
        if not self._allow.covers(chat, twin):
            return Verdict.ASK if self._ask.covers(chat, twin) else Verdict.NO
        if self._existing_only and not await self._exists(chat):
            return Verdict.NO
        return Verdict.NAMED if self._allow.holds(chat, twin) else Verdict.ALLOWED

    async def _exists(self, chat: str) -> bool:
        if chat in (PUBLIC, STATUS):
            return False
        try:
            return await self._people.has_messages(chat, ours=False)
        except WahaError:
            return False

    @property
    def wakers(self) -> str:
        """Who may wake an agent, in words."""
        return str(self._waking)

    async def may_wake(self, chat: str) -> bool:
        """Whether messages of this person, or in this chat, may wake an agent.

        Raises:
            WahaError: names are on the lists, and WAHA does not tell whom they mean.
        """
        await self._learn_who_has_the_names(chat)
        if self._waking.covers(chat, self._people.twin(chat)):
            return True
        if not (chat.endswith("@lid") or self._waking.unmatched):
            return False
        return self._waking.covers(chat, await self._people.learn(chat, MISS_LIFE))

    def readable(self, chat: str) -> bool:
        """Whether a chat may be read or shown."""
        if not self.read_limited:
            return True
        twin = self._people.twin(chat)
        found = self._readable.get((chat, twin))
        if found is None:
            found = (
                chat != NOT_KNOWN and not self._read_deny.may_cover(chat, twin) and self._read_allow.covers(chat, twin)
            )
            # Cached: a listing checks the whole address book each time.
            self._readable[chat, twin] = found
        return found

    def indexed(self, chat: str) -> bool:
        """Whether a chat is to be indexed."""
        return self.readable(chat) and self._indexed.covers(chat, self._people.twin(chat))

    @property
    def certain(self) -> bool:
        """Whether the lists were resolved, so that a chat not found on one of them is certainly not on it."""
        return (not self.read_limited and self._indexed.everyone) or (self._ready and self._gap is None)

    def summary(self) -> str:
        """One line: who can be written to and who can be read."""
        allowed = f"can write to {self._allow}"
        if self._ask:
            allowed += f", after approval to {self._ask}"
        if self._deny:
            allowed += f", never to {self._deny}"
        if self._existing_only:
            allowed += ", only in chats that already have messages"
        reads = f"can read {self._read_allow}" + (f" but not {self._read_deny}" if self._read_deny else "")
        # Agents read this: it must not reveal whether a deny list holds somebody of that name.
        forbids = "a deny list has a name that is not certain, so it denies everybody"
        forbidding = forbids if self._deny.names or self._read_deny.names else None
        return "; ".join(
            filter(None, (allowed, reads, self._open(self._allow, self._ask, self._read_allow), forbidding))
        )

    def unresolved(self) -> str | None:
        """The names on the lists that are not resolved, and why; None if there are none."""
        return self._open(*self._lists)

    def _open(self, *lists: Entries) -> str | None:
        names = ", ".join(sorted(set().union(*(each.names for each in lists))))
        if not names:
            return None
        if not self._ready:
            return f"not looked up: {names}"
        if self._gap:
            return f"not looked up, because the contacts could not all be read ({self._gap}): {names}"
        return f"no saved contact, or several, called {names}"


def _subscriber(chat: str) -> str:
    """A phone number in one canonical form: without the optional digits of Brazil, Mexico and Argentina."""
    digits = chat.partition("@")[0]
    digits = re.sub(r"^521(?=\d{10}$)", "52", digits)
    digits = re.sub(r"^549(?=\d{10}$)", "54", digits)
    return re.sub(r"^(55\d\d)9(?=[6-9]\d{7}$)", r"\1", digits)
