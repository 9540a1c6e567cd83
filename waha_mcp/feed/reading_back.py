"""Reads back over REST the messages since a given second, in all chats."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from waha_mcp.concurrency import each
from waha_mcp.history.rest import Rest
from waha_mcp.history.source import START, Budget, Place, Row, Share
from waha_mcp.waha.chat_rows import CHAT_TIMES, OVERVIEW, name_in
from waha_mcp.waha.client import Waha
from waha_mcp.waha.errors import ONE_OPERATION, NotFound
from waha_mcp.waha.models import message_id_of
from waha_mcp.waha.parsing import chat_id_of, epoch, mapping_of
from waha_mcp.waha.rows import Pages, briefly

#: Chats of one request, and how many chats are read at once.
PAGE, AT_ONCE = 20, 4
#: So many chats in a row without news end the search for chats that have some.
OLD = 8


@dataclass
class ReadBack:
    """Messages, oldest first.

    `unread`: chat id to why its messages are incomplete. `whole`: whether all chats were looked at. `names`: chat id to
    name, from the list of chats.
    """

    rows: list[Row] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)
    unread: dict[str, str] = field(default_factory=dict)
    whole: bool = True


async def _every(chat: str) -> bool:
    return True


async def read_back(
    waha: Waha,
    start: int,
    budget: Budget,
    wanted: Callable[[str], Awaitable[bool]] = _every,
    first: Callable[[str], bool] = lambda chat: True,
) -> ReadBack:
    """The messages from the Unix second `start` on, of all chats or of the `wanted` ones.

    `first`: whether a chat is read before the others, in case the budget runs out. Both take a chat id.

    Raises:
        WahaError: the list of chats could not be read.
    """
    found = ReadBack()
    chats: list[str] = []
    pages = Pages(waha, OVERVIEW, "chats", size=PAGE)
    old = 0
    # However many chats there are, half of the requests remain for reading them.
    looking = Share(budget, max(budget.most // 2, 1))
    looking.spend()
    async for row in pages.rows():
        if pages.offset % PAGE == 0:
            if looking.spent:
                found.whole = False
                break
            looking.spend()
        chat = chat_id_of(row.get("id"))
        second = last_of(row)
        if second is None or second < start:
            # Some engines list pinned chats first, and chats without messages anywhere.
            old += 1
            if old >= OLD:
                break
        elif chat is not None:
            old = 0
            if await wanted(chat):
                chats.append(chat)
                if name := name_in(row):
                    found.names[chat] = name

    found.whole = found.whole and pages.gap is None
    chats.sort(key=lambda chat: not first(chat))
    read = [_Reading(chat, _Rest(waha, chat, page=50)) for chat in chats]
    # A busy chat must not use up the share of the others.
    share = max((budget.most - budget.requests) // max(len(read), 1), 1)
    await each(read, lambda one: one.go_on(start, Share(budget, share)), at_once=AT_ONCE)
    await each([one for one in read if one.more], lambda one: one.go_on(start, budget), at_once=AT_ONCE)
    found.unread = {one.chat: one.why for one in read if one.why is not None}
    rows = [row for one in read for row in one.ordered()]
    found.rows = sorted(rows, key=lambda row: int(epoch(row.get("timestamp")) or 0))
    return found


@dataclass
class _Reading:
    """The messages read so far in one chat. `more`: there are more. `why`: why they are incomplete."""

    chat: str
    source: _Rest
    rows: list[Row] = field(default_factory=list)
    place: Place = START
    more: bool = True
    why: str | None = None

    async def go_on(self, start: int, budget: Budget) -> None:
        """Read messages from the Unix second `start` on, until the budget is spent."""
        self.more, self.why = False, None
        try:
            async for step in self.source.rows(self.place, start, None, budget):
                self.place = step.place
                if step.row is None:
                    self.more, self.why = True, "there are too many"
                    break
                self.rows.append(step.row)
        except (*ONE_OPERATION, NotFound) as error:
            self.why = briefly(error)

    def ordered(self) -> list[Row]:
        """The messages, oldest first."""
        places = self.source.places()
        return sorted(self.rows, key=lambda row: places[message_id_of(row.get("id"))], reverse=True)


class _Rest(Rest):
    """Keeps the order of messages in WAHA's pages.

    A message that arrives during the reading is listed before the rest of its second in the next page, but yielded
    after it.
    """

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._order: list[str | None] = []
        self._known: set[str | None] = set()

    async def fetch(self, *arguments: Any) -> list[Row]:
        rows = await super().fetch(*arguments)
        at = len(self._order)
        for message_id in [message_id_of(row.get("id")) for row in reversed(rows)]:
            if message_id in self._known:
                at = self._order.index(message_id)
            else:
                self._order.insert(at, message_id)
                self._known.add(message_id)
        return rows

    def places(self) -> dict[str | None, int]:
        """Message id to position, counted from the newest."""
        return {message_id: place for place, message_id in enumerate(self._order)}


def last_of(row: Mapping[str, object]) -> int | None:
    """The second of the last message in a row of the overview; None if it has none."""
    last, engine = mapping_of(row.get("lastMessage")), mapping_of(row.get("_chat"))
    times = [last.get("timestamp"), *(engine.get(name) for name in CHAT_TIMES)]
    return next((int(second) for each in times if (second := epoch(each)) is not None), None)
