"""From a tool's result to the answer that is sent: worded, within the App's budget, with references for long ids."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from waha_mcp.tools.budget import fit
from waha_mcp.tools.presenting import Unshortened, View, present, unshortened_in, with_references
from waha_mcp.tools.references import References
from waha_mcp.waha.marks import ReferenceKind
from waha_mcp.waha.models import Attachment, Result

#: Placeholder for a reference that does not exist yet: of the same length.
_LATER = "c000000000"


@dataclass(frozen=True)
class Answer:
    """The answer to a call."""

    data: dict[str, Any]
    attachments: tuple[Attachment, ...]


async def answer_from(result: Result, view: Callable[[], View], references: References, budget: int) -> Answer:
    """The answer of at most `budget` characters, if possible. `view` makes a new view of the same kind each time."""
    known: dict[tuple[ReferenceKind, str], str] = {}

    def short(each: Unshortened) -> str:
        return known.get((each.kind, str(each)), _LATER)

    async def shortened(result: Result) -> dict[str, Any]:
        data = present(result, view())
        known.update(await references.shorten((each.kind, str(each)) for each in unshortened_in(data)))
        shorter: dict[str, Any] = with_references(data, short)
        return shorter

    data = await shortened(result)
    if _length(data) > budget:
        fitting = fit(result, budget, lambda result: _length(with_references(present(result, view()), short)))
        data = await shortened(fitting)
    return Answer(data, result.attachments)


def _length(data: dict[str, Any]) -> int:
    return len(json.dumps(data, ensure_ascii=False, separators=(",", ":")))
