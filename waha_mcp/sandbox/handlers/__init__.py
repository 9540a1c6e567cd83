"""The answers, one module per area. Importing a module registers its handlers."""

from waha_mcp.sandbox.handlers import files


def load() -> None:
    """Register every handler."""
    from waha_mcp.sandbox.handlers import (  # noqa: F401
        apps,
        channels,
        chats,
        contacts,
        conversion,
        group_changes,
        groups,
        keys,
        labels,
        messages,
        number_caches,
        pairing,
        presence,
        profile,
        rich,
        sending,
        server,
        sessions,
        stories,
    )


__all__ = ["files", "load"]
