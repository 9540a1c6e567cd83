"""The tools, the faults, and the answers to look-ups."""

from __future__ import annotations

import base64
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from tests.harness import Admin
from waha_mcp.sandbox.sample_files import jpeg

#: The recipient, and somebody else.
CHAT, OTHER = "12025550123@c.us", "12025550101@c.us"
CHATS = "/api/default/chats"

#: Seconds without an answer after which the bridge gives up (30 in the product), its waits before each look-up
#: (0, 1 and 2), and until WAHA, which goes on, has done it: between the first look-up and the last.
READ_TIMEOUT, LOOK_AGAIN, SOON = 2.0, (0.0, 0.25, 0.35), 0.3
#: Seconds until work is done that is only done when the sandbox is told to settle.
LONG = 3600.0


@dataclass(frozen=True)
class Ready:
    """Valid arguments for one call, the request that makes its effect, and whether the account shows it."""

    arguments: dict[str, Any]
    method: str
    path: str
    #: How often the account shows the effect.
    count: Callable[[], Awaitable[int]]


@dataclass(frozen=True)
class Case:
    """One tool. `prepare` makes what only one cell uses, so that the repeat guard confuses no two cells."""

    tool: str
    prepare: Callable[[Admin, str], Awaitable[Ready]]
    #: The sandbox's engine.
    engine: str = "gows"


def _sends(tool: str, path: str, arguments: Callable[[str], dict[str, Any]]) -> Case:
    async def prepare(admin: Admin, mark: str) -> Ready:
        before = await _own(admin)

        async def count() -> int:
            return len(await _own(admin) - before)

        return Ready({"chat": CHAT} | arguments(mark), "POST", path, count)

    return Case(tool, prepare)


async def _own(admin: Admin) -> set[str]:
    """The ids of the newest messages that the account has sent to the chat."""
    rows = await admin.request("GET", f"{CHATS}/{CHAT}/messages?limit=20&downloadMedia=false&filter.fromMe=true")
    return {row["id"] for row in rows}


async def _arrived(admin: Admin, mark: str) -> str:
    """A message of somebody else."""
    made = await admin.request("POST", "/sandbox/messages", {"chatId": OTHER, "text": mark})
    found: str = made["id"]
    return found


async def _forward(admin: Admin, mark: str) -> Ready:
    source = await _arrived(admin, mark)
    ready = await _sends("forward_message", "/api/forwardMessage", lambda _: {}).prepare(admin, mark)
    return Ready(ready.arguments | {"message_id": source}, ready.method, ready.path, ready.count)


async def _react(admin: Admin, mark: str) -> Ready:
    message = await _arrived(admin, mark)

    async def count() -> int:
        found = await admin.request("GET", f"{CHATS}/{OTHER}/messages/{message}?downloadMedia=false")
        return int("👍" in json.dumps(found, ensure_ascii=False))

    return Ready({"message_id": message, "emoji": "👍"}, "PUT", "/api/reaction", count)


async def _edit(admin: Admin, mark: str) -> Ready:
    sent = await admin.request("POST", "/api/sendText", {"session": "default", "chatId": CHAT, "text": mark})
    await admin.settle()
    path = f"{CHATS}/{CHAT}/messages/{sent['id']}"
    text = f"{mark}, edited"

    async def count() -> int:
        return int((await admin.request("GET", f"{path}?downloadMedia=false"))["body"] == text)

    return Ready({"message_id": sent["id"], "text": text}, "PUT", path, count)


async def _add(admin: Admin, mark: str) -> Ready:
    made = await admin.request("POST", "/api/default/groups", {"name": mark[:20], "participants": [{"id": CHAT}]})
    group = made.get("id") or made["JID"]
    path = f"/api/default/groups/{group}/participants"

    async def count() -> int:
        return sum(row["pn"] == OTHER for row in await admin.request("GET", f"{path}/v2"))

    return Ready({"group": group, "people": [OTHER]}, "POST", f"{path}/add", count)


def _cards(mark: str) -> dict[str, Any]:
    return {"contacts": [{"name": mark, "phone": "+1 202 555 0155"}]}


def _event(mark: str) -> dict[str, Any]:
    return {"name": mark, "start": "2030-05-01T09:00:00+02:00"}


#: One of each sort first: with an id beforehand, without, and idempotent.
CASES = (
    _sends("send_text", "/api/sendText", lambda mark: {"text": mark}),
    _sends(
        "send_media",
        "/api/sendImage",
        lambda mark: {"kind": "image", "data": base64.b64encode(jpeg()).decode(), "caption": mark},
    ),
    Case("edit_message", _edit),
    _sends("send_poll", "/api/sendPoll", lambda mark: {"question": mark, "options": ["Now", "Later"]}),
    _sends("send_location", "/api/sendLocation", lambda mark: {"latitude": 52.5, "longitude": 13.4, "title": mark}),
    _sends("send_contact_cards", "/api/sendContactVcard", _cards),
    Case("forward_message", _forward, engine="noweb"),  # GOWS cannot
    _sends("send_event", "/api/default/events", _event),
    Case("add_participants", _add),
    Case("react", _react),
)

#: What happens to the request on its way, in place of the sandbox's own faults; see `way.Way`.
OnTheWay = Literal["refused", "handshake", "held", "cut", "bomb"]


@dataclass(frozen=True)
class Fault:
    """What happens to the request that makes the effect."""

    name: str
    #: In the sandbox's format.
    at_waha: dict[str, Any] = field(default_factory=dict)
    on_the_way: OnTheWay | None = None
    #: The client cancels the call when the fault holds the request.
    cancelled: bool = False
    #: WAHA does it, sooner or later.
    done: bool = False
    #: WAHA has not done it when the call is repeated, and does it afterwards.
    at_work: bool = False
    #: WAHA may have made it, or may still make it.
    lost: bool = True

    @property
    def reaches_waha(self) -> bool:
        """Whether the request reaches WAHA."""
        return self.on_the_way in (None, "cut", "bomb")


_PAGE = {"body": "<html><h1>Gateway Time-out</h1></html>", "content_type": "text/html"}
_FORBIDDEN = '{"message": "Forbidden resource", "error": "Forbidden", "statusCode": 403}'
_NOT_READY = '{"error": "Session status is not as expected.", "session": "default", "status": "STARTING"}'

FAULTS = (
    Fault("connection refused", on_the_way="refused", lost=False),
    Fault("closed during the TLS handshake", on_the_way="handshake", lost=False),
    Fault("cancelled before it left", on_the_way="held", cancelled=True, lost=False),
    Fault("cancelled after it left; WAHA does it", {"late": LONG}, cancelled=True, at_work=True, done=True),
    Fault("connection cut; not done", {"drop": True}),
    Fault("connection cut; done", {"drop": True, "after": True}, done=True),
    Fault("no answer in time; done soon", {"late": READ_TIMEOUT + SOON}, done=True),
    Fault("no answer in time; done after the repeat", {"late": LONG}, at_work=True, done=True),
    Fault("no answer in time; never done", {"delay": 60, "drop": True}),
    Fault("502 at once; done soon", {"late": SOON, "status": 502}, done=True),
    Fault("504 with a page; done after the repeat", {"late": LONG, "status": 504, **_PAGE}, at_work=True, done=True),
    Fault("500 inside WAHA; done", {"after": True, "status": 500, "body": '{"exception": {}}'}, done=True),
    Fault("redirect; not done", {"status": 302, "headers": {"location": "/login"}}),
    Fault("answer cut off; done", on_the_way="cut", done=True),
    Fault("gzip bomb as answer; done", on_the_way="bomb", done=True),
    Fault("403 in WAHA's words", {"status": 403, "body": _FORBIDDEN}, lost=False),
    Fault("422, session not ready", {"status": 422, "body": _NOT_READY}, lost=False),
)


def not_messages(message_id: str, number: int) -> list[dict[str, Any]]:
    """Answers to the look-ups of one cell that are not the message; they vary between cells."""
    answers: list[dict[str, Any]] = [
        {"status": 403, "body": _FORBIDDEN},
        {"body": json.dumps({"id": f"false_{CHAT}_{message_id}", "fromMe": False})},
        {"body": json.dumps({"id": f"true_{CHAT}_3EB0FFFFFFFFFFFFFFFF", "fromMe": True})},
        {"body": "{}"},
        {"body": json.dumps({"fromMe": True, "body": "no id"})},
        {"body": "[]"},
        {"body": "yes", "content_type": "text/plain"},
        {"status": 404, "body": '{"message": "Not Found", "statusCode": 404}'},
        {"status": 200, **_PAGE},
        {"malformed": True},
    ]
    return [answers[(number + at) % len(answers)] for at in range(len(LOOK_AGAIN))]
