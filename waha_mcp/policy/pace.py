"""Rate limits: in total, per chat and for first contacts, in sliding windows; the gap between sends is `gap`'s.

Effects are counted per account in the store, by all its Apps and processes; each App compares the counts with its own
limits.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import anyio

from waha_mcp.app.policy_fields import Pace, Rate, rates_in
from waha_mcp.policy.gap import Gap, Slot, TooFast
from waha_mcp.store import Count, Full, Limit, Store, Taken, in_thread

logger = logging.getLogger(__name__)

T = TypeVar("T")

#: For how many chats the used share of a limit is reported.
FULLEST = 3
#: Prefix of the keys of counts per chat in the store.
_CHAT = "chat:"
#: Timeout in seconds of undoing a count.
GIVE_BACK = 2.0


@dataclass(frozen=True)
class Kind:
    """Effects that share one count. `what`: its name in errors; `key`: its name in the store; `limits`: this App's."""

    what: str
    key: str
    limits: Sequence[Rate]


def _to_one(chat: str, limits: Sequence[Rate]) -> Kind:
    return Kind("to one chat", f"{_CHAT}{chat}", limits)


def _first(limits: Sequence[Rate]) -> Kind:
    return Kind("first contacts", "first", limits)


def _in_all(limits: Sequence[Rate]) -> Kind:
    return Kind("in all", "total", limits)


@dataclass(frozen=True)
class Counted:
    """A count that can be undone: what the store has counted, and the reserved time."""

    taken: Taken
    slot: Slot | None


@dataclass(frozen=True)
class Used:
    """How much of one limit of an App is used now, by all Apps of its account together.

    `what`: as in `Kind`. `used` None: not known. `chat`: whose count it is, of a limit per chat; None: anybody's.
    """

    what: str
    rate: Rate
    used: int | None
    chat: str | None = None

    @property
    def share(self) -> float:
        """The used share of the limit, from 0 on: a limit that was lowered may be exceeded."""
        return (self.used or 0) / self.rate.amount


def used(pace: Pace, store: Store, account: str | None) -> list[Used]:
    """How much of each limit is used; of those per chat, of the `FULLEST` chats. Blocks.

    `account`: its key in the store (`OwnAccount.key`); None: not known, and the store is not asked.

    Raises:
        StoreAway: the counts cannot be read.
    """
    total, chat, first = map(rates_in, (pace.total, pace.chat, pace.first_contacts))
    window = max((rate.window for rate in (*total, *chat, *first)), default=0.0)
    times = store.events(f"{account}/", window) if account and window else {}
    now = store.now() if times else 0.0

    def of(kind: Kind, to: str | None = None) -> list[Used]:
        found = times.get(f"{account}/{kind.key}", ())
        counts = [sum(at > now - rate.window for at in found) if account else None for rate in kind.limits]
        return [Used(kind.what, rate, count, to) for rate, count in zip(kind.limits, counts, strict=True)]

    prefix = f"{account}/{_CHAT}"
    chats = [key.removeprefix(prefix) for key in times if key.startswith(prefix)]
    counted = [rows for rows in (of(_to_one(each, chat), each) for each in chats) if any(row.used for row in rows)]
    counted.sort(key=lambda rows: max(row.share for row in rows), reverse=True)
    fullest = counted[:FULLEST] or [of(_to_one("", chat))]
    return [*of(_in_all(total)), *of(_first(first)), *(row for rows in fullest for row in rows)]


class Pacer:
    """The limits of one App."""

    def __init__(self, pace: Pace, store: Store, account: Callable[[], Awaitable[str]]) -> None:
        """`account` gives the account's key in the store (`OwnAccount.key`)."""
        self._total, self._chat, self._first = map(rates_in, (pace.total, pace.chat, pace.first_contacts))
        self._store, self._account = store, account
        self._gap = Gap(*pace.gap, store, account)

    async def take(self, chats: Iterable[str], first: Iterable[str]) -> Counted:
        """Count one effect that reaches `chats`, of which `first` are first contacts; waits for its turn.

        The value is for `give_back`. If this raises or is cancelled, nothing stays counted.

        Raises:
            TooFast: over a limit.
            StoreAway: the counts cannot be read, so nothing may be done.
        """
        slot = await self._gap.reserve()
        try:
            if slot is not None:
                await anyio.sleep(slot.wait)
            return Counted(await self._ask(self._store.take, self._kinds(chats, first)), slot)
        except BaseException:
            await self._undo(None, slot)
            raise

    async def give_back(self, counted: Counted) -> None:
        """Undo a `take` whose effect did not happen. Shielded from cancellation; errors are logged."""
        await self._undo(counted.taken, counted.slot)

    async def _undo(self, taken: Taken | None, slot: Slot | None) -> None:
        with anyio.move_on_after(GIVE_BACK, shield=True):
            try:
                if taken is not None:
                    await in_thread(self._store.give_back, taken)
                if slot is not None:
                    await self._gap.give_back(slot)
            except Exception as error:  # it stays counted, which only makes the App slower
                logger.warning("A call that sent nothing stays counted: %s", type(error).__name__)

    async def check(self, chats: Iterable[str], first: Iterable[str]) -> None:
        """Raise as `take` would, without counting or waiting for the gap."""
        await self._ask(self._store.check, self._kinds(chats, first))

    @property
    def first_at_once(self) -> int:
        """How many first contacts may pass at once; 0 without a limit on them."""
        return min((rate.amount for rate in self._first), default=0)

    def _kinds(self, chats: Iterable[str], first: Iterable[str]) -> list[Kind]:
        # Narrow limits first: an effect that they refuse is not counted against the wider ones.
        to_one = [_to_one(chat, self._chat) for chat in sorted(set(chats))]
        contacts = [_first(self._first) for _ in set(first)]
        return [*to_one, *contacts, _in_all(self._total)]

    async def _ask(self, step: Callable[[Sequence[Count]], T], kinds: Sequence[Kind]) -> T:
        account = await self._account()
        counts = [
            Count(f"{account}/{kind.key}", tuple(Limit(rate.amount, rate.window) for rate in kind.limits))
            for kind in kinds
        ]
        try:
            return await in_thread(step, counts)
        except Full as full:
            # Equal counts are of one key, so the first of them has the words.
            kind = kinds[counts.index(full.count)]
            rate = kind.limits[full.count.limits.index(full.limit)]
            raise TooFast(full.wait, f"Over the App's limit of {rate} {kind.what}") from None
