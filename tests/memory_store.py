"""A store in memory, for one process."""

from __future__ import annotations

import bisect
import secrets
import threading
import time
from collections.abc import Iterable, Mapping
from itertools import count

from waha_mcp.store import KEPT, Count, Full, Row, Taken


class Memory:
    """A Store in this process's memory."""

    shared = False

    def __init__(self) -> None:
        self.process = secrets.token_hex(8)
        self._lock = threading.Lock()
        self._rows: dict[tuple[str, str], tuple[str, float | None]] = {}
        #: Key to the (time, id) pairs of its events, sorted.
        self._events: dict[str, list[tuple[float, int]]] = {}
        self._numbers = count(1)

    def alive(self, process: str) -> bool:
        return process == self.process

    def now(self) -> float:
        return time.time()

    def get(self, table: str, key: str) -> str | None:
        with self._lock:
            return self._get(table, key)

    def _get(self, table: str, key: str) -> str | None:
        value, expires = self._rows.get((table, key), (None, None))
        return value if expires is None or expires > self.now() else None

    def rows(self, table: str, prefix: str = "") -> list[Row]:
        with self._lock:
            return self._found(table, prefix)

    def _found(self, table: str, prefix: str) -> list[Row]:
        keys = [key for of, key in self._rows if of == table and key.startswith(prefix)]
        return [Row(key, value) for key in keys if (value := self._get(table, key)) is not None]

    def swap(
        self, table: str, key: str, before: str | None, after: str | None, *, expires: float | None = None
    ) -> bool:
        with self._lock:
            now = self.now()
            for gone in [at for at, (_, until) in self._rows.items() if until is not None and until <= now]:
                del self._rows[gone]
            if self._get(table, key) != before:
                return False
            if after is None:
                self._rows.pop((table, key), None)
            else:
                self._rows[table, key] = (after, expires)
            return True

    def claim(self, table: str, wanted: Mapping[str, str]) -> dict[str, str]:
        with self._lock:
            for key, value in wanted.items():
                if self._get(table, key) is None:
                    self._rows[table, key] = (value, None)
            return {key: self._rows[table, key][0] for key in wanted}

    def trim(self, table: str, prefix: str, most: int) -> None:
        with self._lock:
            found = self._found(table, prefix)
            if len(found) > most:
                for row in found[: len(found) - (most - most // 10)]:
                    del self._rows[table, row.key]

    def take(self, counts: Iterable[Count]) -> Taken:
        return self._take(counts, keep=True)

    def check(self, counts: Iterable[Count]) -> None:
        self._take(counts, keep=False)

    def _take(self, counts: Iterable[Count], *, keep: bool) -> list[int]:
        taken: list[int] = []
        done = False
        with self._lock:
            now = self.now()
            for key, events in list(self._events.items()):
                # Events in the future (after the clock was set back) count as of now.
                events[:] = [(min(at, now), number) for at, number in events if at > now - KEPT]
                if not events:
                    del self._events[key]
            try:
                for each in counts:
                    events = self._events.setdefault(each.key, [])
                    for limit in each.limits:
                        since = events[-limit.amount][0] if len(events) >= limit.amount else None
                        if since is not None and since > now - limit.window:
                            raise Full(each, limit, since + limit.window - now)
                    number = next(self._numbers)
                    bisect.insort(events, (now, number))
                    taken.append(number)
                done = keep
            finally:
                if not done:
                    self._remove(taken)
        return taken

    def give_back(self, taken: Taken) -> None:
        with self._lock:
            self._remove(taken)

    def events(self, prefix: str, window: float) -> dict[str, list[float]]:
        now = self.now()
        with self._lock:
            found = {
                key: [min(at, now) for at, _ in events if at > now - window]
                for key, events in self._events.items()
                if key.startswith(prefix)
            }
        return {key: times for key, times in found.items() if times}

    def _remove(self, taken: Taken) -> None:
        gone = set(taken)
        for events in self._events.values():
            events[:] = [event for event in events if event[1] not in gone]

    def flush(self) -> None:
        pass

    def close(self) -> None:
        pass
