"""One WhatsApp account in memory: people, chats, messages, groups, channels, labels.

Ids are WAHA's: `@c.us` for a person, `@lid` for the hidden id of a person, `@g.us`, `@newsletter`, `status@broadcast`.
Times are Unix seconds. Every chat keeps its messages in order of time, so the cost of a page depends on its length and
not on the size of the account.
"""

from __future__ import annotations

import random
from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from heapq import merge
from itertools import islice
from typing import Any

STATUS_CHAT = "status@broadcast"
ACKS = {-1: "ERROR", 0: "PENDING", 1: "SERVER", 2: "DEVICE", 3: "READ", 4: "PLAYED"}


@dataclass(slots=True)
class Person:
    """A person, as this account knows them. `id` is `@c.us`, or `@lid` when the number is hidden."""

    id: str
    lid: str | None = None
    name: str | None = None
    push_name: str | None = None
    about: str = "Hey there! I am using WhatsApp."
    picture: bool = False
    blocked: bool = False
    #: Whether the contact list shows this person a second time, under the `@lid`.
    twin_listed: bool = False
    #: Whether this person answers messages.
    answers: bool = False

    @property
    def shown(self) -> str | None:
        return self.name or self.push_name


@dataclass(slots=True)
class Media:
    """A message's file. `error` marks a file that WhatsApp no longer has."""

    mimetype: str
    data: bytes
    filename: str | None = None
    seconds: int | None = None
    error: str | None = None

    @property
    def extension(self) -> str:
        return _EXTENSIONS.get(self.mimetype.partition(";")[0], "bin")


_EXTENSIONS = {
    "image/jpeg": "jpeg",
    "image/png": "png",
    "image/webp": "webp",
    "video/mp4": "mp4",
    "audio/ogg": "oga",
    "audio/wav": "wav",
    "audio/mpeg": "mp3",
    "application/pdf": "pdf",
    "text/plain": "txt",
    "text/csv": "csv",
    "text/vcard": "vcf",
}


@dataclass(slots=True)
class Message:
    """One message. `author` is the id of its author, in the form that the chat uses."""

    id: str
    chat: str
    from_me: bool
    author: str
    time: int
    text: str | None = None
    kind: str = "text"
    ack: int = 3
    media: Media | None = None
    quoted: str | None = None
    mentions: tuple[str, ...] = ()
    extra: dict[str, Any] | None = None
    reactions: dict[str, tuple[str, int]] | None = None
    edited: int | None = None
    deleted: bool = False
    starred: bool = False
    pinned: int | None = None
    forwarded: bool = False
    source: str = "app"
    server_id: int = 0
    #: Seconds after which it disappears; 0: never.
    timer: int = 0
    #: Fields that override those of the engine's raw data.
    raw: dict[str, Any] | None = None


@dataclass(slots=True)
class Chat:
    id: str
    messages: list[Message] = field(default_factory=list)
    unread: int = 0
    marked_unread: bool = False
    archived: bool = False
    labels: set[str] = field(default_factory=set)
    started: int = 0

    @property
    def time(self) -> int:
        return self.messages[-1].time if self.messages else self.started


@dataclass(slots=True)
class Group:
    """A group. `members` maps a person's id to `participant`, `admin` or `superadmin`."""

    id: str
    subject: str
    owner: str
    created: int
    members: dict[str, str]
    description: str = ""
    lids: bool = False
    invite: str = ""
    info_admin_only: bool = False
    messages_admin_only: bool = False
    members_can_add: bool = True
    share_history: bool = False
    approval: bool = False
    picture: bool = False
    requests: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class Channel:
    id: str
    name: str
    description: str
    invite: str
    role: str
    subscribers: int
    verified: bool = False
    muted: bool = False
    country: str = "US"
    category: str = "LIFESTYLE"


@dataclass(slots=True)
class Label:
    id: str
    name: str
    color: int


@dataclass(frozen=True, slots=True)
class Filter:
    """The `filter.*` parameters of a message query; None means any."""

    since: float | None = None
    until: float | None = None
    from_me: bool | None = None
    ack: int | None = None

    def passes(self, message: Message) -> bool:
        return (self.from_me is None or message.from_me is self.from_me) and (
            self.ack is None or message.ack == self.ack
        )


class Account:
    """The state behind one paired session."""

    def __init__(self, me: Person, rng: random.Random) -> None:
        self.me = me
        self.rng = rng
        self.people: dict[str, Person] = {}
        self.by_lid: dict[str, Person] = {}
        self.chats: dict[str, Chat] = {}
        self.messages: dict[str, Message] = {}
        self.timeline: list[Message] = []
        self.groups: dict[str, Group] = {}
        self.invites: dict[str, Group] = {}
        self.channels: dict[str, Channel] = {}
        self.labels: dict[str, Label] = {}
        self.subscribed: set[str] = set()
        self.presence = "offline"
        self.calls: dict[str, str] = {}
        #: The current presence of others; see `place`.
        self.presences: dict[tuple[str, str], str] = {}
        self.add_person(me)

    # People

    def add_person(self, person: Person) -> Person:
        self.people[person.id] = person
        if person.lid:
            self.by_lid[person.lid] = person
        return person

    def person(self, any_id: str) -> Person | None:
        """The person whom an id in either form denotes."""
        return self.people.get(any_id) or self.by_lid.get(any_id)

    def is_me(self, any_id: str) -> bool:
        return any_id in (self.me.id, self.me.lid)

    def place(self, chat_id: str, person_id: str) -> tuple[str, str]:
        """A person in a chat as canonical ids, whichever of their ids are given."""
        chat, person = self.person(chat_id), self.person(person_id)
        return chat.id if chat else chat_id, person.id if person else person_id

    def twin(self, any_id: str) -> str | None:
        """The other id of the same person: the `@lid` of a `@c.us` id and the reverse."""
        person = self.person(any_id)
        if person is None or person.lid is None or person.lid == person.id:
            return None
        return person.id if any_id == person.lid else person.lid

    def name_of(self, chat_id: str) -> str | None:
        """The name of a chat as shown in the list."""
        if chat_id in self.groups:
            return self.groups[chat_id].subject
        if chat_id in self.channels:
            return self.channels[chat_id].name
        person = self.person(chat_id)
        return person.shown if person else None

    def has_picture(self, chat_id: str) -> bool:
        if chat_id in self.groups:
            return self.groups[chat_id].picture
        person = self.person(chat_id)
        return bool(person and person.picture) or chat_id in self.channels

    # Chats and messages

    def chat(self, chat_id: str, started: int = 0) -> Chat:
        """The chat with this id, created if it does not exist."""
        found = self.chats.get(chat_id)
        if found is None:
            found = self.chats[chat_id] = Chat(chat_id, started=started)
        return found

    def joined(self, chat_id: str, *, merged: bool = True) -> list[Chat]:
        """The chats that one id means: both the `@lid` and the `@c.us` one when merged."""
        ids = [chat_id, self.twin(chat_id) if merged else None]
        return [self.chats[each] for each in ids if each in self.chats]

    def ordered_chats(self, *, merged: bool = True) -> list[Chat]:
        """All chats, the latest first. Merged: a twin pair is its `@c.us` chat, placed by the later of the two."""
        if not merged:
            return sorted((chat for chat in self.chats.values() if chat.id != STATUS_CHAT), key=lambda chat: -chat.time)
        placed: list[tuple[int, Chat]] = []
        for chat in self.chats.values():
            if chat.id == STATUS_CHAT:
                continue
            twin = self.twin(chat.id)
            if twin is None or twin not in self.chats:
                placed.append((chat.time, chat))
            elif chat.id.endswith("@c.us"):
                placed.append((max(chat.time, self.chats[twin].time), chat))
        placed.sort(key=lambda pair: -pair[0])
        return [chat for _, chat in placed]

    def last_message(self, chat: Chat, *, merged: bool = True) -> Message | None:
        return next(iter(self.page([*self.joined(chat.id, merged=merged)], limit=1)), None)

    def add_all(self, messages: list[Message]) -> None:
        """Store messages of any time; sorts once."""
        for message in messages:
            self.chat(message.chat).messages.append(message)
            self.messages[message.id] = message
        for chat in {message.chat for message in messages}:
            self.chats[chat].messages.sort(key=_time)
        self.timeline.extend(messages)
        self.timeline.sort(key=_time)

    def add(self, message: Message, *, unread: bool = False) -> Message:
        """Store a message in its chat and in the timeline, where its time puts it."""
        chat = self.chat(message.chat)
        _insert(chat.messages, message)
        _insert(self.timeline, message)
        self.messages[message.id] = message
        if unread:
            chat.unread += 1
        return message

    def remove(self, message: Message) -> None:
        self.chats[message.chat].messages.remove(message)
        self.timeline.remove(message)
        self.messages.pop(message.id, None)

    def empty_chat(self, chat: Chat) -> None:
        """Remove all messages of a chat; it keeps its place in the list."""
        chat.started = chat.time
        for message in list(chat.messages):
            self.remove(message)
        chat.unread = 0

    def drop_chat(self, chat_id: str) -> None:
        """Remove a chat and its messages, if it exists."""
        chat = self.chats.get(chat_id)
        if chat is not None:
            self.empty_chat(chat)
            del self.chats[chat_id]

    def new_id(self, *, from_me: bool = True) -> str:
        return f"3EB0{self.rng.getrandbits(72):018X}" if from_me else f"{self.rng.getrandbits(128):032X}"

    def page(
        self,
        chats: list[Chat] | None,
        *,
        limit: int | None,
        offset: int = 0,
        wanted: Filter | None = None,
        ascending: bool = False,
    ) -> list[Message]:
        """Messages of these chats, or of all when None; newest first unless `ascending`. `limit` None is all."""
        lists = [self.timeline] if chats is None else [chat.messages for chat in chats]
        spans = [_span(messages, wanted) for messages in lists]
        found: Iterator[Message]
        if len(spans) == 1:
            found = _walk(*spans[0], ascending=ascending)
        else:
            walks = [_walk(*span, ascending=ascending) for span in spans]
            found = merge(*walks, key=lambda each: each.time, reverse=not ascending)
        if wanted is not None and (wanted.from_me is not None or wanted.ack is not None):
            found = filter(wanted.passes, found)
        elif len(spans) == 1:
            messages, low, high = spans[0]
            first, last = offset, len(messages) if limit is None else offset + limit
            if ascending:
                return messages[min(low + first, high) : min(low + last, high)]
            return messages[max(high - last, low) : max(high - first, low)][::-1]
        return list(islice(found, offset, None if limit is None else offset + limit))


def _span(messages: list[Message], wanted: Filter | None) -> tuple[list[Message], int, int]:
    low, high = 0, len(messages)
    if wanted is not None and wanted.since is not None:
        low = bisect_left(messages, wanted.since, key=_time)
    if wanted is not None and wanted.until is not None:
        high = bisect_right(messages, wanted.until, key=_time)
    return messages, low, max(low, high)


def _walk(messages: list[Message], low: int, high: int, *, ascending: bool) -> Iterator[Message]:
    indexes: Iterable[int] = range(low, high) if ascending else range(high - 1, low - 1, -1)
    return (messages[index] for index in indexes)


def _time(message: Message) -> float:
    return message.time


def _insert(messages: list[Message], message: Message) -> None:
    if not messages or messages[-1].time <= message.time:
        messages.append(message)
    else:
        insort(messages, message, key=_time)
