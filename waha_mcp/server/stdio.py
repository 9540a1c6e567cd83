"""The stdio transport: serves one client; the process ends when the client closes stdin or stdout.

It replaces the SDK's transport, which does not answer malformed lines, has no limit on their length, applies no back
pressure, and does not survive a closed stdout.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Self

import anyio
from mcp.shared.dispatcher import coerce_request_id
from mcp.shared.jsonrpc_dispatcher import cancelled_request_id_from_params
from mcp.shared.message import SessionMessage
from mcp.types import (
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    JSONRPCError,
    JSONRPCMessage,
    JSONRPCNotification,
    JSONRPCRequest,
    JSONRPCResponse,
    RequestId,
)

from waha_mcp.bridge import Bridge
from waha_mcp.concurrency import stop_signals
from waha_mcp.server.lines import Rejected, read_line, write_line
from waha_mcp.server.prepared import Prepared
from waha_mcp.server.protocol import Protocol
from waha_mcp.server.rehearsal import Rehearsal
from waha_mcp.server.wire import TooLong, Wire

if TYPE_CHECKING:
    from waha_mcp.server.channel import Channel

logger = logging.getLogger(__name__)

#: Seconds to wait, after stdin closes, for requests in flight, and for the last lines to be written. Hosts kill a
#: server that has not ended after 2 s.
LAST_ANSWERS, LAST_LINES = 1.5, 0.4


async def serve_stdio(
    bridge: Bridge, wire: Wire, prepared: Prepared | None = None, channel: Channel | None = None
) -> None:
    """Serve until stdin or stdout is closed. SIGTERM or SIGINT ends the process at once.

    `prepared`: where the opening is stored for the next start; None: nowhere. With `channel`, messages are sent to the
    client as they arrive.
    """
    protocol = Protocol(lambda _: bridge)
    if channel is not None:
        protocol.server.middleware.insert(0, channel.middleware)
    _rebind()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_exit_on_signal, bridge)
        rehearsal = Rehearsal(bridge, protocol, prepared)
        connection = _Connection(protocol, wire, rehearsal, handshake=channel is not None)
        async with bridge:
            tasks.start_soon(rehearsal.watch)
            await protocol.server.run(
                connection.incoming, connection.outgoing, protocol.server.create_initialization_options()
            )
        tasks.cancel_scope.cancel()


async def _exit_on_signal(bridge: Bridge) -> None:
    """End the process on SIGTERM or SIGINT, without unwinding: requests already sent are not affected by it."""
    with stop_signals() as stopped:
        number = await stopped()
        logger.info("Stopped by %s", number.name)
        bridge.end_trail()
        logging.shutdown()
        os._exit(0)


def _rebind() -> None:
    """On Windows, point the standard handles to the descriptors that `Wire` has put in their place."""
    if sys.platform == "win32":
        from mcp.os.win32.utilities import rebind_std_handle_to_fd

        for descriptor in (0, 1):
            with suppress(OSError):
                rebind_std_handle_to_fd(descriptor)


class _Connection:
    """The connection to the client: messages to and from the wire's threads.

    `handshake`: a client that asks whether the newer protocol era is served is told no, and opens with `initialize`.
    """

    def __init__(self, protocol: Protocol, wire: Wire, rehearsal: Rehearsal, *, handshake: bool = False) -> None:
        self._protocol, self._wire, self._rehearsal = protocol, wire, rehearsal
        self._handshake = handshake
        self._loop = asyncio.get_running_loop()
        #: The ids of unanswered requests, by the id as the SDK coerces it (7 and "7" are equal).
        self._open: dict[RequestId, RequestId] = {}
        self._answered = anyio.Event()
        self._arrived, self._items = anyio.create_memory_object_stream[JSONRPCMessage | Rejected](1)
        #: Back pressure: the reading thread acquires it for each item, the loop releases it when it takes the item.
        self._taken = threading.Semaphore()
        self.incoming, self.outgoing = _Incoming(self), _Outgoing(self)
        #: What arrived before the event loop ran.
        self._early = deque(wire.connect(self._receive, lambda: self._tell(self._arrived.close)))

    # In threads

    def _receive(self, line: bytes | TooLong) -> bool:
        if (item := read_line(line)) is None:
            return True
        self._taken.acquire()
        return self._tell(partial(self._arrive, item))

    def _tell(self, what: Callable[[], object]) -> bool:
        try:
            self._loop.call_soon_threadsafe(what)
        except RuntimeError:  # the loop has ended
            return False
        return True

    # In the loop

    def _arrive(self, item: JSONRPCMessage | Rejected) -> None:
        with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
            self._arrived.send_nowait(item)

    async def next_message(self) -> JSONRPCMessage:
        """The client's next message. Malformed lines before it are answered with errors.

        Raises:
            EndOfStream: stdin has ended, and open requests had `LAST_ANSWERS` seconds. The SDK cancels the rest.
        """
        while True:
            item = await self._next()
            match item:
                case None:
                    continue
                case Rejected():
                    await self.say(item)
                    if item.answer is not None:
                        return item.answer
                case JSONRPCRequest(id=number) if coerce_request_id(number) in self._open:
                    # An error under this id would look like the answer to the first request.
                    wrong = f"The id {number!r} is in use by a request that is not answered yet; this one was not done"
                    await self.say(Rejected(None, INVALID_REQUEST, wrong))
                case JSONRPCRequest(method="server/discover", id=number) if self._handshake:
                    # The SDK would serve all that follows in the era of the first request.
                    await self.say(Rejected(number, METHOD_NOT_FOUND, "Method not found: server/discover"))
                case JSONRPCNotification(method="notifications/cancelled") if not self._cancels(item):
                    logger.info("A cancellation names no open request")
                case _:
                    self._note(item)
                    return item

    async def _next(self) -> JSONRPCMessage | Rejected | None:
        if self._early:
            line, result = self._early.popleft()
            item = read_line(line)
            return self._rehearsal.repeated(item, result) if result is not None else item
        try:
            item = await self._items.receive()
        except anyio.EndOfStream:
            await self._linger()
            raise
        self._taken.release()
        return item

    def _note(self, item: JSONRPCMessage) -> None:
        match item:
            case JSONRPCRequest(id=number):
                self._open[coerce_request_id(number)] = number
                self._rehearsal.asked(item)
            case JSONRPCNotification(method="notifications/cancelled", params=params):
                if (cancelled := cancelled_request_id_from_params(params)) is not None:
                    self._close(cancelled)

    def _cancels(self, item: JSONRPCNotification) -> bool:
        """Whether it names an open request by the same id and type; the SDK would not tell 7 from "7"."""
        number = cancelled_request_id_from_params(item.params)
        named = self._open.get(coerce_request_id(number)) if number is not None else None
        return named is not None and type(named) is type(number) and named == number

    def _close(self, number: RequestId) -> None:
        self._open.pop(coerce_request_id(number), None)
        if not self._open:
            self._answered.set()

    async def _linger(self) -> None:
        """Wait for open requests: a piped conversation closes stdin right after the last request."""
        self._protocol.end_subscriptions()
        with anyio.move_on_after(LAST_ANSWERS):
            while self._open:
                self._answered = anyio.Event()
                await self._answered.wait()

    async def say(self, message: JSONRPCMessage | Rejected) -> None:
        """Write a message; returns when it is written or stdout is closed.

        If this is cancelled, the message is still written, complete and in order.
        """
        match message:
            case JSONRPCResponse(id=number) | JSONRPCError(id=number) if number is not None:
                # A client may use the id again as soon as it has read this.
                self._close(number)
        if not isinstance(message, Rejected) and self._rehearsal.answered(message):
            return  # as it was already
        await self._put(write_line(message))

    async def _put(self, line: bytes) -> None:
        written = anyio.Event()
        self._wire.write(line, lambda: self._tell(written.set))
        await written.wait()

    async def last_lines(self) -> None:
        with anyio.move_on_after(LAST_LINES, shield=True):
            await self._put(b"")


class _Stream:
    """One direction of a connection, in the interface of the SDK's streams."""

    def __init__(self, connection: _Connection) -> None:
        self._connection = connection

    async def aclose(self) -> None:
        """Do nothing: reading ends with stdin."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        await self.aclose()


class _Incoming(_Stream):
    """The stream of the client's messages for the SDK."""

    async def receive(self) -> SessionMessage | Exception:
        return SessionMessage(await self._connection.next_message())

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> SessionMessage | Exception:
        try:
            return await self.receive()
        except anyio.EndOfStream:
            raise StopAsyncIteration from None


class _Outgoing(_Stream):
    """The stream of messages to the client for the SDK."""

    async def send(self, item: SessionMessage) -> None:
        await self._connection.say(item.message)

    async def aclose(self) -> None:
        await self._connection.last_lines()
