"""The state of one bridge's clients: their open questions and subscriptions to changes."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Collection
from typing import Any

from mcp.server.context import ServerRequestContext
from mcp.server.session import ServerSession
from mcp.server.subscriptions import (
    InMemorySubscriptionBus,
    ListenHandler,
    PromptsListChanged,
    ResourcesListChanged,
    ResourceUpdated,
    ServerEvent,
    ToolsListChanged,
)
from mcp.shared.exceptions import MCPError
from mcp.types import INTERNAL_ERROR, SubscriptionsListenRequestParams, SubscriptionsListenResult

from waha_mcp.bridge import Bridge
from waha_mcp.server.asking import Asking
from waha_mcp.server.prompts import Prompts
from waha_mcp.server.resources import Resources
from waha_mcp.server.subscriptions import Subscriptions, resource_of

logger = logging.getLogger(__name__)

#: Most open streams of the newer era.
MOST_STREAMS = 1024
#: In a connection's state: whether its subscriptions end with it.
_SUBSCRIBED = "waha_mcp.subscribed"
#: The notification for each change, in the older era.
_ANNOUNCE: dict[type[ServerEvent], Callable[[ServerSession], Awaitable[None]]] = {
    ToolsListChanged: ServerSession.send_tool_list_changed,
    ResourcesListChanged: ServerSession.send_resource_list_changed,
    PromptsListChanged: ServerSession.send_prompt_list_changed,
}


class _Stream:
    """One subscription stream of the newer era."""

    def __init__(self) -> None:
        # One bus per stream: a URI with a name in it may mean another chat to another client.
        self.bus = InMemorySubscriptionBus()
        self.handler = ListenHandler(self.bus)

    async def tell(self, uri: str) -> None:
        await self.bus.publish(ResourceUpdated(uri=uri))


class Clients:
    """All clients of one bridge; other bridges' clients cannot reach its state."""

    def __init__(self, bridge: Bridge) -> None:
        """Subscribe to changes of the bridge's tools."""
        self.bridge = bridge
        self.asking = Asking(bridge.app, lambda: bridge.policy.store)
        self.resources, self.prompts = Resources(bridge), Prompts(bridge)
        self.subscriptions = Subscriptions(bridge, self.resources)
        self._streams = set[_Stream]()
        #: How many of the newer era's clients are subscribed to changes of the tools.
        self.listening = 0
        #: The older era's sessions that have fetched a listing, by `id` of their initialize parameters.
        self._sessions: dict[int, ServerSession] = {}
        #: The resources and prompts available at the last notification.
        self._announced = self.resources.offered(), self.prompts.offered()
        bridge.listeners.add(self.changed)

    def listed(self, session: ServerSession) -> None:
        """Register a session of the older era that has fetched a listing, so that it is notified of changes."""
        self._sessions[id(session.client_params)] = session

    async def listen(
        self, ctx: ServerRequestContext[Any, Any], params: SubscriptionsListenRequestParams
    ) -> SubscriptionsListenResult:
        """Serve one subscription of the newer era until the client, `close` or the end of the action read ends it.

        Raises:
            MCPError: one of the resources cannot be subscribed to, or there are too many streams.
        """
        if len(self._streams) >= MOST_STREAMS:
            raise MCPError(INTERNAL_ERROR, f"Too many streams: {MOST_STREAMS} are open. Close one first")
        stream = _Stream()
        uris = [uri for uri in dict.fromkeys(params.notifications.resource_subscriptions or ()) if self._is_told(uri)]
        self._streams.add(stream)
        heard = bool(params.notifications.tools_list_changed)
        try:
            if uris:
                await self.subscriptions.add(stream, uris, stream.tell)
            self.listening += heard
            wanted = params.notifications.model_copy(update={"resource_subscriptions": uris})
            try:
                return await stream.handler(ctx, params.model_copy(update={"notifications": wanted}))
            finally:
                self.listening -= heard
        finally:
            self.subscriptions.remove(stream)
            self._streams.discard(stream)

    def _is_told(self, uri: str) -> bool:
        """Whether a subscription to a URI is served or refused; one to a resource without changes is ignored."""
        resource = resource_of(uri)
        return resource is None or resource.watched or resource not in self.resources.offered()

    async def subscribe(self, ctx: ServerRequestContext[Any, Any], uri: str) -> None:
        """Subscribe a session of the older era to a resource.

        Raises:
            MCPError: it cannot be.
        """
        owner, connection = _owner(ctx), ctx.session._connection
        await self.subscriptions.add(owner, [uri], ctx.session.send_resource_updated)
        if not connection.state.setdefault(_SUBSCRIBED, False):
            connection.state[_SUBSCRIBED] = True
            # The SDK offers no other way to learn that a session has ended.
            connection.exit_stack.callback(self.subscriptions.remove, owner)

    def unsubscribe(self, ctx: ServerRequestContext[Any, Any], uri: str) -> None:
        """End a session's subscription to a resource, if it has one."""
        self.subscriptions.remove(_owner(ctx), uri)

    def close(self) -> None:
        """End all streams."""
        for stream in tuple(self._streams):
            stream.handler.close()

    async def changed(self) -> None:
        """Notify all clients that the tools have changed, and the resources and prompts if they have."""
        changed: list[ServerEvent] = [ToolsListChanged()]
        resources, prompts = self._announced
        self._announced = self.resources.offered(), self.prompts.offered()
        if self._announced[0] != resources:
            changed.append(ResourcesListChanged())
        if self._announced[1] != prompts:
            changed.append(PromptsListChanged())
        await self.announce(changed)
        # Ending the stream tells its client. Sessions of the older era see it in the listings alone.
        for owner in self.subscriptions.withdrawn():
            if isinstance(owner, _Stream):
                owner.handler.close()

    async def announce(self, changed: Collection[ServerEvent]) -> None:
        """Notify all clients of these changes."""
        for client, session in tuple(self._sessions.items()):
            try:
                for event in changed:
                    await _ANNOUNCE[type(event)](session)
            except Exception as error:  # a closed client must not keep the others from being notified
                logger.info("A client cannot be told of a change: %s", type(error).__name__)
                self._sessions.pop(client, None)
        for event in changed:
            for stream in tuple(self._streams):
                await stream.bus.publish(event)


def _owner(ctx: ServerRequestContext[Any, Any]) -> object:
    """The key of a session of the older era."""
    return ctx.session._connection
