"""Searching in the local index: a `Sieve` becomes conditions and an expression of FTS5."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from sqlite3 import Connection
from typing import Any

from waha_mcp.history.index_rows import KINDS, LAST, OWN, SELECT, SLOTS, clean, meta, numbers
from waha_mcp.history.records import NOTHING, Sieve
from waha_mcp.waha.parsing import kind_of_chat

#: Chats with at most this many messages are scanned rather than searched by words.
_FEW = 3_000
#: Most trigrams that one short part of a word may expand to.
_MOST_TERMS = 30_000
#: Most characters of an FTS5 expression with several parts.
_LONGEST = 300_000


def search(
    connection: Connection, sieve: Sieve, before: int | None, after: int | None, most: int
) -> list[Sequence[Any]]:
    """The rows (as of `SELECT`) of candidate messages, newest first, at most `most`."""
    where, values = _conditions(connection, sieve, before, after)
    if where is None:
        return []
    chats = numbers(connection, "chat", sieve.chats)
    if chats is not None and len(chats) <= 3:
        parts = [_of_chat(connection, chat, sieve, where, values, most) for chat in chats]
        return sorted((row for part in parts for row in part), key=lambda row: -int(row[0]))[:most]
    if chats is not None:
        where += " AND +m.chat IN (SELECT value FROM json_each(?))"
        values = [*values, json.dumps(chats)]
    return _matching(connection, sieve, where, values, most)


def _conditions(
    connection: Connection, sieve: Sieve, before: int | None, after: int | None
) -> tuple[str | None, list[Any]]:
    """The SQL conditions other than words and chats, with their values; None if nothing can match."""
    parts = ["(m.expires IS NULL OR m.expires > ?)"]
    values: list[Any] = [time.time()]
    if before is not None:
        parts.append("m.number < ?")
        values.append(before)
    if after is not None:
        parts.append("m.number > ?")
        values.append(after)
    moved = int(meta(connection, "moved") or 0)
    since, until = (None if each is None else int(min(max(each, 0), LAST)) for each in (sieve.since, sieve.until))
    if since is not None:
        parts.append("m.number >= ? AND m.number / ? - m.moved >= ?")
        values += [(since - moved) * SLOTS, SLOTS, since]
    if until is not None:
        parts.append("m.number < ? AND m.number / ? - m.moved <= ?")
        values += [(until + moved + 1) * SLOTS, SLOTS, until]
    if sieve.kinds is not None:
        parts.append("m.kind IN (SELECT value FROM json_each(?))")
        values.append(json.dumps([KINDS.index(each) for each in sieve.kinds]))
    if sieve.has != NOTHING:
        parts.append("m.has & ? = ?")
        values += [int(sieve.has), int(sieve.has)]
    if sieve.senders is not None:
        people = numbers(connection, "person", sieve.senders) or []
        chats = numbers(connection, "chat", [each for each in sieve.senders if kind_of_chat(each) == "person"]) or []
        if not people and not chats and "me" not in sieve.senders:
            return None, []
        parts.append(
            "(? AND m.has & ? != 0 OR m.has & ? = 0 AND (m.sender IN (SELECT value FROM json_each(?))"
            " OR m.participant IN (SELECT value FROM json_each(?)) OR m.chat IN (SELECT value FROM json_each(?))))"
        )
        values += ["me" in sieve.senders, OWN, OWN, json.dumps(people), json.dumps(people), json.dumps(chats)]
    return " AND ".join(parts), values


def _of_chat(
    connection: Connection, chat: int, sieve: Sieve, where: str, values: list[Any], most: int
) -> list[Sequence[Any]]:
    [few] = connection.execute(
        "SELECT count(*) <= ? FROM (SELECT 1 FROM message WHERE chat = ? LIMIT ?)", (_FEW, chat, _FEW + 1)
    ).fetchone()
    if not few and sieve.words:
        return _matching(connection, sieve, f"{where} AND +m.chat = ?", [*values, chat], most)
    return connection.execute(
        f"{SELECT} WHERE m.chat = ? AND {where} ORDER BY m.number DESC LIMIT ?", (chat, *values, most)
    ).fetchall()


def _matching(connection: Connection, sieve: Sieve, where: str, values: list[Any], most: int) -> list[Sequence[Any]]:
    match = _match(connection, sieve.words)
    if match is None:
        return []
    if not match:
        return connection.execute(f"{SELECT} WHERE {where} ORDER BY m.number DESC LIMIT ?", (*values, most)).fetchall()
    # FTS5 can return its rows by number, too: the first ones are the newest.
    select = SELECT.replace("FROM message m", "FROM words w CROSS JOIN message m ON m.number = w.rowid")
    where = where.replace("m.number <", "w.rowid <").replace("m.number >", "w.rowid >")
    return connection.execute(
        f"{select} WHERE w.words MATCH ? AND {where} ORDER BY w.rowid DESC LIMIT ?", (match, *values, most)
    ).fetchall()


def _match(connection: Connection, words: Sequence[Sequence[str]]) -> str | None:
    """The FTS5 expression for lines that may hold one text of each group; None: none can, "": any may."""
    parts: list[str] = []
    length = 0
    for any_of in dict.fromkeys(words):
        either = [found for text in any_of if (found := _holding(connection, text)) is not None]
        if not either:
            return None
        part = f"({' OR '.join(either)})"
        length += len(part)
        # The caller checks each candidate, so any part may be left out.
        if "" not in either and (not parts or length <= _LONGEST):
            parts.append(part)
    return " AND ".join(parts)


def _holding(connection: Connection, text: str) -> str | None:
    """The expression for lines that hold a folded text; None: no line does, "": any may."""
    text = clean(text)
    if not text:
        return ""
    if len(text) >= 3:
        grams = dict.fromkeys(text[at : at + 3] for at in range(len(text) - 2))
        return f"({' AND '.join(map(_quoted, grams))})"
    # A shorter text is the prefix of some trigrams.
    rows = connection.execute(
        "SELECT term FROM temp.terms WHERE term >= ? AND term <= ? LIMIT ?",
        (text, text + "\U0010ffff" * 2, _MOST_TERMS + 1),
    )
    grams = dict.fromkeys(str(row[0]) for row in rows)
    if len(grams) > _MOST_TERMS:
        return ""
    return f"({' OR '.join(map(_quoted, grams))})" if grams else None


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'
