"""What an agent gets done, and what whoever writes to it gets done, as numbers that need no model."""
