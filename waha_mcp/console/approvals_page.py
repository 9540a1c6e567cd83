"""The approvals page: a single HTML file and its JSON endpoints. Who may see and decide what, a `Who` tells.

Here it is served on loopback, with a token. The token is in the fragment of the printed URL, so it reaches no server,
log or referrer; the page sends it as a header, which other sites cannot make a browser do. `Host` and `Origin` are
checked against DNS rebinding and CSRF. On a server (`console.login`) it takes a log-in per App.
"""

from __future__ import annotations

import hmac
import secrets
import socket
from collections.abc import Awaitable, Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Literal, get_args

import anyio
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from waha_mcp.console.pages import HEADERS, as_page, page_text
from waha_mcp.policy.approval import Approvals, Entry, app_of, waiting
from waha_mcp.policy.question import File, Question
from waha_mcp.policy.shown_files import read
from waha_mcp.policy.task_grants import allow_for_a_while, amount
from waha_mcp.store import Store, StoreAway
from waha_mcp.store.folders import user_store
from waha_mcp.tools.sniff import sniff
from waha_mcp.whatsapp.untrusted import reveal

#: Types by their first bytes that the page shows; all others can only be downloaded.
IMAGES = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})


async def serve_approvals(port: int, announce: Callable[[str], None], host: str = "127.0.0.1") -> None:
    """Serve the page (port 0: a free one) until cancelled or interrupted; `announce` gets its URL.

    The URL is on loopback whatever `host` it listens on, and so is the only `Host` that is answered: in a container,
    the port is published there.

    Raises:
        OSError: the port is in use, or the address is not one of this machine.
    """
    token = secrets.token_urlsafe(24)
    with socket.create_server((host, port)) as listening:
        port = listening.getsockname()[1]
        config = uvicorn.Config(approvals_app(token, port), log_config=None, access_log=False, lifespan="off")
        announce(f"http://127.0.0.1:{port}/#{token}")
        await uvicorn.Server(config).serve([listening])


def approvals_app(token: str, port: int) -> Starlette:
    """The ASGI app: the page, the list of waiting questions and the decision. `port`: where it will be served."""
    hosts = {f"127.0.0.1:{port}", f"localhost:{port}"}

    async def page(request: Request) -> Response:
        return _refusal(request, hosts, None) or approvals_page()

    async def who(request: Request) -> Sight | Response:
        return _refusal(request, hosts, token) or EVERYTHING

    app = Starlette(routes=[Route("/", shown_as_is(page)), *approval_routes("", who)])
    app.router.redirect_slashes = False
    return app


#: `open` is a yes that opens a window as well (`policy.task_grants`).
Decision = Literal["approve", "refuse", "open"]


@dataclass(frozen=True)
class Sight:
    """The questions that somebody may see and decide: those that wait, and what decides one of them by its id."""

    waiting: Callable[[], list[Entry]]
    decide: Callable[[str, Decision], bool]
    #: The copy of one file of a question, None if there is none.
    copy: Callable[[str, int], bytes | None]

    def copy_of(self, entry_id: str, number: int) -> bytes | None:
        """The copy of a file, for as long as its question waits."""
        waits = any(entry.id == entry_id for entry in self.waiting())
        return self.copy(entry_id, number) if waits else None


def _copy(entry_id: str, number: int) -> bytes | None:
    with closing(user_store()) as store:
        return read(store, entry_id, number)


def _decide(entry_id: str, decision: Decision) -> bool:
    app_id = app_of(entry_id)
    if app_id is None:
        return False
    with closing(user_store()) as store:
        return decided_in(store, app_id, entry_id, decision)


def decided_in(store: Store, app_id: str, entry_id: str, decision: Decision) -> bool:
    """Decide a waiting question of an App; False where that cannot be. Blocks, and may raise StoreAway."""
    approvals = Approvals(app_id, store)
    if decision == "open":
        return allow_for_a_while(approvals, store, entry_id)
    return approvals.decide(entry_id, approve=decision == "approve")


#: The questions of all Apps of the user.
EVERYTHING = Sight(lambda: waiting(), _decide, _copy)

#: What the sender of a request may see; or the answer to who may see nothing.
Who = Callable[[Request], Awaitable[Sight | Response]]
Handler = Callable[[Request], Awaitable[Response]]


def approvals_page(app_id: str = "") -> Response:
    """The page. `app_id`: the App that somebody has logged in for."""
    nonce = secrets.token_urlsafe(16)
    text = page_text("approvals_page.html", NONCE=nonce, APP=app_id)
    return as_page(text, nonce, more=f"script-src 'nonce-{nonce}'; connect-src 'self'; img-src blob:; ")


def approval_routes(prefix: str, who: Who) -> list[Route]:
    """What the page asks for, under a path."""
    reading = anyio.CapacityLimiter(2)

    async def listed(sight: Sight, request: Request) -> Response:
        entries = await anyio.to_thread.run_sync(sight.waiting)
        return JSONResponse([_shown(entry) for entry in entries])

    async def file(sight: Sight, request: Request) -> Response:
        content = await anyio.to_thread.run_sync(
            sight.copy_of, request.path_params["entry"], request.path_params["number"], limiter=reading
        )
        if content is None:
            return PlainTextResponse("There is no such copy", 404)
        found = sniff(content)
        # Whatever it says it is: opened by itself it is a download, without scripts and without an origin.
        kind = found if found in IMAGES else "application/octet-stream"
        headers = {"Content-Disposition": "attachment", "Content-Security-Policy": "default-src 'none'; sandbox"}
        return Response(content, media_type=kind, headers=headers)

    async def decided(sight: Sight, request: Request) -> Response:
        decision = request.path_params["decision"]
        if decision not in get_args(Decision):
            return PlainTextResponse("Not found", 404)
        found = await anyio.to_thread.run_sync(sight.decide, request.path_params["entry"], decision)
        return JSONResponse({"done": True}) if found else PlainTextResponse("Nothing waits under that id", 404)

    def seen_by(handler: Callable[[Sight, Request], Awaitable[Response]]) -> Handler:
        async def handle(request: Request) -> Response:
            sight = await who(request)
            return await handler(sight, request) if isinstance(sight, Sight) else sight

        return shown_as_is(handle)

    return [
        Route(f"{prefix}/approvals", seen_by(listed)),
        Route(f"{prefix}/approvals/{{entry}}/files/{{number:int}}", seen_by(file)),
        Route(f"{prefix}/approvals/{{entry}}/{{decision}}", seen_by(decided), methods=["POST"]),
    ]


def shown_as_is(handler: Handler) -> Handler:
    """A handler whose answers are kept nowhere and shown within no other page; a store that is away is a 503."""

    async def handle(request: Request) -> Response:
        try:
            response = await handler(request)
        except StoreAway as error:
            response = PlainTextResponse(str(error), 503)
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        return response

    return handle


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
    """A question as JSON for the page: `{id, app, tool, lines: [[name, text], ...], files: [...], window}`.

    `files` are those with a copy: number, name and whether it is an image to show. `window`: what a yes may open as
    well, in words; None: nothing. All texts are escaped.
    """
    question = entry.question
    files = [
        {"number": number, "name": _file_name(file), "image": file.found_type in IMAGES}
        for number, file in enumerate(question.files)
        if file.copied
    ]
    shown = {"id": entry.id, "app": question.app, "tool": question.tool, "lines": question.lines(), "files": files}
    return shown | {"window": _window(question)}


def _window(question: Question) -> str | None:
    """What a yes to a question may open as well, in words; None: nothing."""
    to = reveal(", ".join(question.open_to.values()))
    return f"then without a question to {to}: {amount()} at most" if to else None


def _file_name(file: File) -> str:
    """The name of a download: the last part of the file's path."""
    return reveal(PurePosixPath(file.name.replace("\\", "/")).name).lstrip(".") or "file"
