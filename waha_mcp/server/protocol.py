"""The MCP request handlers: tools, resources, prompts, completions and subscriptions, for both protocol eras."""

from __future__ import annotations

import base64
import logging
from collections.abc import Callable, Iterable
from typing import Any

import mcp.types as types
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.lowlevel.server import NotificationOptions, Server
from mcp.server.models import InitializationOptions
from mcp.server.subscriptions import PromptsListChanged, ResourcesListChanged, ServerEvent, ToolsListChanged
from mcp.shared.exceptions import MCPError
from mcp.types import INTERNAL_ERROR, INVALID_PARAMS, METHOD_NOT_FOUND
from mcp_types import SERVER_INFO_META_KEY
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from waha_mcp import __version__
from waha_mcp.bridge import Bridge, UnknownTool, Withdrawn
from waha_mcp.log import redact_answer, redact_json
from waha_mcp.people.parts import NAMES
from waha_mcp.policy import Refusal
from waha_mcp.server.asking import InputNeeded, read_answer
from waha_mcp.server.clients import Clients
from waha_mcp.server.instructions import DESCRIPTION, ICON, WEBSITE, instructions, title
from waha_mcp.tools.catalog import ArgumentError, Tool
from waha_mcp.waha.errors import WahaError
from waha_mcp.waha.models import Attachment

logger = logging.getLogger(__name__)

#: Milliseconds for which a client may cache a listing while somebody is subscribed to its changes, and while nobody is.
LISTING_TTL, UNHEARD_TTL = 60_000, 3_000

#: Seconds for which the first answer waits for WAHA's word on the key: the server says only once what it offers.
INTRODUCING = 0.5

#: Tells clients that a listing has changed.
_CHANGES: dict[str, ServerEvent] = {
    "tools/list": ToolsListChanged(),
    "prompts/list": PromptsListChanged(),
    "resources/list": ResourcesListChanged(),
    "resources/templates/list": ResourcesListChanged(),
}

_Request = ServerRequestContext[Any, Any]


class _Server(Server[dict[str, Any]]):
    """A server that says in the older era's handshake which changes it announces."""

    announces = NotificationOptions()

    def create_initialization_options(
        self, notification_options: NotificationOptions | None = None, *arguments: Any, **named: Any
    ) -> InitializationOptions:
        return super().create_initialization_options(notification_options or self.announces, *arguments, **named)


class Protocol:
    """An MCP server. Each request is served by the bridge that `bridge_for` returns for it."""

    def __init__(self, bridge_for: Callable[[_Request], Bridge], *, connected: bool = True) -> None:
        """`connected`: clients of the older era have a connection, over which they can be asked and notified."""
        self._bridge_for, self._connected = bridge_for, connected
        self._clients: dict[Bridge, Clients] = {}
        self.server = _Server(
            "waha-mcp",
            version=__version__,
            title="WhatsApp",
            description=DESCRIPTION,
            website_url=WEBSITE,
            icons=[types.Icon(src=ICON, mime_type="image/svg+xml", sizes=["any"])],
            # No tool takes an argument from an HTTP header; else the SDK would list all tools before each call.
            get_tool_input_schema=lambda _: None,
            on_list_tools=self._list_tools,
            on_call_tool=self._call_tool,
            on_list_resources=self._list_resources,
            on_list_resource_templates=self._list_templates,
            on_read_resource=self._read_resource,
            on_subscribe_resource=self._subscribe,
            on_unsubscribe_resource=self._unsubscribe,
            on_list_prompts=self._list_prompts,
            on_get_prompt=self._get_prompt,
            on_completion=self._complete,
            on_subscriptions_listen=self._listen,
        )
        if connected:
            self.server.announces = NotificationOptions(
                tools_changed=True, resources_changed=True, prompts_changed=True
            )
        self.server.middleware += [self._hide_keys, read_answer, self._introduce]

    def end_subscriptions(self) -> None:
        """Close all subscription streams, before the server stops."""
        for clients in self._clients.values():
            clients.close()

    async def retire(self, bridge: Bridge) -> None:
        """Tell the bridge's clients that its listings may have changed, and close their subscription streams."""
        if (clients := self._clients.get(bridge)) is not None:
            try:
                await clients.announce(set(_CHANGES.values()))
            finally:
                clients.close()

    def forget(self, bridge: Bridge) -> None:
        """Drop the state of a closed bridge's clients."""
        self._clients.pop(bridge, None)

    async def announce(self, bridge: Bridge, listings: Iterable[str]) -> None:
        """Tell the bridge's clients that these requests for listings are now answered differently."""
        if bridge in self._clients:
            await self._clients[bridge].announce({_CHANGES[listing] for listing in listings})

    def _of(self, ctx: _Request) -> Clients:
        bridge = self._bridge_for(ctx)
        if bridge not in self._clients:
            self._clients[bridge] = Clients(bridge)
        return self._clients[bridge]

    async def _hide_keys(self, ctx: _Request, call_next: CallNext) -> HandlerResult:
        """Middleware that takes the App's key out of protocol errors, which may quote what the client or WAHA sent."""
        try:
            return await call_next(ctx)
        except MCPError as error:
            key = self._bridge_for(ctx).app.key
            _, data = redact_json(error.data, key)
            raise MCPError(error.code, redact_answer(error.message, key), data) from None

    async def _introduce(self, ctx: _Request, call_next: CallNext) -> HandlerResult:
        """Middleware that makes the server's name and instructions those of the bridge."""
        result = await call_next(ctx)
        bridge = self._of(ctx).bridge
        if (name := _client_name(ctx)) is not None:
            bridge.presence.saw(name, "http" if ctx.request else "stdio")
        if not isinstance(result, dict):
            return result
        first = ctx.method in ("initialize", "server/discover")
        if first:
            await bridge.key.listable(INTRODUCING)
        info = result.get("serverInfo") or (result.get("_meta") or {}).get(SERVER_INFO_META_KEY)
        if isinstance(info, dict):
            info["title"] = title(bridge.app, bridge.phone)
            # The newer era names the server in every answer; what is for people is said once.
            for name in () if first else ("description", "icons", "websiteUrl"):
                info.pop(name, None)
        if first:
            announced = result.get("capabilities", {}).get("resources")
            watched = bool(self._of(ctx).resources.watched) and self._told(ctx)
            if announced is not None and not watched:
                announced.pop("subscribe", None)
            return result | {"instructions": instructions(bridge.app, bridge.key.grant, bridge.phone)}
        return result

    async def _listen(
        self, ctx: _Request, params: types.SubscriptionsListenRequestParams
    ) -> types.SubscriptionsListenResult:
        return await self._of(ctx).listen(ctx, params)

    def _told(self, ctx: _Request) -> bool:
        """Whether this client can be sent something besides the answers to its requests."""
        return self._connected or ctx.protocol_version in MODERN_PROTOCOL_VERSIONS

    def _listed(self, ctx: _Request) -> Clients:
        """The clients of the request's bridge, with this one registered as having a listing."""
        clients = self._of(ctx)
        if ctx.protocol_version not in MODERN_PROTOCOL_VERSIONS and self._connected:
            clients.listed(ctx.session)
        return clients

    async def _list_tools(self, ctx: _Request, params: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        settled = await self._of(ctx).bridge.key.listable()
        clients = self._listed(ctx)
        ttl = LISTING_TTL if clients.listening else UNHEARD_TTL
        return types.ListToolsResult(
            tools=[describe(tool) for tool in clients.bridge.listing()],
            ttl_ms=ttl if settled else 0,
            cache_scope="private",
        )

    async def _call_tool(
        self, ctx: _Request, params: types.CallToolRequestParams
    ) -> types.CallToolResult | types.InputRequiredResult:
        clients = self._of(ctx)
        bridge = clients.bridge
        try:
            answer = await bridge.answer(
                params.name,
                params.arguments or {},
                ask=clients.asking.asker(ctx, params),
                client=_client_name(ctx),
                progress=ctx.session.report_progress,
            )
        except InputNeeded as needed:
            return needed.result
        except Withdrawn as gone:
            # A result and not a protocol error, so that the model reads it.
            return _error(await bridge.error(str(gone)))
        except UnknownTool:
            raise MCPError(INVALID_PARAMS, f"Unknown tool: {params.name}") from None
        except (ArgumentError, Refusal, WahaError) as error:
            return _error(await bridge.error(str(error)))
        except Exception:
            logger.exception("%s failed", params.name)
            return _error(
                f"waha-mcp had an internal error while running {params.name}; its log on stderr has the details."
            )
        text, _ = redact_json(answer.data, bridge.app.key)
        content: list[types.ContentBlock] = [types.TextContent(text=text), *map(_block, answer.attachments)]
        # No structured content: some hosts show it beside the text, and some drop pictures for it (docs/answers.md).
        return types.CallToolResult(content=content)

    # Resources, prompts and completions: everything in them is also available through tools

    async def _list_resources(
        self, ctx: _Request, params: types.PaginatedRequestParams | None
    ) -> types.ListResourcesResult:
        resources = await self._of(ctx).resources.listed()
        self._listed(ctx)
        return types.ListResourcesResult(resources=resources, cache_scope="private")

    async def _list_templates(
        self, ctx: _Request, params: types.PaginatedRequestParams | None
    ) -> types.ListResourceTemplatesResult:
        templates = await self._of(ctx).resources.templates()
        self._listed(ctx)
        return types.ListResourceTemplatesResult(resource_templates=templates, cache_scope="private")

    async def _read_resource(self, ctx: _Request, params: types.ReadResourceRequestParams) -> types.ReadResourceResult:
        return await self._of(ctx).resources.read(params.uri)

    async def _subscribe(self, ctx: _Request, params: types.SubscribeRequestParams) -> types.EmptyResult:
        if not self._told(ctx):
            raise MCPError(
                METHOD_NOT_FOUND, "This server sends no notifications of changes: it runs without --sessions"
            )
        await self._of(ctx).subscribe(ctx, params.uri)
        return types.EmptyResult()

    async def _unsubscribe(self, ctx: _Request, params: types.UnsubscribeRequestParams) -> types.EmptyResult:
        self._of(ctx).unsubscribe(ctx, params.uri)
        return types.EmptyResult()

    async def _list_prompts(
        self, ctx: _Request, params: types.PaginatedRequestParams | None
    ) -> types.ListPromptsResult:
        prompts = await self._of(ctx).prompts.listed()
        self._listed(ctx)
        return types.ListPromptsResult(prompts=prompts, cache_scope="private")

    async def _get_prompt(self, ctx: _Request, params: types.GetPromptRequestParams) -> types.GetPromptResult:
        return await self._of(ctx).prompts.get(params.name, params.arguments or {})

    async def _complete(self, ctx: _Request, params: types.CompleteRequestParams) -> types.CompleteResult:
        """Complete arguments named `chat` with names of chats."""
        if params.argument.name != "chat":
            return types.CompleteResult(completion=types.Completion(values=[]))
        bridge = self._of(ctx).bridge
        try:
            _, values = redact_json(await bridge.chat_names(params.argument.value), bridge.app.key)
        except WahaError as error:
            raise MCPError(INTERNAL_ERROR, str(error)) from None
        more = bridge.directory.not_known(*NAMES) is not None
        return types.CompleteResult(completion=types.Completion(values=values, has_more=more or None))


def describe(tool: Tool) -> types.Tool:
    """A tool's record as tools/list returns it."""
    hints = tool.hints
    return types.Tool(
        name=tool.name,
        title=tool.title,
        description=tool.description,
        input_schema=tool.input_schema,
        annotations=types.ToolAnnotations(
            read_only_hint=hints.read_only,
            destructive_hint=hints.destructive,
            idempotent_hint=hints.idempotent,
            open_world_hint=hints.open_world,
        ),
    )


def _block(attachment: Attachment) -> types.ContentBlock:
    block = types.ImageContent if attachment.kind == "image" else types.AudioContent
    return block(data=base64.b64encode(attachment.data).decode(), mime_type=attachment.mimetype)


def _client_name(ctx: _Request) -> str | None:
    info = ctx.session.client_params
    if info is not None:
        return f"{info.client_info.name} {info.client_info.version}"[:80]
    if ctx.method != "initialize" or ctx.params is None:
        return None
    said = ctx.params.get("clientInfo") or {}
    return f"{said.get('name')} {said.get('version')}"[:80]


def _error(text: str) -> types.CallToolResult:
    return types.CallToolResult(content=[types.TextContent(text=text)], is_error=True)
