"""`python -m waha_mcp` is `waha-mcp`."""

from waha_mcp.cli import main

main()
