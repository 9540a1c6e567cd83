"""The tools, in modules by area. A start-up pays only for the toolsets that its App chooses."""

from __future__ import annotations

from collections.abc import Collection
from importlib import import_module

from waha_mcp.tools.catalog import (
    CATALOG,
    DESTRUCTIVE,
    EVERY,
    ArgumentError,
    Context,
    Tool,
    exposed,
    not_chosen,
    why_hidden,
)

#: The modules that define each toolset's tools. Their order is the listing's.
_MODULES = {
    "core": ("status", "chats", "reading", "search", "received", "contacts", "groups", "send"),
    "messages": ("rich", "messages", "media"),
    "contacts": ("people",),
    "groups": ("group_details",),
    "groups_admin": ("group_details", "groups_admin"),
    "channels": ("channels",),
    "labels": ("labels",),
    "status": ("stories",),
    "presence": ("presence",),
    "calls": ("presence",),
    "profile": ("profile",),
    "session": ("session",),
    "settings": ("settings",),
    "apps": ("apps",),
}

#: The toolsets that an App may name.
TOOLSETS = frozenset(_MODULES) | {DESTRUCTIVE, EVERY}


def load_tools(toolsets: Collection[str] = (EVERY,)) -> None:
    """Put the tools of some toolsets, or of all, into the catalog."""
    for toolset, modules in _MODULES.items():
        if toolset in toolsets or EVERY in toolsets:
            for module in modules:
                import_module(f"{__name__}.{module}")


__all__ = [
    "CATALOG",
    "TOOLSETS",
    "ArgumentError",
    "Context",
    "Tool",
    "exposed",
    "load_tools",
    "not_chosen",
    "why_hidden",
]
