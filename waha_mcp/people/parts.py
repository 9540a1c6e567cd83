"""What the table of people is made of: five lists of WAHA's, and how each is read."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from waha_mcp.waha.client import Waha
from waha_mcp.waha.errors import Forbidden, SessionNotReady, Unauthorized, Unreachable, Unsupported, WahaError
from waha_mcp.waha.models import Contact, Group, contact_from, group_from
from waha_mcp.waha.parsing import chat_id_of, epoch, kind_of_chat, listing, mapping_of, text_of
from waha_mcp.waha.rows import Row, Rows, WholeList, briefly
from waha_mcp.whatsapp.untrusted import clean_name

logger = logging.getLogger(__name__)

#: A list that WAHA has. The first three hold the names, in the order in which what they say counts.
Source = Literal["contacts", "groups", "chats", "hidden ids", "the account"]
NAMES: tuple[Source, ...] = ("contacts", "groups", "chats")
SOURCES: tuple[Source, ...] = (*NAMES, "hidden ids", "the account")

#: WAHA lets nobody in: that is no gap in one list.
SHUT = (Unauthorized, Forbidden, SessionNotReady, Unreachable)


class Said(NamedTuple):
    """What one row says of one chat; the fields as in `Entry`.

    `me`: it is the account itself. `creators`: who created a group.
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
        """A person's hidden id and the id with their number, where the row holds both."""
        if self.lid is not None and self.lid.endswith("@lid") and self.id.endswith("@c.us"):
            return self.lid, self.id
        return None


@dataclass(frozen=True)
class Part:
    """One list as it was read. `gap` says in a few words what is missing of it, `error` why it ended.

    `began` is when its reading began, `tried` when it was begun or gone on with last (seconds of the monotonic clock);
    `generation` is how many changes there had been.
    """

    said: Sequence[Said] = ()
    gap: str | None = None
    error: WahaError | None = None
    began: float = float("-inf")
    tried: float = float("-inf")
    generation: int = -1

    @property
    def lacking(self) -> bool:
        """Whether the engine cannot list them at all."""
        return isinstance(self.error, Unsupported)

    @property
    def broken(self) -> bool:
        """Whether the reading ended with an error that another may not meet."""
        return self.error is not None and not self.lacking


class Reading:
    """One list being read. Where that fails or is cancelled, `read` goes on behind what was read."""

    def __init__(self, waha: Waha, source: Source, began: float, generation: int) -> None:
        """Nothing is asked for yet."""
        self.began, self.generation = began, generation
        self._waha, self._source = waha, source
        self._list: WholeList | None = None
        if source in _LISTS:
            operation, query = _LISTS[source]
            self._list = WholeList(waha, operation, source, **query)

    async def read(self) -> Part:
        """All of it, as far as it can be read.

        Raises:
            Unauthorized, Forbidden, SessionNotReady, Unreachable: WAHA lets nobody in.
        """
        tried = time.monotonic()
        rows = await self._list.read() if self._list is not None else await _account(self._waha)
        if isinstance(rows.error, SHUT):
            raise rows.error
        said = tuple(filter(None, map(_READ[self._source], rows.rows)))
        return Part(said, rows.gap, rows.error, self.began, tried, self.generation)


_LISTS: Mapping[Source, tuple[str, Mapping[str, Any]]] = {
    "contacts": ("GET /api/contacts/all", {}),
    # Without its members, a group is small.
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


def _contact(row: Row) -> Said | None:
    chat, lid = chat_id_of(row.get("id")), chat_id_of(row.get("lid"))
    if chat is None or kind_of_chat(chat) != "person":
        return None
    me = row.get("isMe") is True
    contact = contact_from({**row, "isMe": False} if me else row)
    assert contact is not None
    name = contact.name or None
    return Said(
        id=chat,
        lid=lid,
        name=name,
        saved=name is not None and contact.saved is not False,
        push_name=contact.push_name or None,
        contact=contact,
        me=me,
    )


def _group(row: Row) -> Said | None:
    group = group_from(row)
    if group is None:
        return None
    owners = (chat_id_of(row.get(name)) for name in ("owner", "ownerPn", "OwnerJID", "OwnerPN"))
    return Said(id=group.id, name=group.subject or None, group=group, creators=tuple(filter(None, owners)))


def _chat(row: Row) -> Said | None:
    chat = chat_id_of(row.get("id"))
    if chat is None or kind_of_chat(chat) == "status":
        return None
    name = text_of(row.get("name"))
    # A chat's name may be just its number.
    known = (clean_name(name) or None) if name and any(c.isalpha() for c in name) else None
    person = kind_of_chat(chat) == "person"
    return Said(
        id=chat,
        lid=chat_id_of(row.get("lidJid")),
        name=None if person else known,
        # Who wrote may have chosen it.
        push_name=known if person else None,
        last_active=epoch(row.get("conversationTimestamp")) or epoch(row.get("timestamp")) or 0.0,
    )


def hidden_id(row: Row) -> Said | None:
    """What WAHA says of a hidden id; None where the row does not hold both ids."""
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
