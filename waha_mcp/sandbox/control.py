"""The sandbox's own routes under /sandbox/, with the admin key. The package's docstring describes them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from inspect import isawaitable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from waha_mcp.sandbox.answers import json_response
from waha_mcp.sandbox.event_stream import SocketFaults
from waha_mcp.sandbox.incoming import FLOODED_CHAT, flood, happen, play, receive_call, receive_group, receive_message
from waha_mcp.sandbox.state import Sandbox


class Wrong(Exception):
    """An invalid control request; the text says why."""


async def answer_control(sandbox: Sandbox, request: Request) -> Response:
    if sandbox.keys.find(request.headers.get("x-api-key")) is not sandbox.keys.admin:
        return json_response({"error": "the sandbox's routes need the admin key in X-Api-Key"}, 401)
    name = request.url.path.removeprefix("/sandbox/")
    route = ROUTES.get((request.method, name))
    if route is None:
        known = ", ".join(f"{method} /sandbox/{path}" for method, path in ROUTES)
        return json_response({"error": f"no such route; there are {known}"}, 404)
    raw = await request.body()
    try:
        wish = json.loads(raw) if raw else {}
        if not isinstance(wish, dict):
            raise Wrong("the body must be an object")
        result = route(sandbox, wish)
        return json_response(await result if isawaitable(result) else result)
    except (Wrong, ValueError, TypeError, KeyError) as error:
        return json_response({"error": str(error)}, 400)


def add_fault(sandbox: Sandbox, wish: dict[str, Any]) -> Any:
    sandbox.faults.add(wish)
    return {"active": len(sandbox.faults.active)}


def replace_faults(sandbox: Sandbox, wish: dict[str, Any]) -> Any:
    clear_faults(sandbox, wish)
    for each in wish["faults"]:
        sandbox.faults.add(each)
    return {"active": len(sandbox.faults.active)}


def clear_faults(sandbox: Sandbox, wish: dict[str, Any]) -> Any:
    sandbox.faults.active.clear()
    return {"active": 0}


def list_requests(sandbox: Sandbox, wish: dict[str, Any]) -> Any:
    return [entry.as_json() for entry in sandbox.log.entries]


def clear_requests(sandbox: Sandbox, wish: dict[str, Any]) -> Any:
    sandbox.log.clear()
    return {"requests": 0}


STATUSES = (
    "STOPPED", "STARTING", "SCAN_QR_CODE", "PASSKEY_REQUIRED", "PASSKEY_CONFIRMATION_REQUIRED", "WORKING", "FAILED",
)  # fmt: skip


def set_session(sandbox: Sandbox, wish: dict[str, Any]) -> Any:
    session = sandbox.sessions.get(wish.get("session", "default"))
    if session is None:
        raise Wrong("no such session")
    if wish.get("status") not in STATUSES:
        raise Wrong(f"status must be one of {', '.join(STATUSES)}")
    if wish["status"] == "WORKING" and session.account is None:
        session.account = sandbox.paired_account()
    sandbox.turn(session, wish["status"])
    return {"session": session.name, "status": session.status}


def spoil_feed(sandbox: Sandbox, wish: dict[str, Any]) -> Any:
    """Set faults of the event feed; the answer describes its state."""
    stream = sandbox.stream
    unknown = set(wish) - {
        "ping",
        "drop",
        "half_open",
        "slow",
        "garbage",
        "flood",
        "chatId",
        "refuse",
        "absent",
        "reset",
    }
    if unknown:
        raise Wrong(f"unknown fields: {', '.join(sorted(unknown))}")
    if wish.get("reset"):
        stream.faults = SocketFaults()
    stream.faults.change(wish)
    if wish.get("flood"):
        flood(sandbox, int(wish["flood"]), wish.get("chatId", FLOODED_CHAT))
    if wish.get("garbage"):
        stream.spill(int(wish["garbage"]))
    for each in [*stream.listeners]:
        if wish.get("ping"):
            each.ping()
        if wish.get("half_open"):
            each.freeze()
        if wish.get("drop"):
            each.drop()
    return list_sockets(sandbox, wish)


def list_sockets(sandbox: Sandbox, wish: dict[str, Any]) -> Any:
    return {"sockets": [each.as_json() for each in sandbox.stream.listeners], **asdict(sandbox.stream.faults)}


async def settle(sandbox: Sandbox, wish: dict[str, Any]) -> Any:
    return {"settled": await sandbox.settle()}


def change_engine(sandbox: Sandbox, wish: dict[str, Any]) -> Any:
    """Change which operations the engine lacks, by id; `reset` restores its own list."""
    known = sandbox.contract.by_id
    unknown = [each for part in ("lacks", "has") for each in wish.get(part, []) if each not in known]
    if unknown:
        raise Wrong(f"no such operations: {', '.join(unknown)}")
    engine = sandbox.engine
    if wish.get("reset"):
        engine.lacks = set(type(engine).LACKS)
    engine.lacks |= set(wish.get("lacks", []))
    engine.lacks -= set(wish.get("has", []))
    return {"engine": engine.name, "lacks": sorted(engine.lacks)}


def begin_anew(sandbox: Sandbox, wish: dict[str, Any]) -> Any:
    sandbox.begin_anew()
    return {"requests": 0}


ROUTES: dict[tuple[str, str], Callable[[Sandbox, dict[str, Any]], Any]] = {
    ("POST", "faults"): add_fault,
    ("PUT", "faults"): replace_faults,
    ("DELETE", "faults"): clear_faults,
    ("GET", "requests"): list_requests,
    ("DELETE", "requests"): clear_requests,
    ("POST", "session"): set_session,
    ("POST", "messages"): receive_message,
    ("POST", "groups"): receive_group,
    ("POST", "calls"): receive_call,
    ("POST", "script"): play,
    ("POST", "events"): happen,
    ("POST", "socket"): spoil_feed,
    ("GET", "socket"): list_sockets,
    ("POST", "settle"): settle,
    ("POST", "reset"): begin_anew,
    ("POST", "engine"): change_engine,
}
