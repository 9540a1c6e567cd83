"""The view of what agents can do: whom each App reaches, how much of its limits is used, and which tools it has.

Here a person pauses and resumes an App, and closes task grants, as `waha-mcp pause`, `resume` and `grant --end` do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from waha_mcp.app.definition import DEFAULT_ID, App, AppError
from waha_mcp.console.looking import Look, looked_at
from waha_mcp.console.pages import rendered
from waha_mcp.console.sight import Sight
from waha_mcp.console.view import Fields, NotDone, View
from waha_mcp.policy import kill_switch, task_grants
from waha_mcp.policy.in_words import reach_of
from waha_mcp.policy.kill_switch import Pause
from waha_mcp.policy.pace import Used, used
from waha_mcp.policy.task_grants import TaskGrant
from waha_mcp.store import Store, in_thread
from waha_mcp.tools.catalog import CATALOG, Tool, why_hidden
from waha_mcp.tools.toolsets import load_tools

#: What a form says in place of an App's id where it means all of them: one that says nothing means none.
_ALL = "*"


class Bar(NamedTuple):
    """How much of one limit is used. `used` None: not known."""

    who: str
    used: int | None
    most: int
    period: str


@dataclass(frozen=True)
class Shown:
    """What is shown of one App. `why`: why the rest is not known, of an App without a definition that can be used."""

    id: str
    pause: Pause | None
    grants: Sequence[TaskGrant]
    why: str | None = None
    reach: Sequence[tuple[str, str]] = ()
    bars: Sequence[Bar] = ()
    #: Why WAHA could not be asked.
    problem: str | None = None
    tools: Sequence[Tool] | None = None
    #: Names of tools by why they are hidden.
    hidden: Mapping[str, Sequence[str]] | None = None

    @property
    def paused(self) -> bool:
        """Whether it is paused by itself, whatever holds for all Apps."""
        return self.pause is not None and self.pause.app_id is not None


async def _render(sight: Sight, query: Fields) -> str:
    return await in_thread(rendered_apps, sight, await looked_at(sight))


def rendered_apps(sight: Sight, looks: Mapping[str, tuple[App, Look] | str]) -> str:
    """The fragment. `looks`: of each App it and what WAHA says of it; or why it cannot be used. Blocks."""
    load_tools()
    with sight.opened() as store:
        apps = [_shown(sight, store, app_id, found) for app_id, found in looks.items()]
        everything = kill_switch.paused(store, "")
    return rendered("reach.html", apps=apps, everything=everything, only=sight.only, all=_ALL)


def _shown(sight: Sight, store: Store, app_id: str, found: tuple[App, Look] | str) -> Shown:
    pause, grants = kill_switch.paused(store, app_id), task_grants.in_force(store, app_id)
    if isinstance(found, str):
        return Shown(app_id, pause, grants, why=found)
    app, look = found
    bars = [_bar(row, look, named=sight.only is None) for row in used(app.pace, store, look.account)]
    shown = Shown(app_id, pause, grants, reach=reach_of(app, look.grant), bars=bars, problem=look.problem)
    if look.grant is None:
        return shown
    tools, hidden = list[Tool](), dict[str, list[str]]()
    for tool in CATALOG.values():
        if (why := why_hidden(tool, app, look.grant)) is None:
            tools.append(tool)
        else:
            hidden.setdefault(why, []).append(tool.name)
    return replace(shown, tools=tools, hidden=hidden)


def _bar(row: Used, look: Look, *, named: bool) -> Bar:
    """`named`: whether it is said which chat it is. Others of the account's Apps may have written there."""
    who = row.what
    if row.chat is not None:
        who = f"to {look.who(row.chat)}" if named else "to the chat that is nearest to a limit"
    return Bar(who, row.used, row.rate.amount, row.rate.period)


async def _pause(sight: Sight, form: Fields) -> str:
    return await in_thread(_switch, sight, form.get("app", ""), "pause")


async def _resume(sight: Sight, form: Fields) -> str:
    return await in_thread(_switch, sight, form.get("app", ""), "resume")


def _switch(sight: Sight, app_id: str, command: Literal["pause", "resume"]) -> str:
    """Pause or resume an App, or all where `app_id` is `_ALL`; what is said of it."""
    of = None if app_id == _ALL else app_id
    if not (sight.only is None if of is None else of in sight.app_ids()):
        raise NotDone("There is no such App.")
    who = f"App {of}" if of else "All Apps"
    with sight.opened() as store:
        changed = kill_switch.pause(store, of)[1] if command == "pause" else kill_switch.resume(store, of)
        still = kill_switch.paused(store, of) if of and command == "resume" else None
    if changed:
        concerned = [of] if of else sight.app_ids() or [DEFAULT_ID]
        kill_switch.note(command, of, [each for each in concerned if _keeps_trail(sight, each)], "the console")
    if still is not None:
        raise NotDone("All Apps are paused, and so this one is.")
    return f"{who}: paused. Reading goes on." if command == "pause" else f"{who}: resumed."


async def _close(sight: Sight, form: Fields) -> str:
    return await in_thread(_end_grant, sight, form.get("app", ""), form.get("chat", ""))


def _end_grant(sight: Sight, app_id: str, chat: str) -> str:
    if app_id not in sight.app_ids():
        raise NotDone("There is no such App.")
    with sight.opened() as store:
        ended = task_grants.end(store, app_id, lambda each: each.chat == chat)
    if not ended:
        raise NotDone("That one is no longer open.")
    if _keeps_trail(sight, app_id):
        task_grants.note("ended", ended, "the console")
    return "Closed: the next message there is asked about again."


def _keeps_trail(sight: Sight, app_id: str) -> bool:
    try:
        app = sight.app(app_id)
    except AppError:
        return True
    return app is None or app.audit != "off"


REACH = View("reach", "What agents can do", _render, {"pause": _pause, "resume": _resume, "close": _close})
