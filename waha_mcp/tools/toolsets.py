"""The toolsets and the modules that define their tools. Only the App's toolsets are imported."""

from __future__ import annotations

from collections.abc import Collection
from importlib import import_module

from waha_mcp.tools.catalog import DESTRUCTIVE, EVERY, in_order_of

#: The modules that define each toolset's tools, in the order of the listing.
_MODULES = {
    "core": (
        "core.overview",
        "core.chat_list",
        "core.chat_messages",
        "core.search",
        "core.hearing",
        "core.catch_up",
        "core.attachments",
        "core.address_book",
        "core.group_list",
        "core.sending",
    ),
    "messages": ("messages.compose", "messages.change", "messages.convert"),
    "contacts": ("contacts",),
    "groups": ("groups",),
    "groups_admin": ("groups", "groups_admin"),
    "channels": ("channels",),
    "labels": ("labels",),
    "status": ("status",),
    "presence": ("presence",),
    "calls": ("calls",),
    "profile": ("profile",),
    "session": ("session",),
    "settings": ("settings",),
    "apps": ("apps",),
}
_ORDER = list(dict.fromkeys(f"waha_mcp.tools.{module}" for modules in _MODULES.values() for module in modules))

#: The toolsets that an App may name.
TOOLSETS = frozenset(_MODULES) | {DESTRUCTIVE, EVERY}


def load_tools(toolsets: Collection[str] = (EVERY,)) -> None:
    """Import the modules of these toolsets (default: all), which registers their tools, and sort the catalog."""
    for toolset, modules in _MODULES.items():
        if toolset in toolsets or EVERY in toolsets:
            for module in modules:
                import_module(f"waha_mcp.tools.{module}")
    in_order_of(_ORDER)
