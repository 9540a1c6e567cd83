"""How fast: limits in all and per chat, stricter for first contacts, and a jittered gap between sends.

What is counted is the account's: all Apps and processes that use it count together, in the store, and each App compares
the counts with limits of its own. An App that names a Redis counts there instead, by itself, over several machines.
"""

from __future__ import annotations

import logging
import math
import random
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import anyio

from waha_mcp.app.policy_fields import Pace
from waha_mcp.store import Count, Full, Limit, Store, StoreAway, Taken, in_thread

if TYPE_CHECKING:
    from limits import RateLimitItem
    from pydantic import SecretStr

logger = logging.getLogger(__name__)

T = TypeVar("T")

#: The longest gap (seconds) that is waited out inside a call; the rest of a longer one is answered as a wait.
MAX_WAIT = 3.0
#: Seconds for giving back what was counted.
GIVE_BACK = 2.0


class TooFast(Exception):
    """Over a limit. `wait` is seconds until it is worth trying again."""

    def __init__(self, wait: float, what: str) -> None:
        super().__init__(f"{what}: try again in {max(1, math.ceil(wait))} s")
        self.wait = wait


class PaceUnknown(Exception):
    """The limits are kept elsewhere, and cannot be asked there."""


@dataclass(frozen=True)
class Kind:
    """Effects that are counted together. `what` names them in words; `limits` are those of this App, if it has any."""

    what: str
    key: str
    limits: Sequence[RateLimitItem]


#: What can be given back: where it was counted, and what the store, or Redis, knows it by.
Counted = tuple["_Counter", Any]


class _Counter(Protocol):
    """Where effects are counted."""

    async def take(self, kinds: Sequence[Kind]) -> Any:
        """Count one effect of each kind, or none; what it returns can be given back. Raises as `Pacer.take`."""
        ...

    async def check(self, kinds: Sequence[Kind]) -> None:
        """As `take`, without counting."""
        ...

    async def give_back(self, taken: Any) -> None:
        """Count it no more."""
        ...


class Pacer:
    """The limits of one App."""

    def __init__(self, app_id: str, pace: Pace, store: Store, account: Callable[[], Awaitable[str]]) -> None:
        """`account` gives the account's name in the store."""
        self._pace = pace
        self._redis = _InRedis(app_id, pace.redis) if pace.redis is not None else None
        self._counter: _Counter = self._redis or _InStore(store, account)
        self._items: dict[str, list[RateLimitItem]] = {}
        self._next = 0.0
        self._turn = anyio.Lock()

    async def take(self, chats: Iterable[str], first: Iterable[str]) -> Counted:
        """Count one thing that reaches `chats`, of which `first` were never written to; waits out a short gap.

        What it returns can be given back. Where it fails or is cancelled, nothing stays counted.

        Raises:
            TooFast: over a limit.
            PaceUnknown: the limits cannot be asked; nothing may be done.
        """
        kinds = self._kinds(chats, first)
        async with self._turn:
            await self._wait_for_gap()
            counted = (self._counter, await self._counter.take(kinds))
            self._next = time.monotonic() + random.uniform(*self._pace.gap)  # noqa: S311 - no secret
        return counted

    async def give_back(self, counted: Counted) -> None:
        """Count it no more, because it did not happen. Goes through in a call that is cancelled, too."""
        counter, taken = counted
        with anyio.move_on_after(GIVE_BACK, shield=True):
            try:
                await counter.give_back(taken)
            except Exception as error:  # it stays counted, which only makes the App slower
                logger.warning("What was not sent stays counted: %s", type(error).__name__)

    async def check(self, chats: Iterable[str], first: Iterable[str]) -> None:
        """As `take`, without counting or waiting."""
        await self._counter.check(self._kinds(chats, first))

    def _kinds(self, chats: Iterable[str], first: Iterable[str]) -> list[Kind]:
        pace = self._pace
        # The narrower first: what they stop is not counted against the wider.
        to_one = [Kind("to one chat", f"chat:{chat}", self._parsed(pace.chat)) for chat in sorted(set(chats))]
        contacts = [Kind("first contacts", "first", self._parsed(pace.first_contacts)) for _ in set(first)]
        return [*to_one, *contacts, Kind("in all", "total", self._parsed(pace.total))]

    def _parsed(self, rates: str) -> list[RateLimitItem]:
        if not rates:
            return []
        if rates not in self._items:
            from limits import parse_many  # kept off the start-up path

            self._items[rates] = parse_many(rates)
        return self._items[rates]

    async def _wait_for_gap(self) -> None:
        wait = self._next - time.monotonic()
        if wait > MAX_WAIT:
            raise TooFast(wait, "Too soon after the last send")
        if wait > 0:
            await anyio.sleep(wait)

    async def aclose(self) -> None:
        """Close the connections to Redis, where there are any."""
        if self._redis is not None:
            await self._redis.aclose()


def _over(item: RateLimitItem, what: str, wait: float) -> TooFast:
    return TooFast(wait, f"Over the App's limit of {item} {what}")


class _InStore:
    """Counted in the store, under the account."""

    def __init__(self, store: Store, account: Callable[[], Awaitable[str]]) -> None:
        self._store, self._account = store, account

    async def take(self, kinds: Sequence[Kind]) -> Taken:
        return await self._ask(self._store.take, kinds)

    async def check(self, kinds: Sequence[Kind]) -> None:
        await self._ask(self._store.check, kinds)

    async def give_back(self, taken: Taken) -> None:
        await in_thread(self._store.give_back, taken)

    async def _ask(self, step: Callable[[Sequence[Count]], T], kinds: Sequence[Kind]) -> T:
        try:
            account = await self._account()
            counts = {
                id(kind): Count(
                    f"{account}/{kind.key}", tuple(Limit(item.amount, item.get_expiry()) for item in kind.limits)
                )
                for kind in kinds
            }
            return await in_thread(step, list(counts.values()))
        except StoreAway as error:
            raise PaceUnknown(str(error)) from None
        except Full as full:
            [kind, *_] = [kind for kind in kinds if counts[id(kind)] is full.count]
            item = kind.limits[full.count.limits.index(full.limit)]
            raise _over(item, kind.what, full.wait) from None


class _InRedis:
    """Counted in Redis, under the App."""

    def __init__(self, app_id: str, url: SecretStr) -> None:
        self._app_id, self._url = app_id, url
        self._limiter: Any = None
        self._pool: Any = None

    async def take(self, kinds: Sequence[Kind]) -> list[tuple[RateLimitItem, str]]:
        taken: list[tuple[RateLimitItem, str]] = []
        try:
            for kind in kinds:
                for item in kind.limits:
                    await self._ask("hit", kind, item)
                    taken.append((item, kind.key))
        except BaseException:
            with anyio.move_on_after(GIVE_BACK, shield=True):
                await self.give_back(taken)
            raise
        return taken

    async def check(self, kinds: Sequence[Kind]) -> None:
        for kind in kinds:
            for item in kind.limits:
                await self._ask("test", kind, item)

    async def give_back(self, taken: Sequence[tuple[RateLimitItem, str]]) -> None:
        for item, key in taken:
            await self._forget(item.key_for(self._app_id, key))

    async def _ask(self, what: str, kind: Kind, item: RateLimitItem) -> None:
        """Raises TooFast where the limit has no room."""
        try:
            if await getattr(self._counter(), what)(item, self._app_id, kind.key):
                return
            stats = await self._counter().get_window_stats(item, self._app_id, kind.key)
        except Exception as error:
            raise PaceUnknown(type(error).__name__) from error
        raise _over(item, kind.what, float(stats.reset_time) - time.time())

    async def _forget(self, key: str) -> None:
        """Take out the newest entry of one limit's window: the library has no call for it."""
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
