"""The console on a server: the page of one App, for whoever has logged in with a one-time code.

The log-in is neither the App's key nor an access token, and neither of them opens it. It is a cookie of 256 random
bits, of which the store keeps the digest. It ends after `LIFETIME`, with a log-out, and with the App: when that is
disabled, removed or given another key. The server has checked `Host` before; a request that changes something comes
from a page of this very origin.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TypeVar, TypeVarTuple

from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from waha_mcp.app.definition import App
from waha_mcp.app.urls import is_loopback
from waha_mcp.console.pages import as_page, rendered
from waha_mcp.console.shell import form_of, page_routes, shell_page, shown_as_is, view_routes
from waha_mcp.console.sight import Sight
from waha_mcp.digests import digest, key_digest
from waha_mcp.policy.one_time_codes import redeem
from waha_mcp.store import Full, Store, StoreAway, in_thread, remove

T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")

#: Where the console is.
PATH = "/console"
#: Seconds for which somebody stays logged in.
LIFETIME = 12 * 3_600
COOKIE = "waha_mcp_console"
#: Keys are the digests of cookies.
_TABLE = "console_login"
#: Most bytes of a form.
_MOST_FORM = 1_000


def console_routes(store: Store, find: Callable[[str], App | None], address: Callable[[Request], str]) -> list[Route]:
    """The page, the log-in and the log-out, under `PATH`.

    `find` gives the App with an id as it is served now, None if it is not; it may block. `address` is what wrong codes
    of a request are counted by.
    """
    logins = Logins(store, find)

    async def who(request: Request) -> Sight | Response:
        if not _of_this_origin(request):
            return PlainTextResponse("Wrong Origin", 403)
        app = await _asked(logins.app_of, request.cookies.get(COOKIE, ""))
        return PlainTextResponse("Log in first", 401) if app is None else sight_of(app.id, store, find)

    async def page(request: Request) -> Response:
        app = await _asked(logins.app_of, request.cookies.get(COOKIE, ""))
        return _login_page() if app is None else shell_page(PATH, app.id)

    async def login(request: Request) -> Response:
        if not _of_this_origin(request):
            return PlainTextResponse("Wrong Origin", 403)
        code = (await form_of(request, _MOST_FORM)).get("code", "")
        try:
            app_id = await _asked(redeem, store, "console", code, address(request))
        except Full as full:
            return _login_page(f"Too many wrong codes: try again in {full.wait / 60 + 1:.0f} minutes.", 429)
        cookie = None if app_id is None else await _asked(logins.begin, app_id)
        if cookie is None:
            return _login_page("That code is not valid now. Each is valid once, for ten minutes.", 403)
        response = RedirectResponse(PATH, 303)
        await _asked(logins.end, request.cookies.get(COOKIE, ""))
        _set_cookie(request, response, cookie, LIFETIME)
        return response

    async def logout(request: Request) -> Response:
        if not _of_this_origin(request):
            return PlainTextResponse("Wrong Origin", 403)
        await _asked(logins.end, request.cookies.get(COOKIE, ""))
        response = Response(status_code=204)
        _set_cookie(request, response, "", 0)
        return response

    return [
        Route(f"{PATH}/login", shown_as_is(login), methods=["POST"]),
        Route(f"{PATH}/logout", shown_as_is(logout), methods=["POST"]),
        *page_routes(PATH, page),
        *view_routes(PATH, who),
    ]


@dataclass(frozen=True)
class Logins:
    """Who is logged in, in the store. The methods block and may raise StoreAway."""

    store: Store
    find: Callable[[str], App | None]

    def begin(self, app_id: str) -> str | None:
        """Log somebody in for an App; the cookie, None if there is no such App (any more)."""
        app = self.find(app_id)
        if app is None:
            return None
        cookie = secrets.token_urlsafe(32)
        row = json.dumps({"app": app.id, "key": key_digest(app.key)})
        self.store.swap(_TABLE, digest(cookie), None, row, expires=self.store.now() + LIFETIME)
        return cookie

    def app_of(self, cookie: str) -> App | None:
        """The App that somebody is logged in for; what has ended with its App is forgotten."""
        row = self.store.get(_TABLE, digest(cookie)) if cookie else None
        if row is None:
            return None
        kept = json.loads(row)
        app = self.find(kept["app"])
        if app is None or key_digest(app.key) != kept["key"]:
            self.end(cookie)
            return None
        return app

    def end(self, cookie: str) -> None:
        """Log somebody out."""
        remove(self.store, _TABLE, digest(cookie))


def end_logins(store: Store, app_id: str) -> int:
    """Log everybody out of an App's console; how many there were. It blocks and may raise StoreAway."""
    rows = [row for row in store.rows(_TABLE) if json.loads(row.value)["app"] == app_id]
    return sum(store.swap(_TABLE, row.key, row.value, None) for row in rows)


def sight_of(app_id: str, store: Store, find: Callable[[str], App | None]) -> Sight:
    """What is seen by who is logged in for an App: that App, and others as ones that are not there."""
    return Sight(app_id, lambda: nullcontext(store), find)


async def _asked(step: Callable[[*Arguments], T], *arguments: *Arguments) -> T:
    """Run a function that asks the store. Who is not logged in is not told where that is."""
    try:
        return await in_thread(step, *arguments)
    except StoreAway:
        raise StoreAway("The store cannot be used now.") from None


def _of_this_origin(request: Request) -> bool:
    """Whether a request comes from a page of this origin; one that only looks may come without saying from where."""
    origin = request.headers.get("origin")
    if origin is None:
        return request.method == "GET" and request.headers.get("sec-fetch-site", "none") in ("same-origin", "none")
    host = request.headers.get("host")
    # A proxy with TLS may come without it, and without saying so.
    schemes = ("https",) if request.url.scheme == "https" else ("https", "http")
    return origin in {f"{scheme}://{host}" for scheme in schemes}


def _login_page(problem: str = "", status: int = 200) -> Response:
    nonce = secrets.token_urlsafe(16)
    text = rendered("login.html", nonce=nonce, problem=problem, login=f"{PATH}/login")
    return as_page(text, nonce, status, posts=True)


def _set_cookie(request: Request, response: Response, cookie: str, age: int) -> None:
    """Set the cookie, out of reach of scripts and other sites. Only on loopback does it go without TLS."""
    plain = request.url.scheme == "http" and is_loopback(request.url.hostname or "")
    response.set_cookie(COOKIE, cookie, max_age=age, path=PATH, secure=not plain, httponly=True, samesite="strict")
