"""Shared by the tests of people: a WAHA with canned answers, a clock, and directories made from both."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, cast

import anyio

from waha_mcp.people.directory import Directory
from waha_mcp.people.filling import FilledTable
from waha_mcp.waha.client import Waha

CONTACTS, GROUPS, CHATS = "GET /api/contacts/all", "GET /api/{session}/groups", "GET /api/{session}/chats"
LIDS, ACCOUNT = "GET /api/{session}/lids", "GET /api/sessions"
CHECK = "GET /api/contacts/check-exists"
SOURCES = {"contacts": CONTACTS, "groups": GROUPS, "chats": CHATS, "hidden ids": LIDS, "the account": ACCOUNT}

ME, ANN, BEN, CEM = "12025550100@c.us", "12025550101@c.us", "12025550102@c.us", "12025550103@c.us"
HIDDEN, CLUB = "990001@lid", "120363000000000001@g.us"


class Canned:
    """A WAHA with answers by operation, or a function of the request; `pages` are answered one by one."""

    session = "default"

    def __init__(self, **answers: Any) -> None:
        self.answers = {SOURCES[name.replace("_", " ")]: answer for name, answer in answers.items()}
        self.pages: dict[str, list[Any]] = {}
        self.asked: Counter[str] = Counter()
        #: Requests wait for this event, if there is one.
        self.let: anyio.Event | None = None

    async def call(
        self,
        operation: str,
        *,
        path: Mapping[str, Any] | None = None,
        query: Mapping[str, Any] | None = None,
        bound: bool = True,
    ) -> Any:
        self.asked[operation] += 1
        if self.let is not None:
            await self.let.wait()
        pages = self.pages.get(operation)
        answer = pages.pop(0) if pages else self.answers.get(operation, [])
        if callable(answer):
            answer = answer({**(path or {}), **(query or {})})
        if isinstance(answer, Exception):
            raise answer
        return answer


class Clock:
    """The time of the directory, in seconds."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def monotonic(self) -> float:
        return self.now


def table_of(waha: Canned) -> FilledTable:
    return FilledTable(cast("Waha", waha))


def directory_of(waha: Canned, **given: Any) -> Directory:
    return Directory(table_of(waha), **given)


async def loaded(given: Mapping[str, Any] | None = None, **answers: Any) -> Directory:
    """A directory of these answers; `given` is passed to its constructor."""
    made = directory_of(Canned(**answers), **(given or {}))
    await made.load()
    return made


def person(chat: str, name: str | None = None, **more: Any) -> dict[str, Any]:
    """A row of the contacts, from an engine that keeps the saved name apart from the chosen one."""
    return {"id": chat, "name": name, "pushname": "", **more}
