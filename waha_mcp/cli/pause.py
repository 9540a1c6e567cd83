"""`waha-mcp pause` and `waha-mcp resume`: the user stops and restarts everything that agents may do, except reading."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing
from typing import Annotated, Literal

import typer

from waha_mcp.app.definition import DEFAULT_ID
from waha_mcp.cli.common import Failure, defined, known_app, say
from waha_mcp.policy import kill_switch
from waha_mcp.store import StoreAway
from waha_mcp.store.folders import app_ids, user_store

AppName = Annotated[
    str | None, typer.Argument(metavar="[APP]", help="The App: its id, or its file.", show_default="all of them")
]


def pause(app: AppName = None) -> None:
    """Stop at once everything that agents do except reading.

    This holds in every process, until you resume.

    Example: waha-mcp pause
    """
    app_id = None if app is None else known_app(app)
    try:
        with closing(user_store()) as store:
            found, new = kill_switch.pause(store, app_id)
    except StoreAway as error:
        raise Failure(f"{error} Nothing but reading is done as long as that is so", code=1) from None
    if new:
        _note("pause", app_id)
    say(f"{found.text[0].upper()}{found.text[1:]}.")


def resume(app: AppName = None) -> None:
    """Let agents act again, after `waha-mcp pause`.

    Example: waha-mcp resume
    """
    app_id = None if app is None else known_app(app)
    try:
        with closing(user_store()) as store:
            ended = kill_switch.resume(store, app_id)
            still = kill_switch.paused_apps(store) if app_id is None else []
            whole = None if app_id is None else kill_switch.paused(store, app_id)
    except StoreAway as error:
        raise Failure(str(error), code=1) from None
    if ended:
        _note("resume", app_id)
    who = f"App '{app_id}'" if app_id else "All Apps"
    if whole is not None:
        ends = "its own pause has ended, but " if ended else ""
        raise Failure(f"{who} may not act yet: {ends}it is {whole.text}", code=1)
    print(
        f"{who} may act again." if ended else f"{who} was not paused." if app_id else "There was no pause of all Apps."
    )
    if still:
        say(f"Still paused by themselves: {', '.join(f'{each} (waha-mcp resume {each})' for each in still)}")


def _note(command: Literal["pause", "resume"], app_id: str | None) -> None:
    """Write a line into the trail of each App that it concerns."""
    keeping = defined()
    concerned: Iterable[str] = [app_id] if app_id else sorted({*app_ids(), *keeping}) or [DEFAULT_ID]
    kept = [each for each in concerned if keeping.get(each, True)]
    kill_switch.note(command, app_id, kept, f"waha-mcp {command}")
