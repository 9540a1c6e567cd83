"""Deletes the data kept about chats.

It is in trails, questions, task grants, saved files, own messages, first contacts and indexes. Data that limits an App
stays: the guard against repeats, the counts of the pace, what was read and pauses. The first three expire by
themselves, within a day at most.
"""

from __future__ import annotations

import json
import re
import time
import unicodedata
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from waha_mcp.history.index import Index
from waha_mcp.indexing import index_files
from waha_mcp.policy import approval, named, own_account, saved_files, task_grants
from waha_mcp.policy.audit import Trail, parsed, trail_file
from waha_mcp.store import Store, StoreAway
from waha_mcp.store.folders import app_ids
from waha_mcp.tools import references
from waha_mcp.whatsapp.untrusted import hides

#: The fields that a line of the trail keeps. The others may tell whom a call reached and what it said.
_KEPT = ("time", "call", "client", "tool", "decision", "outcome", "process", "ms", "of")
#: Characters that may separate the digits of a written number.
_BETWEEN = r"[\s().\-/\u2010-\u2015]*"


@dataclass
class Forgotten:
    """The numbers of deleted items, and the failures."""

    trail_lines: int = 0
    questions: int = 0
    sent_messages: int = 0
    first_contacts: int = 0
    task_grants: int = 0
    indexed_messages: int = 0
    saved_files: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


class Chats:
    """The chats to forget. A person has two ids; None: all chats."""

    def __init__(self, ids: Iterable[str] | None) -> None:
        self._ids = None if ids is None else frozenset(ids)
        self._pattern = re.compile("|".join(map(_written, sorted(self._ids or ()))))

    @property
    def named(self) -> frozenset[str] | None:
        """Their ids; None: all chats."""
        return self._ids

    def has(self, chat: str) -> bool:
        """Whether a chat id is one of them."""
        return self._ids is None or chat in self._ids

    def in_text(self, text: str) -> bool:
        """Whether a text is about one of them; with all chats, every text is."""
        return self._ids is None or self.named_in(text)

    def named_in(self, text: str) -> bool:
        """Whether a text holds the id or the number of a named chat, in any spelling."""
        return self._ids is not None and any(map(self._pattern.search, {text, _plain(text)}))


def _plain(text: str) -> str:
    """The text with ASCII digits and without invisible characters, for finding numbers in any spelling."""
    if text.isascii():
        return text
    shown = "".join(c for c in unicodedata.normalize("NFKC", text) if not hides(c))
    return "".join(str(unicodedata.decimal(c, c)) for c in shown)


def _written(chat: str) -> str:
    """A regular expression for a chat's id and, of a person, the number in any spelling."""
    user, _, server = chat.partition("@")
    if server in ("c.us", "lid"):
        # A group id of the older kind begins with the number of the group's creator.
        return rf"(?<!\d)(?:00{_BETWEEN})?{_BETWEEN.join(user)}(?!\d)(?!-\d+@g\.us)"
    return rf"(?<![\w-]){re.escape(chat)}"


def forget(store: Store, chats: Chats, app_id: str | None) -> Forgotten:
    """Delete the data kept about chats, for one App or for all (then also the data kept per account).

    Raises:
        StoreAway: the store cannot be read or written; what was deleted before stays deleted.
    """
    done = Forgotten()
    for each in [app_id] if app_id else app_ids():
        try:
            done.trail_lines += _forget_lines(each, chats)
        except OSError as error:
            done.problems.append(f"the trail of App '{each}' cannot be rewritten: {error.strerror or error}")
        try:
            approval.forget_files(each)
        except OSError as error:
            done.problems.append(f"App '{each}': questions of 0.1.0 cannot be deleted: {error.strerror or error}")
        for path in index_files(each):
            try:
                done.indexed_messages += _forget_indexed(path, chats)
            except (OSError, StoreAway) as error:
                done.problems.append(f"the index of App '{each}' is left as it is: {error}")
    prefix = f"{app_id}/" if app_id else ""
    done.questions = approval.forget(store, prefix, chats.in_text)
    done.sent_messages = named.forget(store, prefix, chats.has)
    done.task_grants = task_grants.forget(store, prefix, chats.in_text)
    references.forget(store, prefix, chats.in_text)
    done.saved_files, problems = saved_files.forget(store, prefix, chats.has)
    done.problems += problems
    if app_id is None:
        done.first_contacts = own_account.forget(store, chats.has)
    store.flush()
    return done


def _forget_indexed(path: Path, chats: Chats) -> int:
    """Remove chats from an index; return how many messages. Messages older than now are not added to it again."""
    with closing(Index(path)) as index:
        # A damaged index is of no use, and may hold anything.
        index.delete_damaged()
        if not path.exists():
            return 0
        if chats.named is not None:
            return index.forget(chats.has, time.time(), named=chats.named)
        gone = index.counts().messages
        # Deleting the file is faster than deleting its rows, and each row holds words.
        index.delete()
    with closing(Index(path)) as index:
        index.forget(chats.has, time.time(), every=True)
    return gone


def _forget_lines(app_id: str, chats: Chats) -> int:
    """Remove chats from an App's trail; return how many lines."""
    if app_id not in app_ids():
        return 0
    changed = trail_file(app_id).rewrite(lambda line: without(line, chats))
    if changed:
        Trail(app_id).write_now(
            {
                "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
                "client": "waha-mcp forget",
                "decision": "forgotten by the user",
                "outcome": "done",
            }
        )
    return changed


def without(line: str, chats: Chats) -> str:
    """A line of the trail without anything about the chats, and no longer than before."""
    if not chats.in_text(line):
        return line
    entry = parsed(line)
    kept = {key: entry[key] for key in _KEPT if key in entry and not chats.named_in(str(entry[key]))}
    if entry.get("decision") == "not offered":
        kept.pop("tool", None)  # not a tool's name, but what the agent wrote
    if entry and kept == entry:
        return line
    for shorter in (kept | {"forgotten": True}, kept):
        text = json.dumps(shorter, ensure_ascii=False, separators=(",", ":"))
        if len(text.encode(errors="backslashreplace")) <= len(line.encode(errors="backslashreplace")):
            return text
    return ""
