"""MCP over Streamable HTTP: many clients and many Apps in one process. The key of each request decides whose it is."""

from __future__ import annotations

import logging
import math
import signal
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import uvicorn
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from sse_starlette.sse import AppStatus
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, HTTPConnection, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.server import HANDLED_SIGNALS

from waha_mcp.app.definition import AppError
from waha_mcp.app.urls import is_local_address, is_loopback
from waha_mcp.bridge import Bridge, Shared
from waha_mcp.bridges import AdminKey, Bridges, KeyRefused, TooMany, Unconfirmed
from waha_mcp.digests import digest
from waha_mcp.server.credentials import Caller, Credentials, Refused
from waha_mcp.server.known_hosts import KnownHosts
from waha_mcp.server.metrics import Metrics
from waha_mcp.server.patience import Impatient, end_unread
from waha_mcp.server.protocol import Protocol
from waha_mcp.store import Store, away, in_thread
from waha_mcp.store.changes import Changes

logger = logging.getLogger(__name__)

#: The path of MCP.
PATH = "/mcp"
#: For load balancers: whether the process is alive, and whether clients should be sent to it. For Prometheus: metrics.
HEALTHY, READY, METRICS = "/healthz", "/readyz", "/metrics"
#: Most bytes of a request: tools take files of up to 32 MiB as base64.
MOST_BODY = 48 * 2**20
#: Seconds for which calls under way may end after SIGTERM.
DRAIN = 30
#: The OAuth error code of requests that may succeed later.
_LATER = "temporarily_unavailable"
#: The SDK's logger of requests.
_SDK_HTTP = "mcp.server.streamable_http"
#: In a request's scope: its bridge.
_BRIDGE = "waha_mcp.bridge"


@dataclass(frozen=True)
class Site:
    """Where the server listens and how it is reached. `hosts`: names that `Host` may have besides its own address."""

    host: str
    port: int
    hosts: Sequence[str] = ()
    certfile: Path | None = None
    keyfile: Path | None = None
    #: Addresses or networks of proxies: the client's address is the one that they name in X-Forwarded-For.
    proxies: Sequence[str] = ()

    @property
    def local(self) -> bool:
        """Whether it listens on this machine's loopback alone."""
        return is_loopback(self.host)

    @property
    def name(self) -> str:
        """Its address as a URL has it."""
        return f"[{self.host}]" if ":" in self.host else self.host

    @property
    def names(self) -> set[str]:
        """What `Host` and `Origin` may name: these, with any port or with their own."""
        return {*self.hosts, self.name, *(("127.0.0.1", "localhost", "[::1]") if self.local else ())}


class HttpServer:
    """The server of one process. `app` is its ASGI application, which has to be run with its lifespan."""

    def __init__(
        self,
        site: Site,
        credentials: Credentials,
        store: Store,
        *,
        sessions: bool = False,
        routes: Sequence[BaseRoute] = (),
        challenge: str = "Bearer",
    ) -> None:
        """`store` is shared by all bridges. `routes`: of OAuth and of the console. `challenge`: of a 401 answer."""
        self._credentials, self._store, self._challenge = credentials, store, challenge
        self._metrics = Metrics(lambda: len(self.bridges))
        self.bridges = Bridges(stands=credentials.stands, shared=Shared(store, observer=self._metrics))
        #: What processes on one store tell each other: the digest of an App's id, of which they may remember too much.
        self._changes = Changes(store)
        self.bridges.changed.add(lambda app: self._changes.tell(digest(app.id)))
        self.protocol = Protocol(_bridge_of, connected=sessions)
        self.protocol.server.middleware.insert(0, self._hold)
        self.bridges.retiring.add(self._retire)
        self.bridges.closed.add(self.protocol.forget)
        self._manager = StreamableHTTPSessionManager(
            self.protocol.server, stateless=not sessions, max_request_body_size=MOST_BODY
        )
        #: The responses that stay open until the client leaves, by their bridge.
        self._streams: dict[Bridge, set[anyio.CancelScope]] = {}
        self._draining = False
        #: Why the store cannot be used, as of the last check, and when it is checked again (monotonic clock).
        self._store_away: str | None = None
        self._store_due = 0.0
        app = Starlette(
            routes=[
                Route(PATH, _Asgi(self._mcp)),
                Route(HEALTHY, _healthy),
                Route(READY, self._ready),
                Route(METRICS, self._measured),
                *routes,
            ],
            exception_handlers={ClientDisconnect: _left},
            lifespan=self._lifespan,
        )
        app.router.redirect_slashes = False
        # Load balancers and Prometheus use the machine's address: these answers contain nothing worth stealing.
        self.app: ASGIApp = KnownHosts(
            app, site.names, free=(HEALTHY, READY, METRICS), turned_away=self._metrics.turned_away
        )

    @asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        async with self.bridges.run(), self._manager.run(), anyio.create_task_group() as tasks:
            tasks.start_soon(self._hear)
            yield
            tasks.cancel_scope.cancel()

    async def _hear(self) -> None:
        async for topic in self._changes.heard():
            self.bridges.doubt(lambda app, topic=topic: topic in (None, digest(app.id)))  # type: ignore[misc]

    def drain(self) -> None:
        """End the streams that would stay open: the process is about to end. Calls under way continue."""
        logger.info("Stopping: calls under way have %d s to end", DRAIN)
        self._draining = True
        self.protocol.end_subscriptions()
        for bridge in tuple(self._streams):
            self._cut(bridge)

    # MCP

    async def _mcp(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            caller = await self._credentials.caller(HTTPConnection(scope))
            try:
                async with self.bridges.lease(caller.app, caller.whole, vouched=caller.known) as bridge:
                    self._credentials.confirmed(caller)
                    await self._serve(caller, bridge, scope, receive, send)
            except KeyRefused:
                self._credentials.unknown(caller.app)
                raise Refused(401, "invalid_token", "WAHA does not know this key (any more).") from None
            except AdminKey:
                raise Refused(403, "insufficient_scope", "This is an admin key: send a session's scoped key.") from None
            except Unconfirmed:
                raise Refused(503, _LATER, "WAHA cannot be asked about this key now.", 5.0) from None
            except TooMany:
                raise Refused(503, _LATER, "Too many Apps are at work: try again later.", 5.0) from None
            except AppError as error:
                logger.error("App %s cannot be served: %s", caller.app.id, error)
                raise Refused(503, _LATER, "The App's definition is not valid.") from None
        except Refused as refusal:
            await self._refusal(refusal)(scope, receive, send)

    async def _serve(self, caller: Caller, bridge: Bridge, scope: Scope, receive: Receive, send: Send) -> None:
        if self._draining:
            raise Refused(503, _LATER, "This process is about to end: try again.", 1.0)
        # A session of the older era belongs to its owner alone; the SDK compares this user.
        token = AccessToken(token="", client_id=caller.owner, scopes=[])
        scope = {**scope, _BRIDGE: bridge, "user": AuthenticatedUser(token)}
        if scope["method"] != "GET":
            await self._manager.handle_request(scope, receive, send)
            return
        streams = self._streams.setdefault(bridge, set())
        with anyio.CancelScope() as stream:
            streams.add(stream)
            try:
                await self._manager.handle_request(scope, receive, send)
            finally:
                streams.discard(stream)
                if not streams:
                    self._streams.pop(bridge, None)

    async def _hold(self, ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        """Middleware that keeps the bridge open for a request whose client has gone: what has begun is finished."""
        with self.bridges.using(_bridge_of(ctx)):
            return await call_next(ctx)

    async def _retire(self, bridge: Bridge) -> None:
        try:
            await self.protocol.retire(bridge)
        finally:
            self._cut(bridge)

    def _cut(self, bridge: Bridge) -> None:
        for stream in tuple(self._streams.get(bridge, ())):
            stream.cancel()

    def _refusal(self, refusal: Refused) -> Response:
        self._metrics.turned_away(refusal.status)
        headers = {}
        if refusal.status == 401:
            headers["WWW-Authenticate"] = self._challenge
        if refusal.wait is not None:
            headers["Retry-After"] = str(max(1, math.ceil(refusal.wait)))
        return JSONResponse({"error": refusal.code, "error_description": str(refusal)}, refusal.status, headers)

    # Health

    async def _ready(self, _: Request) -> Response:
        """Whether clients should be sent here: the store is available, and the process is not about to end."""
        problem = "shutting down" if self._draining else None
        if problem is None:
            if time.monotonic() >= self._store_due:
                # However often this is requested, the store is written at most once a second.
                self._store_due = time.monotonic() + 1.0
                self._store_away = await in_thread(away, self._store)
            if (why := self._store_away) is not None:
                # Anybody may ask: where the store is, only the log says.
                logger.warning("Not ready: %s", why)
                problem = "the store cannot be used"
        return JSONResponse({"ready": problem is None, "problem": problem}, 200 if problem is None else 503)

    async def _measured(self, request: Request) -> Response:
        if request.client is None or not is_local_address(request.client.host):
            return PlainTextResponse("Only for this machine and private networks.", 403)
        return Response(self._metrics.text(), media_type=self._metrics.content_type)


async def _left(_: Request, __: Exception) -> Response:
    return Response(status_code=400)  # which nobody gets any more


async def _healthy(_: Request) -> Response:
    return PlainTextResponse("ok")


class _Asgi:
    """An ASGI application from a method, which Starlette would take for a handler of requests."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)


def _bridge_of(ctx: ServerRequestContext[Any, Any]) -> Bridge:
    assert ctx.request is not None
    bridge = ctx.request.scope[_BRIDGE]
    assert isinstance(bridge, Bridge)
    return bridge


class _Connection(Impatient):
    keyed = PATH


class _Server(uvicorn.Server):
    """uvicorn, which says when it accepts connections, and ends endless streams before it waits for responses."""

    def __init__(self, config: uvicorn.Config, started: Callable[[], object], drain: Callable[[], object]) -> None:
        super().__init__(config)
        self._started, self._drain = started, drain

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._started()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._drain()
        await super().shutdown(sockets)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """As uvicorn's, but the process does not end by the signal: being stopped is no failure."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {each: signal.signal(each, self.handle_exit) for each in HANDLED_SIGNALS}
        try:
            yield
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)


def _of_no_leaver(record: logging.LogRecord) -> bool:
    """Whether the SDK reports something else than that a client has left before the end of its request."""
    return not (record.exc_info and isinstance(record.exc_info[1], ClientDisconnect))


def _listening(site: Site) -> socket.socket:
    family = socket.AF_INET6 if ":" in site.host else socket.AF_INET
    made = socket.create_server((site.host, site.port), family=family)
    end_unread(made)
    # asyncio switches Nagle's algorithm off only where it sees the protocol; else each answer waits 40 ms for an ACK.
    return socket.socket(made.family, made.type, socket.IPPROTO_TCP, fileno=made.detach())


async def serve_http(server: HttpServer, site: Site, announce: Callable[[str], object]) -> None:
    """Serve until SIGTERM or SIGINT; `announce` gets the URL once connections are accepted.

    Raises:
        OSError: the address is taken or is not one of this machine.
        AppError: the certificate cannot be used.
    """
    logging.getLogger(_SDK_HTTP).addFilter(_of_no_leaver)
    # It would end each response that is a stream with the signal, answers to calls under way among them.
    AppStatus.disable_automatic_graceful_drain()  # type: ignore[no-untyped-call]
    config = uvicorn.Config(
        server.app,
        http=_Connection,
        log_config=None,
        access_log=False,
        server_header=False,
        forwarded_allow_ips=list(site.proxies),
        ssl_certfile=site.certfile,
        ssl_keyfile=site.keyfile,
        timeout_graceful_shutdown=DRAIN,
    )
    try:
        config.load()
    except OSError as error:  # of ssl, too
        raise AppError(f"--certfile, --keyfile: they cannot be used: {error.strerror or error}") from None
    with _listening(site) as listening:
        url = f"{'https' if site.certfile else 'http'}://{site.name}:{listening.getsockname()[1]}{PATH}"
        await _Server(config, lambda: announce(url), server.drain).serve([listening])
