"""What a search sees of a message: the same record whether it comes from WAHA or from the index."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass
from enum import IntFlag
from typing import Any, NamedTuple, Protocol

from waha_mcp.history.source import Budget, Row
from waha_mcp.waha.content import content_of, expires_of, mentioned, push_name_of, quoted_of
from waha_mcp.waha.message_kinds import MEDIA_KINDS, MessageKind
from waha_mcp.waha.messages import Message, Names, message_from, with_known_names
from waha_mcp.waha.parsing import epoch, iso_time, kind_of_chat
from waha_mcp.whatsapp.ids import MessageKey, parse_message_id

_LINK = re.compile(r"https?://|www\.[^\s.]+\.", re.IGNORECASE)
#: Kinds of rows that nobody wrote: searched only if they have a text.
_SILENT = ("reaction", "call", "system", "other")


class Has(IntFlag):
    """What a message has. MENTION: it mentions the account. REPLY: it quotes one of the account's messages."""

    LINK = 1
    FILE = 2
    MENTION = 4
    QUOTE = 8
    EDITED = 16
    REPLY = 32


NOTHING = Has(0)


@dataclass(frozen=True, slots=True)
class Record:
    """A message as a search sees it. Ids are spelled as the engine gives them: a number or a hidden id.

    `time`: Unix seconds. `sender`: "me", a chat id or "unknown". `pushname`: the name that the sender chose. `text`:
    the body or caption. `extra`: other lines that are searched (file name, options of a poll, place, contact cards,
    preview). `transcript`: of a voice note, if one was made here. `expires`: when a disappearing message disappears
    (Unix seconds).
    """

    key: MessageKey
    time: int
    sender: str
    kind: MessageKind
    text: str = ""
    extra: str = ""
    has: Has = NOTHING
    pushname: str | None = None
    expires: int | None = None
    transcript: str = ""

    @property
    def id(self) -> str:
        """The full message id."""
        return self.key.text

    @property
    def chat(self) -> str:
        return self.key.chat

    def lines(self) -> list[str]:
        """The searched lines, unfolded."""
        parts = (self.text, self.extra, self.transcript)
        return [line for part in parts for line in part.splitlines() if line.strip()]


def record_from(row: Row, me: frozenset[str] = frozenset()) -> Record | None:
    """The record of a WAMessage. `me`: the account's own ids.

    None for what no search may find: deleted and expired messages, view-once messages, and rows that nobody wrote.
    """
    message = message_from(row)
    try:
        key = parse_message_id(message.id) if message else None
    except ValueError:
        key = None
    second = epoch(row.get("timestamp"))
    if message is None or key is None or second is None or message.deleted or message.view_once:
        return None
    content = content_of(row)
    expires = expires_of(row, content)
    if expires is not None and expires <= time.time():
        return None
    text, extra = message.text or "", "\n".join(_extra(message))
    if not (text or extra) and message.kind in _SILENT:
        return None
    has = NOTHING
    if _LINK.search(text) or _LINK.search(extra):
        has |= Has.LINK
    if message.kind in MEDIA_KINDS:
        has |= Has.FILE
    if any(chat in me for _, chat in mentioned(content)):
        has |= Has.MENTION
    if message.reply_to is not None:
        has |= Has.QUOTE
    if (quote := quoted_of(row, content)) is not None and quote.author in me:
        has |= Has.REPLY
    if message.edited:
        has |= Has.EDITED
    alone = not key.from_me and kind_of_chat(key.chat) == "person"
    return Record(
        key,
        int(second),
        key.chat if alone else message.sender,
        message.kind,
        text,
        extra,
        has,
        None if key.from_me else push_name_of(row),
        expires,
    )


def _extra(message: Message) -> Iterator[str]:
    parts = [message.media.filename if message.media else None]
    parts += [option.text for option in message.poll.options] if message.poll else []
    parts += [message.location.name] if message.location else []
    parts += [
        part for card in message.contacts or () for part in (card.name, card.phone, card.organization, card.email)
    ]
    parts += [part for each in message.choices or () for part in (each.label, each.about)]
    parts += [message.event.about, message.event.place] if message.event else []
    parts.append(message.preview)
    return (part for part in parts if part)


def sender_of_record(record: Record, names: Names) -> str:
    """The canonical id of the sender; "me" for the account, "unknown" if the engine names nobody."""
    sender = names.canonical(record.sender)
    return "me" if record.sender in names.me or sender in names.me else sender


def message_of(record: Record, names: Names, chat: str) -> Message:
    """The message of a record in the chat shown, without the quotes and reactions that a record lacks."""
    sender = sender_of_record(record, names)
    known = None if sender == "me" else names.name(sender)
    fields: dict[str, Any] = {
        "id": record.id,
        "time": iso_time(record.time),
        "sender": sender,
        "sender_name": None if sender in ("me", chat) else known or record.pushname,
        "calls_themselves": record.pushname if sender == chat and not known else None,
        "kind": record.kind,
        "text": with_known_names(record.text, names) or None,
        "edited": True if record.has & Has.EDITED else None,
    }
    return Message(**fields)


@dataclass(frozen=True)
class Sieve:
    """What an index can test of a query; the caller checks the records that pass more closely.

    `words`: of each group, one folded text must occur in a folded line of the record (`fold_text`). Sets hold ids in
    every spelling; None: any. `has`: all of these flags. `since`, `until`: Unix seconds, inclusive.
    """

    words: tuple[tuple[str, ...], ...] = ()
    chats: frozenset[str] | None = None
    senders: frozenset[str] | None = None
    kinds: frozenset[MessageKind] | None = None
    has: Has = NOTHING
    since: float | None = None
    until: float | None = None


class Found(NamedTuple):
    """A record, and the JSON-ready cursor state that continues right after it.

    Without a record: the source stopped there, before the end.
    """

    state: Any
    record: Record | None


class Neighbours(NamedTuple):
    """The records before and after one in its chat, each list oldest first."""

    before: list[Record]
    after: list[Record]


class RecordSource(Protocol):
    """Where the records of one search come from. The caller decides for each record whether it may be shown."""

    @property
    def by_time(self) -> bool:
        """Whether records come newest first; else chat by chat, each newest first."""
        ...

    @property
    def looks_through(self) -> bool:
        """Whether it reads every record, as without an index; the count is then reported."""
        ...

    @property
    def notes(self) -> list[str]:
        """What could not be done as asked, in words for the agent. More may be added."""
        ...

    @property
    def not_told(self) -> list[str]:
        """What could not be read, and why."""
        ...

    def records(self, sieve: Sieve, state: Any, budget: Budget) -> AsyncGenerator[Found]:
        """The records that pass the sieve, and perhaps others, from a cursor state on; None: from the newest.

        Raises:
            NoPlace: the state is damaged, or of another search.
            WahaError: WAHA could not be read.
        """
        ...

    async def around(self, record: Record, count: int, budget: Budget) -> Neighbours:
        """Up to `count` records before and after one, in its chat."""
        ...
