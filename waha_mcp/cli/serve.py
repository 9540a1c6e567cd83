"""`waha-mcp serve`: the MCP server on stdin and stdout."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from typing import Annotated

import anyio
import typer

from waha_mcp.app.definition import App
from waha_mcp.app.policy_fields import NOBODY
from waha_mcp.cli.common import SANDBOX_ID, Failure, with_app
from waha_mcp.server.prepared import Prepared
from waha_mcp.server.sdk import without_uvicorn
from waha_mcp.server.wire import Wire


@with_app(log_level="warning")
def serve(
    context: typer.Context,
    sandbox: Annotated[bool, typer.Option("--sandbox", help="Serve an embedded WAHA instead of a real one.")] = False,
    channel: Annotated[
        bool, typer.Option("--channel", help="Tell Claude Code of new messages, whose the App says under [listen].")
    ] = False,
    *,
    load: Callable[..., App],
) -> None:
    """Serve MCP over stdio, until stdin ends: what a client launches.

    Example: waha-mcp serve --app assistant
    """
    prepared, wire = context.obj
    if sandbox:
        anyio.run(_serve_sandbox, load, channel)
    else:
        anyio.run(_serve, load, channel, prepared, wire)


async def _serve(
    load: Callable[..., App], with_channel: bool, prepared: Prepared | None = None, wire: Wire | None = None
) -> None:
    # Before the SDK, whose import takes most of a second, so that errors in the App show at once.
    app = load()
    if with_channel and not app.listen.allow:
        raise Failure(f"--channel: {NOBODY}")
    from waha_mcp.bridge import Bridge

    with without_uvicorn():
        from waha_mcp.server.stdio import serve_stdio

    bridge, channel = Bridge(app), None
    if with_channel:
        from waha_mcp.server.channel import Channel

        channel = Channel(bridge)
    gc.freeze()
    gc.enable()
    if sys.stdin is not None and sys.stdout is not None:  # else the descriptors were closed before we started
        await serve_stdio(bridge, wire or Wire(), prepared, channel)


async def _serve_sandbox(load: Callable[..., App], with_channel: bool) -> None:
    from waha_mcp.sandbox import running

    async with running() as sandbox:
        # An id of its own, so that no line of it gets into a real App's trail.
        own = {"id": SANDBOX_ID, "url": sandbox.url, "key": sandbox.keys["full"], "session": sandbox.session}
        await _serve(lambda: load(**own), with_channel)
