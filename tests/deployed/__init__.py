"""`waha-mcp serve --http` as it is deployed: several processes on one store, behind nginx, under load."""
