"""Facts about people that the policy needs: their second ids, whether the account has written to them, names."""

from __future__ import annotations

import logging
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from waha_mcp.digests import digest
from waha_mcp.people.directory import Directory
from waha_mcp.people.filling import FilledTable
from waha_mcp.waha.errors import Failed, NotFound, Refused, Unreachable, Unsupported, WahaError
from waha_mcp.waha.messages import message_from
from waha_mcp.waha.models import Reached, group_from, member_ids
from waha_mcp.waha.parsing import chat_id_of, kind_of_chat, listing, mapping_of
from waha_mcp.whatsapp.ids import phone_of

logger = logging.getLogger(__name__)

#: The number of the account's own rows in a chat that are searched for a message: some are not messages.
LOOKED_AT = 20
#: Kinds of rows that are not the account's own words. "other": unknown to this version, or without content.
_NO_MESSAGES = ("reaction", "call", "system", "other")

#: Pseudo chat ids for audiences that no list can limit.
PUBLIC, STATUS = "public", "status@broadcast"
#: Characters that look like a double quotation mark, besides Unicode's opening and closing quotes.
_MARKS = '"\u201a\u201e\u2033\u2036\u02ba\u02ee\u02dd\u275d\u275e\u2760\u301d\u301e\u301f\uff02\u05f4'
_MANY = {PUBLIC: "everyone who can see this account", STATUS: "everyone who sees its status stories"}


@dataclass(frozen=True)
class Person:
    """A chat with its names, as shown in questions and results."""

    chat: str
    #: The name under which the account's owner saved it.
    name: str | None = None
    #: The name that the person chose, or the subject; not trustworthy.
    claims: str | None = None
    #: The number of a group's members; None: unknown, or not a group.
    members: int | None = None
    #: Digest of the members' ids, if WAHA lists them; never shown.
    who: str = ""

    def __str__(self) -> str:
        if self.chat in _MANY:
            return _MANY[self.chat]
        shown = phone_of(self.chat) or self.chat
        if self.members is not None:
            shown += f", {self.members:,} member{'s' * (self.members != 1)}"
        if self.name:
            return f"{self.name} ({shown})"
        if not self.claims:
            return shown if self.members is None else f"the group {shown}"
        kind, quoted = kind_of_chat(self.chat), _quoted(self.claims)
        return f"{shown}, who calls themselves {quoted}" if kind == "person" else f"the {kind} {quoted} ({shown})"

    @property
    def reached(self) -> Reached:
        """Its entry in the result of a call."""
        return Reached(str(self), chosen=self.name is None and self.claims is not None)


def shown_of(people: Mapping[str, Person]) -> tuple[dict[str, str], dict[str, str]]:
    """People and groups as they are shown, with name, number and member count; and the members of the groups."""
    shown = {chat: str(person) for chat, person in people.items()}
    return shown, {chat: person.who for chat, person in people.items() if person.who}


class People:
    """Answers the policy's questions about people, from the table and from WAHA."""

    def __init__(self, table: FilledTable) -> None:
        """Makes no request."""
        self.table = table
        self._waha = table.waha
        self._known: dict[tuple[str, bool], bool] = {}
        #: The account that `_known` is about, by its own ids.
        self._of: frozenset[str] = frozenset()

    def twin(self, chat: str) -> str | None:
        """The known second id of a person; see `FilledTable.twin`."""
        return self.table.twin(chat)

    async def learn(self, chat: str, again: float = 0.0) -> str | None:
        """The second id of a person, looked up if it is not known; see `FilledTable.learn`."""
        return await self.table.learn(chat, again)

    async def one_id(self, chat: str) -> str:
        """The canonical id of a chat: for a person the one with the number, also for a hidden id, if WAHA knows it."""
        if chat.endswith("@lid"):
            await self.learn(chat)
        return self.table.canonical(chat)

    async def learn_all(self) -> None:
        """Read WAHA's whole list of hidden ids.

        Raises:
            WahaError: it cannot be read.
        """
        await self.table.load("hidden ids", gap_age=0.0)
        error = self.table.part("hidden ids").error
        if error is not None:
            raise error

    async def has_messages(self, chat: str, *, ours: bool) -> bool:
        """Whether the chat has any message, or with `ours` one that this account wrote.

        Raises:
            WahaError: the request failed.
        """
        twin = await self.learn(chat)
        for each in (chat, twin) if twin else (chat,):
            if self._met().get((each, ours)) or await self._look(each, ours):
                self.remember(chat, ours=ours)
                return True
        return False

    async def members(self, group: str) -> list[str]:
        """Ids of the people in a group, without the account itself.

        Raises:
            WahaError: the request failed.
        """
        rows = listing(
            await self._waha.call("GET /api/{session}/groups/{id}/participants/v2", path={"id": group}), "participants"
        )
        ids = [chat_id_of(row.get("pn")) or chat_id_of(row.get("id")) for row in rows if row.get("role") != "left"]
        people = dict.fromkeys(self.table.canonical(each) for each in ids if each is not None)
        return [each for each in people if each not in self.table.table.me]

    def is_known(self, chat: str) -> bool:
        """Whether the table has the chat, or it is one that every account has."""
        table = self.table.table
        return chat == STATUS or chat in table.me or table.get(chat) is not None

    async def is_there(self, chat: str) -> bool:
        """Whether WAHA shows a message in the chat; requested now, not cached.

        Raises:
            WahaError: WAHA would fail for any chat.
        """
        try:
            return await self._look(chat, False)
        except (Refused, Unsupported, Failed):
            # Engines answer in many ways for a chat that does not exist.
            return False

    async def has_written(self, chat: str) -> bool:
        """Whether the chat has a message of this account; requested now, not cached.

        Raises:
            WahaError: the request failed.
        """
        return await self._look(chat, True)

    async def _look(self, chat: str, ours: bool) -> bool:
        async def page(limit: int, **query: Any) -> list[Mapping[str, Any]]:
            rows = await self._waha.call(
                "GET /api/{session}/chats/{chatId}/messages",
                path={"chatId": chat},
                query={"limit": limit, "downloadMedia": False, **query},
            )
            return listing(rows, "messages")

        try:
            if not ours:
                return any(row.get("id") for row in await page(1))
            try:
                return any(map(_our_message, await page(LOOKED_AT, **{"filter.fromMe": True})))
            except (Refused, Unsupported):
                # Some engines refuse the filter; older messages than these 100 are not seen.
                return any(map(_our_message, await page(100)))
        except NotFound:
            return False

    def is_met(self, chat: str) -> bool:
        """Whether this process knows that the account has written to the chat."""
        return self._met().get((chat, True), False)

    def remember(self, chat: str, *, ours: bool = True) -> None:
        """Cache that the chat has messages and, if `ours`, one of this account."""
        for each in filter(None, (chat, self.twin(chat))):
            self._met()[each, False] = True
            if ours:
                self._met()[each, True] = True

    def _met(self) -> dict[tuple[str, bool], bool]:
        """The cached knowledge of the session's current account: the session may have been linked to another phone."""
        if me := self.table.table.me:
            if self._of and me.isdisjoint(self._of):
                self._known.clear()
            self._of = me
        return self._known

    async def describe(self, chat: str, directory: Directory | None = None, *, strict: bool = False) -> Person:
        """The chat with its names, from `directory` or from WAHA; without names if the request fails.

        Raises:
            Unreachable: WAHA cannot be reached; only with `strict`.
        """
        if chat in _MANY:
            return Person(chat)
        entry = directory.get(chat) if directory is not None else None
        if entry is not None:
            return Person(chat, entry.name if entry.saved else None, entry.shown)
        name = claims = members = None
        who = ""
        try:
            match kind_of_chat(chat):
                case "person":
                    row = await self.table.row(chat)
                    given = _text(row.get("name"))
                    name = given if self.table.is_saved(row) else None
                    claims = _text(row.get("pushname")) or _text(row.get("pushName")) or given
                case "group":
                    row = {**await self.table.row(chat), "id": chat}
                    if (group := group_from(row)) is not None:
                        claims, members = _text(group.subject), group.participants
                        who = digest(" ".join(ids)) if (ids := member_ids(row)) else ""
        except WahaError as error:
            if strict and isinstance(error, Unreachable):
                raise
            logger.debug("No name for a chat: %s", error)
        return Person(chat, name, claims, members, who)

    async def member_count(self, chat: str) -> int | None:
        """The current number of a group's members, by WAHA's row; None if it does not say, or the request fails."""
        try:
            group = group_from({**await self.table.row(chat), "id": chat})
        except WahaError as error:
            logger.debug("No count of members for a group: %s", error)
            return None
        return None if group is None else group.participants


def _our_message(row: Any) -> bool:
    """Whether a row is a message that this account sent: not a failed one, reaction, vote, deletion or notice."""
    if mapping_of(row).get("fromMe") is not True:
        return False
    message = message_from(row)
    if message is None or message.deleted or message.status == "failed":
        return False
    return message.kind not in _NO_MESSAGES


def _quoted(claims: str) -> str:
    """Text that somebody else chose, in quotation marks that it cannot close: text after them is the server's own."""
    inside = ("'" if c in _MARKS or unicodedata.category(c) in ("Pi", "Pf") else c for c in claims)
    return f"“{''.join(inside)}”"


def _text(value: Any) -> str | None:
    """A name on one line, at most 80 characters, without unprintable and bidi characters; None if empty."""
    if not isinstance(value, str):
        return None
    shown = " ".join("".join(c if c.isprintable() else " " for c in value).split())
    return shown[:80] or None
