"""The MCP side: what a client sees of a bridge."""
