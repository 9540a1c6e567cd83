"""Many HTTP clients at once, each of which asks again once it is answered: answers per second, and latency."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

import httpx

Era = Literal["2026-07-28", "2025-11-25"]
ERAS: tuple[Era, Era] = ("2026-07-28", "2025-11-25")

#: Asks once and returns the answer's body; each client has its own.
Asking = Callable[[], Awaitable[bytes]]


@dataclass(frozen=True)
class Load:
    """Answers per second, and the 99th percentile of latency in milliseconds."""

    rate: float
    p99: float

    def __str__(self) -> str:
        return f"{self.rate:,.0f}/s · {self.p99:,.0f} ms"


def get(url: str, key: str) -> bytes:
    """A GET of WAHA."""
    parts = urlsplit(url)
    return f"GET {parts.path}?{parts.query} HTTP/1.1\r\nHost: {parts.netloc}\r\nX-Api-Key: {key}\r\n\r\n".encode()


def post(url: str, key: str, method: str, era: Era, **params: Any) -> bytes:
    """A request of MCP, as a client of this era sends it."""
    parts = urlsplit(url)
    headers = {
        "Host": parts.netloc,
        "X-Api-Key": key,
        "Accept": "application/json, text/event-stream",
        "Content-Type": "application/json",
        "MCP-Protocol-Version": era,
    }
    if era == "2026-07-28":
        prefix = "io.modelcontextprotocol/"
        client = {f"{prefix}clientInfo": {"name": "bench", "version": "1"}, f"{prefix}clientCapabilities": {}}
        params["_meta"] = {f"{prefix}protocolVersion": era, **client}
        headers["Mcp-Method"] = method
        if "name" in params:
            headers["Mcp-Name"] = params["name"]
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
    headers["Content-Length"] = str(len(body))
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"POST {parts.path} HTTP/1.1\r\n{head}\r\n{body}".encode()


def succeeded(body: bytes) -> None:
    """Stop if an answer of MCP is an error: it would be fast and look good."""
    if b'"result"' not in body or b'"isError":true' in body:
        raise SystemExit(f"a call that is measured failed: {body[:300]!r}")


class Connection(asyncio.Protocol):
    """One keep-alive connection, which sends the same bytes again and again, so that no client library is measured."""

    def __init__(self, url: str, request: bytes) -> None:
        self._url, self._request = url, request
        self._buffer = bytearray()
        self._answer: asyncio.Future[bytes] | None = None
        self._transport: asyncio.Transport | None = None

    @classmethod
    async def opened(cls, url: str, request: bytes) -> Connection:
        made = cls(url, request)
        await made._open()
        return made

    async def _open(self) -> None:
        parts = urlsplit(self._url)
        await asyncio.get_running_loop().create_connection(lambda: self, parts.hostname or "", parts.port or 80)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(exc or ConnectionResetError("closed before it answered"))

    async def ask(self) -> bytes:
        """The body of the answer, with the sizes of its chunks where it has some."""
        if self._transport is None or self._transport.is_closing():
            # While the first answers of others were awaited, the server closed this idle connection.
            await self._open()
        assert self._transport is not None
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(self._request)
        return await self._answer

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head, rest = bytes(self._buffer[:end]).lower(), self._buffer[end + 4 :]
        if b"\r\ntransfer-encoding: chunked" in head:
            whole = rest.endswith(b"0\r\n\r\n")
        else:
            _, _, length = head.partition(b"\r\ncontent-length:")
            whole = len(rest) >= int(length.split(b"\r\n")[0])
        if whole:
            assert self._answer is not None
            self._buffer.clear()
            if b" 200" in head[:16]:
                self._answer.set_result(bytes(rest))
            else:
                self._answer.set_exception(ConnectionError(f"{head[:40]!r}: {bytes(rest[:200])!r}"))

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


async def _measured(askings: Sequence[Asking], seconds: float, check: Callable[[bytes], object]) -> Load:
    async def first(ask: Asking) -> None:
        check(await ask())

    await asyncio.gather(*map(first, askings))
    taken: list[float] = []
    started = time.perf_counter()
    end = started + seconds

    async def client(ask: Asking) -> None:
        began = time.perf_counter()
        while began < end:
            check(await ask())
            now = time.perf_counter()
            taken.append(now - began)
            began = now

    await asyncio.gather(*map(client, askings))
    whole = time.perf_counter() - started
    taken.sort()
    return Load(len(taken) / whole, taken[min(len(taken) - 1, len(taken) * 99 // 100)] * 1000)


def of_requests(
    url: str,
    requests: Sequence[bytes],
    clients: int,
    seconds: float,
    check: Callable[[bytes], object] = succeeded,
) -> Load:
    """`clients` connections, each of which always sends the same one of these requests."""

    async def run() -> Load:
        asked = [requests[number % len(requests)] for number in range(clients)]
        connections = [await Connection.opened(url, request) for request in asked]
        try:
            return await _measured([each.ask for each in connections], seconds, check)
        finally:
            for each in connections:
                each.close()

    return asyncio.run(run())


def of_httpx(url: str, key: str, clients: int, seconds: float) -> Load:
    """The same with httpx, which decodes the JSON: what a program without waha-mcp would do."""

    async def run() -> Load:
        limits = httpx.Limits(max_connections=clients, max_keepalive_connections=clients)
        async with httpx.AsyncClient(headers={"X-Api-Key": key}, limits=limits, timeout=60) as http:

            async def ask() -> bytes:
                answer = (await http.get(url)).raise_for_status()
                answer.json()
                return answer.content

            return await _measured([ask] * clients, seconds, lambda _: None)

    return asyncio.run(run())
