"""Which messages match a search, the line that shows why, and how well it fits."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from waha_mcp.history.query import Query
from waha_mcp.history.records import NOTHING, Record, Sieve, sender_of_record
from waha_mcp.waha.message_kinds import MessageKind
from waha_mcp.waha.messages import Message, Names
from waha_mcp.whatsapp.folding import fold_text

#: Characters of the line that is shown of a message.
LINE = 160
#: For how many people mentions are looked up by their numbers; for more, every mention is examined.
MENTIONED = 50
#: A mention of a person as it stands in a text: the digits of an id, alone or in a number or hidden id.
_MENTION = re.compile(r"@\+?([0-9]{5,20})(?![0-9])(?:@lid\b)?")


@dataclass(frozen=True)
class Wanted:
    """Messages of one sender ("me" for the account, else a chat id) and one kind; None: of any."""

    sender: str | None = None
    kind: MessageKind | None = None

    def __contains__(self, message: Message) -> bool:
        return self.sender in (None, message.sender) and self.kind in (None, message.kind)


class Match(NamedTuple):
    """The line that shows why a record is found, cut to `LINE`, and how well it fits: more is better."""

    line: str
    score: float


@dataclass(frozen=True)
class Sought:
    """A query whose people and chats are known.

    They are canonical chat ids ("me": the account); None: any. `since`, `until`: Unix seconds, both included. `called`:
    names by the digits with which mentions stand in texts; a mention is searched, and shown, with either.
    """

    query: Query
    chats: frozenset[str] | None = None
    not_chats: frozenset[str] = frozenset()
    senders: frozenset[str] | None = None
    not_senders: frozenset[str] = frozenset()
    since: float | None = None
    until: float | None = None
    called: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def _mentions(self) -> Mapping[str, str]:
        """Folded names as mentions, by the digits."""
        return {digits: fold_text(f"@{name}") for digits, name in self.called.items()}

    def sieve(self, ids: Callable[[str], Iterable[str]]) -> Sieve:
        """What an index can check of it: every record that `match` finds passes. `ids`: all spellings of an id."""
        single = self.query.has if self.query.has.bit_count() == 1 else NOTHING
        return Sieve(
            tuple(map(self._alternatives, self.query.terms)),
            _every(self.chats, ids),
            _every(self.senders, ids),
            self.query.kinds or None,
            single,
            self.since,
            self.until,
        )

    def _alternatives(self, term: str) -> tuple[str, ...]:
        """A term, and what stands in texts for the mentions that show it."""
        found = [digits for digits, name in self._mentions.items() if term in name]
        if len(found) > MENTIONED:
            return term, "@"
        return (term, *(f"@{plus}{digits}" for digits in found for plus in ("", "+")))

    def match(self, record: Record, names: Names) -> Match | None:
        """Why a record matches; None if it does not."""
        if not self._is_of(record, names):
            return None
        lines = record.lines()
        folded = [self._folded(line) for line in lines]
        terms = self.query.terms
        if not all(any(term in line for line in folded) for term in terms):
            return None
        if any(term in line for term in self.query.without for line in folded):
            return None
        if not lines:
            return Match("", 0)
        # Of each line, how well it holds each of the terms.
        fits = [[_fit(term, line) for term in terms] for line in folded]
        held = [(sum(map(bool, each)), sum(each)) for each in fits]
        best = held.index(max(held))
        shown = _MENTION.sub(lambda at: f"@{self.called.get(at[1], at[1])}", lines[best])
        score = sum(map(max, zip(*fits, strict=True))) + held[best][0] + 1 / (1 + len(lines[best]) / LINE)
        return Match(_window(shown, terms), score)

    def _is_of(self, record: Record, names: Names) -> bool:
        """Whether a record is from whom, where, when and of what is looked for."""
        query = self.query
        if (self.since is not None and record.time < self.since) or (
            self.until is not None and record.time > self.until
        ):
            return False
        if (query.kinds and record.kind not in query.kinds) or record.kind in query.not_kinds:
            return False
        if (query.has and not query.has & record.has) or query.not_has & record.has:
            return False
        chat = names.canonical(record.chat)
        if (self.chats is not None and chat not in self.chats) or chat in self.not_chats:
            return False
        sender = sender_of_record(record, names)
        return (self.senders is None or sender in self.senders) and sender not in self.not_senders

    def _folded(self, line: str) -> str:
        """A line as it is searched: followed by the names shown in it, each on its own line."""
        folded = fold_text(line)
        if "@" not in line:
            return folded
        mentioned = (self._mentions.get(digits) for digits in _MENTION.findall(line))
        return "\n".join([folded, *filter(None, mentioned)])


def _fit(term: str, line: str) -> int:
    """How well a folded line holds a term; 0: not at all. A whole word is better than a part, its beginning between."""
    if term not in line:
        return 0
    begins = re.search(rf"(?<!\w){re.escape(term)}", line) is not None
    whole = begins and re.search(rf"(?<!\w){re.escape(term)}(?!\w)", line) is not None
    return 1 + begins + whole + 2 * (" " in term)


def first_line(record: Record) -> str:
    """What is shown of a message in which nothing was searched; empty for a file without a text."""
    return _window(next(iter(record.lines()), ""), ())


def _every(wanted: frozenset[str] | None, ids: Callable[[str], Iterable[str]]) -> frozenset[str] | None:
    return None if wanted is None else frozenset(each for one in wanted for each in ids(one))


def _window(line: str, terms: Iterable[str]) -> str:
    """A long line around the first of the terms that it holds."""
    if len(line) <= LINE:
        return line
    folded = fold_text(line)
    term = next((each for each in terms if each in folded), "")
    # Folded text has other lengths: the shortest beginning that holds the term ends where the term does.
    end = bisect_left(range(len(line)), True, key=lambda count: term in fold_text(line[:count]))
    start = max(0, min(end - LINE // 2, len(line) - LINE)) if term else 0
    cut = line[start : start + LINE]
    return ("…" if start else "") + cut + ("…" if start + LINE < len(line) else "")
