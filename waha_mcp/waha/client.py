"""HTTP client for WAHA's REST API, bound to one URL, key and session. All HTTP requests to WAHA are made here.

A "look" is a GET, which may be retried; a "change" is any other method, which is sent at most once.
"""

from __future__ import annotations

import copy
import logging
import random
import re
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote, unquote, urlsplit

import anyio
import httpx
from pydantic import SecretStr

from waha_mcp import __version__
from waha_mcp.app.actions import Action
from waha_mcp.observing import NOBODY, Observer
from waha_mcp.waha.connecting import Departure, connection_error, lasts, trusted
from waha_mcp.waha.errors import (
    BadAnswer,
    OnlyInPlus,
    OutcomeUnknown,
    Refused,
    UnknownOperation,
    Unreachable,
    WahaError,
    clean,
    not_ready,
)
from waha_mcp.waha.event_socket import Arrived, listening
from waha_mcp.waha.events import NAMES
from waha_mcp.waha.responses import answer_of, body_of, check_json, outcome_unknown, retry_after
from waha_mcp.waha.session_state import SESSIONS, SessionState

logger = logging.getLogger(__name__)

#: Seconds. WAHA itself may wait 15 s for a session before it answers.
CONNECT_TIMEOUT, READ_TIMEOUT = 5.0, 30.0
#: Total time limit of one operation in seconds, and the transfer rate (bytes per second) by which large bodies extend
#: it. Hosts give a whole tool call about 60 s.
DEADLINE, BYTES_PER_SECOND = 45.0, 512 * 2**10
#: Seconds to wait for WAHA's version where an error names it.
_VERSION, VERSION_WAIT = "GET /api/server/version", 3.0
#: Attempts of a GET, and the longest `Retry-After` in seconds that the client waits out instead of reporting.
TRIES, MAX_RETRY_AFTER = 3, 5.0
_RETRIED = frozenset({429, 502, 503, 504})
#: The operation name of file downloads, whose paths WAHA chooses.
_FILES = "/api/files/{path}"


#: Operations whose body accepts a client-chosen `id` for the new message.
TAKES_MESSAGE_ID = frozenset(
    {
        "POST /api/sendText",
        "POST /api/forwardMessage",
        "POST /api/sendPoll",
        "POST /api/sendLocation",
        "POST /api/sendContactVcard",
    }
)


@dataclass
class Changes:
    """Counter of the changes that may have taken effect.

    A change counts once a byte of its request may have been sent, unless WAHA's own answer refuses it.
    """

    possible: int = 0
    #: Awaited before each request that may change something; if it raises, the call ends and nothing is sent.
    before: Callable[[], Awaitable[None]] | None = None


@dataclass
class _Connections:
    """What a client and its copies for changes share. `clients`: see `Waha._open`; None: not open."""

    clients: tuple[httpx.AsyncClient, httpx.AsyncClient] | None = None
    #: The number of requests in flight.
    busy: int = 0


class Waha:
    """Client of WAHA's REST API with one session's key.

    Operations are named as in WAHA's contract: `"GET /api/{session}/chats/{chatId}/messages"`. The bound session is
    put into the path if the operation has `{session}`, else into the query of a GET or the body of other methods.
    """

    def __init__(
        self,
        url: str,
        key: SecretStr,
        session: str | None = None,
        *,
        ca_file: Path | None = None,
        observer: Observer = NOBODY,
    ) -> None:
        """Bind to the WAHA at `url` (scheme, host, optional port and path prefix). No request is made yet.

        An empty key is not sent. `ca_file` holds the CA certificates (PEM) that replace the default ones for an https
        server.
        """
        self.url = url.rstrip("/")
        self.session = session
        self._key = key
        self._ca_file = ca_file
        self._observer = observer
        self._connections = _Connections()
        self._message_id: str | None = None
        self._changes = Changes()
        self._state = SessionState()
        #: Whether the server has ever answered.
        self._answered = False

    def for_change(self, changes: Changes, message_id: str | None = None) -> Waha:
        """A copy of this client that counts in `changes` and sends `message_id` with operations that accept one."""
        twin = copy.copy(self)
        twin._changes, twin._message_id = changes, message_id
        return twin

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections. The client opens new ones if it is used again."""
        clients, self._connections.clients = self._connections.clients, None
        for client in clients or ():
            await client.aclose()

    async def rest(self) -> None:
        """Close the connections unless a request is in flight: WAHA soon closes idle ones itself."""
        if not self._connections.busy:
            await self.aclose()

    async def call(
        self,
        operation: str,
        *,
        path: Mapping[str, str] | None = None,
        query: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | None = None,
        bound: bool = True,
        unread: bool = False,
    ) -> Any:
        """Call an operation and return its decoded answer: JSON, bare text, or None for an empty body.

        `path` fills the operation's segments; `None` values in `query` and `body` are left out. `bound=False` is for
        the few operations that concern no session. `unread=True` is for a GET whose answer holds secrets: only the
        content type of a successful answer is checked. A GET is tried up to `TRIES` times; anything else once.

        Raises:
            WahaError: the call failed; the message tells an agent the next step.
        """
        method, template = operation.split(" ", 1)
        if self._message_id is not None and operation in TAKES_MESSAGE_ID:
            body = {**(body or {}), "id": self._message_id}
        request = self._request(method, template, path, query, body, bound)
        try:
            if bound and self._state.keeps_from(template):
                await self._look_at_state(template)
            look = method == "GET"
            answer = await (self._look(request, template, unread) if look else self._change(request, template))
        except (UnknownOperation, OnlyInPlus) as error:
            advised = type(error)(operation, None if operation == _VERSION else await self._running())
            advised.operation = operation
            raise advised from None
        except WahaError as error:
            error.operation = operation
            self._state.refused(error)
            raise
        self._state.hear(operation, answer, self.session)
        return answer

    @property
    def engine(self) -> str | None:
        """The name of the session's engine (NOWEB, GOWS, WEBJS, WPP); None until WAHA has reported it."""
        return self._state.engine

    async def _look_at_state(self, template: str) -> None:
        """Check whether the session is still in a state that prevents an operation.

        Raises:
            SessionNotReady: it is.
        """
        try:
            await self.call(SESSIONS, query={"all": True}, bound=False)
        except WahaError:
            # WAHA itself then reports the problem.
            return
        if self._state.keeps_from(template):
            raise not_ready(self._require_session(), str(self._state.status))

    async def _running(self) -> str | None:
        """WAHA's version; None if WAHA does not report it in time."""
        with anyio.move_on_after(VERSION_WAIT), suppress(WahaError):
            answer = await self.call(_VERSION, bound=False)
            version = answer.get("version") if isinstance(answer, dict) else None
            return clean(version, self._key.get_secret_value(), 20) if isinstance(version, str) else None
        return None

    async def _look(self, request: httpx.Request, template: str, unread: bool) -> Any:
        """Send a GET and return the decoded answer.

        Retried on transport errors other than read time-outs, and on the statuses in `_RETRIED`.
        """
        attempt = 1
        with anyio.move_on_after(DEADLINE):
            while True:
                departure = Departure()
                try:
                    async with self._send(request, template, departure) as response:
                        if unread and response.is_success:
                            return check_json(response)
                        wait = retry_after(response) if response.status_code in _RETRIED else None
                        final = response.status_code not in _RETRIED or (wait or 0) > MAX_RETRY_AFTER
                        if final or attempt == TRIES:
                            return await self._answer(response)
                except httpx.TransportError as failure:
                    lasting = isinstance(failure, httpx.ReadTimeout) or lasts(failure, request.url, departure)
                    if lasting or attempt == TRIES:
                        raise await self._failure(failure, request.url, departure) from None
                    wait = None
                # Jitter keeps several bridges from retrying in step after an outage of WAHA.
                await anyio.sleep(wait if wait is not None else 0.2 * 2 ** (attempt - 1) * random.uniform(0.5, 1.5))  # noqa: S311
                attempt += 1
        raise self._too_slow(DEADLINE)

    async def _change(self, request: httpx.Request, template: str) -> Any:
        """Send a request that changes something, once; return the decoded answer.

        Once any byte may have been sent, every outcome but WAHA's own answer raises OutcomeUnknown.
        """
        if self._changes.before is not None:
            await self._changes.before()
        departure = Departure()
        deadline = DEADLINE + len(request.content) / BYTES_PER_SECOND
        refused = False
        try:
            with anyio.move_on_after(deadline):
                async with self._send(request, template, departure) as response:
                    try:
                        return await self._answer(response, changes=True)
                    except OutcomeUnknown:
                        raise
                    except BadAnswer as error:
                        raise outcome_unknown(f"its answer could not be used ({error})") from None
                    except WahaError:
                        refused = True
                        raise
            if departure.left:
                raise outcome_unknown(f"no complete answer came within {deadline:.0f} s")
            raise self._too_slow(deadline)
        except httpx.TransportError as failure:
            if not departure.left:
                raise await self._failure(failure, request.url, departure) from None
            how = "no answer came in time" if isinstance(failure, httpx.TimeoutException) else "the connection broke"
            raise outcome_unknown(how) from None
        finally:
            # Also reached when the call is cancelled.
            if departure.left and not refused:
                self._changes.possible += 1

    async def download(self, url: str, *, cap: int) -> bytes:
        """Download the media file of a `media.url`, always from the WAHA that this client is bound to.

        Raises:
            WahaError: not one of WAHA's files, larger than `cap` bytes, no longer there, or WAHA could not be reached.
        """
        template, segments = _file_path(url)
        request = self._request("GET", template, segments, None, None, False, accept="*/*")
        departure = Departure()
        deadline = DEADLINE + cap / BYTES_PER_SECOND
        try:
            with anyio.move_on_after(deadline):
                async with self._send(request, _FILES, departure) as response:
                    if not response.is_success:
                        await self._answer(response)
                    return await body_of(response, cap, "The file")
        except httpx.TransportError as failure:
            raise await self._failure(failure, request.url, departure) from None
        raise self._too_slow(deadline)

    def listening(self) -> AbstractAsyncContextManager[AsyncIterator[Arrived]]:
        """A connection on which live events of the session arrive; see `event_socket.listening`."""
        key = self._key.get_secret_value()
        return listening(self.url, key, self._require_session(), NAMES, ca_file=self._ca_file)

    def hear_status(self, status: str) -> None:
        """Take the session's status from an event."""
        self._state.status = status

    async def media_link(self, url: str) -> str:
        """A browser link to a media file, containing the session's media-only key.

        WAHA issues one such key per session. Any other key (our own, or one with an action) is never put into a link.

        Raises:
            WahaError: WAHA did not return a media-only key.
        """
        answer = await self.call("POST /api/keys/media", body={})
        given = answer if isinstance(answer, dict) else {}
        key, actions = given.get("key"), given.get("actions")
        harmless = (
            isinstance(key, str)
            and key != self._key.get_secret_value()
            and given.get("isAdmin") is False
            and given.get("session") == self.session
            and isinstance(actions, dict)
            and set(actions) >= set(Action)
            and not any(flag is not False for flag in actions.values())
        )
        if not harmless:
            raise BadAnswer(
                "WAHA gave no key that can only fetch media, so there is no link: ask the user to set media_links = "
                "false in the App."
            )
        template, segments = _file_path(url)
        return f"{self.url}{_filled(template, segments)}?x-api-key={quote(str(key), safe='')}"

    def _request(
        self,
        method: str,
        template: str,
        path: Mapping[str, str] | None,
        query: Mapping[str, Any] | None,
        body: Mapping[str, Any] | None,
        bound: bool,
        accept: str | None = None,
    ) -> httpx.Request:
        segments = dict(path or {})
        params = {k: _query_value(v) for k, v in (query or {}).items() if v is not None}
        content = None if body is None else {k: v for k, v in body.items() if v is not None}
        if bound:
            session = self._require_session()
            if "{session}" in template:
                segments["session"] = session
            elif method == "GET":
                params["session"] = session
            else:
                content = {"session": session, **(content or {})}
        # httpx is much slower at adding parameters to a URL.
        url = self.url + _filled(template, segments) + (f"?{httpx.QueryParams(params)}" if params else "")
        headers = {"Accept": accept} if accept else None
        looks, _ = self._clients()
        return looks.build_request(method, url, json=content, headers=headers)

    @asynccontextmanager
    async def _send(self, request: httpx.Request, template: str, departure: Departure) -> AsyncIterator[httpx.Response]:
        request.extensions["trace"] = departure.trace
        started, response = time.perf_counter(), None
        looks, changes = self._clients()
        self._connections.busy += 1
        try:
            response = await (looks if request.method == "GET" else changes).send(request, stream=True)
            departure.left = departure.answered = self._answered = True
            logger.debug(
                "%s %s -> %d in %.0f ms",
                request.method,
                template,
                response.status_code,
                (time.perf_counter() - started) * 1e3,
            )
            yield response
        except httpx.TransportError as failure:
            if response is None:
                departure.failed(failure)
            raise
        except ssl.SSLError as failure:
            # httpx does not wrap an alert that arrives after the handshake.
            departure.left = True
            raise httpx.ReadError("") from failure
        finally:
            self._connections.busy -= 1
            status = None if response is None else response.status_code
            self._observer.asked(f"{request.method} {template}", status, time.perf_counter() - started)
            if response is not None:
                await response.aclose()

    def _require_session(self) -> str:
        if self.session is None:
            raise RuntimeError("the session is not known yet")
        return self.session

    def _clients(self) -> tuple[httpx.AsyncClient, httpx.AsyncClient]:
        if self._connections.clients is None:
            try:
                self._connections.clients = self._open()
            except (ImportError, OSError, ValueError, httpx.InvalidURL):
                raise Unreachable(
                    "The environment's proxy or certificate settings cannot be used (HTTP_PROXY, HTTPS_PROXY, "
                    "ALL_PROXY, SSL_CERT_FILE).",
                    "ask the user to correct or unset them for waha-mcp",
                ) from None
        return self._connections.clients

    def _open(self) -> tuple[httpx.AsyncClient, httpx.AsyncClient]:
        """A client for looks, which keeps connections, and one for changes, each of which goes out on a new one."""
        verify = trusted(self.url, self._ca_file)
        key = self._key.get_secret_value()
        # A kept connection may be closing, or hold a stray response that would be taken for the answer to a change.
        looks, changes = (
            httpx.AsyncClient(
                headers={
                    **({"X-Api-Key": key} if key else {}),
                    "User-Agent": f"waha-mcp/{__version__}",
                    # WAHA wraps files (a QR code, a converted voice note) in JSON only for exactly this value.
                    "Accept": "application/json",
                    "Accept-Encoding": "gzip",
                },
                timeout=httpx.Timeout(READ_TIMEOUT, connect=CONNECT_TIMEOUT),
                # Node closes an idle connection after 5 s; expiring it first avoids retries.
                limits=httpx.Limits(max_connections=100, max_keepalive_connections=kept, keepalive_expiry=4.0),
                verify=verify,
                # httpx would send X-Api-Key to the other origin.
                follow_redirects=False,
            )
            for kept in (None, 0)
        )
        return looks, changes

    async def _answer(self, response: httpx.Response, *, changes: bool = False) -> Any:
        return await answer_of(response, changes=changes, session=self.session, key=self._key.get_secret_value())

    async def _failure(self, failure: httpx.TransportError, url: httpx.URL, departure: Departure) -> Unreachable:
        """The error for a look, or a change that was not sent, that failed in transport."""
        if departure.left and isinstance(failure, httpx.TimeoutException):
            return Unreachable(f"WAHA at {self._origin} gave no answer within {READ_TIMEOUT:.0f} s.", "try again later")
        return await connection_error(failure, url, departure, ca_file=self._ca_file, silent=not self._answered)

    def _too_slow(self, deadline: float) -> Unreachable:
        what = f"WAHA at {self._origin} gave no complete answer within {deadline:.0f} s."
        return Unreachable(what, "try again later")

    @property
    def _origin(self) -> str:
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}"


def _filled(template: str, segments: Mapping[str, str]) -> str:
    return re.sub(r"\{(\w+)\}", lambda m: _segment(segments[m[1]]), template)


def _file_path(url: str) -> tuple[str, dict[str, str]]:
    """Split a `media.url` into the template and segments of its path under /api/files, dropping host and prefix."""
    found = re.fullmatch(r".*?/api/files/([^?#]+)(?:[?#].*)?", url)
    if found is None:
        raise Refused(
            "The file is not kept by WAHA itself (most often in external storage), so it is not fetched here."
        )
    parts = {f"part{at}": unquote(part) for at, part in enumerate(found[1].split("/"))}
    if any(c in part for part in parts.values() for c in "/\\\0"):
        raise Refused("The file's URL is not one of WAHA's, so it is not fetched.")
    return "/api/files/" + "/".join(f"{{{name}}}" for name in parts), parts


def _segment(value: str) -> str:
    """Percent-encode a path segment. Empty and dot segments are refused, since servers normalize them away."""
    if value in ("", ".", ".."):
        raise Refused(f"{value!r} is not an id that WAHA can have. Check the id with a listing tool.")
    return quote(value, safe="")


def _query_value(value: Any) -> Any:
    return ("true" if value else "false") if isinstance(value, bool) else value
