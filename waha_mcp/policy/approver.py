"""Asking a person: at the client where it can ask, else out of the agent's reach."""

from __future__ import annotations

import logging
import time

from waha_mcp.policy import Refusal
from waha_mcp.policy.approval import LIFETIME, Approvals, Question, TooManyWaiting
from waha_mcp.policy.call import Call, as_list, told
from waha_mcp.policy.people import People
from waha_mcp.policy.recipients import PUBLIC, STATUS

logger = logging.getLogger(__name__)


class Approver:
    """Gets a person's yes for the calls of one App."""

    def __init__(self, app_id: str, people: People) -> None:
        self._app_id, self._people = app_id, people
        self._approvals: Approvals | None = None
        #: Digests that the person has refused at the client, and until when that holds.
        self._refused: dict[str, float] = {}

    async def approved(self, call: Call) -> None:
        """Return only when a person has approved exactly this, now or before.

        Raises:
            Refusal: a person refused it, or has not answered yet, or cannot be asked.
        """
        if self._refused.get(call.digest, 0) > time.monotonic():
            raise _person_refused()
        question = await self._question(call)
        answer = await call.ask(question)
        if answer is False:
            self._refused[call.digest] = time.monotonic() + LIFETIME
            raise _person_refused()
        if answer is None:
            self._look_elsewhere(question)
        call.decision = "approved"

    def _look_elsewhere(self, question: Question) -> None:
        """Look for the approval that a person gave on the approvals page or in a terminal, and use it up."""
        try:
            if self._approvals is None:
                self._approvals = Approvals(self._app_id)
            entry = self._approvals.ask(question)
            if entry.state == "refused":
                raise _person_refused()
            if self._approvals.use(entry):
                return
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

    async def _question(self, call: Call) -> Question:
        names = {chat: str(await self._people.describe(chat)) for chat in call.reached if "@" in chat}
        names |= {PUBLIC: "everyone who can see this account", STATUS: "everyone who sees its status stories"}
        content = {k: told(v) for k, v in call.arguments.items() if v is not None and k not in call.tool.references}
        named = {name: as_list(call.arguments[name]) for name in call.tool.references if call.arguments[name]}
        # With one parameter for people, the recipients are all there is to say.
        people = {
            name: ", ".join([names.get(each) or str(await self._people.describe(each)) for each in chats])
            for name, chats in named.items()
            if len(named) > 1 or set(chats) - set(call.reached)
        }
        for name in call.tool.messages:
            for message_id in as_list(call.arguments[name]):
                if text := await self._people.text_of(message_id):
                    content[f"what {name} says"] = text
        return Question(
            app=self._app_id,
            tool=call.tool.name,
            title=call.tool.title,
            recipients=tuple(names[chat] for chat in call.reached),
            content=people | content,
            digest=call.digest,
        )


def _person_refused() -> Refusal:
    return Refusal("refused by a person", "The user refused this. It was not done; do not ask for it again.")
