"""`waha-mcp serve --http`: what is to be served, checked before anything is started."""

from __future__ import annotations

import contextlib
import gc
import ipaddress
import logging
import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
from starlette.routing import BaseRoute

from waha_mcp.app.folder import AppFolder, Template
from waha_mcp.app.urls import parse, parse_host
from waha_mcp.cli.common import Failure
from waha_mcp.log import LogFormat, configure_logging
from waha_mcp.places import config_dir, definitions
from waha_mcp.server.credentials import Credentials, client_address
from waha_mcp.server.http import HttpServer, Site, serve_http
from waha_mcp.store.folders import user_store

if sys.platform != "win32":
    import resource

logger = logging.getLogger(__name__)


def serve_over_http(
    site: Site,
    given: Mapping[str, Any],
    apps: Path | None,
    *,
    open_: bool,
    template: Path | None,
    sessions: bool,
    oauth: str | None,
    console: bool,
    insecure: bool,
    log_format: LogFormat,
) -> None:
    """Serve until a signal. `given`: the options that choose an App; of them only the URL and the log's level count.

    Raises:
        Failure, AppError: the options make no sense, are not safe, or cannot be met.
    """
    configure_logging(given["log_level"], log_format)
    wrong = [name for name, value in given.items() if value is not None and name not in ("log_level", "url")]
    if wrong:
        name = {"source": "app", "key": "key-file"}.get(wrong[0], wrong[0])
        raise Failure(f"--{name}: not with --http, where the definitions in --apps say it")
    if (site.certfile is None) != (site.keyfile is None):
        raise Failure("--certfile and --keyfile belong together")
    if template is not None and not open_:
        raise Failure("--template: only with --open")
    if given["url"] is not None and not open_:
        raise Failure("--url: only with --open; each definition has its own")
    if oauth is not None:
        site = _reached_at(oauth, site)
        if open_:
            raise Failure("--oauth: not with --open: what somebody consents to is an App with a definition")
    _check_reach(site, insecure)
    if apps is None and not open_ and not definitions():
        raise Failure(f"no App to serve in {config_dir()}: make one with `waha-mcp init`, or name a folder with --apps")
    folder = None if open_ and apps is None else AppFolder(apps or config_dir())
    strangers = Template(template, given["url"] or os.environ.get("WAHA_URL")) if open_ else None
    if folder is not None and not folder.apps() and strangers is None:
        raise Failure(f"no App to serve in {apps or config_dir()}: make one with `waha-mcp init`, or see the log above")
    opened = user_store()
    routes: list[BaseRoute] = []
    if console:
        from waha_mcp.console.login import console_routes

        if folder is None:
            raise Failure("--console: it is for Apps with a definition, so name their folder with --apps")
        routes += console_routes(opened, folder.by_id, client_address)
    credentials, challenge = Credentials(folder, strangers), "Bearer"
    if oauth is not None and folder is not None:
        from waha_mcp.server.oauth import TOKEN_PREFIX, OAuth

        granted = OAuth(oauth, folder.by_id, opened)
        credentials = Credentials(folder, tokens=granted.app_of, token_prefix=TOKEN_PREFIX)
        routes, challenge = [*routes, *granted.routes()], granted.challenge
    server = HttpServer(site, credentials, opened, sessions=sessions, routes=routes, challenge=challenge)
    gc.freeze()
    gc.enable()
    _take_all_descriptors()
    try:
        anyio.run(serve_http, server, site, _say if log_format == "text" else _log)
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else str(error)
        raise Failure(
            f"cannot serve on {site.name} port {site.port}: {why}; choose others with --host and --port"
        ) from None
    finally:
        opened.close()


def _reached_at(oauth: str, site: Site) -> Site:
    """The site, which is reached under the host of OAuth's issuer as well."""
    from waha_mcp.server.oauth import checked_issuer

    try:
        host = parse(checked_issuer(oauth)).host
    except ValueError as error:
        raise Failure(f"--oauth: {error}") from None
    return replace(site, hosts=(*site.hosts, host))


def _take_all_descriptors() -> None:
    """Let the process have as many open files, and so clients, as the system allows it: the default is often 1,024."""
    if sys.platform != "win32":
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _check_reach(site: Site, insecure: bool) -> None:
    """Refuse what would let keys be read on the way, or let web pages in under another name."""
    for name in site.hosts:
        try:
            parse_host(name.rsplit(":", 1)[0] if name.rsplit(":", 1)[-1].isdecimal() else name)
        except ValueError as error:
            raise Failure(f"--allowed-host: {error}") from None
    for proxy in site.proxies:
        try:
            ipaddress.ip_network(proxy)
        except ValueError as error:
            raise Failure(f"--trusted-proxy: {error}") from None
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


def _say(url: str) -> None:
    print(f"Serving MCP on {url}", file=sys.stderr, flush=True)


def _log(url: str) -> None:
    # Whatever the level: who reads logs by a program waits for this line, too.
    logger.handle(logger.makeRecord(logger.name, logging.INFO, "", 0, f"Serving MCP on {url}", (), None))
