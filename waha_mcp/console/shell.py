"""The page around the views, and what its script asks for: fragments, files and actions. `Who` tells for whom.

The page itself holds no data. The script puts the fragment of a view into it and asks again, with the fragment's
`ETag`, so that nothing moves while nothing has changed.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Awaitable, Callable
from hashlib import sha256
from urllib.parse import parse_qsl

from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

from waha_mcp.console.pages import HEADERS, as_page, rendered
from waha_mcp.console.sight import Sight
from waha_mcp.console.view import IMAGES, SOUNDS, NotDone, View
from waha_mcp.console.views import VIEWS
from waha_mcp.store import Store, StoreAway, in_thread
from waha_mcp.tools.sniff import sniff

#: Most bytes of a form.
_MOST_FORM = 10_000

#: What the sender of a request may see; or the answer to who may see nothing.
Who = Callable[[Request], Awaitable[Sight | Response]]
Handler = Callable[[Request], Awaitable[Response]]


def shell_page(base: str, app_id: str = "") -> Response:
    """The page. `base`: the path that the views are under. `app_id`: the App that somebody has logged in for."""
    nonce = secrets.token_urlsafe(16)
    text = rendered("shell.html", nonce=nonce, base=base, app_id=app_id, views=VIEWS)
    policy = f"script-src 'nonce-{nonce}'; connect-src 'self'; img-src blob:; media-src blob:; "
    return as_page(text, nonce, more=policy + "require-trusted-types-for 'script'; trusted-types console; ")


def page_routes(base: str, page: Handler) -> list[Route]:
    """The page, under its own path and that of each view."""
    paths = [base or "/", *(f"{base}/{view.name}" for view in VIEWS)]
    return [Route(path, shown_as_is(page), methods=["GET"]) for path in paths]


def view_routes(base: str, who: Who) -> list[Route]:
    """What the script asks for, under a path."""

    async def fragment(sight: Sight, view: View, request: Request) -> Response:
        text = await view.render(sight, dict(request.query_params))
        counts, now = await in_thread(_beside, sight)
        tag = f'"{sha256(text.encode()).hexdigest()[:32]}"'
        headers = {"ETag": tag, "X-Console-Counts": json.dumps(counts), "X-Console-Now": str(now)}
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        return HTMLResponse(text, headers=headers)

    async def file(sight: Sight, view: View, request: Request) -> Response:
        content = None if view.file is None else await view.file(sight, request.path_params["name"])
        if content is None:
            return PlainTextResponse("There is no such copy", 404)
        found = sniff(content)
        # Whatever it says it is: opened by itself it is a download, without scripts and without an origin.
        kind = found if found in IMAGES | SOUNDS else "application/octet-stream"
        headers = {"Content-Disposition": "attachment", "Content-Security-Policy": "default-src 'none'; sandbox"}
        return Response(content, media_type=kind, headers=headers)

    async def act(sight: Sight, view: View, request: Request) -> Response:
        action = view.actions.get(request.path_params["action"])
        if action is None:
            return PlainTextResponse("Not found", 404)
        try:
            return PlainTextResponse(await action(sight, await form_of(request, _MOST_FORM)))
        except NotDone as why:
            return PlainTextResponse(str(why), 409)

    def seen_by(handler: Callable[[Sight, View, Request], Awaitable[Response]]) -> Handler:
        async def handle(request: Request) -> Response:
            sight = await who(request)
            if isinstance(sight, Response):
                return sight
            view = next((each for each in VIEWS if each.name == request.path_params["view"]), None)
            return PlainTextResponse("Not found", 404) if view is None else await handler(sight, view, request)

        return shown_as_is(handle)

    return [
        Route(f"{base}/views/{{view}}", seen_by(fragment), methods=["GET"]),
        Route(f"{base}/views/{{view}}/files/{{name}}", seen_by(file), methods=["GET"]),
        Route(f"{base}/views/{{view}}/{{action}}", seen_by(act), methods=["POST"]),
    ]


def _beside(sight: Sight) -> tuple[dict[str, int], float]:
    """What the page gets with every fragment: the numbers in the navigation, by view, and `now_of`. Blocks."""
    with sight.opened() as store:
        return {each.name: each.count(sight, store) for each in VIEWS if each.count is not None}, now_of(store)


def now_of(store: Store) -> float:
    """The time of the clock by which what is seen expires, in Unix seconds."""
    return store.now()


async def form_of(request: Request, most: int) -> dict[str, str]:
    """The fields of a form; none where it is longer than `most` bytes."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > most:
            return {}
    return dict(parse_qsl(body.decode("utf-8", "replace")))


def shown_as_is(handler: Handler) -> Handler:
    """A handler whose answers are kept nowhere and shown within no other page; a store that is away is a 503."""

    async def handle(request: Request) -> Response:
        try:
            response = await handler(request)
        except StoreAway as error:
            response = PlainTextResponse(str(error), 503)
        except ClientDisconnect:
            response = Response(status_code=400)  # which nobody gets any more
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        return response

    return handle
