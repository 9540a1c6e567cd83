"""`waha-mcp index ...`: fills, shows and deletes the local index of messages."""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import anyio
import typer

from waha_mcp.app.actions import Action
from waha_mcp.app.definition import App, load_app, readable_definitions
from waha_mcp.cli.common import AppOption, Failure, as_typed, chosen, known_app, say
from waha_mcp.cli.dialog import interactive
from waha_mcp.concurrency import stop_signals
from waha_mcp.console.index_files import IndexFile, contents, drop, files_of
from waha_mcp.history.index_file import NoTrigrams
from waha_mcp.log import configure_logging, hide
from waha_mcp.store import StoreAway, in_thread
from waha_mcp.store.folders import app_ids

if TYPE_CHECKING:
    from waha_mcp.bridge import Bridge
    from waha_mcp.indexing import Indexing

index = typer.Typer(help="Build, show and delete the local index of messages.", no_args_is_help=True)

#: Seconds between two checks of the progress, and between two lines if stdout is no terminal.
TICK, LINE = 0.25, 10.0
#: Seconds for which WAHA may be away, or another process hold the file, before a build gives up.
PATIENCE = 20.0
#: The characters of a bar.
BAR = 10
#: Most chats named that could not be read.
NAMED = 10

_AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_OneApp = Annotated[str | None, typer.Option("--app", help="The App: its id, or its file.", show_default=False)]


@index.command()
def build(app: AppOption = None, as_json: _AsJson = False) -> None:
    """Fill an App's index now, as fast as WAHA answers.

    A server with the App does so by itself, slower. Ctrl-C stops it: the next build, or a server, continues there.

    Example: waha-mcp index build --app assistant
    """
    configure_logging("error")
    loaded = load_app(chosen(app))
    for secret in loaded.secrets():
        hide(secret)
    if not loaded.index:
        raise Failure(f"the index of App '{loaded.id}' is off: {_to_switch_on(loaded.id)}, then build it")
    run = _Build(loaded, quiet=as_json)
    with contextlib.suppress(KeyboardInterrupt):  # how Ctrl-C arrives on Windows
        anyio.run(run.work)
    run.tell(as_json)


@index.command()
def status(app: _OneApp = None, as_json: _AsJson = False) -> None:
    """Show where each App's index is, and how far it is filled.

    Example: waha-mcp index status --json
    """
    only = None if app is None else known_app(app)
    found = {app_id: (fields, files_of(app_id)) for app_id, fields in _apps(only).items()}
    if as_json:
        rows = [
            {"app": app_id, **_settings(fields), "files": [each.as_dict() for each in files]}
            for app_id, (fields, files) in found.items()
        ]
        print(json.dumps(rows, ensure_ascii=False, indent=2))
        return
    concerned = {
        app_id: (fields, files)
        for app_id, (fields, files) in found.items()
        if only or files or _settings(fields)["index"]
    }
    if not concerned:
        print("No App has an index: index = true in its file starts one.")
    for app_id, (fields, files) in concerned.items():
        _show(app_id, _settings(fields), files)


@index.command(name="drop")
def drop_index(
    app: _OneApp = None, yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False
) -> None:
    """Delete an App's index, for all its accounts.

    Example: waha-mcp index drop --app assistant
    """
    app_id = known_app(app) if app is not None else _only_one()
    files = [] if app_id is None else files_of(app_id)
    if app_id is None or not files:
        print("There is no index.")
        return
    size = sum(each.messages for each in files)
    if interactive() and not yes and not typer.confirm(f"Delete the index of App '{app_id}' ({size:,} messages)?"):
        raise Failure("nothing was deleted", code=1)
    for path in drop(app_id):
        print(f"{path} is deleted.")
    if _settings(_apps(app_id)[app_id])["index"]:
        say("It is built again as soon as a server runs with the App, if that has index = true.")


def _apps(only: str | None) -> dict[str, Mapping[str, Any]]:
    """The Apps that are defined or have state, and the fields of their definitions; with `only`, that one."""
    found: dict[str, Mapping[str, Any]] = {each: fields for each, _, fields in readable_definitions()}
    for app_id in (*app_ids(), *([only] if only else ())):
        found.setdefault(app_id, {})
    return {app_id: found[app_id] for app_id in sorted(found) if only in (None, app_id)}


def _settings(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "index": fields.get("index") is True,
        "retention": fields.get("retention"),
        "index_chats": fields.get("index_chats", ["*"]),
    }


def _only_one() -> str | None:
    """The only App that has an index; None: none has."""
    found = [app_id for app_id in _apps(None) if files_of(app_id)]
    if len(found) > 1:
        raise Failure(f"several Apps have an index: choose one of {', '.join(found)} with --app {found[0]}")
    return found[0] if found else None


def _to_switch_on(app_id: str) -> str:
    """What has to be done so that an App has an index."""
    path = next((path for each, path, _ in readable_definitions() if each == app_id), None)
    return f"set index = true in {path or 'its file'}"


def _show(app_id: str, settings: Mapping[str, Any], files: list[IndexFile]) -> None:
    limits = [f"messages of the last {settings['retention'][:-1]} days"] if settings["retention"] else []
    if settings["index_chats"] != ["*"]:
        limits.append(f"chats: {', '.join(map(str, settings['index_chats']))}")
    on = f"on{' (' + '; '.join(limits) + ')' if limits else ''}" if settings["index"] else "off"
    say(f"{app_id}: {on}")
    for each in files:
        say(f"  {each.path}, {each.size}")
        say(f"  {each.state}")
        for damaged in each.damaged:
            say(f"  damaged and unusable: {damaged}")
    if not files:
        say("  nothing is indexed yet")
    elif not settings["index"]:
        say(f"  nothing keeps it up to date: waha-mcp index drop --app {app_id}, or {_to_switch_on(app_id)}")


@dataclass
class _Build:
    """One run of `build`."""

    app: App
    quiet: bool
    began: float = field(default_factory=time.monotonic)
    #: The final state.
    path: Path | None = None
    messages: int = 0
    chats: int = 0
    whole: int = 0
    since: int | None = None
    unread: dict[str, str] = field(default_factory=dict)
    unlisted: str | None = None
    by_another: bool = False
    done: bool = False
    failed: Exception | None = None

    async def work(self) -> None:
        """Fill the index until it is done, fails or is to stop."""
        from waha_mcp.bridge import Bridge

        async def fill(bridge: Bridge) -> None:
            try:
                await self._fill(bridge)
            except Exception as error:
                self.failed = error
            tasks.cancel_scope.cancel()

        with stop_signals() as stopped:
            async with Bridge(self.app, paced=False) as bridge, anyio.create_task_group() as tasks:
                tasks.start_soon(fill, bridge)
                await stopped()
                tasks.cancel_scope.cancel()

    async def _fill(self, bridge: Bridge) -> None:
        from waha_mcp.waha.errors import WahaError

        try:
            await bridge.key.confirm()
        except WahaError as error:
            raise Failure(str(error), code=1) from None
        grant = bridge.key.grant
        if bridge.key.withdrawn(Action.READ):
            gone = await in_thread(drop, self.app.id)
            deleted = " Its index was deleted" if gone else ""
            raise Failure(f"no message can be read with this key: {grant.why_not(Action.READ)}.{deleted}", code=1)
        if Action.READ not in grant.actions:
            raise Failure(f"WAHA does not say whether the key may read: {grant.why_not(Action.READ)}", code=1)
        waiting = time.monotonic()
        with _Shown(self.quiet) as shown:
            while not self.done:
                # The bridge makes it once it knows the key.
                if (indexing := bridge.indexing) is not None:
                    if indexing.state not in ("off", "waiting"):
                        waiting = time.monotonic()
                    passing = isinstance(indexing.error, WahaError | StoreAway) and not isinstance(
                        indexing.error, NoTrigrams
                    )
                    patient = passing and time.monotonic() - waiting < PATIENCE
                    if indexing.error is not None and not patient:
                        raise Failure(f"the index cannot be filled: {indexing.error}", code=1)
                    if indexing.state == "deleted":
                        raise Failure("the key may no longer read, so its index was deleted", code=1)
                    with contextlib.suppress(StoreAway):  # it is told as the reason why it waits
                        if indexing.state in ("filling", "current", "follows"):
                            await self._note(indexing)
                    shown.show(self, indexing.why)
                if not self.done:
                    await anyio.sleep(TICK)

    async def _note(self, indexing: Indexing) -> None:
        current, follows, index = indexing.state == "current", indexing.state == "follows", indexing.index
        progress = await indexing.progress()
        if index is None or progress is None:
            return
        self.path, self.chats, self.whole, self.since = index.path, *progress
        self.messages = (await in_thread(index.counts)).messages
        self.unread, self.unlisted, self.by_another = dict(indexing.unread), indexing.unlisted, follows
        complete = follows and progress.since is None and bool(await in_thread(index.noted, "whole"))
        self.done = current or complete

    @property
    def summary(self) -> str:
        """The progress, in words."""
        return contents(self.messages, self.chats, self.whole, self.since)

    def tell(self, as_json: bool) -> None:
        """Print the result.

        Raises:
            Failure: it failed, or not everything could be read.
        """
        if self.failed is not None:
            raise self.failed
        seconds = time.monotonic() - self.began
        complete = self.done and self.since is None and self.unlisted is None
        if as_json:
            answer = {
                "app": self.app.id,
                "path": None if self.path is None else str(self.path),
                "messages": self.messages,
                "chats": self.chats,
                "whole_chats": self.whole,
                "complete": complete,
                "seconds": round(seconds, 1),
                "by_another_process": self.by_another,
                "not_listed": self.unlisted,
                "not_read": self.unread,
            }
            print(json.dumps(answer, ensure_ascii=False, indent=2))
        elif self.done:
            print(f"{self.summary}, after {seconds:.1f} s: {self.path}")
        if not self.done:
            if not as_json:
                say(f"Stopped: {self.summary}. The next build, or a server with the App, goes on there.")
            raise typer.Exit(130)
        if not as_json:
            self._tell_what_lacks()
        if not complete:
            raise Failure("not everything could be read: the next build, or a server with the App, tries again", code=1)

    def _tell_what_lacks(self) -> None:
        if self.unlisted is not None:
            say(f"Not all chats could be listed: {self.unlisted}.")
        for chat, why in list(self.unread.items())[:NAMED]:
            say(f"Not read, {chat}: {why}.")
        if len(self.unread) > NAMED:
            print(f"Nor {len(self.unread) - NAMED} more.")


class _Shown:
    """The progress: a bar on a terminal, else a line now and then."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self._bar = sys.stdout.isatty() and not quiet
        self._share = 0.0
        self._last, self._when = "", time.monotonic()

    def __enter__(self) -> _Shown:
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._bar:
            self._write("")
            self._write("", end="\r")

    def show(self, build: _Build, why: str | None) -> None:
        if self._quiet:
            return
        text = f"waiting: {why}" if why else build.summary
        if build.by_another:
            text += "; another process fills it"
        if self._bar:
            # New chats make the share smaller; a bar only grows.
            self._share = max(self._share, build.whole / max(build.chats, 1))
            self._write(f"[{'#' * int(BAR * self._share):-<{BAR}}] {int(100 * self._share)} %  {as_typed(text)}")
        elif text != self._last and time.monotonic() - self._when >= LINE:
            say(text)
            sys.stdout.flush()
            self._last, self._when = text, time.monotonic()

    def _write(self, line: str, end: str = "") -> None:
        """Replace the last line."""
        columns = shutil.get_terminal_size().columns - 1
        print(f"\r{line[:columns]:<{columns}}", end=end, flush=True)
