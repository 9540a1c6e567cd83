"""References: short ids that answers give for messages, chats and cursors, instead of the long ones.

A reference is a letter, eight digits and a check digit (Luhn): `m482915036`. The digits come from a keyed digest of
its target, so that a message has the same one in every answer, and another App or key has another one. The target is
kept in the store for good: no reference ever gets another one. Two references differ in at least two
digits.
"""

from __future__ import annotations

import base64
import contextlib
import hmac
import logging
import re
from collections.abc import Callable, Iterable, Mapping

from pydantic import SecretStr

from waha_mcp.store import Store, StoreAway, in_thread
from waha_mcp.tools.catalog import ArgumentError
from waha_mcp.waha.marks import ReferenceKind
from waha_mcp.whatsapp.ids import MESSAGE_ID_IN_TEXT

logger = logging.getLogger(__name__)

_TABLE = "reference"
_REFERENCE = re.compile(r"\s*([mgnpc])([1-9][0-9]{8})\s*", re.ASCII)
#: Smallest number of eight digits, and how many there are.
_FIRST, _COUNT = 10_000_000, 90_000_000
#: References that this process remembers.
_REMEMBERED = 20_000
#: What one stands for in words, and where to get one.
_WHAT: Mapping[str, str] = {
    "m": "a message",
    "g": "a group",
    "n": "a channel",
    "p": "a person",
    "c": "a place in a list",
}
_SOURCE: Mapping[str, str] = {
    "m": "take the id from get_messages or search_messages again",
    "gnp": "give the chat's name or number, or take the id from list_chats or find_chats again",
    "c": "pass the one that the last page gave, or ask for the first page again, without a cursor",
    "mc": "take an id or cursor from an answer again, or leave it out",
}


class References:
    """The references of one App under one key."""

    def __init__(self, app_id: str, key: SecretStr, store: Store) -> None:
        """Makes no request, and does not open the store yet."""
        self._key = key.get_secret_value().encode()
        self._prefix = f"{app_id}/{hmac.digest(self._key, app_id.encode(), 'sha256').hex()[:16]}/"
        self._store = store
        #: The targets of references, and the reverse.
        self._known: dict[str, str] = {}
        self._given: dict[tuple[ReferenceKind, str], str] = {}

    async def shorten(self, long: Iterable[tuple[ReferenceKind, str]]) -> Mapping[tuple[ReferenceKind, str], str]:
        """References for full ids and cursors. While the store is away, those without one stay as they are."""
        wanted = list(dict.fromkeys(long))
        new = [each for each in wanted if each not in self._given]
        if new:
            try:
                found = await in_thread(self._claimed, new)
            except StoreAway as error:
                logger.warning("Answers give long ids: %s", error)
            else:
                self._remember({reference: text for (_, text), reference in found.items()})
                self._given |= found
        return {each: self._given.get(each, each[1]) for each in wanted}

    def _claimed(self, long: list[tuple[ReferenceKind, str]]) -> dict[tuple[ReferenceKind, str], str]:
        found: dict[tuple[ReferenceKind, str], str] = {}
        turn = 0
        while long:
            candidates = {each: self._candidate(*each, turn) for each in long}
            # Of two with the same digits, the first gets them.
            wanted = {self._prefix + candidates[each]: each[1] for each in reversed(long)}
            held = self._store.claim(_TABLE, wanted)
            got = {each: name for each, name in candidates.items() if held.get(self._prefix + name) == each[1]}
            found |= got
            long = [each for each in long if each not in got]
            turn += 1
        return found

    def _candidate(self, kind: ReferenceKind, text: str, turn: int) -> str:
        digest = hmac.digest(self._key, f"{self._prefix}{kind}{turn}/{text}".encode(), "sha256")
        digits = str(_FIRST + int.from_bytes(digest[:8]) % _COUNT)
        return f"{kind}{digits}{_check_digit(digits)}"

    async def expand(self, kinds: str, value: str, name: str) -> str:
        """What a reference of these kinds ("m", "gnp", "c" or "mc") stands for; any other value as it is.

        `name`: of the argument, for errors.

        Raises:
            ArgumentError: it stands for nothing here, or for something of another kind, or this process does not know
                it and the store is away.
        """
        match = _REFERENCE.fullmatch(value)
        if match is None:
            return value
        reference = match[1] + match[2]
        if match[1] not in kinds:
            raise ArgumentError(f"{name}: {reference} stands for {_WHAT[match[1]]}; {_SOURCE[kinds]}")
        text = self._known.get(reference)
        if text is None and _check_digit(match[2][:-1]) == match[2][-1]:
            try:
                text = await in_thread(self._store.get, _TABLE, self._prefix + reference)
            except StoreAway as error:
                raise ArgumentError(
                    f"{name}: what {reference} stands for cannot be looked up, and nothing was done; {_SOURCE[kinds]}: "
                    f"it will be a long one while the store is away. {error}"
                ) from None
        if not text:
            raise ArgumentError(f"{name}: {reference} was not given by any answer to this App; {_SOURCE[kinds]}")
        self._remember({reference: text})
        return text

    def _remember(self, known: Mapping[str, str]) -> None:
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
            self._given.clear()
        self._known |= known

    async def in_text(self, text: str) -> str:
        """A text of ours, such as an error, with references for the message ids in it."""
        found = {match[0] for match in MESSAGE_ID_IN_TEXT.finditer(text)}
        if not found:
            return text
        short = await self.shorten(("m", each) for each in found)
        return MESSAGE_ID_IN_TEXT.sub(lambda match: short["m", match[0]], text)


def _check_digit(digits: str) -> str:
    """Luhn's check digit."""
    doubled = (int(digit) * (2 - at % 2) for at, digit in enumerate(reversed(digits)))
    return str(-sum(number - 9 * (number > 9) for number in doubled) % 10)


def forget(store: Store, prefix: str, about: Callable[[str], bool]) -> int:
    """Empty the references whose targets are `about` the chats to forget; return how many.

    `prefix`: of the keys in the store. Their digits stay taken.

    Raises:
        StoreAway: the store cannot be read or written.
    """
    found = [row for row in store.rows(_TABLE, prefix) if row.value and about(_plain(row.value))]
    return sum(store.swap(_TABLE, row.key, row.value, "") for row in found)


def _plain(long: str) -> str:
    """A full id, or what a full cursor holds."""
    with contextlib.suppress(ValueError):
        return base64.urlsafe_b64decode(long + "=" * (-len(long) % 4)).decode()
    return long
