"""`waha-mcp listen`: wakes an agent when messages come."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Annotated

import anyio
import typer

from waha_mcp.app.definition import App
from waha_mcp.app.policy_fields import NOBODY
from waha_mcp.cli.common import Failure, with_app
from waha_mcp.concurrency import stop_signals
from waha_mcp.log import without_secrets

if TYPE_CHECKING:
    from waha_mcp.listening import Wake

logger = logging.getLogger(__name__)


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
    """Wake an agent when a permitted person writes.

    The App says under [listen] who is permitted. It runs from now on until SIGTERM or Ctrl-C.

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
        raise Failure(NOBODY)
    with contextlib.suppress(KeyboardInterrupt):  # how Ctrl-C arrives on Windows
        anyio.run(_listen, app, argv, as_json or not execute)


async def _listen(app: App, argv: list[str], as_json: bool) -> None:
    from waha_mcp.bridge import Bridge
    from waha_mcp.listening import CannotRead, Listener
    from waha_mcp.waha.errors import WahaError

    agent, failed = _Agent(app, argv, as_json), list[Exception]()

    async def run(listener: Listener) -> None:
        try:
            await listener.run()
        except (CannotRead, WahaError) as error:
            failed.append(Failure(str(error), code=1))
        except Exception as error:
            failed.append(error)
        tasks.cancel_scope.cancel()

    with stop_signals() as stopped:
        async with Bridge(app) as bridge, anyio.create_task_group() as tasks:
            bridge.presence.saw("waha-mcp listen", "")
            # A reader of lines gets all of them.
            tasks.start_soon(run, Listener(bridge, agent.take, loses=bool(argv)))
            await stopped()
            tasks.cancel_scope.cancel()
    if agent.stalled:
        # The printing thread would keep the process until somebody reads.
        if failed and isinstance(failed[0], Failure):
            logger.error("%s", failed[0])
        os._exit(1 if failed else 0)
    if failed:
        raise failed[0]


@dataclass
class _Agent:
    """Takes bursts: prints them, has a program run for them, or both."""

    app: App
    argv: list[str]
    as_json: bool
    #: Whether a line is not printed yet.
    stalled: bool = False
    _printing: anyio.Lock = field(default_factory=anyio.Lock)

    async def take(self, wake: Wake) -> None:
        """Give the agent a burst; returns when the agent has finished with it.

        Raises:
            BrokenPipeError: nobody reads the lines.
        """
        if self.as_json:
            await self._print(wake.line)
        if self.argv:
            await self._run(wake)

    async def _print(self, line: str) -> None:
        async with self._printing:
            # A reader that does not read delays only this thread.
            self.stalled = True
            await anyio.to_thread.run_sync(partial(print, line, flush=True), abandon_on_cancel=True)
            self.stalled = False

    async def _run(self, wake: Wake) -> None:
        from waha_mcp.cli.agent_runs import run

        app, chat = self.app, wake.chat
        ids = {"LISTEN_APP": app.id, "LISTEN_CHAT": chat, "LISTEN_MESSAGES": " ".join(wake.message_ids)}
        began, limit = time.monotonic(), app.listen.time_limit
        try:
            code = await run(self.argv, wake.line, without_secrets(os.environ) | ids, limit)
        except OSError as error:
            logger.error("%s could not be run for %s: %s", self.argv[0], chat, error.strerror)
            return
        if code is None:
            logger.error("%s was ended for %s: it took longer than %.0f s", self.argv[0], chat, limit)
            return
        level = logging.WARNING if code else logging.INFO
        logger.log(level, "%s for %s: exit code %d, %.1f s", self.argv[0], chat, code, time.monotonic() - began)
