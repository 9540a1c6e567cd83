"""What can happen to a request between the bridge and WAHA, with real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import re
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from urllib.parse import unquote, urlsplit

import httpx

from tests.faults.world import OnTheWay
from waha_mcp.waha.responses import MAX_JSON

_BOMB = gzip.compress(b'["' + b"x" * (MAX_JSON + 2**20) + b'"]')


class Way:
    """Leads one chosen request to a failing server. Other requests go to WAHA."""

    def __init__(self, ports: dict[OnTheWay, int]) -> None:
        self._ports = ports
        self._armed: tuple[OnTheWay, str, str] | None = None
        self.hit = asyncio.Event()

    def arm(self, what: OnTheWay | None, method: str, path: str) -> None:
        """Apply `what` to the next request with that method and path; None: nothing."""
        self._armed = None if what is None else (what, method, path)
        self.hit = asyncio.Event()

    async def hook(self, request: httpx.Request) -> None:
        """httpx calls it before a request is sent."""
        path = unquote(request.url.raw_path.decode().partition("?")[0])
        if self._armed is None or self._armed[1:] != (request.method, path):
            return
        what, self._armed = self._armed[0], None
        self.hit.set()
        if what == "held":
            await asyncio.Event().wait()
        scheme = "https" if what == "handshake" else "http"
        request.url = request.url.copy_with(scheme=scheme, host="127.0.0.1", port=self._ports[what])


@asynccontextmanager
async def way_to(url: str) -> AsyncIterator[Way]:
    """A route to the WAHA at `url`."""
    waha = urlsplit(url)

    async def carried_out(reader: asyncio.StreamReader) -> bytes:
        """WAHA's whole answer to the request, which it has carried out by then."""
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"content-length: *(\d+)", head, re.IGNORECASE)
        body = await reader.readexactly(int(length[1]) if length else 0)
        from_waha, to_waha = await asyncio.open_connection(waha.hostname, waha.port)
        to_waha.write(re.sub(rb"(?i)connection: keep-alive", b"connection: close", head) + body)
        answer = await from_waha.read()
        to_waha.close()
        return answer

    async def handshake(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)

    async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answer = await carried_out(reader)
        writer.write(answer[:-20])
        await writer.drain()

    async def bomb(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await carried_out(reader)
        head = "HTTP/1.1 201 Created\r\ncontent-type: application/json\r\ncontent-encoding: gzip\r\n"
        writer.write(f"{head}content-length: {len(_BOMB)}\r\n\r\n".encode() + _BOMB)
        await writer.drain()

    with socket.socket() as taken:
        # Bound and not listening: connections are refused.
        taken.bind(("127.0.0.1", 0))
        ports: dict[OnTheWay, int] = {"refused": taken.getsockname()[1], "held": 0}
        async with contextlib.AsyncExitStack() as servers:
            behaviours: dict[OnTheWay, _Behaviour] = {"handshake": handshake, "cut": cut, "bomb": bomb}
            for what, behaviour in behaviours.items():
                server = await asyncio.start_server(_closing(behaviour), "127.0.0.1", 0)
                await servers.enter_async_context(server)
                ports[what] = server.sockets[0].getsockname()[1]
            yield Way(ports)


_Behaviour = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def _closing(behaviour: _Behaviour) -> _Behaviour:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # The client may hang up at any point.
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await behaviour(reader, writer)
        writer.close()

    return handle
