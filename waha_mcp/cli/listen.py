"""`waha-mcp listen`: wakes an agent when messages come."""

from __future__ import annotations

import contextlib
import itertools
import logging
import math
import os
import shutil
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import anyio
import typer

from waha_mcp.app.definition import App
from waha_mcp.cli.common import Failure, with_app
from waha_mcp.concurrency import stop_signals
from waha_mcp.log import redact_json, without_secrets

if TYPE_CHECKING:
    from anyio.abc import TaskGroup

    from waha_mcp.bridge import Bridge
    from waha_mcp.feed.record import Mark
    from waha_mcp.feed.since import Came
    from waha_mcp.tools.catalog import Context
    from waha_mcp.tools.core.waking import Gathered, Own
    from waha_mcp.waha.events import Event

logger = logging.getLogger(__name__)

T = TypeVar("T")

#: How many programs run at once.
AT_ONCE = 4
#: How often WAHA is asked for one thing; seconds before the second time, doubled before each further one.
TRIES, PAUSE, LONGEST_PAUSE = 6, 1.0, 30.0
#: Of how many chats it is counted what woke nobody.
MOST_COUNTED = 10_000

_NOBODY = (
    "nobody's messages may wake an agent: put whose may into the App file, as a table [listen] with "
    'allow = ["+1 202 555 0123", "Maya Lindqvist"]'
)
_NO_READ = "the key does not have the action read, without which nothing is heard"


@with_app(log_level="info")
def listen(
    argv: Annotated[
        list[str] | None, typer.Argument(metavar="[ARGV]...", help="With --exec: the program and its arguments.")
    ] = None,
    execute: Annotated[
        bool, typer.Option("--exec", help="Run the program that follows for each burst of messages, without a shell.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print each burst as a line of JSON.", show_default="without --exec")
    ] = False,
    *,
    load: Callable[..., App],
) -> None:
    """Wake an agent when somebody writes who may do so.

    Whose messages do, the App says under [listen]. It goes on from now until SIGTERM or Ctrl-C.

    Example: waha-mcp listen --app assistant --exec python answer.py
    """
    argv = argv or []
    if execute != bool(argv):
        raise Failure(
            "--exec needs a program and its arguments after it, as in --exec python answer.py"
            if execute
            else f"'{argv[0]}': put --exec before the program that is to run"
        )
    if execute and shutil.which(argv[0]) is None:
        raise Failure(f"--exec: no program '{argv[0]}' can be run here")
    app = load()
    if not app.listen.allow:
        raise Failure(_NOBODY)
    with contextlib.suppress(KeyboardInterrupt):  # how Ctrl-C arrives on Windows
        anyio.run(_listen, app, argv, as_json or not execute)


async def _listen(app: App, argv: list[str], as_json: bool) -> None:
    from waha_mcp.bridge import Bridge

    with stop_signals() as stopped:
        async with Bridge(app) as bridge, anyio.create_task_group() as tasks:
            listener = _Listener(bridge, argv, as_json, tasks)
            tasks.start_soon(listener.run)
            await stopped()
            tasks.cancel_scope.cancel()
    if listener.stalled:
        # The thread that prints would keep the process until somebody reads.
        if isinstance(listener.failed, Failure):
            logger.error("%s", listener.failed)
        os._exit(0 if listener.failed is None else 1)
    if listener.failed is not None:
        raise listener.failed


@dataclass
class _Listener:
    bridge: Bridge
    argv: list[str]
    as_json: bool
    tasks: TaskGroup
    #: Why it had to end.
    failed: Exception | None = None
    #: Whether a line is not printed yet.
    stalled: bool = False
    #: The chats whose burst is with the agent now.
    _busy: set[str] = field(default_factory=set)
    #: How many messages of each chat woke nobody since it last woke the agent; those of which that was said.
    _unheard: Counter[str] = field(default_factory=Counter)
    _said: set[str] = field(default_factory=set)
    _printing: anyio.Lock = field(default_factory=anyio.Lock)

    async def run(self) -> None:
        """Listen until it fails; then `failed` says why."""
        from waha_mcp.waha.errors import WahaError

        try:
            await self._listen()
        except (Failure, BrokenPipeError) as error:
            self._end(error)
        except WahaError as error:
            self._end(Failure(str(error), code=1))

    def _end(self, error: Exception) -> None:
        self.failed = self.failed or error
        self.tasks.cancel_scope.cancel()

    async def _listen(self) -> None:
        from waha_mcp.feed.since import came_since
        from waha_mcp.policy.loop_guard import LoopGuard
        from waha_mcp.tools.core.waking import Waking

        bridge, feed = self.bridge, self.bridge.feed
        rules = bridge.app.listen
        self._guard = LoopGuard(rules.per_hour, rules.turns)
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
                while not self.argv and self._waking.is_full:
                    # Who reads lines is told everything; what they have not read yet waits in the record.
                    await feed.record.more(feed.record.last)
                    self._wake()
            mark = feed.record.mark(came.number)
            self._wake()
            soonest = self._waking.soonest(self._busy) if len(self._busy) < AT_ONCE else math.inf
            with anyio.move_on_after(soonest - time.monotonic()):
                await feed.record.more(came.number)

    async def _reading(self, step: Callable[[Context], Awaitable[T]], tries: int | None = TRIES) -> T:
        """Do what needs WAHA, again and again if it fails; None: without an end.

        Raises:
            WahaError: the last time it failed, too.
            Failure: the key may not read.
        """
        from waha_mcp.waha.errors import WahaError

        for attempt in itertools.count(1):
            try:
                async with self.bridge.reading() as ctx:
                    if ctx is None:
                        raise Failure(self.bridge.key.grant.problem or _NO_READ, code=1)
                    return await step(ctx)
            except WahaError as error:
                if attempt == tries:
                    raise
                pause = min(PAUSE * 2 ** (attempt - 1), LONGEST_PAUSE)
                logger.warning("%s It is tried again in %.0f s.", error, pause)
            await anyio.sleep(pause)
        raise AssertionError

    async def _take(self, event: Event, when: float, place: Callable[[], Mark]) -> None:
        from waha_mcp.waha.errors import WahaError

        async def take(ctx: Context) -> Own | str | None:
            return await self._waking.take(ctx, event, when, place)

        try:
            found = await self._reading(take)
        except WahaError as error:
            logger.error("What happened in %s woke nobody, since it is not known whose it is: %s", event.chat, error)
            return
        if isinstance(found, str):
            self._leave(found, 1, "wakes nobody now: too many chats wait already")
        elif found is not None:
            owner = found.message_id is not None and not await self.bridge.policy.sent(found.message_id)
            self._guard.wrote(found.chat, owner=owner)

    def _wake(self) -> None:
        """Give what has settled to the agent, as far as it has time."""
        while len(self._busy) < AT_ONCE and (ready := self._waking.settled(time.monotonic(), self._busy)):
            if not ready.is_empty:
                self._busy.add(ready.chat)
                self.tasks.start_soon(self._give, ready)

    async def _give(self, gathered: Gathered) -> None:
        chat = gathered.chat
        try:
            await self._wake_with(gathered)
        except (Failure, BrokenPipeError) as error:
            self._end(error)
        finally:
            self._busy.discard(chat)
            self.bridge.feed.record.wake()

    async def _wake_with(self, gathered: Gathered) -> None:
        from waha_mcp.tools.core.waking import burst_of
        from waha_mcp.waha.errors import WahaError

        bridge, chat = self.bridge, gathered.chat
        why = self._guard.why_not(chat, time.monotonic())
        if why is None and (paused := await bridge.policy.paused()):
            why = f"wakes nobody: {paused}"
        if why is not None:
            self._leave(chat, gathered.count, why)
            return

        async def word(ctx: Context) -> Any:
            if not await self._waking.may(ctx, chat):
                # The lists mean others than when it came, and nothing is said of it.
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
        if self.as_json:
            await self._print(line)
        if self.argv:
            await self._run(chat, line, [each["id"] for each in data["messages"]])

    def _leave(self, chat: str, count: int, why: str) -> None:
        """Leave messages of a chat, which wake nobody; it is said once until the chat wakes the agent again."""
        if len(self._unheard) >= MOST_COUNTED:
            self._unheard.clear()
            self._said.clear()
        self._unheard[chat] += count
        if chat not in self._said:
            self._said.add(chat)
            logger.warning("%s %s", chat, why)

    async def _print(self, line: str) -> None:
        async with self._printing:
            # A reader that does not read keeps nobody but this from going on.
            self.stalled = True
            await anyio.to_thread.run_sync(partial(print, line, flush=True), abandon_on_cancel=True)
            self.stalled = False

    async def _run(self, chat: str, line: str, message_ids: list[str]) -> None:
        from waha_mcp.cli.agent_runs import run

        app = self.bridge.app
        ids = {"LISTEN_APP": app.id, "LISTEN_CHAT": chat, "LISTEN_MESSAGES": " ".join(message_ids)}
        began, limit = time.monotonic(), app.listen.time_limit
        try:
            code = await run(self.argv, line, without_secrets(os.environ) | ids, limit)
        except OSError as error:
            logger.error("%s could not be run for %s: %s", self.argv[0], chat, error.strerror)
            return
        if code is None:
            logger.error("%s was ended for %s: it took longer than %.0f s", self.argv[0], chat, limit)
            return
        level = logging.WARNING if code else logging.INFO
        logger.log(level, "%s for %s: exit code %d, %.1f s", self.argv[0], chat, code, time.monotonic() - began)


async def _begin(ctx: Context) -> None:
    assert ctx.feed is not None
    await ctx.directory.load("the account")
    await ctx.feed.open()
