"""Apps of a session. An MCP App has its own scoped key, which follows the App's changes."""

from __future__ import annotations

from typing import Any

from waha_mcp.sandbox.answers import Refusal, bad_parameters, http_error
from waha_mcp.sandbox.key_ring import known_actions
from waha_mcp.sandbox.registry import Call, handles
from waha_mcp.sandbox.state import Sandbox

KINDS = (
    "argentine-phone-numbers", "brazilian-phone-numbers", "chatwoot", "calls", "mcp", "mexican-phone-numbers",
    "phone-numbers",
)  # fmt: skip


def save_app(sandbox: Sandbox, wish: dict[str, Any]) -> dict[str, Any]:
    """Create or change an App; an MCP App's key is created, changed or switched along with it."""
    if not isinstance(wish.get("config"), dict):
        raise bad_parameters(["config must be an object"])
    app = {
        "id": wish["id"],
        "session": wish["session"],
        "app": wish["app"],
        "enabled": wish.get("enabled") is not False,
        "config": dict(wish["config"]),
    }
    if app["app"] == "mcp":
        actions = wish["config"].get("actions")
        if not isinstance(actions, dict) or not all(isinstance(flag, bool) for flag in actions.values()):
            raise bad_parameters(["config.actions must be an object"])
        before = sandbox.apps.get(app["id"], {"config": {}})["config"]
        key = sandbox.keys.stored.get(before.get("key_id", ""))
        if key is None:
            key = sandbox.keys.create(session=app["session"], actions=None, label=f"app:{app['id']}")
        key.actions = known_actions(actions)
        key.is_active = app["enabled"]
        app["config"] = {"actions": actions, "key_id": key.id, "key": key.secret}
    sandbox.apps[app["id"]] = app
    return app


def drop_app(sandbox: Sandbox, app_id: str) -> None:
    """Remove an App and its key."""
    app = sandbox.apps.pop(app_id)
    if app["app"] == "mcp":
        sandbox.keys.delete(app["config"]["key_id"])


def apps_of(sandbox: Sandbox, session: str) -> list[dict[str, Any]]:
    return [app for app in sandbox.apps.values() if app["session"] == session]


@handles("AppsController_list")
def every(call: Call) -> Any:
    return apps_of(call.sandbox, call.request.query_params.get("session", ""))


@handles("AppsController_create")
def create(call: Call) -> Any:
    body = call.body
    if body["session"] not in call.sandbox.sessions:
        raise Refusal(422, {"error": f'Session "{body["session"]}" does not exist', "session": body["session"]})
    if body["id"] in call.sandbox.apps:
        raise http_error(409, f"App with id '{body['id']}' already exists")
    return save_app(call.sandbox, body)


@handles("AppsController_get")
def get(call: Call) -> Any:
    return call.sandbox.apps[call.path["id"]]


@handles("AppsController_update")
def update(call: Call) -> Any:
    app, body = call.sandbox.apps[call.path["id"]], call.body
    for name in ("id", "session", "app"):
        if body[name] != app[name]:
            raise bad_parameters([f"{name} can not be changed"])
    return save_app(call.sandbox, body)


@handles("AppsController_delete")
def delete(call: Call) -> Any:
    drop_app(call.sandbox, call.path["id"])


@handles("AppsController_purge", "AppsController_purgeUniqueApp")
def purge(call: Call) -> Any:
    """Clears an App's cache; the App stays."""
    if "app" in call.path and call.path["app"] not in KINDS:
        raise bad_parameters([f"app must be one of the following values: {', '.join(KINDS)}"])
    return {"success": True}
