"""Doing several things side by side, until the process is told to stop."""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TypeVar

import anyio

T = TypeVar("T")
R = TypeVar("R")


async def each(items: Sequence[T], do: Callable[[T], Awaitable[R]], *, at_once: int = 8) -> list[R]:
    """What `do` gives for each item, in their order, with at most `at_once` under way.

    The first failure ends the rest and is raised as it is, not as a group.
    """
    results: dict[int, R] = {}
    failures: list[Exception] = []
    slots = anyio.CapacityLimiter(at_once)

    async def run(at: int, item: T) -> None:
        async with slots:
            try:
                results[at] = await do(item)
            except Exception as failure:
                failures.append(failure)
                tasks.cancel_scope.cancel()

    async with anyio.create_task_group() as tasks:
        for at, item in enumerate(items):
            tasks.start_soon(run, at, item)
    if failures:
        raise failures[0]
    return [results[at] for at in range(len(items))]


@contextmanager
def stop_signals() -> Iterator[Callable[[], Awaitable[signal.Signals]]]:
    """Catch SIGTERM and SIGINT and give what waits for the first of them.

    Where the event loop cannot catch signals, as on Windows, it waits for ever: Ctrl-C then cancels whoever waits and
    leaves `anyio.run` as a KeyboardInterrupt.
    """
    with ExitStack() as stack:
        try:
            signals = stack.enter_context(anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT))
        except NotImplementedError:
            yield anyio.Event().wait  # type: ignore[misc]  # never set
        else:
            yield aiter(signals).__anext__
