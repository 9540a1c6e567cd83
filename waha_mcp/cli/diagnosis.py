"""Checks everything between an agent and WhatsApp, and yields a finding with a fix for each part.

Nothing is changed (except that a damaged index or store is moved aside, as at any opening) and no message is read:
the requests are the probes of the key, and one for a single chat, whose content is discarded.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import AsyncIterator, Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import SecretStr

from waha_mcp.app import keys
from waha_mcp.app.actions import Action, Evidence, Grant
from waha_mcp.app.definition import (
    App,
    AppError,
    Disabled,
    NotFilledIn,
    find_definition,
    load_app,
    managed_id,
    read_definition,
    shared_ids,
)
from waha_mcp.bridge import Bridge
from waha_mcp.cli.common import deleting, typed
from waha_mcp.cli.remote_server import ask
from waha_mcp.console.index_files import files_of
from waha_mcp.console.looking import client_in_words
from waha_mcp.feed.live import in_words
from waha_mcp.files import read_by_others
from waha_mcp.history.index_file import no_trigrams
from waha_mcp.hosts.installation import HostError, entries_of
from waha_mcp.hosts.launch import app_of, command_of, environment_of, key_of, url_of
from waha_mcp.hosts.table import HOSTS, Host
from waha_mcp.indexing import index_files, index_path
from waha_mcp.people.filling import FilledTable
from waha_mcp.people.persons import People
from waha_mcp.places import definitions
from waha_mcp.policy.in_words import asked_before
from waha_mcp.policy.kill_switch import paused
from waha_mcp.policy.recipients import Recipients
from waha_mcp.steps import for_person
from waha_mcp.store import StoreAway, in_thread
from waha_mcp.store.attendance import present
from waha_mcp.store.folders import user_store
from waha_mcp.tools.catalog import exposed
from waha_mcp.waha.client import Waha
from waha_mcp.waha.errors import (
    BadAnswer,
    NotFound,
    Refused,
    Unauthorized,
    UnknownOperation,
    Unreachable,
    WahaError,
    other_session,
    session_step,
)
from waha_mcp.waha.key_probe import examine
from waha_mcp.waha.parsing import chat_id_of, listing, mapping_of, text_of
from waha_mcp.waha.versions import SCOPED_KEYS, older
from waha_mcp.whatsapp.ids import phone_of

#: The greatest clock difference in seconds.
SKEW = 60.0


@dataclass(frozen=True)
class Finding:
    """One line of the report. `about`: the part checked; `says`: the result; `fix`: what to do if it is not ok."""

    state: Literal["ok", "warning", "problem"]
    about: str
    says: str
    fix: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "says", for_person(self.says))

    def as_dict(self) -> dict[str, str]:
        """The finding as a JSON object."""
        return {k: v for k, v in asdict(self).items() if v is not None}


async def look(source: str | None) -> AsyncIterator[Finding]:
    """Check one App in order of dependency; ends at a problem that prevents further checks.

    `source`: as for `load_app`; None: the environment alone.
    """
    try:
        app = load_app(source)
        Bridge(app)  # knows the names of toolsets and tools
    except AppError as error:
        yield Finding("problem", "App", str(error), _corrected(error, source))
        return
    yield Finding("ok", "App", f"'{app.id}' from {find_definition(source) if source else 'the environment'}")
    for finding in (*_files(app, source), *_index(app, _Made.of(source))):
        yield finding
    async with Waha(app.url, app.key, app.session, ca_file=app.ca_file) as waha:
        async for finding in _waha(app, waha, _Made.of(source)):
            yield finding
    for finding in await in_thread(_in_store, app):
        yield finding


def _corrected(error: AppError, source: str | None) -> str:
    """What to do about a definition that cannot be used."""
    if isinstance(error, NotFilledIn):
        return "set the variable for the program that starts waha-mcp, or let `waha-mcp install` rewrite its entry"
    if source is None:
        return "make an App with `waha-mcp init`, or correct the environment's WAHA_ variables"
    if not _found(source):
        return "make an App with `waha-mcp init`, or name one that is there with --app"
    made = _Made.of(source)
    if isinstance(error, Disabled):
        return f"`waha-mcp apps enable {made.id}`" if made.id else f"set enabled = true in {made.path}"
    return f"correct {made.path}, or make an App with `waha-mcp init`"


@dataclass(frozen=True)
class _Made:
    """How an App is changed.

    `id`: that of `waha-mcp`'s commands, None where they do not know it; `path`: its file, None where there is none.
    """

    id: str | None
    path: Path | None

    @classmethod
    def of(cls, source: str | None) -> _Made:
        path = find_definition(source) if source else None
        return cls(managed_id(path), path)

    def field(self, name: str, value: str) -> str:
        """Where a field is set. The environment comes before the file."""
        variable = f"WAHA_{name.upper()}"
        if self.path is None or os.environ.get(variable):
            return f"{variable}={value} where waha-mcp is started"
        return f'{name} = "{value}" in {self.path}'

    @property
    def again(self) -> str:
        """Makes a new key for the App."""
        return f"`waha-mcp init --id {self.id}`" if self.id else "`waha-mcp init`"

    def give(self, actions: Collection[Action]) -> str:
        """Gives the App and its key just these actions."""
        names = ",".join(action for action in Action if action in actions)
        return (
            f"`waha-mcp apps update {self.id} --actions {names}`" if self.id else f"give the key just {names} in WAHA"
        )

    def bad_key(self, problem: str) -> Finding:
        enable = f"`waha-mcp apps enable {self.id}` if it was disabled; else " if self.id and "401" in problem else ""
        return Finding("problem", "key", problem, f"{enable}{self.again} makes a scoped key")


def _files(app: App, source: str | None) -> Iterator[Finding]:
    if source:
        path = find_definition(source)
        fields = read_definition(path)
        opened = keys.open_to_others(fields.get("key"), path)
        if opened:
            says = f"other users of this machine can read {opened}"
            yield Finding("warning", "key file", says, typed(["chmod", "600", str(opened)]))
    if app.outbox is not None and not app.outbox.is_dir():
        yield Finding(
            "warning", "outbox", f"{app.outbox} is not a folder: no local file can be sent", "make the folder"
        )


def _index(app: App, made: _Made) -> Iterator[Finding]:
    """Check the local index, and whether messages are kept that should not be."""
    files = files_of(app.id)
    drop = f"`waha-mcp index drop --app {app.id}`"
    if not app.index:
        if files:
            paths = " and ".join(str(each.path) for each in files)
            says = f"the App has none, and {paths} holds messages that nothing keeps up to date or deletes"
            keep = f", or index = true in {made.path}" if made.path else ""
            yield Finding("warning", "index", says, f"{drop}{keep}")
        return
    if why := no_trigrams():
        yield Finding("problem", "index", why, "run waha-mcp with another Python, such as that of uv")
        return
    for each in files:
        state: Literal["ok", "problem"] = "ok" if each.problem is None else "problem"
        fix = None if each.problem is None else f"try again; if it persists, {drop}: it is then built again"
        yield Finding(state, "index", f"{each.path}, {each.size}: {each.state}", fix)
        for damaged in each.damaged:
            says = f"{damaged} is damaged and unusable, and holds messages"
            yield Finding("warning", "index", says, deleting(damaged))
    if not files:
        yield Finding("ok", "index", "nothing is indexed yet; a server with the App begins, or `waha-mcp index build`")


def _left_indexes(app: App, account: str | None) -> Iterator[Finding]:
    """Find indexes of other accounts than the one that is paired."""
    number = None if account is None else phone_of(account)
    if number is None or not app.index:
        return
    for path in index_files(app.id):
        if path != index_path(app.id, number):
            says = f"{path} holds the messages of another account, which was paired before"
            yield Finding("warning", "index", says, f"{deleting(path)}, unless that account comes back")


def _in_store(app: App) -> list[Finding]:
    """Whether the App is paused, the current clients of its servers, and how these hear of events."""
    try:
        with contextlib.closing(user_store()) as store:
            pause, found = paused(store, app.id), present(store, app.id)
    except StoreAway as error:
        return [Finding("problem", "clients", f"not known: {error}", "check the store")]
    findings = []
    if pause is not None:
        says = f"{pause.whose}, since {pause.began}: agents may read and do nothing else"
        findings.append(Finding("warning", "pause", says, f"`{pause.resume}`"))
    if not found:
        findings.append(Finding("ok", "clients", "none is connected now"))
    for each in found:
        clients = "; ".join(map(client_in_words, each.clients)) or "none"
        findings.append(Finding("ok", "clients", f"{clients} (it hears: {in_words(each.feed, each.why)})"))
    return findings


async def _waha(app: App, waha: Waha, made: _Made) -> AsyncIterator[Finding]:
    async for finding in _server(app, waha, made):
        yield finding
        if finding.state == "problem":
            return
    try:
        sessions = listing(await waha.call("GET /api/sessions", query={"all": True}, bound=False), "sessions")
        grant = await examine(app)
    except WahaError as error:
        yield Finding("problem", "key", str(error), "try again; if it persists, look at WAHA's log")
        return
    states = {text_of(row.get("name")): text_of(row.get("status")) or "?" for row in sessions}
    waha.session = waha.session or next(iter(states), None)
    if app.session is not None and app.session not in states:
        # A key of another session is refused everything, so check the session before the actions.
        seen = [str(name) for name in states]
        fix = f"set {made.field('session', seen[0])}, or make a key for '{app.session}' with {made.again}"
        fix = fix if seen else f"make a key for a session that WAHA has with {made.again}"
        yield Finding("problem", "session", other_session(app.session, seen), fix)
        return
    if grant.problem:
        yield made.bad_key(grant.problem)
        return
    for finding in _actions(app, grant, made):
        yield finding
    here = next((row for row in sessions if text_of(row.get("name")) == waha.session), {})
    for finding in _left_indexes(app, chat_id_of(mapping_of(here.get("me")).get("id"))):
        yield finding
    async for finding in _session(waha, states[waha.session], grant):
        yield finding
        if finding.state == "problem":
            return
    async for finding in _recipients(app, waha, grant):
        yield finding


async def _server(app: App, waha: Waha, made: _Made) -> AsyncIterator[Finding]:
    """Check that the server is reachable, is WAHA, is new enough, and that its clock agrees."""
    try:
        version = mapping_of(await waha.call("GET /api/server/version", bound=False))
        before = time.time()
        clock = mapping_of(await waha.call("GET /api/server/status", bound=False))
    except Unreachable as error:
        yield Finding("problem", "WAHA", error.what, for_person(error.step or "try again"))
        return
    except Unauthorized:
        yield made.bad_key("WAHA does not know this key, or it was disabled (401)")
        return
    except (NotFound, UnknownOperation) as error:
        yield Finding("problem", "WAHA", str(error), f"correct the App's url: WAHA's API is not at {app.url}")
        return
    except BadAnswer as error:
        what, _, step = str(error).rstrip(".").partition(": ask the user to ")
        yield Finding("problem", "WAHA", what, step or "look at WAHA's log, and at what stands in front of WAHA")
        return
    except WahaError as error:
        yield Finding("problem", "WAHA", str(error), "look at WAHA's log")
        return
    number, engine = text_of(version.get("version")) or "?", text_of(version.get("engine")) or "?"
    if older(number, SCOPED_KEYS):
        says = f"WAHA {number} has no scoped keys, so nothing limits what the agent's key may do"
        yield Finding("problem", "WAHA", says, f"update WAHA to {SCOPED_KEYS} or newer")
        return
    yield Finding("ok", "WAHA", f"{number} at {app.url}, engine {engine}")
    start, uptime = clock.get("startTimestamp"), clock.get("uptime")
    if isinstance(start, int | float) and isinstance(uptime, int | float):
        skew = (start + uptime) / 1000 - (before + time.time()) / 2
        if abs(skew) > SKEW:
            says = f"WAHA's clock is {abs(skew):.0f} s {'ahead' if skew > 0 else 'behind'}: times of messages mislead"
            yield Finding("warning", "clock", says, "synchronize both machines' clocks (NTP)")
        else:
            yield Finding("ok", "clock", "agrees with WAHA's")


def _actions(app: App, grant: Grant, made: _Made) -> Iterator[Finding]:
    """Compare the key's actions with the App's."""
    found = [action for action in Action if grant.evidence[action] is Evidence.PROBED]
    refused = [action for action in Action if grant.evidence[action] is Evidence.REFUSED]
    wanted = app.actions if app.actions is not None else frozenset(found) & {Action.READ, Action.SEND}
    yield Finding("ok", "key", f"a scoped key that allows {', '.join(found) or 'neither read, send nor app'}")
    if lacking := [action for action in refused if action in wanted]:
        says = f"the App names {', '.join(lacking)}, which WAHA refuses to its key"
        yield Finding("problem", "actions", says, f"{made.give(wanted)}, or leave them out of the App")
    elif beyond := [action for action in found if action not in wanted]:
        says = f"the key also allows {', '.join(beyond)}, which the App does not use"
        yield Finding("warning", "actions", says, made.give(wanted))
    else:
        yield Finding("ok", "actions", f"the App has {', '.join(a for a in Action if a in wanted) or 'none'}")
    if not wanted:
        yield Finding("warning", "tools", "without read and send the agent sees only get_status", "grant an action")
        return
    offered = len(exposed(app, Grant.initial(wanted)))
    yield Finding("ok", "tools", f"{offered} are offered; `waha-mcp tools` lists them")


async def _session(waha: Waha, state: str, grant: Grant) -> AsyncIterator[Finding]:
    """Check the session's state, and whether it has chats to read."""
    name = str(waha.session)
    if state != "WORKING":
        yield Finding("problem", "session", session_step(name, state), _SESSION_FIXES.get(state, _RESTART))
        return
    yield Finding("ok", "session", f"'{name}' is WORKING")
    if grant.evidence[Action.READ] is not Evidence.PROBED:
        return
    try:
        await waha.call("GET /api/{session}/chats", query={"limit": 1}, unread=True)
    except Refused as error:
        says, fix = str(error), "set noweb.store.enabled = true in the session's config and restart it, or use GOWS"
        yield Finding("problem" if "store" in says else "warning", "store", says, fix)
    except WahaError as error:
        yield Finding("warning", "store", f"chats cannot be read: {error}", "look at WAHA's log")
    else:
        yield Finding("ok", "store", "chats can be read")


_RESTART = "restart the session in WAHA's dashboard"
_SESSION_FIXES = {
    "SCAN_QR_CODE": "`waha-mcp init` shows the QR code in the terminal; so does WAHA's dashboard",
    "STOPPED": "start the session in WAHA's dashboard",
    "STARTING": "wait a few seconds and look again",
}


async def _recipients(app: App, waha: Waha, grant: Grant) -> AsyncIterator[Finding]:
    """Check that all names on the App's lists resolve."""
    recipients = Recipients(app.chats, People(FilledTable(waha)))
    try:
        await recipients.prepare(can_read=grant.evidence[Action.READ] is Evidence.PROBED)
    except WahaError as error:
        yield Finding("warning", "recipients", f"the lists under [chats] cannot be checked: {error}", "try again")
        return
    if unknown := recipients.unresolved():
        yield Finding("problem", "recipients", unknown, "write their numbers or chat ids under [chats] instead")
    else:
        asked = "; ".join(asked_before(app))
        yield Finding("ok", "recipients", f"{recipients.summary()}{asked and f'; asks you before: {asked}'}")


def look_at_definitions() -> Iterator[Finding]:
    """Find ids and keys that several of the user's definitions share."""
    for app_id, paths in shared_ids().items():
        says = f"{' and '.join(map(str, paths))} have one id, '{app_id}', and so one trail and one set of questions"
        yield Finding("problem", "App ids", says, "give each an id of its own (id = ...)")
    users: dict[tuple[str, SecretStr], list[str]] = {}
    for path in definitions():
        with contextlib.suppress(AppError):
            app = load_app(str(path))
            users.setdefault((app.url, app.key), []).append(app.id)
    for apps in users.values():
        if len(apps) > 1:
            says = f"the Apps {' and '.join(map(repr, apps))} have one key: disabling it stops them all"
            yield Finding("warning", "keys", says, "make a key for each with `waha-mcp init`")


async def look_at_hosts() -> AsyncIterator[Finding]:
    """Check our entries in the configuration of each host on this machine, and the servers that they reach."""
    for host in HOSTS.values():
        try:
            entries = entries_of(host)
        except HostError as error:
            yield Finding("warning", host.title, str(error), f"correct {host.file()}")
            continue
        for name, entry in entries.items():
            url = url_of(entry)
            yield _entry(host, name, entry) if url is None else await _remote_entry(host, name, entry, url)


async def _remote_entry(host: Host, name: str, entry: Mapping[str, Any], url: str) -> Finding:
    where = f"the entry '{name}' in {host.file()}"
    for command in command_of(entry)[:1]:
        if shutil.which(command) is None:
            return Finding("problem", host.title, f"{where} needs {command!r}, which was not found", "install Node.js")
    variable, key = key_of(entry)
    if variable:
        key = os.environ.get(variable, "").strip() or None
    answer = await ask(url, key)
    if key is not None and answer.what == "refused":
        step = f"give {variable} the App's key" if variable else f"`waha-mcp install {host.name} --url {url}`"
        return Finding("problem", host.title, f"{where}: {answer.says}", f"{step}, or {answer.step}")
    if answer.what == "other" and (key is not None or variable is None):
        return Finding("problem", host.title, f"{where}: {answer.says}", answer.step or "start the server there")
    if variable is None and key and read_by_others(host.file()):
        fix = f"`{typed(['chmod', '600', str(host.file())])}`"
        return Finding("warning", host.title, f"{where} holds the key, and other users may read the file", fix)
    if variable and key is None:
        says = f"{where} takes the key from {variable}, which is not set here: {url} was not tried with it"
        return Finding("ok", host.title, says)
    return Finding("ok", host.title, f"{where}: {answer.says}")


def _entry(host: Host, name: str, entry: Mapping[str, Any]) -> Finding:
    source = app_of(entry)
    app = ["--app", source] if source is not None and _found(source) else []
    again = f"`{typed(['waha-mcp', 'install', host.name, '--name', name, *app])}` rewrites it"
    where = f"the entry '{name}' in {host.file()}"
    command = command_of(entry)[0]
    if shutil.which(command) is None:
        return Finding("problem", host.title, f"{where} launches {command!r}, which was not found", again)
    if source is not None and not _found(source):
        return Finding("problem", host.title, f"{where} names the App {source}, which was not found", again)
    key = environment_of(entry).get("WAHA_API_KEY")
    if isinstance(key, str) and key and not any(mark in key for mark in ("$", "{env:")):
        return Finding(
            "warning", host.title, f"{where} holds the key itself", f"`waha-mcp init` keeps it apart, then {again}"
        )
    if not os.path.isabs(command):
        says = f"{where} launches {command!r} by name, which {host.title} may not find on its own PATH"
        return Finding("warning", host.title, says, again)
    return Finding("ok", host.title, f"{where} can be launched")


def _found(source: str) -> bool:
    try:
        return find_definition(source).is_file()
    except AppError:
        return False
