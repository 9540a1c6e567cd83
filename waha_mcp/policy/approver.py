"""Asking a person: at the client where it can ask, else out of the agent's reach."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from waha_mcp.people.persons import People
from waha_mcp.policy import Refusal
from waha_mcp.policy.approval import Approvals, TooManyWaiting
from waha_mcp.policy.call import Call, as_list, told
from waha_mcp.policy.question import LIFETIME, Question

logger = logging.getLogger(__name__)

#: Chats that a reason names; the others are counted.
_MOST_NAMED = 5


@dataclass(frozen=True)
class Reason:
    """Why a person is asked: words in which `{}` stands for the chats that it is about, where it is about any."""

    words: str
    chats: Sequence[str] = ()

    def text(self, names: Mapping[str, str]) -> str:
        """The reason with the chats' names, by chat id."""
        named = [names[chat] for chat in self.chats[:_MOST_NAMED]]
        more = len(self.chats) - len(named)
        return self.words.format(", ".join(named) + (f" and {more} more" if more else ""))


class Approver:
    """Gets a person's yes for the calls of one App."""

    def __init__(self, app_id: str, people: People) -> None:
        self._app_id, self._people = app_id, people
        self._approvals: Approvals | None = None
        #: Digests that the person has refused at the client, and until when that holds.
        self._refused: dict[str, float] = {}
        #: Digests of approvals that were given back, and until when they are good.
        self._unused: dict[str, float] = {}

    async def approved(self, call: Call, why: Sequence[Reason]) -> None:
        """Return only when a person has approved exactly this call, now or before; `why` a person is asked.

        Raises:
            Refusal: a person refused it, or has not answered yet, or cannot be asked.
        """
        if self._refused.get(call.digest, 0) > time.monotonic():
            raise _person_refused()
        call.approved_until = await self._answer(call, why)
        call.decision = "approved"

    def give_back(self, call: Call) -> None:
        """Let a person's yes count once more, because what it was for certainly did not happen."""
        if call.approved_until is not None:
            self._unused[call.digest] = call.approved_until

    async def _answer(self, call: Call, why: Sequence[Reason]) -> float:
        """Until when a person's yes to the call is good (seconds of the monotonic clock)."""
        given_back = self._unused.pop(call.digest, 0)
        if given_back > time.monotonic():
            return given_back
        question = await self._question(call, why)
        answer = await call.ask(question)
        if answer is False:
            self._refused[call.digest] = time.monotonic() + LIFETIME
            raise _person_refused()
        if answer is None:
            return _monotonic(self._look_elsewhere(question))
        return _monotonic(question.expires)

    def _look_elsewhere(self, question: Question) -> float:
        """Look for the approval that a person gave on the approvals page or in a terminal, and use it up.

        Returns until when it was good (Unix seconds).
        """
        try:
            if self._approvals is None:
                self._approvals = Approvals(self._app_id)
            entry = self._approvals.ask(question)
            if entry.state == "refused":
                raise _person_refused()
            if self._approvals.use(entry):
                return entry.expires
        except TooManyWaiting:
            raise Refusal(
                "too many approvals",
                "Too many things are waiting for approval already. Ask the user to look at them first "
                "(waha-mcp approvals).",
            ) from None
        except OSError as error:
            logger.error("Approvals cannot be kept: %s", error)
            raise Refusal(
                "approval failed", "This needs a person's approval, and that cannot be asked for here: it is not done."
            ) from None
        raise Refusal(
            "waiting for approval",
            f"Not done yet: it is waiting for approval, id {entry.id}. Ask the user to approve it, on the page that "
            f"`waha-mcp approvals` opens or with `waha-mcp approve {entry.id}`, and then make exactly the same call "
            f"again. It expires in {max(1, round((entry.expires - time.time()) / 60))} min.",
        )

    async def _question(self, call: Call, why: Sequence[Reason]) -> Question:
        names = {chat: str(await self._people.describe(chat)) for chat in call.reached}
        apart = call.tool.references.keys() | call.tool.local_files.keys()
        content = {k: told(v) for k, v in call.arguments.items() if v is not None and k not in apart}
        named = {name: as_list(call.arguments[name]) for name in call.tool.references if call.arguments[name]}
        # With one parameter for people, the recipients are all there is to say.
        people = {
            name: ", ".join([names.get(each) or str(await self._people.describe(each)) for each in chats])
            for name, chats in named.items()
            if len(named) > 1 or set(chats) - set(call.reached)
        }
        return Question(
            app=self._app_id,
            tool=call.tool.name,
            title=call.tool.title,
            recipients=tuple(names[chat] for chat in call.reached),
            content=people | content | call.quoted_texts(),
            digest=call.digest,
            expires=time.time() + LIFETIME,
            why=tuple(reason.text(names) for reason in why),
            files=call.files,
        )


def _monotonic(moment: float) -> float:
    """A Unix time in seconds of the monotonic clock."""
    return moment - time.time() + time.monotonic()


def _person_refused() -> Refusal:
    return Refusal("refused by a person", "The user refused this. It was not done; do not ask for it again.")
