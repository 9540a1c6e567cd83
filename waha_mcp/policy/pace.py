"""How fast: limits per App and per chat, stricter for first contacts, and a jittered gap between sends."""

from __future__ import annotations

import logging
import math
import random
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import anyio

from waha_mcp.app.policy_fields import Pace

if TYPE_CHECKING:
    from limits import RateLimitItem

logger = logging.getLogger(__name__)

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


#: What one thing was counted against: limits, each with its key.
Counted = list[tuple["RateLimitItem", str]]


class Pacer:
    """The limits of one App, counted in this process or in Redis."""

    def __init__(self, app_id: str, pace: Pace) -> None:
        self._app_id, self._pace = app_id, pace
        self._limiter: Any = None
        self._pool: Any = None
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
        wanted = self._wanted(chats, first)
        counted: Counted = []
        async with self._turn:
            await self._wait_for_gap()
            try:
                for what, item, key in wanted:
                    if not await self._ask("hit", item, key):
                        raise TooFast(await self._until(item, key), f"Over the App's limit of {item} {what}")
                    counted.append((item, key))
            except BaseException:
                await self.give_back(counted)
                raise
            self._next = time.monotonic() + random.uniform(*self._pace.gap)  # noqa: S311 - no secret
        return counted

    async def give_back(self, counted: Counted) -> None:
        """Count it no more, because it did not happen. Goes through in a call that is cancelled, too."""
        with anyio.move_on_after(GIVE_BACK, shield=True):
            for item, key in counted:
                try:
                    await self._forget(item.key_for(self._app_id, key))
                except Exception as error:  # it stays counted, which only makes the App slower
                    logger.warning("What was not sent stays counted: %s", type(error).__name__)

    async def _forget(self, key: str) -> None:
        """Take out the newest entry of one limit's window: the library has no call for it."""
        storage = self._counter().storage
        if self._pool is None:
            if events := storage.events.get(key):
                del events[0]
        else:
            from redis.asyncio import Redis

            client: Any = Redis(connection_pool=self._pool)
            await client.lpop(storage.bridge.prefixed_key(key))

    async def check(self, chats: Iterable[str], first: Iterable[str]) -> None:
        """As `take`, without counting or waiting."""
        for what, item, key in self._wanted(chats, first):
            if not await self._ask("test", item, key):
                raise TooFast(await self._until(item, key), f"Over the App's limit of {item} {what}")

    def _wanted(self, chats: Iterable[str], first: Iterable[str]) -> list[tuple[str, RateLimitItem, str]]:
        pace = self._pace
        # The narrower first: what they stop is not counted against the wider.
        wanted: list[tuple[str, RateLimitItem, str]] = []
        for chat in sorted(set(chats)):
            wanted += [("to one chat", item, f"chat:{chat}") for item in self._parsed(pace.chat)]
        for _ in set(first):
            wanted += [("first contacts", item, "first") for item in self._parsed(pace.first_contacts)]
        return [*wanted, *(("in all", item, "total") for item in self._parsed(pace.total))]

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

    async def _ask(self, what: str, item: RateLimitItem, key: str) -> bool:
        try:
            return bool(await getattr(self._counter(), what)(item, self._app_id, key))
        except Exception as error:
            raise PaceUnknown(type(error).__name__) from error

    async def _until(self, item: RateLimitItem, key: str) -> float:
        try:
            stats = await self._counter().get_window_stats(item, self._app_id, key)
        except Exception as error:
            raise PaceUnknown(type(error).__name__) from error
        return float(stats.reset_time) - time.time()

    def _counter(self) -> Any:
        if self._limiter is None:
            from limits.aio.storage import MemoryStorage
            from limits.aio.strategies import MovingWindowRateLimiter

            self._limiter = MovingWindowRateLimiter(MemoryStorage() if self._pace.redis is None else self._redis())
        return self._limiter

    def _redis(self) -> Any:
        from limits.aio.storage import RedisStorage
        from redis.asyncio import ConnectionPool

        assert self._pace.redis is not None
        url = self._pace.redis.get_secret_value()
        self._pool = ConnectionPool.from_url(url, socket_timeout=2, socket_connect_timeout=2)
        return RedisStorage(
            "async+redis://", implementation="redispy", key_prefix="waha-mcp", connection_pool=self._pool
        )

    async def aclose(self) -> None:
        """Close the connections to Redis, where there are any."""
        pool, self._pool, self._limiter = self._pool, None, None
        if pool is not None:
            await pool.disconnect()
