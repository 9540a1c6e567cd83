"""The toolset `apps`: the session's Apps inside WAHA. Their keys and tokens are neither shown nor accepted."""

import secrets
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from waha_mcp.app.actions import Action
from waha_mcp.tools.catalog import CONFIGURES, DESTROYS, INSPECTS, SENDS, ArgumentError, Context, tool
from waha_mcp.tools.params import Clears
from waha_mcp.tools.results import Done, done
from waha_mcp.waha.errors import BadAnswer
from waha_mcp.waha.models import Result
from waha_mcp.waha.parsing import all_of, mapping_of, text_of

_APP = "/api/apps/{id}"

Kind = Literal[
    "calls", "mcp", "phone-numbers", "argentine-phone-numbers", "brazilian-phone-numbers", "mexican-phone-numbers"
]
AppId = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9_.-]{1,100}$", description="Id of an app inside WAHA, as list_waha_apps gives it")
]
Actions = Annotated[
    list[Action], Field(description="For mcp: what its key may do, at most what this App's key is known to")
]
DirectReply = Annotated[
    str, Clears(), Field(max_length=1_000, description="For calls: the answer to people who call; empty: reject only")
]
GroupReply = Annotated[
    str, Clears(), Field(max_length=1_000, description="For calls: the answer to calls in groups; empty: reject only")
]


class WahaApp(Result):
    id: str
    kind: str
    enabled: bool | None = None
    actions: list[str] | None = Field(None, description="Of an MCP app: what its key may do")
    rejects_calls: bool | None = Field(None, description="Of a calls app: whether it turns people's calls away")
    rejects_group_calls: bool | None = None


def _app_from(raw: Mapping[str, Any]) -> WahaApp | None:
    """Parse an app, with a few fields of its configuration (it holds keys, tokens, URLs); None without id or kind."""
    app_id, kind = text_of(raw.get("id")), text_of(raw.get("app"))
    if app_id is None or kind is None:
        return None
    config = mapping_of(raw.get("config"))
    enabled = raw.get("enabled")
    return WahaApp(
        id=app_id,
        kind=kind,
        enabled=enabled if isinstance(enabled, bool) else None,
        actions=[action for action in Action if action in _actions_of(config)] if kind == "mcp" else None,
        rejects_calls=mapping_of(config.get("dm")).get("reject") is True if kind == "calls" else None,
        rejects_group_calls=mapping_of(config.get("group")).get("reject") is True if kind == "calls" else None,
    )


def _actions_of(config: Mapping[str, Any]) -> set[str]:
    """The actions of an MCP app; all of them if they cannot be parsed."""
    actions = config.get("actions")
    return {name for name, on in actions.items() if on is not False} if isinstance(actions, Mapping) else set(Action)


def _within_ours(actions: set[str], ctx: Context) -> None:
    beyond = sorted(actions - ctx.grant.actions)
    if beyond:
        ours = ", ".join(action for action in Action if action in ctx.grant.actions)
        raise ArgumentError(
            f"actions: {', '.join(beyond)}: more than this App's own key may do ({ours}); "
            "the user can make such an app in WAHA's dashboard"
        )


class WahaApps(Result):
    apps: list[WahaApp]


@tool(title="List WAHA apps", action=Action.APP, calls=["GET /api/apps"], hints=INSPECTS, toolset="apps")
async def list_waha_apps(*, ctx: Context) -> WahaApps:
    """List the apps that work on this session inside WAHA, such as MCP access or answering calls."""
    return WahaApps(apps=all_of(await ctx.waha.call("GET /api/apps"), "apps", _app_from))


def _calls_config(message: str | None) -> dict[str, Any]:
    return {"reject": message is not None} | ({"message": message} if message else {})


@tool(
    title="Create a WAHA app",
    action=Action.APP,
    calls=["POST /api/apps"],
    hints=SENDS,
    toolset="apps",
    reaches="everyone",
)
async def create_waha_app(
    kind: Annotated[Kind, Field(description="calls turns calls away, mcp is access for an agent")],
    actions: Actions | None = None,
    call_reply: DirectReply | None = None,
    group_call_reply: GroupReply | None = None,
    *,
    ctx: Context,
) -> WahaApp:
    """Add an app to this session inside WAHA. The key of an MCP app is not shown: it stands in WAHA's dashboard.

    A calls app rejects the calls that it has an answer for. An empty answer counts where nothing else is given.
    """
    config: dict[str, Any] = {}
    if kind == "mcp":
        if not actions:
            raise ArgumentError("actions: name at least one for an mcp app")
        _within_ours(set(actions), ctx)
        config["actions"] = {action.value: action in actions for action in Action}
    elif kind == "calls":
        config = {"dm": _calls_config(call_reply), "group": _calls_config(group_call_reply)}
    if kind != "mcp" and actions:
        raise ArgumentError("actions: only an mcp app has them")
    if kind != "calls" and (call_reply, group_call_reply) != (None, None):
        raise ArgumentError("call_reply and group_call_reply: only a calls app has them")
    body = {"id": f"app_{secrets.token_hex(16)}", "app": kind, "enabled": True, "config": config}
    app = _app_from(mapping_of(await ctx.waha.call("POST /api/apps", body=body)))
    if app is None:
        raise BadAnswer("WAHA created the app but did not give its id: find it with list_waha_apps.")
    return app


@tool(
    title="Change a WAHA app",
    action=Action.APP,
    calls=[f"GET {_APP}", f"PUT {_APP}"],
    hints=CONFIGURES,
    toolset="apps",
    reaches="everyone",
)
async def update_waha_app(
    app_id: AppId,
    enabled: Annotated[bool, Field(description="Whether it works; the key of an MCP app goes with it")] | None = None,
    actions: Actions | None = None,
    call_reply: DirectReply | None = None,
    group_call_reply: GroupReply | None = None,
    *,
    ctx: Context,
) -> WahaApp:
    """Switch an app inside WAHA on or off, or change what it does. What is not given stays."""
    raw = dict(mapping_of(await ctx.waha.call(f"GET {_APP}", path={"id": app_id}, bound=False)))
    before = _app_from(raw)
    if before is None or raw.get("session") != ctx.waha.session:
        raise ArgumentError("app_id: this session has no such app; list_waha_apps shows them")
    config = dict(mapping_of(raw.get("config")))
    if before.kind == "mcp":
        if actions is not None:
            config["actions"] = {action.value: action in actions for action in Action}
        if enabled is not False or actions is not None:
            _within_ours(_actions_of(config), ctx)
    elif actions is not None:
        raise ArgumentError("actions: only an mcp app has them")
    if before.kind == "calls":
        for name, reply in (("dm", call_reply), ("group", group_call_reply)):
            if reply is not None:
                config[name] = _calls_config(reply)
    elif (call_reply, group_call_reply) != (None, None):
        raise ArgumentError("call_reply and group_call_reply: only a calls app has them")
    body = {
        "id": before.id,
        "app": before.kind,
        "enabled": before.enabled is not False if enabled is None else enabled,
        "config": config,
    }
    app = _app_from(mapping_of(await ctx.waha.call(f"PUT {_APP}", path={"id": app_id}, body=body)))
    return app or before


@tool(
    title="Delete a WAHA app",
    action=Action.APP,
    calls=[f"DELETE {_APP}"],
    hints=DESTROYS,
    toolset="apps",
    reaches="nobody",
)
async def delete_waha_app(app_id: AppId, *, ctx: Context) -> Done:
    """Delete an app of this session inside WAHA. The key of an MCP app stops working."""
    return done(await ctx.waha.call(f"DELETE {_APP}", path={"id": app_id}, bound=False), f"Deleted {app_id}")


@tool(
    title="Purge a WAHA app",
    action=Action.APP,
    calls=[f"POST {_APP}/purge", "POST /api/apps/{app}/{session}/purge"],
    hints=DESTROYS,
    toolset="apps",
    reaches="nobody",
    one_of=("app_id", "kind"),
)
async def purge_waha_app(
    app_id: AppId | None = None,
    kind: Annotated[Kind, Field(description="Instead of an id: the app of this kind")] | None = None,
    *,
    ctx: Context,
) -> Done:
    """Have an app inside WAHA forget what it has collected. Its settings stay."""
    if app_id is not None:
        answer = await ctx.waha.call(f"POST {_APP}/purge", path={"id": app_id}, bound=False)
    else:
        answer = await ctx.waha.call("POST /api/apps/{app}/{session}/purge", path={"app": str(kind)})
    return done(answer, f"Purged {app_id or kind}")
