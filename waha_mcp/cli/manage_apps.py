"""`waha-mcp apps ...`: lists and changes MCP Apps, here and on WAHA."""

from __future__ import annotations

import json
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import anyio
import typer

from waha_mcp.app.actions import Action
from waha_mcp.app.definition import (
    DEFAULT_URL,
    App,
    AppError,
    expanded,
    id_of,
    load_app,
    read_definition,
    readable_definitions,
    shared_ids,
)
from waha_mcp.app.urls import parse
from waha_mcp.cli.admin import AdminKeyFile, admin_key, run
from waha_mcp.cli.common import Failure, say, typed
from waha_mcp.cli.dialog import interactive
from waha_mcp.cli.profiles import parse_actions
from waha_mcp.cli.terminal import visible
from waha_mcp.places import config_dir, definitions, definitions_in
from waha_mcp.steps import did_you_mean, for_person
from waha_mcp.store import StoreAway
from waha_mcp.store.folders import user_store

if TYPE_CHECKING:
    from collections.abc import Mapping

    from waha_mcp.cli.setup import Plan
    from waha_mcp.waha.admin_api import Minted

apps = typer.Typer(help="List, show, change and remove MCP Apps, here and on WAHA.", no_args_is_help=True)


def _app_ids() -> list[str]:
    return [path.stem for path in definitions()]


AppId = Annotated[str, typer.Argument(help="Id of the App.", show_default=False, autocompletion=_app_ids)]
HereOnly = Annotated[bool, typer.Option("--here", help="Change only the definition here; do not contact WAHA.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Folder = Annotated[
    Path | None,
    typer.Option("--apps", metavar="DIR", help="Folder of the definitions.", show_default="the config folder"),
]


@apps.command("list")
def list_apps(
    on_waha: Annotated[bool, typer.Option("--waha", help="Also those only on WAHA; needs the admin key.")] = False,
    url: Annotated[str | None, typer.Option(help="WAHA's URL, for --waha.", show_default="the Apps' own")] = None,
    admin_key_file: AdminKeyFile = None,
    as_json: AsJson = False,
) -> None:
    """List the Apps; with --waha also those that only WAHA knows.

    Example: waha-mcp apps list --waha
    """
    if url is not None and not on_waha:
        raise Failure("--url: only with --waha")
    rows = [_row(path) for path in definitions()]
    if on_waha:
        key = admin_key(admin_key_file)
        here = {row["id"] for row in rows}
        for each in [url] if url else sorted({row["url"] for row in rows if "url" in row}) or [DEFAULT_URL]:
            rows += [_waha_row(each, app) for app in run(_on_waha, each, key) if app.id not in here]
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    if not rows:
        say(f"No Apps in {config_dir()}: make one with waha-mcp init")
    for row in rows:
        what = row.get("problem") or f"session {row['session'] or 'found out'} on {row['url']}: {row['actions']}"
        note = "" if row.get("enabled", True) else " (disabled)"
        print(f"{row['id']:<20} {what}{note}{' [only on WAHA]' if row.get('here') is False else ''}")


@apps.command()
def show(app: AppId, as_json: AsJson = False) -> None:
    """Show an App: what its key really may do, which clients launch it.

    Example: waha-mcp apps show assistant
    """
    path = _definition(app)
    row = _row(path)
    if "problem" in row:
        raise Failure(row["problem"])
    row["file"] = str(path)
    row["key"] = _key_place(read_definition(path).get("key"))
    row["allowed"] = _allowed(path)
    row["clients"] = _clients(path)
    if as_json:
        print(json.dumps(row, indent=2))
        return
    for name in ("id", "file", "url", "session", "actions", "enabled", "key", "allowed", "clients"):
        value = row[name]
        print(f"{name:<9} {', '.join(value) or 'none' if isinstance(value, list) else value}")


@apps.command()
def update(
    app: AppId,
    actions: Annotated[str, typer.Option(help="Actions from now on, such as read,send.", show_default=False)],
    admin_key_file: AdminKeyFile = None,
) -> None:
    """Change what an App may do. The key stays the same; clients notice at their next call.

    Example: waha-mcp apps update assistant --actions read
    """
    plan = _plan(_definition(app), actions=parse_actions(actions))
    _save(plan, admin_key_file)
    print(f"App '{app}' now has {', '.join(plan.fields()['actions'])}; WAHA confirms it.")


@apps.command()
def disable(app: AppId, admin_key_file: AdminKeyFile = None, here: HereOnly = False) -> None:
    """Switch an App off: its key stops working at once.

    waha-mcp no longer starts with it, either. Programs that were connected by OAuth have to be connected again.

    Example: waha-mcp apps disable assistant
    """
    _switch(app, admin_key_file, here, enabled=False)


@apps.command()
def enable(app: AppId, admin_key_file: AdminKeyFile = None, here: HereOnly = False) -> None:
    """Switch an App on again.

    Example: waha-mcp apps enable assistant
    """
    _switch(app, admin_key_file, here, enabled=True)


@apps.command()
def rotate(app: AppId, admin_key_file: AdminKeyFile = None, as_json: AsJson = False) -> None:
    """Give an App a new key; the old one stops working at once.

    It is stored in the place of the old one.

    Example: waha-mcp apps rotate assistant
    """
    from waha_mcp.cli.rotation import Place, rotate, shared_with
    from waha_mcp.waha.admin_api import Admin

    path = _definition(app)
    plan, place = _plan(path), Place.of(path)
    if not plan.enabled:
        raise Failure(f"App '{app}' is disabled, so no key of it works: waha-mcp apps enable {app}")
    key, old = admin_key(admin_key_file), place.read()
    if key == old:
        raise Failure(f"App '{app}' has WAHA's admin key, which WAHA's environment sets: run waha-mcp init --id {app}")
    others, clients = shared_with(place), _clients(path)

    async def work() -> Path | None:
        async with Admin(plan.app(key)) as admin:
            await admin.check()
            return await rotate(admin, plan, place)

    file = run(work)
    if file is not None:
        raise Failure(
            f"the key of App '{app}' comes from the variable {place.variable}, which only you can change: set it "
            f"to the new key in {file}, which works; then delete the old one, which still works, in WAHA (App or key "
            f"{plan.id}), and the file",
            code=1,
        )
    where = _key_place(read_definition(path).get("key"))
    if as_json:
        print(
            json.dumps({"id": app, "key": where, "old": "gone", "clients": clients, "had_the_same": others}, indent=2)
        )
        return
    print(f"App '{app}' has a new key, {where}; the old one no longer works.")
    print(f"What runs with the old one must be restarted{': ' + ', '.join(clients) if clients else ''}.")
    if others:
        print(f"Apps that had the same key have no working key now: {', '.join(others)}")


@apps.command()
def remove(
    app: AppId,
    admin_key_file: AdminKeyFile = None,
    here: HereOnly = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Remove an App, here and on WAHA, with its key.

    Its index of messages and its OAuth connections are removed, too; the trail stays.

    Example: waha-mcp apps remove assistant --yes
    """
    from waha_mcp.cli.setup import current_key, forget
    from waha_mcp.console.index_files import drop
    from waha_mcp.hosts.installation import entries_launching

    path = _definition(app)
    if interactive() and not yes and not typer.confirm(f"Remove App '{app}' and its key?"):
        raise Failure("nothing was changed", code=1)
    if not here:
        plan, key = _plan(path), current_key(path)
        found = run(_remove, plan, admin_key(admin_key_file), key)
        print(f"WAHA {'removed its app and key' if found else 'had no such app or key'}.")
    entries = entries_launching(path)
    app_id = _id_of(path)
    if app_id is not None:
        _cut_off(app_id)
    forget(path)
    print(f"{path} is gone.")
    if app_id is not None and (gone := drop(app_id)):
        print(f"So is its index of messages, {', '.join(map(str, gone))}.")
    if entries:
        print("Clients that still launch it, and what takes their entries out:")
    for host, name in entries:
        say(f"  {host.title:<16} waha-mcp uninstall {host.name} --name {typed([name])}")


@apps.command()
def code(
    app: AppId,
    console: Annotated[bool, typer.Option("--console", help="A code for the server's console instead.")] = False,
    folder: Folder = None,
    as_json: AsJson = False,
) -> None:
    """Print a one-time code that connects a program by OAuth.

    You type it into the page that a program such as claude.ai opens, within ten minutes; it is for this App only. A new
    code replaces the last one. With --console it lets a person approve the calls of the App's agents, at /console of
    the server.

    Example: waha-mcp apps code assistant
    """
    from waha_mcp.policy.one_time_codes import LIFETIME, issue

    # The key is not needed, and may be only where the server runs.
    app_id = load_app(str(_definition(app, folder)), overrides={"key": "unused"}, alone=True).id
    try:
        with closing(user_store()) as store:
            found = issue(store, "console" if console else "oauth", app_id)
    except StoreAway as error:
        raise Failure(str(error), code=1) from None
    if as_json:
        print(json.dumps({"app": app_id, "code": found, "seconds": LIFETIME}))
        return
    where = "at /console of the server" if console else "in the page that the program opened"
    gives = (
        f"approve what agents of App '{app_id}' ask for" if console else f"have a program of theirs use App '{app_id}'"
    )
    print(f"{found}\n\nIt is valid once, for {LIFETIME / 60:.0f} minutes, {where}.")
    print(f"Whoever types it there can {gives}: give it to nobody else.")


@apps.command()
def oauth(
    app: AppId,
    end: Annotated[bool, typer.Option("--end", help="Disconnect all at once. The App and its key stay.")] = False,
    folder: Folder = None,
    as_json: AsJson = False,
) -> None:
    """List the programs connected by OAuth, or disconnect them.

    Example: waha-mcp apps oauth assistant
    """
    from waha_mcp.server.oauth_state import grants

    path = _definition(app, folder)
    app_id = str(id_of(path, read_definition(path)))
    if end:
        ended = _disconnect(app_id)
        print(json.dumps({"ended": ended}) if as_json else _ended(ended) or f"Nothing is connected to App '{app_id}'.")
        return
    try:
        with closing(user_store()) as store:
            found = grants(store, app_id)
    except StoreAway as error:
        raise Failure(str(error), code=1) from None
    rows = [
        {"name": each.name, "client": each.client, "since": _time(each.created), "renewed": _time(each.renewed)}
        for each in found
    ]
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    if not rows:
        print(f"Nothing is connected to App '{app_id}'.")
    for row in rows:
        print(visible(f"{row['name'] or '(no name)'}: since {row['since']}, renewed {row['renewed']}"))


def _disconnect(app_id: str) -> int:
    """End what is connected to the App by OAuth; how many programs."""
    from waha_mcp.server.oauth_state import end_grants

    try:
        with closing(user_store()) as store:
            return end_grants(store, app_id)
    except StoreAway as error:
        raise Failure(f"{error} What is connected to App '{app_id}' by OAuth was not ended", code=1) from None


def _ended(number: int) -> str:
    """The text on programs that were disconnected; empty if there are none."""
    programs = "1 program that was" if number == 1 else f"{number} programs that were"
    return f"{programs} connected by OAuth can no longer use it." if number else ""


def _cut_off(app_id: str) -> None:
    """End what is connected to the App by OAuth and its task grants, and log everybody out of its console."""
    from waha_mcp.console.login import end_logins
    from waha_mcp.policy import task_grants

    if ended := _ended(_disconnect(app_id)):
        print(ended)
    try:
        with closing(user_store()) as store:
            task_grants.end(store, app_id)
            end_logins(store, app_id)
    except StoreAway as error:
        raise Failure(
            f"{error} Task grants of App '{app_id}' and who is logged in at its console are still there", code=1
        ) from None


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).astimezone().isoformat(" ", "minutes")


def _id_of(path: Path) -> str | None:
    """The id under which an App keeps its state; None if it cannot be determined, or another App has the same."""
    try:
        app_id = str(id_of(path, read_definition(path)))
    except AppError:
        return None
    return None if app_id in shared_ids() else app_id


def _switch(app: str, admin_key_file: Path | None, here: bool, *, enabled: bool) -> None:
    from waha_mcp.cli.setup import write_definition

    path = _definition(app)
    if here:
        write_definition(path, {"enabled": enabled})
    else:
        _save(_plan(path, enabled=enabled), admin_key_file)
    print(f"App '{app}' is {'enabled' if enabled else 'disabled'}{' here' if here else ''}.")
    if not enabled and (app_id := _id_of(path)) is not None:
        _cut_off(app_id)


def _save(plan: Plan, admin_key_file: Path | None) -> None:
    from waha_mcp.cli.setup import make
    from waha_mcp.waha.admin_api import Admin

    key = admin_key(admin_key_file)

    async def save() -> None:
        async with Admin(plan.app(key)) as admin:
            await admin.check()
            await make(admin, plan, config_dir())

    run(save)


async def _remove(plan: Plan, key: Any, old_key: str | None) -> bool:
    from waha_mcp.waha.admin_api import Admin

    async with Admin(plan.app(key)) as admin:
        await admin.check()
        return await admin.remove(plan.id, plan.session, old_key)


def _app_at(url: str, key: Any) -> App:
    """An App for this WAHA, which is reached as the definitions for it say: with their certificates."""
    way: dict[str, Any] = {}
    for _, path, fields in readable_definitions():
        if _shown(fields.get("url", DEFAULT_URL)) == _shown(url):
            way |= _way(path, fields)
    return load_app(overrides={"url": url, "key": key} | way, environ={})


def _way(path: Path, fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a definition that say how WAHA is reached, with the file of certificates as an absolute path."""
    way = {name: fields[name] for name in ("ca_file", "allow_insecure_http") if name in fields}
    if isinstance(file := way.get("ca_file"), str):
        way["ca_file"] = str(path.parent / expanded(file))
    return way


async def _on_waha(url: str, key: Any) -> list[Minted]:
    from waha_mcp.waha.admin_api import Admin

    async with Admin(_app_at(url, key)) as admin:
        await admin.check()
        return await admin.all_apps()


def _definition(app: str, folder: Path | None = None) -> Path:
    """The file of the definition with this id in a folder (None: the config folder)."""
    found = definitions() if folder is None else definitions_in(folder)
    path = next((each for each in found if each.stem == app), None)
    if path is None:
        known = [each.stem for each in found]
        there = ", ".join(known) or "none"
        raise AppError(f"no App '{app}' in {folder or config_dir()} (available: {there}){did_you_mean(app, known)}")
    return path


def _plan(path: Path, *, actions: frozenset[Action] | None = None, enabled: bool | None = None) -> Plan:
    """A Plan of the App as defined, with changes."""
    from waha_mcp.cli.setup import Plan

    if path.suffix != ".toml":
        raise Failure(f"{path} is WAHA's own JSON: change the app in WAHA's dashboard")
    fields = read_definition(path)
    # Only the file counts, not the environment; the key is not needed.
    app = load_app(str(path), overrides={"key": "unused", "enabled": True}, environ={})
    if app.session is None or (actions is None and app.actions is None):
        raise Failure(f"{path} names no session or no actions: run waha-mcp init --id {path.stem}")
    return Plan(
        path.stem,
        app.url,
        app.session,
        actions if actions is not None else app.actions or frozenset(),
        fields.get("enabled", True) if enabled is None else enabled,
        _way(path, fields),
    )


def _row(path: Path) -> dict[str, Any]:
    try:
        fields = read_definition(path)
        actions = fields.get("actions")
        names = [a for a in Action if a in actions] if isinstance(actions, list | frozenset) else None
        if isinstance(actions, dict):
            names = [a for a in Action if actions.get(a)]
    except AppError as error:
        return {"id": path.stem, "problem": for_person(str(error))}
    return {
        "id": path.stem,
        "url": _shown(fields.get("url", DEFAULT_URL)),
        "session": fields.get("session"),
        "actions": ", ".join(names) if names is not None else "found out",
        "enabled": fields.get("enabled", True),
    }


def _shown(url: object) -> str:
    """A definition's URL without a user name and password, which do not belong there."""
    try:
        return parse(str(url), drop_credentials=True).href.rstrip("/")
    except ValueError:
        return "a URL that is none"


def _waha_row(url: str, app: Minted) -> dict[str, Any]:
    return {
        "id": app.id,
        "url": url,
        "session": app.session,
        "actions": ", ".join(a for a in Action if a in app.actions),
        "enabled": app.enabled,
        "here": False,
    }


def _key_place(key: Any) -> str:
    match key:
        case {"keyring": str()}:
            return "in the operating system's keyring"
        case {"file": str(name)}:
            return f"in the file {name}"
        case {"env": str(name)}:
            return f"from the variable {name}"
        case str():
            return "in the definition itself"
    return "from the variable WAHA_API_KEY"


def _allowed(path: Path) -> str:
    """What the key may do according to WAHA, in a few words."""
    from waha_mcp.app.actions import Evidence
    from waha_mcp.waha.errors import WahaError
    from waha_mcp.waha.key_probe import examine

    try:
        grant = anyio.run(examine, load_app(str(path)))
    except (AppError, WahaError) as error:
        return f"not known: {for_person(str(error))}"
    if grant.problem:
        return f"nothing: {for_person(grant.problem)}"
    found = [action for action in Action if grant.evidence[action] is Evidence.PROBED]
    return f"{', '.join(found) or 'nothing'} (asked just now; control, setting and delete cannot be asked for)"


def _clients(path: Path) -> list[str]:
    """Names of the hosts whose configuration launches this definition."""
    from waha_mcp.hosts.installation import entries_launching

    return list(dict.fromkeys(host.title for host, _ in entries_launching(path)))
