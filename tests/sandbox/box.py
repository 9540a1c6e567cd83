"""A handle on a sandbox under test: requests with any of its keys, and its control routes."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Self
from urllib.parse import quote, urlencode

import anyio
import httpx
from websockets.asyncio.client import ClientConnection, connect

from waha_mcp.sandbox import ANSWERING_CHAT, SandboxInfo

MAYA = "447700900142@c.us"
SAM = ANSWERING_CHAT


class Box:
    def __init__(self, info: SandboxInfo, engine: str, http: httpx.AsyncClient) -> None:
        self.info = info
        self.engine = engine
        self.http = http

    @classmethod
    @asynccontextmanager
    async def opened(cls, info: SandboxInfo, engine: str) -> AsyncIterator[Self]:
        # Loading certificates, which plain HTTP does not need, would take longer than most tests.
        async with httpx.AsyncClient(base_url=info.url, timeout=20, verify=False) as http:
            yield cls(info, engine, http)

    async def ask(
        self, method: str, path: str, body: Any = None, *, key: str | None = "full", **options: Any
    ) -> httpx.Response:
        """A request with one of the named keys, `admin`, any other key, or none."""
        headers = dict(options.pop("headers", {}))
        if key is not None:
            headers["X-Api-Key"] = {"admin": self.info.admin_key, **self.info.keys}.get(key, key)
        return await self.http.request(method, path, json=body, headers=headers, **options)

    async def get(self, path: str, *, key: str | None = "full", **query: Any) -> Any:
        """The JSON of a GET that must succeed; None for an empty body."""
        answer = await self.ask("GET", path, key=key, params=query)
        assert answer.status_code == 200, answer.text
        return answer.json() if answer.content else None

    async def do(self, method: str, path: str, body: Any = None, *, key: str | None = "full") -> Any:
        """The JSON of a request that must succeed; None for an empty body."""
        answer = await self.ask(method, path, body, key=key)
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None

    async def control(self, verb: str, name: str, /, **wish: Any) -> Any:
        """One of the routes under /sandbox/."""
        return await self.do(verb, f"/sandbox/{name}", wish or None, key="admin")

    @asynccontextmanager
    async def ear(self, *events: str, key: str = "read", **query: str) -> AsyncIterator[Ear]:
        """A listener to these events, with one of the named keys or any other."""
        secret = {"admin": self.info.admin_key, **self.info.keys}.get(key, key)
        asked = urlencode([("x-api-key", secret), *query.items(), *(("events", each) for each in events)])
        url = f"{self.info.url.replace('http', 'ws', 1)}/ws?{asked}"
        async with connect(url, max_size=None, proxy=None, ping_interval=None) as socket:
            yield Ear(self, socket)

    async def happen(self, kind: str, **wish: Any) -> None:
        """An event that others cause."""
        await self.control("POST", "events", kind=kind, **wish)

    async def has(self, *operation_ids: str) -> None:
        """Let the engine implement operations that it lacks."""
        await self.control("POST", "engine", has=list(operation_ids))

    async def send(self, chat: str, text: str, **more: Any) -> str:
        """Send a text; its bare message id."""
        answer = await self.do("POST", "/api/sendText", {"session": "default", "chatId": chat, "text": text} | more)
        return bare_id(answer)

    async def messages(self, chat: str, **query: Any) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = await self.get(f"/api/default/chats/{quote(chat, safe='')}/messages", **query)
        return found

    async def message(self, message_id: str, **query: Any) -> dict[str, Any]:
        found: dict[str, Any] = await self.get(f"/api/default/chats/all/messages/{message_id}", **query)
        return found

    async def chat(self, chat: str) -> dict[str, Any]:
        """The chat's row in the overview."""
        [found] = await self.get("/api/default/chats/overview", ids=chat)
        assert isinstance(found, dict)
        return found

    async def group(self, subject: str) -> str:
        """The id of a group, by its subject."""
        groups = await self.get("/api/default/groups")
        listed = groups.values() if isinstance(groups, dict) else groups
        [found] = [each for each in listed if subject in (each.get("Name"), each.get("subject"), each.get("name"))]
        return group_id(found)


class Ear:
    """An open event socket."""

    def __init__(self, box: Box, socket: ClientConnection) -> None:
        self._box = box
        self.socket = socket

    async def next(self, *events: str) -> Any:
        """The next event's envelope, of these names if any are given."""
        with anyio.fail_after(10):
            while True:
                envelope = json.loads(await self.socket.recv())
                if not events or envelope["event"] in events:
                    return envelope

    async def heard(self) -> list[dict[str, Any]]:
        """The envelopes of all unread events so far."""
        await self._box.control("POST", "socket", garbage=1)
        found = []
        with anyio.fail_after(10):
            # The first frame of garbage is empty.
            while text := await self.socket.recv():
                found.append(json.loads(text))
        return found


def bare_id(sent: dict[str, Any]) -> str:
    """The bare id in the answer to a send, on any engine."""
    if "key" in sent:
        return str(sent["key"]["id"])
    return str(sent["id"]["id"] if isinstance(sent["id"], dict) else sent["id"].split("_")[2])


def group_id(answer: dict[str, Any]) -> str:
    """The id in a group's row or in the answer to creating one, on any engine."""
    found = answer.get("JID") or answer.get("gid") or answer["id"]
    return str(found["_serialized"] if isinstance(found, dict) else found)
