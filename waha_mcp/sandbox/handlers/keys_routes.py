"""The keys API: the admin's operations, and the `media` and `control` keys that a session's key may request."""

from __future__ import annotations

from typing import Any

from waha_mcp.app.actions import Action
from waha_mcp.sandbox.answers import Refusal, bad_parameters, http_error
from waha_mcp.sandbox.key_ring import Key, known_actions
from waha_mcp.sandbox.registry import Call, handles


@handles("ApiKeysController_create")
def create(call: Call) -> Any:
    body = call.body
    _check(body)
    return call.sandbox.keys.create(
        session=body.get("session"),
        actions=known_actions(body.get("actions")),
        is_admin=bool(body.get("isAdmin")),
        is_active=body.get("isActive") is not False,
    ).as_json()


@handles("ApiKeysController_list")
def every(call: Call) -> Any:
    return [key.as_json() for key in call.sandbox.keys.stored.values()]


@handles("ApiKeysController_update")
def update(call: Call) -> Any:
    key, body = _stored(call), call.body
    _check(body)
    key.is_admin = bool(body.get("isAdmin"))
    key.is_active = body.get("isActive") is not False
    key.session = None if key.is_admin else body.get("session")
    key.actions = None if key.is_admin else known_actions(body.get("actions"))
    return key.as_json()


@handles("ApiKeysController_delete")
def delete(call: Call) -> Any:
    call.sandbox.keys.delete(_stored(call).id)


@handles("ApiKeysController_media")
def media(call: Call) -> Any:
    return _narrow(call, "media", set())


@handles("ApiKeysController_control")
def control(call: Call) -> Any:
    return _narrow(call, "control", {Action.CONTROL})


def _narrow(call: Call, kind: str, on: set[Action]) -> Any:
    name = call.body["session"]
    if name not in call.sandbox.sessions:
        raise Refusal(422, {"error": f'Session "{name}" does not exist', "session": name})
    return call.sandbox.keys.narrow(kind, name, on).as_json()


def _check(body: dict[str, Any]) -> None:
    if not body.get("isAdmin") and not body.get("session"):
        raise bad_parameters(["session should not be empty"])


def _stored(call: Call) -> Key:
    key = call.sandbox.keys.stored.get(call.path["id"])
    if key is None:
        raise http_error(404, "API key not found")
    return key
