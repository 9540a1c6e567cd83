"""The trail: one JSON line per call, plus one before an effect is sent, in a file that only the user can read.

A thread writes the lines of reads, so that no read waits. A line that cannot be written is reported and fails no
call.
"""

from __future__ import annotations

import json
import logging
import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from waha_mcp.log import redact_json
from waha_mcp.store.folders import state_dir
from waha_mcp.store.line_file import LineFile

logger = logging.getLogger(__name__)

#: Seconds without lines after which the writing thread ends.
LINGER = 2.0
#: Size of one file in bytes, and the number of older files kept.
MAX_BYTES, KEPT = 5 * 2**20, 5
#: The outcome in the line that is written before an effect is sent.
BEGUN = "begun"


def trail_path(app_id: str) -> Path:
    """The path of the App's trail. Creates its folder.

    Raises:
        OSError: the folder cannot be created.
    """
    return state_dir(app_id) / "trail.jsonl"


def trail_file(app_id: str) -> LineFile:
    """The App's trail, with its older files. Raises as `trail_path`."""
    return LineFile(trail_path(app_id), most=MAX_BYTES, kept=KEPT)


class Trail:
    """The trail of one App. Its writing thread exists only while there are lines. `secrets` are redacted."""

    def __init__(self, app_id: str, *secrets: SecretStr) -> None:
        self._app_id, self._secrets = app_id, secrets
        self._waiting: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        #: Held to start and end the thread.
        self._turn = threading.Lock()
        self._writer: threading.Thread | None = None
        self._file: LineFile | None = None
        self._reported = False

    def write(self, entry: dict[str, Any]) -> None:
        """Queue one line."""
        line = self._line(entry)
        with self._turn:
            self._waiting.put(line)
            if self._writer is None:
                self._writer = threading.Thread(target=self._drain, name="trail", daemon=True)
                self._writer.start()

    def write_now(self, entry: dict[str, Any]) -> None:
        """Write one line to the file. Blocks."""
        self._append(self._line(entry))

    def close(self) -> None:
        """Write the queued lines and end the thread."""
        with self._turn:
            writer, self._writer = self._writer, None
            if writer is not None:
                self._waiting.put(None)
        if writer is not None:
            writer.join()

    def _drain(self) -> None:
        while True:
            try:
                line = self._waiting.get(timeout=LINGER)
            except queue.Empty:
                with self._turn:
                    if self._waiting.empty():
                        self._writer = None
                        return
            else:
                if line is None:
                    return
                self._append(line)

    def _line(self, entry: dict[str, Any]) -> str:
        line, _ = redact_json(entry, *self._secrets)
        return line

    def _append(self, line: str) -> None:
        try:
            if self._file is None:
                self._file = trail_file(self._app_id)
            try:
                self._file.append(line)
            except FileNotFoundError:  # the folder was deleted
                self._file = trail_file(self._app_id)
                self._file.append(line)
            self._reported = False
        except OSError as error:
            if not self._reported:
                self._reported = True
                why = error.strerror or error
                logger.error("The trail of App '%s' cannot be written (%s); calls go on without it", self._app_id, why)


def joined(lines: Iterable[str], alive: Callable[[str], bool]) -> Iterator[str]:
    """The lines of a trail, newest first, merged into one per call.

    A line written before the effect was sent counts only if no outcome follows it. Its outcome is then
    `unknown`, unless the process that wrote it is `alive`.
    """
    ended: set[str] = set()
    for line in lines:
        entry = parsed(line)
        call = entry.get("call")
        if entry.get("outcome") != BEGUN:
            if isinstance(call, str):
                ended.add(call)
            yield line.rstrip()
        elif call not in ended:
            yield line.rstrip() if alive(str(entry.get("process"))) else never_ended(line)


def never_ended(line: str) -> str:
    """The line of an effect that began in a process which has died, with the outcome `unknown`."""
    return json.dumps(parsed(line) | {"outcome": "unknown"}, ensure_ascii=False, separators=(",", ":"))


def parsed(line: str) -> dict[str, Any]:
    """The object in a line; empty if the line is torn or holds no object."""
    try:
        entry = json.loads(line)
    except ValueError:
        return {}
    return entry if isinstance(entry, dict) else {}
