"""MCP resources: the results of some tools, under a URI, for clients in which a person picks resources."""

from __future__ import annotations

from dataclasses import dataclass

import mcp.types as types
from mcp.shared.exceptions import MCPError
from mcp.shared.uri_template import UriTemplate
from mcp.types import INVALID_PARAMS

from waha_mcp.bridge import Bridge, UnknownTool
from waha_mcp.log import redact_json
from waha_mcp.policy import Refusal
from waha_mcp.tools.catalog import ArgumentError
from waha_mcp.waha.errors import NotFound, WahaError

JSON = "application/json"


@dataclass(frozen=True)
class Resource:
    """A resource or resource template: the tool that reads it, and the tool's argument that the URI contains."""

    uri: str
    name: str
    description: str
    tool: str
    argument: str | None = None


RESOURCES = (
    Resource("waha://status", "status", "Whether WhatsApp is connected, and what is available", "get_status"),
    Resource(
        "waha://chats/{chat}", "chat", "The last messages of a chat, by name, number or id", "get_messages", "chat"
    ),
    Resource("waha://messages/{id}", "message", "One message in full, by its id", "get_message", "message_id"),
)


class Resources:
    """The resources of one bridge."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge

    def offered(self) -> list[Resource]:
        """The resources whose tools are exposed now."""
        tools = {tool.name for tool in self._bridge.tools()}
        return [resource for resource in RESOURCES if resource.tool in tools]

    async def listed(self) -> list[types.Resource]:
        """The answer to resources/list: those with a fixed URI."""
        await self._bridge.key.listable()
        return [
            types.Resource(uri=each.uri, name=each.name, description=each.description, mime_type=JSON)
            for each in self.offered()
            if each.argument is None
        ]

    async def templates(self) -> list[types.ResourceTemplate]:
        """The answer to resources/templates/list: those whose URI has an argument."""
        await self._bridge.key.listable()
        return [
            types.ResourceTemplate(uri_template=each.uri, name=each.name, description=each.description, mime_type=JSON)
            for each in self.offered()
            if each.argument is not None
        ]

    async def read(self, uri: str) -> types.ReadResourceResult:
        """The answer to resources/read: the tool's result as JSON.

        Raises:
            MCPError: unknown URI, refused by the policy, or WAHA failed.
        """
        await self._bridge.key.settle()
        for resource in self.offered():
            filled = UriTemplate.parse(resource.uri).match(uri)
            if filled is None:
                continue
            arguments = {resource.argument: next(iter(filled.values()))} if resource.argument else {}
            try:
                answer = await self._bridge.answer(resource.tool, arguments)
            except (UnknownTool, ArgumentError, NotFound, Refusal) as error:
                raise _not_found(uri, str(error)) from None
            except WahaError as error:
                raise MCPError(types.INTERNAL_ERROR, str(error)) from None
            text, _ = redact_json(answer.data, self._bridge.app.key)
            return types.ReadResourceResult(
                contents=[types.TextResourceContents(uri=uri, mime_type=JSON, text=text)], cache_scope="private"
            )
        raise _not_found(uri, "There is no such resource.")


def _not_found(uri: str, why: str) -> MCPError:
    return MCPError(INVALID_PARAMS, f"Resource not found: {why}", {"uri": uri})
