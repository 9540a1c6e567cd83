"""The official conformance suite, against `waha-mcp serve --http`. See `scenarios` for what is left out, and why."""
