"""Helpers for concurrent work: a bounded map, and waiting for stop signals."""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TypeVar

import anyio

T = TypeVar("T")
R = TypeVar("R")


async def each(items: Sequence[T], do: Callable[[T], Awaitable[R]], *, at_once: int = 8) -> list[R]:
    """Run `do` on each item, at most `at_once` concurrently; return the results in the order of the items.

    The first exception cancels the rest and is raised by itself, not in an exception group.
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
    """Catch SIGTERM and SIGINT; yield an async function that waits for the first of them.

    Where the event loop cannot catch signals (Windows), it waits forever: Ctrl-C then cancels the waiting task and
    leaves `anyio.run` as a KeyboardInterrupt.
    """
    with ExitStack() as stack:
        try:
            signals = stack.enter_context(anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT))
        except NotImplementedError:
            yield anyio.Event().wait  # type: ignore[misc]  # never set
        else:
            yield aiter(signals).__anext__
