"""Makes results fit the App's budget, and converts them to JSON with the fields that other people wrote.

Long texts are truncated with a mark; pages are shortened by whole items.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeVar

from pydantic import BaseModel

from waha_mcp.tools.catalog import OTHERS_FIELD, REACHED_FIELD
from waha_mcp.tools.paging import Page
from waha_mcp.waha.models import Result
from waha_mcp.whatsapp.untrusted import others_in

R = TypeVar("R", bound=Result)

#: Lengths in characters to which texts are truncated, tried in turn.
CUTS = (2_000, 500)
#: Characters reserved for the list of fields that others wrote.
MARK = 160
#: The last of these lengths, if not even one item of a page fits.
LAST_CUT = 150


def fit(result: R, budget: int) -> R:
    """The result, shortened to `budget` characters of JSON if possible; a page keeps at least one item."""
    if _size(result) <= budget:
        return result
    for cut in CUTS:
        shorter: R = _cut(result, cut)
        if _size(shorter) <= budget:
            return shorter
    if not isinstance(result, Page):
        last: R = _cut(result, LAST_CUT)
        return last
    for cut in (CUTS[0], LAST_CUT):
        page = _cut(result, cut)
        count = _fitting(page, budget)
        if count:
            break
    shortened: R = page.first(max(count, 1))
    return shortened


def _fitting(page: Page, budget: int) -> int:
    """How many of the page's first items fit (binary search)."""
    low, high = 0, len(page.items())
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if _size(page.first(middle)) <= budget else (low, middle - 1)
    return low


def _size(result: Result) -> int:
    """Upper estimate of the result's length as JSON, in characters."""
    return len(result.model_dump_json(exclude_none=True)) + MARK


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


def as_json(result: Result) -> dict[str, Any]:
    """The result as JSON, without None values; with `reached` and `written_by_others` if not empty."""
    data: dict[str, Any] = result.model_dump(mode="json", exclude_none=True)
    fields = set(_present(result))
    if result.reached:
        data[REACHED_FIELD] = [each.words for each in result.reached]
        fields |= {REACHED_FIELD} if any(each.chosen for each in result.reached) else set()
    return {**data, OTHERS_FIELD: sorted(fields)} if fields else data


def _present(value: Any) -> Iterator[str]:
    if isinstance(value, list):
        for each in value:
            yield from _present(each)
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            found = getattr(value, name)
            if found is not None and name in others_in(type(value)):
                yield name
            yield from _present(found)
