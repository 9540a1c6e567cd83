"""Resolves a name, phone number or chat id to one chat id, or raises with candidates."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable

from waha_mcp.people.filling import FilledTable
from waha_mcp.people.finding import Readable, find
from waha_mcp.people.parts import NAMES
from waha_mcp.people.people_table import Entry, PeopleTable
from waha_mcp.waha.errors import BadAnswer, Unsupported
from waha_mcp.waha.parsing import ChatKind, chat_id_of, iso_time, kind_of_chat, object_of
from waha_mcp.whatsapp.folding import fold, spell_name
from waha_mcp.whatsapp.ids import CHAT_FORMS, normalize_chat_id, parse_phone
from waha_mcp.whatsapp.untrusted import clean_name, reveal

#: Maximum number of candidates in an error.
CANDIDATES = 5
#: The number of phone numbers whose true chat ids are cached.
NUMBERS = 2_000


class Unresolved(Exception):
    """The text names no chat, or several. The message lists candidates and says what to give instead.

    `named`: the ids of the candidates.
    """

    def __init__(self, text: str, named: Iterable[str] = ()) -> None:
        super().__init__(text)
        self.named = tuple(named)


class NotOnWhatsApp(Unresolved):
    """A phone number is not on WhatsApp. `chat`: the chat id that it would have."""

    def __init__(self, digits: str) -> None:
        super().__init__(f"+{digits} is not on WhatsApp, and nothing was done: ask the user to check the number")
        self.chat = f"{digits}@c.us"


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
        owners = await (self._meant(value, kind) if effect else self._called(clean_name(value), kind))
        if len(owners) == 1 and not (effect and self._another_may_be_meant(owners[0], kind)):
            return owners[0]
        if wrong_number and not owners:
            raise Unresolved(wrong_number)
        raise self._candidates(value, owners, effect=effect)

    async def _called(self, name: str, kind: ChatKind | None) -> list[str]:
        """Ids of the readable chats with a name, no matter who chose it; refreshes the table if there are none."""

        def bearers() -> list[str]:
            owners = _of_kind(self._table.by_name.get(fold(name), ()), kind)
            return list(filter(self._readable, owners))

        await self._people.load(behind=True)
        if not (found := bearers()):
            await self._people.refresh()
            found = bearers()
        return found

    async def _meant(self, written: str, kind: ChatKind | None) -> list[str]:
        """Ids of the chats that a name means for an effect, at most `MISS_LIFE` seconds old.

        A chat that may not be shown keeps its name, so that no other chat matches it. It causes the same requests as
        one that does not exist.

        Raises:
            Unresolved: some of several matches may not be shown.
        """
        wanted = spell_name(written)
        await self._people.load()
        # That one row still has the name does not show that no other has it now.
        await self._people.refresh("contacts")
        saved = _of_kind(self._table.saved.get(wanted, ()), kind)
        if len(list(filter(self._readable, saved))) != 1:
            await self._people.refresh()
            saved = _of_kind(self._table.saved.get(wanted, ()), kind)
        # The account's own contact is not a recipient, but takes precedence over a subject too.
        owners = [each for each in saved if each in self._table.entries] if saved else await self._ours(wanted, kind)
        shown = list(filter(self._readable, owners))
        if shown and len(shown) < len(owners):
            raise Unresolved(
                f"who is meant by {_quoted(written)} is not certain, and nothing was done: "
                f"give {CHAT_FORMS} from the user"
            )
        return shown

    async def _ours(self, wanted: str, kind: ChatKind | None) -> list[str]:
        """Ids of the groups and channels of a subject that the account created or has written in.

        Those that may not be shown are checked only if another one has the subject.
        """
        subjects = _of_kind(self._table.subjects.get(wanted, ()), kind)
        found: list[str] = []
        for each in sorted(subjects, key=self._readable, reverse=True):
            if (found or self._readable(each)) and (each in self._table.created or await self._written(each)):
                found.append(each)
        return found

    def _another_may_be_meant(self, owner: str, kind: ChatKind | None) -> bool:
        """Whether a name may mean somebody other than the one match found, since not all lists are known.

        A saved name takes precedence over a subject: to be certain, the former needs the contacts, the latter also the
        other lists.
        """
        table = self._table
        if kind_of_chat(owner) == "person":
            return table.another_may_have_it("contacts")
        saved_unknown = kind in (None, "person") and not table.contacts_known
        return saved_unknown or table.another_may_have_it("groups", "chats")

    def _candidates(self, value: str, owners: list[str], *, effect: bool) -> Unresolved:
        shown, table = _quoted(value), self._table
        found = [table.entries[each] for each in owners] or find(table, value, 2 * CANDIDATES, self._readable)
        # The sort is stable, so equal entries stay in order of similarity.
        found.sort(key=lambda entry: (not entry.saved, -(entry.last_active or 0) if owners else 0))
        what = self._what_is_known(shown, len(owners), bool(found), effect=effect)
        if not found:
            return Unresolved(f"{what}, and nothing was done: give {CHAT_FORMS}, or search with find_chats")
        found = found[:CANDIDATES]
        lines = [
            f"- {entry.id}: {_introduced(entry)}, "
            + (
                "no chat yet"
                if entry.last_active is None
                else f"last active {iso_time(entry.last_active) or 'unknown'}"
            )
            for entry in found
        ]
        text = "\n".join([f"{what}, and nothing was done. Ask the user who is meant, and pass that id:", *lines])
        return Unresolved(text, [entry.id for entry in found])

    def _what_is_known(self, shown: str, owners: int, alike: bool, *, effect: bool) -> str:
        """The first part of the error for a name with no match or several; `shown`: the quoted name."""
        gaps = self._table.not_known(*NAMES) or []
        if owners and not self._table.contacts_known and "contacts" not in self._table.gaps:
            gaps.append("contacts: WAHA lists none")
        if gaps:
            found = f"{owners} found with the name" if owners else "nobody was found with the name"
            return f"{found} {shown} among what could be read (not known: {'; '.join(gaps)})"
        if owners:
            return f"{owners} go by the name {shown}"
        if not alike:
            return f"{shown} is nobody's name here"
        return f"{'nobody is saved under' if effect else 'nobody goes by'} exactly the name {shown}"

    async def _number(self, digits: str) -> str:
        """The true chat id of a phone number; its digits may differ from those dialled.

        Raises:
            NotOnWhatsApp: the number is not on WhatsApp.
            WahaError: WAHA could not be asked.
        """
        chat_id = f"{digits}@c.us"
        known = chat_id in self._true_ids or (chat_id in self._table.entries and self._readable(chat_id))
        if not self.available or known:
            return self._true_ids.get(chat_id, chat_id)
        try:
            answer = await self._people.waha.call("GET /api/contacts/check-exists", query={"phone": digits})
        except Unsupported:
            return chat_id
        found = object_of(answer, "about a number")
        if not isinstance(found.get("numberExists"), bool):
            raise BadAnswer("WAHA's answer does not say whether the number is on WhatsApp. Try again later.")
        if found["numberExists"] is False:
            raise NotOnWhatsApp(digits)
        if len(self._true_ids) >= NUMBERS:
            self._true_ids.clear()
        true_id = self._table.canonical(chat_id_of(found.get("chatId")) or chat_id)
        self._true_ids[chat_id] = true_id
        return true_id


def _quoted(written: str) -> str:
    """A name as written, in quotation marks, with its invisible characters made visible."""
    return repr(clean_name(reveal(written), 60))


def _of_kind(owners: Iterable[str], kind: ChatKind | None) -> list[str]:
    return [each for each in owners if kind in (None, kind_of_chat(each))]


def _introduced(entry: Entry) -> str:
    """Kind and name of an entry, and who chose the name."""
    name = repr(clean_name(entry.shown or "", 60))
    if entry.kind != "person":
        return f"{entry.kind} {name}"
    return f"person saved as {name}" if entry.saved else f"person who calls themselves {name}"
