"""The feed: what happens in WhatsApp while we listen, and what came since a place in it."""
