"""Gets a person's approval for a call: at the client if it can ask, else on the approvals page or in a terminal."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from waha_mcp.people.persons import People
from waha_mcp.policy import Refusal
from waha_mcp.policy.approval import Approvals, TooManyWaiting
from waha_mcp.policy.call import Call, as_list, told
from waha_mcp.policy.links import foreign_hosts, shown
from waha_mcp.policy.question import LIFETIME, Question
from waha_mcp.store import Store, in_thread

#: Chats that a reason lists by name; the rest are given as a count.
_MOST_NAMED = 5


@dataclass(frozen=True)
class Reason:
    """Why a person is asked. In `words`, `{}` is replaced by the names of `chats` (ids), if there are any."""

    words: str
    chats: Sequence[str] = ()

    def text(self, names: Mapping[str, str]) -> str:
        """The reason in words. `names`: chat id to display name."""
        named = [names[chat] for chat in self.chats[:_MOST_NAMED]]
        more = len(self.chats) - len(named)
        return self.words.format(", ".join(named) + (f" and {more} more" if more else ""))


class Approver:
    """Gets a person's approval for the calls of one App."""

    def __init__(self, app_id: str, people: People, store: Store) -> None:
        self._app_id, self._people = app_id, people
        self._approvals = Approvals(app_id, store)
        #: Calls refused at the client: digest to the end of the refusal (seconds of the monotonic clock).
        self._refused: dict[str, float] = {}
        #: Approvals that were given back: digest to expiry (seconds of the monotonic clock).
        self._unused: dict[str, float] = {}

    async def approved(self, call: Call, why: Sequence[Reason]) -> None:
        """Get a person's approval of exactly this call, an earlier unused one or a new one.

        `why` holds the reasons shown in the question.

        Raises:
            Refusal: the person refused, has not answered yet, or too many questions wait already.
            StoreAway: the client cannot ask, and the store cannot be read or written.
        """
        if self._refused.get(call.digest, 0) > time.monotonic():
            raise _person_refused()
        call.approved_until = await self._answer(call, why)
        call.decision = "approved"

    def give_back(self, call: Call) -> None:
        """Make the approval of a call usable again, because the call certainly had no effect."""
        if call.approved_until is not None:
            self._unused[call.digest] = call.approved_until

    async def _answer(self, call: Call, why: Sequence[Reason]) -> float:
        """Ask; the expiry of the approval in seconds of the monotonic clock. Raises as `approved`."""
        given_back = self._unused.pop(call.digest, 0)
        if given_back > time.monotonic():
            return given_back
        question = await self._question(call, why)
        answer = await call.ask(question)
        if answer is False:
            self._refused[call.digest] = time.monotonic() + LIFETIME
            raise _person_refused()
        if answer is None:
            # The client may have waited until the question was about to expire.
            lasting = replace(question, expires=time.time() + LIFETIME)
            return _monotonic(await in_thread(self._look_elsewhere, lasting))
        return _monotonic(question.expires)

    def _look_elsewhere(self, question: Question) -> float:
        """Consume an approval given on the approvals page or in a terminal; if there is none, ask for one there.

        Returns its expiry in Unix seconds. Blocks. Raises as `approved`.
        """
        try:
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
        raise Refusal(
            "waiting for approval",
            f"Not done yet: it is waiting for approval, id {entry.id}. Ask the user to approve it, on the page that "
            f"`waha-mcp approvals` opens or with `waha-mcp approve {entry.id}`, and then make exactly the same call "
            f"again. It expires in {max(1, round((entry.expires - time.time()) / 60))} min.",
        )

    async def _question(self, call: Call, why: Sequence[Reason]) -> Question:
        """The question about a call, with chat ids replaced by display names."""
        names = {chat: str(await self._people.describe(chat)) for chat in call.reached}
        apart = call.tool.references.keys() | call.tool.local_files.keys()
        content = {k: told(v) for k, v in call.arguments.items() if v is not None and k not in apart}
        named = {name: as_list(call.arguments[name]) for name in call.tool.references if call.arguments[name]}
        # A single parameter whose chats are all recipients is left out: the first line of the question lists them.
        people = {
            name: ", ".join([names.get(each) or str(await self._people.describe(each)) for each in chats])
            for name, chats in named.items()
            if len(named) > 1 or set(chats) - set(call.reached)
        }
        # First: a client may truncate what comes late.
        people = call.url_lines() | _links(call) | people
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


def _links(call: Call) -> dict[str, str]:
    """The hosts whose letters may look like those of another, for a question."""
    foreign = foreign_hosts(call)
    return {"links lead to": ", ".join(map(shown, foreign))} if foreign else {}


def _monotonic(moment: float) -> float:
    """A Unix time in seconds of the monotonic clock."""
    return moment - time.time() + time.monotonic()


def _person_refused() -> Refusal:
    return Refusal("refused by a person", "The user refused this. It was not done; do not ask for it again.")
