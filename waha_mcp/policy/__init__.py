"""The policy: every call goes through `Policy.run` (gate.py), the one gate between the bridge and WAHA.

The gate is imported with the first call; this module holds the types that are needed earlier.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from waha_mcp.policy.question import Question

#: Asks the person at the client: True (approved), False (refused), or None where the client cannot ask.
Ask = Callable[["Question"], Awaitable[bool | None]]


#: The error text for a chat or message that may not be read; the same whether or not it exists.
NOT_FOUND = (
    "There is no such chat or message that this App may read: take ids as the listing tools give them, unchanged. "
    "Nothing was done."
)


async def cannot_ask(question: Question) -> bool | None:
    """An `Ask` for callers without a person to ask: always None."""
    return None


class Asked(Exception):
    """An `Ask` raises it to end the call with the question; the call is repeated with the answer. Nothing was done."""


#: Why the policy refuses calls, in the words of the trail.
Why = Literal[
    "changed while asked",
    "declined at the client",
    "grant ended",
    "link refused",
    "name on a list",
    "not found",
    "not readable",
    "paused",
    "question gone",
    "recipient refused",
    "recipients changed while asked",
    "refused by a person",
    "repeat refused",
    "store away",
    "too fast",
    "too many approvals",
    "too many files",
    "unknown message",
    "url refused",
    "waiting for approval",
]


class Refusal(Exception):
    """The policy refuses a call. Nothing was changed; the text says why and what the agent can do.

    `decision` is the value of the same field in the trail: why, and by whom where that says more.
    """

    def __init__(self, why: Why, text: str, *, by: str = "") -> None:
        super().__init__(text)
        self.why, self.decision = why, f"{why} {by}".rstrip()
