"""Wakes an agent with settled bursts of messages from those who may wake it; shared by `listen` and the channel."""

from __future__ import annotations

import itertools
import logging
import math
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import anyio

from waha_mcp.bridge import Bridge
from waha_mcp.feed.record import Mark
from waha_mcp.feed.since import Came, came_since
from waha_mcp.log import redact_json
from waha_mcp.policy.loop_guard import LoopGuard
from waha_mcp.tools.catalog import Context
from waha_mcp.tools.core.waking import Gathered, Own, Waking, burst_of
from waha_mcp.waha.errors import WahaError
from waha_mcp.waha.events import Event

logger = logging.getLogger(__name__)

T = TypeVar("T")

#: Bursts handled by the agent at the same time.
AT_ONCE = 4
#: Attempts at one request; seconds before the second one, doubled before each further one.
TRIES, PAUSE, LONGEST_PAUSE = 6, 1.0, 30.0
#: Most chats for which unheard messages are counted.
MOST_COUNTED = 10_000

_NO_READ = "the key does not have the action read, without which no events are received"


class CannotRead(Exception):
    """The key may not read, so nothing is heard. The text says why."""


@dataclass(frozen=True)
class Wake:
    """One burst for the agent. `chat`: a chat id; `line`: the burst as JSON, without the App's key."""

    chat: str
    line: str
    message_ids: list[str]


@dataclass
class Listener:
    """Gives settled bursts to the agent, within the App's rules under [listen].

    `give` hands a burst to the agent and returns when the agent is done; the chat's next burst waits until then.
    `loses`: whether messages beyond the limits are skipped meanwhile; otherwise they wait in the record.
    """

    bridge: Bridge
    give: Callable[[Wake], Awaitable[None]]
    loses: bool = False
    #: Why it ended.
    _failed: Exception | None = None
    #: The chats whose burst the agent is handling.
    _busy: set[str] = field(default_factory=set)
    #: Messages of each chat that woke nobody since it last woke the agent; the chats for which that was logged.
    _unheard: Counter[str] = field(default_factory=Counter)
    _said: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        rules = self.bridge.app.listen
        self._guard = LoopGuard(rules.per_hour, rules.turns)

    async def run(self) -> None:
        """Listen from now on, until it fails. A further call keeps the counts.

        Raises:
            CannotRead: nothing may be heard (any more).
            WahaError: it could not begin.
            Exception: what `give` raises.
        """
        self._failed = None
        async with anyio.create_task_group() as self._tasks:
            try:
                await self._listen()
            except Exception as error:
                self._end(error)
        if self._failed is not None:
            raise self._failed

    def _end(self, error: Exception) -> None:
        self._failed = self._failed or error
        self._tasks.cancel_scope.cancel()

    async def _listen(self) -> None:
        bridge, feed = self.bridge, self.bridge.feed
        self._waking = Waking(bridge.policy.may_wake)

        await self._reading(_begin)
        mark = feed.record.mark()
        how = "" if feed.why is None else f" (no live events: {feed.why}; WAHA is asked again and again)"
        logger.info("App %s is woken by %s, from now on%s", bridge.app.id, bridge.policy.wakers, how)

        async def look(ctx: Context) -> Came:
            await feed.open()
            return await came_since(feed, mark)

        while True:
            came = await self._reading(look, tries=None)
            for note in (*came.notes, *(f"{chat}: {why}" for chat, why in came.unread.items())):
                logger.warning("%s", note)
            for event, when, place in came.events:
                await self._take(event, when, place)
                self._wake()
                while not self.loses and self._waking.is_full:
                    await feed.record.more(feed.record.last)
                    self._wake()
            mark = feed.record.mark(came.number)
            self._wake()
            soonest = self._waking.soonest(self._busy) if len(self._busy) < AT_ONCE else math.inf
            with anyio.move_on_after(soonest - time.monotonic()):
                await feed.record.more(came.number)

    async def _reading(self, step: Callable[[Context], Awaitable[T]], tries: int | None = TRIES) -> T:
        """Run a step that needs WAHA, with retries; `tries` None: without limit.

        Raises:
            WahaError: the last attempt failed, too.
            CannotRead: the key may not read.
        """
        for attempt in itertools.count(1):
            try:
                async with self.bridge.reading() as ctx:
                    if ctx is None:
                        raise CannotRead(self.bridge.key.grant.problem or _NO_READ)
                    return await step(ctx)
            except WahaError as error:
                if attempt == tries:
                    raise
                pause = min(PAUSE * 2 ** (attempt - 1), LONGEST_PAUSE)
                logger.warning("%s Trying again in %.0f s.", error, pause)
            await anyio.sleep(pause)
        raise AssertionError

    async def _take(self, event: Event, when: float, place: Callable[[], Mark]) -> None:
        async def take(ctx: Context) -> Own | str | None:
            return await self._waking.take(ctx, event, when, place)

        try:
            found = await self._reading(take)
        except WahaError as error:
            logger.error("An event in %s woke nobody, because its chat is unknown: %s", event.chat, error)
            return
        if isinstance(found, str):
            self._leave(found, 1, "wakes nobody now: too many chats wait already")
        elif found is not None:
            owner = found.message_id is not None and not await self.bridge.policy.sent(found.message_id)
            self._guard.wrote(found.chat, owner=owner)

    def _wake(self) -> None:
        """Give settled bursts to the agent, up to `AT_ONCE`."""
        while len(self._busy) < AT_ONCE and (ready := self._waking.settled(time.monotonic(), self._busy)):
            if not ready.is_empty:
                self._busy.add(ready.chat)
                self._tasks.start_soon(self._give, ready)

    async def _give(self, gathered: Gathered) -> None:
        chat = gathered.chat
        try:
            await self._wake_with(gathered)
        except Exception as error:
            self._end(error)
        finally:
            self._busy.discard(chat)
            self.bridge.feed.record.wake()

    async def _wake_with(self, gathered: Gathered) -> None:
        bridge, chat = self.bridge, gathered.chat
        why = self._guard.why_not(chat, time.monotonic())
        if why is None and (paused := await bridge.policy.paused()):
            why = f"wakes nobody: {paused}"
        if why is not None:
            self._leave(chat, gathered.count, why)
            return

        async def word(ctx: Context) -> Any:
            if not await self._waking.may(ctx, chat):
                # The lists have changed since it arrived: say nothing about it.
                return None
            return (await bridge.worded(await burst_of(ctx, gathered, self._unheard[chat]))).data

        try:
            data = await self._reading(word)
        except WahaError as error:
            self._leave(chat, gathered.count, f"woke nobody: {error}")
            return
        if data is None:
            return
        line, data = redact_json(data, bridge.app.key)
        self._guard.woke(chat, time.monotonic())
        del self._unheard[chat]
        self._said.discard(chat)
        await self.give(Wake(chat, line, [each["id"] for each in data["messages"]]))

    def _leave(self, chat: str, count: int, why: str) -> None:
        """Skip messages of a chat; logged once until the chat wakes the agent again."""
        if len(self._unheard) >= MOST_COUNTED:
            self._unheard.clear()
            self._said.clear()
        self._unheard[chat] += count
        if chat not in self._said:
            self._said.add(chat)
            logger.warning("%s %s", chat, why)


async def _begin(ctx: Context) -> None:
    assert ctx.feed is not None
    await ctx.directory.load("the account")
    await ctx.feed.open()
