"""State that outlives a call: one small interface, kept in memory or in a file that the user's processes share.

A store holds rows (one text under a table and a key) and events (that something was counted at a time). It knows
nothing of what they mean. Its methods block: a step takes well under a millisecond, and as long as `sqlite.WAIT`
where another process holds the file. An event loop calls them, and functions made of several, through `in_thread`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar, TypeVarTuple

import anyio
import anyio.to_thread

#: Seconds that an event is kept: the longest window that can be asked about.
KEPT = 86_400.0

T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")


class StoreAway(Exception):
    """The store cannot be read or written, so nothing is known of what it holds. The text is one line for the user."""


@dataclass(frozen=True)
class Row:
    key: str
    value: str


@dataclass(frozen=True)
class Limit:
    """At most `amount` events in any `window` seconds, which are at most `KEPT`."""

    amount: int
    window: float


@dataclass(frozen=True)
class Count:
    """One event to be counted under a key, and what limits it. Without limits it is counted for those who have some."""

    key: str
    limits: tuple[Limit, ...] = ()


class Full(Exception):
    """A limit is reached, so nothing was counted. `wait` is seconds until it is free again."""

    def __init__(self, count: Count, limit: Limit, wait: float) -> None:
        super().__init__(f"{limit.amount} per {limit.window:.0f} s: free in {wait:.0f} s")
        self.count, self.limit, self.wait = count, limit, wait


#: What `take` has counted.
Taken = Sequence[int]


class Store(Protocol):
    """Each method is one step, whole or not at all, among all threads and processes that use the store.

    Every one of them may raise StoreAway.
    """

    @property
    def process(self) -> str:
        """Names whoever has opened this store, for `alive`."""
        ...

    def alive(self, process: str) -> bool:
        """Whether whoever has opened the store under this name still has it open. It ends with their process."""
        ...

    def now(self) -> float:
        """Seconds since 1970, by the clock that all processes share."""
        ...

    def get(self, table: str, key: str) -> str | None:
        """The value under a key; None where there is none, or it has expired."""
        ...

    def rows(self, table: str, prefix: str = "") -> list[Row]:
        """The rows whose keys begin with `prefix`, in the order in which they were first written."""
        ...

    def swap(
        self, table: str, key: str, before: str | None, after: str | None, *, expires: float | None = None
    ) -> bool:
        """Replace a value that is still `before`, with None for no row; whether it was.

        From `expires` (seconds since 1970) on there is no row.
        """
        ...

    def trim(self, table: str, prefix: str, most: int) -> None:
        """Where more than `most` rows have keys that begin with `prefix`, delete the oldest, and a tenth beyond."""
        ...

    def take(self, counts: Iterable[Count]) -> Taken:
        """Count every event, or none.

        Raises:
            Full: the first limit that has no room for it.
        """
        ...

    def check(self, counts: Iterable[Count]) -> None:
        """As `take`, without counting."""
        ...

    def give_back(self, taken: Taken) -> None:
        """Count events no more, because they did not happen."""
        ...

    def close(self) -> None:
        """Close what is open. The store can be used again, under another name."""
        ...


async def in_thread(step: Callable[[*Arguments], T], *arguments: *Arguments) -> T:
    """Call what blocks on a store in a worker thread, to its end: who is cancelled meanwhile still gets its answer."""
    with anyio.CancelScope(shield=True):
        answer = await anyio.to_thread.run_sync(step, *arguments)
    return answer  # noqa: RET504 - a scope may swallow what it holds, as far as types know
