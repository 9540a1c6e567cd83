"""Tells the processes of other machines, over the store in Redis, of changes to what they may remember."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator
from typing import Any

import anyio

from waha_mcp.store import Store, StoreAway, in_thread

logger = logging.getLogger(__name__)

#: Seconds after which a listener that was cut off listens again.
AGAIN = 1.0
#: Seconds without a word after which a listener asks whether the connection still stands.
QUIET = 10.0
#: Topics that could not be told and are kept; of more, everybody hears that anything may have changed.
_MOST = 1_000


class Changes:
    """The changes that processes on one store tell each other. Only a store in Redis carries any.

    A topic is a short text without anything secret, such as a digest.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._me = secrets.token_hex(8)
        #: What could not be told, in order; None: anything may have changed.
        self._untold: dict[str | None, None] = {}

    async def tell(self, topic: str) -> None:
        """Tell the other processes. What cannot be told now is told once the store is there again. Never raises."""
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
            logger.warning("Other machines do not hear of a change yet: %s", error)

    def _publish(self, topic: str | None) -> None:
        from waha_mcp.store.redis import Redis

        assert isinstance(self._store, Redis)
        self._store.publish(f"{self._me} {'' if topic is None else topic}")

    async def heard(self) -> AsyncIterator[str | None]:
        """The topics that other processes tell, without end; None where some may have been missed.

        Of a store that is not shared, nothing, and it ends.
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
                logger.warning("Changes on other machines are not heard now: %s", type(error).__name__)
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
