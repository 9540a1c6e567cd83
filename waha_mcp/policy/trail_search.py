"""Searches trails, newest line first: what the console shows and `waha-mcp log` prints."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from waha_mcp.policy.audit import joined, parsed, trail_file
from waha_mcp.store import Store, StoreAway
from waha_mcp.store.folders import app_ids

#: How calls end, in the words of the trail.
OUTCOMES = ("done", "refused", "waiting", "failed", "unknown", "broken off")
#: Lines of a page, and the most lines examined for one.
PAGE, MOST_READ = 50, 5_000


@dataclass(frozen=True)
class Wanted:
    """Which lines match; an empty field accepts all.

    `chat`: a part of a chat's id, or of its number as people write it. `tool`: a part of a tool's name. `outcome`: an
    outcome, or a part of a decision, such as `approved`.
    """

    chat: str = ""
    tool: str = ""
    outcome: str = ""

    def accepts(self, entry: Mapping[str, Any]) -> bool:
        """Whether the object of a line matches."""
        outcome = self.outcome.strip().casefold()
        return (
            self._is_about(entry.get("chats"))
            and self.tool.strip().casefold() in str(entry.get("tool", "")).casefold()
            and (
                entry.get("outcome") == outcome
                if outcome in OUTCOMES
                else outcome in str(entry.get("decision", "")).casefold()
            )
        )

    def _is_about(self, chats: Any) -> bool:
        wanted = self.chat.strip().casefold()
        number = "".join(char for char in wanted if char not in "+ -()./")
        if not wanted:
            return True
        return isinstance(chats, list) and any(
            wanted in str(chat).casefold() or (number.isdecimal() and number in str(chat)) for chat in chats
        )


@dataclass(frozen=True)
class Page:
    """Lines of one page, each with the id of its App. `older`: the `before` of the next page; None: there is none."""

    lines: list[tuple[str, str]]
    older: str | None


def alive_in(store: Store, process: str) -> bool:
    """Whether the process that wrote a line still runs; True if that cannot be determined. Blocks."""
    try:
        return store.alive(process)
    except StoreAway:
        return True


def page_of(apps: Iterable[str], wanted: Wanted, alive: Callable[[str], bool], before: str = "") -> Page:
    """A page of the matching lines of these Apps' trails together, newest first.

    It has `PAGE` lines (more only where several have the same time), or fewer if `MOST_READ` lines hold no more. Apps
    without a trail have none.

    Raises:
        OSError: a trail cannot be read.
    """
    kept = set(app_ids())
    trails = [_timed(app, alive) for app in apps if app in kept]
    found: list[tuple[str, str]] = []
    last = ""
    merged = heapq.merge(*trails, key=lambda each: each[0], reverse=True)
    lines = (each for each in merged if not before or each[0] < before)
    for read, (time, app, line, entry) in enumerate(lines):
        if (len(found) >= PAGE or read >= MOST_READ) and time < last:
            return Page(found, last)
        last = time
        if wanted.accepts(entry):
            found.append((app, line))
    return Page(found, None)


def last_of(app: str, wanted: Wanted, alive: Callable[[str], bool], number: int | None) -> list[str]:
    """The last matching lines of an App's trail, oldest first; None: all. Raises as `page_of`."""
    lines = (line for line in joined(trail_file(app).backwards(), alive) if wanted.accepts(parsed(line)))
    return [*islice(lines, number)][::-1]


def _timed(app: str, alive: Callable[[str], bool]) -> Iterator[tuple[str, str, str, dict[str, Any]]]:
    """The lines of a trail, newest first: time, App, line and its object.

    The times never rise: a line out of order counts as the one before.
    """
    time = "~"
    for line in joined(trail_file(app).backwards(), alive):
        entry = parsed(line)
        time = min(time, str(entry.get("time") or "~"))
        yield time, app, line, entry
