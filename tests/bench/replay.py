"""A WAHA that answers at once: it replays the sandbox's answer to the same GET with the same key.

The sandbox builds its answers in Python, and would be the bottleneck. `python -m tests.bench.replay URL` prints its own
URL.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from tests.harness import environment


class _Replay(asyncio.Protocol):
    def __init__(self, host: str, port: int, answers: dict[tuple[bytes, bytes], bytes]) -> None:
        self._host, self._port, self._answers = host, port, answers
        self._buffer = bytearray()
        self._tasks: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, found, rest = bytes(self._buffer).partition(b"\r\n\r\n")
        if not found:
            return
        lines = head.split(b"\r\n")
        fields = {name.lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines[1:])}
        if len(rest) < int(fields.get(b"content-length", 0)):
            return
        request = bytes(self._buffer)
        self._buffer.clear()
        known = (lines[0], fields.get(b"x-api-key", b""))
        answer = self._answers.get(known)
        if answer is not None:
            self._transport.write(answer)
            return
        task = asyncio.create_task(self._fetch(known, request.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _fetch(self, known: tuple[bytes, bytes], request: bytes) -> None:
        reader, writer = await asyncio.open_connection(self._host, self._port)
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        body = await reader.read()
        writer.close()
        lines = [line for line in head.split(b"\r\n") if line and not line.lower().startswith(b"connection:")]
        answer = b"\r\n".join([*lines, b"", body])
        if known[0].startswith(b"GET ") and b" 200 " in lines[0]:
            self._answers[known] = answer
        self._transport.write(answer)


async def _serve(url: str) -> None:
    target = urlsplit(url)
    answers: dict[tuple[bytes, bytes], bytes] = {}
    host, port = target.hostname or "", target.port or 80
    server = await asyncio.get_running_loop().create_server(
        lambda: _Replay(host, port, answers), "127.0.0.1", 0, backlog=1024
    )
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


@contextmanager
def replaying(url: str) -> Iterator[str]:
    """Such a server in a separate process, in front of the WAHA at `url`; its URL."""
    command = [sys.executable, "-m", "tests.bench.replay", url]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment())
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.communicate(timeout=10)


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1]))
