"""Gets a person's approval for a call: at the client if it can ask, else at the console.

The console is its page or a terminal, out of the agent's reach.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import anyio

from waha_mcp.app.definition import App
from waha_mcp.people.persons import People, Person, shown_of
from waha_mcp.policy import Refusal, shown_files, task_grants
from waha_mcp.policy.approval import Approvals, Entry, TooManyWaiting
from waha_mcp.policy.call import Call, as_list, told
from waha_mcp.policy.links import foreign_hosts, link_lines, shown
from waha_mcp.policy.notices import Notices
from waha_mcp.policy.question import Question
from waha_mcp.policy.task_grants import TaskGrant
from waha_mcp.store import Store, StoreAway, in_thread
from waha_mcp.waha.errors import Unreachable
from waha_mcp.whatsapp.untrusted import reveal

logger = logging.getLogger(__name__)

#: Seconds between two checks whether the question of a waiting call is decided.
LOOK_EVERY = 0.5
#: Chats that a reason lists by name; the rest are given as a count.
_MOST_NAMED = 5


@dataclass(frozen=True)
class Reason:
    """Why a person is asked. In `words`, `{}` is replaced by the names of `chats` (ids), if there are any.

    `by_grant`: whether task grants for all chats that the call reaches can answer it beforehand.
    """

    words: str
    chats: Sequence[str] = ()
    by_grant: bool = False

    def text(self, names: Mapping[str, str]) -> str:
        """The reason in words. `names`: chat id to display name."""
        named = [names[chat] for chat in self.chats[:_MOST_NAMED]]
        more = len(self.chats) - len(named)
        return self.words.format(", ".join(named) + (f" and {more} more" if more else ""))


_CHANGED = Reason("it was approved, but its recipients have changed since")


class Approver:
    """Gets a person's approval for the calls of one App."""

    def __init__(self, app: App, people: People, store: Store) -> None:
        self._app_id, self._identity = app.id, app.identity
        self._rules, self._people, self._store = app.approval, people, store
        self._approvals = Approvals(app.id, store, Notices(app.id, app.approval.notify, store).send)
        #: Approvals that could not be given back yet: digest to entry.
        self._unwritten: dict[str, Entry] = {}
        shown_files.sweep()

    async def approved(self, call: Call, why: Sequence[Reason]) -> None:
        """Get a person's approval of exactly this call: an earlier unused one, a task grant's or a new one.

        `why` holds the reasons shown in the question.

        Raises:
            Refusal: it was declined or refused, nobody has answered yet, too many questions are already waiting, or its
                recipients changed while the person was asked.
            StoreAway: the store cannot be read or written.
            Unreachable: WAHA is away, so it is not known whether the recipients are still as shown.
        """
        call.approval = await in_thread(self._use_earlier, call)
        if call.approval is not None and not await self._is_as_shown(call, call.approval):
            call.approval, why = None, [*why, _CHANGED]
        if call.approval is None and await self._is_granted(call, why):
            call.decision = "allowed by a task grant"
            return
        if call.approval is None:
            call.approval = await self._answer(call, why)
            if not await self._is_as_shown(call, call.approval):
                call.approval = None
                raise Refusal(
                    "recipients changed while asked",
                    "Not done: its recipients changed while the user was asked (a group's members or name, or the "
                    "name that a person is saved under). Make the same call again, so that the user is asked again.",
                )
        call.decision = "approved"

    async def _is_granted(self, call: Call, why: Sequence[Reason]) -> bool:
        """Whether task grants replace an approval of this call; takes a message from each. Raises as `approved`."""
        if not self._may_be_granted(call, why):
            return False
        ids = [await self._people.one_id(chat) for chat in call.reached]
        if not await in_thread(task_grants.open_for, self._store, self._identity, ids):
            return False
        call.granted = await in_thread(self._take, call, await self._described(ids, strict=True))
        return bool(call.granted)

    def _take(self, call: Call, chats: Mapping[str, Person]) -> tuple[TaskGrant, ...]:
        """Take a message from the grant of each chat, and withdraw the question about this call if one waits."""
        taken = task_grants.take(self._store, self._identity, *shown_of(chats))
        if taken:
            self._approvals.withdraw(call.digest, call.seen)
        return taken

    @staticmethod
    def _may_be_granted(call: Call, why: Sequence[Reason]) -> bool:
        """Whether a task grant may stand in for an approval of a call.

        Not where a server would get a request: it learns the URL, and no grant names it.
        """
        asks_a_server = call.urls() or any(call.arguments.get(name) for name in call.tool.link_previews)
        return (
            task_grants.covers(call.tool)
            and task_grants.may_be_given(call.reached)
            and not asks_a_server
            and all(reason.by_grant for reason in why)
        )

    def check_still_granted(self, call: Call) -> None:
        """Refuse a call whose task grants have ended since it took a message from each. Blocks; may raise StoreAway.

        Raises:
            Refusal: one has ended.
        """
        chats = [grant.chat for grant in call.granted]
        if chats and not task_grants.open_for(self._store, self._identity, chats, left=0):
            raise Refusal(
                "grant ended",
                "Not done: the user's task grant for these chats has just ended. Make the same call again, so that "
                "the user is asked.",
            )

    async def give_back(self, call: Call) -> None:
        """Make the approval of a call usable again, because the call certainly had no effect. Never raises."""
        if call.granted:
            granted, call.granted = call.granted, ()
            try:
                await in_thread(task_grants.give_back, self._store, granted)
            except StoreAway as error:
                logger.warning("An unused message of a task grant stays counted: %s", error)
        if call.approval is not None:
            self._unwritten[call.digest] = call.approval
            try:
                await in_thread(self._write, call.digest)
            except StoreAway as error:
                logger.warning("An unused approval cannot be kept in the store: %s", error)

    def _write(self, digest: str) -> None:
        if entry := self._unwritten.get(digest):
            self._approvals.give_back(entry)
            self._unwritten.pop(digest, None)

    def _use_earlier(self, call: Call) -> Entry | None:
        """An earlier approval, which is consumed; None if there is none. Blocks. Raises as `approved`.

        An approval covers exactly this call; a refusal also covers calls that look the same to the recipients.
        """
        self._write(call.digest)
        # A call that is not asked about at the client is not bound by what was declined at one.
        client = self._approvals.declined(call.seen) if self._rules.ask_at == "client" else None
        if client is not None:
            raise _declined(client)
        return self._used(self._approvals.refused(call.digest, call.seen) or self._approvals.find(call.digest))

    def _used(self, entry: Entry | None) -> Entry | None:
        """The entry if it is an approval, which is consumed; else None. Blocks.

        Raises:
            Refusal: a person refused it.
        """
        if entry is not None and entry.state == "refused":
            raise Refusal("refused by a person", "The user refused this. It was not done; do not ask for it again.")
        return entry if entry is not None and entry.state == "approved" and self._approvals.use(entry) else None

    async def _answer(self, call: Call, why: Sequence[Reason]) -> Entry:
        """Ask; return the approval, consumed. Raises as `approved`."""
        question = await self._question(call, why)
        answer = await call.ask(question) if self._rules.ask_at == "client" else None
        if answer is None:
            # The client may have waited until the question was about to expire.
            return await self._at_console(call, replace(question, expires=self._store.now() + self._rules.lifetime))
        if answer is False:
            client = reveal(call.client or "that asked")
            await in_thread(self._approvals.decline, question, client)
            raise _declined(client)
        try:
            await in_thread(self._approvals.withdraw, question.digest, question.seen)
        except StoreAway as error:
            # It is an approval all the same: without the store the call stops here, and the approval is given back.
            logger.warning("A question that was answered at the client cannot be withdrawn: %s", error)
        return Entry(secrets.token_hex(6), "approved", self._store.now(), question.expires, question)

    async def _at_console(self, call: Call, question: Question) -> Entry:
        """File a question for the console, and wait for its answer. Raises as `approved`."""
        try:
            filed = await in_thread(self._approvals.ask, question, call.contents)
        except TooManyWaiting:
            raise Refusal(
                "too many approvals",
                "Too many calls for the same recipients are waiting for approval already. Ask the user to answer "
                "them first (waha-mcp console).",
            ) from None
        entry: Entry | None = filed
        began = anyio.current_time()
        while entry is not None and entry.state == "waiting":
            waited = anyio.current_time() - began
            if waited >= self._rules.wait:
                break
            # A client that accepts no progress must not delay the call.
            with anyio.move_on_after(LOOK_EVERY):
                await call.context.progress(waited, self._rules.wait, f"Waiting for approval, id {filed.id}")
            await anyio.sleep(min(LOOK_EVERY, self._rules.wait - waited))
            entry = await in_thread(self._approvals.find, call.digest)
        if used := await in_thread(self._used, entry):
            return used
        if entry is None or entry.state != "waiting":
            raise Refusal(
                "question gone",
                f"Not done: the question {filed.id} is no longer waiting. It expired, made room for others, was "
                "forgotten, or the same call was approved and made elsewhere. Check whether it happened before you ask "
                "again.",
            )
        raise Refusal(
            "waiting for approval",
            f"Not done yet: it is waiting for approval, id {filed.id}. Ask the user to approve it, on the page that "
            f"`waha-mcp console` opens or with `waha-mcp approve {filed.id}`, and then make exactly the same call "
            f"again. It expires in {max(1, round((filed.expires - self._store.now()) / 60))} min.",
        )

    async def _question(self, call: Call, why: Sequence[Reason]) -> Question:
        """The question about a call, with chat ids replaced by display names."""
        names, who = shown_of(await self._described(call.reached))
        apart = call.tool.references.keys() | {file.argument for file in call.files}
        content = {k: told(v) for k, v in call.arguments.items() if v is not None and k not in apart}
        named = {name: as_list(call.arguments[name]) for name in call.tool.references if call.arguments[name]}
        # A single parameter whose chats are all recipients is left out: the first line of the question lists them.
        people = {
            name: ", ".join([names.get(each) or str(await self._people.describe(each)) for each in chats])
            for name, chats in named.items()
            if len(named) > 1 or set(chats) - set(call.reached)
        }
        chats = call.reached or tuple(sorted({*call.named(), *call.message_chats()}))
        # First: a client may truncate what comes late.
        people = call.url_lines() | _links(call) | link_lines(call) | people
        return Question(
            app=self._app_id,
            tool=call.tool.name,
            title=call.tool.title,
            recipients=tuple(names[chat] for chat in call.reached),
            content=people | content | call.quoted_texts(),
            digest=call.digest,
            expires=self._store.now() + self._rules.lifetime,
            why=tuple(reason.text(names) for reason in why),
            files=call.files,
            chats=chats,
            seen=call.seen,
            open_to=await self._open_to(call, why, names),
            identity=self._identity,
            who=who,
        )

    async def _open_to(self, call: Call, why: Sequence[Reason], names: Mapping[str, str]) -> dict[str, str]:
        """The chats for which an approval may include a task grant: id to who it is. `names`: of those reached."""
        if not self._may_be_granted(call, why):
            return {}
        ids = [await self._people.one_id(chat) for chat in call.reached]
        more, _ = shown_of(await self._described(set(ids) - names.keys()))
        return {**more, **{each: names[each] for each in ids if each in names}}

    async def _is_as_shown(self, call: Call, approval: Entry) -> bool:
        """Whether the recipients are still as shown when a person approved this.

        Raises:
            Unreachable: WAHA is away; the approval is given back.
        """
        try:
            names, who = shown_of(await self._described(call.reached, strict=True))
        except Unreachable:
            await self.give_back(call)
            raise
        before = approval.question
        return before.recipients == tuple(names.values()) and before.who.items() <= who.items()

    async def _described(self, chats: Iterable[str], *, strict: bool = False) -> dict[str, Person]:
        """Chats by id, in their current state."""
        return {chat: await self._people.describe(chat, strict=strict) for chat in chats}


def _declined(client: str) -> Refusal:
    return Refusal(
        "declined at the client",
        f"Declined at the client {client}, so it was not done; do not ask for it again. Some clients decline by "
        'themselves, without asking anybody: there, the user can set ask_at = "console" under [approval] in the App '
        "file and start the server again, to approve on the page of `waha-mcp console` or in a terminal.",
        by=client,
    )


def _links(call: Call) -> dict[str, str]:
    """The hosts to show in a question because their letters may look like those of another host."""
    foreign = foreign_hosts(call)
    return {"links lead to": ", ".join(map(shown, foreign))} if foreign else {}
