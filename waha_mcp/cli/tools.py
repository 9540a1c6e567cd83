"""`waha-mcp tools`: what an App exposes, what is hidden and why."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable
from contextlib import closing
from typing import TYPE_CHECKING, Annotated, Any

import anyio
import typer

from waha_mcp.app.actions import Action, Grant
from waha_mcp.app.definition import App, NoKey
from waha_mcp.cli.common import Failure, say, with_app
from waha_mcp.cli.terminal import visible, wrapped
from waha_mcp.store import StoreAway
from waha_mcp.whatsapp.untrusted import reveal

if TYPE_CHECKING:
    from waha_mcp.console.looking import Look

#: Seconds that WAHA has for its answers.
PATIENCE = 60.0


@with_app(log_level="error")
def tools(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    every: Annotated[bool, typer.Option("--all", help="List every tool, also without an App.")] = False,
    *,
    load: Callable[..., App],
) -> None:
    """Show the tools that an App exposes, and why others are hidden.

    It also shows how much of its limits is used, and whether it is paused.

    Example: waha-mcp tools --app assistant
    """
    from waha_mcp.tools.catalog import CATALOG, why_hidden
    from waha_mcp.tools.toolsets import load_tools

    load_tools()
    try:
        app = load()
    except NoKey:
        if not every:
            raise
        reasons: dict[str, str | None] = {}
        about: dict[str, Any] = {}
    else:
        look = anyio.run(_find_out, app)
        grant = look.grant or Grant()
        reasons = {tool.name: why_hidden(tool, app, grant) for tool in CATALOG.values()}
        about = {"app": app.id, "session": look.session, "actions": [a for a in Action if a in grant.actions]}
        about |= _in_force(app, look)
    rows = [
        {
            "name": t.name,
            "title": t.title,
            "action": t.action,
            "toolsets": t.toolsets,
            "why": reasons.get(t.name),
        }
        for t in CATALOG.values()
    ]
    if as_json:
        shown = [{k: v for k, v in row.items() if k != "why"} for row in rows if every or row["why"] is None]
        hidden = [row for row in rows if row["why"] is not None]
        print(json.dumps({**about, "tools": shown, "hidden": hidden}, ensure_ascii=False, indent=2))
        return
    if about:
        print(f"App {about['app']}, session {about['session']}, actions: {', '.join(about['actions']) or 'none'}")
        if about["paused"]:
            say(f"It is {about['paused']}.")
        print()
    for row in rows:
        if every or row["why"] is None:
            note = f"  (hidden: {row['why']})" if row["why"] else ""
            sets = " + ".join(CATALOG[str(row["name"])].toolsets)
            line = f"{row['name']:<24} {row['action'] or 'any key':<8} {sets:<26} {row['title']}{note}"
            print(wrapped(line, "    "))
    if not every:
        _print_hidden(reasons)
    if about:
        _print_limits(about["limits"])


def _print_hidden(reasons: dict[str, str | None]) -> None:
    by_reason: defaultdict[str, list[str]] = defaultdict(list)
    for name, why in reasons.items():
        if why is not None:
            by_reason[why].append(name)
    if by_reason:
        print("\nHidden:")
    for why, names in by_reason.items():
        print(wrapped(f"  {why}: {', '.join(names)}", "    "))


async def _find_out(app: App) -> Look:
    from waha_mcp.console.looking import look_at
    from waha_mcp.store.folders import user_store

    with closing(user_store()) as store:
        look = await look_at(app, store, PATIENCE)
    if look.problem is not None:
        raise Failure(look.problem)
    return look


def _in_force(app: App, look: Look) -> dict[str, Any]:
    """Whether the App is paused, as text, and how much of its limits is used; not known where the store is away."""
    from waha_mcp.policy.kill_switch import paused
    from waha_mcp.policy.pace import used
    from waha_mcp.store.folders import user_store

    with closing(user_store()) as store:
        try:
            pause, rows = paused(store, app.id), used(app.pace, store, look.account)
            text = None if pause is None else pause.text
        except StoreAway as error:
            text, rows = f"not known to be allowed to act: {error}", used(app.pace, store, None)
    return {
        "paused": text,
        "limits": [
            {
                "what": row.what,
                "most": row.rate.amount,
                "per": row.rate.period,
                "used": row.used,
                "chat": row.chat,
                "who": None if row.chat is None else look.who(row.chat),
            }
            for row in rows
        ],
    }


def _print_limits(limits: list[dict[str, Any]]) -> None:
    by_what: defaultdict[str, list[str]] = defaultdict(list)
    for row in limits:
        what = row["what"] if row["who"] is None else f"to {visible(reveal(row['who']))}"
        used = "an unknown number" if row["used"] is None else row["used"]
        by_what[what].append(f"{used} of {row['most']} per {row['per']}")
    print("\nRate limits used, by all Apps of the account together:" if by_what else "\nThere are no rate limits.")
    for what, counts in by_what.items():
        print(wrapped(f"  {what}: {', '.join(counts)}", "    "))
