"""Limits how long a connection may take to send its request."""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol

#: Seconds from the start of the connection, or from the first byte of a further request, to the request's end.
LONGEST = 10.0


class Impatient(H11Protocol):
    """uvicorn's connection, which is closed when no whole request comes: nobody holds one open without a key.

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
