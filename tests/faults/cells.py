"""One cell of the table: what a call said, what WAHA did, what the same call said again, and the rules for them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

#: What a call said. "nothing": its client had cancelled it. The next four refuse a repeat.
Said = Literal[
    "done",
    "not sent",
    "refused by WAHA",
    "unknown",
    "nothing",
    "repeat: done",
    "repeat: found",
    "repeat: not known",
    "repeat: under way",
    "other",
]
Look = Literal["found", "not found", "not a message"]
LOOKS: tuple[Look, ...] = ("found", "not found", "not a message")

_REPEATS: dict[str, Said] = {
    r"^The same was done ": "repeat: done",
    r"^It did go out ": "repeat: found",
    r"^The same was asked for .* unknown": "repeat: not known",
    r"^The same has been under way": "repeat: under way",
}
_UNKNOWN = re.compile(r"outcome is unknown")
_DENIED = re.compile(r"\bnot sent\b|[Nn]othing was (?:done|sent)|\b[Tt]ry (?:it )?again\b")
_REFUSED = re.compile(r"^WAHA (?:does not let|refused|could not do that)|^Session '[^']+' (?:is|has|runs)")


def class_of(text: str, *, is_error: bool) -> Said:
    """The class of an answer, by its words alone. One that both denies the effect and leaves it open is "other"."""
    if not is_error:
        return "done"
    for pattern, said in _REPEATS.items():
        if re.search(pattern, text):
            return said
    unknown, denied = _UNKNOWN.search(text), _DENIED.search(text)
    if unknown:
        return "other" if denied else "unknown"
    if "not sent" in text:
        return "not sent"
    return "refused by WAHA" if _REFUSED.search(text) else "other"


@dataclass(frozen=True)
class Cell:
    """One tool under one fault with one answer to look-ups, and then the same call without the fault.

    Effects are the requests that WAHA carried out, by its own log. For an idempotent tool, several count as one.
    """

    tool: str
    fault: str
    look: Look
    #: Whether the tool is idempotent.
    idempotent: bool
    said: Said
    said_again: Said
    #: The first call's effects when it was answered, and when WAHA had finished.
    at_once: int
    first: int
    #: The effects of both calls in the end.
    total: int
    #: Whether a byte of the first call's request may have been sent.
    left: bool
    #: Whether the account agrees with the log.
    account_agrees: bool = True
    #: Whether the fault hit the request, WAHA did what it does under it, and there were look-ups where there had to be.
    hit: bool = True
    text: str = ""
    text_again: str = ""

    @property
    def words(self) -> str:
        """The cell in the table."""
        return f"{_WORDS[self.said]}, {self.first} → {_WORDS[self.said_again]}, {self.total}"


_WORDS: dict[Said, str] = {
    "done": "done",
    "not sent": "not sent",
    "refused by WAHA": "refused by WAHA",
    "unknown": "unknown",
    "nothing": "(cancelled)",
    "repeat: done": "refused (was done)",
    "repeat: found": "refused (found)",
    "repeat: not known": "refused (not known)",
    "repeat: under way": "refused (under way)",
    "other": "OTHER",
}


def broken(cell: Cell) -> list[str]:
    """The rules that a cell breaks."""
    denied = cell.said in ("not sent", "refused by WAHA")
    # A cancelled call says nothing, so the second one has to know what the first may have done.
    open_ = cell.said == "unknown" or (cell.said == "nothing" and cell.left)
    undone = denied or (cell.said == "nothing" and not cell.left)
    rules = {
        "the fault did not hit": not cell.hit,
        "the account does not show what the log says": not cell.account_agrees,
        "what was said is in no class": cell.said not in ("done", "not sent", "refused by WAHA", "unknown", "nothing"),
        "more than one effect": cell.total > 1,
        "said to be done where WAHA has it not": cell.said == "done" and cell.at_once < 1,
        "denied where WAHA did it": undone and cell.first > 0,
        "not to be done after it was denied": undone and (cell.said_again != "done" or cell.total != 1),
        "done again although the outcome was open": open_ and not cell.idempotent and cell.said_again == "done",
        "the repeat is not told that the outcome is not known": (
            open_ and not cell.idempotent and cell.said_again not in ("repeat: not known", "repeat: found")
        ),
        "said to be found where WAHA has it not": cell.said_again == "repeat: found" and cell.first < 1,
        "the repeat is not told that it was done": (
            cell.said == "done" and not cell.idempotent and cell.said_again != "repeat: done"
        ),
        "an idempotent call may not be repeated": cell.idempotent and cell.said_again != "done",
        "a repeat that was said to be done has no effect": cell.said_again == "done" and cell.total < 1,
    }
    return [rule for rule, is_broken in rules.items() if is_broken]


def rows(cells: Iterable[Cell]) -> list[str]:
    """The rows of a Markdown table: tools with the same outcomes share one; faults in the cells' order."""
    found: dict[str, dict[str, dict[Look, str]]] = {}
    for cell in cells:
        found.setdefault(cell.fault, {}).setdefault(cell.tool, {})[cell.look] = cell.words
    lines = []
    for fault, tools in found.items():
        sharing: dict[tuple[str, ...], list[str]] = {}
        for tool, words in tools.items():
            sharing.setdefault(tuple(words.get(look, "") for look in LOOKS), []).append(tool)
        lines += [
            f"| {fault} | {'all' if names == list(tools) else ', '.join(names)} | {' | '.join(words)} |"
            for words, names in sharing.items()
        ]
    return lines
