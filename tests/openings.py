"""What servers answer at their opening, recorded by themselves, and whether it came from the prepared file."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.tables import ROOT

#: `waha-mcp` that records each line that it writes, in a file per process.
_PROGRAM = """\
import json, os, sys, time
import waha_mcp.__main__ as program
import waha_mcp.server.wire as wire
said = []
class Replies(wire.Replies):
    def reply(self, line):
        if (found := super().reply(line)) is not None:
            said.append(found[0])
        return found
class Wire(wire.Wire):
    def write(self, line, written):
        with open(os.path.join(NOTES, str(os.getpid())), "a", encoding="utf-8") as notes:
            sdk = not {"mcp", "mcp_types"}.isdisjoint(sys.modules)
            note = {"prepared": line in said, "sdk": sdk, "time": time.time(), "line": line.decode()}
            notes.write(json.dumps(note) + "\\n")
        super().write(line, written)
wire.Replies, wire.Wire, program.Wire = Replies, Wire, Wire
program.PATIENCE = PATIENCE or program.PATIENCE
program.main()
"""
#: The requests of an opening, by a member that only their results have.
_REQUESTS = {"supportedVersions": "server/discover", "protocolVersion": "initialize", "tools": "tools/list"}


@dataclass(frozen=True)
class Opening:
    """The opening of one process: the first result of each of its requests.

    `prepared`: whether all came from the prepared file; `before_sdk`: whether all were written before the SDK's import.
    """

    results: dict[str, dict[str, Any]] = field(repr=False)
    prepared: bool
    before_sdk: bool


def launcher(script: Path, notes: Path, patience: float = 0, compiled: bool = True) -> None:
    """Make `script` the `waha-mcp` of this checkout that records its openings in the folder `notes`.

    `patience`: seconds for which it imports no SDK, as long as its prepared opening is not answered. With `compiled`
    false nothing has bytecode.
    """
    notes.mkdir(exist_ok=True)
    program = script.with_suffix(".py")
    program.write_text(f"NOTES = {str(notes)!r}\nPATIENCE = {patience!r}\n{_PROGRAM}", encoding="utf-8")
    bytecode = "" if compiled else f'PYTHONDONTWRITEBYTECODE=1 PYTHONPYCACHEPREFIX="{notes / "none"}" '
    script.write_text(f'#!/bin/sh\n{bytecode}PYTHONPATH="{ROOT}" exec "{sys.executable}" "{program}" "$@"\n')
    script.chmod(0o755)


def noted(notes: Path) -> list[Opening]:
    """The openings in a folder, in the order in which the processes first wrote. Deletes the records."""
    found = []
    lines = {
        path: [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] for path in notes.iterdir()
    }
    for path, written in sorted(lines.items(), key=lambda item: item[1][0]["time"]):
        first: dict[str, dict[str, Any]] = {}
        for each in written:
            result = json.loads(each["line"] or "{}").get("result", {})
            if request := next((request for member, request in _REQUESTS.items() if member in result), None):
                first.setdefault(request, each | {"result": result})
        path.unlink()
        if first:
            results = {request: each["result"] for request, each in first.items()}
            prepared = all(each["prepared"] for each in first.values())
            found.append(Opening(results, prepared, not any(each["sdk"] for each in first.values())))
    return found
