"""The state folders, which only the user can read, and the store in them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from waha_mcp.app.definition import AppError
from waha_mcp.digests import digest
from waha_mcp.files import make_private
from waha_mcp.log import hide
from waha_mcp.places import STORE, state_root
from waha_mcp.store.redis_url import RedisUrl, parse_redis_url

if TYPE_CHECKING:
    from waha_mcp.store.redis import Redis
    from waha_mcp.store.sqlite import Sqlite

#: The environment variable that names a store for several machines.
VARIABLE = "WAHA_MCP_STORE"


def state_dir(app_id: str) -> Path:
    """The App's state folder, created if missing, mode 0700.

    It is named after the App, unless shared state needs that name.

    Raises:
        OSError: it cannot be created.
    """
    make_private(state_root())
    # No id holds this character. Some file systems ignore case.
    folder = state_root() / (f"~{app_id}" if app_id.casefold().startswith(f"{STORE}.") else app_id)
    make_private(folder)
    return folder


def app_ids() -> list[str]:
    """The Apps that have a state folder, sorted."""
    root = state_root()
    found = root.iterdir() if root.is_dir() else ()
    return sorted(
        path.name.removeprefix("~")
        for path in found
        if path.is_dir() and not path.name.casefold().startswith(f"{STORE}.")
    )


def redis_url() -> RedisUrl | None:
    """The Redis that the user's store is in, from the environment variable WAHA_MCP_STORE; None: it is in SQLite.

    From then on, no log line shows its password.

    Raises:
        AppError: the variable holds no such URL.
    """
    text = os.environ.get(VARIABLE, "").strip()
    if not text:
        return None
    try:
        url = parse_redis_url(text)
    except ValueError as error:
        raise AppError(f"{VARIABLE}: {error}") from None
    for secret in url.secrets():
        hide(secret)
    return url


def user_store() -> Sqlite | Redis:
    """The store that all Apps and processes of the user share: a file, or the Redis that `redis_url` names.

    The first step opens it.

    Raises:
        AppError: the environment names a Redis that cannot be used.
    """
    url = redis_url()
    if url is None:
        from waha_mcp.store.sqlite import Sqlite

        return Sqlite(state_root() / f"{STORE}.sqlite")
    try:
        from waha_mcp.store.redis import Redis
    except ModuleNotFoundError:
        raise AppError(f"{VARIABLE}: the extra for Redis is not installed (pip install 'waha-mcp[redis]')") from None
    # Several installations on one machine may use different ones.
    name = digest(f"{url.host}:{url.port}/{url.database}")[:16]
    return Redis(url, state_root() / f"{STORE}.redis-{name}")
