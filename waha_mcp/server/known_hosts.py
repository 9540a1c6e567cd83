"""Refuses HTTP requests under another `Host` or from pages of another `Origin`, against DNS rebinding."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

#: A host with its port; a name in brackets is an IPv6 address.
_HOST = r"(?P<name>[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::(?P<port>[0-9]{1,5}))?"
_IN_HOST, _IN_ORIGIN = re.compile(_HOST), re.compile(f"https?://{_HOST}")


class KnownHosts:
    """Middleware that runs before any other check, that of the key included.

    Hosts are compared as a whole and not by prefix. The SDK's own check takes `name:anything` for a name with any port,
    and the first of several headers for the only one.
    """

    def __init__(
        self, app: ASGIApp, names: Collection[str], *, free: Collection[str], turned_away: Callable[[int], object]
    ) -> None:
        """`names`: of hosts, alone (with any port) or with a port. `free`: paths that are not checked."""
        self._app, self._free, self._turned_away = app, free, turned_away
        self._names = {name.lower() for name in names}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] not in self._free:
            headers = Headers(scope=scope)
            status = 0
            if not self._knows(_IN_HOST, headers.getlist("host")):
                status, text = 421, "Invalid Host header"
            elif (origins := headers.getlist("origin")) and not self._knows(_IN_ORIGIN, origins):
                status, text = 403, "Invalid Origin header"
            if status:
                self._turned_away(status)
                await PlainTextResponse(text, status)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _knows(self, form: re.Pattern[str], values: list[str]) -> bool:
        found = form.fullmatch(values[0].lower()) if len(values) == 1 else None
        if found is None:
            return False
        name, port = found["name"], found["port"]
        return name in self._names or f"{name}:{port}" in self._names
