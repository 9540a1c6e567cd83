"""The views of the console, in the order of the navigation; the first one is shown where none is named."""

from __future__ import annotations

from waha_mcp.console.connections import CONNECTIONS
from waha_mcp.console.reach import REACH
from waha_mcp.console.trail import TRAIL
from waha_mcp.console.view import View
from waha_mcp.console.waiting import WAITING

VIEWS: tuple[View, ...] = (WAITING, TRAIL, REACH, CONNECTIONS)
