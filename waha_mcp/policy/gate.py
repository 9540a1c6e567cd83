"""The one gate: every call passes `Policy.run`, after what it names has become chat ids and before its tool runs.

It works from the catalog's record of a tool alone, so a new tool is covered the day it is written.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Awaitable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from pydantic_core import to_jsonable_python

from waha_mcp.actions import Action, Grant
from waha_mcp.app import App
from waha_mcp.policy import Ask, Refusal, cannot_ask, delivery
from waha_mcp.policy.approval import LIFETIME, Approvals, Question, TooManyWaiting, digest_of
from waha_mcp.policy.audit import Trail
from waha_mcp.policy.fetching import links_in, refusal
from waha_mcp.policy.pace import Pacer, PaceUnknown, TooFast
from waha_mcp.policy.people import People
from waha_mcp.policy.recipients import PUBLIC, STATUS, Recipients, Verdict, kind
from waha_mcp.policy.repeats import WINDOW, Repeats
from waha_mcp.policy.sweep import swept
from waha_mcp.tools.catalog import ArgumentError, Context, Tool
from waha_mcp.tools.files import outbox_digest
from waha_mcp.waha.client import Waha
from waha_mcp.waha.errors import BadAnswer, Forbidden, OutcomeUnknown, WahaError
from waha_mcp.waha.ids import parse_message_id
from waha_mcp.waha.models import Result

logger = logging.getLogger(__name__)

#: What a chat that may not be read is answered with, whether there is one or not.
NOT_FOUND = "There is no such chat or message that this App may read. Check the id with a listing tool."


@dataclass
class Call:
    """One call on its way, and what the trail will say of it."""

    tool: Tool
    arguments: dict[str, Any]
    context: Context
    ask: Ask = cannot_ask
    client: str | None = None
    allow_repeat: bool = False
    #: Whom it reaches, in a stable order.
    reached: tuple[str, ...] = ()
    digest: str = ""
    decision: str = "allowed"
    message_id: str | None = None
    started: float = field(default_factory=time.perf_counter)


class Policy:
    """The policy of one App at work."""

    def __init__(self, app: App, waha: Waha) -> None:
        self._app = app
        self._people = People(waha)
        self._recipients = Recipients(app.chats, waha, self._people)
        self._repeats = Repeats()
        self._pacer = Pacer(app.id, app.pace)
        self._trail = Trail(app.id, app.key) if app.audit != "off" else None
        self._approvals: Approvals | None = None
        #: Digests that the person has refused at the client, and until when that holds.
        self._refused: dict[str, float] = {}

    async def aclose(self) -> None:
        """Finish the trail, and close what counts the pace."""
        await self._pacer.aclose()
        if self._trail is not None:
            self._trail.close()

    async def prepare(self, grant: Grant) -> None:
        """Learn who is meant by the App's lists. Cheap once it is done, or where there are none.

        Where the key turns out not to read, names stay open.

        Raises:
            WahaError: WAHA cannot be asked, so nobody is known.
        """
        with contextlib.suppress(Forbidden):
            await self._recipients.prepare(can_read=Action.READ in grant.actions)

    def readable(self, chat_id: str) -> bool:
        """Whether a chat may be shown: in lists, counts, searches, candidates, and when it is read itself."""
        return self._recipients.readable(chat_id)

    def summary(self) -> str:
        """One line: whom the agent can reach and read, and when a person is asked."""
        asked = "" if self._app.approval == "never" else f"; approval: {self._app.approval}"
        return self._recipients.summary() + asked

    async def run(self, call: Call) -> Result:
        """Let one call pass and run it, or refuse it.

        Raises:
            Refusal: it may not pass.
            ArgumentError, WahaError: as the tool does.
        """
        with self._in_the_trail(call):
            if not call.tool.effect:
                return await self._read(call)
            first = await self._check(call)
            return await self._carry_out(call, first)

    # Reading

    async def _read(self, call: Call) -> Result:
        asked_for = [*_named(call), *_message_chats(call)]
        if not all(map(self.readable, asked_for)):
            raise Refusal("not readable", NOT_FOUND)
        result = await call.tool.run(**call.arguments, ctx=call.context)
        return result if asked_for or not self._recipients.read_limited else swept(result, self.readable)

    # Effects

    async def _check(self, call: Call) -> list[str]:
        """Everything that can refuse it before anything is counted; those it would be the first contact with."""
        verdicts = await self._check_recipients(call)
        await self._check_urls(call)
        arguments = call.arguments | await _file_digests(call)
        call.digest = digest_of(self._app.url, call.context.waha.session, call.tool.name, arguments)
        if call.tool.repeats and not call.allow_repeat:
            self._check_repeat(call.digest)
        first = [] if not call.reached else await self._first_contacts(call, verdicts)
        if call.reached:
            await self._paced(self._pacer.check(call.reached, first))
        if self._must_ask(call, verdicts, first):
            await self._approved(call)
        return first

    async def _check_recipients(self, call: Call) -> dict[str, Verdict]:
        tool = call.tool
        named = dict.fromkeys(_named(call, reached=True))
        messages = dict.fromkeys(_message_chats(call, reached=True))
        # What a message of another chat says goes along where it is quoted or forwarded, and a card tells of somebody.
        spoken_of = [c for c in (*_named(call, reached=False), *_message_chats(call)) if c not in named]
        if named and not all(map(self.readable, spoken_of)):
            raise Refusal("not readable", NOT_FOUND)
        beyond = {"status": [STATUS], "everyone": [PUBLIC]}.get(tool.reaches or "nobody", [])
        call.reached = tuple(sorted({*named, *messages, *beyond}))
        verdicts = {chat: await self._recipients.verdict(chat) for chat in call.reached}
        refused = [chat for chat, verdict in verdicts.items() if verdict is Verdict.NO]
        if refused:
            raise Refusal("recipient refused", _may_not_reach(refused))
        return verdicts

    async def _check_urls(self, call: Call) -> None:
        links = any(call.arguments.get(name) for name in call.tool.link_previews)
        urls = [(name, call.arguments[name]) for name in call.tool.fetched if call.arguments[name] is not None]
        if links:
            named = call.tool.references.keys() | call.tool.messages.keys()
            texts = [(k, v) for k, v in call.arguments.items() if isinstance(v, str) and k not in named]
            urls += [(name, url) for name, text in texts for url in links_in(text)]
        for name, url in urls:
            if why := await refusal(url, self._app.media_hosts):
                raise Refusal(
                    "url refused",
                    f"{name}: {why}, so WAHA is not asked to fetch it. Give a public https URL, or the file itself.",
                )

    def _check_repeat(self, digest: str) -> None:
        passed = self._repeats.since(digest)
        if passed is not None:
            raise Refusal(
                "repeat refused",
                f"Exactly this was done {passed:.0f} s ago, so it is not done again. If it is meant to happen twice, "
                f"call again with allow_repeat=true; otherwise nothing more is to do. (This holds for {WINDOW:.0f} s.)",
            )

    async def _first_contacts(self, call: Call, verdicts: Mapping[str, Verdict]) -> list[str]:
        """Those reached whom this account has never written to, as far as can be told. Who is listed is known."""
        if not self._app.pace.first_contacts and self._app.approval != "first_contact":
            return []
        can_read = Action.READ in call.context.grant.actions
        return [
            chat
            for chat, verdict in verdicts.items()
            if verdict is not Verdict.NAMED
            and kind(chat) in ("people", "groups", "broadcasts")
            and not await self._has_met(chat, can_read)
        ]

    async def _has_met(self, chat: str, can_read: bool) -> bool:
        if self._people.is_met(chat):
            return True
        try:
            return can_read and await self._people.has_messages(chat, ours=True)
        except WahaError:
            return False

    # Asking a person

    def _must_ask(self, call: Call, verdicts: Mapping[str, Verdict], first: list[str]) -> bool:
        if Verdict.ASK in verdicts.values():
            return True
        match self._app.approval:
            case "never":
                return False
            case "first_contact":
                return bool(first) or bool({PUBLIC, STATUS} & verdicts.keys())
            case "send":
                return bool(call.reached)
            case "destructive":
                return call.tool.hints.destructive
            case "all":
                return True

    async def _approved(self, call: Call) -> None:
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
            self._approved_elsewhere(question)
        call.decision = "approved"

    def _approved_elsewhere(self, question: Question) -> None:
        """Look for the approval that a person gave on the approvals page or in a terminal, and use it up."""
        try:
            if self._approvals is None:
                self._approvals = Approvals(self._app.id)
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
        content = {k: _told(v) for k, v in call.arguments.items() if v is not None and k not in call.tool.references}
        named = {name: _as_list(call.arguments[name]) for name in call.tool.references if call.arguments[name]}
        # With one parameter for people, the recipients are all there is to say.
        people = {
            name: ", ".join([names.get(each) or str(await self._people.describe(each)) for each in chats])
            for name, chats in named.items()
            if len(named) > 1 or set(chats) - set(call.reached)
        }
        for name in call.tool.messages:
            for message_id in _as_list(call.arguments[name]):
                if text := await self._people.text_of(message_id):
                    content[f"what {name} says"] = text
        return Question(
            app=self._app.id,
            tool=call.tool.name,
            title=call.tool.title,
            recipients=tuple(names[chat] for chat in call.reached),
            content=people | content,
            digest=call.digest,
        )

    # Doing it

    async def _carry_out(self, call: Call, first: list[str]) -> Result:
        tool = call.tool
        if tool.repeats:
            if not call.allow_repeat:
                # Another call may have come this far while a person was asked.
                self._check_repeat(call.digest)
            self._repeats.begin(call.digest)
        try:
            if call.reached:
                await self._paced(self._pacer.take(call.reached, first))
            if self._app.humanize:
                await delivery.act_human(call.tool, call.arguments, call.context)
            result = await self._deliver(call)
        except (Refusal, ArgumentError, WahaError) as error:
            # Anything else, a cancelled call too, may have happened.
            if not isinstance(error, OutcomeUnknown | BadAnswer):
                self._repeats.undo(call.digest)
            raise
        for chat in call.reached:
            self._people.remember(chat)
        found = getattr(result, "message_id", None)
        call.message_id = found if isinstance(found, str) else None
        return result

    async def _deliver(self, call: Call) -> Result:
        message_id = await delivery.new_message_id(call.tool, call.context)
        context = replace(call.context, waha=call.context.waha.with_message_id(message_id))
        try:
            return await call.tool.run(**call.arguments, ctx=context)
        except OutcomeUnknown:
            if message_id is None:
                raise
            [chat] = _named(call, reached=True)[:1] or [""]
            found = await delivery.look_up(call.tool, chat, message_id, call.context)
            if found is None:
                raise
            call.decision += ", found after its answer was lost"
            return found

    async def _paced(self, counting: Awaitable[None]) -> None:
        try:
            await counting
        except TooFast as error:
            raise Refusal(
                "too fast", f"{error}. Nothing was done. Do other things meanwhile, or tell the user."
            ) from None
        except PaceUnknown as error:
            logger.error("The pace cannot be checked: %s", error)
            raise Refusal(
                "pace unknown", "How much was sent lately cannot be found out, so nothing is sent. Tell the user."
            ) from None

    # The trail

    @contextmanager
    def _in_the_trail(self, call: Call) -> Iterator[None]:
        outcome = "done"
        try:
            yield
        except Refusal as error:
            call.decision, outcome = error.decision, "refused"
            raise
        except OutcomeUnknown:
            outcome = "unknown"
            raise
        except (ArgumentError, WahaError):
            outcome = "failed"
            raise
        except BaseException:
            outcome = "broken off"
            raise
        finally:
            if self._trail is not None:
                self._trail.write(self._record(call, outcome))

    def _record(self, call: Call, outcome: str) -> dict[str, Any]:
        record: dict[str, Any] = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "client": call.client,
            "tool": call.tool.name,
            "chats": list(call.reached) or [*_named(call), *_message_chats(call)] or None,
            "digest": call.digest or None,
            "decision": call.decision,
            "outcome": outcome,
            "message_id": call.message_id,
            "ms": round((time.perf_counter() - call.started) * 1000, 1),
        }
        if self._app.audit == "text":
            record["arguments"] = {k: _told(v) for k, v in call.arguments.items() if v is not None}
        return {key: value for key, value in record.items() if value is not None}


def _named(call: Call, *, reached: bool | None = None) -> list[str]:
    """The chats that parameters name; of those marked as reached, or not, where that is asked for."""
    marks = call.tool.references.items()
    names = [name for name, mark in marks if reached is None or mark.reached is reached]
    return [chat for name in names for chat in _as_list(call.arguments.get(name))]


def _message_chats(call: Call, *, reached: bool | None = None) -> list[str]:
    marks = call.tool.messages.items()
    names = [name for name, mark in marks if reached is None or mark.reached is reached]
    return [parse_message_id(each).chat for name in names for each in _as_list(call.arguments.get(name))]


def _as_list(value: Any) -> list[str]:
    if value is None:
        return []
    return [value] if isinstance(value, str) else list(value)


async def _file_digests(call: Call) -> dict[str, Any]:
    """What stands behind the local files named, so that an approval is for these bytes."""
    return {
        f"sha256 of {name}": await outbox_digest(call.arguments[name], call.context.app.outbox)
        for name in call.tool.local_files
        if call.arguments.get(name) is not None
    }


#: Characters that are told in full; WhatsApp's own longest text.
_FULL = 65_536


def _told(value: Any) -> Any:
    """An argument as people are shown it: all of it, but of a file's bytes only the size and digest."""
    if isinstance(value, str) and len(value) > _FULL:
        return f"{len(value)} characters, sha256 {digest_of(value)}"
    return to_jsonable_python(value, exclude_none=True)


def _may_not_reach(chats: list[str]) -> str:
    who = {PUBLIC: "everyone", STATUS: "status stories"}
    shown = ", ".join(who.get(chat, chat) for chat in chats[:5])
    return (
        f"This App may not write to {shown}: the user's list of recipients does not allow it, and only the user "
        "can change that list ([chats] in the App file). Nothing was done; do not look for a way around."
    )


def _person_refused() -> Refusal:
    return Refusal("refused by a person", "The user refused this. It was not done; do not ask for it again.")
