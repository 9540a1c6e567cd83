"""Makes results fit the App's budget.

Long texts are truncated with a mark; pages are shortened by whole items.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from pydantic import BaseModel

from waha_mcp.tools.paging import Page
from waha_mcp.waha.models import Result
from waha_mcp.whatsapp.untrusted import others_in

R = TypeVar("R", bound=Result)

#: Lengths in characters to which texts are truncated, tried in turn.
CUTS = (2_000, 500)
#: The last of these lengths, if not even one item of a page fits.
LAST_CUT = 150


def fit(result: R, budget: int, size: Callable[[Result], int]) -> R:
    """The result, shortened to `budget` by its `size` if possible; a page keeps at least one item."""
    if size(result) <= budget:
        return result
    for cut in CUTS:
        shorter: R = _cut(result, cut)
        if size(shorter) <= budget:
            return shorter
    if not isinstance(result, Page):
        last: R = _cut(result, LAST_CUT)
        return last
    for cut in (CUTS[0], LAST_CUT):
        page = _cut(result, cut)
        count = _fitting(page, budget, size)
        if count:
            break
    shortened: R = page.first(max(count, 1))
    return shortened


def _fitting(page: Page, budget: int, size: Callable[[Result], int]) -> int:
    """How many of the page's first items fit (binary search)."""
    low, high = 0, len(page.items())
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if size(page.first(middle)) <= budget else (low, middle - 1)
    return low


def _cut(value: Any, limit: int, *, cuttable: bool = False) -> Any:
    """A copy in which texts that others wrote are truncated to `limit` characters and a mark."""
    if isinstance(value, str):
        return (
            f"{value[:limit]}… [cut at character {limit} of {len(value)}]" if cuttable and len(value) > limit else value
        )
    if isinstance(value, list):
        return [_cut(each, limit, cuttable=cuttable) for each in value]
    if isinstance(value, BaseModel):
        changes = {
            name: _cut(getattr(value, name), limit, cuttable=name in others_in(type(value)))
            for name in type(value).model_fields
        }
        return value.model_copy(update=changes)
    return value
