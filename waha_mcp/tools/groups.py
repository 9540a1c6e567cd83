"""Tools about groups."""

from waha_mcp.actions import Action
from waha_mcp.tools.catalog import READS, Context, tool
from waha_mcp.tools.paging import Page, offset_of, page_of
from waha_mcp.tools.params import Cursor, Limit
from waha_mcp.waha.models import Group, group_from
from waha_mcp.waha.reading import listing


class Groups(Page):
    groups: list[Group]


@tool(title="List groups", action=Action.READ, calls=["GET /api/{session}/groups"], hints=READS)
async def list_groups(limit: Limit = 20, cursor: Cursor | None = None, *, ctx: Context) -> Groups:
    """List the WhatsApp groups that the account is in, with subject, description and size."""
    offset = offset_of("groups", cursor)
    answer = await ctx.waha.call(
        "GET /api/{session}/groups",
        query={"limit": limit + 1, "offset": offset, "sortBy": "subject", "sortOrder": "asc"},
    )
    rows, more = page_of("groups", listing(answer, "groups"), limit, offset)
    return Groups(groups=[group for row in rows if (group := group_from(row))], **more)
