"""Serving one client over stdin and stdout: the process lives as long as the client keeps stdin open."""

from __future__ import annotations

import logging
import os
import signal
import sys
from types import TracebackType
from typing import Self

import anyio
from mcp.server.stdio import stdio_server
from mcp.shared._stream_protocols import ReadStream, WriteStream
from mcp.shared.message import SessionMessage
from mcp.types import JSONRPCError, JSONRPCNotification, JSONRPCRequest, JSONRPCResponse, RequestId

from waha_mcp.bridge import Bridge
from waha_mcp.server.protocol import Protocol

logger = logging.getLogger(__name__)

#: Seconds that requests in flight get when the client closes stdin. Hosts kill a server that lingers for 2 s.
LAST_ANSWERS = 1.5


async def serve_stdio(bridge: Bridge) -> None:
    """Serve until stdin ends; a SIGTERM or SIGINT ends the process at once."""
    protocol = Protocol(bridge)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_exit_on_signal)
        async with stdio_server() as (incoming, outgoing), bridge:
            pending = _Pending(protocol)
            await protocol.server.run(_Incoming(incoming, pending), _Outgoing(outgoing, pending), protocol.options)
        tasks.cancel_scope.cancel()


async def _exit_on_signal() -> None:
    """End the process on SIGTERM or SIGINT.

    A thread of the transport sits in a read of stdin that nothing can cancel, so an orderly unwinding would wait
    for the client. Nothing here needs one: what was sent was sent, and the sockets close with the process.
    """
    if sys.platform == "win32":
        return
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for number in signals:
            logger.info("Stopped by %s", number.name)
            logging.shutdown()
            os._exit(0)


class _Pending:
    """The requests of the client that are not answered yet.

    The SDK cancels them when stdin ends; a piped conversation (`printf ... | waha-mcp`) ends its input right
    after the last request, so its end is held back until they are answered.
    """

    def __init__(self, protocol: Protocol) -> None:
        self._protocol = protocol
        self._ids: set[RequestId] = set()
        self._none = anyio.Event()

    def came(self, item: SessionMessage | Exception) -> None:
        match item.message if isinstance(item, SessionMessage) else None:
            case JSONRPCRequest(id=request):
                self._ids.add(request)
            case JSONRPCNotification(method="notifications/cancelled", params={"requestId": request}):
                self._done(request)

    def went(self, item: SessionMessage) -> None:
        match item.message:
            case JSONRPCResponse(id=request) | JSONRPCError(id=request) if request is not None:
                self._done(request)

    def _done(self, request: RequestId) -> None:
        self._ids.discard(request)
        if not self._ids:
            self._none.set()

    async def linger(self) -> None:
        self._protocol.listen.close()
        with anyio.move_on_after(LAST_ANSWERS):
            while self._ids:
                self._none = anyio.Event()
                await self._none.wait()


class _Closing:
    def __init__(self, inner: ReadStream[SessionMessage | Exception] | WriteStream[SessionMessage]) -> None:
        self._closing = inner

    async def aclose(self) -> None:
        await self._closing.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        await self.aclose()


class _Incoming(_Closing):
    """The client's messages, with their end held back."""

    def __init__(self, inner: ReadStream[SessionMessage | Exception], pending: _Pending) -> None:
        super().__init__(inner)
        self._inner, self._pending = inner, pending

    async def receive(self) -> SessionMessage | Exception:
        try:
            item = await self._inner.receive()
        except anyio.EndOfStream:
            await self._pending.linger()
            raise
        self._pending.came(item)
        return item

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> SessionMessage | Exception:
        try:
            return await self.receive()
        except anyio.EndOfStream:
            raise StopAsyncIteration from None


class _Outgoing(_Closing):
    """The messages to the client, each noted once it has been handed over."""

    def __init__(self, inner: WriteStream[SessionMessage], pending: _Pending) -> None:
        super().__init__(inner)
        self._inner, self._pending = inner, pending

    async def send(self, item: SessionMessage) -> None:
        await self._inner.send(item)
        self._pending.went(item)
