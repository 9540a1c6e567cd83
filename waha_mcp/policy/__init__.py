"""What may pass: every tool with an effect goes through `Policy.run`, the one gate between the bridge and WAHA.

The gate is loaded with the first call, so this page holds what has to be known before.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from waha_mcp.policy.question import Question

#: Puts a question to the person at the client: their answer, or None where the client cannot ask.
Ask = Callable[["Question"], Awaitable[bool | None]]


#: What a chat or message that may not be read is answered with, whether there is one or not.
NOT_FOUND = (
    "There is no such chat or message that this App may read: take ids as the listing tools give them, unchanged. "
    "Nothing was done."
)


async def cannot_ask(question: Question) -> bool | None:
    """For callers with nobody to ask."""
    return None


class Refusal(Exception):
    """The policy does not let it pass. Nothing was changed; the text says why and what the agent can do.

    `decision` is the word for the trail.
    """

    def __init__(self, decision: str, text: str) -> None:
        super().__init__(text)
        self.decision = decision
