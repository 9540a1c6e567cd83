"""`waha-mcp store`: where the store is, whether it can be used, and the user's word that what it lost is lost."""

from __future__ import annotations

from contextlib import closing
from typing import Annotated

import typer

from waha_mcp.cli.common import Failure, say
from waha_mcp.store import StoreAway, away
from waha_mcp.store.folders import VARIABLE, redis_url, user_store


def store(
    accept_loss: Annotated[
        bool, typer.Option("--accept-loss", help="Continue with a Redis that has lost data.")
    ] = False,
) -> None:
    """Say where the store is, and whether it can be used.

    It holds what was sent recently, open questions and pauses. WAHA_MCP_STORE puts it into Redis.

    Example: waha-mcp store
    """
    url = redis_url()
    with closing(user_store()) as opened:
        if accept_loss:
            from waha_mcp.store.redis import Redis

            if not isinstance(opened, Redis):
                raise Failure(f"{VARIABLE} names no Redis; `waha-mcp store` reports a damaged file")
            try:
                lost = opened.accept_loss()
            except StoreAway as error:
                raise Failure(str(error), code=1) from None
            say("All machines go on with what it has." if lost else "It had lost nothing.")
        if why := away(opened):
            raise Failure(why, code=1)
        say(f"Redis at {url.where} can be used." if url else "The store is a file on this machine, and can be used.")
