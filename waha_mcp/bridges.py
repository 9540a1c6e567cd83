"""The bridges of a process that serves many Apps: one per App and key, created on demand, closed when idle."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial

import anyio
from anyio.abc import TaskGroup, TaskStatus

from waha_mcp.app.definition import App
from waha_mcp.bridge import ALONE, Bridge, Shared
from waha_mcp.waha.errors import WahaError
from waha_mcp.waha.shared_events import SharedEvents

logger = logging.getLogger(__name__)

#: Most bridges at a time, and seconds without a request after which one is closed.
MOST, IDLE = 1_000, 600.0
#: Most bridges of one App at a time, so that its narrowed variants cannot crowd out other Apps.
MOST_OF_ONE = 8
#: Seconds after which WAHA is asked again about a key in use; before a retry when it did not answer; and that a
#: request waits for the answer.
RECHECK, RETRY, ANSWER = 60.0, 10.0, 5.0
#: Seconds between two rounds over the bridges; after which an unused one closes its connections to WAHA; and that
#: bridges have to close at shutdown.
ROUND, RESTING, CLOSING = 5.0, 5.0, 5.0
#: Seconds for telling the clients of a bridge that it is retired.
TELLING = 2.0


class KeyRefused(Exception):
    """WAHA does not know the key (any more)."""


class AdminKey(Exception):
    """The key is an admin key, which would put no limit on the agent."""


class Unconfirmed(Exception):
    """WAHA could not be asked about the key, and no definition vouches for it."""


class TooMany(Exception):
    """The limit of bridges, in total or for the App, is reached, and all are in use."""


async def _always(_: App) -> bool:
    return True


@dataclass(eq=False)
class _Entry:
    """A bridge and its use. Times are of the monotonic clock."""

    #: The App as defined, before requests narrow it.
    whole: App
    #: App, key and what the request narrows. A changed definition with the same key replaces the entry.
    key: tuple[object, ...]
    bridge: Bridge
    #: Whether it is no longer lent to requests.
    retired: bool = False
    #: Set when it is to close.
    ended: anyio.Event = field(default_factory=anyio.Event)
    #: Requests that use it, initially the one that caused it.
    leases: int = 1
    used: float = field(default_factory=time.monotonic)
    #: When WAHA is to be asked about the key.
    due: float = 0.0
    checking: anyio.Lock = field(default_factory=anyio.Lock)


class Bridges:
    """Lends bridges to requests, while `run` is entered."""

    def __init__(
        self,
        *,
        most: int = MOST,
        idle: float = IDLE,
        stands: Callable[[App], Awaitable[bool]] = _always,
        shared: Shared = ALONE,
    ) -> None:
        """`stands`: whether an App is still to be served with this definition; asked each round."""
        self._events = SharedEvents()
        self._shared = replace(shared, events=self._events)
        self._most, self._idle, self._stands = most, idle, stands
        self._entries: dict[tuple[object, ...], _Entry] = {}
        #: The open ones, including retired ones.
        self._open: dict[Bridge, _Entry] = {}
        self._making = anyio.Lock()
        self._tasks: TaskGroup | None = None
        #: Awaited with each retired bridge, so that the streams of its clients end.
        self.retiring: set[Callable[[Bridge], Awaitable[object]]] = set()
        #: Called with each bridge that is closed.
        self.closed: set[Callable[[Bridge], object]] = set()
        #: Awaited with each App whose key WAHA refused or whose tools changed.
        self.changed: set[Callable[[App], Awaitable[object]]] = set()

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Bridge]:
        return iter([entry.bridge for entry in self._entries.values()])

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """Keep the bridges while the block runs, and close all of them at its end."""
        upkeep = anyio.CancelScope()
        async with anyio.create_task_group() as tasks:
            self._tasks = tasks
            self._events.start = tasks.start_soon
            tasks.start_soon(self._keep, upkeep)
            try:
                yield
            finally:
                self._tasks = None
                upkeep.cancel()
                tasks.cancel_scope.deadline = anyio.current_time() + CLOSING
                # Calls that were cut off still have to write their outcome.
                while any(entry.leases for entry in self._open.values()):  # noqa: ASYNC110 - once, for a moment
                    await anyio.sleep(0.02)
                for entry in self._open.values():
                    entry.ended.set()

    @asynccontextmanager
    async def lease(self, app: App, whole: App | None = None, *, vouched: bool = True) -> AsyncIterator[Bridge]:
        """The App's bridge, which stays open while the block runs.

        `whole`: the App that the request narrowed to `app`. `vouched`: a definition names the key.

        Raises:
            KeyRefused, AdminKey, Unconfirmed, TooMany: it gets none.
            AppError: the App names an unknown toolset or tool.
        """
        entry = await self._leased(app, whole or app)
        try:
            await self._check(entry)
            key = entry.bridge.key
            if key.unauthorized:
                raise KeyRefused
            if key.admin:
                # The bridge stays, so that the next request need not ask WAHA again.
                raise AdminKey
            if not key.identified and not vouched:
                raise Unconfirmed
            yield entry.bridge
        finally:
            self._give_back(entry)
            with anyio.CancelScope(shield=True):
                await self._drop_if_refused(entry)

    @contextmanager
    def using(self, bridge: Bridge) -> Iterator[None]:
        """Keep a leased bridge open while the block runs, even beyond the lease."""
        entry = self._open.get(bridge)
        if entry is None:
            yield
            return
        entry.leases += 1
        try:
            yield
        finally:
            self._give_back(entry)

    def doubt(self, concerns: Callable[[App], bool]) -> None:
        """Have WAHA confirm the keys of these Apps: at once for those in use, otherwise before the next request."""
        for entry in self._entries.values():
            if concerns(entry.whole):
                entry.due = 0.0
                if entry.leases and self._tasks is not None:
                    self._tasks.start_soon(self._check, entry)

    @staticmethod
    def _give_back(entry: _Entry) -> None:
        entry.leases -= 1
        entry.used = time.monotonic()
        if entry.retired and not entry.leases:
            entry.ended.set()

    async def _leased(self, app: App, whole: App) -> _Entry:
        # Each narrowing has its own bridge; any other difference means that the definition changed.
        key = (app.identity, app.exclude)
        if (entry := self._taken(key, app, whole)) is not None:
            return entry
        async with self._making:
            # Another request may have created it meanwhile.
            if (entry := self._taken(key, app, whole)) is not None:
                return entry
            self._make_room(app.id)
            if self._tasks is None:
                raise TooMany
            made: _Entry = await self._tasks.start(self._work, app, whole, key)
            return made

    def _taken(self, key: tuple[object, ...], app: App, whole: App) -> _Entry | None:
        """The entry for a key, leased once more; None if there is none with this definition."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        if (entry.bridge.app, entry.whole) != (app, whole):
            self._retire(entry)
            return None
        entry.leases += 1
        return entry

    def _make_room(self, app_id: str) -> None:
        """Make room for another bridge of an App, first among its own.

        Raises:
            TooMany: all candidates are in use.
        """
        own = [entry for entry in self._entries.values() if entry.whole.id == app_id]
        for entries, most in ((own, MOST_OF_ONE), ([*self._entries.values()], self._most)):
            if len(entries) < most:
                continue
            idle = [entry for entry in entries if not entry.leases]
            if not idle:
                raise TooMany
            self._retire(min(idle, key=lambda entry: entry.used))
            return

    async def _work(self, app: App, whole: App, key: tuple[object, ...], *, task_status: TaskStatus[_Entry]) -> None:
        """Keep a bridge open until `ended` is set; one task enters and leaves it."""
        entry = None
        try:
            async with Bridge(app, shared=self._shared) as bridge:
                entry = self._entries[key] = _Entry(whole, key, bridge)
                self._open[bridge] = entry
                bridge.listeners.add(partial(self._tell, whole))
                task_status.started(entry)
                await entry.ended.wait()
        except Exception:
            if entry is None:
                raise
            logger.exception("The bridge of App %s has failed", app.id)
            self._retire(entry)
        finally:
            if entry is not None:
                if not entry.retired:  # the request that caused it was cancelled, or the process ends
                    entry.retired = True
                    del self._entries[key]
                del self._open[entry.bridge]
                for listener in tuple(self.closed):
                    listener(entry.bridge)

    async def _check(self, entry: _Entry) -> None:
        """Ask WAHA about the key if due; without an answer nothing changes."""
        if time.monotonic() < entry.due:
            return
        async with entry.checking:
            if time.monotonic() < entry.due:
                return
            first, entry.due = entry.due == 0.0 and not entry.bridge.key.identified, time.monotonic() + RETRY
            with anyio.move_on_after(ANSWER):
                if first:
                    # The bridge asks by itself when it starts.
                    await entry.bridge.key.settle(ANSWER)
                try:
                    if not first or not entry.bridge.key.identified:
                        await entry.bridge.key.confirm()
                    entry.due = time.monotonic() + RECHECK
                except WahaError as error:
                    logger.info("WAHA does not answer about the key of App %s: %s", entry.whole.id, error)
        await self._drop_if_refused(entry)

    async def _drop_if_refused(self, entry: _Entry) -> None:
        if entry.bridge.key.unauthorized and self._retire(entry):
            await self._tell(entry.whole)

    async def _tell(self, app: App) -> None:
        for listener in tuple(self.changed):
            await listener(app)

    def _retire(self, entry: _Entry) -> bool:
        """Stop lending the bridge, and close it once it is unused; False if it was retired already."""
        if entry.retired:
            return False
        entry.retired = True
        del self._entries[entry.key]
        if self._tasks is not None:
            # In the background: a client that does not read must not block others.
            self._tasks.start_soon(self._send_off, entry)
        return True

    async def _send_off(self, entry: _Entry) -> None:
        """Tell the clients of a retired bridge, and close it unless a request uses it."""
        for listener in tuple(self.retiring):
            try:
                with anyio.move_on_after(TELLING):
                    await listener(entry.bridge)
            except Exception:  # must not end the other tasks
                logger.exception("The clients of App %s could not be told of a change", entry.whole.id)
        if not entry.leases:
            entry.ended.set()

    async def _keep(self, upkeep: anyio.CancelScope) -> None:
        with upkeep:
            while True:
                await anyio.sleep(ROUND)
                for entry in tuple(self._entries.values()):
                    try:
                        await self._look_after(entry)
                    except Exception:
                        logger.exception("The bridge of App %s could not be looked after", entry.whole.id)

    async def _look_after(self, entry: _Entry) -> None:
        unused = 0.0 if entry.leases else time.monotonic() - entry.used
        # Also without requests: a bridge may be filling its index.
        if unused > self._idle or not await self._stands(entry.whole):
            self._retire(entry)
        elif entry.leases and self._tasks is not None:
            self._tasks.start_soon(self._check, entry)
        elif unused > RESTING:
            await entry.bridge.waha.rest()
