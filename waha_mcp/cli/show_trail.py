"""`waha-mcp log`: the trail of an App."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from waha_mcp.app.definition import DEFAULT_ID
from waha_mcp.cli.common import Failure, as_typed, chosen, known_app
from waha_mcp.cli.terminal import visible
from waha_mcp.policy.audit import BEGUN, never_ended, parsed, trail_path
from waha_mcp.policy.trail_search import Wanted, alive_in, last_of
from waha_mcp.store.folders import app_ids, user_store


def log(
    app: Annotated[
        str | None, typer.Option(help="The App: its id, or its file.", show_default="the only one there")
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Keep printing new lines.")] = False,
    last: Annotated[int, typer.Option(min=0, help="How many of the last lines; 0 is all.")] = 50,
    chat: Annotated[str, typer.Option(help="Only calls about this chat: part of its id or number, no name.")] = "",
    tool: Annotated[str, typer.Option(help="Only tools with this in their name.")] = "",
    outcome: Annotated[str, typer.Option(help="Only with this outcome or decision, such as refused.")] = "",
) -> None:
    """Print what agents did through an App, a line of JSON per call.

    Example: waha-mcp log --app assistant --outcome refused --follow
    """
    source = chosen(app) or os.environ.get("WAHA_MCP_APP")
    app_id = known_app(source) if source else DEFAULT_ID
    without_id = DEFAULT_ID in app_ids()
    if source is None and not without_id and not os.environ.get("WAHA_API_KEY"):
        raise Failure("there is no App yet, and so no trail: make one with `waha-mcp init`", code=1)
    path, wanted = trail_path(app_id), Wanted(chat, tool, outcome)
    if app_id != DEFAULT_ID and without_id and (earlier := trail_path(DEFAULT_ID)).exists():
        # Those without a definition, and those of version 0.1.0 without an id.
        print(
            as_typed(f"Calls of Apps without an id are in {earlier} (waha-mcp log --app {DEFAULT_ID})"), file=sys.stderr
        )
    if not path.exists() and not follow:
        raise Failure(f"App '{app_id}' has no trail yet ({path})", code=1)
    with closing(user_store()) as store:
        try:
            end = path.stat() if path.exists() else None
            found = False
            for line in last_of(app_id, wanted, partial(alive_in, store), last or None):
                print(visible(line), flush=True)
                found = True
            if not found and wanted != Wanted():
                names = "; a trail holds numbers and ids of chats, no names" if chat else ""
                print(f"Nothing in the trail of App '{app_id}' matches{names}.", file=sys.stderr)
            if follow:
                for line in _ended(path, end, partial(alive_in, store)):
                    if wanted.accepts(parsed(line)):
                        print(visible(line), flush=True)
        except OSError as error:
            raise Failure(f"cannot read {path}: {error.strerror or error}", code=1) from None


def _ended(path: Path, end: os.stat_result | None, alive: Callable[[str], bool]) -> Iterator[str]:
    """What is added to the file after `end`, without end: the line of each call once it or its process has ended."""
    begun: dict[str, str] = {}
    for line in _new_lines(path, end):
        entry = parsed(line) if line else {}
        call = str(entry.get("call"))
        if entry.get("outcome") == BEGUN:
            begun[call] = line
        elif line:
            begun.pop(call, None)
            yield line.rstrip()
        else:
            dead = [call for call, each in begun.items() if not alive(str(parsed(each).get("process")))]
            yield from (never_ended(begun.pop(each)) for each in dead)


def _new_lines(path: Path, end: os.stat_result | None) -> Iterator[str]:
    """The lines added to the file after `end`, without end, also after a rotation; "" once there are none for now."""
    file = None
    if end is not None:
        file = path.open(encoding="utf-8", errors="replace", newline="\n")
        if os.fstat(file.fileno()).st_ino == end.st_ino:
            file.seek(end.st_size)
    while True:
        # Looked up before reading: what is not read then is in no file that has been moved away.
        moved = path.exists() and (file is None or path.stat().st_ino != os.fstat(file.fileno()).st_ino)
        line = file.readline() if file is not None else ""
        if line.endswith("\n"):
            yield line
        elif moved:
            if file is not None:
                file.close()
            file = path.open(encoding="utf-8", errors="replace", newline="\n")
        else:
            if file is not None and line:
                file.seek(file.tell() - len(line.encode(errors="replace")))
            yield ""
            time.sleep(0.2)
