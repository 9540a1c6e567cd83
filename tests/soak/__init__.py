"""A mixed load over stdio and HTTP while everything that it stands on fails now and then; WAHA says what came of it."""
