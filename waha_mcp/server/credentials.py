"""Authenticates HTTP requests: finds the App of the key or token that a request carries.

Nothing else in a request selects an App, a key or a WAHA. The server never substitutes a key of its own.
"""

from __future__ import annotations

import ipaddress
import logging
import math
import time
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import anyio.to_thread
from pydantic import SecretStr
from starlette.datastructures import Headers
from starlette.requests import HTTPConnection

from waha_mcp.app.actions import Action
from waha_mcp.app.definition import App, AppError
from waha_mcp.app.folder import AppFolder, Template
from waha_mcp.digests import key_digest
from waha_mcp.steps import did_you_mean
from waha_mcp.store import StoreAway
from waha_mcp.tools.catalog import CATALOG, EVERY
from waha_mcp.tools.toolsets import TOOLSETS, load_tools

logger = logging.getLogger(__name__)

T = TypeVar("T")

#: Longest key or token in characters.
LONGEST = 512
#: Seconds for which a key that WAHA does not know is remembered (it may be switched on again), and how many are.
REMEMBERED, MOST_REMEMBERED = 30.0, 10_000
#: Unknown keys that one address, and all of them together, may try in `WINDOW` seconds.
PER_ADDRESS, IN_ALL, WINDOW = 10, 100, 60.0


class Refused(Exception):
    """A request that is not served. `status` of HTTP; `code`: an OAuth error code; the text is for people."""

    def __init__(self, status: int, code: str, text: str, wait: float | None = None) -> None:
        super().__init__(text)
        self.status, self.code, self.wait = status, code, wait


@dataclass(frozen=True)
class Caller:
    """Who makes a request: the App, whole and as narrowed by the request, and the owner of the client's session.

    `known`: a definition names the key.
    """

    whole: App
    app: App
    owner: str
    known: bool = True


#: The App of an access token, and the token's owner; None if it is not valid.
Tokens = Callable[[str], Awaitable[tuple[App, str] | None]]


class Credentials:
    """Finds the App of each request."""

    def __init__(
        self,
        folder: AppFolder | None,
        template: Template | None = None,
        *,
        tokens: Tokens | None = None,
        token_prefix: str | None = None,
    ) -> None:
        """`template` makes the App of a key that the folder does not have; None: there is none for it."""
        self._folder, self._template = folder, template
        self._tokens, self._token_prefix = tokens, token_prefix
        self._attempts = Attempts()

    async def caller(self, request: HTTPConnection) -> Caller:
        """The caller of a request.

        Raises:
            Refused: no key, several, or an unknown one; too many attempts; invalid headers; store away.
        """
        given = _credential(request.headers)
        known = True
        if self._token_prefix is not None and given.startswith(self._token_prefix):
            app, owner = await self._of_token(given)
        else:
            key = SecretStr(given)
            owner = key_digest(key)
            app, known = await self._of_key(key, owner, client_address(request))
        app = _remote(app)
        return Caller(app, narrowed(app, request.headers), owner, known)

    async def stands(self, whole: App) -> bool:
        """Whether an App is still to be served with this definition."""
        return await anyio.to_thread.run_sync(self._still, whole)

    def _still(self, whole: App) -> bool:
        found = None if self._folder is None else self._folder.by_key(whole.key)
        if found is None and self._is_open_to(whole.key):
            assert self._template is not None
            try:
                found = self._template.app_for(whole.key)
            except AppError:
                return False
        return found is not None and _remote(found) == whole

    def _is_open_to(self, key: SecretStr) -> bool:
        """Whether the template is for this key: no definition names it, served or not. Blocks."""
        return self._template is not None and not (self._folder is not None and self._folder.withholds(key))

    def unknown(self, app: App) -> None:
        """Remember that WAHA does not know the App's key."""
        self._attempts.failed(key_digest(app.key))

    def confirmed(self, caller: Caller) -> None:
        """Record that WAHA knows the caller's key: it does not count as an attempt."""
        if not caller.known:
            self._attempts.succeeded(key_digest(caller.app.key))

    async def _of_token(self, token: str) -> tuple[App, str]:
        assert self._tokens is not None
        try:
            found = await self._tokens(token)
        except StoreAway as error:
            raise Refused(503, "temporarily_unavailable", str(error), 5.0) from None
        if found is None:
            raise Refused(401, "invalid_token", "The access token is not valid (any more): authorize again.")
        return found

    async def _of_key(self, key: SecretStr, digest: str, address: str) -> tuple[App, bool]:
        """The App of a key, and whether a definition names it."""
        if self._folder is not None:
            app = await _found(self._folder, self._folder.by_key, key)
            if app is not None:
                self._attempts.check(digest)
                return app, True
        if self._template is None or not await anyio.to_thread.run_sync(self._is_open_to, key):
            raise Refused(401, "invalid_token", "No App here has this key.")
        self._attempts.begin(digest, address)
        try:
            return await anyio.to_thread.run_sync(self._template.app_for, key), False
        except AppError as error:
            logger.info("No App is made for a key: %s", error)
            raise Refused(401, "invalid_token", "No App is made here for this key.") from None


async def _found(folder: AppFolder, find: Callable[[T], App | None], what: T) -> App | None:
    """What the folder has; a thread for each request would cost more than the look-up."""
    return await anyio.to_thread.run_sync(find, what) if folder.due else find(what)


class Attempts:
    """Keys without a definition: how many an address may try, and which of them WAHA does not know."""

    def __init__(self) -> None:
        #: Digests of keys that WAHA did not know, with when they are forgotten.
        self._unknown: OrderedDict[str, float] = OrderedDict()
        #: Digests of the keys that WAHA knew most recently. They do not count as attempts.
        self._good: OrderedDict[str, None] = OrderedDict()
        #: When each address, and all of them, tried a key that was not known to be good.
        self._tried: OrderedDict[str, deque[float]] = OrderedDict()

    def begin(self, digest: str, address: str) -> None:
        """Count an attempt.

        Raises:
            Refused: WAHA did not know the key a moment ago, or there were too many attempts.
        """
        self.check(digest)
        if digest in self._good:
            return
        now = time.monotonic()
        mine, everyone = self._recent(address, now), self._recent("*", now)
        for tried, most in ((mine, PER_ADDRESS), (everyone, IN_ALL)):
            if len(tried) >= most:
                wait = tried[0] + WINDOW - now
                raise Refused(429, "too_many_attempts", f"Too many unknown keys: wait {math.ceil(wait)} s.", wait)
        mine.append(now)
        everyone.append(now)

    def check(self, digest: str) -> None:
        """Refuse a key that WAHA did not know a moment ago, whoever sends it.

        Raises:
            Refused: it is such a key.
        """
        if self._unknown.get(digest, -math.inf) > time.monotonic():
            raise Refused(401, "invalid_token", "WAHA does not know this key.")

    def failed(self, digest: str) -> None:
        """WAHA does not know the key."""
        self._good.pop(digest, None)
        self._unknown[digest] = time.monotonic() + REMEMBERED
        self._unknown.move_to_end(digest)
        _bound(self._unknown)

    def succeeded(self, digest: str) -> None:
        """WAHA knows the key."""
        self._good[digest] = None
        self._good.move_to_end(digest)
        _bound(self._good)

    def _recent(self, address: str, now: float) -> deque[float]:
        tried = self._tried.setdefault(address, deque())
        self._tried.move_to_end(address)
        _bound(self._tried)
        while tried and tried[0] <= now - WINDOW:
            tried.popleft()
        return tried


def _bound(kept: OrderedDict[str, Any]) -> None:
    while len(kept) > MOST_REMEMBERED:
        kept.popitem(last=False)


def _credential(headers: Headers) -> str:
    """The key or token of a request.

    Raises:
        Refused: there is none, or several that differ.
    """
    found = set(headers.getlist("x-api-key"))
    for value in headers.getlist("authorization"):
        scheme, _, rest = value.partition(" ")
        if scheme.lower() != "bearer":
            raise Refused(401, "invalid_request", "Authorization must be: Bearer KEY.")
        found.add(rest.strip())
    found = {each.strip() for each in found}
    if not found:
        raise Refused(401, "invalid_request", "No key: send a session's scoped key in X-Api-Key, or as a bearer token.")
    if len(found) > 1:
        raise Refused(401, "invalid_request", "Two different keys: send one.")
    [key] = found
    if not 0 < len(key) <= LONGEST or not all("!" <= char <= "~" for char in key):
        raise Refused(401, "invalid_token", "That is not a key.")
    return key


def client_address(request: HTTPConnection) -> str:
    """The identity that attempts are counted by: the client's address; for IPv6 the network, which is one client's."""
    host = request.client.host if request.client else ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return "unknown"
    if isinstance(address, ipaddress.IPv6Address):
        mapped = address.ipv4_mapped
        return str(mapped or ipaddress.ip_network((address, 64), strict=False))
    return str(address)


def _remote(app: App) -> App:
    """The App for clients on other machines: without the folders of this one, unless it says so."""
    files = {} if app.remote_files else {"outbox": None, "downloads": None}
    return app.model_copy(update={"allow_admin_key": False, **files})


def narrowed(app: App, headers: Headers) -> App:
    """The App without what the headers `X-Toolsets` and `X-Read-Only` remove. They can add nothing.

    Raises:
        Refused: a header has an invalid value.
    """
    toolsets, read_only = headers.getlist("x-toolsets"), headers.getlist("x-read-only")
    wanted = {name.strip() for value in toolsets for name in value.split(",")} - {""}
    if unknown := sorted(wanted - TOOLSETS):
        meant = did_you_mean(unknown[0], TOOLSETS)
        raise Refused(400, "invalid_request", f"X-Toolsets: there is no toolset {ascii(unknown[0])[:60]}{meant}")
    if any(value.strip().lower() not in ("true", "false") for value in read_only):
        raise Refused(400, "invalid_request", "X-Read-Only must be true or false")
    # No tool of this action changes anything in WhatsApp.
    only_read = any(value.strip().lower() == "true" for value in read_only)
    chosen = bool(toolsets) and EVERY not in wanted
    if not only_read and not chosen:
        return app
    load_tools()
    # Tools are left out, and actions stay as they are: those that an App declares are listed before WAHA has confirmed
    # them, and a header declares nothing.
    left_out = {
        tool.name
        for tool in CATALOG.values()
        if tool.action is not None
        and ((only_read and tool.action is not Action.READ) or (chosen and tool.toolset not in wanted))
    }
    return app.model_copy(update={"exclude": app.exclude | left_out})
