"""`waha-mcp serve --http`: what is to be served, checked before anything is started."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anyio
from starlette.routing import BaseRoute

from waha_mcp.app.folder import AppFolder, Template
from waha_mcp.app.urls import parse_host
from waha_mcp.cli.common import Failure
from waha_mcp.console.login import console_routes
from waha_mcp.log import configure_logging
from waha_mcp.places import config_dir
from waha_mcp.server.credentials import Credentials, client_address
from waha_mcp.server.http import HttpServer, Site, serve_http
from waha_mcp.store.folders import user_store


def serve_over_http(
    site: Site,
    given: Mapping[str, Any],
    apps: Path | None,
    *,
    open_: bool,
    template: Path | None,
    sessions: bool,
    console: bool,
    insecure: bool,
) -> None:
    """Serve until a signal. `given`: the options that choose an App; of them only the URL and the log's level count.

    Raises:
        Failure, AppError: what was asked for makes no sense, is not safe, or cannot be had.
    """
    configure_logging(given["log_level"])
    wrong = [name for name, value in given.items() if value is not None and name not in ("log_level", "url")]
    if wrong:
        raise Failure(f"--{wrong[0].replace('_', '-')}: not with --http, where the definitions in --apps say it")
    if template is not None and not open_:
        raise Failure("--template: only with --open")
    if given["url"] is not None and not open_:
        raise Failure("--url: only with --open; each definition has its own")
    _check_reach(site, insecure)
    folder = None if open_ and apps is None else AppFolder(apps or config_dir())
    strangers = Template(template, given["url"] or os.environ.get("WAHA_URL")) if open_ else None
    if folder is not None and not folder.apps() and strangers is None:
        raise Failure(f"no App to serve in {apps or config_dir()}: make one with `waha-mcp init`, or see the log above")
    with_store = user_store()
    routes: list[BaseRoute] = []
    if console:
        if folder is None:
            raise Failure("--console: it is for Apps with a definition, so name their folder with --apps")
        routes += console_routes(with_store, folder.by_id, client_address)
    server = HttpServer(site, Credentials(folder, strangers), with_store, sessions=sessions, routes=routes)
    gc.freeze()
    gc.enable()
    try:
        anyio.run(serve_http, server, site, _announce)
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else str(error)
        raise Failure(
            f"cannot serve on {site.name} port {site.port}: {why}; choose others with --host and --port"
        ) from None
    finally:
        with_store.close()


def _check_reach(site: Site, insecure: bool) -> None:
    """Refuse what would let keys be read on the way, or let web pages in under another name."""
    for name in site.hosts:
        try:
            parse_host(name.rsplit(":", 1)[0] if name.rsplit(":", 1)[-1].isdecimal() else name)
        except ValueError as error:
            raise Failure(f"--allowed-host: {error}") from None
    if site.local:
        return
    if not site.hosts:
        raise Failure(
            f"--host {site.host}: other machines reach it there, so name what they call it, "
            "such as --allowed-host wa.example.com"
        )
    if site.certfile is None and not insecure:
        raise Failure(
            f"--host {site.host}: other machines would send keys and messages unencrypted; give --certfile and "
            "--keyfile, or --allow-insecure-http where a proxy with TLS stands before it in a private network"
        )


def _announce(url: str) -> None:
    print(f"Serving MCP on {url}", file=sys.stderr, flush=True)
