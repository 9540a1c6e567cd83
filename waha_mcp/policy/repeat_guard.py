"""Keeps a call from happening twice: reports the outcome of an equal earlier call, and checks again while unknown."""

from __future__ import annotations

from datetime import datetime

import anyio

from waha_mcp.app.actions import Action
from waha_mcp.policy import Refusal, delivery
from waha_mcp.policy.call import Call
from waha_mcp.policy.named import NamedMessages
from waha_mcp.policy.question import clock
from waha_mcp.policy.repeats import WINDOW, Attempt, Outcome, Repeated, Repeats
from waha_mcp.store import Store, in_thread

#: Seconds between attempts to store an outcome.
_SETTLE_EVERY = 1.0


class RepeatGuard:
    """The guard of one App's calls; idempotent tools bypass it."""

    def __init__(self, app_id: str, store: Store, messages: NamedMessages) -> None:
        """A message that is found later is recorded in `messages`."""
        self._repeats, self._messages = Repeats(app_id, store), messages
        self._settling = False

    async def check(self, call: Call) -> frozenset[str]:
        """Refuse a repeat that is not allowed; return the ids of the attempts after which only a person can allow it.

        Raises:
            Refusal: the same call was done, is under way, or has an unknown outcome.
            StoreAway: the store cannot be read or written.
        """
        if not call.tool.repeats:
            return frozenset()
        before = await in_thread(self._repeats.before, call.seen)
        for attempt in before:
            if attempt.outcome == "unknown" and (found := await self._look_again(call, attempt)):
                raise _repeated(found)
        despite = frozenset(each.id for each in before if call.allow_repeat and each.for_a_person)
        for attempt in before:
            if not attempt.lets(again=call.allow_repeat, despite=despite):
                raise _repeated(attempt)
        return despite

    def begin(self, call: Call) -> None:
        """Store that the call is under way, unless an equal call came first since `check`. Blocks. Sets `call.attempt`.

        Raises as `check`.
        """
        if not call.tool.repeats or call.attempt is not None:
            return
        try:
            call.attempt = self._repeats.begin(
                call.seen,
                again=call.allow_repeat,
                despite=call.despite,
                chat=call.named(reached=True)[0] if call.requested_id else None,
                message_id=call.requested_id,
            )
        except Repeated as error:
            raise _repeated(error.before) from None

    def over(self, call: Call, outcome: Outcome | None) -> None:
        """Set the outcome of a call in this process; None: it certainly had no effect. `end` then stores it."""
        if call.attempt is not None:
            self._repeats.over(call.attempt, outcome, call.message_id)

    def end(self, call: Call, outcome: Outcome | None) -> None:
        """Store the outcome of a call. Blocks, and never raises."""
        if call.attempt is not None:
            self._repeats.end(call.seen, call.attempt, outcome)

    @property
    def unsettled(self) -> bool:
        """Whether an outcome could not be stored and is not being retried."""
        return self._repeats.unsettled and not self._settling

    async def settle(self) -> None:
        """Store outcomes once the store is back; until then, other processes see these calls as under way."""
        self._settling = True
        try:
            while not await in_thread(self._repeats.settle):  # noqa: ASYNC110 - no event tells that the store is back
                await anyio.sleep(_SETTLE_EVERY)
        finally:
            self._settling = False

    async def _look_again(self, call: Call, attempt: Attempt) -> Attempt | None:
        """Look for the message of an attempt with an unknown outcome; the attempt as done, or None."""
        if attempt.chat is None or attempt.message_id is None or Action.READ not in call.context.grant.actions:
            return None
        sent = await delivery.look_up(attempt.message_id, attempt.chat, call.context, waits=(0.0,))
        if sent is None or sent.message_id is None:
            return None
        await in_thread(self._messages.sent, sent.message_id)
        at = None if sent.time is None else datetime.fromisoformat(sent.time).timestamp()
        return await in_thread(self._repeats.found, call.seen, attempt, sent.message_id, at)


def _repeated(before: Attempt) -> Refusal:
    ago, at = f"{before.ago:.0f} s", clock(before.at)
    match before.outcome:
        case "under way":
            text = f"The same has been under way for {ago}: wait for its answer."
        case "unknown" if before.for_a_person:
            text = (
                f"The same was asked for at {at}, and its outcome is unknown: it may have gone out, or still may, so "
                "it is not done again. Check whether it shows in the chat. Only the user can accept the risk that it "
                "arrives twice: with allow_repeat=true they are asked."
            )
        case "unknown":
            text = (
                f"The same was asked for at {at}, and its outcome is still unknown, so it is not done again: it "
                "might arrive twice. If the user accepts that risk, call again with allow_repeat=true."
            )
        case "done" if before.found:
            text = (
                f"It did go out at {at}, message {before.message_id}: an earlier try, whose "
                f"answer was lost. So it is not done again. {_AGAIN}"
            )
        case "done":
            message = f", message {before.message_id}" if before.message_id else ""
            text = f"The same was done {ago} ago{message}, so it is not done again. {_AGAIN}"
    return Refusal("repeat refused", text)


_AGAIN = (
    "If it is meant to happen twice, call again with allow_repeat=true; otherwise there is nothing more "
    f"to do. (This holds for {WINDOW:.0f} s.)"
)
