"""The socket that `serve --http` listens on."""

from __future__ import annotations

import asyncio
import socket

import pytest

from waha_mcp.server.http import Site, _listening

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_no_part_of_an_answer_waits_for_the_client_to_confirm_the_one_before(host: str) -> None:
    made: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    class Server(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            taken = transport.get_extra_info("socket")
            made.set_result(taken.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            transport.close()

    with _listening(Site(host, 0)) as listening:
        server = await asyncio.get_running_loop().create_server(Server, sock=listening)
        _, writer = await asyncio.open_connection(*listening.getsockname()[:2])
        assert await made
        writer.close()
        server.close()
