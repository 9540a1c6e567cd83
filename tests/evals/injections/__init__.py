"""Goals of those who write to an account with an agent: the way in, what they want, and whether they get it."""
