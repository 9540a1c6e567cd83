"""Goals of those who write to an account with an agent: how their words come in, what they want, and whether they got it."""
