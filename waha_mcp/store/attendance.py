"""Which clients the processes that serve an App have, and how these hear what happens: each writes down its own.

The store has one row per process and bridge. Those of processes that have ended count for nothing, and are deleted by
the next who reads or writes some.
"""

from __future__ import annotations

import json
import logging
import secrets
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

import anyio

from waha_mcp.store import Store, StoreAway, in_thread, put, remove

logger = logging.getLogger(__name__)

#: Seconds after a change until it is written, so that what waits for the server goes first.
SOON = 0.3
#: Seconds after which it is written again that a client is still there.
AGAIN = 60.0
#: Seconds after its last request for which a client over HTTP counts as there.
LINGERS = 600.0
#: Most clients of a bridge that are written down: those that came last.
MOST = 50
#: Keys are `<App id>/<Store.process>/<a random number>`.
_TABLE = "presence"


@dataclass(frozen=True)
class Client:
    """A client. `name`: with its version, as it says itself; `over`: its transport, if any; times in Unix seconds."""

    name: str
    over: str
    since: float
    seen: float


@dataclass(frozen=True)
class Present:
    """One bridge at work. `feed` and `why`: how it hears what happens, as `feed.live.Feed` has `state` and `why`."""

    feed: str
    why: str | None
    clients: tuple[Client, ...]


class Presence:
    """What one bridge writes down of itself, while `start` runs functions in the background."""

    def __init__(self, app_id: str, store: Callable[[], Store], feed: Callable[[], tuple[str, str | None]]) -> None:
        """`store` is asked for once something is written. `feed`: how the bridge hears now, and why."""
        self._app_id, self._store, self._feed = app_id, store, feed
        self.start: Callable[..., object] | None = None
        self._number = secrets.token_hex(4)
        self._clients: dict[tuple[str, str], Client] = {}
        #: Whether a writing is to come.
        self._due = False
        #: When it was written last (monotonic clock), and under which key.
        self._written, self._key = float("-inf"), ""

    def saw(self, name: str, over: str) -> None:
        """Note that a client has made a request."""
        now = time.time()
        known = self._clients.pop((name, over), None)
        self._clients[name, over] = Client(name, over, now, now) if known is None else replace(known, seen=now)
        while len(self._clients) > MOST:
            del self._clients[next(iter(self._clients))]
        if known is None or time.monotonic() - self._written > AGAIN:
            self.changed()

    def changed(self) -> None:
        """See to it that what is so now gets written."""
        if self.start is not None and not self._due:
            self._due = True
            self.start(self._write_soon)

    async def _write_soon(self) -> None:
        await anyio.sleep(SOON)
        self._due, self._written = False, time.monotonic()
        try:
            await in_thread(self._write)
        except StoreAway as error:
            logger.debug("The connected clients cannot be stored: %s", error)

    def _write(self) -> None:
        store, (feed, why) = self._store(), self._feed()
        key = f"{self._app_id}/{store.process}/{self._number}"
        if key != self._key:
            # What others have left goes. The store may also have been opened again under another id.
            present(store, self._app_id)
            self._key = key
        row = {"feed": feed, "why": why, "clients": [asdict(each) for each in tuple(self._clients.values())]}
        put(store, _TABLE, key, json.dumps(row))

    def end(self) -> None:
        """Delete what is written, where the process goes on without the bridge. Blocks; never raises."""
        try:
            if self._key:
                remove(self._store(), _TABLE, self._key)
        except StoreAway as error:
            logger.debug("The end of a bridge cannot be stored: %s", error)


def present(store: Store, app_id: str) -> list[Present]:
    """The bridges of an App that are at work now, in any process. Blocks.

    Raises:
        StoreAway: the store cannot be read or written.
    """
    found = []
    for row in store.rows(_TABLE, f"{app_id}/"):
        if store.alive(row.key.split("/")[1]):
            found.append(_read(row.value, store.now()))
        else:
            store.swap(_TABLE, row.key, row.value, None)
    return found


def _read(text: str, now: float) -> Present:
    row = json.loads(text)
    clients = (Client(**each) for each in row["clients"])
    # Others than those over HTTP are there for as long as their process.
    there = tuple(each for each in clients if each.over != "http" or now - each.seen < LINGERS)
    return Present(row["feed"], row["why"], there)
