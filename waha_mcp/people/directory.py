"""Who and what the account knows, by name and by id: the directory behind names in arguments and in results.

Nothing is fetched until a name or a chat is asked for. Then it is fetched once for all who ask, kept for `LIFE`
seconds, and fetched again sooner when a name is not found in it. One person is one entry, whether WAHA shows the number
(`@c.us`), the hidden id (`@lid`) or both.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import anyio

from waha_mcp.concurrency import each
from waha_mcp.waha.client import Waha
from waha_mcp.waha.errors import (
    BadAnswer,
    Forbidden,
    SessionNotReady,
    Unauthorized,
    Unreachable,
    Unsupported,
    WahaError,
)
from waha_mcp.waha.models import Contact, Group, contact_from, group_from
from waha_mcp.waha.parsing import (
    ChatKind,
    chat_id_of,
    epoch,
    first_of,
    iso_time,
    kind_of_chat,
    listing,
    mapping_of,
    object_of,
    text_of,
)
from waha_mcp.waha.rows import Rows, all_rows, briefly
from waha_mcp.whatsapp.folding import fold, fold_name
from waha_mcp.whatsapp.ids import CHAT_FORMS, normalize_chat_id, parse_phone
from waha_mcp.whatsapp.untrusted import clean_name

logger = logging.getLogger(__name__)

#: Seconds that what was fetched is good for, and the age from which on a name that is missing is looked for anew.
LIFE, MISS_LIFE = 300.0, 10.0
#: The same where something could not be read that the engine has.
GAP_LIFE = 30.0
#: How alike (0 to 100) a name must be to be shown, and how many are shown, where none is the very one asked for.
ALIKE, CANDIDATES = 60, 5
#: Numbers whose true chat id is remembered.
NUMBERS = 2_000

#: What a directory is made of, and where WAHA has it. The first three hold the names.
Source = Literal["contacts", "groups", "chats", "hidden ids", "the account"]
NAMES: tuple[Source, ...] = ("contacts", "groups", "chats")
_LISTS: Mapping[Source, tuple[str, Mapping[str, Any]]] = {
    "contacts": ("GET /api/contacts/all", {}),
    # Without its members, a group is small.
    "groups": ("GET /api/{session}/groups", {"exclude": "participants"}),
    "chats": ("GET /api/{session}/chats", {}),
    "hidden ids": ("GET /api/{session}/lids", {}),
}


class Unresolved(Exception):
    """Text that names no chat, or not exactly one. It says what would be right and lists who may be meant."""


@dataclass(frozen=True)
class Entry:
    """One person, group or channel.

    `last_active` is when its chat last had a message; 0: that is not known; None: it has no chat.
    """

    id: str
    kind: ChatKind
    name: str | None = None
    push_name: str | None = None
    lid: str | None = None
    last_active: float | None = None
    contact: Contact | None = None
    group: Group | None = None

    @property
    def saved(self) -> bool:
        """Whether the account's owner gave it its name: nobody else can choose that one."""
        return (
            self.kind == "person"
            and self.name is not None
            and (self.contact is None or self.contact.saved is not False)
        )

    @property
    def shown(self) -> str | None:
        """The name it goes by: the saved one or the subject, else the one that the person chose."""
        return self.name or self.push_name


@dataclass(frozen=True)
class _Snapshot:
    """What was fetched at one time. `gaps` holds the sources that are not wholly known, with why and without rows."""

    entries: Mapping[str, Entry] = field(default_factory=dict)
    #: Hidden ids to ids that show a number.
    numbers: Mapping[str, str] = field(default_factory=dict)
    me: frozenset[str] = frozenset()
    fetched: float = float("-inf")
    gaps: Mapping[Source, Rows] = field(default_factory=dict)
    #: Folded names and whose they are, side by side.
    names: tuple[str, ...] = ()
    owners: tuple[str, ...] = ()
    by_name: Mapping[str, frozenset[str]] = field(default_factory=dict)
    #: Whose name each is, by `fold_name`: of those whom the owner saved, and of groups and channels.
    saved: Mapping[str, frozenset[str]] = field(default_factory=dict)
    subjects: Mapping[str, frozenset[str]] = field(default_factory=dict)
    #: Groups that the account created.
    created: frozenset[str] = frozenset()


async def _never(chat: str) -> bool:
    return False


class Directory:
    """The names of one session. `readable` says which chats may be shown: what it refuses is as if it were not there.
    `written` finds out whether the account has written to a chat.

    `available` is False for a key that may not read: then ids and numbers work and names do not.
    """

    def __init__(
        self,
        waha: Waha,
        readable: Callable[[str], bool] = lambda chat_id: True,
        written: Callable[[str], Awaitable[bool]] = _never,
    ) -> None:
        """A directory that is empty until `load` is awaited."""
        self._waha = waha
        self._readable, self._written = readable, written
        self._snapshot = _Snapshot()
        self._fetching = anyio.Lock()
        self._true_ids: dict[str, str] = {}
        self.available = True

    # What is known

    async def load(self, max_age: float = LIFE) -> None:
        """Fetch what is older than `max_age` seconds. Without `available` this does nothing.

        Raises:
            WahaError: WAHA answered none of it.
        """
        if any(not gap.lacking and gap.error for gap in self._snapshot.gaps.values()):
            max_age = min(max_age, GAP_LIFE)
        if not self.available or self._age() <= max_age:
            return
        asked = time.monotonic()
        async with self._fetching:
            if self._snapshot.fetched < asked - max_age:
                self._snapshot = await _fetch(self._waha)

    async def refresh(self) -> None:
        """Fetch anew, unless that was done a moment ago: something was not found."""
        await self.load(MISS_LIFE)

    def expire(self) -> None:
        """Fetch anew when next asked: something in it was changed."""
        self._snapshot = replace(self._snapshot, fetched=float("-inf"))

    def _age(self) -> float:
        return time.monotonic() - self._snapshot.fetched

    def not_known(self, *sources: Source) -> list[str] | None:
        """What of these sources could not be read, each with why in a few words; None where they are wholly known."""
        gaps = self._snapshot.gaps
        return [f"{source}: {gaps[source].gap}" for source in sources if source in gaps] or None

    def _another_may_have_it(self, *, groups: bool = True) -> bool:
        """Whether somebody who is not known may have a name too. What the engine cannot list at all does not count."""
        gaps = self._snapshot.gaps
        sources: tuple[Source, ...] = ("contacts", "groups") if groups else ("contacts",)
        return any(source in gaps and not gaps[source].lacking for source in sources)

    @property
    def me(self) -> frozenset[str]:
        """The account's own ids."""
        return self._snapshot.me

    def canonical(self, chat_id: str) -> str:
        """The id under which a person stands here: the one with the number, where it is known."""
        return self._snapshot.numbers.get(chat_id, chat_id)

    def name(self, chat_id: str) -> str | None:
        """The name that an id goes by."""
        entry = self._snapshot.entries.get(self.canonical(chat_id))
        return entry.shown if entry else None

    def get(self, chat_id: str) -> Entry | None:
        """The entry of an id, where it may be shown."""
        entry = self._snapshot.entries.get(self.canonical(chat_id))
        return entry if entry is not None and self._readable(entry.id) else None

    def entries(self) -> list[Entry]:
        """All that may be shown."""
        return [entry for entry in self._snapshot.entries.values() if self._readable(entry.id)]

    # Finding

    def find(self, query: str, limit: int) -> list[Entry]:
        """Entries whose name is like `query`, or whose number holds its digits, best first."""
        wanted = fold(clean_name(query))
        found: dict[str, float] = {}
        if wanted:
            for owner, score in self._alike(wanted):
                if score > found.get(owner, 0):
                    found[owner] = score
        digits = "".join(c for c in query if c.isdigit())
        if len(digits) >= 3 and not any(c.isalpha() for c in query):
            for entry_id in self._snapshot.entries:
                if digits in entry_id.partition("@")[0]:
                    found[entry_id] = 100
        matches = [(score, entry) for each, score in found.items() if (entry := self.get(each)) is not None]
        matches.sort(key=lambda match: (-match[0], -(match[1].last_active or 0), match[1].shown or match[1].id))
        return [entry for _, entry in matches[:limit]]

    def completions(self, beginning: str, limit: int) -> list[str]:
        """Texts that `resolve` takes for chats like `beginning`, best first; empty: the most recent."""
        if beginning.strip():
            found = self.find(beginning, limit)
        else:
            found = sorted(self.entries(), key=lambda entry: -(entry.last_active or 0))[:limit]
        return [self._handle(entry) for entry in found]

    def _handle(self, entry: Entry) -> str:
        owners = self._snapshot.by_name.get(fold(entry.shown or ""), ())
        if self._another_may_have_it():
            return entry.id
        return entry.shown if entry.shown and list(filter(self._readable, owners)) == [entry.id] else entry.id

    def _alike(self, wanted: str) -> Iterable[tuple[str, float]]:
        from rapidfuzz import fuzz, process  # only a search needs it

        snapshot = self._snapshot
        for name, score, at in process.extract(
            wanted, snapshot.names, scorer=fuzz.WRatio, score_cutoff=ALIKE, limit=200
        ):
            # The very name comes first, then names that begin with it, then those that hold it as a word.
            if name == wanted:
                score = 103
            elif name.startswith(wanted):
                score = 102
            elif f" {wanted}" in name:
                score = 101
            yield snapshot.owners[at], score

    # Resolving

    async def resolve(self, value: str, kind: ChatKind | None = None, *, effect: bool = False) -> str:
        """The chat id that `value` means: a chat id, a phone number, or the exact name of one person, group or channel.

        With `kind`, names of chats of other kinds do not count. For an `effect`, names that others chose do not: a
        person goes by the saved name alone, a group or channel by its subject only where the account created it or
        has written in it, and where no saved name is the same.

        Raises:
            Unresolved: nobody, or several; it lists who may be meant.
            WahaError: WAHA could not be asked.
        """
        chat_id = normalize_chat_id(value)
        if chat_id is not None:
            if chat_id.endswith("@lid"):
                await self.load()
            return self.canonical(chat_id)
        wrong_number = None
        if any(c.isdigit() for c in value) and not any(c.isalpha() for c in value.removeprefix("tel:")):
            try:
                return await self._number(parse_phone(value))
            except ValueError as error:
                wrong_number = str(error)
        if not self.available:
            raise Unresolved(
                wrong_number
                or f"names cannot be looked up, because this key has no read action: give {CHAT_FORMS} from the user"
            )
        owners = await self._named(value, kind, self._meant if effect else self._called)
        if len(owners) == 1:
            [owner] = owners
            # A saved name comes before the subject of any group.
            if not effect or not self._another_may_have_it(groups=kind_of_chat(owner) != "person"):
                return owner
        if wrong_number and not owners:
            raise Unresolved(wrong_number)
        raise Unresolved(self._candidates(value, owners, effect=effect))

    async def _named(
        self, name: str, kind: ChatKind | None, find: Callable[[str, ChatKind | None], Awaitable[list[str]]]
    ) -> list[str]:
        """The ids of those whose name is exactly this one, looked for in what is known and then anew."""
        for max_age in (LIFE, MISS_LIFE):
            await self.load(max_age)
            if owners := await find(clean_name(name), kind):
                return owners
        return []

    async def _called(self, name: str, kind: ChatKind | None) -> list[str]:
        """Those who go by a name, whoever chose it."""
        return list(filter(self._readable, _of_kind(self._snapshot.by_name.get(fold(name), ()), kind)))

    async def _meant(self, name: str, kind: ChatKind | None) -> list[str]:
        """Those whom the account's owner calls so.

        Who may not be shown has a name all the same: it goes to nobody else.

        Raises:
            Unresolved: one of them may not be shown.
        """
        wanted = fold_name(name)
        owners = _of_kind(self._snapshot.saved.get(wanted, ()), kind)
        if not owners:
            subjects = _of_kind(self._snapshot.subjects.get(wanted, ()), kind)
            owners = [each for each in subjects if each in self._snapshot.created or await self._written(each)]
        shown = list(filter(self._readable, owners))
        if shown and len(shown) < len(owners):
            raise Unresolved(
                f"who is meant by {clean_name(name, 60)!r} is not certain, and nothing was done: "
                f"give {CHAT_FORMS} from the user"
            )
        return shown

    def _candidates(self, value: str, owners: list[str], *, effect: bool) -> str:
        shown = repr(clean_name(value, 60))
        found = [entry for each in owners if (entry := self.get(each))] or self.find(value, 2 * CANDIDATES)
        # The sort is stable: those that are alike stay in their order, by likeness.
        found.sort(key=lambda entry: (not entry.saved, -(entry.last_active or 0) if owners else 0))
        what = self._what_is_known(shown, len(owners), bool(found), effect=effect)
        if not found:
            return f"{what}, and nothing was done: give {CHAT_FORMS}, or search with find_chats"
        lines = [
            f"- {entry.id}: {_introduced(entry)}, "
            + (
                "no chat yet"
                if entry.last_active is None
                else f"last active {iso_time(entry.last_active) or 'unknown'}"
            )
            for entry in found[:CANDIDATES]
        ]
        return "\n".join([f"{what}, and nothing was done. Ask the user who is meant, and pass that id:", *lines])

    def _what_is_known(self, shown: str, owners: int, alike: bool, *, effect: bool) -> str:
        """What a name that means not exactly one is told, which depends on what could be read."""
        if gaps := self.not_known(*NAMES):
            found = f"{owners} found with the name" if owners else "nobody was found with the name"
            return f"{found} {shown} among what could be read (not known are {'; '.join(gaps)})"
        if owners:
            return f"{owners} go by the name {shown}"
        if not alike:
            return f"{shown} is nobody's name here"
        return f"{'nobody is saved under' if effect else 'nobody goes by'} exactly the name {shown}"

    async def _number(self, digits: str) -> str:
        """The true chat id of a phone number, whose digits may differ from those that are dialled."""
        chat_id = f"{digits}@c.us"
        if not self.available or chat_id in self._snapshot.entries or chat_id in self._true_ids:
            return self._true_ids.get(chat_id, chat_id)
        try:
            answer = await self._waha.call("GET /api/contacts/check-exists", query={"phone": digits})
        except Unsupported:
            return chat_id
        found = object_of(answer, "about a number")
        if not isinstance(found.get("numberExists"), bool):
            raise BadAnswer("WAHA's answer does not say whether the number is on WhatsApp. Try again later.")
        if found["numberExists"] is False:
            raise Unresolved(f"+{digits} is not on WhatsApp, and nothing was done: check the number with the user")
        if len(self._true_ids) >= NUMBERS:
            self._true_ids.clear()
        true_id = self._true_ids[chat_id] = self.canonical(chat_id_of(found.get("chatId")) or chat_id)
        return true_id


def _of_kind(owners: Iterable[str], kind: ChatKind | None) -> list[str]:
    return [each for each in owners if kind in (None, kind_of_chat(each))]


def _introduced(entry: Entry) -> str:
    """What an entry goes by, and who says so."""
    name = repr(clean_name(entry.shown or "", 60))
    if entry.kind != "person":
        return f"{entry.kind} {name}"
    return f"person saved as {name}" if entry.saved else f"person who calls themselves {name}"


# Fetching


async def _fetch(waha: Waha) -> _Snapshot:
    """All there is, side by side. What could not be read is empty and stands in `gaps`.

    Raises:
        WahaError: WAHA lets nobody in, or no source of names could be read.
    """
    fetched = time.monotonic()

    async def ask(source: Source) -> Rows:
        if source == "the account":
            return await _account(waha)
        operation, query = _LISTS[source]
        rows = await all_rows(waha, operation, source, **query)
        if isinstance(rows.error, Unauthorized | Forbidden | SessionNotReady | Unreachable):
            raise rows.error
        return rows

    sources: tuple[Source, ...] = (*NAMES, "hidden ids", "the account")
    found = dict(zip(sources, await each(sources, ask), strict=True))
    failures = [rows.error for source in NAMES if (rows := found[source]).error is not None and not rows.rows]
    if len(failures) == len(NAMES):
        raise failures[0]
    return _snapshot(
        me=found["the account"].rows,
        lids=found["hidden ids"].rows,
        contacts=found["contacts"].rows,
        groups=found["groups"].rows,
        chats=found["chats"].rows,
        fetched=fetched,
        gaps={source: replace(rows, rows=()) for source, rows in found.items() if rows.gap is not None},
    )


async def _account(waha: Waha) -> Rows:
    try:
        answer = await waha.call("GET /api/sessions", query={"all": True}, bound=False)
        rows = listing(answer, "sessions")
    except (Unauthorized, Forbidden, SessionNotReady, Unreachable):
        raise
    except WahaError as error:
        logger.warning("The account's own ids are not known: %s", error)
        return Rows(gap=briefly(error), error=error)
    return Rows([mapping_of(row.get("me")) for row in rows if row.get("name") == waha.session])


def _snapshot(
    *,
    me: Sequence[Mapping[str, Any]],
    lids: Sequence[Mapping[str, Any]],
    contacts: Sequence[Mapping[str, Any]],
    groups: Sequence[Mapping[str, Any]],
    chats: Sequence[Mapping[str, Any]],
    fetched: float,
    gaps: Mapping[Source, Rows],
) -> _Snapshot:
    numbers: dict[str, str] = {}
    pairs = [(row.get("lid"), row.get("pn")) for row in lids]
    pairs += [(row.get("lid"), row.get("id")) for row in [*contacts, *me]]
    pairs += [(row.get("lidJid"), row.get("id")) for row in chats]
    for hidden, shown in pairs:
        lid, number = chat_id_of(hidden), chat_id_of(shown)
        if lid and number and lid.endswith("@lid") and number.endswith("@c.us"):
            numbers[lid] = number
    hidden_ids = {number: lid for lid, number in numbers.items()}
    own = {each for row in me for key in ("id", "lid") if (each := chat_id_of(row.get(key)))}

    entries: dict[str, Entry] = {}

    def add(chat_id: str, **known: Any) -> None:
        chat_id = numbers.get(chat_id, chat_id)
        entry = entries.get(chat_id) or Entry(chat_id, kind_of_chat(chat_id), lid=hidden_ids.get(chat_id))
        # What was known first stays: a person's two rows complete each other. A name that shows nothing is none.
        entries[chat_id] = replace(
            entry, **{k: v for k, v in known.items() if v not in (None, "") and getattr(entry, k) is None}
        )

    for row in contacts:
        contact = contact_from(row)
        if contact is not None and contact.id not in own:
            add(contact.id, name=contact.name, push_name=contact.push_name, contact=contact)
    for row in groups:
        group = group_from(row)
        if group is not None:
            add(group.id, name=group.subject, group=group)
    for row in chats:
        chat_id = chat_id_of(row.get("id"))
        if chat_id is not None and kind_of_chat(chat_id) != "status":
            name = text_of(row.get("name"))
            active = epoch(row.get("conversationTimestamp")) or epoch(row.get("timestamp")) or 0.0
            # A chat's name may be just its number.
            known = clean_name(name) if name and any(c.isalpha() for c in name) else None
            which = "push_name" if kind_of_chat(chat_id) == "person" else "name"
            add(chat_id, last_active=active, **{which: known})
    names = [(fold(name), entry.id) for entry in entries.values() for name in {entry.name, entry.push_name} if name]
    mine = own | {numbers.get(each, each) for each in own}
    return _Snapshot(
        entries=entries,
        numbers=numbers,
        me=frozenset(mine),
        fetched=fetched,
        gaps=gaps,
        names=tuple(name for name, _ in names),
        owners=tuple(owner for _, owner in names),
        by_name=_by_name(names),
        saved=_by_name((fold_name(entry.name), entry.id) for entry in entries.values() if entry.saved and entry.name),
        subjects=_by_name(
            (fold_name(entry.name), entry.id) for entry in entries.values() if entry.kind != "person" and entry.name
        ),
        created=frozenset(
            chat for row in groups if _created_by(row, mine) and (chat := chat_id_of(first_of(row, "id", "JID")))
        ),
    )


def _by_name(names: Iterable[tuple[str, str]]) -> dict[str, frozenset[str]]:
    """The owners of each name. What folds to nothing, such as a lone accent, is no name: blank text would mean it."""
    found: dict[str, set[str]] = {}
    for name, owner in names:
        if name:
            found.setdefault(name, set()).add(owner)
    return {name: frozenset(owners) for name, owners in found.items()}


def _created_by(group: Mapping[str, Any], mine: Collection[str]) -> bool:
    owners = (chat_id_of(group.get(name)) for name in ("owner", "ownerPn", "OwnerJID", "OwnerPN"))
    return any(owner in mine for owner in owners)
