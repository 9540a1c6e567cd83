"""A server with OAuth's routes and a resource, and the steps of a client and of a person on it."""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import uvicorn
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from waha_mcp.app.definition import App
from waha_mcp.policy import one_time_codes
from waha_mcp.server.oauth import OAuth
from waha_mcp.store import Store, StoreAway
from waha_mcp.store.sqlite import Sqlite

REDIRECT = "https://client.example/callback"


def an_app(app_id: str = "assistant", **fields: Any) -> App:
    """An App whose WAHA is never called."""
    known = {"session": "default", "actions": ["read", "send"]} | fields
    return App(id=app_id, url="http://127.0.0.1:9", key=SecretStr(f"key-of-{app_id}"), **known)


@dataclass
class Site:
    """One replica: its URL, and its parts."""

    url: str
    apps: dict[str, App]
    store: Store
    oauth: OAuth = field(repr=False)
    #: What came back to `/callback`, in the place of a client's.
    returned: list[dict[str, str]] = field(default_factory=list)
    browsers: list[httpx.Client] = field(default_factory=list)

    def browser(self) -> httpx.Client:
        """A browser, or a client's HTTP, with separate cookies."""
        self.browsers.append(httpx.Client(base_url=self.url, timeout=30))
        return self.browsers[-1]

    def code(self, app_id: str = "assistant") -> str:
        """A one-time code, as `waha-mcp apps code` prints it."""
        return one_time_codes.issue(self.store, "oauth", app_id)

    def app_of(self, token: str | None) -> str | None:
        """The App that the resource serves for a token; None: it is refused."""
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        answer = httpx.get(f"{self.url}/mcp", headers=headers)
        return None if answer.status_code == 401 else str(answer.raise_for_status().json()["app"])


@contextmanager
def site(store: Path | Store, *apps: App, issuer: str | None = None) -> Iterator[Site]:
    """A replica on a free port, with its store, or the file for one."""
    listening = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    known = {app.id: app for app in apps or (an_app(),)}
    opened = Sqlite(store) if isinstance(store, Path) else store
    oauth = OAuth(issuer or url, known.get, opened)

    async def resource(request: Request) -> Response:
        try:
            found = await oauth.app_of(request.headers.get("authorization", "").removeprefix("Bearer "))
        except StoreAway:
            return PlainTextResponse("", 503)
        if found is None:
            return PlainTextResponse("", 401, {"WWW-Authenticate": oauth.challenge})
        return JSONResponse({"app": found[0].id, "owner": found[1]})

    async def callback(request: Request) -> Response:
        found.returned.append(dict(request.query_params))
        return PlainTextResponse("Back at the client")

    server = uvicorn.Server(
        uvicorn.Config(
            Starlette(
                routes=[*oauth.routes(), Route("/mcp", resource, methods=["GET", "POST"]), Route("/callback", callback)]
            ),
            log_config=None,
            lifespan="off",
        )
    )
    found = Site(url, known, opened, oauth)
    thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
    thread.start()
    try:
        yield found
    finally:
        for browser in found.browsers:
            browser.close()
        server.should_exit = True
        thread.join(10)
        listening.close()
        opened.close()


@dataclass
class Page:
    """The consent page in a browser."""

    answer: httpx.Response

    @property
    def text(self) -> str:
        """Its HTML."""
        return self.answer.text

    @property
    def hidden(self) -> dict[str, str]:
        """The hidden fields."""
        found = re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', self.text)
        return {name: unescape(value) for name, value in found}

    @property
    def back(self) -> str:
        """The URL that the browser is sent to."""
        found = re.search(r'http-equiv="refresh" content="0; url=([^"]*)"', self.text)
        assert found, self.text
        return unescape(found[1])

    @property
    def returned(self) -> dict[str, str]:
        """The parameters that the client gets."""
        return {name: values[0] for name, values in parse_qs(urlsplit(self.back).query).items()}


class Client:
    """A client of OAuth, step by step, and a person's browser."""

    def __init__(self, site: Site, redirect: str = REDIRECT, name: str = "Claude") -> None:
        self.site, self.redirect = site, redirect
        self.http = site.browser()
        self.verifier = secrets.token_urlsafe(48)
        self.state = secrets.token_urlsafe(8)
        self.id = self.register(client_name=name).raise_for_status().json()["client_id"]

    def register(self, **fields: Any) -> httpx.Response:
        return self.http.post("/register", json={"redirect_uris": [self.redirect]} | fields)

    @property
    def challenge(self) -> str:
        return base64.urlsafe_b64encode(hashlib.sha256(self.verifier.encode()).digest()).decode().rstrip("=")

    def asked(self, **changes: str | None) -> dict[str, str]:
        """The parameters of a request for consent, valid except for the changes."""
        given = {
            "client_id": self.id,
            "redirect_uri": self.redirect,
            "response_type": "code",
            "code_challenge": self.challenge,
            "code_challenge_method": "S256",
            "state": self.state,
            "resource": f"{self.site.url}/mcp",
        } | changes
        return {name: value for name, value in given.items() if value is not None}

    def open(self, **changes: str | None) -> Page:
        """Open the page in a new browser."""
        self.browser = self.site.browser()
        address = f"/authorize?{urlencode(self.asked(**changes))}"
        return Page(self.browser.get(address, follow_redirects=True))

    def post(self, page: Page, step: str, **fields: str) -> Page:
        """Press a button of the page."""
        body = page.hidden | {"step": step} | fields
        return Page(
            self.browser.post(
                "/oauth/consent", data=body, headers={"Origin": self.site.oauth.resource[:-4]}, follow_redirects=True
            )
        )

    def allowed(self, app_id: str = "assistant", **changes: str | None) -> str:
        """All steps up to an authorization code."""
        page = self.post(self.open(**changes), "code", code=self.site.code(app_id))
        return self.post(page, "allow").returned["code"]

    def exchange(self, code: str, /, **changes: str | None) -> httpx.Response:
        given = {
            "grant_type": "authorization_code",
            "code": code,
            "client_id": self.id,
            "redirect_uri": self.redirect,
            "code_verifier": self.verifier,
            "resource": f"{self.site.url}/mcp",
        } | changes
        return self.http.post("/token", data={name: value for name, value in given.items() if value is not None})

    def refresh(self, token: str, **changes: str) -> httpx.Response:
        given = {"grant_type": "refresh_token", "refresh_token": token, "client_id": self.id} | changes
        return self.http.post("/token", data=given)

    def revoke(self, token: str, **changes: str) -> httpx.Response:
        return self.http.post("/revoke", data={"token": token, "client_id": self.id} | changes)

    def connected(self, app_id: str = "assistant") -> dict[str, Any]:
        """Tokens, after all steps that lead to them."""
        tokens: dict[str, Any] = self.exchange(self.allowed(app_id)).raise_for_status().json()
        return tokens
