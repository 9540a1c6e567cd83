"""`waha-mcp console`: the page on which a person sees the calls of agents and decides about those that wait."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import anyio
import typer

from waha_mcp.cli.common import Failure
from waha_mcp.log import configure_logging

#: Where the page listens by default.
LOOPBACK = "127.0.0.1"


def console(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the page; 0 takes a free one.")] = 0,
    host: Annotated[str, typer.Option(help="Address to listen on; another one is for containers.")] = LOOPBACK,
) -> None:
    """Serve the page where you watch agents and approve calls.

    Only this machine can reach it. Ctrl-C ends it.

    Example: waha-mcp console
    """
    from waha_mcp.console.server import serve_console

    configure_logging("error")
    if host != LOOPBACK:
        typer.echo(
            f"Listening on {host}: publish this port on your own machine's loopback only, such as 127.0.0.1:{port}. "
            "Whoever reaches it and has the address below can approve.",
            err=True,
        )
    try:
        anyio.run(serve_console, port, _announce, host)
    except OSError as error:
        where = f"port {port}" if host == LOOPBACK else f"{host} port {port}"
        why = os.strerror(error.errno) if error.errno else error  # asyncio's own text repeats the address
        raise Failure(f"cannot serve on {where}: {why}; choose another with --port") from None


def _announce(url: str) -> None:
    print(f"The console is here (the address is a secret, keep it to yourself):\n  {url}\nStop it with Ctrl-C.")
    sys.stdout.flush()
