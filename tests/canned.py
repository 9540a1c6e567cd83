"""A WAHA with canned answers, for edge cases that the sandbox does not have."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import anyio
import httpx
import pytest
import respx
from pydantic import SecretStr

from tests.harness import NO_PACE
from waha_mcp import bridge as bridge_module
from waha_mcp.app.actions import Action
from waha_mcp.app.definition import App
from waha_mcp.bridge import Bridge
from waha_mcp.tools.catalog import CATALOG
from waha_mcp.waha import key_probe

BASE = "http://waha.test:3000"

ADMIN = "/api/server/environment"

READ = "/api/sessions/default"

SEND = "/api/default/status/new-message-id"

CHATS = "/api/default/chats/overview"

SESSIONS, VERSION = "/api/sessions", "/api/server/version"

CONTACTS = "/api/contacts/all"

PROBED = {READ, SEND, "/api/apps"}

TEXT = {"chat": "12025550123@c.us", "text": "hi", "allow_repeat": True}

FORBIDDEN = httpx.Response(403, json={"message": "Forbidden", "statusCode": 403})

UNAUTHORIZED = httpx.Response(401, json={"message": "Unauthorized", "statusCode": 401})

OK: dict[str, Any] = {"id": "true_12025550123@c.us_A", "timestamp": 1_790_000_000}

Answer = httpx.Response | Exception | Callable[[httpx.Request], Awaitable[httpx.Response]]


class Server:
    """WAHA's answers by path; other requests are answered as for a scoped key with read and send."""

    def __init__(self, router: respx.MockRouter) -> None:
        self.answers: dict[str, Answer] = {}
        self.requests: list[str] = []
        router.route().mock(side_effect=self._answer)

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        self.requests.append(path)
        answer = self.answers.get(path)
        if answer is None:
            if path == ADMIN:
                return FORBIDDEN
            if path == VERSION:
                return httpx.Response(200, json={"version": "2026.9.2", "engine": "GOWS"})
            if path == SESSIONS:
                return httpx.Response(200, json=[{"name": "default", "status": "WORKING", "me": None}])
            return httpx.Response(200, json=[] if request.method == "GET" else OK)
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, httpx.Response) else await answer(request)


def app(**fields: Any) -> App:
    given: dict[str, Any] = {"url": BASE, "key": SecretStr("scoped-key-1234"), "session": "default", "pace": NO_PACE}
    given |= fields
    return App(**given)


@asynccontextmanager
async def settled(of: App) -> AsyncIterator[tuple[Bridge, list[set[str]]]]:
    """A bridge that has probed its key, and the listings that it has announced since."""
    announced: list[set[str]] = []

    async def on_change() -> None:
        announced.append(names(bridge))

    with anyio.fail_after(10):
        bridge = Bridge(of)
        bridge.listeners.add(on_change)
        async with bridge:
            assert await bridge.key.settle(5)
            announced.clear()
            yield bridge, announced


def names(bridge: Bridge) -> set[str]:
    return {tool.name for tool in bridge.tools()}


def of_action(*actions: Action | None) -> set[str]:
    return {t.name for t in CATALOG.values() if t.toolset == "core" and t.action in (None, *actions)}


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - what is awaited has no event of its own
        await anyio.sleep(0.001)


def waits_for(event: anyio.Event, answer: httpx.Response) -> Callable[[httpx.Request], Awaitable[httpx.Response]]:
    async def wait(_: httpx.Request) -> httpx.Response:
        await event.wait()
        return answer

    return wait


@contextmanager
def answering() -> Iterator[Server]:
    """Change WAHA's answers. The bridge asks again at once, and so does the client."""
    with pytest.MonkeyPatch.context() as patch, respx.mock(base_url=BASE, assert_all_called=False) as router:
        patch.setattr(bridge_module, "LISTING_FIRST", 0.001)
        patch.setattr(key_probe, "RETRY_FIRST", 0.001)
        patch.setattr(key_probe, "RETRY_MOST", 0.01)
        patch.setattr("waha_mcp.waha.client.random.uniform", lambda *_: 0.001)
        yield Server(router)
