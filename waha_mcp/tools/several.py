"""Answers made of several requests: parts that WAHA does not tell are named, and the rest is answered."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, TypeVar

from pydantic import Field

from waha_mcp.waha.errors import ONE_OPERATION, WahaError

T = TypeVar("T")

#: Field of a result: what it would hold if WAHA told it.
NotTold = Annotated[list[str] | None, Field(description="What WAHA did not tell: it is not in here")]


async def gather(asks: Mapping[str, Callable[[], Awaitable[T | None]]]) -> tuple[dict[str, T], list[str] | None]:
    """Send several requests, by name; the answers, and the names of those without one; None if all have one.

    A request that returns None, or fails because of its one operation, has no answer.

    Raises:
        WahaError: an error of another kind; or the first one, if nothing was told.
    """
    told: dict[str, T] = {}
    not_told: list[str] = []
    failure: WahaError | None = None
    for name, ask in asks.items():
        try:
            answer = await ask()
        except ONE_OPERATION as error:
            answer, failure = None, failure or error
        if answer is None:
            not_told.append(name)
        else:
            told[name] = answer
    if failure is not None and not told:
        raise failure
    return told, not_told or None
