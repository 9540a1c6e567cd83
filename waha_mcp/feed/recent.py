"""The records of the messages since a given second, in all chats: the material of a summary."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from waha_mcp.feed.reading_back import read_back
from waha_mcp.history.records import Record, record_from
from waha_mcp.history.source import Budget
from waha_mcp.waha.client import Waha


@dataclass
class Recent:
    """Records, newest first. `unread`, `whole`, `names`: as of `ReadBack`."""

    records: list[Record]
    unread: dict[str, str] = field(default_factory=dict)
    whole: bool = True
    names: dict[str, str] = field(default_factory=dict)


async def read_recent(
    waha: Waha,
    start: int,
    budget: Budget,
    me: frozenset[str],
    wanted: Callable[[str], Awaitable[bool]],
    first: Callable[[str], bool],
) -> Recent:
    """Read the messages since the Unix second `start` over REST. `me`: own ids; the rest as in `read_back`.

    Raises:
        WahaError: the list of chats could not be read.
    """
    found = await read_back(waha, start, budget, wanted, first)
    records = [each for row in reversed(found.rows) if (each := record_from(row, me)) is not None]
    return Recent(records, found.unread, found.whole, found.names)
