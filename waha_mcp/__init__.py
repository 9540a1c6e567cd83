"""waha-mcp: an MCP server between AI agents and a WAHA (WhatsApp HTTP API) instance."""

__version__ = "0.1.0"
