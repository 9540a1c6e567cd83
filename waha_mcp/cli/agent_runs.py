"""Runs of an agent's program: without a shell, in a process group of its own, for a bounded time."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence

import anyio
from anyio.abc import Process

#: Seconds between asking a process group to end and ending it.
GRACE = 5.0


async def run(argv: Sequence[str], given: str, environ: Mapping[str, str], limit: float) -> int | None:
    """Run a program with `given` on its stdin; its exit code, None if it was ended after `limit` seconds.

    What it prints goes to stderr. It is ended with all that it has started, also where this is cancelled.

    Raises:
        OSError: it cannot be started.
    """
    process = await anyio.open_process(
        list(argv), stdin=subprocess.PIPE, stdout=sys.stderr, stderr=None, env=environ, start_new_session=True
    )
    try:
        with anyio.move_on_after(limit):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_give, process, given)
                code = await process.wait()
                tasks.cancel_scope.cancel()
            return code
        return None
    finally:
        with anyio.CancelScope(shield=True):
            if process.returncode is None:
                await _end(process)
            await process.aclose()


async def _give(process: Process, text: str) -> None:
    assert process.stdin is not None
    # It need not read its input.
    with contextlib.suppress(OSError, anyio.BrokenResourceError, anyio.ClosedResourceError):
        await process.stdin.send(text.encode())
        await process.stdin.aclose()


async def _end(process: Process) -> None:
    if sys.platform == "win32":
        # There are no process groups to signal; this ends the tree below it, too.
        await anyio.run_process(["taskkill", "/T", "/F", "/PID", str(process.pid)], check=False)
    else:
        os.killpg(process.pid, signal.SIGTERM)
        with anyio.move_on_after(GRACE):
            await process.wait()
        # Others of the group may not have ended with it.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    await process.wait()
