"""One WebSocket per account for all bridges of a process that listen to it, each with its own key.

The connection is opened with the key of the first listener and ends when that one leaves: another listener then opens
the next one with its own key. Before a listener joins, WAHA is asked whether its key may read, a check that WAHA itself
makes when a socket opens.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import anyio
from anyio.streams.memory import MemoryObjectSendStream

from waha_mcp.app.actions import Action
from waha_mcp.waha.client import Waha
from waha_mcp.waha.errors import Forbidden, Unauthorized, WahaError
from waha_mcp.waha.event_socket import Arrived, NoEvents, NoneForThisKey
from waha_mcp.waha.key_probe import PROBES

logger = logging.getLogger(__name__)

#: Events buffered per listener; a listener that falls further behind is disconnected, and catches up over REST.
WAITING = 512


class SharedEvents:
    """The connections of one process."""

    def __init__(self) -> None:
        #: Starts a task in the background (`start_soon` of a task group).
        self.start: Callable[..., object] | None = None
        self._connections: dict[tuple[str, str | None], _Connection] = {}

    @asynccontextmanager
    async def listening(self, waha: Waha) -> AsyncIterator[AsyncIterator[Arrived]]:
        """Like `Waha.listening`, over the account's connection.

        Raises:
            NoEvents: there is no connection, or it has ended; also raised inside the block, while iterating.
        """
        assert self.start is not None
        place = waha.url, waha.session
        connection = self._connections.get(place)
        if connection is None:
            connection = self._connections[place] = _Connection(waha, partial(self._forget, place))
            self.start(connection.run)
        else:
            await _check(waha)
        send, receive = anyio.create_memory_object_stream[Arrived](WAITING)
        connection.listeners.add(send)
        try:
            await connection.ready.wait()
            connection.raise_if_ended(waha)
            yield _arriving(connection, waha, receive)
        finally:
            connection.listeners.discard(send)
            send.close()
            receive.close()
            if waha is connection.opener:
                connection.cancel()

    def _forget(self, place: tuple[str, str | None], connection: _Connection) -> None:
        if self._connections.get(place) is connection:
            del self._connections[place]


class _Connection:
    """One connection, opened with the key of `opener`."""

    def __init__(self, opener: Waha, forget: Callable[[_Connection], object]) -> None:
        self.opener = opener
        self.listeners: set[MemoryObjectSendStream[Arrived]] = set()
        #: Set once the connection is up or has failed.
        self.ready = anyio.Event()
        self._scope = anyio.CancelScope()
        self._forget, self._why = forget, NoEvents("the connection broke")
        self._over = False

    async def run(self) -> None:
        """Pass each message to all listeners, until the connection ends."""
        try:
            with self._scope:
                async with self.opener.listening() as arriving:
                    self.ready.set()
                    async for arrived in arriving:
                        self._hand_out(arrived)
        except NoEvents as why:
            self._why = why
        except Exception:  # it must not stop other tasks
            logger.exception("Listening for events failed")
        finally:
            self._over = True
            self._forget(self)
            self.ready.set()
            for listener in self.listeners:
                listener.close()

    def cancel(self) -> None:
        """End it."""
        self._forget(self)
        self._scope.cancel()

    def raise_if_ended(self, waha: Waha) -> None:
        """Raise the reason if the connection has ended. A refusal of the opener's key does not concern the others."""
        if self._over and isinstance(self._why, NoneForThisKey) and waha is not self.opener:
            raise NoEvents("the connection was closed")
        if self._over:
            raise type(self._why)(str(self._why))

    def _hand_out(self, arrived: Arrived) -> None:
        for listener in tuple(self.listeners):
            try:
                listener.send_nowait(arrived)
            except anyio.WouldBlock:
                self.listeners.discard(listener)
                listener.close()


async def _arriving(connection: _Connection, waha: Waha, receive: Any) -> AsyncIterator[Arrived]:
    async for arrived in receive:
        yield arrived
    connection.raise_if_ended(waha)
    raise NoEvents("too many events came at once")


async def _check(waha: Waha) -> None:
    """Check that a key may read, and so listen.

    Raises:
        NoEvents: it may not, or WAHA gives no answer.
    """
    try:
        await waha.call(PROBES[Action.READ])
    except (Unauthorized, Forbidden):
        raise NoneForThisKey("WAHA does not let this key receive events") from None
    except WahaError:
        raise NoEvents("WAHA does not say whether this key may listen") from None
