"""Rate limits: in total, per chat and for first contacts, in sliding windows; the gap between sends is `gap`'s.

Effects are counted per account in the store, by all its Apps and processes; each App compares the counts with its own
limits. An App that names a Redis counts there instead, per App, over several machines.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import anyio

from waha_mcp.app.policy_fields import Pace, Rate, rates_in
from waha_mcp.policy.gap import Gap, Slot, TooFast
from waha_mcp.store import Count, Full, Limit, Store, Taken, in_thread

if TYPE_CHECKING:
    from limits import RateLimitItem
    from pydantic import SecretStr

logger = logging.getLogger(__name__)

T = TypeVar("T")

#: Timeout in seconds of undoing a count.
GIVE_BACK = 2.0


class PaceUnknown(Exception):
    """Redis, which holds the counts, cannot be asked."""


@dataclass(frozen=True)
class Kind:
    """Effects that share one count. `what`: its name in errors; `key`: its name in the store; `limits`: this App's."""

    what: str
    key: str
    limits: Sequence[Rate]


@dataclass(frozen=True)
class Counted:
    """A count that can be undone: the counter's own record of it, and the reserved time."""

    taken: Any
    slot: Slot | None


class _Counter(Protocol):
    """Counts effects, in the store or in Redis."""

    async def take(self, kinds: Sequence[Kind]) -> Any:
        """Count one effect of each kind, all or nothing; the value is for `give_back`. Raises as `Pacer.take`."""
        ...

    async def check(self, kinds: Sequence[Kind]) -> None:
        """Raise as `take` would, without counting."""
        ...

    async def give_back(self, taken: Any) -> None:
        """Undo a `take`."""
        ...


class Pacer:
    """The limits of one App."""

    def __init__(self, app_id: str, pace: Pace, store: Store, account: Callable[[], Awaitable[str]]) -> None:
        """`account` gives the account's key in the store (`OwnAccount.key`)."""
        self._total, self._chat, self._first = map(rates_in, (pace.total, pace.chat, pace.first_contacts))
        self._redis = _InRedis(app_id, pace.redis) if pace.redis is not None else None
        self._counter: _Counter = self._redis or _InStore(store, account)
        self._gap = Gap(*pace.gap, store, account)

    async def take(self, chats: Iterable[str], first: Iterable[str]) -> Counted:
        """Count one effect that reaches `chats`, of which `first` are first contacts; waits for its turn.

        The value is for `give_back`. If this raises or is cancelled, nothing stays counted.

        Raises:
            TooFast: over a limit.
            PaceUnknown, StoreAway: the counts cannot be read, so nothing may be done.
        """
        slot = await self._gap.reserve()
        try:
            if slot is not None:
                await anyio.sleep(slot.wait)
            return Counted(await self._counter.take(self._kinds(chats, first)), slot)
        except BaseException:
            await self._undo(None, slot)
            raise

    async def give_back(self, counted: Counted) -> None:
        """Undo a `take` whose effect did not happen. Shielded from cancellation; errors are logged."""
        await self._undo(counted.taken, counted.slot)

    async def _undo(self, taken: Any, slot: Slot | None) -> None:
        with anyio.move_on_after(GIVE_BACK, shield=True):
            try:
                if taken is not None:
                    await self._counter.give_back(taken)
                if slot is not None:
                    await self._gap.give_back(slot)
            except Exception as error:  # it stays counted, which only makes the App slower
                logger.warning("What was not sent stays counted: %s", type(error).__name__)

    async def check(self, chats: Iterable[str], first: Iterable[str]) -> None:
        """Raise as `take` would, without counting or waiting for the gap."""
        await self._counter.check(self._kinds(chats, first))

    @property
    def first_at_once(self) -> int:
        """How many first contacts may pass at once; 0 without a limit on them."""
        return min((rate.amount for rate in self._first), default=0)

    def _kinds(self, chats: Iterable[str], first: Iterable[str]) -> list[Kind]:
        # Narrow limits first: an effect that they refuse is not counted against the wider ones.
        to_one = [Kind("to one chat", f"chat:{chat}", self._chat) for chat in sorted(set(chats))]
        contacts = [Kind("first contacts", "first", self._first) for _ in set(first)]
        return [*to_one, *contacts, Kind("in all", "total", self._total)]

    async def aclose(self) -> None:
        """Close the connections to Redis, if any."""
        if self._redis is not None:
            await self._redis.aclose()


def _over(rate: Rate, what: str, wait: float) -> TooFast:
    return TooFast(wait, f"Over the App's limit of {rate} {what}")


class _InStore:
    """Counts in the store, per account."""

    def __init__(self, store: Store, account: Callable[[], Awaitable[str]]) -> None:
        self._store, self._account = store, account

    async def take(self, kinds: Sequence[Kind]) -> Taken:
        return await self._ask(self._store.take, kinds)

    async def check(self, kinds: Sequence[Kind]) -> None:
        await self._ask(self._store.check, kinds)

    async def give_back(self, taken: Taken) -> None:
        await in_thread(self._store.give_back, taken)

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
            raise _over(rate, kind.what, full.wait) from None


class _InRedis:
    """Counts in Redis, per App."""

    def __init__(self, app_id: str, url: SecretStr) -> None:
        self._app_id, self._url = app_id, url
        self._limiter: Any = None
        self._pool: Any = None

    async def take(self, kinds: Sequence[Kind]) -> list[tuple[Rate, str]]:
        taken: list[tuple[Rate, str]] = []
        try:
            for kind in kinds:
                for rate in kind.limits:
                    await self._ask("hit", kind, rate)
                    taken.append((rate, kind.key))
        except BaseException:
            with anyio.move_on_after(GIVE_BACK, shield=True):
                await self.give_back(taken)
            raise
        return taken

    async def check(self, kinds: Sequence[Kind]) -> None:
        for kind in kinds:
            for rate in kind.limits:
                await self._ask("test", kind, rate)

    async def give_back(self, taken: Sequence[tuple[Rate, str]]) -> None:
        for rate, key in taken:
            await self._forget(_item(rate).key_for(self._app_id, key))

    async def _ask(self, what: str, kind: Kind, rate: Rate) -> None:
        """Call the limiter's method `what` (hit or test). Raises TooFast over the limit, PaceUnknown on errors."""
        try:
            item = _item(rate)
            if await getattr(self._counter(), what)(item, self._app_id, kind.key):
                return
            stats = await self._counter().get_window_stats(item, self._app_id, kind.key)
        except Exception as error:
            raise PaceUnknown(type(error).__name__) from error
        raise _over(rate, kind.what, float(stats.reset_time) - time.time())

    async def _forget(self, key: str) -> None:
        """Remove the newest entry of a limit's sliding window; the library has no method for it."""
        from redis.asyncio import Redis

        storage = self._counter().storage
        client: Any = Redis(connection_pool=self._pool)
        await client.lpop(storage.bridge.prefixed_key(key))

    def _counter(self) -> Any:
        if self._limiter is None:
            from limits.aio.storage import RedisStorage
            from limits.aio.strategies import MovingWindowRateLimiter
            from redis.asyncio import ConnectionPool

            url = self._url.get_secret_value()
            self._pool = ConnectionPool.from_url(url, socket_timeout=2, socket_connect_timeout=2)
            storage = RedisStorage(
                "async+redis://", implementation="redispy", key_prefix="waha-mcp", connection_pool=self._pool
            )
            self._limiter = MovingWindowRateLimiter(storage)
        return self._limiter

    async def aclose(self) -> None:
        pool, self._pool, self._limiter = self._pool, None, None
        if pool is not None:
            await pool.disconnect()


def _item(rate: Rate) -> RateLimitItem:
    from limits import parse

    return parse(f"{rate.amount}/{rate.period}")
