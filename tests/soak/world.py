"""Who may do what: the Apps of a place, their definitions, and the marks that identify a text anywhere."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count

from tests.harness import NO_PACE_TEXT

#: A mark: its maker and a number. No mark is part of another.
MARK = re.compile(r"mk([0-9a-f]{2})[0-9a-f]{5}x")
#: The sender of messages that arrive from others.
OTHERS = 0xFF
#: The hourly limit of the App `paced` for its chat.
LIMIT = 6
#: The App whose questions go to the person at its client; over stdio alone.
FORMED = "formed"
KINDS = ("open", "narrow", "reader", "writer", "paced", "asked", FORMED)


def marks(maker: int) -> Iterator[str]:
    """Marks of this maker, each once."""
    return (f"mk{maker:02x}{number:05x}x" for number in count())


def maker_of(mark: str) -> int:
    return int(mark[2:4], 16)


@dataclass(frozen=True)
class Chats:
    """The chats of a place, by id. `own`: each App's chat, which no other App may read or write to."""

    #: Whom every App may reach.
    common: str
    #: Who may be read and not be written to.
    unwritable: str
    #: Who may be neither.
    sealed: str
    own: dict[str, str]

    @classmethod
    def of(cls, people: Sequence[str], apps: Sequence[str]) -> Chats:
        """The first of these people is the common chat, whose person answers."""
        common, unwritable, sealed, *others = people
        return cls(common, unwritable, sealed, dict(zip(apps, others, strict=False)))

    @property
    def all(self) -> list[str]:
        """All chats that somebody's lists name."""
        return [self.common, self.unwritable, self.sealed, *self.own.values()]


@dataclass(frozen=True)
class Rules:
    """What an App may, and its definition (TOML without url, key and session)."""

    app: str
    kind: str
    reads: frozenset[str]
    sends: frozenset[str]
    actions: tuple[str, ...]
    #: The actions of its key; more than its own if the definition is what limits it.
    key_actions: tuple[str, ...]
    definition: str
    #: Sends per hour to its own chat; None: no limit.
    limit: int | None = None
    #: Whether a person has to approve first.
    asks: bool = False
    #: Whether its lists are deny lists: people outside the place's roles may then be written to and read.
    others: bool = False

    def may_send(self, chat: str, chats: Chats) -> bool:
        return chat in self.sends or (self.others and chat not in chats.all)

    def may_read(self, chat: str, chats: Chats) -> bool:
        return chat in self.reads or (self.others and chat not in chats.all)


def apps_of(place: str, kinds: Sequence[str]) -> list[str]:
    """The ids of a place's Apps."""
    return [f"{place}-{kind}" for kind in kinds]


def rules_of(place: str, kinds: Sequence[str], chats: Chats) -> dict[str, Rules]:
    """The rules of each App of a place."""
    return {app: _rules(app, kind, chats) for app, kind in zip(apps_of(place, kinds), kinds, strict=True)}


def _rules(app: str, kind: str, chats: Chats) -> Rules:
    own = chats.own[app]
    sends, reads = {own, chats.common}, {own, chats.common, chats.unwritable}
    both, more, pace, limit = ("read", "send"), "", NO_PACE_TEXT, None
    actions = {"reader": ("read",), "writer": ("send",)}.get(kind, both)
    if kind in ("reader", "writer"):
        sends, reads = (set(), reads) if kind == "reader" else (sends, set())
    if kind == "paced":
        pace, limit = NO_PACE_TEXT.replace('chat = ""', f'chat = "{LIMIT}/hour"'), LIMIT
        sends = {own}
    if kind == "asked":
        more = '[approval]\nwhen = "send"\nask_at = "console"\n'
    if kind == FORMED:
        more = '[approval]\nwhen = "send"\n'
    head: dict[str, object] = {"actions": list(actions), "toolsets": ["core", "messages"]}
    if kind == "narrow":
        head |= {"index": True, "audit": "text"}
    else:
        head |= {"humanize": False}
    # Both kinds of list: allow, and deny.
    if kind == "open":
        unsent = [each for each in chats.all if each not in sends]
        unread = [each for each in chats.all if each not in reads]
        lists = f"[chats]\nsend = {{ deny = {json.dumps(unsent)} }}\nread = {{ deny = {json.dumps(unread)} }}\n"
    else:
        lists = f"[chats]\nsend = {{ allow = {json.dumps(sorted(sends))} }}\n"
        lists += f"read = {{ allow = {json.dumps(sorted(reads))} }}\n" if "read" in actions else ""
    fields = "".join(f"{name} = {json.dumps(value)}\n" for name, value in head.items())
    return Rules(
        app, kind, frozenset(reads), frozenset(sends), actions,
        # The reader's key may do everything: only its definition limits it.
        both if kind == "reader" else actions,
        fields + lists + more + pace, limit, asks=kind in ("asked", FORMED), others=kind == "open",
    )  # fmt: skip
