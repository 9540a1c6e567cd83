"""What is searched of a message: the same record from WAHA's row of it and from the index."""

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
#: Kinds of rows that nobody wrote; they are searched only if they have a text.
_SILENT = ("reaction", "call", "system", "other")


class Has(IntFlag):
    """What a message has. MENTION: of the account itself. REPLY: a quote of a message of its own."""

    LINK = 1
    FILE = 2
    MENTION = 4
    QUOTE = 8
    EDITED = 16
    REPLY = 32


NOTHING = Has(0)


@dataclass(frozen=True, slots=True)
class Record:
    """A message as it is searched. Ids are as the engine gives them: a person may be the number or the hidden id.

    `time`: Unix seconds. `sender`: "me", a chat id or "unknown". `pushname`: the name that the sender chose. `text`:
    the body or caption. `extra`: other lines that are searched (file name, options of a poll, place, contact cards,
    preview). `transcript`: of a voice note, where it was made here. `expires`: when a disappearing message does (Unix
    seconds).
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
        """The lines that are searched, as they are shown."""
        parts = (self.text, self.extra, self.transcript)
        return [line for part in parts for line in part.splitlines() if line.strip()]


def record_from(row: Row, me: frozenset[str] = frozenset()) -> Record | None:
    """The record of a WAMessage. `me`: the account's own ids.

    None for what is not searched: deleted and expired messages, those to be viewed once, and rows that nobody wrote.
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
    """The canonical id of who wrote a message; "me" for the account, "unknown" where the engine tells nobody."""
    sender = names.canonical(record.sender)
    return "me" if record.sender in names.me or sender in names.me else sender


def message_of(record: Record, names: Names, chat: str) -> Message:
    """The message of a record, in the chat that is shown, as far as the record tells: without quotes and reactions."""
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
    """Which records may be wanted, as far as an index can tell: those that pass are looked at more closely.

    `words`: of each, one of these folded texts is in one of the record's folded lines (`fold_text`). Sets hold ids in
    every spelling; None: any. `has`: all of it. `since`, `until`: Unix seconds, both included.
    """

    words: tuple[tuple[str, ...], ...] = ()
    chats: frozenset[str] | None = None
    senders: frozenset[str] | None = None
    kinds: frozenset[MessageKind] | None = None
    has: Has = NOTHING
    since: float | None = None
    until: float | None = None


class Found(NamedTuple):
    """A record, and the state of a cursor that goes on right behind it.

    Without a record: the source has stopped there, and not at the end. JSON-ready.
    """

    state: Any
    record: Record | None


class Neighbours(NamedTuple):
    """The records around one in its chat, each list oldest first."""

    before: list[Record]
    after: list[Record]


class RecordSource(Protocol):
    """Where the records of one search come from. What may be shown is decided by whoever asks, of each record."""

    @property
    def by_time(self) -> bool:
        """Whether records come newest first; else chat by chat, each newest first."""
        ...

    @property
    def looks_through(self) -> bool:
        """Whether every record is looked at, as without an index: then how many is told."""
        ...

    @property
    def notes(self) -> list[str]:
        """What it could not do as it was asked, in words for the agent. More may be added."""
        ...

    @property
    def not_told(self) -> list[str]:
        """What could not be read, with why."""
        ...

    def records(self, sieve: Sieve, state: Any, budget: Budget) -> AsyncGenerator[Found]:
        """The records that pass the sieve, and perhaps others, from a state on; None: from the newest.

        Raises:
            NoPlace: the state is damaged, or of another search.
            WahaError: WAHA could not be read.
        """
        ...

    async def around(self, record: Record, count: int, budget: Budget) -> Neighbours:
        """Up to `count` records before and after one, in its chat."""
        ...
