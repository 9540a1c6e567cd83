"""The query language of the search: parses a text into what is looked for. docs/search.md describes it for users."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import tzinfo
from typing import NamedTuple, TypeVar, get_args

from waha_mcp.history.records import NOTHING, Has
from waha_mcp.history.times import moment
from waha_mcp.steps import did_you_mean, nearest
from waha_mcp.waha.message_kinds import MessageKind
from waha_mcp.waha.parsing import epoch
from waha_mcp.whatsapp.folding import fold_text

T = TypeVar("T")

#: Most characters of a query.
LONGEST = 500
#: The sender that is the account itself.
ME = "me"

_FIELDS = ("from", "in", "kind", "has", "after", "before")
#: Names of our fields in other searches and in parameters of tools.
_OTHERS_FIELDS: Mapping[str, str] = {
    "since": "after",
    "until": "before",
    "sender": "from",
    "chat": "in",
    "group": "in",
    "type": "kind",
}
_KINDS: Mapping[str, MessageKind] = {each: each for each in get_args(MessageKind)} | {
    "photo": "image",
    "picture": "image",
    "file": "document",
    "pdf": "document",
}
_HAS: Mapping[str, Has] = {
    "link": Has.LINK,
    "url": Has.LINK,
    "file": Has.FILE,
    "media": Has.FILE,
    "attachment": Has.FILE,
    "mention": Has.MENTION,
    "quote": Has.QUOTE,
    "reply": Has.QUOTE,
    "edited": Has.EDITED,
}
#: Those of the names that errors mention.
_TOLD_HAS = ("link", "file", "mention", "quote", "edited")
#: Operators of other languages.
_OPERATORS = frozenset({"OR", "AND", "NOT"})

_QUOTES = '"“”„‟«»＂'
#: A quote ends a phrase only where a blank follows, so that a Hebrew abbreviation may stand in one; and one within a
#: word is a part of it.
_VALUE = rf"(?:[{_QUOTES}](?P<phrase>.*?)(?:[{_QUOTES}](?=\s|$)|$)|(?P<word>\S*))"
_MINUS = r"\s*(?P<minus>[-－−–])?"
_TERM = re.compile(rf"{_MINUS}(?:(?P<field>[^\W\d_]+)[:：])?{_VALUE}", re.DOTALL)
_FIELDLESS = re.compile(rf"{_MINUS}(?P<field>){_VALUE}", re.DOTALL)


@dataclass(frozen=True)
class Query:
    """What is looked for. Words and phrases are folded (`fold_text`); people and chats are as they were written.

    A message must have all of `words` and `phrases` and none of `without`, come from one of `senders` ("me": the
    account) in one of `chats`, be of one of `kinds` and have one of `has`; empty: any. `since`, `until`: Unix seconds,
    both included. Without words it is whatever the rest tells: a window of time over all chats, for one.
    """

    words: tuple[str, ...] = ()
    phrases: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    senders: tuple[str, ...] = ()
    not_senders: tuple[str, ...] = ()
    chats: tuple[str, ...] = ()
    not_chats: tuple[str, ...] = ()
    kinds: frozenset[MessageKind] = frozenset()
    not_kinds: frozenset[MessageKind] = frozenset()
    has: Has = NOTHING
    not_has: Has = NOTHING
    since: float | None = None
    until: float | None = None

    @property
    def terms(self) -> tuple[str, ...]:
        """The words and phrases."""
        return (*self.words, *self.phrases)


class _Term(NamedTuple):
    """A part of a query. `field`: empty for words and phrases. `quoted`: it is a phrase, or a value in quotes."""

    field: str
    value: str
    excluded: bool
    quoted: bool

    @property
    def written(self) -> str:
        """The term as errors tell it."""
        value = f'"{self.value}"' if self.quoted else self.value
        return f"{'-' if self.excluded else ''}{self.field}:{value[:60]}"


def parse(text: str, zone: tzinfo | None) -> Query:
    """The query that a text means. Times without a zone are in `zone`; None: the machine's.

    `after:` takes what `moment` takes and includes it, a day from its beginning; `before:` leaves it out, a whole day
    too. So `after:monday before:wednesday` is Monday and Tuesday, and windows that follow each other share nothing.
    Of several the narrowest counts; several of any other field widen it.

    Raises:
        ValueError: it cannot be understood, or holds nothing. The text says what is wrong and what would be right.
    """
    if len(text) > LONGEST:
        raise ValueError(f"up to {LONGEST} characters are accepted, and it has {len(text):,}")
    terms = list(_terms(text))
    _refuse_operators(text, terms)
    of = {(field, excluded): [each for each in terms if (each.field, each.excluded) == (field, excluded)]
          for field in ("", *_FIELDS) for excluded in (False, True)}  # fmt: skip
    for each in (*of["after", True], *of["before", True]):
        raise ValueError(f"{each.written}: a time cannot be excluded; use {_opposite(each)} instead")
    since = [_second(each, zone) for each in of["after", False]]
    before = [_second(each, zone) for each in of["before", False]]
    found = Query(
        words=_folded(each for each in of["", False] if not each.quoted),
        phrases=_folded(each for each in of["", False] if each.quoted),
        without=_folded(of["", True]),
        senders=_people(of["from", False]),
        not_senders=_people(of["from", True]),
        chats=tuple(each.value for each in of["in", False]),
        not_chats=tuple(each.value for each in of["in", True]),
        kinds=frozenset(_known(each, _KINDS, get_args(MessageKind)) for each in of["kind", False]),
        not_kinds=frozenset(_known(each, _KINDS, get_args(MessageKind)) for each in of["kind", True]),
        has=_any_of(of["has", False]),
        not_has=_any_of(of["has", True]),
        since=max(since, default=None),
        # Messages have whole seconds.
        until=min((math.ceil(each) - 1 for each in before), default=None),
    )
    if found == Query():
        raise ValueError("has no word to search for and no filter, such as after:yesterday")
    if found.since is not None and found.until is not None and found.since > found.until:
        raise ValueError("after: and before: leave no time between them")
    return found


def _terms(text: str) -> Iterator[_Term]:
    at = 0
    while match := _TERM.match(text, at):
        field = fold_text(match["field"] or "")
        valued = bool(match["phrase"] or match["word"])
        if field not in ("", *_FIELDS):
            if valued:
                _refuse_alike(field)
            match = _FIELDLESS.match(text, at) or match
            field = ""
        if match.end() == at:
            return
        at = match.end()
        quoted = match["phrase"] is not None
        value = " ".join((match["phrase"] if quoted else match["word"]).split())
        if field and not value:
            raise ValueError(
                f'{field}: has no value: write it right after the colon, as in {_EXAMPLES[field]}; or "{field}:"'
            )
        # Dashes and quotes alone are no words.
        if field or fold_text(value).strip('-" '):
            yield _Term(field, value, match["minus"] is not None, quoted)


_EXAMPLES: Mapping[str, str] = {
    "from": 'from:Maya, from:"Maya Lee" or from:me',
    "in": 'in:Family or in:"Book club"',
    "kind": "kind:image",
    "has": "has:link",
    "after": "after:yesterday or after:2026-11-30",
    "before": "before:today or before:2026-11-30",
}


def _refuse_alike(field: str) -> None:
    """Refuse what is nearly a field, or one of another language, since as a word it would find nothing."""
    meant = _OTHERS_FIELDS.get(field) or nearest(field, _FIELDS, 0.75)
    if meant:
        raise ValueError(
            f"{field}: is not a field; did you mean {meant}:? The fields are "
            f"{', '.join(f'{each}:' for each in _FIELDS)}; "
            "words with a colon go in quotes"
        )


def _refuse_operators(text: str, terms: list[_Term]) -> None:
    """Refuse OR, AND and NOT among other words, unless all of it is in capitals."""
    inner = terms[1:-1] if len(terms) > 2 else ()
    for each in inner if not text.isupper() else ():
        if not each.field and not each.quoted and each.value in _OPERATORS:
            raise ValueError(
                f"{each.value} is not an operator: a message must have all of the words, and none of those with a - "
                f'before them. For one word or another search twice; for the word itself write "{each.value.lower()}"'
            )


def _opposite(term: _Term) -> str:
    return f"{'before' if term.field == 'after' else 'after'}:{term.value[:60]}"


def _folded(terms: Iterator[_Term] | list[_Term]) -> tuple[str, ...]:
    # A star at the end, for any ending, says nothing more: words are found as parts of words.
    folded = (fold_text(each.value if each.quoted else each.value.rstrip("*") or each.value) for each in terms)
    return tuple(dict.fromkeys(filter(None, folded)))


def _people(terms: list[_Term]) -> tuple[str, ...]:
    return tuple(ME if not each.quoted and fold_text(each.value) == ME else each.value for each in terms)


def _second(term: _Term, zone: tzinfo | None) -> float:
    try:
        found = moment(re.sub(r"(?<=\d)/(?=\d)", "-", term.value), zone)
    except ValueError as error:
        raise ValueError(f"{term.written}: {error}") from None
    second = epoch(found) if isinstance(found, str) else found.timestamp()
    if second is None:
        raise ValueError(f"{term.written}: not a valid time")
    return float(second)


def _known(term: _Term, values: Mapping[str, T], told: tuple[str, ...]) -> T:
    """What a value of `kind:` or `has:` means; plurals too."""
    name = fold_text(term.value)
    found = values.get(name) or values.get(name.removesuffix("s"))
    if found is None:
        raise ValueError(f"{term.written}: must be one of {', '.join(told)}{did_you_mean(name, values)}")
    return found


def _any_of(terms: list[_Term]) -> Has:
    found = NOTHING
    for each in terms:
        found |= _known(each, _HAS, _TOLD_HAS)
    return found
