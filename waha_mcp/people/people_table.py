"""The table of everybody the account knows: persons, groups and channels with their ids and names, at one time.

One person is one entry, whether WAHA shows the number (`@c.us`), the hidden id (`@lid`) or both. Each name is marked:
saved by the account's owner, which nobody else can choose, or chosen by its bearer, as a group's subject is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from waha_mcp.people.parts import NAMES, Part, Said, Source
from waha_mcp.waha.models import Contact, Group
from waha_mcp.waha.parsing import ChatKind, kind_of_chat
from waha_mcp.whatsapp.folding import fold, fold_name

NEVER = float("-inf")


@dataclass(frozen=True)
class Entry:
    """One person, group or channel.

    `saved` says that the account's owner gave it its `name`; `push_name` is what a person calls themselves.
    `last_active` is when its chat last had a message (Unix seconds); 0: that is not known; None: it has no chat.
    `learned` is when what gave the name was read (seconds of the monotonic clock).
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
        """The name it goes by: the saved one or the subject, else the one that the person chose."""
        return self.name or self.push_name

    def joined(self, said: Said, learned: float) -> Entry:
        """The entry with what one more row says. What was known first stays, but a saved name replaces another."""
        name, saved, push_name, at = self.name, self.saved, self.push_name or said.push_name, self.learned
        if said.name and (name is None or (said.saved and not saved)):
            name, saved, push_name, at = said.name, said.saved, push_name or name, learned
        active = said.last_active if self.last_active is None else self.last_active
        # Contacts and groups are read before chats, so that the first row of an entry has its contact or group.
        return Entry(self.id, self.kind, name, saved, push_name, self.lid, active, self.contact, self.group, at)


@dataclass(frozen=True)
class PeopleTable:
    """What was read at one time. `gaps` holds the sources that are not wholly known, without what they gave."""

    entries: Mapping[str, Entry] = field(default_factory=dict)
    #: Hidden ids to ids that show a number.
    numbers: Mapping[str, str] = field(default_factory=dict)
    #: The account's own ids, and the names under which its owner saved it, which are no entries.
    me: frozenset[str] = frozenset()
    own_names: tuple[tuple[str, str], ...] = ()
    #: Groups that the account created.
    created: frozenset[str] = frozenset()
    gaps: Mapping[Source, Part] = field(default_factory=dict)

    def canonical(self, chat_id: str) -> str:
        """The id under which a person stands here: the one with the number, where it is known."""
        return self.numbers.get(chat_id, chat_id)

    def get(self, chat_id: str) -> Entry | None:
        """The entry of any id of its."""
        return self.entries.get(self.canonical(chat_id))

    # Names

    @cached_property
    def spelled(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """All names by `fold`, and whose they are, side by side."""
        names = [
            (fold(name), entry.id) for entry in self.entries.values() for name in {entry.name, entry.push_name} if name
        ]
        return tuple(name for name, _ in names), tuple(owner for _, owner in names)

    @cached_property
    def by_name(self) -> Mapping[str, frozenset[str]]:
        """Whose name each is, whoever chose it, by `fold`."""
        return _owners(zip(*self.spelled, strict=True))

    @cached_property
    def saved(self) -> Mapping[str, frozenset[str]]:
        """Whom the owner saved under each name, by `fold_name`; the account itself may be among them."""
        named = ((fold_name(entry.name), entry.id) for entry in self.entries.values() if entry.saved and entry.name)
        return _owners((*named, *((fold_name(name), chat) for name, chat in self.own_names)))

    @cached_property
    def subjects(self) -> Mapping[str, frozenset[str]]:
        """The groups and channels of each subject, by `fold_name`."""
        return _owners(
            (fold_name(entry.name), entry.id)
            for entry in self.entries.values()
            if entry.kind != "person" and entry.name
        )

    # What is missing

    def not_known(self, *sources: Source) -> list[str] | None:
        """What of these sources could not be read, each with why in a few words; None where they are wholly known."""
        return [f"{source}: {self.gaps[source].gap}" for source in sources if source in self.gaps] or None

    def another_may_have_it(self, *, groups: bool = True) -> bool:
        """Whether somebody who is not known may have a name too. What the engine cannot list at all does not count."""
        sources: tuple[Source, ...] = ("contacts", "groups") if groups else ("contacts",)
        return any(source in self.gaps and not self.gaps[source].lacking for source in sources)


def table_of(parts: Mapping[Source, Part], numbers: Mapping[str, str]) -> PeopleTable:
    """The table of what was read. `numbers` matches hidden ids with numbers, those of these parts among them."""
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
    )


def _owners(names: Iterable[tuple[str, str]]) -> dict[str, frozenset[str]]:
    """The owners of each name. What folds to nothing, such as a lone accent, is no name: blank text would mean it."""
    found: dict[str, set[str]] = {}
    for name, owner in names:
        if name:
            found.setdefault(name, set()).add(owner)
    return {name: frozenset(owners) for name, owners in found.items()}
