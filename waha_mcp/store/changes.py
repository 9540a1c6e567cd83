"""Tells processes on other machines, through a store in Redis, to drop cached values that changed."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator
from typing import Any

import anyio

from waha_mcp.store import Store, StoreAway, in_thread

logger = logging.getLogger(__name__)

#: Seconds before a listener that was cut off reconnects.
AGAIN = 1.0
#: Seconds of silence after which a listener checks its connection.
QUIET = 10.0
#: Most unsent topics to keep; beyond that, listeners are told that anything may have changed.
_MOST = 1_000


class Changes:
    """Announcements of changes among the processes of one store. Only a store in Redis carries any.

    A topic is a short text without secrets, such as a digest.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._me = secrets.token_hex(8)
        #: Unsent topics, in order; None: anything may have changed.
        self._untold: dict[str | None, None] = {}

    async def tell(self, topic: str) -> None:
        """Announce a topic to the other processes, now or once the store is back. Never raises."""
        if self._store.shared:
            await self._tell(topic)

    async def _tell(self, *topics: str | None) -> None:
        self._untold |= dict.fromkeys(topics)
        if len(self._untold) > _MOST:
            self._untold = {None: None}
        waiting = list(self._untold)
        try:
            for topic in waiting:
                await in_thread(self._publish, topic)
                self._untold.pop(topic, None)
        except StoreAway as error:
            logger.warning("Other machines are not notified of a change yet: %s", error)

    def _publish(self, topic: str | None) -> None:
        from waha_mcp.store.redis import Redis

        assert isinstance(self._store, Redis)
        self._store.publish(f"{self._me} {'' if topic is None else topic}")

    async def heard(self) -> AsyncIterator[str | None]:
        """The topics of other processes, endlessly; None where some may have been missed.

        Ends at once for a store that is not shared.
        """
        if not self._store.shared:
            return
        from redis.exceptions import RedisError

        errors = (RedisError, OSError, asyncio.TimeoutError)
        missed = False
        while True:
            try:
                async for message in self._messages():
                    if message is None:
                        if missed:
                            yield None
                        missed = True
                        if self._untold:
                            await self._tell()
                    else:
                        sender, _, topic = message.partition(" ")
                        if sender != self._me:
                            yield topic or None
            except errors as error:
                logger.warning("Changes on other machines are not received now: %s", type(error).__name__)
                missed = True
            await anyio.sleep(AGAIN)

    async def _messages(self) -> AsyncIterator[str | None]:
        """First None, once it listens; then the messages, until the connection breaks off."""
        from redis.asyncio import Redis as Client
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff

        from waha_mcp.store.redis import CHANNEL, TIMEOUT, Redis

        assert isinstance(self._store, Redis)
        client = Client(**self._store.url.connecting(TIMEOUT), retry=Retry(NoBackoff(), 0))
        try:
            async with client.pubsub() as listening:
                await listening.subscribe(CHANNEL)
                quiet = False
                while True:
                    message: dict[str, Any] | None = await listening.get_message(timeout=QUIET)
                    if message is None:
                        if quiet:
                            raise OSError("no answer to a ping")
                        await listening.ping()
                    elif message["type"] == "subscribe":
                        yield None
                    elif message["type"] == "message":
                        yield message["data"]
                    quiet = message is None
        finally:
            with anyio.CancelScope(shield=True), anyio.move_on_after(TIMEOUT):
                await client.aclose()
