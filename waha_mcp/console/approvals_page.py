"""The approvals page: a single HTML file and its JSON endpoints, served on loopback, with a token.

The token is in the fragment of the printed URL, so it reaches no server, log or referrer; the page sends it as a
header, which other sites cannot make a browser do. `Host` and `Origin` are checked against DNS rebinding and CSRF.
"""

from __future__ import annotations

import hmac
import secrets
import socket
from collections.abc import Awaitable, Callable
from importlib import resources
from typing import Any

import anyio
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from waha_mcp.policy.approval import Entry, decide, waiting
from waha_mcp.store import StoreAway

_HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Resource-Policy": "same-origin",
}


async def serve_approvals(port: int, announce: Callable[[str], None]) -> None:
    """Serve the page on 127.0.0.1 (port 0: a free one) until cancelled or interrupted; `announce` gets its URL.

    Raises:
        OSError: the port is in use.
    """
    token = secrets.token_urlsafe(24)
    with socket.create_server(("127.0.0.1", port)) as listening:
        port = listening.getsockname()[1]
        config = uvicorn.Config(approvals_app(token, port), log_config=None, access_log=False, lifespan="off")
        announce(f"http://127.0.0.1:{port}/#{token}")
        await uvicorn.Server(config).serve([listening])


def approvals_app(token: str, port: int) -> Starlette:
    """The ASGI app: the page, the list of waiting questions and the decision. `port`: where it will be served."""
    hosts = {f"127.0.0.1:{port}", f"localhost:{port}"}

    async def page(request: Request) -> Response:
        nonce = secrets.token_urlsafe(16)
        text = resources.files("waha_mcp.console").joinpath("approvals_page.html").read_text(encoding="utf-8")
        policy = (
            f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src 'self'; "
            "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
        return HTMLResponse(text.replace("NONCE", nonce), headers={"Content-Security-Policy": policy})

    async def listed(request: Request) -> Response:
        entries = await anyio.to_thread.run_sync(waiting)
        return JSONResponse([_shown(entry) for entry in entries])

    async def decided(request: Request) -> Response:
        approve = request.path_params["decision"] == "approve"
        if request.path_params["decision"] not in ("approve", "refuse"):
            return PlainTextResponse("Not found", 404)
        found = await anyio.to_thread.run_sync(lambda: decide(request.path_params["entry"], approve=approve))
        return JSONResponse({"done": True}) if found else PlainTextResponse("Nothing waits under that id", 404)

    def guarded(
        handler: Callable[[Request], Awaitable[Response]], *, secret: bool
    ) -> Callable[[Request], Awaitable[Response]]:
        async def handle(request: Request) -> Response:
            refused = _refusal(request, hosts, token if secret else None)
            try:
                response = refused or await handler(request)
            except StoreAway as error:
                response = PlainTextResponse(str(error), 503)
            response.headers.update(_HEADERS)
            return response

        return handle

    app = Starlette(
        routes=[
            Route("/", guarded(page, secret=False)),
            Route("/approvals", guarded(listed, secret=True)),
            Route("/approvals/{entry}/{decision}", guarded(decided, secret=True), methods=["POST"]),
        ]
    )
    app.router.redirect_slashes = False
    return app


def _refusal(request: Request, hosts: set[str], token: str | None) -> Response | None:
    if request.headers.get("host") not in hosts:
        return PlainTextResponse("Wrong Host", 421)
    origin = request.headers.get("origin")
    if (origin is not None or request.method != "GET") and origin not in {f"http://{host}" for host in hosts}:
        return PlainTextResponse("Wrong Origin", 403)
    if token is not None:
        given = request.headers.get("x-approvals-token", "")
        if not hmac.compare_digest(given.encode(), token.encode()):
            return PlainTextResponse("Wrong token", 403)
    return None


def _shown(entry: Entry) -> dict[str, Any]:
    """A question as JSON for the page: `{id, app, tool, lines: [[name, text], ...]}`; name and text are escaped."""
    question = entry.question
    return {"id": entry.id, "app": question.app, "tool": question.tool, "lines": question.lines()}
