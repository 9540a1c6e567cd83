"""The state of one bridge's clients: their open questions, and who gets list-changed notifications."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from mcp.server.session import ServerSession
from mcp.server.subscriptions import (
    InMemorySubscriptionBus,
    ListenHandler,
    PromptsListChanged,
    ResourcesListChanged,
    ServerEvent,
    ToolsListChanged,
)

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
        #: The handler of the newer era's subscriptions.
        self.listen = ListenHandler(self._bus)
        #: The older era's sessions that have fetched a listing, by `id` of their initialize parameters.
        self._sessions: dict[int, ServerSession] = {}
        #: The resources and prompts available at the last notification.
        self._announced = self.resources.offered(), self.prompts.offered()
        bridge.listeners.add(self._changed)

    def listed(self, session: ServerSession) -> None:
        """Register a session of the older era that has fetched a listing, so that it is notified of changes."""
        self._sessions[id(session.client_params)] = session

    async def _changed(self) -> None:
        changed: list[ServerEvent] = [ToolsListChanged()]
        resources, prompts = self._announced
        self._announced = self.resources.offered(), self.prompts.offered()
        if self._announced[0] != resources:
            changed.append(ResourcesListChanged())
        if self._announced[1] != prompts:
            changed.append(PromptsListChanged())
        for client, session in tuple(self._sessions.items()):
            try:
                for event in changed:
                    await _ANNOUNCE[type(event)](session)
            except Exception as error:  # it has gone, which must keep nothing from the others
                logger.info("A client cannot be told of a change: %s", type(error).__name__)
                self._sessions.pop(client, None)
        for event in changed:
            await self._bus.publish(event)
