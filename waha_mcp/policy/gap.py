"""The random gap between two sends of an account, over all its Apps and processes: each send reserves its time."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from waha_mcp.store import Store, in_thread

#: Longest time in seconds that a call waits for its turn, however many wait; a longer wait raises TooFast.
MAX_WAIT = 3.0
#: Seconds for which the time of a send is kept: the longest gap that an App can set, and the longest wait.
_KEPT = 60.0 + MAX_WAIT

#: One row per account: a JSON list of the time of the last reserved send (Unix seconds) and a random number (0 to 1)
#: that says where in an App's range the gap after it ends.
_TABLE = "gap"


class TooFast(Exception):
    """Over a limit. `wait`: seconds until a retry may pass."""

    def __init__(self, wait: float, what: str) -> None:
        super().__init__(f"{what}: try again in {max(1, math.ceil(wait))} s")
        self.wait = wait


@dataclass(frozen=True)
class Slot:
    """A reserved time. `before` and `after` are the values of the row `key` before and after it was reserved."""

    key: str
    before: str | None
    after: str
    #: Seconds until the reserved time.
    wait: float


class Gap:
    """The gap of one App: `shortest` and `longest` in seconds."""

    def __init__(self, shortest: float, longest: float, store: Store, account: Callable[[], Awaitable[str]]) -> None:
        """`account` gives the account's key in the store (`OwnAccount.key`)."""
        self._shortest, self._longest = shortest, longest
        self._store, self._account = store, account

    async def reserve(self) -> Slot | None:
        """Reserve the next time for a send; None if the App sets no gap.

        Raises:
            TooFast: it is more than `MAX_WAIT` seconds ahead.
            StoreAway: the store cannot be read or written.
        """
        if self._longest <= 0:
            return None
        return await in_thread(self._reserve, await self._account())

    async def give_back(self, slot: Slot) -> None:
        """Undo a reservation, unless a later one builds on it."""
        await in_thread(self._store.swap, _TABLE, slot.key, slot.after, slot.before)

    def _reserve(self, key: str) -> Slot:
        while True:
            before = self._store.get(_TABLE, key)
            now = self._store.now()
            start = now
            if before is not None:
                last, share = json.loads(before)
                # A time farther ahead than the longest wait was left by a clock that was set back.
                last = last if last <= now + MAX_WAIT else now
                start = max(now, last + self._shortest + share * (self._longest - self._shortest))
            if start - now > MAX_WAIT:
                raise TooFast(start - now, "Too soon after the last send")
            after = json.dumps([start, random.random()])  # noqa: S311 - no secret
            if self._store.swap(_TABLE, key, before, after, expires=start + _KEPT):
                return Slot(key, before, after, start - now)
