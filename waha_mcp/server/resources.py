"""MCP resources: the results of some tools, under a URI, for clients in which a person picks resources."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

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
_T = TypeVar("_T")


@dataclass(frozen=True)
class Resource:
    """A resource or resource template: the tool that reads it, and the tool's argument that the URI contains.

    `watched`: clients can subscribe to it.
    """

    uri: str
    name: str
    description: str
    tool: str
    argument: str | None = None
    watched: bool = False

    def match(self, uri: str) -> dict[str, str] | None:
        """The tool's arguments in a URI; None if it is not one of this resource."""
        filled = UriTemplate.parse(self.uri).match(uri)
        if filled is None:
            return None
        return {self.argument: str(next(iter(filled.values())))} if self.argument else {}


RESOURCES = (
    Resource("waha://status", "status", "Whether WhatsApp is connected, and what is available", "get_status"),
    Resource("waha://unread", "unread", "Chats with unread messages, and their last lines", "get_unread", watched=True),
    Resource(
        "waha://chats/{chat}",
        "chat",
        "The last messages of a chat, by name, number or id",
        "get_messages",
        "chat",
        watched=True,
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

    @property
    def watched(self) -> list[Resource]:
        """Those of them to which clients can subscribe."""
        return [resource for resource in self.offered() if resource.watched]

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
        answer = await self.run(uri, self._bridge.answer)
        text, _ = redact_json(answer.data, self._bridge.app.key)
        return types.ReadResourceResult(
            contents=[types.TextResourceContents(uri=uri, mime_type=JSON, text=text)], cache_scope="private"
        )

    async def run(self, uri: str, run: Callable[[str, Mapping[str, Any]], Awaitable[_T]]) -> _T:
        """What `run` makes of the tool and the arguments that read a URI.

        Raises as `read`.
        """
        await self._bridge.key.settle()
        for resource in self.offered():
            arguments = resource.match(uri)
            if arguments is None:
                continue
            try:
                return await run(resource.tool, arguments)
            except (UnknownTool, ArgumentError, NotFound, Refusal) as error:
                raise not_found(uri, str(error)) from None
            except WahaError as error:
                raise MCPError(types.INTERNAL_ERROR, str(error)) from None
        raise not_found(uri)


def not_found(uri: str, why: str = "There is no such resource.") -> MCPError:
    """The error for a resource that does not exist, or may not be read."""
    return MCPError(INVALID_PARAMS, f"Resource not found: {why}", {"uri": uri})
