"""The OAuth clients that the server knows: those that registered, and those whose id is the URL of their document.

Anybody can become a client, so being one proves nothing: all are public clients without a secret, and the protection
is PKCE, the exact redirect URI and the person's consent. A client that nobody has consented to is forgotten after
`UNUSED` seconds; more of them than `MOST_UNUSED` evict the oldest, and never one that is in use.
"""

from __future__ import annotations

import json
from urllib.parse import quote

from mcp.server.auth.provider import RegistrationError
from mcp.shared.auth import InvalidRedirectUriError, OAuthClientInformationFull
from pydantic import AnyUrl, TypeAdapter, ValidationError

from waha_mcp.app.urls import parse
from waha_mcp.store import Count, Full, Limit, Store, in_thread
from waha_mcp.waha.web_fetch import NotFetched, fetch
from waha_mcp.whatsapp.untrusted import clean_name

#: Seconds for which a client is kept: without a grant, and since its last token.
UNUSED, USED = 86_400.0, 60 * 86_400.0
MOST_UNUSED = 1_000
#: Seconds after which a client's document is fetched again when it asks for a grant; most bytes of one; and how many
#: are fetched, since strangers choose the addresses.
DOCUMENT_AGE, DOCUMENT_SIZE, FETCHES = 3_600.0, 16_384, Limit(60, 600.0)

#: Keys are `new/<client id>`, and `used/<client id>` once somebody has consented.
_TABLE = "oauth_client"
_MOST_REDIRECTS, _LONGEST_REDIRECT, _LONGEST_NAME = 10, 1_000, 80
LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
#: Schemes of well-known clients. Others have a dot, as the reversed domain names that RFC 8252 asks of native apps
#: have: the schemes that a system gives a meaning to, such as `javascript` or `tel`, have none.
_APPS = frozenset({"claude", "cursor", "goose", "lmstudio", "vscode", "vscode-insiders", "windsurf", "zed"})
_URIS = TypeAdapter(list[AnyUrl])


class NoDocument(Exception):
    """The client's document cannot be used. The text is a clause that says why."""


class Client(OAuthClientInformationFull):
    """A client as the SDK's handlers take it."""

    def validate_redirect_uri(self, redirect_uri: AnyUrl | None) -> AnyUrl:
        """Exactly a registered URI; on loopback with any port (RFC 8252)."""
        known = self.redirect_uris or []
        if redirect_uri is None and len(known) == 1:
            return known[0]
        if redirect_uri is None or not any(_same(each, redirect_uri) for each in known):
            raise InvalidRedirectUriError("The redirect URI is not one that this client has registered")
        return redirect_uri

    def validate_scope(self, requested_scope: str | None) -> list[str] | None:
        """None: a grant is for an App, whose definition says what may be done, and scopes change nothing."""
        return None


def _same(known: AnyUrl, given: AnyUrl) -> bool:
    if known.scheme == given.scheme == "http" and known.host in LOOPBACK:
        return (known.host, known.path or "/", known.query) == (given.host, given.path or "/", given.query)
    return _spelled(known) == _spelled(given)


def _spelled(uri: AnyUrl) -> str:
    # Some models write the root's path and some leave it out.
    return str(uri) if uri.path or uri.scheme != "https" else str(AnyUrl(str(uri)))


def check_redirects(uris: list[AnyUrl] | None) -> None:
    """Refuse redirect URIs other than https, http on loopback, and an app's own scheme.

    Raises:
        RegistrationError: one is not allowed, or there are none or too many.
    """
    if not uris or len(uris) > _MOST_REDIRECTS:
        raise RegistrationError("invalid_redirect_uri", f"there must be 1 to {_MOST_REDIRECTS} redirect URIs")
    for uri in uris:
        if (why := _why_not(uri)) is not None:
            raise RegistrationError("invalid_redirect_uri", f"a redirect URI {why}")


def _why_not(uri: AnyUrl) -> str | None:
    if len(str(uri)) > _LONGEST_REDIRECT:
        return f"must not be longer than {_LONGEST_REDIRECT} characters"
    if "#" in str(uri) or uri.username is not None or uri.password is not None:
        return "must have no fragment, user name or password"
    if uri.scheme == "https" and uri.host:
        return None
    if uri.scheme == "http" and uri.host in LOOPBACK:
        return None
    if "." in uri.scheme or uri.scheme in _APPS:
        return None
    return "must be https, http on loopback, or have a scheme of the app's own, such as com.example.app"


class Clients:
    """The clients in a store. Methods without `async` block; all may raise StoreAway."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def register(self, client: OAuthClientInformationFull) -> None:
        """Store a client, reduced to what it may be; the answer to it says so.

        Raises:
            RegistrationError: its redirect URIs are not allowed.
        """
        check_redirects(client.redirect_uris)
        client.client_secret = client.client_secret_expires_at = None
        client.token_endpoint_auth_method = "none"  # noqa: S105 - the name of a method
        client.grant_types = ["authorization_code", "refresh_token"]
        self._keep(client.client_id, client.redirect_uris or [], client.client_name)

    def get(self, client_id: str) -> Client | None:
        """The client with an id, as it is kept."""
        row = self._row(client_id)
        if row is None:
            return None
        kept = json.loads(row[1])
        return Client(
            client_id=client_id,
            redirect_uris=_URIS.validate_python(kept["redirects"]),
            client_name=kept["name"],
            token_endpoint_auth_method="none",  # noqa: S106 - the name of a method
        )

    def used(self, client_id: str) -> None:
        """Keep a client for longer, because it gets a token."""
        row = self._row(client_id)
        if row is None:
            return
        key, value = row
        kept = f"used/{_named(client_id)}"
        moved = self._store.swap(_TABLE, kept, value if key == kept else None, value, expires=self._store.now() + USED)
        if moved and key != kept:
            self._store.swap(_TABLE, key, value, None)

    async def look_up(self, client_id: str) -> None:
        """Fetch the document of a client whose id is a URL, unless it was fetched lately.

        Raises:
            NoDocument: it cannot be used.
        """
        if not is_document(client_id):
            return
        row = await in_thread(self._row, client_id)
        if row is not None and json.loads(row[1])["at"] > self._store.now() - DOCUMENT_AGE:
            return
        try:
            await in_thread(self._store.take, [Count("oauth/documents", (FETCHES,))])
        except Full:
            raise NoDocument("too many were asked for lately") from None
        uris, name = await _document(client_id)
        await in_thread(self._keep, client_id, uris, name)

    def _keep(self, client_id: str, uris: list[AnyUrl], name: str | None) -> None:
        value = json.dumps(
            {
                "redirects": [str(uri) for uri in uris],
                "name": clean_name(name or "", _LONGEST_NAME) or None,
                "at": self._store.now(),
            }
        )
        while True:
            row = self._row(client_id)
            key, before = (f"new/{_named(client_id)}", None) if row is None else row
            lifetime = UNUSED if key.startswith("new/") else USED
            if self._store.swap(_TABLE, key, before, value, expires=self._store.now() + lifetime):
                break
        self._store.trim(_TABLE, "new/", MOST_UNUSED)

    def _row(self, client_id: str) -> tuple[str, str] | None:
        """Key and value of a client's row."""
        for state in ("used", "new"):
            key = f"{state}/{_named(client_id)}"
            if (value := self._store.get(_TABLE, key)) is not None:
                return key, value
        return None


def _named(client_id: str) -> str:
    """A client's id as part of a key: short and plain, whatever was sent as one."""
    return quote(client_id[:2_000], safe=":/")


def is_document(client_id: str) -> bool:
    """Whether a client's id is the URL of its metadata document: https, written plainly, and with a path."""
    try:
        url = parse(client_id)
    except ValueError:
        return False
    return url.scheme == "https" and url.path != "/" and url.href == client_id and not {"?", "#"} & {*client_id}


async def _document(url: str) -> tuple[list[AnyUrl], str | None]:
    """Redirect URIs and name in the document at a client's URL.

    Raises:
        NoDocument: there is none, or it is not the client's.
    """
    asked: list[str] = []

    def once(host: str) -> str | None:
        # A document that redirects belongs to whoever owns the target.
        asked.append(host)
        return None if len(asked) == 1 else "it is redirected"

    try:
        found = json.loads((await fetch(url, cap=DOCUMENT_SIZE, why_not=once)).content)
    except NotFetched as error:
        raise NoDocument(str(error)) from None
    except (ValueError, RecursionError):
        raise NoDocument("it is not JSON") from None
    if not isinstance(found, dict) or found.get("client_id") != url:
        raise NoDocument("it is not about this client")
    if str(found.get("token_endpoint_auth_method", "none")).startswith("client_secret"):
        raise NoDocument("a client with a document has no secret")
    try:
        uris = _URIS.validate_python(found.get("redirect_uris"))
        check_redirects(uris)
    except ValidationError:
        raise NoDocument("its redirect URIs are not URLs") from None
    except RegistrationError as error:
        raise NoDocument(str(error.error_description)) from None
    name = found.get("client_name")
    return uris, name if isinstance(name, str) else None
