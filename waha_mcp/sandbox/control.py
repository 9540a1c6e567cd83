"""The sandbox's own routes under /sandbox/, with the admin key. The package's docstring describes them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from inspect import isawaitable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from waha_mcp.sandbox.account import Group, Media, Message, Person
from waha_mcp.sandbox.answers import json_response
from waha_mcp.sandbox.sample_files import sample
from waha_mcp.sandbox.state import Sandbox


class Wrong(Exception):
    """A control request that makes no sense; the text says why."""


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
    session.become(wish["status"])
    return {"session": session.name, "status": session.status}


def receive_message(sandbox: Sandbox, wish: dict[str, Any]) -> Any:
    """A message from somebody else arrives, with a sample file if it has a `mimetype`."""
    session = sandbox.sessions[wish.get("session", "default")]
    account = session.account
    if account is None:
        raise Wrong("the session is not paired")
    chat_id = wish["chatId"]
    author = wish.get("from") or chat_id
    person = account.person(author)
    if person is None and author.endswith(("@c.us", "@lid")):
        person = account.add_person(Person(author))
    if person is not None and "pushName" in wish:
        person.push_name = wish["pushName"]
    group = account.groups.get(chat_id)
    if group is not None and group.lids and person is not None and person.lid:
        author = person.lid
    mimetype = wish.get("mimetype")
    kind = "text" if mimetype is None else mimetype.partition("/")[0].replace("audio", "voice")
    message = account.add(
        Message(
            id=wish.get("id") or account.new_id(from_me=False),
            chat=chat_id,
            from_me=False,
            author=author,
            time=int(wish.get("timestamp") or time.time()),
            text=wish["text"],
            kind=kind,
            media=None if mimetype is None else Media(mimetype, sample(mimetype)),
            ack=2,
            quoted=wish.get("replyTo"),
            raw=wish.get("raw"),
        ),
        unread=True,
    )
    return {"id": sandbox.engine.message_id(account, message)}


def receive_group(sandbox: Sandbox, wish: dict[str, Any]) -> Any:
    """Somebody else makes a group and puts the account into it."""
    account = sandbox.sessions[wish.get("session", "default")].account
    if account is None:
        raise Wrong("the session is not paired")
    owner, now = wish["from"], int(time.time())
    if account.person(owner) is None:
        account.add_person(Person(owner))
    group_id = f"1203635{account.rng.randrange(10**10, 10**11)}@g.us"
    members = {owner: "superadmin", account.me.id: "participant"}
    account.groups[group_id] = Group(group_id, wish["subject"], owner, now, members)
    account.chat(group_id, started=now)
    return {"id": group_id}


def receive_call(sandbox: Sandbox, wish: dict[str, Any]) -> Any:
    """Somebody calls; the call rings until it is rejected."""
    account = sandbox.sessions[wish.get("session", "default")].account
    if account is None:
        raise Wrong("the session is not paired")
    call_id = account.new_id(from_me=False)
    account.calls[call_id] = wish["from"]
    return {"id": call_id}


async def settle(sandbox: Sandbox, wish: dict[str, Any]) -> Any:
    return {"settled": await sandbox.settle()}


def change_engine(sandbox: Sandbox, wish: dict[str, Any]) -> Any:
    """What the engine lacks: operations by id; `reset` restores the engine's own list."""
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
    ("POST", "settle"): settle,
    ("POST", "engine"): change_engine,
}
