"""The console on this machine: a page on loopback, with a token, that shows all Apps of the user.

The token is in the fragment of the printed URL, so it reaches no server, log or referrer; the page sends it as a
header, which other sites cannot make a browser do. `Host` and `Origin` are checked against DNS rebinding and CSRF. On a
server (`console.login`) it takes a log-in per App.
"""

from __future__ import annotations

import hmac
import secrets
import socket
from collections.abc import Callable
from contextlib import closing

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from waha_mcp.console.shell import page_routes, shell_page, view_routes
from waha_mcp.console.sight import Sight, find_defined
from waha_mcp.store.folders import user_store


async def serve_console(port: int, announce: Callable[[str], None], host: str = "127.0.0.1") -> None:
    """Serve the console (port 0: a free one) until cancelled or interrupted; `announce` gets its URL.

    The URL is on loopback whatever `host` it listens on, and so is the only `Host` that is answered: in a container,
    the port is published there.

    Raises:
        OSError: the port is in use, or the address is not one of this machine.
    """
    token = secrets.token_urlsafe(24)
    with socket.create_server((host, port)) as listening:
        port = listening.getsockname()[1]
        config = uvicorn.Config(console_app(token, port), log_config=None, access_log=False, lifespan="off")
        announce(f"http://127.0.0.1:{port}/#{token}")
        await uvicorn.Server(config).serve([listening])


#: All Apps of the user.
EVERYTHING = Sight(None, lambda: closing(user_store()), find_defined)


def console_app(token: str, port: int) -> Starlette:
    """The ASGI app: the page and what it asks for. `port`: where it will be served."""
    hosts = {f"127.0.0.1:{port}", f"localhost:{port}"}

    async def page(request: Request) -> Response:
        return _refusal(request, hosts, None) or shell_page("")

    async def who(request: Request) -> Sight | Response:
        return _refusal(request, hosts, token) or EVERYTHING

    app = Starlette(routes=[*page_routes("", page), *view_routes("", who)])
    app.router.redirect_slashes = False
    return app


def _refusal(request: Request, hosts: set[str], token: str | None) -> Response | None:
    if request.headers.get("host") not in hosts:
        return PlainTextResponse("Wrong Host", 421)
    origin = request.headers.get("origin")
    if (origin is not None or request.method != "GET") and origin not in {f"http://{host}" for host in hosts}:
        return PlainTextResponse("Wrong Origin", 403)
    if token is not None:
        given = request.headers.get("x-console-token", "")
        if not hmac.compare_digest(given.encode(), token.encode()):
            return PlainTextResponse("Wrong token", 403)
    return None
