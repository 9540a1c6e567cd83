"""Fuzzy search for names in the table of people, and completion of chat arguments."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from waha_mcp.people.people_table import Entry, PeopleTable
from waha_mcp.whatsapp.folding import fold, spell_name
from waha_mcp.whatsapp.ids import phone_of
from waha_mcp.whatsapp.untrusted import clean_name

#: Minimum similarity (0 to 100) of a match.
ALIKE = 60

#: Whether a chat id may be shown; others are treated as absent.
Readable = Callable[[str], bool]


def find(table: PeopleTable, query: str, limit: int, readable: Readable) -> list[Entry]:
    """Entries whose name resembles `query` or whose number contains its digits, best match first."""
    wanted = fold(clean_name(query))
    found: dict[str, float] = {}
    if wanted:
        for owner, score in _alike(table, wanted):
            if score > found.get(owner, 0):
                found[owner] = score
    digits = "".join(c for c in query if c.isdigit())
    if len(digits) >= 3 and not any(c.isalpha() for c in query):
        for entry_id in table.entries:
            if digits in entry_id.partition("@")[0]:
                found[entry_id] = 100
    matches = [(score, table.entries[each]) for each, score in found.items() if readable(each)]
    matches.sort(key=lambda match: (-match[0], -(match[1].last_active or 0), match[1].shown or match[1].id))
    return [entry for _, entry in matches[:limit]]


def completions(table: PeopleTable, beginning: str, limit: int, readable: Readable) -> list[str]:
    """Names or ids that resolve to chats matching `beginning`, best first; the most recent if it is empty."""
    if beginning.strip():
        found = find(table, beginning, limit, readable)
    else:
        shown = (entry for entry in table.entries.values() if readable(entry.id))
        found = sorted(shown, key=lambda entry: -(entry.last_active or 0))[:limit]
    return [_called(table, entry, readable) for entry in found]


def _called(table: PeopleTable, entry: Entry, readable: Readable) -> str:
    """The name if it is unique, else the id."""
    return entry.shown if entry.shown and _unique(table, entry.id, entry.shown, readable) else entry.id


def _unique(table: PeopleTable, chat_id: str, name: str, readable: Readable) -> bool:
    """Whether a name belongs to only one chat, among those that are known and may be shown."""
    owners = table.by_name.get(fold(name), ())
    return not table.another_may_have_it() and list(filter(readable, owners)) == [chat_id]


def handle(table: PeopleTable, chat_id: str, readable: Readable) -> str | None:
    """The permanent identifier of a chat: its phone number or id. None for a person whose saved name suffices."""
    entry = table.entries.get(chat_id)
    if entry is not None and entry.kind == "person" and entry.saved and entry.name:
        meant = set(filter(readable, table.saved.get(spell_name(entry.name), ())))
        if meant == {chat_id} and _unique(table, chat_id, entry.name, readable):
            return None
    return phone_of(chat_id) or chat_id


def _alike(table: PeopleTable, wanted: str) -> Iterable[tuple[str, float]]:
    from rapidfuzz import fuzz, process  # only a search needs it

    names, owners = table.spelled
    for name, score, at in process.extract(wanted, names, scorer=fuzz.WRatio, score_cutoff=ALIKE, limit=200):
        # Exact matches first, then prefixes, then names with a word that begins so.
        if name == wanted:
            score = 103
        elif name.startswith(wanted):
            score = 102
        elif f" {wanted}" in name:
            score = 101
        yield owners[at], score
