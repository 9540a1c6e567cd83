"""The feed: events in WhatsApp while we listen, and everything since a mark in them."""
