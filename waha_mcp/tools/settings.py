"""The toolset `settings`: the session's settings. Secrets (keys, passwords, headers) are neither shown nor accepted."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from waha_mcp.app.actions import Action
from waha_mcp.app.urls import parse
from waha_mcp.tools.catalog import CONFIGURES, INSPECTS, ArgumentError, Context, tool
from waha_mcp.tools.params import Argument, Clears, web_url
from waha_mcp.tools.results import changed_session
from waha_mcp.waha.errors import NotFound
from waha_mcp.waha.models import Result
from waha_mcp.waha.parsing import listing, mapping_of, text_of, texts_of

Ignored = Literal["status", "groups", "channels", "broadcast"]
_IGNORED: tuple[Ignored, ...] = ("status", "groups", "channels", "broadcast")

_SESSIONS = "GET /api/sessions"


class WebhookShown(Result):
    host: str = Field(description="Where events go; the rest of the address may be secret")
    events: list[str]


class Settings(Result):
    debug: bool | None = None
    ignored: list[Ignored] | None = Field(None, description="Kinds of chats whose messages are not kept")
    device_name: str | None = None
    browser_name: str | None = None
    store_enabled: bool | None = Field(None, description="NOWEB: whether chats and messages are kept for reading")
    full_sync: bool | None = Field(None, description="NOWEB: whether older messages are fetched when pairing")
    mark_online: bool | None = Field(None, description="NOWEB: whether connecting shows the account as online")
    metadata_keys: list[str] | None = Field(None, description="Names of what is noted down; values may be secret")
    proxy_host: str | None = None
    webhooks: list[WebhookShown] | None = None


def _settings_from(config: Mapping[str, Any]) -> Settings:
    """Pick the fields of a session's configuration that may be shown."""
    ignore, client, noweb = (mapping_of(config.get(name)) for name in ("ignore", "client", "noweb"))
    store = mapping_of(noweb.get("store"))
    proxy = text_of(mapping_of(config.get("proxy")).get("server"))
    hooks = config.get("webhooks")
    shown = [
        WebhookShown(host=_host(hook.get("url")) or "unknown", events=texts_of(hook.get("events")))
        for hook in map(mapping_of, hooks if isinstance(hooks, list) else [])
    ]
    return Settings(
        debug=_flag(config.get("debug")),
        ignored=[name for name in _IGNORED if ignore.get(name) is True] or None,
        device_name=text_of(client.get("deviceName")),
        browser_name=text_of(client.get("browserName")),
        store_enabled=_flag(store.get("enabled")),
        full_sync=_flag(store.get("fullSync")),
        mark_online=_flag(noweb.get("markOnline")),
        metadata_keys=sorted(map(str, mapping_of(config.get("metadata")))) or None,
        proxy_host=_host(proxy and f"http://{proxy.rpartition('//')[2]}"),
        webhooks=shown or None,
    )


def _flag(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def _host(url: Any) -> str | None:
    try:
        return parse(url, drop_credentials=True).host if isinstance(url, str) else None
    except ValueError:
        return None


async def _config(ctx: Context) -> dict[str, Any]:
    """The session's whole configuration, including secrets: it must not leave this module."""
    rows = listing(await ctx.waha.call(_SESSIONS, query={"all": True}, bound=False), "sessions")
    for row in rows:
        if row.get("name") == ctx.waha.session:
            return dict(mapping_of(row.get("config")))
    raise NotFound(f"WAHA has no session '{ctx.waha.session}': ask the user to set the App's session.")


@tool(title="Session settings", action=Action.SETTING, calls=[_SESSIONS], hints=INSPECTS, toolset="settings")
async def get_session_settings(*, ctx: Context) -> Settings:
    """Show how the session is set up: what it ignores, stores, shows as device name, and where its events go."""
    return _settings_from(await _config(ctx))


def _proxy(value: str) -> str:
    """Validate a proxy as `host:port`; empty text stays empty. Raises ValueError."""
    if not value:
        return value
    url = parse(f"http://{value}")
    # Parsed URLs omit the default port of their scheme.
    port = url.port or (80 if re.search(r":0*80/?$", value) else None)
    if url.path != "/" or "?" in url.href or "#" in url.href:
        raise ValueError("must be host:port, without a path")
    return f"{url.host}:{port}" if port else url.host


class Webhook(Argument):
    url: Annotated[
        str,
        AfterValidator(web_url),
        Field(max_length=2_048, description="An http(s) address on a host that the App lists"),
    ]
    events: Annotated[list[str], Field(min_length=1, max_length=50, description="Such as message, session.status")]


class Note(Argument):
    name: Annotated[str, Field(min_length=1, max_length=40)]
    value: Annotated[str, Field(max_length=500, description="Empty removes the note")]


Metadata = Annotated[list[Note], Field(max_length=50, description="To note down with the session; the others stay")]


@tool(
    title="Change session settings",
    action=Action.SETTING,
    calls=[_SESSIONS, "PUT /api/sessions/{session}"],
    hints=CONFIGURES,
    toolset="settings",
    reaches="everyone",
)
async def update_session_settings(
    debug: Annotated[bool, Field(description="Whether WAHA logs more about the session")] | None = None,
    ignored: Annotated[list[Ignored], Field(description="All kinds of chats whose messages are not to be kept")]
    | None = None,
    device_name: Annotated[str, Field(max_length=60, description="As the phone lists it under Linked devices")]
    | None = None,
    browser_name: Annotated[str, Field(max_length=60, description="Such as Chrome")] | None = None,
    store_enabled: Annotated[bool, Field(description="NOWEB: keep chats and messages for reading")] | None = None,
    full_sync: Annotated[bool, Field(description="NOWEB: fetch older messages when pairing")] | None = None,
    mark_online: Annotated[bool, Field(description="NOWEB: show the account as online when connecting")] | None = None,
    metadata: Metadata | None = None,
    webhooks: Annotated[list[Webhook], Field(max_length=10, description="All that are to receive events")]
    | None = None,
    proxy: Annotated[
        str,
        Clears(),
        AfterValidator(_proxy),
        Field(max_length=300, description="host:port on a host that the App lists; empty, and nothing else: none"),
    ]
    | None = None,
    *,
    ctx: Context,
) -> Settings:
    """Change how the session is set up. What is not given stays. A running session restarts."""
    config = await _config(ctx)
    if debug is not None:
        config["debug"] = debug
    if ignored is not None:
        config["ignore"] = {name: name in ignored for name in _IGNORED}
    _merge(config, "client", {"deviceName": device_name, "browserName": browser_name})
    if (store_enabled, full_sync, mark_online) != (None, None, None):
        noweb = dict(mapping_of(config.get("noweb")))
        store = {"enabled": False, "fullSync": False, **mapping_of(noweb.get("store"))}
        store |= {name: on for name, on in {"enabled": store_enabled, "fullSync": full_sync}.items() if on is not None}
        online = noweb.get("markOnline", True) if mark_online is None else mark_online
        config["noweb"] = noweb | {"markOnline": online, "store": store}
    if metadata is not None:
        noted = {**mapping_of(config.get("metadata")), **{note.name: note.value for note in metadata}}
        config["metadata"] = {name: value for name, value in noted.items() if value != ""}
    if webhooks is not None:
        config["webhooks"] = [_webhook(hook, config.get("webhooks"), ctx) for hook in webhooks]
    if proxy is not None:
        config.pop("proxy", None)
        if proxy:
            _check_host("proxy", parse(f"http://{proxy}").host, ctx)
            config["proxy"] = {"server": proxy}
    answer = await ctx.waha.call("PUT /api/sessions/{session}", body={"config": _without_nulls(config)})
    return _settings_from(mapping_of(changed_session(answer).get("config")) or config)


def _without_nulls(value: Any) -> Any:
    """A copy without nulls, recursively: WAHA returns null for unset values, but does not accept it everywhere."""
    if isinstance(value, Mapping):
        return {name: _without_nulls(each) for name, each in value.items() if each is not None}
    return [_without_nulls(each) for each in value] if isinstance(value, list) else value


def _merge(config: dict[str, Any], name: str, changes: Mapping[str, Any]) -> None:
    given = {key: value for key, value in changes.items() if value is not None}
    if given:
        config[name] = {**mapping_of(config.get(name)), **given}


def _webhook(hook: Webhook, known: Any, ctx: Context) -> dict[str, Any]:
    """The webhook in WAHA's format. An existing one keeps its signature, headers and retries.

    Raises ArgumentError if events are added and its host is not in `outbound_hosts`.
    """
    hooks = map(mapping_of, known if isinstance(known, list) else [])
    before: Mapping[str, Any] = next((each for each in hooks if _is_at(each.get("url"), hook.url)), {})
    if set(hook.events) - set(texts_of(before.get("events"))):
        _check_host("webhooks", parse(hook.url).host, ctx)
    kept = {name: before[name] for name in ("hmac", "retries", "customHeaders") if before.get(name) is not None}
    return {"url": before.get("url", hook.url), "events": hook.events, **kept}


def _is_at(known: Any, url: str) -> bool:
    try:
        return isinstance(known, str) and parse(known).href == url
    except ValueError:
        return False


def _check_host(name: str, host: str, ctx: Context) -> None:
    """Raise ArgumentError unless the App allows the host: an outbound URL gets a copy of all messages."""
    if host not in ctx.app.outbound_hosts:
        allowed = ", ".join(sorted(ctx.app.outbound_hosts)) or "none"
        raise ArgumentError(
            f"{name}: the host is not one that this App lists in outbound_hosts ({allowed}); ask the user to list it"
        )
