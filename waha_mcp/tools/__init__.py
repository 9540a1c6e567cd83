"""The tools. Importing this package fills the catalog, in the order in which agents see it."""

from waha_mcp.tools import (  # noqa: F401, I001 - this order is the listing's
    status,
    chats,
    reading,
    search,
    received,
    contacts,
    groups,
    send,
    rich,
    messages,
    media,
    people,
    group_details,
    groups_admin,
    channels,
    labels,
    stories,
    presence,
    profile,
    session,
    settings,
    apps,
)
from waha_mcp.tools.catalog import CATALOG, ArgumentError, Context, Tool, exposed, toolsets, why_hidden

__all__ = ["CATALOG", "ArgumentError", "Context", "Tool", "exposed", "toolsets", "why_hidden"]
