"""WAHA's live events: one WebSocket of one session.

Its URL is the only one that carries the key, since WAHA takes it nowhere else for a WebSocket. So it leaves this
machine or its private network only over TLS, follows no redirect, and appears in no log or error.
"""

from __future__ import annotations

import json
import logging
import ssl
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlencode

from waha_mcp.app.urls import is_local, parse
from waha_mcp.waha.connecting import trusted

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection

#: Seconds for the handshake, between two pings, and until a ping counts as lost.
OPEN_TIMEOUT, PING, PONG = 10.0, 20.0, 20.0
#: Maximum message size in bytes, and the number of unread messages at which backpressure sets in.
LONGEST, WAITING = 32 * 2**20, 16
#: WAHA's close code if the key may not listen, sent after the handshake, since it checks the key only then.
_FORBIDDEN = 1008
_REFUSED = (401, 403)
#: The library's own logger writes the URL at level debug.
_SILENT = logging.Logger("websockets", logging.CRITICAL + 1)


class NoEvents(Exception):
    """No live events are available now. The text briefly says why, without the URL."""


class NoneForThisKey(NoEvents):
    """WAHA denies events to this key: do not ask again."""


class NoneHere(NoEvents):
    """No WebSocket: this WAHA or a proxy lacks it, or the key may not be sent that way. Retry rarely, if at all."""


class Arrived(NamedTuple):
    """One message of the WebSocket: its decoded JSON (None: not JSON), and its size in bytes."""

    raw: Any
    size: int


def allowed(url: str) -> bool:
    """Whether the key may be sent there in a URL: over TLS, or on this machine or a private network."""
    parsed = parse(url)
    return parsed.scheme == "https" or is_local(parsed.host)


@asynccontextmanager
async def listening(
    url: str, key: str, session: str, events: Iterable[str], *, ca_file: Path | None = None
) -> AsyncIterator[AsyncIterator[Arrived]]:
    """Connect to the WAHA at `url` and yield an iterator over the messages that arrive.

    Raises:
        NoEvents: there is no connection, or it has ended; also raised inside the block, while iterating.
    """
    from websockets.asyncio.client import connect
    from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, WebSocketException

    class NoRedirect(connect):
        def process_redirect(self, exc: Exception) -> Exception:
            # The key would be sent to another server.
            return exc

    if not allowed(url):
        raise NoneHere("the key would go over plain http to a host outside private networks")
    socket: ClientConnection | None = None
    query = urlencode([("session", session), *(("events", name) for name in events), ("x-api-key", key)])
    try:
        async with NoRedirect(
            f"ws{url.removeprefix('http')}/ws?{query}",
            ssl=trusted(url, ca_file) if url.startswith("https:") else None,
            user_agent_header=None,
            open_timeout=OPEN_TIMEOUT,
            ping_interval=PING,
            ping_timeout=PONG,
            close_timeout=1.0,
            max_size=LONGEST,
            max_queue=WAITING,
            logger=_SILENT,
        ) as socket:
            yield _arriving(socket)
    except ConnectionClosed as closed:
        raise _ended(closed) from None
    except InvalidStatus as refused:
        status = refused.response.status_code
        if status in _REFUSED:
            raise NoneForThisKey(f"WAHA refuses the connection ({status})") from None
        # 5xx: a proxy does not reach WAHA.
        raise (NoEvents if status >= 500 else NoneHere)(f"/ws answered {status}") from None
    except InvalidHandshake:
        raise NoneHere("/ws does not answer as a WebSocket") from None
    except (OSError, ssl.SSLError, TimeoutError, WebSocketException, ValueError, EOFError, ImportError) as failure:
        raise NoEvents(f"no connection ({type(failure).__name__})") from None
    finally:
        if socket is not None:
            # A cancelled task does not wait for the closing handshake, which would never complete while reading is
            # paused.
            socket.transport.abort()


async def _arriving(socket: ClientConnection) -> AsyncIterator[Arrived]:
    """The messages that arrive, until the connection ends.

    Raises:
        NoEvents: it has ended.
    """
    from websockets.exceptions import ConnectionClosed

    while True:
        try:
            text = await socket.recv(decode=False)
        except ConnectionClosed as closed:
            raise _ended(closed) from None
        try:
            raw = json.loads(text)
        except (ValueError, RecursionError):
            raw = None
        yield Arrived(raw, len(text))


def _ended(closed: Any) -> NoEvents:
    """The error for a connection that has ended."""
    # A proxy that ends it does not send WAHA's close code.
    code = closed.rcvd.code if closed.rcvd is not None else None
    if code == _FORBIDDEN:
        return NoneForThisKey("WAHA does not let this key receive events")
    return NoEvents("the connection broke" if code is None else f"the connection was closed ({code})")
