"""`waha-mcp serve`: the MCP server, on stdin and stdout or over HTTP."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import anyio
import typer

from waha_mcp.app.definition import App
from waha_mcp.app.policy_fields import NOBODY
from waha_mcp.cli.common import SANDBOX_ID, Failure, with_app
from waha_mcp.log import LogFormat
from waha_mcp.server.prepared import Prepared
from waha_mcp.server.sdk import without_uvicorn
from waha_mcp.server.wire import Wire

#: The parameters that mean something with --http alone, and those that mean nothing there.
_OF_HTTP = (
    "host", "port", "apps", "open_", "template", "allowed_host", "sessions", "console", "oauth", "certfile", "keyfile",
    "trusted_proxy", "log_format", "allow_insecure_http",
)  # fmt: skip
_NOT_OF_HTTP = ("sandbox", "channel")


@with_app(log_level="warning")
def serve(
    context: typer.Context,
    sandbox: Annotated[bool, typer.Option("--sandbox", help="Serve an embedded WAHA instead of a real one.")] = False,
    channel: Annotated[
        bool, typer.Option("--channel", help="Tell Claude Code of new messages from the people under [listen].")
    ] = False,
    http: Annotated[bool, typer.Option("--http", help="Serve over HTTP; the key of each request decides.")] = False,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")] = 8080,
    apps: Annotated[
        Path | None,
        typer.Option(help="Folder of the definitions to serve.", show_default="the config folder"),
    ] = None,
    open_: Annotated[bool, typer.Option("--open", help="Accept any scoped key of WAHA.")] = False,
    template: Annotated[
        Path | None,
        typer.Option(help="Definition for keys without one.", show_default="strict"),
    ] = None,
    allowed_host: Annotated[list[str] | None, typer.Option(help="Name by which clients reach it; repeatable.")] = None,
    sessions: Annotated[
        bool,
        typer.Option("--sessions", help="Keep sessions for older clients; needs sticky routing."),
    ] = False,
    console: Annotated[
        bool,
        typer.Option("--console", help="Serve the console at /console, too."),
    ] = False,
    oauth: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="The server's public URL: connect claude.ai and ChatGPT to it by OAuth.",
        ),
    ] = None,
    certfile: Annotated[Path | None, typer.Option(help="Certificate for TLS (PEM).")] = None,
    keyfile: Annotated[Path | None, typer.Option(help="Its private key (PEM).")] = None,
    trusted_proxy: Annotated[
        list[str] | None,
        typer.Option(
            help="Address or network of a proxy whose X-Forwarded-For counts; repeatable.",
            show_default="none",
        ),
    ] = None,
    log_format: Annotated[LogFormat, typer.Option(help="Form of the lines on stderr.")] = "text",
    allow_insecure_http: Annotated[
        bool,
        typer.Option("--allow-insecure-http", help="Serve other machines without TLS: a proxy provides it."),
    ] = False,
    *,
    load: Callable[..., App],
    given: Mapping[str, Any],
) -> None:
    """Serve MCP over stdio, until stdin ends: what a client launches. With --http over HTTP, until it is stopped.

    Example: waha-mcp serve --app assistant
    """
    for name in _NOT_OF_HTTP if http else _OF_HTTP:
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            raise Failure(f"--{name.strip('_').replace('_', '-')}: {'not' if http else 'only'} with --http")
    if http:
        from waha_mcp.cli.serve_http import serve_over_http
        from waha_mcp.server.http import Site

        site = Site(host, port, tuple(allowed_host or ()), certfile, keyfile, tuple(trusted_proxy or ()))
        serve_over_http(
            site,
            given,
            apps,
            open_=open_,
            template=template,
            sessions=sessions,
            oauth=oauth,
            console=console,
            insecure=allow_insecure_http,
            log_format=log_format,
        )
        return
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
