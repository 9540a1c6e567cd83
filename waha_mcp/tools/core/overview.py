"""The tool get_status, for any key: connection, grant and hidden tools, with the next step."""

from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from waha_mcp.app.actions import Action
from waha_mcp.feed.live import in_words
from waha_mcp.store import StoreAway
from waha_mcp.tools.catalog import (
    CATALOG,
    EVERY,
    INSPECTS,
    Context,
    not_chosen,
    session_advice,
    tool,
    why_hidden,
)
from waha_mcp.tools.several import NotTold
from waha_mcp.tools.toolsets import TOOLSETS
from waha_mcp.waha.errors import ONE_OPERATION, WahaError, no_session
from waha_mcp.waha.models import Result
from waha_mcp.waha.parsing import chat_id_of, listing, mapping_of, text_of
from waha_mcp.whatsapp.ids import phone_of
from waha_mcp.whatsapp.untrusted import Others, OwnName, clean_text


class Account(Result):
    id: str
    name: OwnName | None = None
    phone: str | None = None


class Hidden(Result):
    why: str
    tools: list[str]


class Status(Result):
    app: str
    session: str | None = None
    state: str | None = Field(None, description="WORKING means that messages flow")
    next_step: str | None = Field(None, description="What to do, where something is to be done")
    account: Account | None = Field(None, description="Who we are on WhatsApp")
    waha: str | None = Field(None, description="WAHA's version")
    engine: str | None = None
    actions: dict[str, str] = Field(description="The actions in force, and how that is known")
    reach: str | None = Field(None, description="Who can be written to and read")
    paused: str | None = Field(None, description="Since when the user has stopped everything but reading, if so")
    task_grants: list[Annotated[str, Others(own=True), AfterValidator(clean_text)]] | None = Field(
        None, description="To whom messages go out without a question, for now"
    )
    feed: str | None = Field(None, description="How it is heard what happens, once a tool has needed it")
    index: str | None = Field(None, description="How far the local index of messages is filled, if there is one")
    hidden: list[Hidden] | None = Field(None, description="Tools that are not offered, and why")
    not_told: NotTold = None
    toolsets_not_chosen: list[str] | None = Field(None, description="More tools that the user could choose in the App")


@tool(
    title="Status",
    action=None,
    calls=["GET /api/sessions", "GET /api/server/version"],
    hints=INSPECTS,
)
async def get_status(
    toolsets: Annotated[bool, Field(description="Also list the toolsets not chosen")] = False,
    *,
    ctx: Context,
) -> Status:
    """Show whether WhatsApp is connected, as whom, and which tools are hidden and why."""
    hidden: defaultdict[str, list[str]] = defaultdict(list)
    for other in CATALOG.values():
        if not not_chosen(other, ctx.app) and (why := why_hidden(other, ctx.app, ctx.grant)):
            hidden[why].append(other.name)
    session: Mapping[str, Any] = {}
    version: Mapping[str, Any] = {}
    problem = ctx.grant.problem
    if problem is None:
        try:
            session = await _session(ctx)
            version = mapping_of(await ctx.waha.call("GET /api/server/version", bound=False))
        except WahaError as error:
            # Of a session that is known, the version is not needed.
            if not (session and isinstance(error, ONE_OPERATION)):
                problem = str(error)
    state = text_of(session.get("status"))
    me = mapping_of(session.get("me"))
    my_id = chat_id_of(me.get("id"))
    if problem is None and state != "WORKING" and ctx.waha.session is not None:
        if state:
            problem = session_advice(ctx.waha.session, state, ctx.app, ctx.grant)
        elif session:
            problem = f"WAHA does not say what state session '{ctx.waha.session}' is in: ask the user to check there."
        else:
            problem = no_session(ctx.waha.session)
    return Status(
        app=ctx.app.id,
        session=ctx.waha.session,
        state=state,
        next_step=problem,
        account=Account(id=my_id, name=text_of(me.get("pushName")), phone=phone_of(my_id)) if my_id else None,
        waha=text_of(version.get("version")),
        engine=text_of(version.get("engine")),
        not_told=["waha", "engine"] if session and not version else None,
        actions={a: ctx.grant.evidence[a] for a in Action if a in ctx.grant.actions},
        reach=ctx.reach() or None,
        paused=await ctx.paused(),
        task_grants=await ctx.task_grants(),
        feed=_feed(ctx),
        index=await _index(ctx),
        hidden=[Hidden(why=why, tools=names) for why, names in hidden.items()] or None,
        toolsets_not_chosen=sorted(TOOLSETS - ctx.app.toolsets - {EVERY})
        if toolsets and EVERY not in ctx.app.toolsets
        else None,
    )


def _feed(ctx: Context) -> str | None:
    if ctx.feed is None or ctx.feed.state == "off" or Action.READ not in ctx.grant.actions:
        return None
    return in_words(ctx.feed.state, ctx.feed.why)


async def _index(ctx: Context) -> str | None:
    indexing = ctx.indexing
    if indexing is None or indexing.state in ("off", "deleted") or Action.READ not in ctx.grant.actions:
        return None
    if indexing.state == "waiting":
        return f"waits: {indexing.why}"
    try:
        progress = await indexing.progress()
    except StoreAway as error:
        return f"waits: {error}"
    other = "another process fills it" if indexing.state == "follows" else None
    if progress is None or not progress.chats:
        return other or "the chats are being looked at"
    if progress.since is not None:
        since = f", back to {datetime.fromtimestamp(progress.since, ctx.app.zone):%Y-%m-%d}" if progress.since else ""
        return f"{other or 'being filled'}: {int(100 * progress.share)} % of the chats are complete{since}"
    if indexing.unlisted or any(map(ctx.readable, indexing.unread)):
        return "complete, except for chats that could not be read"
    return "complete" if ctx.app.retention is None else f"complete, for the last {ctx.app.retention[:-1]} days"


async def _session(ctx: Context) -> Mapping[str, Any]:
    """This session's row in the list that any key may read. It holds secrets: pick single fields from it."""
    answer = await ctx.waha.call("GET /api/sessions", query={"all": True}, bound=False)
    return next((row for row in listing(answer, "sessions") if row.get("name") == ctx.waha.session), {})
