"""Resolves a name, phone number or chat id to one chat id, or raises with candidates."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable

from waha_mcp.people.filling import FilledTable
from waha_mcp.people.finding import Readable, find
from waha_mcp.people.parts import NAMES
from waha_mcp.people.people_table import Entry, PeopleTable
from waha_mcp.waha.errors import BadAnswer, Unsupported
from waha_mcp.waha.parsing import ChatKind, chat_id_of, iso_time, kind_of_chat, object_of
from waha_mcp.whatsapp.folding import fold, fold_name
from waha_mcp.whatsapp.ids import CHAT_FORMS, normalize_chat_id, parse_phone
from waha_mcp.whatsapp.untrusted import clean_name

#: Most candidates in an error.
CANDIDATES = 5
#: How many numbers' true chat ids are cached.
NUMBERS = 2_000


class Unresolved(Exception):
    """The text names no chat, or several. The message lists candidates and says what to give instead."""


class Resolver:
    """Resolves chats against one table; `readable` and `written` as in `Directory`."""

    def __init__(self, people: FilledTable, readable: Readable, written: Callable[[str], Awaitable[bool]]) -> None:
        """Makes no request."""
        self._people = people
        self._readable, self._written = readable, written
        #: Whether names can be looked up; False for a key without the action read.
        self.available = True
        self._true_ids: dict[str, str] = {}

    @property
    def _table(self) -> PeopleTable:
        return self._people.table

    async def resolve(self, value: str, kind: ChatKind | None, *, effect: bool) -> str:
        """See `Directory.resolve`."""
        chat_id = normalize_chat_id(value)
        if chat_id is not None:
            if self.available and chat_id.endswith("@lid"):
                await self._people.load(behind=True)
            return self._table.canonical(chat_id)
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
        name = clean_name(value)
        owners = await (self._meant(name, kind) if effect else self._called(name, kind))
        if len(owners) == 1:
            [owner] = owners
            # A saved name takes precedence over subjects, so for a person only gaps in the contacts matter.
            if not effect or not self._table.another_may_have_it(groups=kind_of_chat(owner) != "person"):
                return owner
        if wrong_number and not owners:
            raise Unresolved(wrong_number)
        raise Unresolved(self._candidates(value, owners, effect=effect))

    async def _called(self, name: str, kind: ChatKind | None) -> list[str]:
        """Ids of the readable chats with a name, whoever chose it; refreshes the table if there are none."""

        def bearers() -> list[str]:
            owners = _of_kind(self._table.by_name.get(fold(name), ()), kind)
            return list(filter(self._readable, owners))

        await self._people.load(behind=True)
        if not (found := bearers()):
            await self._people.refresh()
            found = bearers()
        return found

    async def _meant(self, name: str, kind: ChatKind | None) -> list[str]:
        """Ids of the chats that a name means for an effect, checked at most `MISS_LIFE` seconds ago.

        A chat that may not be shown keeps its name: nobody else gets it.

        Raises:
            Unresolved: some of several matches may not be shown.
        """
        wanted = fold_name(name)
        await self._people.load()
        owners = self._saved(wanted, kind)
        # For a single match it is enough to look up that row again.
        if len(owners) != 1 or not await self._people.still_saved(owners[0], wanted):
            await self._people.refresh()
            owners = self._saved(wanted, kind)
        if not owners:
            table = self._table
            subjects = _of_kind(table.subjects.get(wanted, ()), kind)
            owners = [each for each in subjects if each in table.created or await self._written(each)]
        shown = list(filter(self._readable, owners))
        if shown and len(shown) < len(owners):
            raise Unresolved(
                f"who is meant by {clean_name(name, 60)!r} is not certain, and nothing was done: "
                f"give {CHAT_FORMS} from the user"
            )
        return shown

    def _saved(self, wanted: str, kind: ChatKind | None) -> list[str]:
        table = self._table
        return [each for each in _of_kind(table.saved.get(wanted, ()), kind) if each in table.entries]

    def _candidates(self, value: str, owners: list[str], *, effect: bool) -> str:
        shown, table = repr(clean_name(value, 60)), self._table
        found = [table.entries[each] for each in owners] or find(table, value, 2 * CANDIDATES, self._readable)
        # The sort is stable, so equal entries stay in order of similarity.
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
        """The first part of the error for a name with no match or several; `shown`: the quoted name."""
        if gaps := self._table.not_known(*NAMES):
            found = f"{owners} found with the name" if owners else "nobody was found with the name"
            return f"{found} {shown} among what could be read (not known are {'; '.join(gaps)})"
        if owners:
            return f"{owners} go by the name {shown}"
        if not alike:
            return f"{shown} is nobody's name here"
        return f"{'nobody is saved under' if effect else 'nobody goes by'} exactly the name {shown}"

    async def _number(self, digits: str) -> str:
        """The true chat id of a phone number; its digits may differ from those dialled.

        Raises:
            Unresolved: the number is not on WhatsApp.
            WahaError: WAHA could not be asked.
        """
        chat_id = f"{digits}@c.us"
        if not self.available or chat_id in self._table.entries or chat_id in self._true_ids:
            return self._true_ids.get(chat_id, chat_id)
        try:
            answer = await self._people.waha.call("GET /api/contacts/check-exists", query={"phone": digits})
        except Unsupported:
            return chat_id
        found = object_of(answer, "about a number")
        if not isinstance(found.get("numberExists"), bool):
            raise BadAnswer("WAHA's answer does not say whether the number is on WhatsApp. Try again later.")
        if found["numberExists"] is False:
            raise Unresolved(f"+{digits} is not on WhatsApp, and nothing was done: check the number with the user")
        if len(self._true_ids) >= NUMBERS:
            self._true_ids.clear()
        true_id = self._table.canonical(chat_id_of(found.get("chatId")) or chat_id)
        self._true_ids[chat_id] = true_id
        return true_id


def _of_kind(owners: Iterable[str], kind: ChatKind | None) -> list[str]:
    return [each for each in owners if kind in (None, kind_of_chat(each))]


def _introduced(entry: Entry) -> str:
    """Kind and name of an entry, and who chose the name."""
    name = repr(clean_name(entry.shown or "", 60))
    if entry.kind != "person":
        return f"{entry.kind} {name}"
    return f"person saved as {name}" if entry.saved else f"person who calls themselves {name}"
