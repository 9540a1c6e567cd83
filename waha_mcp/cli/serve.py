"""`waha-mcp serve`: the MCP server on stdin and stdout."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Annotated

import anyio
import typer

from waha_mcp.app.definition import App
from waha_mcp.cli.common import with_app


@with_app(log_level="warning")
def serve(
    sandbox: Annotated[bool, typer.Option("--sandbox", help="Serve an embedded WAHA instead of a real one.")] = False,
    *,
    load: Callable[..., App],
) -> None:
    """Serve MCP over stdio, until stdin ends. This is what an MCP client launches.

    Example: waha-mcp serve --app assistant
    """
    anyio.run(_serve_sandbox if sandbox else _serve, load)


async def _serve(load: Callable[..., App]) -> None:
    # What imports make stays; looking for garbage in it, again and again, would take a tenth of the start-up.
    gc.disable()
    # Before the SDK, whose import takes most of a second: a wrong App is told at once.
    app = load()
    from waha_mcp.bridge import Bridge
    from waha_mcp.server.stdio import serve_stdio

    bridge = Bridge(app)
    gc.freeze()
    gc.enable()
    await serve_stdio(bridge)


async def _serve_sandbox(load: Callable[..., App]) -> None:
    from waha_mcp.sandbox import running

    async with running() as sandbox:
        await _serve(lambda: load(url=sandbox.url, key=sandbox.keys["full"], session=sandbox.session))
