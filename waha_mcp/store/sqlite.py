"""A store in one SQLite file, shared by all processes of a user on one machine.

While a damaged file exists beside it (see `database`), every step raises StoreAway: the counts are lost, and the user
decides whether they may start from zero, by deleting the damaged file or moving it away.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from sqlite3 import Connection

from waha_mcp.store import KEPT, Count, Full, Row, StoreAway, Taken
from waha_mcp.store.database import Damaged, Database

#: Appended to a prefix: the upper bound of the keys with it.
_END = "\U0010ffff"


class Sqlite(Database):
    """A Store in a file."""

    shared = False

    MIGRATIONS = (
        (
            """CREATE TABLE row (
                number INTEGER PRIMARY KEY AUTOINCREMENT,
                tab TEXT NOT NULL,
                key TEXT NOT NULL,
                value TEXT NOT NULL,
                expires REAL,
                UNIQUE (tab, key)
            )""",
            "CREATE INDEX row_expires ON row (expires) WHERE expires IS NOT NULL",
            "CREATE TABLE event (number INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL, at REAL NOT NULL)",
            "CREATE INDEX event_key ON event (key, at)",
            "CREATE INDEX event_at ON event (at)",
        ),
    )
    WHAT = "store"

    def now(self) -> float:
        return time.time()

    def get(self, table: str, key: str) -> str | None:
        with self.step() as connection:
            return self._get(connection, table, key)

    def _get(self, connection: Connection, table: str, key: str) -> str | None:
        found = connection.execute(
            "SELECT value FROM row WHERE tab = ? AND key = ? AND (expires IS NULL OR expires > ?)",
            (table, key, self.now()),
        ).fetchone()
        return None if found is None else str(found[0])

    def rows(self, table: str, prefix: str = "") -> list[Row]:
        with self.step() as connection:
            found = connection.execute(
                "SELECT key, value FROM row WHERE tab = ? AND key >= ? AND key < ?"
                " AND (expires IS NULL OR expires > ?) ORDER BY number",
                (table, prefix, prefix + _END, self.now()),
            )
            return [Row(key, value) for key, value in found]

    def swap(
        self, table: str, key: str, before: str | None, after: str | None, *, expires: float | None = None
    ) -> bool:
        with self.step(write=True) as connection:
            connection.execute("DELETE FROM row WHERE expires <= ?", (self.now(),))
            if self._get(connection, table, key) != before:
                return False
            if after is None:
                connection.execute("DELETE FROM row WHERE tab = ? AND key = ?", (table, key))
            else:
                connection.execute(
                    "INSERT INTO row (tab, key, value, expires) VALUES (?, ?, ?, ?)"
                    " ON CONFLICT (tab, key) DO UPDATE SET value = excluded.value, expires = excluded.expires",
                    (table, key, after, expires),
                )
            return True

    def claim(self, table: str, wanted: Mapping[str, str]) -> dict[str, str]:
        with self.step(write=True) as connection:
            connection.execute("DELETE FROM row WHERE expires <= ?", (self.now(),))
            connection.executemany(
                "INSERT INTO row (tab, key, value) VALUES (?, ?, ?) ON CONFLICT (tab, key) DO NOTHING",
                [(table, key, value) for key, value in wanted.items()],
            )
            found = ((key, self._get(connection, table, key)) for key in wanted)
            return {key: value for key, value in found if value is not None}

    def trim(self, table: str, prefix: str, most: int) -> None:
        of = (table, prefix, prefix + _END)
        with self.step(write=True) as connection:
            [count] = connection.execute(
                "SELECT count(*) FROM row WHERE tab = ? AND key >= ? AND key < ?", of
            ).fetchone()
            if count > most:
                connection.execute(
                    "DELETE FROM row WHERE number IN"
                    " (SELECT number FROM row WHERE tab = ? AND key >= ? AND key < ? ORDER BY number LIMIT ?)",
                    (*of, count - (most - most // 10)),
                )

    def take(self, counts: Iterable[Count]) -> Taken:
        with self.step(write=True) as connection:
            return self._take(connection, counts)

    def check(self, counts: Iterable[Count]) -> None:
        with contextlib.suppress(_Undone), self.step(write=True) as connection:
            self._take(connection, counts)
            raise _Undone

    def _take(self, connection: Connection, counts: Iterable[Count]) -> list[int]:
        now = self.now()
        taken: list[int] = []
        connection.execute("DELETE FROM event WHERE at <= ?", (now - KEPT,))
        # Events in the future (the clock was set back) count as of now.
        connection.execute("UPDATE event SET at = ? WHERE at > ?", (now, now))
        for each in counts:
            for limit in each.limits:
                standing = connection.execute(
                    "SELECT at FROM event WHERE key = ? AND at > ? ORDER BY at DESC LIMIT 1 OFFSET ?",
                    (each.key, now - limit.window, limit.amount - 1),
                ).fetchone()
                if standing is not None:
                    raise Full(each, limit, standing[0] + limit.window - now)
            cursor = connection.execute("INSERT INTO event (key, at) VALUES (?, ?)", (each.key, now))
            assert cursor.lastrowid is not None
            taken.append(cursor.lastrowid)
        return taken

    def give_back(self, taken: Taken) -> None:
        with self.step(write=True) as connection:
            connection.executemany("DELETE FROM event WHERE number = ?", [(number,) for number in taken])

    def events(self, prefix: str, window: float) -> dict[str, list[float]]:
        now = self.now()
        times: dict[str, list[float]] = {}
        with self.step() as connection:
            found = connection.execute(
                "SELECT key, at FROM event WHERE key >= ? AND key < ? AND at > ? ORDER BY at",
                (prefix, prefix + _END, now - window),
            )
            for key, at in found:
                times.setdefault(key, []).append(min(at, now))
        return times

    # The file

    def _check(self, connection: Connection) -> None:
        [found] = connection.execute("PRAGMA quick_check(1)").fetchone()
        if found != "ok":
            raise Damaged(str(found).replace("\n", " "))

    def _refuse_damaged(self) -> None:
        if aside := self.damaged():
            raise self._lost(aside[0])

    def _lost(self, aside: Path) -> StoreAway:
        return self._away(
            f"it was damaged and was moved to {aside}. Delete that file or move it to another folder, and the "
            "records of recent sends, first contacts, open questions and pauses start from zero"
        )


class _Undone(Exception):
    """Raised to roll back a transaction that only checks."""
