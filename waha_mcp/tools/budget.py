"""Keeping every result within the App's budget: long texts are cut with a mark, lists stop at whole items."""

from __future__ import annotations

from functools import cache
from typing import Any, TypeVar

from pydantic import BaseModel

from waha_mcp.tools.paging import Page
from waha_mcp.waha.models import Result
from waha_mcp.waha.untrusted import Others

R = TypeVar("R", bound=Result)

#: Characters that texts are cut to, one after the other, until the result fits.
CUTS = (2_000, 500)
#: And at last, when not even one item of a list fits.
LAST_CUT = 150


def fit(result: R, budget: int) -> R:
    """The result, made to fit `budget` characters of JSON."""
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
    """How many of the first items fit."""
    low, high = 0, len(page.items())
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if _size(page.first(middle)) <= budget else (low, middle - 1)
    return low


def _size(result: Result) -> int:
    return len(result.model_dump_json(exclude_none=True))


def _cut(value: Any, limit: int, *, cuttable: bool = False) -> Any:
    """A copy in which no text that others wrote is longer than `limit`."""
    if isinstance(value, str):
        return (
            f"{value[:limit]}… [cut at character {limit} of {len(value)}]" if cuttable and len(value) > limit else value
        )
    if isinstance(value, list):
        return [_cut(each, limit, cuttable=cuttable) for each in value]
    if isinstance(value, BaseModel):
        changes = {
            name: _cut(getattr(value, name), limit, cuttable=name in _others(type(value)))
            for name in type(value).model_fields
        }
        return value.model_copy(update=changes)
    return value


@cache
def _others(model: type[BaseModel]) -> frozenset[str]:
    """The fields of a model that hold what other people wrote."""
    return frozenset(name for name, field in model.model_fields.items() if written_by_others(field))


def written_by_others(field: Any) -> bool:
    """Whether a field, or a list or union that it is, carries the mark `Others`."""
    marks = [*getattr(field, "metadata", ()), *getattr(field, "__metadata__", ())]
    inner = [getattr(field, "annotation", None), *getattr(field, "__args__", ())]
    return any(isinstance(mark, Others) for mark in marks) or any(
        written_by_others(each) for each in inner if each is not None and not isinstance(each, str)
    )
