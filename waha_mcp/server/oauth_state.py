"""What OAuth keeps in the store: requests for consent, authorization codes, and grants with their tokens.

Everything is a row that each step changes by one compare-and-swap, so any replica can take the next step, and only one
does. Secrets are random, have 256 bits and are stored only as their SHA-256. Functions
and methods block and may raise StoreAway.
"""

from __future__ import annotations

import hmac
import json
import re
import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import TypeVar

from waha_mcp.app.definition import App
from waha_mcp.digests import digest, key_digest
from waha_mcp.store import Store, remove

#: The prefix of all our tokens, which no key of WAHA has.
TOKEN_PREFIX = "wahamcp_"  # noqa: S105 - no secret

#: Seconds: of a request for consent, of an authorization code, of an access token, and of a grant since its last token.
REQUEST_LIFE, CODE_LIFE, ACCESS_LIFE, GRANT_LIFE = 600.0, 120.0, 3_600.0, 30 * 86_400.0
#: Most wrong codes for one request; most requests that wait; most access tokens of one grant that are good at a time.
MOST_TRIES, MOST_REQUESTS, MOST_ACCESS = 5, 1_000, 4

_REQUESTS, _CODES, _GRANTS = "oauth_request", "oauth_code", "oauth_grant"
_TOKEN = re.compile(rf"{TOKEN_PREFIX}(?P<kind>[ar])_(?P<grant>[0-9a-f]{{32}})_[A-Za-z0-9_-]{{43}}")


def account_of(app: App) -> str:
    """The WhatsApp account that an App is for. The consent is for this one, whichever key leads to it.

    Where the definition names no session, nothing but the key says which one it is.
    """
    return digest(f"{app.url} {app.session or key_digest(app.key)}")


@dataclass(frozen=True)
class Request:
    """A client's request for consent. `tries`: wrong codes so far. `app`, `account`: of the code, once typed."""

    client: str
    name: str | None
    redirect: str
    explicit: bool
    state: str | None
    challenge: str
    expires: float
    tries: int = 0
    app: str | None = None
    account: str | None = None


@dataclass(frozen=True)
class Code:
    """An authorization code's claims. `grant`: the id of what it was exchanged for; None: not used yet."""

    client: str
    name: str | None
    redirect: str
    explicit: bool
    challenge: str
    app: str
    account: str
    expires: float
    grant: str | None = None


@dataclass(frozen=True)
class Grant:
    """A consent in force. `access`: digest and end of each valid token; `refresh`: digest of the valid one.

    `resource` is the URL that its tokens are for, `created` and `renewed` are in Unix seconds.
    """

    id: str
    client: str
    name: str | None
    app: str
    account: str
    resource: str
    created: float
    renewed: float
    refresh: str
    access: Sequence[tuple[str, float]]


@dataclass(frozen=True)
class Tokens:
    """A pair of fresh tokens."""

    access: str
    refresh: str


Kept = TypeVar("Kept", Request, Code, Grant)


def _written(row: Request | Code | Grant) -> str:
    return json.dumps(asdict(row))


class State:
    """The rows of one server's OAuth. `resource`: the URL that its tokens are for."""

    def __init__(self, store: Store, resource: str) -> None:
        self._store, self._resource = store, resource

    def now(self) -> float:
        """The time by which rows expire, in Unix seconds."""
        return self._store.now()

    def _read(self, kind: type[Kept], table: str, key: str) -> Kept | None:
        text = self._store.get(table, key)
        return None if text is None else kind(**json.loads(text))

    # Requests for consent. Their id is the digest of what the browser holds.

    def ask(self, request: Request) -> str:
        """Store a new request; return the secret of the browser in which it is answered."""
        browser = secrets.token_urlsafe(32)
        self._store.swap(_REQUESTS, digest(browser), None, _written(request), expires=request.expires)
        self._store.trim(_REQUESTS, "", MOST_REQUESTS)
        return browser

    def request(self, request_id: str) -> Request | None:
        """The request with an id, while it waits."""
        return self._read(Request, _REQUESTS, request_id)

    def change(self, request_id: str, before: Request, after: Request | None) -> bool:
        """Replace a request, or remove it; False if it has changed."""
        new = None if after is None else _written(after)
        return self._store.swap(_REQUESTS, request_id, _written(before), new, expires=before.expires)

    # Authorization codes

    def allow(self, request_id: str, request: Request) -> str | None:
        """Make an authorization code for a request with a typed code; None if the request has changed."""
        assert request.app is not None
        assert request.account is not None
        if not self.change(request_id, request, None):
            return None
        code = secrets.token_urlsafe(32)
        claims = Code(
            request.client,
            request.name,
            request.redirect,
            request.explicit,
            request.challenge,
            request.app,
            request.account,
            self._store.now() + CODE_LIFE,
        )
        # Kept a while longer than it is valid, so that a second use is recognized.
        self._store.swap(_CODES, digest(code), None, _written(claims), expires=claims.expires + CODE_LIFE)
        return code

    def code(self, client: str, code: str) -> Code | None:
        """The claims of a client's code. A second use ends what the first one gave, since one of the two is a thief's.

        It may have expired.
        """
        found = self._read(Code, _CODES, digest(code))
        if found is None or found.client != client:
            return None
        if found.grant is not None:
            self.end(found.grant)
            return None
        return found

    def exchange(self, code: str, claims: Code) -> Tokens | None:
        """The tokens for a code; None if it is used already."""
        secret, now = secrets.token_hex(16), self._store.now()
        grant = Grant(
            digest(secret), claims.client, claims.name, claims.app, claims.account, self._resource, now, now, "", ()
        )
        # The grant is stored before the code counts as used, so that whoever finds it used can end it.
        tokens = self._renew(secret, grant, None)
        used = _written(replace(claims, grant=grant.id))
        if self._store.swap(_CODES, digest(code), _written(claims), used, expires=claims.expires + CODE_LIFE):
            return tokens
        self.end(grant.id)
        self.code(claims.client, code)
        return None

    # Grants. Their id is the digest of what all their tokens hold.

    def of_access(self, token: str) -> Grant | None:
        """The grant of a valid access token."""
        grant = self._of("a", token)
        if grant is None:
            return None
        given, now = digest(token), self._store.now()
        good = [until > now for known, until in grant.access if hmac.compare_digest(known, given)]
        return grant if any(good) else None

    def of_refresh(self, client: str, token: str) -> Grant | None:
        """The grant of a client's valid refresh token. An older one ends the grant: one of the two is a thief's."""
        grant = self._of("r", token)
        if grant is None or grant.client != client:
            return None
        if not hmac.compare_digest(grant.refresh, digest(token)):
            self.end(grant.id)
            return None
        return grant

    def refresh(self, token: str, grant: Grant) -> Tokens | None:
        """Fresh tokens for a refresh token; None if it is used already, which ends the grant."""
        match = _TOKEN.fullmatch(token)
        assert match is not None
        tokens = self._renew(match["grant"], grant, _written(grant))
        if tokens is None:
            self.end(grant.id)
        return tokens

    def revoke(self, client: str, token: str) -> None:
        """End the grant of a client's token, of either kind."""
        grant = self.of_access(token) or self.of_refresh(client, token)
        if grant is not None and grant.client == client:
            self.end(grant.id)

    def _of(self, kind: str, token: str) -> Grant | None:
        match = _TOKEN.fullmatch(token)
        if match is None or match["kind"] != kind:
            return None
        grant = self._read(Grant, _GRANTS, digest(match["grant"]))
        return grant if grant is not None and grant.resource == self._resource else None

    def _renew(self, secret: str, grant: Grant, before: str | None) -> Tokens | None:
        tokens = Tokens(*(f"{TOKEN_PREFIX}{kind}_{secret}_{secrets.token_urlsafe(32)}" for kind in "ar"))
        now = self._store.now()
        # Calls under way with the previous access token keep it until it expires.
        access = [
            *((known, until) for known, until in grant.access if until > now),
            (digest(tokens.access), now + ACCESS_LIFE),
        ]
        new = replace(grant, renewed=now, refresh=digest(tokens.refresh), access=access[-MOST_ACCESS:])
        done = self._store.swap(_GRANTS, grant.id, before, _written(new), expires=now + GRANT_LIFE)
        return tokens if done else None

    def end(self, grant_id: str) -> None:
        """End a grant: its tokens become invalid."""
        remove(self._store, _GRANTS, grant_id)


def grants(store: Store, app_id: str) -> list[Grant]:
    """The grants of an App, oldest first."""
    found = (Grant(**json.loads(row.value)) for row in store.rows(_GRANTS))
    return [grant for grant in found if grant.app == app_id]


def end_grants(store: Store, app_id: str) -> int:
    """End all grants of an App, and its requests and codes, which could become grants; return how many grants."""
    # First these, so that none of them becomes a grant meanwhile.
    for table in (_REQUESTS, _CODES):
        for row in store.rows(table):
            if json.loads(row.value)["app"] == app_id:
                remove(store, table, row.key)
    found = grants(store, app_id)
    for grant in found:
        remove(store, _GRANTS, grant.id)
    return len(found)
