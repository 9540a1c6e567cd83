"""WAHA's `/ws` on the wire: the handshake, authorization, pings, and connections that fail on demand."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from typing import Any, cast

from uvicorn.server import ServerState
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import OPEN
from websockets.server import ServerProtocol

from waha_mcp.sandbox.event_stream import Refused, Subscription
from waha_mcp.sandbox.faults import Entry, without_key
from waha_mcp.sandbox.state import Sandbox

#: Seconds for the other side to answer a close frame.
CLOSE_TIME = 30.0
INCOMING_LIMIT = 100 * 1024 * 1024
#: The library would write requests to a debug log, including the key.
_silent = logging.getLogger(f"{__name__}.frames")
_silent.setLevel(logging.CRITICAL)


class EventSocket(asyncio.Protocol):
    """One connection that asked for an upgrade; uvicorn hands it over with the request as the first data."""

    def __init__(self, sandbox: Sandbox, *, server_state: ServerState, **_: Any) -> None:
        self.sandbox = sandbox
        self.stream = sandbox.stream
        self.subscription: Subscription | None = None
        self.transport = cast(asyncio.Transport, None)
        self._connections = server_state.connections
        self._protocol = ServerProtocol(max_size=INCOMING_LIMIT, logger=_silent)
        self._answered = True
        self._frozen = False
        self._waiting: deque[bytes] = deque()
        self._end: asyncio.TimerHandle | None = None

    # Events of the connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._connections.add(cast(Any, self))

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.discard(cast(Any, self))
        self._frozen = True
        self.stream.leave(self)
        if self._end is not None:
            self._end.cancel()

    def data_received(self, data: bytes) -> None:
        if self._frozen:
            return
        self._protocol.receive_data(data)
        for event in self._protocol.events_received():
            if isinstance(event, Request):
                self._open(event)
            elif isinstance(event, Frame) and event.opcode is Opcode.PONG:
                self._answered = True
        self._flush()

    def eof_received(self) -> None:
        if not self._frozen:
            self._protocol.receive_eof()
            self._flush()

    def _flush(self) -> None:
        for data in self._protocol.data_to_send():
            if data:
                self.transport.write(data)
            else:
                self.transport.close()

    # The handshake

    def _open(self, request: Request) -> None:
        path, _, query = request.path.partition("?")
        entry = Entry(
            time=time.time(),
            method="GET",
            path=path,
            query=without_key(query),
            headers=sorted({name.lower() for name, _ in request.headers.raw_items()}),
        )
        self.sandbox.log.entries.append(entry)
        if path != "/ws":
            self.transport.close()
            return
        faults = self.stream.faults
        protocol = self._protocol
        response = protocol.reject(404, "Cannot GET /ws") if faults.absent else protocol.accept(request)
        entry.status = response.status_code
        protocol.send_response(response)
        if response.status_code != 101:
            return
        # The key is looked up once the socket is open: a refusal closes it.
        try:
            subscription = Subscription.asked(query, self.sandbox.keys)
        except Refused as refused:
            self._close(1008, str(refused))
            return
        entry.key = subscription.key.label
        if faults.refuse is not None:
            self._close(faults.refuse, "Refused")
            return
        entry.performed = time.time()
        self.subscription = subscription
        self.stream.join(self)

    def _close(self, code: int, reason: str) -> None:
        self._protocol.send_close(code, reason)
        self._end = asyncio.get_running_loop().call_later(CLOSE_TIME, self.transport.abort)

    # Requests of the stream

    def deliver(self, text: bytes) -> None:
        if self.stream.faults.slow or self._waiting:
            self._waiting.append(text)
            if len(self._waiting) == 1:
                self.sandbox.later(self.stream.faults.slow, self._next)
        else:
            self.send(text)

    def _next(self) -> None:
        self.send(self._waiting[0])
        self._waiting.popleft()
        if self._frozen:
            self._waiting.clear()
        if self._waiting:
            self.sandbox.later(self.stream.faults.slow, self._next)

    def send(self, data: bytes, binary: bool = False) -> None:
        if self._protocol.state is OPEN and not self._frozen:
            (self._protocol.send_binary if binary else self._protocol.send_text)(data)
            self._flush()

    def ping(self) -> None:
        if self._frozen:
            return
        if not self._answered:
            self.drop()
        elif self._protocol.state is OPEN:
            self._answered = False
            self._protocol.send_ping(b"")
            self._flush()

    def drop(self) -> None:
        self.stream.leave(self)
        self.transport.abort()

    def freeze(self) -> None:
        self._frozen = True

    def as_json(self) -> dict[str, Any]:
        wanted = self.subscription
        assert wanted is not None, "only open sockets are listed"
        return {
            "key": wanted.key.label,
            "session": wanted.session,
            "events": sorted(wanted.events),
            "answered": self._answered,
            "half_open": self._frozen,
        }
