"""Doing several things side by side."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
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
