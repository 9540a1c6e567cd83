"""`waha-mcp tools`: what an App exposes, what is hidden and why."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable
from typing import Annotated, Any

import anyio
import typer

from waha_mcp.app.actions import Action, Grant
from waha_mcp.app.definition import App, NoKey
from waha_mcp.cli.common import Failure, with_app
from waha_mcp.cli.terminal import wrapped


@with_app(log_level="error")
def tools(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    every: Annotated[bool, typer.Option("--all", help="List every tool there is, also without an App.")] = False,
    *,
    load: Callable[..., App],
) -> None:
    """Show the tools that an App exposes, and why others are hidden.

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
        grant, session = anyio.run(_find_out, app)
        reasons = {tool.name: why_hidden(tool, app, grant) for tool in CATALOG.values()}
        about = {"app": app.id, "session": session, "actions": [a for a in Action if a in grant.actions]}
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
        print(f"App {about['app']}, session {about['session']}, actions: {', '.join(about['actions']) or 'none'}\n")
    for row in rows:
        if every or row["why"] is None:
            note = f"  (hidden: {row['why']})" if row["why"] else ""
            sets = " + ".join(CATALOG[str(row["name"])].toolsets)
            line = f"{row['name']:<24} {row['action'] or 'any key':<8} {sets:<26} {row['title']}{note}"
            print(wrapped(line, "    "))
    if not every:
        _print_hidden(reasons)


def _print_hidden(reasons: dict[str, str | None]) -> None:
    by_reason: defaultdict[str, list[str]] = defaultdict(list)
    for name, why in reasons.items():
        if why is not None:
            by_reason[why].append(name)
    if by_reason:
        print("\nHidden:")
    for why, names in by_reason.items():
        print(wrapped(f"  {why}: {', '.join(names)}", "    "))


async def _find_out(app: App) -> tuple[Grant, str | None]:
    from waha_mcp.bridge import Bridge
    from waha_mcp.waha.errors import WahaError

    bridge = Bridge(app)
    async with bridge.waha:
        try:
            await bridge.key.identify()
            await bridge.key.probe()
        except WahaError as error:
            raise Failure(str(error)) from None
    if bridge.key.grant.problem:
        raise Failure(bridge.key.grant.problem)
    return bridge.key.grant, bridge.waha.session
