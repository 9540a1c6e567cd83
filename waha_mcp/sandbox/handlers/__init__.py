"""The handlers of WAHA's operations, one module per area. Importing a module registers its handlers."""

from waha_mcp.sandbox.handlers import files_routes


def load() -> None:
    """Register every handler."""
    from waha_mcp.sandbox.handlers import (  # noqa: F401
        apps_routes,
        channels_routes,
        chats_routes,
        contacts_routes,
        conversion_routes,
        group_changes_routes,
        groups_routes,
        keys_routes,
        labels_routes,
        messages_routes,
        number_caches_routes,
        pairing_routes,
        presence_routes,
        profile_routes,
        rich_routes,
        sending_routes,
        server_routes,
        sessions_routes,
        stories_routes,
    )


__all__ = ["files_routes", "load"]
