"""A WAHA with canned answers, for what the sandbox's account does not hold."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import respx
from pydantic import SecretStr

from waha_mcp.waha.client import Waha

BASE = "http://waha.test:3000"


class Canned:
    """Answers by path, as JSON or whole; 404 for others. `asked` holds the paths, in order."""

    def __init__(self, waha: Waha) -> None:
        self.waha = waha
        self.answers: dict[str, Any] = {}
        self.asked: list[str] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        self.asked.append(path)
        answer = self.answers.get(path, httpx.Response(404, json={"message": "Not found"}))
        if callable(answer):
            answer = answer(dict(request.url.params))
        return answer if isinstance(answer, httpx.Response) else httpx.Response(200, json=answer)

    def pair(self, lid: str, number: str) -> None:
        """Tell that these ids are one person."""
        both = {"lid": lid, "pn": number}
        self.answers[f"/api/default/lids/{lid}"] = both
        self.answers[f"/api/default/lids/pn/{number.partition('@')[0]}"] = both

    def messages(self, chat: str, answer: Any) -> None:
        """What a chat's messages are: JSON, a response, or a function of the query."""
        self.answers[f"/api/default/chats/{chat}/messages"] = answer


@asynccontextmanager
async def canned() -> AsyncIterator[Canned]:
    with respx.mock(base_url=BASE, assert_all_called=False) as router:
        async with Waha(BASE, SecretStr("key"), "default") as waha:
            answers = Canned(waha)
            router.route().mock(side_effect=answers)
            yield answers
