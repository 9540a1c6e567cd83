"""The rows of the local index: messages to and from records, the gaps of each chat, and what was forgotten.

A message's number combines its second and a slot in that second, so that numbers sort by time. Each function runs
inside its caller's transaction.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from sqlite3 import Connection
from typing import Any, NamedTuple, get_args

from waha_mcp.history.records import Has, Record
from waha_mcp.history.source import START, Place
from waha_mcp.waha.message_kinds import MessageKind
from waha_mcp.waha.parsing import kind_of_chat
from waha_mcp.whatsapp.ids import MessageKey

#: Slots per second; further messages of a second take the nearest free numbers.
SLOTS = 8
#: A kind is stored as its place here: append new ones only.
KINDS: tuple[MessageKind, ...] = get_args(MessageKind)
#: A flag beside those of `Has`: the account's own message.
OWN = 1 << 10
#: Stands for all chats and people in the table of the forgotten.
EVERY = "*"
#: The Unix seconds a message may have, so that moved numbers stay positive.
FIRST, LAST = 2**24, 2**40


class Found(NamedTuple):
    """A message and its number."""

    number: int
    record: Record


class Gap(NamedTuple):
    """Messages of a chat still to be read: from `place` back to the second `since` (None: to the first message).

    `second`: that of the place, or of the chat's newest message. `late`: they arrived while nobody listened; the rest
    of the chat was read before.
    """

    number: int
    chat: str
    late: bool
    since: int | None
    second: int
    place: Place


class Newest(NamedTuple):
    """The newest message of a chat: its second, and its key where WAHA tells it."""

    chat: str
    second: int
    last: MessageKey | None


SELECT = """SELECT m.number, m.moved, c.id, s.id, coalesce(s.pushname, p.pushname), p.id, m.kind, m.has, m.id,
    m.expires, m.text, m.extra, m.transcript
    FROM message m JOIN chat c ON c.number = m.chat
    LEFT JOIN person s ON s.number = m.sender LEFT JOIN person p ON p.number = m.participant"""

#: Parameters: a JSON list of numbers to skip, and the limit (-1: none). Newest first.
GAPS = """SELECT gap.number, chat.id, late, since, second, place FROM gap JOIN chat ON chat.number = gap.chat
    WHERE gap.number NOT IN (SELECT value FROM json_each(?)) ORDER BY second DESC, gap.number LIMIT ?"""
NEWEST = f"""{SELECT} WHERE m.chat IN (SELECT value FROM json_each(?)) AND m.number >= ?
    AND (m.expires IS NULL OR m.expires > ?) ORDER BY m.number DESC LIMIT ?"""  # noqa: S608 - nothing of it is given
DOUBTFUL = f"{SELECT} WHERE m.number IN (SELECT min(number) FROM doubt)"  # noqa: S608 - nothing of it is given


def record_of(row: Sequence[Any]) -> Record:
    number, moved, chat, sender, pushname, participant, kind, has, bare_id, expires, text, extra, transcript = row
    own = bool(has & OWN)
    alone = kind_of_chat(chat) == "person"
    return Record(
        MessageKey(own, chat, bare_id.hex().upper() if isinstance(bare_id, bytes) else bare_id, participant),
        number // SLOTS - moved,
        "me" if own else sender or participant or (chat if alone else "unknown"),
        KINDS[kind],
        text or "",
        extra or "",
        Has(has & ~OWN),
        pushname,
        expires,
        transcript or "",
    )


def gap_of(row: Sequence[Any]) -> Gap:
    number, chat, late, since, second, place = row
    return Gap(number, chat, bool(late), since, second, Place.from_state(json.loads(place)))


def _packed(bare_id: str) -> bytes | str:
    """A message's bare id as stored: most are hexadecimal, and bytes take half the space."""
    with suppress(ValueError):
        packed = bytes.fromhex(bare_id)
        if packed.hex().upper() == bare_id:
            return packed
    return bare_id


def with_id(connection: Connection, bare_id: str) -> list[Found]:
    packed = _packed(clean(bare_id))
    rows = connection.execute(
        f"{SELECT} WHERE substr(m.id, 1, 6) = substr(?, 1, 6) AND m.id = ?", (packed, packed)
    ).fetchall()
    return [Found(int(row[0]), record_of(row)) for row in rows]


def find_same(connection: Connection, key: MessageKey, record: Record | None = None) -> Found | None:
    """The stored message with this identity. `record`: the rest of it, if known.

    Senders choose the ids of their messages, so the same id by somebody else, or in another chat, is another message.
    A person has two ids (number and hidden id), and this room cannot match them: two messages whose senders have one
    of each kind are the same if their seconds are.
    """
    sender = _sender(key) if record is None else record.sender
    second = None if record is None else record.time
    return next((each for each in with_id(connection, key.id) if _is_same(each.record, key, sender, second)), None)


def _is_same(found: Record, key: MessageKey, sender: str, second: int | None) -> bool:
    if found.key.from_me != key.from_me:
        return False
    exact = second in (None, found.time)
    if found.chat != key.chat and not (exact and _may_be_one(found.chat, key.chat)):
        return False
    return found.sender == sender or (exact and _may_be_one(found.sender, sender))


def _may_be_one(one: str, other: str) -> bool:
    """Whether two ids may belong to the same person."""
    return "unknown" in (one, other) or {one.rpartition("@")[2], other.rpartition("@")[2]} == {"c.us", "lid"}


def _sender(key: MessageKey) -> str:
    if key.from_me:
        return "me"
    return key.chat if kind_of_chat(key.chat) == "person" else key.participant or "unknown"


def look(connection: Connection, newest: Newest, forgotten: int | None, heard: bool, oldest: float | None) -> bool:
    chat, second, last = newest
    full = None if last is None else last.text
    found = connection.execute("SELECT number, head, last FROM chat WHERE id = ?", (chat,)).fetchone()
    number, head, known = found or (_chat(connection, chat), 0, None)
    if head and second <= head and full == known:
        return True
    since = max((int(each) for each in (oldest, forgotten) if each is not None), default=None)
    if head:
        # The newest message may have been deleted: then an older one is reported as the newest.
        since = max(min(head, second), since or 0)
    here = heard and head > 0 and last is not None and find_same(connection, last) is not None
    if not here and second >= (since or 0):
        connection.execute(
            "INSERT INTO gap (chat, late, since, second, place) VALUES (?, ?, ?, ?, ?)",
            (number, head > 0, since, second, json.dumps(START.state)),
        )
    connection.execute("UPDATE chat SET head = ?, last = ? WHERE number = ?", (max(second, head, 1), full, number))
    return False


def remove(connection: Connection, keys: Iterable[MessageKey]) -> None:
    for key in keys:
        if (same := find_same(connection, key)) is not None:
            connection.execute("DELETE FROM message WHERE number = ?", (same.number,))


def add(connection: Connection, records: Iterable[Record], *, backwards: bool) -> int:
    count = 0
    forgotten = all_forgotten(connection)
    #: The last number used for each second.
    last: dict[int, int] = {}
    for record in records:
        if (same := find_same(connection, record.key, record)) is not None:
            update(connection, same.number, same.record, record)
            continue
        if not FIRST < record.time < LAST:
            continue
        if (until := last_forgotten(forgotten, _whose(record))) is not None and record.time <= until:
            continue
        number = last[record.time] = _free(connection, record.time, last.get(record.time), backwards=backwards)
        moved = number // SLOTS - record.time
        if moved and abs(moved) > int(meta(connection, "moved") or 0):
            set_meta(connection, "moved", abs(moved))
        key = record.key
        alone = kind_of_chat(key.chat) == "person"
        sender = None if key.from_me or record.sender in ("me", "unknown", key.participant) else record.sender
        # In a chat with one person, the sender is only needed for the name that they chose.
        sender = None if alone and sender == key.chat and record.pushname is None else sender
        connection.execute(
            "INSERT INTO message (number, moved, chat, sender, participant, kind, has, id, expires, text, extra)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                number,
                moved,
                _chat(connection, key.chat),
                _person(connection, sender, record.pushname),
                _person(connection, key.participant, None if key.from_me else record.pushname),
                KINDS.index(record.kind),
                int(record.has) | (OWN if key.from_me else 0),
                _packed(key.id),
                record.expires,
                clean(record.text) or None,
                clean(record.extra) or None,
            ),
        )
        count += 1
    return count


def _whose(record: Record) -> Iterator[str]:
    yield record.chat
    yield record.sender
    if record.key.participant is not None:
        yield record.key.participant


def all_forgotten(connection: Connection) -> dict[bytes, int]:
    """Digests of the forgotten chats and people, each with the last second that must not be stored."""
    return {bytes(row[0]): int(row[1]) for row in connection.execute("SELECT chat, second FROM forgotten")}


def last_forgotten(forgotten: Mapping[bytes, int], ids: Iterable[str]) -> int | None:
    """The last second that must not be stored for any of these ids; None: no limit."""
    if not forgotten:
        return None
    return max((forgotten[key] for each in (*ids, EVERY) if (key := digest_of(each)) in forgotten), default=None)


def edited(before: Record, after: Record) -> Record:
    if before.has & Has.FILE:
        return replace(after, kind=before.kind, has=after.has | Has.FILE, extra=after.extra or before.extra)
    return replace(after, kind=before.kind)


def update(connection: Connection, number: int, before: Record, record: Record) -> None:
    """Update the parts that can change: text and flags, but neither time nor sender.

    An edit may lack the expiry of a disappearing message, which is then kept.
    """
    text, extra = clean(record.text), clean(record.extra)
    expires = before.expires if record.expires is None else record.expires
    if (before.has, before.kind, before.expires) != (record.has, record.kind, expires):
        own = OWN if before.key.from_me else 0
        connection.execute(
            "UPDATE message SET has = ?, kind = ?, expires = ? WHERE number = ?",
            (int(record.has) | own, KINDS.index(record.kind), expires, number),
        )
    if (before.text, before.extra) != (text, extra):
        connection.execute(
            "UPDATE message SET text = ?, extra = ? WHERE number = ?", (text or None, extra or None, number)
        )


def _free(connection: Connection, second: int, start: int | None, *, backwards: bool) -> int:
    """The free number nearest to a second: forwards from its first slot, or backwards from its last.

    `start`: where to begin, if everything before is known to be taken.
    """
    at = start if start is not None else second * SLOTS + (SLOTS - 1 if backwards else 0)
    compared, order, step = ("<=", "DESC", -1) if backwards else (">=", "ASC", 1)
    for [taken] in connection.execute(
        f"SELECT number FROM message WHERE number {compared} ? ORDER BY number {order}",  # noqa: S608
        (at,),
    ):
        if taken != at:
            break
        at += step
    return at


def _chat(connection: Connection, chat: str) -> int:
    """The number of a chat, created with head 0 (not looked at yet) if it is new."""
    found = connection.execute("SELECT number FROM chat WHERE id = ?", (chat,)).fetchone()
    if found is not None:
        return int(found[0])
    return int(connection.execute("INSERT INTO chat (id, head) VALUES (?, 0)", (chat,)).lastrowid or 0)


def _person(connection: Connection, person: str | None, pushname: str | None) -> int | None:
    if person is None:
        return None
    person, pushname = clean(person), pushname and clean(pushname)
    found = connection.execute("SELECT number, pushname FROM person WHERE id = ?", (person,)).fetchone()
    if found is None:
        done = connection.execute("INSERT INTO person (id, pushname) VALUES (?, ?)", (person, pushname))
        return int(done.lastrowid or 0)
    if pushname is not None and found[1] is None:
        connection.execute("UPDATE person SET pushname = ? WHERE number = ?", (pushname, found[0]))
    return int(found[0])


def drop(connection: Connection, chat: str) -> int:
    found = connection.execute("SELECT number FROM chat WHERE id = ?", (chat,)).fetchone()
    if found is None:
        return 0
    gone = connection.execute("DELETE FROM message WHERE chat = ?", found).rowcount
    connection.execute("DELETE FROM gap WHERE chat = ?", found)
    connection.execute("DELETE FROM chat WHERE number = ?", found)
    return int(gone)


def digest_of(chat: str) -> bytes:
    return hashlib.sha256(clean(chat).encode()).digest()[:12]


def clean(text: str) -> str:
    """A text without what SQLite cannot keep or would end at: halves of surrogate pairs, and NUL."""
    return text.encode("utf-8", "replace").decode().replace("\0", "\ufffd")


def meta(connection: Connection, key: str) -> Any:
    found = connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
    return None if found is None else found[0]


def set_meta(connection: Connection, key: str, value: Any) -> None:
    connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))


def numbers(connection: Connection, table: str, ids: Collection[str] | None) -> list[int] | None:
    if ids is None:
        return None
    rows = connection.execute(
        f"SELECT number FROM {table} WHERE id IN (SELECT value FROM json_each(?))",  # noqa: S608
        (json.dumps(list(ids)),),
    )
    return [int(row[0]) for row in rows]
