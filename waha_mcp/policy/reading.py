"""Taint from reading: with `after_reading_strangers = "ask"`, an agent that has read other people's words can for an
hour reach only the one chat it read, unless a person says yes.

The store has one row per App and key: the one chat that was read, or `SEVERAL`. Only time clears it, by the store's
clock: each reading extends it, and a person's answer covers a single call.

A chat counts as read when an answer that holds others' words is about to be returned, whatever produced it. Own
messages are not others' words, unless they quote or forward some. Names that others chose are others' words when
something was read, except those of people whom the account's owner has saved and of those whom an effect reached.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Any

from pydantic import BaseModel

from waha_mcp.app.definition import App
from waha_mcp.people.filling import FilledTable
from waha_mcp.people.persons import PUBLIC, STATUS, People
from waha_mcp.policy.approver import Reason
from waha_mcp.policy.call import Call
from waha_mcp.store import Store, StoreAway, in_thread
from waha_mcp.tools.presenting import bearers_in, chat_in
from waha_mcp.waha.messages import Quoted
from waha_mcp.waha.models import Result
from waha_mcp.waha.parsing import kind_of_chat
from waha_mcp.whatsapp.ids import NOT_KNOWN, parse_message_id
from waha_mcp.whatsapp.untrusted import others_in, own_in

logger = logging.getLogger(__name__)

#: Seconds after the last reading for which it restricts effects.
LIFE = 3_600.0
#: Stands for more than one chat, or an unknown one.
SEVERAL = "*"
#: Suffix for a person to whom the account had never written at the time of the first effect after the reading.
_STRANGER = " stranger"
_TABLE = "read"
#: Text fields of an own message that hold the owner's words. Any other field may hold others' words: reactions, votes,
#: the preview of a link.
_OWN_WORDS = frozenset(
    {"about", "email", "filename", "invite_code", "label", "leads_to", "link", "mimetype", "name", "organization",
     "phone", "place", "text", "transcript"}
)  # fmt: skip


class Reading:
    """The chats read with the key of one App."""

    def __init__(self, app: App, people: People, store: Store) -> None:
        """Makes no request."""
        self._asks = app.after_reading_strangers == "ask"
        self._people, self._store = people, store
        self._key = app.identity
        #: The row as this process last saw it.
        self._seen: str | None = None
        #: Chats read but not stored yet.
        self._unwritten: str | None = None

    # Reading

    async def note(self, result: Result, *, names: bool) -> None:
        """Record whose words a result holds, before it is returned. Never raises.

        `names`: whether names of chats count.
        """
        if self._asks:
            await self._note(chats_read(result, self._people.table, names=names))

    async def note_names(self, chats: Iterable[str]) -> None:
        """Record that the names of these chats are returned. Never raises."""
        if self._asks:
            await self._note({chat for chat in chats if not _is_trusted(chat, self._people.table)})

    async def note_failed(self, call: Call) -> None:
        """Record a failed call: its error may quote the messages it names. Never raises."""
        if self._asks:
            keys = [parse_message_id(each) for each in call.named_messages]
            await self._note({key.chat for key in keys if not key.from_me})

    async def _note(self, chats: set[str]) -> None:
        one = {self._people.table.canonical(chat) for chat in chats}
        if not one:
            return
        read = SEVERAL if len(one) > 1 or NOT_KNOWN in one else one.pop()
        self._unwritten = self._joined(self._unwritten, read)
        try:
            await self._write()
        except StoreAway as error:
            # Effects are refused while the store is away.
            logger.warning("The chats that were read are kept in memory until the store is available: %s", error)

    async def _write(self) -> None:
        """Store the chats read but not stored yet.

        Raises:
            StoreAway: the store cannot be read or written.
        """
        while (read := self._unwritten) is not None:
            await in_thread(self._add, read)
            if self._unwritten == read:
                self._unwritten = None

    def _add(self, read: str) -> None:
        before = self._seen
        while True:
            after = self._joined(before, read)
            # Usually nothing changed since this process last wrote, and this one step is enough.
            if self._store.swap(_TABLE, self._key, before, after, expires=self._store.now() + LIFE):
                self._seen = after
                return
            before = self._row()

    def _row(self) -> str | None:
        return self._store.get(_TABLE, self._key)

    def _joined(self, before: str | None, read: str) -> str:
        """The row after one more chat was read."""
        if before is None:
            return read
        return before if self._same(_chat(before), _chat(read)) else SEVERAL

    def _same(self, one: str, other: str) -> bool:
        """Whether two ids are known to be of one chat."""
        return one == other or self._people.twin(one) == other

    # Effects

    async def reasons(self, call: Call, knows: Callable[[str], Awaitable[bool]]) -> list[Reason]:
        """Why a person must be asked about an effect because of what was read; empty: no need.

        `knows`: whether a person is known to this account, i.e. not a stranger.

        Raises:
            StoreAway: the store cannot be read or written.
        """
        if not self._asks or not call.reached:
            return []
        await self._write()
        row = await in_thread(self._row)
        while row is not None and _is_person(row):
            if await knows(row):
                return []
            # Before any effect: once answered, the person would no longer count as a stranger.
            if await in_thread(self._mark, row):
                row += _STRANGER
            else:
                row = await in_thread(self._row)
        if row is None:
            return []
        chat = _chat(row)
        others = [each for each in call.reached if each in (PUBLIC, STATUS) or not self._same(chat, each)]
        if not others:
            return []
        read = (await self._shown(chat)).replace("{", "{{").replace("}", "}}")
        words = f"the agent has read messages of {read} within the last hour, and this reaches {{}}"
        return [Reason(words, others, by_grant=True)]

    def _mark(self, row: str) -> bool:
        # The store does not tell when a row expires, so this extends it, but only once.
        marked = row + _STRANGER
        return self._store.swap(_TABLE, self._key, row, marked, expires=self._store.now() + LIFE)

    async def _shown(self, chat: str) -> str:
        if chat == SEVERAL:
            return "several chats"
        match kind_of_chat(chat):
            case "person":
                return f"a stranger, {await self._people.describe(chat)},"
            case "group":
                return str(await self._people.describe(chat))
            case kind:
                return f"a {kind}" if kind != "status" else "status stories"


def _chat(row: str) -> str:
    return row.removesuffix(_STRANGER)


def _is_person(row: str) -> bool:
    """Whether a row names one person not marked as a stranger yet."""
    return row != SEVERAL and not row.endswith(_STRANGER) and kind_of_chat(row) == "person"


def _is_trusted(chat: str, people: FilledTable) -> bool:
    """Whether the names of a chat are not others' words: the account itself, or a saved contact."""
    entry = people.entry(chat)
    return chat == "me" or chat in people.table.me or (entry is not None and entry.saved)


def chats_read(result: Result, people: FilledTable, *, names: bool) -> set[str]:
    """The chats whose words a result holds, with `NOT_KNOWN` for words of an unknown chat.

    `names`: as in `Reading.note`.
    """
    chat = chat_in(result)
    found = set(_words(result, None, people, mine=False, names=names))
    if result.attachments and chat is not None and getattr(result, "sender", None) != "me":
        found.add(chat)
    touched = (parse_message_id(each.message_id) for each in result.touched if each.text)
    return found | {key.chat for key in touched if not key.from_me}


def _is_from_elsewhere(quoted: Quoted, chat: str | None, people: FilledTable) -> bool:
    """Whether a reply in `chat` quotes another chat: that brings a stranger's words into a friend's chat."""
    if quoted.of == "another chat":
        return True
    if chat is None or quoted.sender is None or kind_of_chat(chat) != "person":
        return False
    return quoted.sender != "me" and people.canonical(quoted.sender) != people.canonical(chat)


def _words(value: Any, chat: str | None, people: FilledTable, *, mine: bool, names: bool) -> Iterator[str]:
    """The chat of each field with others' words. `chat`: that of the enclosing model; `mine`: inside an own message."""
    if isinstance(value, list | dict):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _words(each, chat, people, mine=mine, names=names)
    elif isinstance(value, BaseModel):
        model, fields = type(value), vars(value)
        chat = chat or chat_in(value)
        if "sender" in fields:
            mine = fields["sender"] == "me" and not fields.get("forwarded")
        if isinstance(value, Quoted) and _is_from_elsewhere(value, chat, people):
            chat = NOT_KNOWN
        for name, found in fields.items():
            if found is None or found == []:
                continue
            if name not in others_in(model):
                yield from _words(found, chat, people, mine=mine, names=names)
            elif name in own_in(model):
                continue
            elif (bearer := bearers_in(model).get(name)) is not None:
                if names and not _is_trusted(fields[bearer], people):
                    yield chat or NOT_KNOWN
            elif not (mine and isinstance(found, str) and name in _OWN_WORDS):
                yield chat or NOT_KNOWN
