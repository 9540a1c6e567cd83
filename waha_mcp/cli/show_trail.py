"""`waha-mcp log`: the trail of an App."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, TextIO

import typer

from waha_mcp.app.definition import DEFAULT_ID, find_definition, id_of, read_definition
from waha_mcp.cli.common import Failure
from waha_mcp.policy.audit import trail_path


def log(
    app: Annotated[
        str | None,
        typer.Option(help="App definition: a file, or its id in the config folder.", show_default="default"),
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes.")] = False,
    last: Annotated[int, typer.Option(min=0, help="How many of the last lines; 0 is all.")] = 50,
) -> None:
    """Print what agents did through an App, one JSON line per call.

    Example: waha-mcp log --app assistant --follow
    """
    app_id = DEFAULT_ID
    if app is not None:
        file_path = find_definition(app)
        fields = read_definition(file_path)
        app_id = str(id_of(file_path, fields))
        if "id" not in fields and (earlier := trail_path(DEFAULT_ID)).exists():
            # Version 0.1.0 wrote the calls of every App without an id there.
            print(f"Calls of Apps without an id may also be in {earlier} (waha-mcp log)", file=sys.stderr)
    path = trail_path(app_id)
    if not path.exists() and not follow:
        raise Failure(f"App '{app_id}' has no trail yet ({path})", code=1)
    try:
        file = path.open(encoding="utf-8") if path.exists() else None
        if file is not None:
            lines = file.read().splitlines()
            print("\n".join(lines[-last:] if last else lines), flush=True)
        if follow:
            for line in _new_lines(path, file):
                print(line, end="", flush=True)
    except OSError as error:
        raise Failure(f"cannot read {path}: {error.strerror or error}", code=1) from None


def _new_lines(path: Path, file: TextIO | None) -> Iterator[str]:
    """Follow the file: yield the lines added to it, without end, also after a rotation."""
    while True:
        line = file.readline() if file is not None else ""
        if line:
            yield line
        elif path.exists() and (file is None or path.stat().st_ino != _inode(file)):
            if file is not None:
                file.close()
            file = path.open(encoding="utf-8")
        else:
            time.sleep(0.2)


def _inode(file: TextIO) -> int:
    return os.fstat(file.fileno()).st_ino
