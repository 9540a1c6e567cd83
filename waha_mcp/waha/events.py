"""WAHA's live events of four engines, parsed into one kind of record.

Ids in them are split into parts and not used to look up a message: some engines give the bare id alone, and some give
the key of a reaction from the point of view of its author's device.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from waha_mcp.waha.models import message_id_of
from waha_mcp.waha.parsing import (
    chat_id_of,
    epoch,
    kind_of_chat,
    listing_or_empty,
    mapping_of,
    text_of,
    texts_of,
)
from waha_mcp.whatsapp.ids import MessageKey, bare_id, parse_message_id

Row = Mapping[str, Any]
Kind = Literal[
    "message", "edited", "deleted", "reaction", "receipt", "vote", "group", "presence", "call", "session"
]  # fmt: skip
Receipt = Literal["failed", "sent", "delivered", "read", "played"]
#: By WhatsApp's numbers, each a later stage than the one before.
RECEIPTS: Mapping[int, Receipt] = {-1: "failed", 1: "sent", 2: "delivered", 3: "read", 4: "played"}
#: Stands for the account itself, as in `Message.sender`.
ME = "me"


@dataclass(frozen=True)
class Event:
    """Something that happened in WhatsApp.

    `time`: when (Unix seconds). `chat`: the chat id, as the engine gives it: a person's may be the hidden one. `row`:
    WAHA's payload; of a message or an edit, a WAMessage. `key`: a message's identity, the same in whatever form and
    however often it arrives. `about`: the bare id of the message that was edited, deleted, reacted to, read or voted
    in. `by`: the actor's chat id, or `ME`; None if the engine does not say. `what`: the emoji (empty: removed), a
    `Receipt`, the options voted for, the change of a group, the state of a person, call or session. `people`: the
    members whom a change of a group concerns.
    """

    kind: Kind
    time: float
    chat: str | None
    row: Row
    key: str | None = None
    about: str | None = None
    by: str | None = None
    what: str | tuple[str, ...] | None = None
    people: tuple[str, ...] = ()


def message_event(row: Row) -> Event | None:
    """Parse a WAMessage from the feed or from REST; None without a full id."""
    key = _key_of(row.get("id"))
    if key is None:
        return None
    return Event(
        "message",
        epoch(row.get("timestamp")) or 0.0,
        key.chat,
        row,
        key=message_key(key),
        by=_author(key, row),
    )


def message_key(key: MessageKey) -> str:
    """A message's identity: its bare id, whether the account sent it, and its chat unless that is a person's.

    Senders choose the ids of their messages, so the same id in another group, or on an own message, is another message.
    Nobody knows the id of somebody else's message before it arrives, so a copy of it is never first. The identity
    therefore needs neither a person's chat nor the author in a group, whose ids differ by engine.
    """
    scope = "" if kind_of_chat(key.chat) == "person" else key.chat
    return f"{scope}/{ME if key.from_me else ''}/{key.id}"


def event_from(raw: Any) -> Event | None:
    """Parse a message of the WebSocket; None for an event that this version does not support."""
    envelope = mapping_of(raw)
    payload, read = mapping_of(envelope.get("payload")), _READ.get(str(envelope.get("event")))
    if read is None or not payload:
        return None
    return read(payload, epoch(envelope.get("timestamp")) or 0.0, str(envelope["event"]))


def _message(payload: Row, now: float, name: str) -> Event | None:
    return message_event(payload)


def _edited(payload: Row, now: float, name: str) -> Event | None:
    key = _key_of(payload.get("id"))
    if key is None:
        return None
    about = _bare(payload.get("editedMessageId")) or key.id
    time = epoch(payload.get("timestamp")) or now
    return Event("edited", time, key.chat, payload, about=about, by=_author(key, payload))


def _deleted(payload: Row, now: float, name: str) -> Event | None:
    after, before = mapping_of(payload.get("after")), mapping_of(payload.get("before"))
    # One engine gives bare keys in place of messages.
    for row in (after, before):
        key = _key_of(row.get("id")) or _key_in(row)
        if key is not None:
            about = _bare(payload.get("revokedMessageId")) or _bare(before.get("id")) or key.id
            by = _author(key, row)
            return Event("deleted", epoch(row.get("timestamp")) or now, key.chat, payload, about=about, by=by)
    return None


def _reaction(payload: Row, now: float, name: str) -> Event | None:
    key, reaction = _key_of(payload.get("id")), mapping_of(payload.get("reaction"))
    about = _bare(reaction.get("messageId"))
    if key is None or about is None:
        return None
    time = epoch(payload.get("timestamp")) or now
    what = text_of(reaction.get("text")) or ""
    return Event("reaction", time, key.chat, payload, about=about, by=_author(key, payload), what=what)


def _receipt(payload: Row, now: float, name: str) -> Event | None:
    key, ack = _key_of(payload.get("id")), payload.get("ack")
    what = RECEIPTS.get(ack) if isinstance(ack, int) and not isinstance(ack, bool) else None
    if key is None or what is None:
        return None
    by: str | None
    if not key.from_me:
        # For others' messages, only a read by the account itself is reported.
        by = ME
    elif kind_of_chat(key.chat) == "person":
        by = key.chat
    else:
        receipt = mapping_of(mapping_of(payload.get("_data")).get("receipt"))
        by = chat_id_of(receipt.get("userJid")) or chat_id_of(payload.get("participant"))
    return Event("receipt", now, key.chat, payload, about=key.id, by=by, what=what)


def _vote(payload: Row, now: float, name: str) -> Event | None:
    vote, poll = mapping_of(payload.get("vote")), mapping_of(payload.get("poll"))
    key, about = _key_of(vote.get("id")), _key_of(poll.get("id"))
    if key is None or about is None:
        return None
    what = tuple(texts_of(vote.get("selectedOptions")))
    time = epoch(vote.get("timestamp")) or now
    return Event("vote", time, key.chat, payload, about=about.id, by=_author(key, vote), what=what)


def _group(payload: Row, now: float, name: str) -> Event | None:
    chat = chat_id_of(mapping_of(payload.get("group")).get("id"))
    if chat is None:
        return None
    what = name.rpartition(".")[2]
    people: tuple[str, ...] = ()
    if what == "participants":
        what = text_of(payload.get("type")) or "changed"
        found = (
            chat_id_of(row.get("pn")) or chat_id_of(row.get("id"))
            for row in listing_or_empty(payload.get("participants"))
        )
        people = tuple(each for each in found if each is not None)
    return Event("group", epoch(payload.get("timestamp")) or now, chat, payload, what=what, people=people)


def _presence(payload: Row, now: float, name: str) -> Event | None:
    chat = chat_id_of(payload.get("id"))
    rows = listing_or_empty(payload.get("presences"))
    if chat is None or not rows:
        return None
    states = [
        (state, chat_id_of(row.get("participant")))
        for row in rows
        if (state := text_of(row.get("lastKnownPresence"))) is not None
    ]
    typing = (each for each in states if each[0] in ("typing", "recording"))
    what, by = next(typing, states[0] if states else (None, None))
    return Event("presence", now, chat, payload, what=what, by=by)


def _call(payload: Row, now: float, name: str) -> Event | None:
    chat = chat_id_of(payload.get("from"))
    if chat is None:
        return None
    time = epoch(payload.get("timestamp")) or now
    return Event("call", time, chat, payload, by=chat, what=name.rpartition(".")[2])


def _session(payload: Row, now: float, name: str) -> Event | None:
    status = text_of(payload.get("status"))
    # The rest may contain secrets that pair a device.
    return None if status is None else Event("session", now, None, {"status": status}, what=status)


_READ: Mapping[str, Callable[[Row, float, str], Event | None]] = {
    "message.any": _message,
    "message.edited": _edited,
    "message.revoked": _deleted,
    "message.reaction": _reaction,
    "message.ack": _receipt,
    "message.ack.group": _receipt,
    "poll.vote": _vote,
    "group.v2.join": _group,
    "group.v2.leave": _group,
    "group.v2.update": _group,
    "group.v2.participants": _group,
    "presence.update": _presence,
    "call.received": _call,
    "call.accepted": _call,
    "call.rejected": _call,
    "session.status": _session,
}
#: The events to request from WAHA: each message once, and none with secrets that pair a device.
NAMES = tuple(_READ)


def _key_of(value: Any) -> MessageKey | None:
    try:
        return parse_message_id(message_id_of(value) or "")
    except ValueError:
        return None


def _key_in(row: Row) -> MessageKey | None:
    """The key in an object `{fromMe, id, remoteJid, participant?}`."""
    chat, bare = chat_id_of(row.get("remoteJid")), text_of(row.get("id"))
    if chat is None or bare is None:
        return None
    return MessageKey(row.get("fromMe") is True, chat, bare, chat_id_of(row.get("participant")))


def _bare(value: Any) -> str | None:
    found = message_id_of(value)
    return None if found is None else bare_id(found)


def _author(key: MessageKey, row: Row) -> str | None:
    if key.from_me:
        return ME
    if kind_of_chat(key.chat) == "person":
        return key.chat
    return chat_id_of(row.get("participant")) or chat_id_of(key.participant)
