"""The tool that searches messages, which WAHA itself cannot do."""

import hashlib
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import Field

from waha_mcp.app.actions import Action
from waha_mcp.history.matching import Wanted, matching_line
from waha_mcp.history.rest import ALL, MESSAGES, Rest
from waha_mcp.history.source import START, Budget, Place, Row
from waha_mcp.people.people_table import Entry
from waha_mcp.tools.catalog import READS, ArgumentError, Context, tool
from waha_mcp.tools.moments import Since, Until
from waha_mcp.tools.paging import Page, decode_cursor, encode_cursor, left, place_of, stopped
from waha_mcp.tools.params import Chat, Cursor, Limit, Sender
from waha_mcp.waha.errors import ONE_OPERATION, NotFound, WahaError
from waha_mcp.waha.marks import Author, ChatId, LongId, Time, Usual
from waha_mcp.waha.message_kinds import MessageKind
from waha_mcp.waha.messages import message_from
from waha_mcp.waha.models import Nested, message_id_of
from waha_mcp.waha.parsing import epoch, iso_time
from waha_mcp.waha.rows import briefly
from waha_mcp.whatsapp.folding import words
from waha_mcp.whatsapp.ids import parse_message_id
from waha_mcp.whatsapp.untrusted import Name, Words

#: Messages of one request; requests and seconds of one call.
PAGE, REQUESTS, SECONDS = 200, 25, 15.0
#: Messages of each chat where chats must be searched one by one.
PER_CHAT = 500


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
    text: Words = Field(description="The line that matches")


class Hits(Page):
    hits: list[Hit] = Field(description="Newest first")
    looked_at: int = Field(description="How many messages were looked through")
    looked_back_to: Time | None = Field(None, description="In the chat reached last, where one by one")


@dataclass
class _Search:
    """One search on its way."""

    ctx: Context
    query: list[str]
    wanted: Wanted
    limit: int
    since: float | None
    until: float | None
    #: Hits that an earlier page has shown, shortened: the rest of that page is looked for again.
    shown: frozenset[str] = frozenset()
    budget: Budget = field(default_factory=lambda: Budget(REQUESTS, SECONDS))
    one_by_one: bool = False
    looked_at: int = 0
    oldest: float | None = None
    #: Each with its time, in Unix seconds, and where a search goes on behind it.
    hits: list[tuple[float, Hit, Place]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    #: The chats that could not be read, with why.
    unread: list[str] = field(default_factory=list)

    @property
    def full(self) -> bool:
        return len(self.hits) >= self.limit

    async def walk(self, chat: str, place: Place, *, most: int | None = None) -> Place | None:
        """Search back in one chat, or in all at once; where to go on, or None at the end."""
        source = Rest(self.ctx.waha, chat, page=PAGE)
        asked, count = self.budget.requests, 0
        following = None
        async for step in source.rows(place, self.since, self.until, self.budget):
            if self.budget.requests != asked:
                asked = self.budget.requests
                await self.ctx.progress(asked, REQUESTS, f"{self.looked_at} messages, {len(self.hits)} found")
            if step.row is None:
                self.notes.append(stopped(self.budget, step.place, "older ones not searched yet"))
                following = step.place
                break
            of = self._chat_of(step.row)
            if chat == ALL and not self.ctx.readable(of):
                continue
            if not self.ctx.shows(of, message_id_of(step.row.get("id")) or ""):
                continue
            self.looked_at += 1
            count += 1
            self.oldest = epoch(step.row.get("timestamp")) or self.oldest
            if hit := self._hit(step.row):
                self.hits.append((epoch(step.row.get("timestamp")) or 0, hit, step.place))
            if self.full:
                following = step.place
                break
            if most is not None and count >= most:
                break
        self.notes += [note for note in source.notes if note not in self.notes]
        return following

    def _chat_of(self, row: Row) -> str:
        try:
            return self.ctx.directory.canonical(parse_message_id(message_id_of(row.get("id")) or "").chat)
        except ValueError:
            return "unknown"

    def _hit(self, row: Row) -> Hit | None:
        chat = self._chat_of(row)
        message = message_from(row, self.ctx.directory, full=True, chat=chat)
        if message is None or message not in self.wanted or _short(message.id) in self.shown:
            return None
        line = matching_line(message, self.query)
        if line is None:
            return None
        return Hit(
            id=message.id,
            chat=chat,
            chat_name=self.ctx.directory.name(chat),
            time=message.time,
            sender=message.sender,
            sender_name=message.sender_name,
            calls_themselves=message.calls_themselves,
            kind=message.kind,
            text=line,
        )


@tool(title="Search messages", action=Action.READ, calls=[MESSAGES], hints=READS)
async def search_messages(
    query: Annotated[str, Field(min_length=1, max_length=200, description="Words in any order; case, accents aside")],
    chat: Chat | None = None,
    sender: Sender | None = None,
    since: Since | None = None,
    until: Until | None = None,
    limit: Limit = 20,
    cursor: Cursor | None = None,
    *,
    ctx: Context,
) -> Hits:
    """Search one chat's messages, or all, newest first. It says how far it looked; the cursor goes on."""
    state = None if cursor is None else decode_cursor("search", cursor)
    wanted = words(query)
    if not wanted:
        raise ArgumentError("query: holds no word to search for")
    await ctx.directory.load()
    shown: frozenset[str] = frozenset()
    match state:
        case ["rest", [*before], start] if all(isinstance(each, str) for each in before):
            state, shown = start, frozenset(before)
    search = _Search(
        ctx,
        wanted,
        Wanted("me" if sender in ctx.directory.me else sender),
        limit,
        since.timestamp() if since else None,
        until.timestamp() if until else None,
        shown,
    )
    match state:
        case None:
            following = await (_everywhere(search) if chat is None else _onward(search, chat, START))
        case ["chats", *by_chat] if chat is None:
            following = await _chat_by_chat(search, by_chat)
        case [str(where), *place] if where == (chat or ALL):
            following = await _onward(search, where, place_of(place))
        case _:
            raise ArgumentError("cursor: belongs to another search; pass it with the same chat")
    more = {} if following is None else left(0, encode_cursor("search", following), exact=False)
    found = sorted(search.hits, key=lambda hit: -hit[0]) if search.one_by_one else search.hits
    page = Hits(
        hits=[hit for _, hit, _ in found],
        looked_at=search.looked_at,
        looked_back_to=iso_time(search.oldest),
        notes=search.notes or None,
        not_told=search.unread or None,
        **more,
    )
    if not search.one_by_one:
        return page.resumable("search", [[chat or ALL, *place.state] for *_, place in found])
    # Hits of several chats stand by time: where the answer is cut, the same chats are searched for what is not shown.
    ids = [_short(hit.id) for _, hit, _ in found]
    return page.resumable("search", [["rest", [*shown, *ids[: count + 1]], state] for count in range(len(ids))])


async def _onward(search: _Search, chat: str, place: Place) -> list[Any] | None:
    following = await search.walk(chat, place)
    return None if following is None else [chat, *following.state]


async def _everywhere(search: _Search) -> list[Any] | None:
    """All chats at once where the engine can; else one by one."""
    try:
        following = await _onward(search, ALL, START)
    except (*ONE_OPERATION, NotFound):
        if search.looked_at:
            raise
        following = None
    if search.looked_at or following is not None:
        return following
    return await _chat_by_chat(search, [[], None])


async def _chat_by_chat(search: _Search, state: Any) -> list[Any] | None:
    """The chats from the most recent on. `state` holds those that are done, and the one that is not with its place."""
    match state:
        case [[*done], None]:
            current, place = None, START
        case [[*done], [str(current), *rest]]:
            place = place_of(rest)
        case _:
            raise ArgumentError("cursor: damaged; pass the one that the last page gave, unchanged")
    search.one_by_one = True
    chats = _recent(search)
    search.unread += search.ctx.directory.not_known("chats") or []
    chats.sort(key=lambda entry: entry.id != current)
    failure: WahaError | None = None
    for number, entry in enumerate(chats):
        if _short(entry.id) in done:
            continue
        if search.full or search.budget.spent:
            if not search.full:
                left = sum(_short(each.id) not in done for each in chats[number:])
                search.notes.append(stopped(search.budget, START, f"{left} chats not searched yet"))
            return ["chats", done, None]
        await search.ctx.progress(number, len(chats), f"{search.looked_at} messages, {len(search.hits)} found")
        try:
            following = await search.walk(entry.id, place if entry.id == current else START, most=PER_CHAT)
        except (*ONE_OPERATION, NotFound) as error:
            # A channel, most often: some engines cannot read them.
            following, failure = None, error
            search.unread.append(f"messages of {entry.id}: {briefly(error)}")
        if following is not None:
            return ["chats", done, [entry.id, *following.state]]
        done.append(_short(entry.id))
    if failure is not None and not search.looked_at:
        raise failure
    search.notes.append(f"Searched chat by chat, the newest {PER_CHAT} messages of each: name a chat to go deeper.")
    return None


def _recent(search: _Search) -> list[Entry]:
    entries = [entry for entry in search.ctx.directory.entries() if entry.last_active is not None]
    if search.since is not None:
        entries = [entry for entry in entries if not entry.last_active or entry.last_active >= search.since]
    return sorted(entries, key=lambda entry: -(entry.last_active or 0))


def _short(any_id: str) -> str:
    """A few characters for the id of a chat or message, so that a cursor stays short."""
    return hashlib.sha256(any_id.encode()).hexdigest()[:6]
