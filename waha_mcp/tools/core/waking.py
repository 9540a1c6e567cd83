"""Messages that wake an agent: whose they may be, and how they are gathered by chat until each chat is quiet."""

from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from itertools import islice
from math import inf

from pydantic import Field

from waha_mcp.feed.record import Mark
from waha_mcp.feed.settling import LONGEST_SETTLE, SETTLE, Settling, monotonic
from waha_mcp.tools.catalog import Context
from waha_mcp.tools.core.what_came import MOST, Found, HeardMessage, is_told
from waha_mcp.tools.paging import Page, encode_cursor
from waha_mcp.waha.content import content_of, mentioned
from waha_mcp.waha.events import ME, Event
from waha_mcp.waha.marks import ChatId, LongCursor
from waha_mcp.waha.messages import message_from
from waha_mcp.waha.models import message_id_of
from waha_mcp.waha.parsing import kind_of_chat, text_of
from waha_mcp.whatsapp.untrusted import Name

#: Most chats with messages that wait, and most edits and deletions that are kept for one of them.
MOST_WAITING, MOST_CHANGES = 100, 200
#: How many mentions of one message are looked at.
MENTIONS = 20


class Burst(Page):
    """The new messages of one chat, which wake the agent."""

    chat: ChatId
    chat_name: Name | None = None
    messages: list[HeardMessage] = Field(description="Oldest first")
    unheard: int | None = Field(None, description="Messages before these that woke nobody: get_messages has them")
    cursor: LongCursor | None = Field(None, description="For after, to go on from here")


@dataclass
class Gathered:
    """Messages of one chat that wait. `more`: how many came that are too many to keep; `left`: edits that may come."""

    chat: str
    found: Found
    settling: Settling
    more: int = 0
    left: int = MOST_CHANGES

    @property
    def ready_from(self) -> float:
        """From when on the agent may have it (monotonic clock): what has its full length does not wait for more."""
        return -inf if len(self.found.rows) >= MOST else self.settling.settled_from

    @property
    def count(self) -> int:
        """How many messages came."""
        return len(self.found.rows) + self.more

    @property
    def is_empty(self) -> bool:
        """Whether all of it was deleted meanwhile."""
        return not self.more and all(row.deleted for row in self.found.rows)


@dataclass
class Own:
    """The account wrote in a chat. `message_id`: of a message that may be its owner's own; None: it is none."""

    chat: str
    message_id: str | None


@dataclass
class Waking:
    """What waits, by chat. `may_wake`: whether the App's list has a person or chat."""

    may_wake: Callable[[str], Awaitable[bool]]
    waiting: dict[str, Gathered] = field(default_factory=dict)

    async def take(self, ctx: Context, event: Event, when: float, mark: Callable[[], Mark]) -> Own | str | None:
        """Take an event that came at `when` (Unix seconds), with the place behind it.

        Of one by the account, what it means; of a message for which too many chats wait already, its chat.

        Raises:
            WahaError: whom it is from cannot be told; it was not taken.
        """
        if event.chat is None or kind_of_chat(event.chat) not in ("person", "group"):
            return None
        chat = ctx.directory.canonical(event.chat)
        if chat.endswith("@lid"):
            chat = await ctx.directory.learn(chat)
        if event.by == ME:
            return _own(ctx, event, chat)
        waits = self.waiting.get(chat)
        if event.kind != "message":
            if waits is not None and event.kind == "presence" and event.what in ("typing", "recording"):
                waits.settling.typed(monotonic(when))
            elif waits is not None and event.kind in ("edited", "deleted") and waits.left:
                waits.left -= 1
                await waits.found.take([(event, when, mark)])
            return None
        if not await self._wakes(ctx, event, chat):
            return None
        if waits is None:
            if len(self.waiting) >= MOST_WAITING:
                return chat
            found = Found(ctx, chat, only_messages=True)
            waits = Gathered(chat, found, Settling(SETTLE, LONGEST_SETTLE))
        if len(waits.found.rows) >= MOST:
            waits.more += 1
            return None
        before = len(waits.found.rows)
        await waits.found.take([(event, when, mark)])
        if len(waits.found.rows) > before:
            if chat not in self.waiting and ctx.feed is not None:
                ctx.feed.see_typing(chat)
            self.waiting[chat] = waits
            waits.settling.message(monotonic(when))
        return None

    @property
    def is_full(self) -> bool:
        """Whether a further message of some chat would be left out."""
        return any(len(each.found.rows) >= MOST for each in self.waiting.values())

    def settled(self, now: float, busy: Collection[str]) -> Gathered | None:
        """Give away what was ready first, of chats that are not busy; None: nothing is. `now`: monotonic clock."""
        free = [each for chat, each in self.waiting.items() if chat not in busy]
        first = min(free, key=lambda each: each.ready_from, default=None)
        if first is None or first.ready_from > now:
            return None
        return self.waiting.pop(first.chat)

    def soonest(self, busy: Collection[str]) -> float:
        """From when on something is ready in chats that are not busy (monotonic clock)."""
        return min((each.ready_from for chat, each in self.waiting.items() if chat not in busy), default=inf)

    async def _wakes(self, ctx: Context, event: Event, chat: str) -> bool:
        if event.by is None or not await self.may(ctx, chat):
            return False
        if kind_of_chat(chat) == "person":
            return True
        # In this order: whom strangers mention is not looked up.
        return await self.may_wake(event.by) and await _names_me(ctx, event)

    async def may(self, ctx: Context, chat: str) -> bool:
        """Whether the chat may be read, and wake the agent.

        Raises:
            WahaError: that cannot be told.
        """
        return ctx.readable(chat) and await self.may_wake(chat)


async def burst_of(ctx: Context, gathered: Gathered, unheard: int) -> Burst:
    """What the agent gets.

    Raises:
        WahaError: WAHA refuses access.
    """
    chat, found = gathered.chat, gathered.found
    whole = await ctx.directory.load_if_small()
    (chat_name, shown), why = await ctx.directory.named(
        lambda names: (names.name(chat), found.worded(found.rows, names)), whole=whole, group=chat
    )
    page = Burst(
        chat=chat,
        chat_name=chat_name,
        messages=shown,
        unheard=unheard or None,
        left_out=gathered.more or None,
        cursor=encode_cursor("after", found.rows[-1].mark().state),
        notes=[f"Not all names are known: {why}"] if why else None,
    )
    return page.resumable("after", [row.mark().state for row in found.rows])


def _own(ctx: Context, event: Event, chat: str) -> Own | None:
    if event.kind not in ("message", "edited", "reaction", "vote"):
        return None
    row = event.row
    # Some engines give the account rows of calls and changes that nobody wrote.
    message = message_from(row, ctx.directory, full=False, chat=chat) if event.kind == "message" else None
    typed = message is not None and is_told(message) and text_of(row.get("source")) == "app"
    return Own(chat, message_id_of(row.get("id")) if typed else None)


async def _names_me(ctx: Context, event: Event) -> bool:
    """Whether a message mentions the account."""
    names = ctx.directory
    for _, each in islice(mentioned(content_of(event.row)), MENTIONS):
        if each in names.me or await names.learn(each) in names.me:
            return True
    return False
