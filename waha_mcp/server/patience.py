"""Limits how long a connection may take to send its request."""

from __future__ import annotations

import asyncio
import socket

from uvicorn.protocols.http.h11_impl import H11Protocol

#: Seconds for which a client may leave what was sent to it without reading any of it.
UNREAD = 120
#: Seconds from the start of the connection, or from the first byte of a further request, to the request's end.
LONGEST = 10.0


def end_unread(listening: socket.socket) -> None:
    """Let the connections of a listening socket end when their clients do not read, where the system can (Linux)."""
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD * 1000)


class Impatient(H11Protocol):
    """uvicorn's connection, which is closed when no whole request comes: holding one by sending little takes a key.

    How long an answer takes is not limited here, and neither is the body of a request to the path `keyed`, which is
    read only of those with a key.
    """

    keyed: str | None = None
    _waiting: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._wait()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        # A request that was sent together with the one before begins here, maybe without its end.
        if self.cycle is not None and not self.cycle.response_complete:
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._stop()

    def _wait(self) -> None:
        if self._answering():
            self._stop()
        elif self._waiting is None and not self.transport.is_closing():
            self._waiting = self.loop.call_later(LONGEST, self._hang_up)

    def _answering(self) -> bool:
        """Whether a request has come whole, as far as that is waited for, and is not answered yet."""
        cycle = self.cycle
        if cycle is None or cycle.response_complete:
            return False
        return not cycle.more_body or cycle.scope["path"] == self.keyed

    def _stop(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def _hang_up(self) -> None:
        self._waiting = None
        if not self._answering():
            self.transport.close()
