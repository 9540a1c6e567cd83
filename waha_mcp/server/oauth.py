"""OAuth for connectors such as those of claude.ai and ChatGPT: an authorization server for this one resource.

The SDK's handlers implement the protocol; here are the provider that they call (`Provider`), the page for the person,
and the guards before all of it. A person's one-time code names the App, and the consent makes a grant for it: bound to
the App's id, to its WhatsApp account and to this resource. A new key leaves the grant as it is, since the person has
consented to the App, and no client has ever seen the key; an App that is disabled, removed or moved to another account
ends it.
"""

from __future__ import annotations

import hmac
import json
import logging
import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from urllib.parse import parse_qs, urlsplit

from mcp.server.auth.handlers.authorize import AuthorizationHandler
from mcp.server.auth.handlers.metadata import MetadataHandler, ProtectedResourceMetadataHandler
from mcp.server.auth.handlers.register import RegistrationHandler
from mcp.server.auth.handlers.token import TokenHandler
from mcp.server.auth.middleware.client_auth import ClientAuthenticator
from mcp.server.auth.provider import (
    AccessToken,
    AuthorizationCode,
    AuthorizationParams,
    AuthorizeError,
    OAuthAuthorizationServerProvider,
    RefreshToken,
    TokenError,
    construct_redirect_uri,
)
from mcp.server.auth.routes import cors_middleware
from mcp.server.auth.settings import ClientRegistrationOptions
from mcp.server.transport_security import RequestBodyLimitMiddleware
from mcp.shared.auth import OAuthClientInformationFull, OAuthMetadata, OAuthToken, ProtectedResourceMetadata
from pydantic import AnyUrl
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route, request_response
from starlette.types import ASGIApp, Receive, Scope, Send

from waha_mcp.app.definition import App
from waha_mcp.app.urls import parse
from waha_mcp.digests import digest
from waha_mcp.policy import one_time_codes
from waha_mcp.server import consent_words, oauth_state
from waha_mcp.server.consent_page import Asker, Form, code_page, decision_page, problem_page, return_page, shown
from waha_mcp.server.credentials import client_address
from waha_mcp.server.oauth_clients import LOOPBACK, Clients, NoDocument, is_document
from waha_mcp.server.oauth_state import (
    ACCESS_LIFE,
    MOST_TRIES,
    REQUEST_LIFE,
    TOKEN_PREFIX,
    Code,
    Grant,
    State,
    Tokens,
    account_of,
)
from waha_mcp.store import Count, Full, Limit, Store, StoreAway, in_thread

__all__ = ["TOKEN_PREFIX", "OAuth"]

logger = logging.getLogger(__name__)

Find = Callable[[str], App | None]
Handler = Callable[[Request], Awaitable[Response]]

_CONSENT = "/oauth/consent"
#: Most bytes of a body and of a query; longest `state` of a client, which is returned to it unchanged.
_BODY, _QUERY, _STATE = 16_384, 8_192, 2_000
#: Most requests of one address.
_LIMITS = {
    "/authorize": Limit(60, 600.0),
    _CONSENT: Limit(120, 600.0),
    "/register": Limit(30, 3_600.0),
    "/token": Limit(600, 600.0),
    "/revoke": Limit(120, 600.0),
}
_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")
_ELSEWHERE = (
    "This page is for the browser in which it was opened, and for ten minutes. Start again in the program that you "
    "want to connect."
)


class OAuth:
    """The authorization server, and the check of its tokens.

    `issuer`: the server's public base URL, such as https://wa.example.com. `find`: the App with an id, None if it does
    not exist or is disabled; it may be called from any thread.
    """

    def __init__(self, issuer: str, find: Find, store: Store) -> None:
        """Raises ValueError if `issuer` is not valid: one line that says why."""
        self._issuer = checked_issuer(issuer)
        self._secure = self._issuer.startswith("https:")
        self.resource = f"{self._issuer}/mcp"
        self._store, self._clients, self._state = store, Clients(store), State(store, self.resource)
        self._find = find
        self._provider = Provider(self._clients, self._state, self._app, self._refused_resource)
        self._tokens = TokenHandler(self._provider, ClientAuthenticator(self._provider))
        self.challenge = f'Bearer resource_metadata="{self._issuer}/.well-known/oauth-protected-resource/mcp"'

    async def app_of(self, token: str) -> tuple[App, str] | None:
        """The App of an access token, and the id of its grant, as long as it lasts; None: not a valid token.

        Raises:
            StoreAway: this cannot be determined.
        """
        return await in_thread(self._app_of, token)

    def _app_of(self, token: str) -> tuple[App, str] | None:
        grant = self._state.of_access(token)
        app = None if grant is None else self._app(grant.app, grant.account)
        return None if grant is None or app is None else (app, f"oauth/{grant.id}")

    def _app(self, app_id: str, account: str) -> App | None:
        """The App that somebody has consented to, while it is for the same account."""
        app = self._find(app_id)
        return app if app is not None and account_of(app) == account else None

    def _refused_resource(self, resource: str | None) -> bool:
        """Whether a token is requested for another resource. Clients from before 2025-06-18 name none."""
        try:
            return resource is not None and parse(resource).href.rstrip("/") != self.resource
        except ValueError:
            return True

    # Routes

    def routes(self) -> list[Route]:
        """The routes of discovery, of the protocol and of the page."""
        protected = ProtectedResourceMetadataHandler(
            ProtectedResourceMetadata.model_validate(
                {
                    "resource": self.resource,
                    "authorization_servers": [self._issuer],
                    "resource_name": "WhatsApp through waha-mcp",
                }
            )
        )
        server = MetadataHandler(
            OAuthMetadata.model_validate(
                {
                    "issuer": self._issuer,
                    "authorization_endpoint": f"{self._issuer}/authorize",
                    "token_endpoint": f"{self._issuer}/token",
                    "registration_endpoint": f"{self._issuer}/register",
                    "revocation_endpoint": f"{self._issuer}/revoke",
                    "response_types_supported": ["code"],
                    "response_modes_supported": ["query"],
                    "grant_types_supported": ["authorization_code", "refresh_token"],
                    "token_endpoint_auth_methods_supported": ["none"],
                    "revocation_endpoint_auth_methods_supported": ["none"],
                    "code_challenge_methods_supported": ["S256"],
                    "client_id_metadata_document_supported": True,
                    "authorization_response_iss_parameter_supported": True,
                }
            )
        )
        registration = RegistrationHandler(self._provider, ClientRegistrationOptions(enabled=True))
        posted = ["POST", "OPTIONS"]
        return [
            *(
                Route(
                    f"/.well-known/{name}{tail}",
                    cors_middleware(handle, ["GET", "OPTIONS"]),
                    methods=["GET", "OPTIONS"],
                )
                for name, handle in (
                    ("oauth-protected-resource", protected.handle),
                    ("oauth-authorization-server", server.handle),
                )
                for tail in ("", "/mcp")
            ),
            self._guarded("/authorize", request_response(self._authorize), ["GET", "POST"]),
            self._guarded(_CONSENT, request_response(self._consent), ["GET", "POST"]),
            self._guarded("/token", cors_middleware(self._token, posted), posted),
            self._guarded("/register", cors_middleware(registration.handle, posted), posted),
            self._guarded("/revoke", cors_middleware(self._revoke, posted), posted),
        ]

    def _guarded(self, path: str, app: ASGIApp, methods: list[str]) -> Route:
        limited = RequestBodyLimitMiddleware(app, _BODY)
        return Route(path, _Guard(limited, self._store, path, _LIMITS[path]), methods=methods)

    async def _token(self, request: Request) -> Response:
        form = await request.form()
        # The SDK's handler accepts the parameter and does not check it.
        if any(self._refused_resource(str(each)) for each in form.getlist("resource")):
            return JSONResponse(
                {"error": "invalid_target", "error_description": f"Tokens of this server are for {self.resource}"},
                400,
                {"Cache-Control": "no-store"},
            )
        answer: Response = await self._tokens.handle(request)
        return answer

    async def _revoke(self, request: Request) -> Response:
        """End the grant of a token (RFC 7009). The SDK's handler requires a secret of every client."""
        form = await request.form()
        client, token = str(form.get("client_id", "")), str(form.get("token", ""))
        if await in_thread(self._clients.get, client) is None:
            return JSONResponse({"error": "invalid_client"}, 401, {"Cache-Control": "no-store"})
        await in_thread(self._state.revoke, client, token)
        return Response(headers={"Cache-Control": "no-store"})

    async def _authorize(self, request: Request) -> Response:
        """Open the page. Errors are shown here and not at the redirect URI, which a stranger has chosen.

        RFC 9700, 4.11: nobody is redirected before having seen where to.
        """
        given = request.query_params if request.method == "GET" else await request.form()
        try:
            await self._clients.look_up(str(given.get("client_id", "")))
        except NoDocument as error:
            return problem_page(f"The program's description cannot be used: {error}.")
        answer = await AuthorizationHandler(self._provider).handle(request)
        where = urlsplit(answer.headers.get("location", ""))
        if where.scheme == _Opened.SCHEME:
            browser = where.path
            opened = RedirectResponse(
                f"{_CONSENT}?request={digest(browser)}",
                302,
                {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"},
            )
            self._set_cookie(opened, digest(browser), browser, int(REQUEST_LIFE))
            return opened
        if where.query:
            found = {name: values[0] for name, values in parse_qs(where.query).items()}
        else:
            found = json.loads(bytes(answer.body))
        why = found.get("error_description") or found.get("error")
        return problem_page(f"The program's request cannot be used: {why}")

    # The page

    def _cookie(self, request_id: str) -> str:
        return f"{'__Host-' if self._secure else ''}waha-mcp-{request_id[:16]}"

    def _set_cookie(self, answer: Response, request_id: str, value: str, age: int) -> None:
        # Lax, since the way to the page begins at the client's site.
        answer.set_cookie(
            self._cookie(request_id), value, max_age=age, path="/", secure=self._secure, httponly=True, samesite="lax"
        )

    async def _consent(self, request: Request) -> Response:
        form = request.query_params if request.method != "POST" else await request.form()
        request_id = str(form.get("request", ""))
        browser = request.cookies.get(self._cookie(request_id), "")
        if not hmac.compare_digest(digest(browser).encode(), request_id.encode(errors="replace")):
            return problem_page(_ELSEWHERE, 403)
        page = Form(_CONSENT, request_id, digest(f"form {browser}"))
        if request.method == "POST":
            origin, site = request.headers.get("origin"), request.headers.get("sec-fetch-site", "same-origin")
            proof = str(form.get("proof", "")).encode(errors="replace")
            if origin not in (None, self._issuer) or site not in ("same-origin", "none"):
                return problem_page(_ELSEWHERE, 403)
            if not hmac.compare_digest(proof, page.proof.encode()):
                return problem_page(_ELSEWHERE, 403)
        found = await in_thread(self._state.request, request_id)
        if found is None:
            return problem_page(_ELSEWHERE, 403)
        match str(form.get("step", "")) if request.method == "POST" else "":
            case "code" if found.app is None:
                return await self._code_typed(request, page, found, str(form.get("code", "")))
            case "allow" if found.app is not None:
                return await self._allowed(page, found, str(form.get("shown", "")))
            case "refuse":
                return await self._refused(page, found)
        return self._shown(page, found)

    def _shown(self, page: Form, found: oauth_state.Request, changed: bool = False) -> Response:
        if found.app is None or found.account is None:
            return code_page(page, _asker(found))
        app = self._app(found.app, found.account)
        if app is None:
            return problem_page(f"The App {found.app} no longer exists or is disabled.")
        return decision_page(page, _asker(found), consent_words.terms(app), changed)

    async def _code_typed(self, request: Request, page: Form, found: oauth_state.Request, text: str) -> Response:
        # Counted before it is checked; of two concurrent attempts, one fails.
        tried = replace(found, tries=found.tries + 1)
        if not await in_thread(self._state.change, page.request, found, tried):
            return problem_page(_ELSEWHERE, 403)
        try:
            app_id = await in_thread(one_time_codes.redeem, self._store, "oauth", text, client_address(request))
        except Full as full:
            answer = code_page(page, _asker(found), "Too many wrong codes were typed lately. Try again later.")
            answer.status_code, answer.headers["Retry-After"] = 429, f"{full.wait:.0f}"
            return answer
        app = None if app_id is None else self._find(app_id)
        if app is None:
            left = MOST_TRIES - tried.tries
            if left <= 0:
                await in_thread(self._state.change, page.request, tried, None)
                return problem_page(
                    "That was not the code either. Start again in the program that you want to connect."
                )
            if app_id is not None:
                return code_page(page, _asker(found), f"The App {app_id} no longer exists or is disabled.")
            again = f"{left} more {'tries' if left > 1 else 'try'}"
            return code_page(page, _asker(found), f"That code is not valid now. You have {again}.")
        entered = replace(tried, app=app.id, account=account_of(app))
        if not await in_thread(self._state.change, page.request, tried, entered):
            return problem_page(_ELSEWHERE, 403)
        return RedirectResponse(f"{_CONSENT}?request={page.request}", 303, {"Cache-Control": "no-store"})

    async def _allowed(self, page: Form, found: oauth_state.Request, read: str) -> Response:
        app = self._app(found.app or "", found.account or "")
        if app is None or read != shown(consent_words.terms(app)):
            return self._shown(page, found, changed=True)
        code = await in_thread(self._state.allow, page.request, found)
        if code is None:
            return problem_page(_ELSEWHERE, 403)
        # From now on no flood of others evicts it.
        await in_thread(self._clients.used, found.client)
        return self._sent_back(page, found, code=code)

    async def _refused(self, page: Form, found: oauth_state.Request) -> Response:
        if not await in_thread(self._state.change, page.request, found, None):
            return problem_page(_ELSEWHERE, 403)
        return self._sent_back(page, found, error="access_denied")

    def _sent_back(self, page: Form, found: oauth_state.Request, **parameters: str) -> Response:
        # `iss` (RFC 9207): tells a client of several servers which one this answer is from.
        target = construct_redirect_uri(found.redirect, **parameters, state=found.state, iss=self._issuer)
        answer = return_page(_asker(found), target, "code" in parameters)
        answer.delete_cookie(self._cookie(page.request), path="/", secure=self._secure, httponly=True, samesite="lax")
        return answer


def checked_issuer(issuer: str) -> str:
    """An issuer's URL as an origin.

    Raises:
        ValueError: it is not one, or must not be used as one: one line that says why.
    """
    url = parse(issuer)
    if url.scheme != "https" and url.host not in LOOPBACK:
        raise ValueError("the issuer must be an https URL (http on loopback only)")
    if url.path != "/" or "?" in url.href or "#" in url.href:
        raise ValueError("the issuer must be a URL without path, such as https://wa.example.com")
    return url.href.rstrip("/")


def _asker(found: oauth_state.Request) -> Asker:
    return Asker(found.name, found.redirect, found.client if is_document(found.client) else None)


class _Guard:
    """Limits in front of a route, and an answer for when the store is away."""

    def __init__(self, app: ASGIApp, store: Store, name: str, limit: Limit) -> None:
        self._app, self._store, self._name, self._limit = app, store, name, limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            answer = await self._refusal(scope)
            await (self._app if answer is None else answer)(scope, receive, send)
        except StoreAway as error:
            logger.warning("%s", error)
            away = PlainTextResponse(
                "The server cannot reach its store. Try again later.\n", 503, {"Retry-After": "10"}
            )
            await away(scope, receive, send)

    async def _refusal(self, scope: Scope) -> Response | None:
        if len(scope["query_string"]) > _QUERY:
            return PlainTextResponse("The query is too long.\n", 414)
        if scope["method"] == "OPTIONS":
            return None
        try:
            await in_thread(
                self._store.take, [Count(f"oauth{self._name}/{client_address(HTTPConnection(scope))}", (self._limit,))]
            )
        except Full as full:
            return PlainTextResponse("Too many requests.\n", 429, {"Retry-After": f"{full.wait:.0f}"})
        return None


class _Opened:
    """How the provider tells `_authorize`, through the SDK's handler, that the page can be opened."""

    SCHEME = "waha-mcp-consent"


class _Code(AuthorizationCode):
    claims: Code


class _Refresh(RefreshToken):
    grant: Grant


class Provider(OAuthAuthorizationServerProvider[_Code, _Refresh, AccessToken]):
    """What the SDK's handlers call, as far as it is used here. `app(app_id, account)`: the App, while it
    is as it was when consented to.
    """

    def __init__(
        self,
        clients: Clients,
        state: State,
        app: Callable[[str, str], App | None],
        refused_resource: Callable[[str | None], bool],
    ) -> None:
        self._clients, self._state, self._app, self._refused_resource = clients, state, app, refused_resource

    async def get_client(self, client_id: str) -> OAuthClientInformationFull | None:
        return await in_thread(self._clients.get, client_id)

    async def register_client(self, client_info: OAuthClientInformationFull) -> None:
        await in_thread(self._clients.register, client_info)

    async def authorize(self, client: OAuthClientInformationFull, params: AuthorizationParams) -> str:
        if self._refused_resource(params.resource):
            raise AuthorizeError("invalid_target", "it asks for access to another server")
        if not _CHALLENGE.fullmatch(params.code_challenge):
            raise AuthorizeError("invalid_request", "code_challenge is not an S256 challenge")
        if params.state is not None and len(params.state) > _STATE:
            raise AuthorizeError("invalid_request", f"state is longer than {_STATE} characters")
        request = oauth_state.Request(
            client=client.client_id,
            name=client.client_name,
            redirect=str(params.redirect_uri),
            explicit=params.redirect_uri_provided_explicitly,
            state=params.state,
            challenge=params.code_challenge,
            expires=self._state.now() + REQUEST_LIFE,
        )
        return f"{_Opened.SCHEME}:{await in_thread(self._state.ask, request)}"

    async def load_authorization_code(
        self, client: OAuthClientInformationFull, authorization_code: str
    ) -> _Code | None:
        claims = await in_thread(self._state.code, client.client_id, authorization_code)
        if claims is None:
            return None
        return _Code(
            code=authorization_code,
            scopes=[],
            expires_at=claims.expires,
            client_id=claims.client,
            code_challenge=claims.challenge,
            redirect_uri=AnyUrl(claims.redirect),
            redirect_uri_provided_explicitly=claims.explicit,
            claims=claims,
        )

    async def exchange_authorization_code(
        self, client: OAuthClientInformationFull, authorization_code: _Code
    ) -> OAuthToken:
        claims = authorization_code.claims
        self._check_app(claims)
        return await self._given(client, await in_thread(self._state.exchange, authorization_code.code, claims))

    async def load_refresh_token(self, client: OAuthClientInformationFull, refresh_token: str) -> _Refresh | None:
        grant = await in_thread(self._state.of_refresh, client.client_id, refresh_token)
        if grant is None:
            return None
        return _Refresh(token=refresh_token, client_id=grant.client, scopes=[], grant=grant)

    async def exchange_refresh_token(
        self, client: OAuthClientInformationFull, refresh_token: _Refresh, scopes: list[str]
    ) -> OAuthToken:
        grant = refresh_token.grant
        self._check_app(grant)
        return await self._given(client, await in_thread(self._state.refresh, refresh_token.token, grant))

    def _check_app(self, of: Code | Grant) -> None:
        if self._app(of.app, of.account) is None:
            raise TokenError("invalid_grant", "the App no longer exists or is disabled")

    async def _given(self, client: OAuthClientInformationFull, tokens: Tokens | None) -> OAuthToken:
        if tokens is None:
            raise TokenError("invalid_grant", "it was used already")
        await in_thread(self._clients.used, client.client_id)
        return OAuthToken(access_token=tokens.access, refresh_token=tokens.refresh, expires_in=int(ACCESS_LIFE))

    async def load_access_token(self, token: str) -> AccessToken | None:
        """None: only the SDK's own revocation would ask."""

    async def revoke_token(self, token: AccessToken | _Refresh) -> None:
        """Nothing, as above."""
