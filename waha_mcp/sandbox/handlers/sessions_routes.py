"""Sessions: listing, configuration and life cycle."""

from __future__ import annotations

import time
from typing import Any

from waha_mcp.sandbox.answers import Refusal, http_error
from waha_mcp.sandbox.handlers.apps_routes import apps_of, drop_app, save_app
from waha_mcp.sandbox.registry import Call, handles
from waha_mcp.sandbox.state import WORKING, Sandbox, Session

#: Seconds from a start until the session works.
START_TIME = 0.02


def as_json(call: Call, session: Session) -> dict[str, Any]:
    """`SessionInfo` of WAHA, with the engine's state beside it."""
    account = session.account
    up = session.status == WORKING and account is not None
    last = account.timeline[-1].time * 1000 if account and account.timeline else None
    found: dict[str, Any] = {
        "name": session.name,
        "status": session.status,
        "config": session.config,
        "me": call.engine.me(account) if up and account else None,
        "presence": account.presence if up and account else None,
        "timestamps": {"activity": last if up else None},
        "assignedWorker": "",
        "engine": {"engine": call.engine.name, **({"connected": True} if up else {})},
    }
    if "apps" in call.query.get("expand", []):
        found["apps"] = apps_of(call.sandbox, session.name)
    return found


def as_dto(call: Call, session: Session) -> dict[str, Any]:
    found = as_json(call, session)
    return {name: found[name] for name in ("name", "status", "config", "me", "engine")}


def existing(call: Call) -> Session:
    session = call.sandbox.sessions.get(call.path["session"])
    if session is None:
        raise http_error(404, "Session not found")
    return session


@handles("SessionsController_list")
def every(call: Call) -> Any:
    """Any key may list, but sees only its own sessions; stopped sessions are shown only with `all`."""
    key = call.key
    return [
        as_json(call, session)
        for session in call.sandbox.sessions.values()
        if (key.is_admin or key.session == session.name) and (call.query.get("all") or session.status != "STOPPED")
    ]


@handles("SessionsController_get")
def get(call: Call) -> Any:
    return as_json(call, existing(call))


@handles("SessionsController_getMe")
def me(call: Call) -> Any:
    session = existing(call)
    if session.status != WORKING or session.account is None:
        return None
    return call.engine.me(session.account)


@handles("SessionsController_create")
def create(call: Call) -> Any:
    body = call.body or {}
    name = body.get("name") or f"session_{int(time.time() * 1000)}"
    if name in call.sandbox.sessions:
        raise http_error(422, f"Session '{name}' already exists. Use PUT to update it.")
    session = call.sandbox.sessions[name] = Session(name, "STOPPED", body.get("config") or {})
    _write_apps(call, session, body)
    if body.get("start") is not False:
        start_session(call.sandbox, session)
    return as_dto(call, session)


@handles("SessionsController_update")
def update(call: Call) -> Any:
    session = existing(call)
    session.config = call.body.get("config") or {}
    _write_apps(call, session, call.body)
    if session.status != "STOPPED":
        start_session(call.sandbox, session)
    return as_dto(call, session)


def _write_apps(call: Call, session: Session, body: dict[str, Any]) -> None:
    """The given Apps become the session's Apps; null or a missing value changes nothing."""
    wanted = body.get("apps")
    if wanted is None:
        return
    kept = {app["id"] for app in wanted}
    for app in apps_of(call.sandbox, session.name):
        if app["id"] not in kept:
            drop_app(call.sandbox, app["id"])
    for app in wanted:
        save_app(call.sandbox, app | {"session": session.name})


@handles("SessionsController_delete")
def delete(call: Call) -> Any:
    """Logs out and deletes; deleting a missing session is not an error."""
    _forget(call.sandbox, call.path["session"])


def _forget(sandbox: Sandbox, name: str) -> None:
    session = sandbox.sessions.pop(name, None)
    if session is not None:
        sandbox.turn(session, "STOPPED")
        for app in apps_of(sandbox, name):
            drop_app(sandbox, app["id"])


@handles("SessionsController_start")
def start(call: Call) -> Any:
    session = existing(call)
    if session.status in ("STOPPED", "FAILED"):
        start_session(call.sandbox, session)
    return as_dto(call, session)


@handles("SessionsController_stop")
def stop(call: Call) -> Any:
    session = existing(call)
    call.sandbox.turn(session, "STOPPED")
    return as_dto(call, session)


@handles("SessionsController_restart")
def restart(call: Call) -> Any:
    session = existing(call)
    start_session(call.sandbox, session)
    return as_dto(call, session)


@handles("SessionsController_logout")
def logout(call: Call) -> Any:
    """Unpairs; a session that was up starts from scratch."""
    session = existing(call)
    session.account, session.missed = None, []
    if ((call.body or {}).get("apps") or {}).get("purge"):
        for app in apps_of(call.sandbox, session.name):
            drop_app(call.sandbox, app["id"])
    if session.status != "STOPPED":
        start_session(call.sandbox, session)
    return as_dto(call, session)


def start_session(sandbox: Sandbox, session: Session) -> None:
    """Bring a session up: a paired one works after a moment, others wait for their QR code to be scanned."""
    sandbox.turn(session, "STOPPED")
    sandbox.turn(session, "STARTING")

    def up() -> None:
        if session.status == "STARTING":
            sandbox.turn(session, "SCAN_QR_CODE" if session.account is None else WORKING)

    sandbox.later(START_TIME, up)


@handles("SessionsController_DEPRACATED_start")
def old_start(call: Call) -> Any:
    name = call.body["name"]
    session = call.sandbox.sessions.setdefault(name, Session(name, "STOPPED"))
    session.config = call.body.get("config") or session.config
    if session.status == WORKING:
        raise Refusal(422, {"message": f"Session '{name}' is already started.", "statusCode": 422})
    start_session(call.sandbox, session)
    return as_dto(call, session)


@handles("SessionsController_DEPRECATED_stop")
def old_stop(call: Call) -> Any:
    session = call.sandbox.sessions.get(call.body["name"])
    if session is not None:
        call.sandbox.turn(session, "STOPPED")
    if call.body.get("logout"):
        _forget(call.sandbox, call.body["name"])


@handles("SessionsController_DEPRECATED_logout")
def old_logout(call: Call) -> Any:
    _forget(call.sandbox, call.body["name"])


@handles("SessionsController_fetchMessageCapping")
def capping(call: Call) -> Any:
    """The number of conversations that may still be opened in this cycle; opening one uses up one."""
    used = sum(1 for chat in call.account.chats.values() if chat.messages and chat.messages[0].source == "api")
    return {
        "cappingStatus": "NONE",
        "totalQuota": 1000,
        "usedQuota": used,
        "cycleStart": int(call.sandbox.started) - 10 * 86_400,
        "cycleEnd": int(call.sandbox.started) + 20 * 86_400,
        "mvStatus": None,
        "oteStatus": None,
    }


@handles("SessionsController_fetchReachoutTimelock")
def timelock(call: Call) -> Any:
    return {"enforcementType": "DEFAULT", "isActive": False, "timeEnforcementEnds": None}
