"""The index files of an App on the disk, for the console and for the commands that show or delete them."""

from __future__ import annotations

import sys
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from waha_mcp.history.index import Index
from waha_mcp.indexing import index_files, progress_of
from waha_mcp.store import StoreAway

_UNITS = ("B", "kB", "MB", "GB")


@dataclass(frozen=True)
class IndexFile:
    """The index of one account, as it lies there.

    `bytes`: with what SQLite keeps beside it and `damaged`, the files that were moved aside. `whole`: of how many of
    the chats all messages are there. `since`: the second from which on all are; None: no more are to be read.
    `filled`: whether a process fills it now. `problem`: why the rest is not known.
    """

    path: Path
    bytes: int
    damaged: list[Path]
    messages: int = 0
    chats: int = 0
    whole: int = 0
    since: int | None = None
    filled: bool = False
    problem: str | None = None

    @property
    def complete(self) -> bool:
        """Whether nothing is known to be missing."""
        return self.problem is None and 0 < self.chats == self.whole and self.since is None

    @property
    def size(self) -> str:
        """The size in words."""
        return in_units(self.bytes)

    @property
    def state(self) -> str:
        """What is in it, in words."""
        if self.problem is not None:
            return self.problem
        by = "; a process fills it now" if self.filled and not self.complete else ""
        return f"{contents(self.messages, self.chats, self.whole, self.since)}{by}"

    def as_dict(self) -> dict[str, Any]:
        """As a JSON object."""
        return {
            "path": str(self.path),
            "bytes": self.bytes,
            "messages": self.messages,
            "chats": self.chats,
            "whole_chats": self.whole,
            "complete": self.complete,
            "back_to": None if not self.since else datetime.fromtimestamp(self.since, UTC).isoformat(),
            "being_filled": self.filled,
            "damaged": list(map(str, self.damaged)),
            "problem": self.problem,
        }


def contents(messages: int, chats: int, whole: int, since: int | None) -> str:
    """How much is in an index, in words."""
    if not chats:
        return "no chats yet"
    if whole == chats and since is None:
        return f"{messages:,} messages of {chats:,} chats, complete"
    # Of a gap before which no message is known, there is no telling where it begins.
    back = f", back to {datetime.fromtimestamp(since, UTC).astimezone():%Y-%m-%d}" if since else ""
    return f"{messages:,} messages, {whole:,} of {chats:,} chats complete{back}"


def in_units(count: int) -> str:
    """A number of bytes in words, such as 12.3 MB."""
    value, at = float(count), 0
    while value >= 1000 and at < len(_UNITS) - 1:
        value, at = value / 1000, at + 1
    return f"{value:.1f} {_UNITS[at]}" if at else f"{count} B"


def files_of(app_id: str) -> list[IndexFile]:
    """The indexes of an App, one per account."""
    return [_look_at(path) for path in index_files(app_id)]


def _look_at(path: Path) -> IndexFile:
    with closing(Index(path)) as index:
        problem: str | None = None
        if path.exists():
            try:
                counts, progress, filled = index.counts(), progress_of(index), index.filled()
                return IndexFile(
                    path,
                    index.size(),
                    index.damaged(),
                    counts.messages,
                    progress.chats,
                    progress.whole,
                    progress.since,
                    filled,
                )
            except StoreAway as error:
                problem = str(error)
        return IndexFile(path, index.size(), index.damaged(), problem=problem or "it was damaged and moved aside")


def drop(app_id: str) -> list[Path]:
    """Delete the indexes of an App; which there were.

    Raises:
        OSError: one cannot be deleted.
    """
    found = index_files(app_id)
    for path in found:
        try:
            Index(path).delete()
        except OSError as error:
            why = "a program has it open: end it first" if sys.platform == "win32" else error.strerror
            raise OSError(error.errno, why, error.filename or str(path)) from None
    return found
