"""The answers, one module per area. Importing a module registers its handlers."""

from waha_mcp.sandbox.handlers import files


def load() -> None:
    """Register every handler."""
    from waha_mcp.sandbox.handlers import (  # noqa: F401
        apps,
        chats,
        contacts,
        groups,
        keys,
        messages,
        sending,
        server,
        sessions,
    )


__all__ = ["files", "load"]
