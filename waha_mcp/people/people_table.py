"""The table of people: an immutable snapshot of the persons, groups and channels that the account knows.

One person is one entry, whether WAHA shows the number (`@c.us`), the hidden id (`@lid`) or both. Each name is either
saved by the account's owner, which nobody else can choose, or chosen by others, as a group's subject is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from waha_mcp.people.parts import NAMES, Part, Said, Source
from waha_mcp.waha.models import Contact, Group
from waha_mcp.waha.parsing import ChatKind, kind_of_chat
from waha_mcp.whatsapp.folding import fold, spellings

NEVER = float("-inf")


@dataclass(frozen=True)
class Entry:
    """One person, group or channel.

    `name`: the saved name or the subject; `saved`: the account's owner chose it; `push_name`: the name that a person
    chose. `last_active`: time of the last message in its chat (Unix seconds); 0: unknown; None: it has no chat.
    `learned`: when the list with the name was read (seconds of the monotonic clock).
    """

    id: str
    kind: ChatKind
    name: str | None = None
    saved: bool = False
    push_name: str | None = None
    lid: str | None = None
    last_active: float | None = None
    contact: Contact | None = None
    group: Group | None = None
    learned: float = NEVER

    @property
    def shown(self) -> str | None:
        """The display name: the saved name or subject, else the one that the person chose."""
        return self.name or self.push_name

    def joined(self, said: Said, learned: float) -> Entry:
        """The entry merged with one more row. Earlier values win, but a saved name replaces another."""
        name, saved, push_name, at = self.name, self.saved, self.push_name or said.push_name, self.learned
        if said.name and (name is None or (said.saved and not saved)):
            name, saved, push_name, at = said.name, said.saved, push_name or name, learned
        active = said.last_active if self.last_active is None else self.last_active
        # Contacts and groups are read before chats, so that the first row of an entry has its contact or group.
        return Entry(self.id, self.kind, name, saved, push_name, self.lid, active, self.contact, self.group, at)


@dataclass(frozen=True)
class PeopleTable:
    """A snapshot of all lists. `gaps`: the incomplete sources, without their rows."""

    entries: Mapping[str, Entry] = field(default_factory=dict)
    #: Hidden ids (`@lid`) to ids with a number (`@c.us`).
    numbers: Mapping[str, str] = field(default_factory=dict)
    #: The account's own ids; and the (name, id) pairs of its own contact, which has no entry.
    me: frozenset[str] = frozenset()
    own_names: tuple[tuple[str, str], ...] = ()
    #: Ids of the groups that the account created.
    created: frozenset[str] = frozenset()
    gaps: Mapping[Source, Part] = field(default_factory=dict)
    #: Whether the contacts were read and there are any. Without them, it is unknown who is saved.
    contacts_known: bool = False

    def canonical(self, chat_id: str) -> str:
        """The id of a person's entry: the one with the number (`@c.us`), if known."""
        return self.numbers.get(chat_id, chat_id)

    def get(self, chat_id: str) -> Entry | None:
        """The entry of a chat, by any of its ids."""
        return self.entries.get(self.canonical(chat_id))

    @cached_property
    def active(self) -> tuple[str, ...]:
        """The ids of the entries that have a chat."""
        return tuple(entry.id for entry in self.entries.values() if entry.last_active is not None)

    # Names

    @cached_property
    def spelled(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """All names (by `fold`) and the ids of their owners, as two parallel tuples."""
        names = [
            (fold(name), entry.id) for entry in self.entries.values() for name in {entry.name, entry.push_name} if name
        ]
        return tuple(name for name, _ in names), tuple(owner for _, owner in names)

    @cached_property
    def by_name(self) -> Mapping[str, frozenset[str]]:
        """Name (by `fold`) to the ids of its owners, no matter who chose the name."""
        return _owners(zip(*self.spelled, strict=True))

    @cached_property
    def saved(self) -> Mapping[str, frozenset[str]]:
        """Each spelling (`spellings`) of a saved name to ids; the account itself may be among them."""
        named = ((entry.name, entry.id) for entry in self.entries.values() if entry.saved and entry.name)
        return _spelled_owners((*named, *self.own_names))

    @cached_property
    def subjects(self) -> Mapping[str, frozenset[str]]:
        """Each spelling (`spellings`) of a subject to the ids of groups and channels."""
        named = ((entry.name, entry.id) for entry in self.entries.values() if entry.kind != "person" and entry.name)
        return _spelled_owners(named)

    # What is missing

    def not_known(self, *sources: Source) -> list[str] | None:
        """The incomplete ones of these sources, as `source: why`; None if all are complete."""
        return [f"{source}: {self.gaps[source].gap}" for source in sources if source in self.gaps] or None

    def another_may_have_it(self, *sources: Source) -> bool:
        """Whether an unread row of these lists may have a name; lists that the engine lacks do not count.

        Default: contacts and groups.
        """
        asked = sources or ("contacts", "groups")
        return any(source in self.gaps and not self.gaps[source].lacking for source in asked)


def table_of(parts: Mapping[Source, Part], numbers: Mapping[str, str]) -> PeopleTable:
    """Build the table. `numbers`: hidden ids to ids with numbers, including the pairs in `parts`."""
    hidden_ids = {number: lid for lid, number in numbers.items()}
    own = {each for said in parts["the account"].said for each in (said.id, said.lid) if each}
    mine = own | {numbers.get(each, each) for each in own}
    entries: dict[str, Entry] = {}
    own_names: list[tuple[str, str]] = []
    created: set[str] = set()
    for source in NAMES:
        began = parts[source].began
        for said in parts[source].said:
            if source == "contacts" and (said.me or said.id in own):
                if said.saved and said.name:
                    own_names.append((said.name, said.id))
                continue
            chat = numbers.get(said.id, said.id)
            if (entry := entries.get(chat)) is not None:
                entries[chat] = entry.joined(said, began)
            else:
                kind, lid = kind_of_chat(chat), hidden_ids.get(chat)
                entries[chat] = Entry(
                    chat, kind, said.name, said.saved, said.push_name, lid, said.last_active, said.contact, said.group,
                    began if said.name else NEVER,
                )  # fmt: skip
            if not mine.isdisjoint(said.creators):
                created.add(said.id)
    return PeopleTable(
        entries=entries,
        numbers=numbers,
        me=frozenset(mine),
        own_names=tuple(own_names),
        created=frozenset(created),
        gaps={source: replace(part, said=()) for source, part in parts.items() if part.gap is not None},
        contacts_known=bool(parts["contacts"].said) and parts["contacts"].gap is None,
    )


def _spelled_owners(names: Iterable[tuple[str, str]]) -> dict[str, frozenset[str]]:
    return _owners((spelling, owner) for name, owner in names for spelling in spellings(name))


def _owners(names: Iterable[tuple[str, str]]) -> dict[str, frozenset[str]]:
    """Name to owner ids. Names that fold to nothing are left out: blank text would match."""
    found: dict[str, set[str]] = {}
    for name, owner in names:
        if name:
            found.setdefault(name, set()).add(owner)
    return {name: frozenset(owners) for name, owners in found.items()}
