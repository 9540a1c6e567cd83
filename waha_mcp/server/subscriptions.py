"""Subscriptions to single resources: a client is notified when a chat, or the list of unread chats, has changed.

The notification holds only the URI as subscribed; the client reads the resource to see the change. Whoever may read a
resource may subscribe to it: a subscription begins with reading it, and each event checks that the chat may still be
read.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field

import anyio
from mcp.shared.exceptions import MCPError
from mcp.types import INTERNAL_ERROR, INVALID_PARAMS

from waha_mcp.bridge import Bridge
from waha_mcp.feed.settling import Settling
from waha_mcp.server.resources import RESOURCES, Resource, Resources, not_found
from waha_mcp.waha.errors import WahaError
from waha_mcp.waha.events import ME, Event
from waha_mcp.waha.parsing import kind_of_chat

logger = logging.getLogger(__name__)

#: Seconds of quiet before a notification, and the longest that further changes may delay it.
QUIET, LONGEST = 1.0, 5.0
#: Most subscriptions of one session or stream, and of all clients of an App together.
MOST, MOST_OF_ALL = 50, 500
#: Most hidden ids of new people looked up at a time, if not all chats may be read.
LOOKED_UP = 20

#: Tells a client that the resource with this URI has changed.
Tell = Callable[[str], Awaitable[object]]


@dataclass(eq=False)
class _Subscription:
    """One client's subscription to a URI. `chat`: the chat id; None: the unread messages of all chats.

    `tell` None: it has ended. `untold`: the changes not sent yet; None: none. `settling`: a task is waiting to send
    them, or sending them.
    """

    resource: Resource
    uri: str
    chat: str | None
    tell: Tell | None
    untold: Settling | None = None
    settling: bool = False


@dataclass
class Subscriptions:
    """All subscriptions of one bridge's clients. Their owners are sessions (older era) and streams (newer era)."""

    bridge: Bridge
    resources: Resources
    _by_owner: dict[object, dict[str, _Subscription]] = field(default_factory=dict)
    #: Chats with hidden ids that are being looked up.
    _looking: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.bridge.feed.listeners.add(self._heard)

    async def add(self, owner: object, uris: Collection[str], tell: Tell) -> None:
        """Subscribe an owner to resources; all of them or none.

        Raises:
            MCPError: there are too many, one may not be read or does not exist, or changes cannot be heard.
        """
        self._check_room(owner, uris)
        added = [await self._subscription(uri, tell) for uri in uris]
        try:
            await self.bridge.feed.open()
        except WahaError as error:
            raise MCPError(INTERNAL_ERROR, f"Changes cannot be followed now: {error}") from None
        # Meanwhile others may have subscribed, and the action read may have been lost.
        self._check_room(owner, uris)
        for each in added:
            if each.resource not in self.resources.offered():
                raise not_found(each.uri)
        mine = self._by_owner.setdefault(owner, {})
        for each in added:
            if each.uri not in mine:
                mine[each.uri] = each

    def remove(self, owner: object, uri: str | None = None) -> None:
        """End a subscription of an owner; None: all of them."""
        mine = self._by_owner.get(owner, {})
        for each in list(mine) if uri is None else [uri]:
            if (gone := mine.pop(each, None)) is not None:
                gone.tell = None
        if not mine:
            self._by_owner.pop(owner, None)

    def withdrawn(self) -> list[object]:
        """End subscriptions to resources no longer offered; return their owners."""
        offered = self.resources.offered()
        gone = [(owner, each) for owner, mine in self._by_owner.items() for each in mine.values()]
        gone = [(owner, each) for owner, each in gone if each.resource not in offered]
        for owner, each in gone:
            self.remove(owner, each.uri)
        return list(dict.fromkeys(owner for owner, _ in gone))

    def _check_room(self, owner: object, uris: Collection[str]) -> None:
        mine = self._by_owner.get(owner, {}).keys()
        others = sum(map(len, self._by_owner.values())) - len(mine)
        wanted = len(mine | set(uris))
        if wanted > MOST or others + wanted > MOST_OF_ALL:
            raise MCPError(
                INVALID_PARAMS,
                f"Too many subscriptions: a client can be subscribed to {MOST} resources at a time, and all clients of "
                f"this App together to {MOST_OF_ALL}. Unsubscribe from one first",
            )

    async def _subscription(self, uri: str, tell: Tell) -> _Subscription:
        resource = resource_of(uri)
        if resource in self.resources.offered() and not resource.watched:
            watched = " or ".join(each.uri for each in self.resources.watched)
            raise MCPError(
                INVALID_PARAMS, f"Changes of {resource.uri} are not reported; subscribe to {watched}", {"uri": uri}
            )
        result = await self.resources.run(uri, self.bridge.call)
        assert resource is not None
        chat = getattr(result, "chat", None) if resource.argument else None
        if chat is not None:
            # WAHA may use their other id.
            chat = await self.bridge.directory.learn(chat)
        return _Subscription(resource, uri, chat, tell)

    # Events

    def _heard(self, event: Event) -> None:
        if not self._by_owner or event.chat is None:
            return
        chat = self.bridge.directory.canonical(event.chat)
        self._changed(event, chat)
        if chat.endswith("@lid") and not self.bridge.policy.readable(chat) and self._tells_unread(event):
            self._look_up(event, chat)

    def _look_up(self, event: Event, chat: str) -> None:
        """Look up the number of a new person, which may be on the lists, without delaying other notifications."""
        if chat in self._looking or len(self._looking) >= LOOKED_UP:
            return
        self._looking.add(chat)

        async def look_up() -> None:
            try:
                self._changed(event, await self.bridge.directory.learn(chat))
            except WahaError as error:
                logger.info("A new person cannot be looked up: %s", type(error).__name__)
            finally:
                self._looking.discard(chat)

        self._start(look_up)

    def _tells_unread(self, event: Event) -> bool:
        if event.kind == "message":
            return event.by != ME
        return event.kind == "receipt" and event.by == ME and event.what in ("read", "played")

    def _changed(self, event: Event, chat: str) -> None:
        """Record a change for the subscriptions it concerns."""
        if not self._may_show(event, chat):
            return
        in_chat = event.kind in ("message", "edited", "deleted", "reaction")
        unread = self._tells_unread(event) and kind_of_chat(chat) not in ("status", "broadcast")
        for mine in tuple(self._by_owner.values()):
            for each in tuple(mine.values()):
                if unread if each.chat is None else in_chat and self.bridge.directory.canonical(each.chat) == chat:
                    self._note(each)

    def _may_show(self, event: Event, chat: str) -> bool:
        readable, names = self.bridge.policy.readable, self.bridge.directory
        if not readable(chat):
            return False
        if kind_of_chat(chat) not in ("status", "broadcast") or event.by == ME:
            return True
        # A status story shows only if its author may be read.
        return event.by is not None and readable(names.canonical(event.by))

    def _note(self, subscription: _Subscription) -> None:
        subscription.untold = subscription.untold or Settling(QUIET, LONGEST - QUIET)
        subscription.untold.message(time.monotonic())
        if not subscription.settling:
            subscription.settling = True
            self._start(self._settle, subscription)

    async def _settle(self, subscription: _Subscription) -> None:
        """Send pending changes after each quiet moment, until none is left."""
        try:
            while subscription.untold is not None:
                if (left := subscription.untold.settled_from - time.monotonic()) > 0:
                    await anyio.sleep(left)
                    continue
                if subscription.tell is None:
                    return
                subscription.untold = None
                await subscription.tell(subscription.uri)
        except Exception as error:  # a closed client must not keep the others from being notified
            logger.info("A client cannot be told of a change: %s", type(error).__name__)
        finally:
            subscription.settling = False

    def _start(self, run: Callable[..., Awaitable[object]], *arguments: object) -> None:
        assert self.bridge.feed.start is not None
        self.bridge.feed.start(run, *arguments)


def resource_of(uri: str) -> Resource | None:
    """The resource with this URI, offered or not."""
    return next((each for each in RESOURCES if each.match(uri) is not None), None)
