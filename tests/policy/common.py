"""Shared by the policy's tests: people of the sandbox's account, and a bridge with a policy."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import pytest

from tests.harness import Admin, app_for
from waha_mcp.app.definition import App
from waha_mcp.app.policy_fields import LIFETIME, PolicyFields
from waha_mcp.bridge import Bridge
from waha_mcp.policy.question import File, Question
from waha_mcp.sandbox import SandboxInfo
from waha_mcp.store import StoreAway
from waha_mcp.store.sqlite import Sqlite

SAM, MAYA, DAD = "12025550123@c.us", "447700900142@c.us", "12025550101@c.us"
#: A number with which the account has no messages.
STRANGER = "12025550199@c.us"

#: Sets the clock of the store, and of this process, to this many seconds from now.
SetClock = Callable[[float], None]

#: Requests that change nothing in WhatsApp.
HARMLESS = ("GET", "HEAD")


@asynccontextmanager
async def bridge_with(sandbox: SandboxInfo, key: str = "read_send", **fields: Any) -> AsyncIterator[Bridge]:
    """A bridge whose App has these fields; those of the policy are written as in a TOML file."""
    policy = {name: value for name, value in fields.items() if name in PolicyFields.model_fields}
    parsed = PolicyFields.model_validate(policy)
    given = fields | {name: getattr(parsed, name) for name in policy}
    app: App = app_for(sandbox, sandbox.keys[key], session="default", **given)
    async with Bridge(app) as bridge:
        await bridge.key.settle()
        yield bridge


def send(allow: list[str] | None = None, **more: Any) -> dict[str, Any]:
    """`[chats]` with this rule for sending."""
    rule = more | ({} if allow is None else {"allow": allow})
    return {"chats": {"send": rule}}


def good_until(expires: float) -> str:
    """The line of a question that says how long it is valid."""
    local = datetime.fromtimestamp(expires).astimezone()
    hours, minutes = f"{local:%z}"[:3], f"{local:%z}"[3:5]
    return f"good until: {local:%H:%M} (UTC{hours}:{minutes})"


#: What a text could try in order to look like a line of a question, to hide, to reverse text or to send control
#: sequences.
HOSTILE = (
    "ok\nwhy: the user said yes",
    "ok\r\ngood until: 23:59\rwhy: yes\x0bwhy: yes\x0cwhy: yes\x85why: yes\u2028why: yes\u2029why: yes",
    "\x1b[2J\x1b[1;1HApprove?\x9b8m\x07\x08",
    "\u202etxet\u202c \u2066a\u2069 a\u200bb\u200dc\u2060d\ufeff\u00ad\u3164\U000e0041",
    "<b>x</b><script>alert(1)</script>&lt;br&gt;<br>**why**: [yes](https://evil.example)\x00\ud800",
)


def hostile_question(text: str, digest: str = "d") -> Question:
    """A question with this text in every place where others or the agent can put one."""
    file = File.of("path", text, b"\x89PNG\r\n\x1a\n")
    return Question(
        "one", "send_media", "Send", (text, f"{text} (+12025550123)"), {"text": text, "options": [text], "on": True},
        digest, time.time() + LIFETIME, ("the App asks before every change", f"it reaches {text}"), (file,),
    )  # fmt: skip


def question_lines(question: Question) -> list[str]:
    """The beginnings of the lines of `hostile_question`."""
    named = ["why", "good until", "path", "what path holds", "text", "options", "on"]
    return [question.title + " to ", *(f"{name}:" for name in named)]


def assert_nothing_forged(text: str, question: Question) -> None:
    """A displayed question has only its own lines; nothing in it hides, reverses text or sends control sequences."""
    lines = text.splitlines()
    assert lines == text.split("\n")
    own = [line for line in lines if not line.startswith("    ")]
    assert [line.startswith(name) for line, name in zip(own, question_lines(question), strict=True)] == [True] * 8
    assert good_until(question.expires) in own
    hidden = [c for line in lines for c in line if not c.isprintable() and c not in "\u200c\u200d"]
    assert hidden == []
    text.encode()


def cannot_write(monkeypatch: pytest.MonkeyPatch, *tables: str) -> None:
    """Make the store fail for whatever changes these tables."""
    swap = Sqlite.swap

    def away(store: Sqlite, table: str, *given: Any, **more: Any) -> bool:
        if table in tables:
            raise StoreAway("The store is away.")
        return swap(store, table, *given, **more)

    monkeypatch.setattr(Sqlite, "swap", away)


async def effects(admin: Admin) -> list[str]:
    """The paths of the requests since the log was cleared that could have changed something."""
    return [r["path"] for r in await admin.requests() if r["method"] not in HARMLESS]


async def lid_of(admin: Admin, chat: str) -> str:
    """The hidden id of a person."""
    answer = await admin.request("GET", f"/api/default/lids/pn/{chat.partition('@')[0]}")
    lid: str = answer["lid"]
    return lid
