"""What was read colours what may go: with `after_reading_strangers = "ask"`, whoever has read what others wrote reaches
for an hour nobody but the one chat that was read, unless a person says yes.

The store has one row per App and key: the one chat that was read, or `SEVERAL`. Nothing but time clears it, by the
store's clock: each reading extends it, and an answer of a person is for the one call.

A chat counts as read once an answer with others' words in it is about to be handed out, whatever has made it. Own
messages are nobody else's words, unless they quote or forward some. Names that others chose are, where something was
read; those of people whom the account's owner has saved are not, and neither is the name of whom an effect has reached.
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

#: Seconds after the last reading for which it colours what may go.
LIFE = 3_600.0
#: In the place of a chat: more than one, or one that cannot be told.
SEVERAL = "*"
#: Follows the chat of a person whom the account had not written to when the first effect came after the reading.
_STRANGER = " stranger"
_TABLE = "read"
#: Fields of an own message that hold what the account's owner wrote, where they are a text. What any other field has
#: may be others': reactions, votes, the preview of a link.
_OWN_WORDS = frozenset(
    {"about", "email", "filename", "invite_code", "label", "leads_to", "link", "mimetype", "name", "organization",
     "phone", "place", "text", "transcript"}
)  # fmt: skip


class Reading:
    """What was read with the key of one App."""

    def __init__(self, app: App, people: People, store: Store) -> None:
        """Makes no request."""
        self._asks = app.after_reading_strangers == "ask"
        self._people, self._store = people, store
        self._key = app.identity
        #: The row as this process last saw it.
        self._seen: str | None = None
        #: What was read and is not in the store yet.
        self._unwritten: str | None = None

    # What is read

    async def note(self, result: Result, *, names: bool) -> None:
        """Note whose words a result holds, before it is handed out. Never raises.

        `names`: whether names of chats count.
        """
        if self._asks:
            await self._note(chats_read(result, self._people.table, names=names))

    async def note_names(self, chats: Iterable[str]) -> None:
        """Note that the names of these chats are handed out. Never raises."""
        if self._asks:
            await self._note({chat for chat in chats if not _is_trusted(chat, self._people.table)})

    async def note_failed(self, call: Call) -> None:
        """Note that a call failed: an error may say what stands in the messages that it names. Never raises."""
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
            # Effects are refused as long as it is away.
            logger.warning("What was read is kept in this process, until the store takes it: %s", error)

    async def _write(self) -> None:
        """Store what was read and is not stored yet.

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
            # Where nothing has happened since this process wrote last, as most often, this one step is all.
            if self._store.swap(_TABLE, self._key, before, after, expires=self._store.now() + LIFE):
                self._seen = after
                return
            before = self._row()

    def _row(self) -> str | None:
        return self._store.get(_TABLE, self._key)

    def _joined(self, before: str | None, read: str) -> str:
        """What has been read, with one more chat."""
        if before is None:
            return read
        return before if self._same(_chat(before), _chat(read)) else SEVERAL

    def _same(self, one: str, other: str) -> bool:
        """Whether two ids are of one chat, as far as is known."""
        return one == other or self._people.twin(one) == other

    # What may go

    async def reasons(self, call: Call, knows: Callable[[str], Awaitable[bool]]) -> list[Reason]:
        """Why a person must be asked about an effect because of what was read; empty: it needs nobody.

        `knows`: whether a person is no stranger to this account.

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
            # Before anything goes: who is answered would be no stranger from then on.
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
        words = f"it has read messages of {read} within the last hour, and reaches {{}} now"
        return [Reason(words, others, by_grant=True)]

    def _mark(self, row: str) -> bool:
        # The store does not tell when a row expires, so this extends it, once.
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
    """Whether a row is of one person who is not known as a stranger yet."""
    return row != SEVERAL and not row.endswith(_STRANGER) and kind_of_chat(row) == "person"


def _is_trusted(chat: str, people: FilledTable) -> bool:
    """Whether the names of a chat are no others' words: those of the account itself, and of people who are saved."""
    entry = people.entry(chat)
    return chat == "me" or chat in people.table.me or (entry is not None and entry.saved)


def chats_read(result: Result, people: FilledTable, *, names: bool) -> set[str]:
    """The chats whose words a result holds; `NOT_KNOWN` among them for what does not tell its chat.

    `names`: as in `Reading.note`.
    """
    chat = chat_in(result)
    found = set(_words(result, None, people, mine=False, names=names))
    if result.attachments and chat is not None and getattr(result, "sender", None) != "me":
        found.add(chat)
    touched = (parse_message_id(each.message_id) for each in result.touched if each.text)
    return found | {key.chat for key in touched if not key.from_me}


def _is_from_elsewhere(quoted: Quoted, chat: str | None, people: FilledTable) -> bool:
    """Whether a reply in `chat` quotes words of another one: a friend's chat holds a stranger's words so."""
    if quoted.of == "another chat":
        return True
    if chat is None or quoted.sender is None or kind_of_chat(chat) != "person":
        return False
    return quoted.sender != "me" and people.canonical(quoted.sender) != people.canonical(chat)


def _words(value: Any, chat: str | None, people: FilledTable, *, mine: bool, names: bool) -> Iterator[str]:
    """The chat of each field with others' words. `chat`: of what is around it; `mine`: in an own message."""
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
