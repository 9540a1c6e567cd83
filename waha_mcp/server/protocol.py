"""The MCP side of a bridge: listing, calling, and telling clients that the listing changed. Serves both eras."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from mcp import MCPError, types
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.lowlevel.server import NotificationOptions
from mcp.server.models import InitializationOptions
from mcp.server.session import ServerSession
from mcp.server.subscriptions import (
    InMemorySubscriptionBus,
    ListenHandler,
    PromptsListChanged,
    ResourcesListChanged,
    ServerEvent,
    ToolsListChanged,
)
from mcp.types import INTERNAL_ERROR, INVALID_PARAMS
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from waha_mcp import __version__
from waha_mcp.bridge import Bridge, UnknownTool
from waha_mcp.log import redact
from waha_mcp.people.parts import NAMES
from waha_mcp.policy import Refusal
from waha_mcp.server.asking import Asking, InputNeeded
from waha_mcp.server.instructions import instructions
from waha_mcp.server.prompts import Prompts
from waha_mcp.server.resources import Resources
from waha_mcp.tools.budget import as_json
from waha_mcp.tools.catalog import ArgumentError, Tool
from waha_mcp.waha.errors import WahaError
from waha_mcp.waha.models import Attachment

logger = logging.getLogger(__name__)

#: Milliseconds that a client may keep a listing; a changed one is announced.
LISTING_TTL = 60_000

#: How a change is told in the older era.
_TELL: dict[type[ServerEvent], Callable[[ServerSession], Awaitable[None]]] = {
    ToolsListChanged: ServerSession.send_tool_list_changed,
    ResourcesListChanged: ServerSession.send_resource_list_changed,
    PromptsListChanged: ServerSession.send_prompt_list_changed,
}

_Request = ServerRequestContext[Any, Any]


class Protocol:
    """An MCP server for one bridge and, on stdio, one client."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge
        self._bus = InMemorySubscriptionBus()
        self._legacy: ServerSession | None = None
        self.listen = ListenHandler(self._bus)
        self.server: Server[dict[str, Any]] = Server(
            "waha-mcp",
            version=__version__,
            title="WhatsApp (WAHA)",
            instructions=instructions(bridge.app, bridge.grant),
            on_list_tools=self._list_tools,
            on_call_tool=self._call_tool,
            on_list_resources=self._list_resources,
            on_list_resource_templates=self._list_templates,
            on_read_resource=self._read_resource,
            on_list_prompts=self._list_prompts,
            on_get_prompt=self._get_prompt,
            on_completion=self._complete,
            on_subscriptions_listen=self.listen,
        )
        self._asking = Asking()
        self.server.middleware.append(self._asking.reduce)
        self._resources = Resources(bridge)
        self._prompts = Prompts(bridge)
        #: The resources and prompts on offer when a change was last told.
        self._told = self._resources.offered(), self._prompts.offered()
        bridge.on_change = self._tools_changed

    @property
    def options(self) -> InitializationOptions:
        """What the handshake of the older era announces."""
        return self.server.create_initialization_options(
            NotificationOptions(tools_changed=True, resources_changed=True, prompts_changed=True)
        )

    async def _tools_changed(self) -> None:
        self.server.instructions = instructions(self._bridge.app, self._bridge.grant)
        changed: list[ServerEvent] = [ToolsListChanged()]
        resources, prompts = self._told
        self._told = self._resources.offered(), self._prompts.offered()
        if self._told[0] != resources:
            changed.append(ResourcesListChanged())
        if self._told[1] != prompts:
            changed.append(PromptsListChanged())
        for event in changed:
            if self._legacy is not None:
                await _TELL[type(event)](self._legacy)
            await self._bus.publish(event)

    def _listed(self, ctx: _Request) -> None:
        """Note that from here on a client holds a listing that can go stale."""
        if ctx.protocol_version not in MODERN_PROTOCOL_VERSIONS:
            self._legacy = ctx.session

    async def _list_tools(self, ctx: _Request, params: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        settled = await self._bridge.listable()
        self._listed(ctx)
        return types.ListToolsResult(
            tools=[describe(tool) for tool in self._bridge.tools()],
            ttl_ms=LISTING_TTL if settled else 0,
            cache_scope="private",
        )

    async def _call_tool(
        self, ctx: _Request, params: types.CallToolRequestParams
    ) -> types.CallToolResult | types.InputRequiredResult:
        try:
            result = await self._bridge.call(
                params.name,
                params.arguments or {},
                ask=self._asking.asker(ctx, params),
                client=_client_name(ctx),
                progress=ctx.session.report_progress,
            )
        except InputNeeded as needed:
            return needed.result
        except UnknownTool:
            raise MCPError(INVALID_PARAMS, f"Unknown tool: {params.name}") from None
        except (ArgumentError, Refusal, WahaError) as error:
            return _error(redact(str(error), self._bridge.app.key))
        except Exception:
            logger.exception("%s failed", params.name)
            return _error(f"waha-mcp failed inside while running {params.name}; its log on stderr says more.")
        data = as_json(result)
        text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
        redacted = redact(text, self._bridge.app.key)
        if redacted != text:
            text, data = redacted, json.loads(redacted)
        content: list[types.ContentBlock] = [types.TextContent(text=text), *map(_block, result.attachments)]
        return types.CallToolResult(content=content, structured_content=data)

    # Resources, prompts and completions: never the only way to a thing

    async def _list_resources(
        self, ctx: _Request, params: types.PaginatedRequestParams | None
    ) -> types.ListResourcesResult:
        resources = await self._resources.listed()
        self._listed(ctx)
        return types.ListResourcesResult(resources=resources, cache_scope="private")

    async def _list_templates(
        self, ctx: _Request, params: types.PaginatedRequestParams | None
    ) -> types.ListResourceTemplatesResult:
        templates = await self._resources.templates()
        self._listed(ctx)
        return types.ListResourceTemplatesResult(resource_templates=templates, cache_scope="private")

    async def _read_resource(self, ctx: _Request, params: types.ReadResourceRequestParams) -> types.ReadResourceResult:
        return await self._resources.read(params.uri)

    async def _list_prompts(
        self, ctx: _Request, params: types.PaginatedRequestParams | None
    ) -> types.ListPromptsResult:
        prompts = await self._prompts.listed()
        self._listed(ctx)
        return types.ListPromptsResult(prompts=prompts, cache_scope="private")

    async def _get_prompt(self, ctx: _Request, params: types.GetPromptRequestParams) -> types.GetPromptResult:
        return await self._prompts.get(params.name, params.arguments or {})

    async def _complete(self, ctx: _Request, params: types.CompleteRequestParams) -> types.CompleteResult:
        """Names of chats, wherever a chat is asked for."""
        if params.argument.name != "chat":
            return types.CompleteResult(completion=types.Completion(values=[]))
        try:
            values = await self._bridge.chat_names(params.argument.value)
        except WahaError as error:
            raise MCPError(INTERNAL_ERROR, redact(str(error), self._bridge.app.key)) from None
        more = self._bridge.directory.not_known(*NAMES) is not None
        return types.CompleteResult(completion=types.Completion(values=values, has_more=more or None))


def describe(tool: Tool) -> types.Tool:
    """A tool as tools/list shows it."""
    hints = tool.hints
    return types.Tool(
        name=tool.name,
        title=tool.title,
        description=tool.description,
        input_schema=tool.input_schema,
        output_schema=tool.output_schema,
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
    return f"{info.client_info.name} {info.client_info.version}"[:80] if info else None


def _error(text: str) -> types.CallToolResult:
    return types.CallToolResult(content=[types.TextContent(text=text)], is_error=True)
