"""A mixed load over stdio and HTTP while everything that it depends on fails now and then; WAHA's own data decides."""
