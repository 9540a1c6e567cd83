"""The tool that lists groups in the toolset `core`."""

from waha_mcp.app.actions import Action
from waha_mcp.tools.catalog import READS, Context, tool
from waha_mcp.tools.paging import Page, offset_of, slice_of
from waha_mcp.tools.params import Cursor, Limit
from waha_mcp.waha.models import Group
from waha_mcp.whatsapp.folding import fold


class Groups(Page):
    groups: list[Group]


@tool(title="List groups", action=Action.READ, calls=["GET /api/{session}/groups"], hints=READS)
async def list_groups(limit: Limit = 20, cursor: Cursor | None = None, *, ctx: Context) -> Groups:
    """List the groups, with subject, description and size."""
    offset = offset_of("groups", cursor)
    await ctx.directory.load("groups")
    if not_told := ctx.directory.not_known("groups"):
        await ctx.directory.load()
        not_told = ctx.directory.not_known("groups")
    groups = [
        # Groups known only from the list of chats, if WAHA's list of groups is incomplete.
        entry.group or Group(id=entry.id, subject=entry.name, created=None)
        for entry in ctx.directory.entries()
        if entry.group is not None or (not_told and entry.kind == "group")
    ]
    groups.sort(key=lambda group: (fold(group.subject or ""), group.id))
    shown, more = slice_of("groups", groups, limit, offset)
    page = Groups(groups=list(shown), not_told=not_told, **more)
    return page.resumable("groups", range(offset + 1, offset + 1 + len(shown)))
