"""Pages of the trails of several Apps."""

from __future__ import annotations

import json

from tests.console.page import add_line
from waha_mcp.policy.trail_search import PAGE, Wanted, page_of


def at(second: float) -> str:
    return f"2026-11-26T15:30:{second:06.3f}+00:00"


def test_no_line_is_lost_or_told_twice_from_page_to_page() -> None:
    """Also if several have the same time, or they are out of order."""
    for number in range(2 * PAGE + 7):
        add_line(time=at(number // 3 + (number % 2) / 10), call=f"c{number:03}")
    told: list[str] = []
    before: str | None = ""
    while before is not None:
        found = page_of(["assistant"], Wanted(), lambda process: True, before)
        assert len(found.lines) >= PAGE or found.older is None
        told += [json.loads(line)["call"] for _, line in found.lines]
        before = found.older
    assert told == [f"c{number:03}" for number in reversed(range(2 * PAGE + 7))]
