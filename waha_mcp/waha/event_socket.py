"""WAHA's live events: one WebSocket of one session.

Its URL is the only one that carries the key, since WAHA takes it nowhere else for a WebSocket. So it leaves this
machine or its private network over TLS only, follows no redirect, and stands in no log and no error.
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

#: Seconds for the handshake; between two pings, and until one counts as lost.
OPEN_TIMEOUT, PING, PONG = 10.0, 20.0, 20.0
#: Longest message in bytes, and how many wait to be read before WAHA is slowed down.
LONGEST, WAITING = 32 * 2**20, 16
#: WAHA closes so where the key may not listen, and after the handshake, since it looks at the key no sooner.
_FORBIDDEN = 1008
_REFUSED = (401, 403)
#: The library's own logger has the URL at level debug.
_SILENT = logging.Logger("websockets", logging.CRITICAL + 1)


class NoEvents(Exception):
    """There are no live events now. The text says why, in a few words, without the URL."""


class NoneForThisKey(NoEvents):
    """WAHA lets this key have none: it must not be asked again."""


class NoneHere(NoEvents):
    """This WAHA, what stands before it, or the rule about the key's way has no WebSocket: ask seldom, if at all."""


class Arrived(NamedTuple):
    """One message of the WebSocket: what its JSON holds (None: it is none), and its size in bytes."""

    raw: Any
    size: int


def allowed(url: str) -> bool:
    """Whether the key may go there in a URL: over TLS, or on this machine or a private network."""
    parsed = parse(url)
    return parsed.scheme == "https" or is_local(parsed.host)


@asynccontextmanager
async def listening(
    url: str, key: str, session: str, events: Iterable[str], *, ca_file: Path | None = None
) -> AsyncIterator[AsyncIterator[Arrived]]:
    """Connect to the WAHA at `url`; what is yielded iterates over what arrives.

    Raises:
        NoEvents: at any time, and also in the block that iterates: there is no connection, or no more.
    """
    from websockets.asyncio.client import connect
    from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, WebSocketException

    class NoRedirect(connect):
        def process_redirect(self, exc: Exception) -> Exception:
            # The key would go to another place.
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
            raise NoneForThisKey(f"WAHA refuses it ({status})") from None
        # 5xx: WAHA is away behind a proxy.
        raise (NoEvents if status >= 500 else NoneHere)(f"what answers for /ws says {status}") from None
    except InvalidHandshake:
        raise NoneHere("/ws does not answer as a WebSocket") from None
    except (OSError, ssl.SSLError, TimeoutError, WebSocketException, ValueError, EOFError, ImportError) as failure:
        raise NoEvents(f"no connection ({type(failure).__name__})") from None
    finally:
        if socket is not None:
            # Who is cancelled does not wait for the closing handshake, which nobody would end where reading has paused.
            socket.transport.abort()


async def _arriving(socket: ClientConnection) -> AsyncIterator[Arrived]:
    """What arrives, until the connection ends.

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
    # A proxy that ends it has no code of WAHA's.
    code = closed.rcvd.code if closed.rcvd is not None else None
    if code == _FORBIDDEN:
        return NoneForThisKey("WAHA lets this key have no events")
    return NoEvents("the connection broke" if code is None else f"the connection was closed ({code})")
