"""Serve a sandbox over HTTP and WebSocket in the running event loop."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, cast

import uvicorn
from starlette.types import Scope

from waha_mcp.sandbox.http_app import WahaApp
from waha_mcp.sandbox.state import Sandbox


@asynccontextmanager
async def serving(sandbox: Sandbox, port: int) -> AsyncIterator[str]:
    """Serve on loopback until the block ends; yields the base URL.

    Raises:
        OSError: the port cannot be bound; nothing was started.
    """
    listener = _bind(port)
    server: uvicorn.Server

    def abort(scope: Scope) -> None:
        for connection in _connections(server):
            if connection.client == scope["client"]:
                connection.transport.abort()

    def event_socket(**given: Any) -> asyncio.Protocol:
        from waha_mcp.sandbox.event_sockets import EventSocket

        return EventSocket(sandbox, **given)

    config = uvicorn.Config(
        WahaApp(sandbox, abort),
        lifespan="off",
        ws=cast(type[asyncio.Protocol], event_socket),
        log_config=None,
        log_level="critical",
        access_log=False,
        server_header=False,
    )
    server = uvicorn.Server(config)
    config.load()
    server.lifespan = config.lifespan_class(config)
    # Server.serve() would add signal handlers, which belong to the command, and a polling loop that delays shutdown.
    await server.startup(sockets=[listener])
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        sandbox.close()
        await _stop(server)
        listener.close()


def _bind(port: int) -> socket.socket:
    # asyncio turns Nagle's algorithm off only if the protocol is given: otherwise every answer waits 40 ms.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen(2048)
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return listener


def _connections(server: uvicorn.Server) -> list[Any]:
    """The open connections: protocols with `client` (address) and `transport`."""
    return list(server.server_state.connections)


async def _stop(server: uvicorn.Server) -> None:
    """Close the listener and every connection, finished or not."""
    for each in server.servers:
        each.close()
    tasks = list(server.server_state.tasks)
    for task in tasks:
        task.cancel()
    for connection in _connections(server):
        connection.transport.abort()
    with suppress(asyncio.CancelledError):
        await asyncio.gather(*tasks, return_exceptions=True)
    for each in server.servers:
        await each.wait_closed()
