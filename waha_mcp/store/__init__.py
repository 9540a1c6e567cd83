"""The Store interface for state that outlives a call; implemented in SQLite and in Redis.

A store holds rows (a text under a table and a key) and events (a key and a time), whose meaning is up to the caller.
Its methods block: usually for about a millisecond, at most about `sqlite.WAIT` seconds while another process holds the
file or Redis does not answer. Call them from an event loop through `in_thread`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar, TypeVarTuple

import anyio
import anyio.to_thread

#: Seconds for which an event is kept: the longest window of a limit.
KEPT = 86_400.0
#: Seconds by which a clock may be set back harmlessly. A permission dated further in the future is void: nobody can
#: tell how long it would still be valid.
ASTRAY = 5.0

T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")


class StoreAway(Exception):
    """The store cannot be read or written, so its contents are unknown. The text is one line for the user."""


@dataclass(frozen=True)
class Row:
    key: str
    value: str


@dataclass(frozen=True)
class Limit:
    """At most `amount` events in any `window` seconds (sliding window, at most `KEPT`)."""

    amount: int
    window: float


@dataclass(frozen=True)
class Count:
    """One event to count under a key, and its limits. An event without limits still counts for callers with some."""

    key: str
    limits: tuple[Limit, ...] = ()


class Full(Exception):
    """A limit is reached, so nothing was counted. `wait`: seconds until there is room."""

    def __init__(self, count: Count, limit: Limit, wait: float) -> None:
        super().__init__(f"{limit.amount} per {limit.window:.0f} s: free in {wait:.0f} s")
        self.count, self.limit, self.wait = count, limit, wait


#: The ids of the events that `take` has counted, as this store has them, for `give_back`.
Taken = Sequence[int | str]


class Store(Protocol):
    """Each method is atomic among all threads and processes that use the store, and may raise StoreAway.

    If a method that writes raises it, the write may still have happened.
    """

    @property
    def shared(self) -> bool:
        """Whether processes on other machines may use it, too."""
        ...

    @property
    def process(self) -> str:
        """The id of this open store, for `alive`."""
        ...

    def alive(self, process: str) -> bool:
        """Whether the store with this id is still open in its process."""
        ...

    def now(self) -> float:
        """The current time in Unix seconds, by the clock that all users of the store share. Hardly ever blocks."""
        ...

    def get(self, table: str, key: str) -> str | None:
        """The value under a key; None if there is none or it has expired."""
        ...

    def rows(self, table: str, prefix: str = "") -> list[Row]:
        """The rows whose keys begin with `prefix`, in order of creation; without expired ones."""
        ...

    def swap(
        self, table: str, key: str, before: str | None, after: str | None, *, expires: float | None = None
    ) -> bool:
        """Compare and swap: replace the value `before` by `after` (None: no row); False if the value is not `before`.

        The row expires at `expires` (Unix seconds; None: never).
        """
        ...

    def claim(self, table: str, wanted: Mapping[str, str]) -> dict[str, str]:
        """Add the rows (key to value) whose keys are free; return the resulting values of all these keys."""
        ...

    def trim(self, table: str, prefix: str, most: int) -> None:
        """If more than `most` keys begin with `prefix`, delete the oldest rows down to nine tenths of `most`."""
        ...

    def take(self, counts: Iterable[Count]) -> Taken:
        """Count all events, or none.

        Raises:
            Full: the first limit that is reached.
        """
        ...

    def check(self, counts: Iterable[Count]) -> None:
        """Raise as `take` would, without counting."""
        ...

    def give_back(self, taken: Taken) -> None:
        """Delete events, because they did not happen."""
        ...

    def events(self, prefix: str, window: float) -> dict[str, list[float]]:
        """When the events of the last `window` seconds happened (Unix seconds, oldest first), by their keys.

        Of the keys that begin with `prefix`; a key without such events is left out.
        """
        ...

    def flush(self) -> None:
        """Sync all writes to disk, so that they survive a power cut and deleted rows leave no trace.

        Skipped if another process is writing at the moment.
        """
        ...

    def close(self) -> None:
        """Close files and release locks. The next step opens the store again, under another id."""
        ...


def put(store: Store, table: str, key: str, value: str, *, expires: float | None = None) -> None:
    """Write a row unconditionally. Blocks, and may raise StoreAway."""
    while not store.swap(table, key, store.get(table, key), value, expires=expires):
        pass


def remove(store: Store, table: str, key: str) -> bool:
    """Delete a row unconditionally; whether there was one. Blocks, and may raise StoreAway."""
    while (before := store.get(table, key)) is not None:
        if store.swap(table, key, before, None):
            return True
    return False


def away(store: Store) -> str | None:
    """Why the store cannot be written now, in one line for the user; None: it can. Blocks."""
    try:
        # The cheapest step that writes.
        store.swap("probe", "", None, None)
    except StoreAway as error:
        return str(error)
    return None


async def in_thread(step: Callable[[*Arguments], T], *arguments: *Arguments) -> T:
    """Run a function that blocks on a store in a worker thread, shielded from cancellation until it returns."""
    with anyio.CancelScope(shield=True):
        answer = await anyio.to_thread.run_sync(step, *arguments)
    return answer  # noqa: RET504 - a scope may swallow what it holds, as far as types know
