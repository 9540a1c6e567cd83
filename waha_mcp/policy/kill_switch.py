"""The kill switch: the user stops the effects of one App or of all, in every process; only the user starts them again.

The store has one row per pause, `*` for all Apps or the App's id, with the time since when.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from waha_mcp.policy.audit import Trail
from waha_mcp.policy.question import clock
from waha_mcp.store import Store, remove

_TABLE, _ALL = "pause", "*"


@dataclass(frozen=True)
class Pause:
    """A pause that is in force. `app_id` None: of all Apps; `since` in Unix seconds."""

    app_id: str | None
    since: float

    @property
    def began(self) -> str:
        """Since when, for people; with the day if it is not today."""
        since = datetime.fromtimestamp(self.since, UTC).astimezone()
        day = "" if since.date() == datetime.now(since.tzinfo).date() else f"{since:%Y-%m-%d} "
        return f"{day}{clock(self.since)}"

    @property
    def resume(self) -> str:
        """The command that ends it."""
        return f"waha-mcp resume {self.app_id}" if self.app_id else "waha-mcp resume"

    @property
    def whose(self) -> str:
        """Which Apps it stops, in words."""
        return f"App '{self.app_id}'" if self.app_id else "all Apps"

    @property
    def text(self) -> str:
        """Who paused, since when, and how to resume, in a few words."""
        return (
            f"paused by the user since {self.began}, {self.whose}; reading chats goes on; "
            f"only the user can resume ({self.resume})"
        )


def paused(store: Store, app_id: str) -> Pause | None:
    """The pause in force for an App: that of all Apps before its own.

    Raises:
        StoreAway: the store cannot be read.
    """
    rows = {row.key: row.value for row in store.rows(_TABLE)}
    for key in (_ALL, app_id):
        if key in rows:
            return Pause(None if key == _ALL else key, float(rows[key]))
    return None


def pause(store: Store, app_id: str | None) -> tuple[Pause, bool]:
    """Pause an App, or all of them; the pause, and whether it is new.

    Raises:
        StoreAway: the store cannot be read or written, so effects that look there are refused anyway.
    """
    key = app_id or _ALL
    while True:
        before = store.get(_TABLE, key)
        if before is not None:
            return Pause(app_id, float(before)), False
        now = store.now()
        if store.swap(_TABLE, key, None, repr(now)):
            store.flush()
            return Pause(app_id, now), True


def resume(store: Store, app_id: str | None) -> bool:
    """End the pause of an App, or the one of all Apps; return whether there was one. Other pauses stay.

    Raises:
        StoreAway: the store cannot be read or written.
    """
    return remove(store, _TABLE, app_id or _ALL)


def note(command: Literal["pause", "resume"], of: str | None, apps: Iterable[str], client: str) -> None:
    """Write into the trail of each of `apps` that the user has paused or resumed the App `of`, or all. Blocks.

    `client`: where the user did it.
    """
    for app_id in apps:
        Trail(app_id).write_now(
            {
                "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
                "client": client,
                "decision": f"{command}d by the user",
                "of": of or "all Apps",
                "outcome": "done",
            }
        )


def paused_apps(store: Store) -> list[str]:
    """The Apps that are paused individually.

    Raises:
        StoreAway: the store cannot be read.
    """
    return sorted(row.key for row in store.rows(_TABLE) if row.key != _ALL)
