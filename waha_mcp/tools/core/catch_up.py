"""The tool that sums up what came while nobody looked."""

import time
from collections import Counter
from datetime import timedelta
from typing import Annotated, Literal, NamedTuple

from pydantic import Field

from waha_mcp.app.actions import Action
from waha_mcp.feed.reading_back import read_back
from waha_mcp.history.records import Has, Record, record_from, sender_of_record
from waha_mcp.history.rest import MESSAGES
from waha_mcp.history.rest_records import short
from waha_mcp.history.source import Budget
from waha_mcp.tools.catalog import READS, ArgumentError, Context, tool
from waha_mcp.tools.core.what_came import LOOKED_UP
from waha_mcp.tools.moments import Since
from waha_mcp.tools.paging import Page, decode_cursor, encode_cursor, left
from waha_mcp.tools.params import Cursor
from waha_mcp.waha.chat_rows import OVERVIEW
from waha_mcp.waha.marks import Author, LongId, RowId, Time, Usual
from waha_mcp.waha.message_kinds import MEDIA_KINDS, MessageKind
from waha_mcp.waha.messages import Names, with_known_names
from waha_mcp.waha.models import Nested
from waha_mcp.waha.parsing import chat_id_of, iso_time, kind_of_chat, listing, text_of
from waha_mcp.whatsapp.questions import question_in
from waha_mcp.whatsapp.untrusted import MAX_TEXT, Name, Words, clean_name

#: Since when, unless it is said.
DAY = timedelta(hours=24)
#: Requests and seconds of one call; a chat with a few messages takes two.
REQUESTS, SECONDS = 100, 15.0
#: Chats of one answer; lines of each that may want an answer; the busiest people of a group; characters of a line.
CHATS, FOR_ME, BUSIEST, LINE = 10, 3, 3, 120
#: Messages of one call that are taken from an index; chats whose names are looked up there, where not all are known.
KEPT, NAMED = 10_000, 100
#: Chats that could not be read at all of which the answer tells.
TOLD = 5

Why = Literal["mention", "reply", "question"]


class Writer(Nested):
    sender: Annotated[str, Author(message=None)]
    sender_name: Name | None = None
    messages: Annotated[int, Usual(1)]


class Line(Nested):
    id: LongId
    time: Time | None = None
    sender: Annotated[str, Author()]
    sender_name: Name | None = None
    kind: Annotated[MessageKind, Usual("text")]
    text: Words | None = None
    why: Why | None = Field(None, description="It mentions me, replies to me or asks")
    answered: bool | None = Field(None, description="I have written after it")


class CaughtUpChat(Nested):
    id: RowId
    name: Name | None = None
    calls_themselves: Name | None = Field(None, description="The name that they chose")
    messages: int = Field(description="Others'")
    at_least: bool | None = Field(None, description="Older ones could not be read")
    mine: int | None = Field(None, description="Own messages")
    busiest: list[Writer] | None = Field(None, description="Who wrote most, in a group")
    other_people: int | None = Field(None, description="How many more wrote")
    media: dict[str, int] | None = Field(None, description="Files of others, by kind")
    lines: list[Line] = Field(description="What may want an answer and the last ones, oldest first")
    more_for_me: int | None = Field(None, description="Further ones that may want an answer")


class CatchUp(Page):
    since: Time
    chats: list[CaughtUpChat] = Field(description="Those that want an answer first, strangers after the known")


class Recent(NamedTuple):
    """What came in all chats. `records`: newest first; the rest is as of `ReadBack`."""

    records: list[Record]
    unread: dict[str, str]
    whole: bool
    names: dict[str, str]


class _Came(NamedTuple):
    """A message that came. `sender`: "me", "unknown" or the canonical id."""

    record: Record
    sender: str
    why: Why | None


class _Chat:
    """What came in one chat."""

    def __init__(self, chat_id: str) -> None:
        self.id = chat_id
        self.kind = kind_of_chat(chat_id)
        #: Oldest first.
        self.came: list[_Came] = []
        #: How many of these the account's last one answers.
        self._answered = 0

    def add(self, record: Record, sender: str) -> None:
        """Add the next newer message."""
        if sender == "me":
            self._answered = len(self.came)
        self.came.append(_Came(record, sender, None if sender == "me" else self._why(record)))

    def _why(self, record: Record) -> Why | None:
        if record.has & Has.MENTION:
            return "mention"
        if record.has & Has.REPLY:
            return "reply"
        # What a channel or a story asks, it asks everybody.
        return "question" if self.kind in ("person", "group") and question_in(record.text) else None

    @property
    def others(self) -> list[_Came]:
        return [each for each in self.came if each.sender != "me"]

    def is_open(self, place: int) -> bool:
        """Whether no own message follows."""
        return place >= self._answered

    @property
    def for_me(self) -> list[int]:
        """The places of mentions, replies and open questions. What was asked before an own message is answered."""
        told = ((place, each.why) for place, each in enumerate(self.came) if each.why is not None)
        return [place for place, why in told if why != "question" or self.is_open(place)]

    @property
    def wants_answer(self) -> bool:
        """Whether something is open that is about me: in a group, a question alone is not."""
        told = ((place, self.came[place].why) for place in self.for_me)
        return any(self.is_open(place) and (self.kind == "person" or why != "question") for place, why in told)

    def chosen(self) -> list[int]:
        """The places of those for me that are shown: open ones, and of each person one before a second of anybody."""
        ranked, told = [], Counter[str]()
        for place in reversed(self.for_me):
            _, sender, why = self.came[place]
            ranked.append((not self.is_open(place), told[sender], why == "question", -place))
            told[sender] += 1
        return [-place for *_, place in sorted(ranked)[:FOR_ME]]


@tool(title="Catch up", action=Action.READ, calls=[OVERVIEW, MESSAGES], hints=READS)
async def get_catch_up(
    since: Since | None = None,
    cursor: Cursor | None = None,
    *,
    ctx: Context,
) -> CatchUp:
    """Sum up all chats since then, by default 24h: who wrote, open questions, mentions."""
    start, shown = _state(since.timestamp() if since else time.time() - DAY.total_seconds(), cursor)
    whole = await ctx.directory.load_if_small()
    recent = await _kept(ctx, start, whole=whole) or await _recent(ctx, start)
    chats = await _by_chat(ctx, recent)
    people = [chat.id for chat in chats if kind_of_chat(chat.id) == "person"]
    # Whether they are saved, where not all are known.
    await ctx.directory.named(lambda names: list(map(names.name, people[:LOOKED_UP])), whole=whole)
    ranked = [chat for chat in sorted(chats, key=lambda chat: _rank(ctx, chat)) if short(chat.id) not in shown]
    told = ranked[:CHATS]
    cut = {ctx.directory.canonical(chat) for chat in recent.unread}
    named = {ctx.directory.canonical(chat): name for chat, name in recent.names.items()}

    def read(names: Names) -> list[CaughtUpChat]:
        return [_worded(chat, names, named.get(chat.id), cut=chat.id in cut) for chat in told]

    rows, why = await ctx.directory.named(read, whole=whole)
    ids = [short(chat.id) for chat in told]
    states = [[start, [*shown, *ids[: count + 1]]] for count in range(len(ids))]
    rest = len(ranked) - len(told)
    page = CatchUp(
        since=iso_time(start) or "",
        chats=rows,
        notes=None if recent.whole else ["Not complete: only the most recent chats could be looked at."],
        not_told=_not_told(ctx, recent, chats, why),
        **(left(rest, encode_cursor("catch_up", states[-1]), exact=recent.whole) if rest else {}),
    )
    return page.resumable("catch_up", states)


def _state(start: float, cursor: str | None) -> tuple[int, list[str]]:
    """Since when (Unix seconds), and the chats that earlier pages have shown."""
    if cursor is None:
        return int(start), []
    match decode_cursor("catch_up", cursor):
        case [int(second), [*shown]] if all(isinstance(each, str) for each in shown):
            return second, shown
    raise ArgumentError("cursor: damaged; pass the one that the last page gave, unchanged")


async def _kept(ctx: Context, start: int, *, whole: bool) -> Recent | None:
    """As `_recent`, from the index; None where it does not have all of it. `whole`: the names of chats are known."""
    limited = ctx.app.index_chats != ("*",) or (ctx.app.kept is not None and start < time.time() - ctx.app.kept)
    if ctx.indexing is None or limited:
        return None
    found = await ctx.indexing.since(start, lambda chat: _readable(ctx, chat), KEPT)
    if found is None:
        return None
    records, cut, unread = found
    names: dict[str, str] = {}
    if not whole:
        rows = listing(await ctx.waha.call(OVERVIEW, query={"limit": NAMED}), "chats")
        named = ((chat_id_of(row.get("id")), text_of(row.get("name"))) for row in rows)
        names = {chat: name for chat, name in named if chat and name and kind_of_chat(chat) == "group"}
    return Recent(records, unread, not cut, names)


def _readable(ctx: Context, chat: str) -> bool:
    return ctx.readable(ctx.directory.canonical(chat))


async def _recent(ctx: Context, start: int) -> Recent:
    """What came in the chats that may be shown, from the Unix second `start` on, read over REST."""
    looked_up: set[str] = set()

    async def wanted(chat: str) -> bool:
        one = ctx.directory.canonical(chat)
        if one.endswith("@lid") and not ctx.readable(one) and len(looked_up) < LOOKED_UP:
            looked_up.add(one)
            one = await ctx.directory.learn(one)
        return ctx.readable(one)

    def known(chat: str) -> bool:
        return kind_of_chat(chat) == "group" or ctx.directory.saved_name(chat) is not None

    back = await read_back(ctx.waha, start, Budget(REQUESTS, SECONDS), wanted, known)
    me = ctx.directory.me
    records = [record for row in reversed(back.rows) if (record := record_from(row, me)) is not None]
    return Recent(records, back.unread, back.whole, back.names)


async def _by_chat(ctx: Context, recent: Recent) -> list[_Chat]:
    """The chats in which others wrote, as far as they may be shown. A person's two chats are one."""
    found: dict[str, _Chat] = {}
    known: set[tuple[str, str, str]] = set()
    canonical = ctx.directory.canonical
    for record in reversed(recent.records):
        chat = canonical(record.chat)
        if not ctx.readable(chat) or not ctx.shows(chat, record.id):
            continue
        sender = sender_of_record(record, ctx.directory)
        if (chat, sender, record.key.id) not in known:
            known.add((chat, sender, record.key.id))
            found.setdefault(chat, _Chat(chat)).add(record, sender)
    return [chat for chat in found.values() if chat.others]


def _rank(ctx: Context, chat: _Chat) -> tuple[int, bool, int]:
    """The known first, then strangers, then channels and stories; of each those that want an answer; the newest."""
    known = chat.kind == "group" or len(chat.others) < len(chat.came) or ctx.directory.saved_name(chat.id) is not None
    rank = 2 if chat.kind not in ("person", "group") else 0 if known else 1
    return rank, not chat.wants_answer, -chat.came[-1].record.time


def _worded(chat: _Chat, names: Names, named: str | None, *, cut: bool) -> CaughtUpChat:
    others, alone = chat.others, chat.kind == "person"
    writers = Counter(each.sender for each in others)
    busiest = [] if alone else writers.most_common(BUSIEST)
    media: Counter[str] = Counter(each.record.kind for each in others if each.record.kind in MEDIA_KINDS)
    chosen = chat.chosen()
    last = range(len(chat.came))
    lines = sorted({*chosen, *last[-1:], *(last[-2:] if len(chosen) < 2 else ())})
    name = names.name(chat.id) or named
    pushname = next((each.record.pushname for each in reversed(others) if each.record.pushname), None)
    return CaughtUpChat(
        id=chat.id,
        name=name,
        calls_themselves=pushname if alone and name is None else None,
        messages=len(others),
        at_least=cut or None,
        mine=len(chat.came) - len(others) or None,
        busiest=[_writer(sender, count, chat, names) for sender, count in busiest] or None,
        other_people=None if alone else len(writers) - len(busiest) or None,
        media=dict(media) or None,
        lines=[_line(chat, place, names) for place in lines],
        more_for_me=len(chat.for_me) - len(chosen) or None,
    )


def _writer(sender: str, count: int, chat: _Chat, names: Names) -> Writer:
    chosen = next((each.record.pushname for each in reversed(chat.came) if each.sender == sender), None)
    who = _looked_up(sender, names)
    return Writer(sender=who, sender_name=names.name(who) or chosen, messages=count)


def _line(chat: _Chat, place: int, names: Names) -> Line:
    record, sender, why = chat.came[place]
    if why == "question" and not chat.is_open(place):
        why = None
    who = _looked_up(sender, names)
    return Line(
        id=record.id,
        time=iso_time(record.time),
        sender=who,
        sender_name=None if who in ("me", chat.id) else names.name(who) or record.pushname,
        kind=record.kind,
        text=_text(record, why, names),
        why=why,
        answered=True if why is not None and not chat.is_open(place) else None,
    )


def _looked_up(sender: str, names: Names) -> str:
    """The sender, by the number where it came to be known only when the names were looked up."""
    return sender if sender in ("me", "unknown") else names.canonical(sender)


def _text(record: Record, why: Why | None, names: Names) -> str | None:
    """A message on one line: of a question the part that asks, of a file without words its name."""
    asked = question_in(record.text) if why == "question" else None
    text = asked or record.text or record.transcript or record.extra.partition("\n")[0]
    line = clean_name(text, MAX_TEXT)
    if len(line) > LINE:
        line = f"…{line[1 - LINE :]}" if asked else f"{line[: LINE - 1]}…"
    # No sooner: each person who is named may be looked up.
    return with_known_names(line, names) or None


def _not_told(ctx: Context, recent: Recent, chats: list[_Chat], names: str | None) -> list[str] | None:
    """The chats of which nothing could be read, with why, and `names`: why some of these are not known."""
    told = {chat.id for chat in chats}
    missing = {one: why for chat, why in recent.unread.items() if ctx.readable(one := ctx.directory.canonical(chat))}
    lines = [f"new messages of {chat}: {why}" for chat, why in missing.items() if chat not in told]
    more = [f"new messages of {len(lines) - TOLD} more chats"] if len(lines) > TOLD else []
    return [*lines[:TOLD], *more, *([f"names of people: {names}"] if names else ())] or None
