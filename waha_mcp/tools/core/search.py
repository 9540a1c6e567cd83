"""The tool that searches messages, which WAHA itself cannot do."""

import time
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import AwareDatetime, Field

from waha_mcp.app.actions import Action
from waha_mcp.history.matching import Match, Sought, first_line
from waha_mcp.history.query import ME, Query, parse
from waha_mcp.history.records import Record, RecordSource, sender_of_record
from waha_mcp.history.rest import MESSAGES
from waha_mcp.history.rest_records import RestRecords, short
from waha_mcp.history.source import Budget, NoPlace
from waha_mcp.people.directory import Directory
from waha_mcp.tools.catalog import READS, ArgumentError, Context, tool
from waha_mcp.tools.moments import SINCE, UNTIL, text
from waha_mcp.tools.paging import DAMAGED, Page, decode_cursor, encode_cursor, left
from waha_mcp.tools.params import CursorReference, Reference
from waha_mcp.waha.errors import ONE_OPERATION
from waha_mcp.waha.marks import Author, ChatId, LongId, Time, Usual
from waha_mcp.waha.message_kinds import MessageKind
from waha_mcp.waha.models import Nested
from waha_mcp.waha.parsing import iso_time, kind_of_chat
from waha_mcp.waha.rows import briefly
from waha_mcp.whatsapp.untrusted import Name, Words

#: Requests and seconds of one call.
REQUESTS, SECONDS = 25, 15.0
#: How many hits are ranked, and of how many the neighbours are shown.
RANKED, SURROUNDED = 2_000, 10


class Neighbour(Nested):
    time: Time | None = None
    sender: Annotated[str, Author(message=None)]
    sender_name: Name | None = None
    kind: Annotated[MessageKind, Usual("text")]
    text: Words | None = None


class Hit(Nested):
    id: LongId = Field(description="get_message shows it with its surroundings")
    chat: ChatId
    chat_name: Name | None = None
    time: Time | None = None
    sender: Annotated[str, Author()]
    sender_name: Name | None = None
    calls_themselves: Name | None = Field(
        default=None, description="In a chat with a person whose name is not known: the name that they chose"
    )
    kind: Annotated[MessageKind, Usual("text")]
    text: Words | None = Field(default=None, description="The line that matches")
    before: list[Neighbour] | None = Field(default=None, description="Oldest first")
    after: list[Neighbour] | None = Field(default=None, description="Oldest first")


class Hits(Page):
    hits: list[Hit] = Field(description="In the order asked for")
    looked_at: int | None = Field(None, description="How many messages were looked through, if one by one")
    looked_back_to: Time | None = Field(None, description="In the chat reached last, where one by one")


class _Found(NamedTuple):
    """A hit to be. `state`: of a cursor that goes on behind it."""

    record: Record
    match: Match
    state: Any


@dataclass
class _Search:
    """One search on its way."""

    ctx: Context
    sought: Sought
    source: RecordSource
    limit: int
    ranked: bool
    #: Hits that an earlier page has shown, shortened: the rest of what it found is looked for again.
    shown: frozenset[str] = frozenset()
    budget: Budget = field(default_factory=lambda: Budget(REQUESTS, SECONDS))
    looked_at: int = 0
    oldest: int | None = None
    found: list[_Found] = field(default_factory=list)

    async def walk(self, state: Any) -> Any:
        """Look for hits from a cursor's state on; the state to go on from, or None at the end."""
        ctx, most = self.ctx, RANKED if self.ranked else self.limit
        asked = self.budget.requests
        sieve = self.sought.sieve(lambda one: ctx.directory.me | {ME} if one == ME else ctx.directory.ids(one))
        async with aclosing(self.source.records(sieve, state, self.budget)) as found:
            async for following, record in found:
                if self.budget.requests != asked:
                    asked = self.budget.requests
                    await ctx.progress(asked, REQUESTS, f"{self.looked_at} messages, {len(self.found)} found")
                if record is None:
                    return following
                if not self._may_show(record):
                    continue
                self.looked_at += 1
                self.oldest = record.time
                match = self.sought.match(record, ctx.directory)
                if match is not None and short(record.id) not in self.shown:
                    self.found.append(_Found(record, match, following))
                    if len(self.found) >= most:
                        return following
        return None

    def _may_show(self, record: Record) -> bool:
        chat = self.ctx.directory.canonical(record.chat)
        return self.ctx.readable(chat) and self.ctx.shows(chat, record.id)

    async def hits(self, found: Sequence[_Found], context: int) -> list[Hit]:
        """The hits, the first of them with so many of the messages around each."""
        hits = [self._hit(each.record, each.match) for each in found]
        if not context:
            return hits
        budget = Budget(2 * SURROUNDED, SECONDS)
        told = {each.record.id for each in found}
        why: str | None = None
        for number, each in enumerate(found):
            if number >= SURROUNDED or budget.spent:
                self.source.notes.append(f"Only the first {number} hits have their neighbours: see get_message.")
                break
            try:
                around = await self.source.around(each.record, context, budget)
            except ONE_OPERATION as error:
                why = briefly(error)
                continue
            before, after = ([one for one in side if self._may_show(one) and one.id not in told] for side in around)
            told |= {one.id for one in (*before, *after)}
            hits[number] = hits[number].model_copy(
                update={"before": self._neighbours(before), "after": self._neighbours(after)}
            )
        if why:
            self.source.notes.append(f"Not all neighbours could be read: {why}.")
        return hits

    def _hit(self, record: Record, match: Match) -> Hit:
        names = self.ctx.directory
        chat, sender = names.canonical(record.chat), sender_of_record(record, names)
        return Hit(
            id=record.id,
            chat=chat,
            chat_name=names.name(chat),
            time=iso_time(record.time),
            sender=sender,
            sender_name=None if sender in (ME, chat) else names.name(sender) or record.pushname,
            calls_themselves=record.pushname if sender == chat and not names.name(sender) else None,
            kind=record.kind,
            text=match.line or None,
        )

    def _neighbours(self, records: Sequence[Record]) -> list[Neighbour] | None:
        names, found = self.ctx.directory, list[Neighbour]()
        for record in records:
            sender = sender_of_record(record, names)
            name = None if sender == ME else names.name(sender) or record.pushname
            found.append(
                Neighbour(
                    time=iso_time(record.time),
                    sender=sender,
                    sender_name=name,
                    kind=record.kind,
                    text=first_line(record) or None,
                )
            )
        return found or None


def _with_named(values: dict[str, Any]) -> dict[str, Any]:
    """The arguments with the chats and people that the query names, so that they are treated as those in any other.

    The time zone changes nothing of that.
    """
    query = _parsed(values["query"], None)
    return values | {
        "of": [each for each in query.senders if each != ME] or None,
        "not_of": [each for each in query.not_senders if each != ME] or None,
        "within": list(query.chats) or None,
        "not_within": list(query.not_chats) or None,
    }


def _parsed(text: str, zone: Any) -> Query:
    try:
        return parse(text, zone)
    except ValueError as error:
        raise ArgumentError(f"query: {error}") from None


#: People and chats that the query names.
_From = Annotated[list[str] | None, Reference(reached=False, kind="person", called="query: from")]
_In = Annotated[list[str] | None, Reference(reached=False, called="query: in")]


@tool(title="Search messages", action=Action.READ, calls=[MESSAGES], hints=READS, complete=_with_named)
async def search_messages(
    query: Annotated[
        str,
        Field(
            min_length=1,
            description='Words, "phrases", -not, from:me in:"A b" kind:image has:link after:7d before:today',
        ),
    ],
    chat: Annotated[str, Reference(), Field(min_length=1, description="As in:")] | None = None,
    sender: Annotated[str, Reference(reached=False, kind="person"), Field(min_length=1, description="As from:")]
    | None = None,
    since: Annotated[AwareDatetime, SINCE, text("As after:")] | None = None,
    until: Annotated[AwareDatetime, UNTIL, text("Included")] | None = None,
    order: Literal["newest", "relevance"] = "newest",
    context: Annotated[int, Field(ge=0, le=5, description="Neighbours")] = 0,
    limit: Annotated[int, Field(ge=1, le=100)] = 20,
    cursor: Annotated[str, CursorReference(), Field(description="To go on")] | None = None,
    *,
    of: _From,
    not_of: _From,
    within: _In,
    not_within: _In,
    ctx: Context,
) -> Hits:
    """Search all messages."""
    state = None if cursor is None else decode_cursor("search", cursor)
    shown: frozenset[str] = frozenset()
    match state:
        case ["rest", [*before], start] if all(isinstance(each, str) for each in before):
            state, shown = start, frozenset(before)
    await ctx.directory.load()
    asked, me = _parsed(query, ctx.app.zone), ctx.directory.me
    sought = Sought(
        asked,
        chats=_both("in", chat, frozenset(within or ())),
        not_chats=frozenset(not_within or ()),
        senders=_both("from", _mine(me, sender), _people(me, of, asked.senders)),
        not_senders=_people(me, not_of, asked.not_senders),
        since=max(filter(None, (asked.since, since.timestamp() if since else None)), default=None),
        until=min(filter(None, (asked.until, until.timestamp() if until else None)), default=None),
        called=_mentions(ctx.directory),
    )
    search = _Search(ctx, sought, await _records(ctx, state), limit, order == "relevance", shown)
    source = search.source
    try:
        following = await search.walk(state)
    except NoPlace:
        belongs = isinstance(state, list) and bool(state) and isinstance(state[0], str)
        raise ArgumentError(
            "cursor: belongs to another search; pass it with the same chat" if belongs else DAMAGED
        ) from None
    found = search.found
    if search.ranked:
        found.sort(key=lambda each: (-each.match.score, -each.record.time))
    elif not source.by_time:
        found.sort(key=lambda each: -each.record.time)
    page, behind = found[:limit], len(found) - limit
    hits = await search.hits(page, context)
    again = [["rest", [*shown, *(short(each.id) for each in hits[: count + 1])], state] for count in range(len(hits))]
    if behind > 0:
        more = left(behind, encode_cursor("search", again[-1]), exact=following is None)
    else:
        more = {} if following is None else left(0, encode_cursor("search", following), exact=False)
    if search.ranked and following is not None:
        source.notes.append("These are the best of what was looked at.")
    answer = Hits(
        hits=hits,
        looked_at=search.looked_at if source.looks_through else None,
        looked_back_to=iso_time(search.oldest) if source.looks_through else None,
        notes=source.notes or None,
        not_told=source.not_told or None,
        **more,
    )
    # Where hits do not stand as they were found, what a cut answer does not show is looked for again.
    as_found = source.by_time and not search.ranked
    return answer.resumable("search", [each.state for each in page] if as_found else again)


async def _records(ctx: Context, state: Any) -> RecordSource:
    """The index, where there is one that is at hand; else WAHA. `state`: of the cursor."""
    rest = RestRecords(ctx.waha, ctx.directory)
    indexing = ctx.indexing
    index = None if indexing is None else await indexing.ready()
    if indexing is None or (index is None and not (isinstance(state, list) and state[:1] in (["index"], ["walk"]))):
        return rest
    from waha_mcp.history.index_records import Extent, IndexRecords

    extent = Extent(
        readable=lambda chat: ctx.readable(ctx.directory.canonical(chat)),
        keeps=indexing.keeps,
        every=ctx.app.index_chats == ("*",),
        since=None if ctx.app.kept is None else int(time.time() - ctx.app.kept),
        unread=indexing.unread,
        unlisted=indexing.unlisted,
    )
    return IndexRecords(index, rest, extent)


def _both(field: str, argument: str | None, named: frozenset[str]) -> frozenset[str] | None:
    """The chats or people that both an argument and the query allow; None: any."""
    if argument is None:
        return named or None
    if named and argument not in named:
        other = "chat" if field == "in" else "sender"
        raise ArgumentError(f"query: {field}: names others than {other}, so nothing can match both")
    return frozenset({argument})


def _people(me: frozenset[str], resolved: Sequence[str] | None, written: Sequence[str]) -> frozenset[str]:
    """The people that the query names, with "me" for the account, by whichever of its ids it is named."""
    return frozenset({ME} & {*written}) | {_mine(me, each) or each for each in resolved or ()}


def _mine(me: frozenset[str], person: str | None) -> str | None:
    return ME if person in me else person


def _mentions(directory: Directory) -> dict[str, str]:
    """Names by the digits with which mentions stand in texts, of the account and of people who may be shown."""
    known = [entry for entry in directory.entries() if entry.kind == "person" and entry.shown]
    named = {one.partition("@")[0]: entry.shown or "" for entry in known for one in directory.ids(entry.id)}
    return named | {each.partition("@")[0]: ME for each in directory.me if kind_of_chat(each) == "person"}
