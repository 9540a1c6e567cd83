"""What may pass: every tool with an effect goes through `Policy.run`, the one gate between the bridge and WAHA."""
