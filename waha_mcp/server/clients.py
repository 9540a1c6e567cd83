"""The state of one bridge's clients: their open questions, and who gets list-changed notifications."""

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
    ServerEvent,
    ToolsListChanged,
)
from mcp.types import SubscriptionsListenRequestParams, SubscriptionsListenResult

from waha_mcp.bridge import Bridge
from waha_mcp.server.asking import Asking
from waha_mcp.server.prompts import Prompts
from waha_mcp.server.resources import Resources

logger = logging.getLogger(__name__)

#: The notification for each change, in the older era.
_ANNOUNCE: dict[type[ServerEvent], Callable[[ServerSession], Awaitable[None]]] = {
    ToolsListChanged: ServerSession.send_tool_list_changed,
    ResourcesListChanged: ServerSession.send_resource_list_changed,
    PromptsListChanged: ServerSession.send_prompt_list_changed,
}


class Clients:
    """All clients of one bridge; other bridges' clients cannot reach its state."""

    def __init__(self, bridge: Bridge) -> None:
        """Subscribe to changes of the bridge's tools."""
        self.bridge = bridge
        self.asking = Asking()
        self.resources, self.prompts = Resources(bridge), Prompts(bridge)
        self._bus = InMemorySubscriptionBus()
        self._streams = ListenHandler(self._bus)
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
        """Serve one subscription of the newer era, to changes of listings, until the client or `close` ends it."""
        # Nothing tells of changes of a single resource, so that they are not acknowledged.
        wanted = params.notifications.model_copy(update={"resource_subscriptions": None})
        heard = bool(wanted.tools_list_changed)
        self.listening += heard
        try:
            return await self._streams(ctx, params.model_copy(update={"notifications": wanted}))
        finally:
            self.listening -= heard

    def close(self) -> None:
        """End all subscriptions."""
        self._streams.close()

    async def changed(self) -> None:
        """Tell all of them that the tools have changed, and resources and prompts if they have."""
        changed: list[ServerEvent] = [ToolsListChanged()]
        resources, prompts = self._announced
        self._announced = self.resources.offered(), self.prompts.offered()
        if self._announced[0] != resources:
            changed.append(ResourcesListChanged())
        if self._announced[1] != prompts:
            changed.append(PromptsListChanged())
        await self.announce(changed)

    async def announce(self, changed: Collection[ServerEvent]) -> None:
        """Tell all of them of these changes."""
        for client, session in tuple(self._sessions.items()):
            try:
                for event in changed:
                    await _ANNOUNCE[type(event)](session)
            except Exception as error:  # it has gone, which must keep nothing from the others
                logger.info("A client cannot be told of a change: %s", type(error).__name__)
                self._sessions.pop(client, None)
        for event in changed:
            await self._bus.publish(event)
