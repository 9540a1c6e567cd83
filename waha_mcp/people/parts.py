"""The five lists of WAHA that make up the table of people, and how each is read and parsed."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple

from waha_mcp.waha.chat_rows import CHAT_TIMES
from waha_mcp.waha.client import Waha
from waha_mcp.waha.errors import Forbidden, SessionNotReady, Unauthorized, Unreachable, Unsupported, WahaError
from waha_mcp.waha.models import (
    Contact,
    Group,
    contact_from,
    group_fields,
    group_from,
    has_letters,
    keeps_apart,
    marks_saved,
)
from waha_mcp.waha.parsing import chat_id_of, epoch, kind_of_chat, listing, mapping_of, text_of
from waha_mcp.waha.rows import Row, Rows, WholeList, briefly
from waha_mcp.whatsapp.untrusted import clean_name

logger = logging.getLogger(__name__)

#: A list of WAHA. The first three hold names, in order of precedence.
Source = Literal["contacts", "groups", "chats", "hidden ids", "the account"]
NAMES: tuple[Source, ...] = ("contacts", "groups", "chats")
SOURCES: tuple[Source, ...] = (*NAMES, "hidden ids", "the account")

#: Errors by which WAHA refuses all access, as opposed to one incomplete list.
SHUT = (Unauthorized, Forbidden, SessionNotReady, Unreachable)


class Said(NamedTuple):
    """One parsed row of a list; fields as in `Entry`.

    `me`: it is the account itself. `creators`: ids of a group's creator.
    """

    id: str
    lid: str | None = None
    name: str | None = None
    saved: bool = False
    push_name: str | None = None
    last_active: float | None = None
    contact: Contact | None = None
    group: Group | None = None
    me: bool = False
    creators: tuple[str, ...] = ()

    @property
    def pair(self) -> tuple[str, str] | None:
        """A person's hidden id and the id with their number, if the row holds both."""
        if self.lid is not None and self.lid.endswith("@lid") and self.id.endswith("@c.us"):
            return self.lid, self.id
        return None


@dataclass(frozen=True)
class Part:
    """One list as read. `gap`: the missing part, in a few words; `error`: the error that ended the reading.

    `began`: when the reading began, `tried`: when it was last begun or resumed (seconds of the monotonic clock);
    `generation`: the count of invalidations at that time.
    """

    said: Sequence[Said] = ()
    gap: str | None = None
    error: WahaError | None = None
    began: float = float("-inf")
    tried: float = float("-inf")
    generation: int = -1
    #: For contacts: whether `name` in a row without a mark is a saved name. None: no row was seen.
    apart: bool | None = None

    @property
    def lacking(self) -> bool:
        """Whether the engine does not support the list."""
        return isinstance(self.error, Unsupported)

    @property
    def broken(self) -> bool:
        """Whether the reading ended with an error that a retry may avoid."""
        return self.error is not None and not self.lacking


class Reading:
    """One list being read. After an error or a cancellation, `read` resumes after the last row."""

    def __init__(self, waha: Waha, source: Source, began: float, generation: int) -> None:
        """Makes no request."""
        self.began, self.generation = began, generation
        self._waha, self._source = waha, source
        self._list: WholeList | None = None
        if source in _LISTS:
            operation, query = _LISTS[source]
            self._list = WholeList(waha, operation, source, **query)

    async def read(self) -> Part:
        """The whole list, or as much as could be read.

        Raises:
            Unauthorized, Forbidden, SessionNotReady, Unreachable: WAHA refuses access.
        """
        tried = time.monotonic()
        rows = await self._list.read() if self._list is not None else await _account(self._waha)
        if isinstance(rows.error, SHUT):
            raise rows.error
        read, apart = _READ[self._source], None
        if self._source == "contacts":
            apart = tells_apart(rows.rows)
            read = partial(_contact, apart=apart is True)
        said = tuple(filter(None, map(read, rows.rows)))
        return Part(said, rows.gap, rows.error, self.began, tried, self.generation, apart)


_LISTS: Mapping[Source, tuple[str, Mapping[str, Any]]] = {
    "contacts": ("GET /api/contacts/all", {}),
    # Members make the rows large.
    "groups": ("GET /api/{session}/groups", {"exclude": "participants"}),
    "chats": ("GET /api/{session}/chats", {}),
    "hidden ids": ("GET /api/{session}/lids", {}),
}


async def _account(waha: Waha) -> Rows:
    try:
        answer = await waha.call("GET /api/sessions", query={"all": True}, bound=False)
        rows = listing(answer, "sessions")
    except WahaError as error:
        if not isinstance(error, SHUT):
            logger.warning("The account's own ids are not known: %s", error)
        return Rows(gap=briefly(error), error=error)
    return Rows([mapping_of(row.get("me")) for row in rows if row.get("name") == waha.session])


def tells_apart(rows: Sequence[Row]) -> bool | None:
    """Whether `name` is the saved name in those of an engine's contacts that have no mark; None without contacts.

    It is if the engine marks no contacts and has a separate field for the name that a person chose (GOWS, NOWEB).
    Otherwise the name counts as chosen: the engine may fill it with either.
    """
    if not rows:
        return None
    return any(map(keeps_apart, rows)) and not any(marks_saved(row) is not None for row in rows)


def _contact(row: Row, *, apart: bool = False) -> Said | None:
    chat, lid, number = (chat_id_of(row.get(field)) for field in ("id", "lid", "phoneNumber"))
    if chat is None or kind_of_chat(chat) != "person":
        return None
    if chat.endswith("@lid") and number is not None and number.endswith("@c.us"):
        chat, lid = number, chat
    me = row.get("isMe") is True
    contact = contact_from({**row, "isMe": False} if me else row)
    assert contact is not None
    name = contact.name or None
    return Said(
        id=chat,
        lid=lid,
        name=name,
        saved=name is not None and (apart if contact.saved is None else contact.saved),
        push_name=contact.calls_themselves or None,
        contact=contact,
        me=me,
    )


def _group(row: Row) -> Said | None:
    group = group_from(row)
    if group is None:
        return None
    fields = group_fields(row)
    owners = (chat_id_of(fields.get(name)) for name in ("owner", "ownerPn", "OwnerJID", "OwnerPN"))
    return Said(id=group.id, name=group.subject or None, group=group, creators=tuple(filter(None, owners)))


def _chat(row: Row) -> Said | None:
    chat = chat_id_of(row.get("id"))
    if chat is None or kind_of_chat(chat) == "status":
        return None
    name = text_of(row.get("name"))
    # The name of a chat may be only its number.
    known = (clean_name(name) or None) if name and has_letters(name) else None
    person = kind_of_chat(chat) == "person"
    return Said(
        id=chat,
        lid=chat_id_of(row.get("lidJid")),
        name=None if person else known,
        # The person may have chosen it.
        push_name=known if person else None,
        last_active=next(filter(None, (epoch(row.get(name)) for name in CHAT_TIMES)), 0.0),
    )


def hidden_id(row: Row) -> Said | None:
    """Parse WAHA's row of a hidden id (`lid`, `pn`); None if it lacks one of them."""
    lid, number = chat_id_of(row.get("lid")), chat_id_of(row.get("pn"))
    return Said(id=number, lid=lid) if lid and number else None


def _me(row: Row) -> Said | None:
    own, lid = chat_id_of(row.get("id")), chat_id_of(row.get("lid"))
    return Said(id=own or lid or "", lid=lid) if own or lid else None


_READ: Mapping[Source, Callable[[Row], Said | None]] = {
    "contacts": _contact,
    "groups": _group,
    "chats": _chat,
    "hidden ids": hidden_id,
    "the account": _me,
}
