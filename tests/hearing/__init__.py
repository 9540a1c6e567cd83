"""What is received while the WebSocket breaks again and again: nothing lost, nothing twice, each chat in order."""
