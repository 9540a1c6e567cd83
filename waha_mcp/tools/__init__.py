"""The tools. Importing this package fills the catalog, in the order in which agents see it."""

from waha_mcp.tools import status, chats, contacts, groups, send  # noqa: F401, I001 - this order is the listing's
from waha_mcp.tools.catalog import CATALOG, ArgumentError, Context, Tool, exposed, toolsets, why_hidden

__all__ = ["CATALOG", "ArgumentError", "Context", "Tool", "exposed", "toolsets", "why_hidden"]
