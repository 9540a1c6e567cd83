"""The gate: every call passes `Policy.run`, after its chats are resolved to ids and before its tool runs.

It uses only the tool's record in the catalog, so a new tool is covered without further code.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

import anyio

from waha_mcp.app.actions import Action, Grant
from waha_mcp.app.definition import App
from waha_mcp.log import redact_answer
from waha_mcp.observing import NOBODY, Observer
from waha_mcp.people.filling import FilledTable
from waha_mcp.people.persons import PUBLIC, STATUS, People, Person
from waha_mcp.policy import NOT_FOUND, Asked, Refusal, delivery, saved_files, task_grants
from waha_mcp.policy.approver import Approver, Reason
from waha_mcp.policy.audit import BEGUN, Trail
from waha_mcp.policy.call import Call, early_record
from waha_mcp.policy.first_contacts import FirstContacts
from waha_mcp.policy.gap import TooFast
from waha_mcp.policy.kill_switch import paused
from waha_mcp.policy.links import Others, brought_links, shown
from waha_mcp.policy.named import NamedMessages
from waha_mcp.policy.own_account import OwnAccount
from waha_mcp.policy.pace import Counted, Pacer
from waha_mcp.policy.question import digest_of
from waha_mcp.policy.reading import Reading
from waha_mcp.policy.recipients import Recipients, Verdict, kind
from waha_mcp.policy.repeat_guard import RepeatGuard
from waha_mcp.policy.repeats import Outcome
from waha_mcp.policy.sameness import seen_digest
from waha_mcp.policy.sweep import swept
from waha_mcp.policy.url_checks import UrlChecks
from waha_mcp.store import Store, StoreAway, in_thread
from waha_mcp.store.folders import user_store
from waha_mcp.tools.catalog import ArgumentError
from waha_mcp.tools.local_files import MAX_FILE
from waha_mcp.waha.errors import LOOK_FIRST, Forbidden, NotDone, OutcomeUnknown, WahaError
from waha_mcp.waha.models import Reached, Result, Sent
from waha_mcp.whatsapp.ids import is_broadcast, parse_message_id

logger = logging.getLogger(__name__)

#: Most bytes of local files that the calls under way hold together.
MOST_HELD = 4 * MAX_FILE
#: Timeout in seconds of looking up the names of the chats that an effect has reached.
NAMES = 1.0

T = TypeVar("T")


class Policy:
    """The policy of one App."""

    def __init__(self, app: App, table: FilledTable, observer: Observer = NOBODY, store: Store | None = None) -> None:
        """`table` resolves people. `store`: the user's, if others use it as well. Makes no request."""
        self._app, self._observer = app, observer
        self._owns_store = store is None
        self.store: Store = store or user_store()
        self._people = People(table)
        self._recipients = Recipients(app.chats, self._people, app.listen.allow, app.index_chats)
        account = OwnAccount(app.url, table, self.store)
        self._pacer = Pacer(app.pace, self.store, account.key)
        self._first_contacts = FirstContacts(app, self._people, account, self._pacer)
        self._trail = Trail(app.id, app.key) if app.audit != "off" else None
        self._approver = Approver(app, self._people, self.store)
        self._messages = NamedMessages(app.id, self._people, self.store)
        self._guard = RepeatGuard(app.id, self.store, self._messages)
        self._urls = UrlChecks(app)
        self._reading = Reading(app, self._people, self.store)
        self._message_ids = delivery.MessageIds()
        #: Bytes of files held by calls.
        self._held = 0

    async def aclose(self) -> None:
        """Flush the trail; close the store, unless others use it."""
        if self._owns_store:
            await in_thread(self.store.close)
        self.end_trail()

    def end_trail(self) -> None:
        """Write pending lines to the trail. Blocks."""
        if self._trail is not None:
            self._trail.close()

    async def prepare(self, grant: Grant) -> None:
        """Resolve the App's lists to chat ids, once; hidden ids on deny lists again while their number is unknown.

        Names stay unresolved if the key may not read.

        Raises:
            WahaError: WAHA cannot be asked.
        """
        with contextlib.suppress(Forbidden):
            await self._recipients.prepare(can_read=Action.READ in grant.actions)

    def readable(self, chat_id: str) -> bool:
        """Whether a chat may be read or shown anywhere: in lists, counts, searches, candidates."""
        return self._recipients.readable(chat_id)

    def indexed(self, chat_id: str) -> bool | None:
        """Whether a chat is to be indexed; None: not now, but maybe once the App's lists are resolved."""
        return self._recipients.indexed(chat_id) or (False if self._recipients.certain else None)

    @property
    def wakers(self) -> str:
        """Who may wake an agent, in words."""
        return self._recipients.wakers

    async def may_wake(self, chat_id: str) -> bool:
        """Whether messages of this person, or in this chat, may wake an agent.

        Raises:
            WahaError: this cannot be determined.
        """
        return await self._recipients.may_wake(chat_id)

    async def sent(self, message_id: str) -> bool:
        """Whether this App has sent an own message; True also if this cannot be determined."""
        try:
            return await self._messages.sent_under(parse_message_id(message_id))
        except (ValueError, StoreAway):
            return True

    @property
    def read_limited(self) -> bool:
        """Whether any list limits what may be read."""
        return self._recipients.read_limited

    async def written(self, chat_id: str) -> bool:
        """Whether this account has written to a chat; False if WAHA cannot be asked."""
        try:
            return await self._people.has_written(chat_id)
        except WahaError:
            return False

    def summary(self) -> str:
        """One line: who can be written to and read, when a person is asked, and which links may go out."""
        when = self._app.approval.when
        asked = f"; approval: {', '.join(sorted(when))}" if when else ""
        if self._app.after_reading_strangers == "ask":
            asked += "; asks before reaching others than the one chat that was read"
        rule = self._app.links
        listed = ", ".join(map(shown, sorted(rule.allow))) or "none"
        links = "" if rule.others == "allow" else f"; links to: {listed}, others: {rule.others}"
        return self._recipients.summary() + asked + links

    async def task_grants(self) -> list[str] | None:
        """The task grants in force, in words, of chats that may be read; None: there are none."""
        try:
            found = await in_thread(task_grants.in_force, self.store, self._app.identity)
        except StoreAway:
            return None
        return [grant.text for grant in found if self.readable(grant.chat)] or None

    async def grantable(self, chat: str) -> tuple[str, Person]:
        """The id of a chat for a task grant, and who it is.

        Raises:
            Refusal: it is neither a person nor a group, or the App may not write there: a grant adds no rights.
            WahaError: WAHA cannot be asked.
        """
        one = await self._people.one_id(chat)
        if not task_grants.may_be_given([one]):
            raise Refusal(
                "recipient refused", f"{one} is neither a person nor a group, and task grants are for those only."
            )
        if await self._recipients.verdict(one) is Verdict.NO:
            raise Refusal("recipient refused", _may_not_reach([one]))
        return one, await self._people.describe(one, strict=True)

    async def paused(self) -> str | None:
        """Since when the user has paused this App's effects, as text; None: not."""
        try:
            pause = await in_thread(paused, self.store, self._app.id)
        except StoreAway as error:
            return f"not known, so everything but reading is refused: {error}"
        return None if pause is None else pause.text

    async def hands_out(self, result: Result, *, names: bool = True) -> None:
        """Record whose words a result holds, before it is returned. Never raises.

        `names`: whether names of chats count, except where they tell whom an effect has reached.
        """
        await self._reading.note(result, names=names)

    async def hands_out_names(self, chats: Iterable[str]) -> None:
        """Record that the names of these chats are returned. Never raises."""
        await self._reading.note_names(chats)

    async def run(self, call: Call) -> Result:
        """Check one call, run it and record it in the trail.

        Raises:
            Refusal: the policy refuses it, or the store is away.
            ArgumentError, WahaError: as the tool does.
        """
        async with self._in_the_trail(call):
            try:
                if not call.tool.effect:
                    return await self._read(call)
                await in_thread(self._check_not_paused)
                call.changes.before = partial(self._depart, call)
                return await self._carry_out(call, await self._check(call))
            except StoreAway as error:
                logger.error("%s", error)
                raise Refusal(
                    "store away",
                    f"Recent calls cannot be looked up, so this was not done. {error} Tell the user.",
                ) from None
            except (ArgumentError, WahaError):
                await self._reading.note_failed(call)
                raise
            finally:
                self._held -= call.held

    # Reading

    async def _read(self, call: Call) -> Result:
        asked_for = [*call.named(), *call.message_chats()]
        if not await self._may_show(asked_for):
            raise Refusal("not readable", NOT_FOUND)
        await self._messages.look_up(call)
        await self._read_files(call)
        result = await call.tool.run(**call.arguments, ctx=call.context)
        whole = asked_for and not any(map(is_broadcast, asked_for))
        return result if whole or not self._recipients.read_limited else swept(result, self.readable)

    async def _may_show(self, chats: Iterable[str]) -> bool:
        """Whether all these chats may be read.

        With a deny list, a chat must also exist: otherwise the answer about one that does not exist would tell it from
        one on the list. Both cause the same requests.
        """
        if not self._recipients.hides_some:
            return all(map(self.readable, chats))
        with contextlib.suppress(WahaError):
            await self._people.table.load(behind=True)
        for chat in dict.fromkeys(chats):
            shown = self.readable(chat)
            if not (shown and self._people.is_known(chat)) and not (await self._people.is_there(chat) and shown):
                return False
        return True

    # Effects

    async def _check(self, call: Call) -> list[str]:
        """Run every check that precedes counting; return the chats and people that would count as first contacts.

        Sets `call.reached` and `call.digest`. Raises as `run`, and StoreAway.
        """
        verdicts = await self._check_recipients(call)
        await self._check_saved_names(call)
        await self._messages.look_up(call)
        others = self._urls.check(call)
        await self._read_files(call)
        call.digest = self._digest(call)
        if len(call.reached) > 1:
            # So that the account itself is recognized among the people on a list.
            with contextlib.suppress(WahaError):
                await self._people.table.load("the account", behind=True)
        call.seen = seen_digest(call)
        call.despite = await self._guard.check(call)
        if call.despite:
            # An approval given without knowing that the call may happen twice does not cover this one.
            call.digest = self._digest(call)
        first = await self._first_contacts.among(call, verdicts)
        counting = [*first, *await self._first_contacts.strangers_in(call, first)]
        why = self._reasons_to_ask(call, verdicts, first, others)
        why += await self._reading.reasons(call, partial(self._knows, call))
        if call.despite:
            why.append(Reason("it may happen twice: the same was tried recently, and its outcome is unknown"))
        if why:
            if call.reached:
                # Nobody is asked about a call that the pace would then refuse.
                await self._paced(self._pacer.check(call.reached, counting))
            await self._approver.approved(call, why)
        return counting

    def _digest(self, call: Call) -> str:
        arguments = call.arguments | call.file_digests() | call.quoted_texts() | brought_links(call)
        waha = call.context.waha
        return digest_of(self._app.url, waha.session, call.tool.name, arguments, *sorted(call.despite))

    async def _read_files(self, call: Call) -> None:
        """Read the call's files; they are held until `run` ends, at most `MOST_HELD` bytes of all calls together."""
        await call.read_files()
        if self._held + call.held > MOST_HELD:
            call.contents = ()
            raise Refusal(
                "too many files",
                "Other calls hold too many files now, such as those that wait for an answer. Nothing was done; "
                "make the call again when they have ended.",
            )
        self._held += call.held

    async def _check_unchanged(self, call: Call) -> None:
        """Refuse a call whose messages have changed since the person was asked. Its files are held."""
        await self._messages.look_up(call)
        if self._digest(call) != call.digest:
            raise Refusal(
                "changed while asked",
                "A message that this call names was changed while the user was asked, so their approval does "
                "not cover it. Not done. Make the call again, and the user is asked about it as it is now.",
            )

    async def _check_recipients(self, call: Call) -> dict[str, Verdict]:
        tool = call.tool
        named, messages = call.named(reached=True), call.message_chats(reached=True)
        shown = [*call.named(reached=False), *call.message_chats(reached=False), *call.quoted_chats()]
        if tool.action is Action.READ:
            # Its result reveals the chats that it reaches.
            shown += [*named, *messages]
        if not await self._may_show(shown):
            raise Refusal("not readable", NOT_FOUND)
        beyond: dict[str, list[str]] = {"status": [STATUS], "everyone": [PUBLIC]}
        # A server learns the URL that is requested from it: if nobody else is reached, the audience is everyone.
        asked = [PUBLIC] if call.urls() and tool.reaches == "nobody" else []
        opened = beyond.get(tool.reaches_with(call.arguments), [])
        call.reached = tuple(sorted({*named, *messages, *opened, *asked}))
        verdicts = {chat: await self._recipients.verdict(chat) for chat in call.reached}
        refused = [chat for chat, verdict in verdicts.items() if verdict is Verdict.NO]
        if refused:
            raise Refusal("recipient refused", _may_not_reach([call.written.get(chat, chat) for chat in refused]))
        return verdicts

    async def _check_saved_names(self, call: Call) -> None:
        """Refuse a change of whom a name on the App's lists means."""
        parts = [str(call.arguments[name]) for name in call.tool.saved_names if call.arguments[name]]
        if not parts:
            return
        for chat in call.reached:
            if await self._recipients.renames(chat, (*parts, " ".join(parts))):
                raise Refusal(
                    "name on a list",
                    "The App's lists name people as they are saved, and this would change whom a name on them means. "
                    "Only the user can do that, on the phone. Nothing was done.",
                )

    async def _knows(self, call: Call, chat: str) -> bool:
        """Whether a person is not a stranger: a list names them, or this account has written to them."""
        if await self._recipients.verdict(chat) is Verdict.NAMED:
            return True
        return await self._first_contacts.has_met(chat, Action.READ in call.context.grant.actions)

    def _reasons_to_ask(
        self, call: Call, verdicts: Mapping[str, Verdict], first: list[str], others: Others
    ) -> list[Reason]:
        """The reasons to ask a person; empty if none applies."""
        why = []
        if listed := [chat for chat, verdict in verdicts.items() if verdict is Verdict.ASK]:
            why.append(Reason("the App's list of chats to ask about covers {}", listed, by_grant=True))
        if others:
            why.append(Reason(f"the App's list of links does not cover {others}"))
        when = self._app.approval.when
        if "first_contact" in when:
            if call.tool.saved_names:
                why.append(Reason("it changes whom a name means"))
            if first:
                words = "first contact: this account is not known to have written to {}"
                why.append(Reason(words, first, by_grant=True))
            if many := [chat for chat in verdicts if chat in (PUBLIC, STATUS)]:
                why.append(Reason("first contact: it reaches {}, possibly including strangers", many))
        if "send" in when and call.reached:
            why.append(Reason("the App asks before whatever reaches somebody", by_grant=True))
        if "destructive" in when and call.tool.hints.destructive:
            why.append(Reason("it removes something that does not come back by itself"))
        if "all" in when:
            why.append(Reason("the App asks before every change", by_grant=True))
        return why

    # Doing it

    async def _carry_out(self, call: Call, first: list[str]) -> Result:
        counted: Counted | None = None
        try:
            call.requested_id = await self._message_ids.new(call.tool, call.context)
            if call.reached:
                counted = await self._paced(self._pacer.take(call.reached, first))
            if self._app.humanize:
                await self._depart(call)
                await delivery.act_human(call.tool, call.arguments, call.context)
            if call.approval is not None:
                await self._check_unchanged(call)
            await self._urls.fetch(call, partial(self._depart, call))
            result = await self._deliver(call)
        except BaseException as error:
            # A cancelled call may still have had an effect.
            happened = self._happened(call, error)
            outcome: Outcome | None = "unknown" if happened else None
            self._guard.over(call, outcome)
            await in_thread(self._guard.end, call, outcome)
            self._settle()
            if happened:
                raise _as_unknown(call, error) from None
            await self._approver.give_back(call)
            if counted is not None:
                await self._pacer.give_back(counted)
            raise
        found = getattr(result, "message_id", None)
        call.message_id = found if isinstance(found, str) else None
        self._guard.over(call, "done")
        await in_thread(self._write_down, call, self._first_contacts.met(call))
        self._settle()
        if call.tool.result is Sent:
            self._people.table.behind(self._message_ids.get_spare, call.tool, call.context)
        if isinstance(saved := getattr(result, "saved", None), str):
            await self._note_saved(saved, call.message_chats()[0])
        return result.touching(*call.touched(self.readable)).reaching(*await self._names(call))

    def _settle(self) -> None:
        """Make sure that data of a call that could not be stored is stored later."""
        if self._guard.unsettled:
            self._people.table.behind(self._guard.settle)

    def _write_down(self, call: Call, met: Iterable[str]) -> None:
        """Store everything about an effect that was done, and write its line. Never raises.

        In one step: a change of thread costs more than the writing.
        """
        self._guard.end(call, "done")
        self._first_contacts.remember(met)
        if call.message_id and call.tool.result is Sent:
            self._messages.sent(call.message_id)
        self._write_ended(call, "done")

    async def _note_saved(self, path: str, chat: str) -> None:
        """Store the chat of a saved file. Never raises: the file is saved."""
        try:
            await in_thread(saved_files.remember, self.store, self._app.id, path, chat)
        except StoreAway as error:
            logger.warning("The chat of a saved file cannot be stored, so waha-mcp forget leaves the file: %s", error)

    async def _depart(self, call: Call) -> None:
        """Run right before any bytes of an effect are sent: check again for a pause, and record that it begins.

        Raises:
            Refusal: the user has paused it meanwhile, or an equal call was faster.
            StoreAway: the store cannot be read or written.
        """
        await in_thread(self._departing, call)
        feed = call.context.feed
        if any(call.beside.values()) and feed is not None and feed.state != "off":
            call.place = feed.record.mark()

    def _departing(self, call: Call) -> None:
        self._approver.check_still_granted(call)
        self._check_not_paused()
        self._guard.begin(call)
        if self._trail is not None and not call.begun:
            call.begun = True
            self._trail.write_now(self._record(call, BEGUN) | {"process": self.store.process})

    def _check_not_paused(self) -> None:
        pause = paused(self.store, self._app.id)
        if pause is not None:
            raise Refusal("paused", f"This was not done: {pause.text}. Do not look for a way around; tell the user.")

    @staticmethod
    def _happened(call: Call, error: BaseException) -> bool:
        """Whether a call that failed may still have had an effect.

        POST requests of the action read (converting a file, a media key) have none.
        """
        return call.tool.action is not Action.READ and call.changes.possible > isinstance(error, NotDone)

    async def _deliver(self, call: Call) -> Result:
        message_id = call.requested_id
        context = replace(call.context, waha=call.context.waha.for_change(call.changes, message_id))
        try:
            result = await call.tool.run(**call.arguments, ctx=context)
            if isinstance(result, Sent) and not delivery.is_ours(result, message_id):
                raise OutcomeUnknown(
                    "WAHA, or something in front of it, accepted this and did not answer with the message sent, so the "
                    f"outcome is unknown. {LOOK_FIRST}"
                )
            if isinstance(result, Sent) and any(
                delivery.is_elsewhere(result, chat, context.directory) for chat in call.posted_in()
            ):
                raise OutcomeUnknown(
                    "WAHA, or something in front of it, answered with a message in a chat other than the one given, so "
                    f"the outcome is unknown. {LOOK_FIRST}"
                )
            return result
        except OutcomeUnknown as error:
            if message_id is None:
                raise
            chat = call.named(reached=True)[0]
            found = await delivery.look_up(message_id, chat, call.context, waits=delivery.LOOK_AGAIN)
            if found is None:
                raise OutcomeUnknown(f"{error} (It could not be found so far, which proves nothing.)") from None
            call.decision += ", found after its answer was lost"
            return found

    async def _names(self, call: Call) -> list[Reached]:
        """The chats that the call reached, with the names found within `NAMES` seconds. Does not raise."""
        named = {chat: Person(chat) for chat in call.reached if chat not in (PUBLIC, STATUS)}
        if Action.READ in call.context.grant.actions:
            with anyio.move_on_after(NAMES):
                for chat in filter(self.readable, list(named)):
                    named[chat] = await self._people.describe(chat, call.context.directory)
                for chat, person in list(named.items()):
                    if kind(chat) == "groups" and self.readable(chat) and person.members is None:
                        named[chat] = replace(person, members=await self._people.member_count(chat))
        return [person.reached for person in named.values()]

    async def _paced(self, counting: Awaitable[T]) -> T:
        try:
            return await counting
        except TooFast as error:
            raise Refusal(
                "too fast", f"{error}. Nothing was done. Do other things meanwhile, or tell the user."
            ) from None

    # The trail

    def note(self, tool: str, arguments: Mapping[str, Any], **more: Any) -> None:
        """Record a call that ended before `run`. `more`: further fields of its line."""
        self._observer.called(tool, more["outcome"])
        if more["outcome"] == "refused":
            self._observer.refused(more["decision"])
        if self._trail is not None:
            shown = arguments if self._app.audit == "text" else None
            self._trail.write(early_record(redact_answer(tool, self._app.key), shown, **more))

    def _write_ended(self, call: Call, outcome: str) -> None:
        call.ended = True
        self._observer.called(call.tool.name, outcome)
        if self._trail is not None:
            self._trail.write_now(self._record(call, outcome))

    def _record(self, call: Call, outcome: str) -> dict[str, Any]:
        return call.record(outcome, with_text=self._app.audit == "text")

    @asynccontextmanager
    async def _in_the_trail(self, call: Call) -> AsyncIterator[None]:
        outcome = "done"
        try:
            yield
        except Refusal as error:
            call.decision = error.decision
            outcome = "waiting" if error.why == "waiting for approval" else "refused"
            self._observer.refused(error.why)
            raise
        except Asked:
            call.decision, outcome = "asked at the client", "waiting"
            raise
        except OutcomeUnknown:
            outcome = "unknown"
            raise
        except (ArgumentError, WahaError):
            outcome = "failed"
            raise
        except BaseException as error:
            outcome = "unknown" if self._happened(call, error) else "broken off"
            raise
        finally:
            if not call.ended:
                if call.tool.effect:
                    await in_thread(self._write_ended, call, outcome)
                else:
                    self._observer.called(call.tool.name, outcome)
                    if self._trail is not None:
                        self._trail.write(self._record(call, outcome))


def _as_unknown(call: Call, error: BaseException) -> BaseException:
    """The error as OutcomeUnknown, for a call that may have had an effect; cancellations stay as they are."""
    if isinstance(error, OutcomeUnknown) or not isinstance(error, Exception):
        return error
    if isinstance(error, ArgumentError | WahaError):
        why = str(error)
    else:
        logger.error("%s failed", call.tool.name, exc_info=error)
        why = "waha-mcp had an internal error; its log on stderr has the details."
    return OutcomeUnknown(
        f"WAHA was asked to do this and did not refuse, but the outcome is unknown: {why} "
        "Check whether it happened before you repeat anything."
    )


def _may_not_reach(chats: list[str]) -> str:
    who = {PUBLIC: "everyone", STATUS: "status stories"}
    shown = ", ".join(who.get(chat, chat) for chat in chats[:5])
    return (
        f"This App may not write to {shown}: the user's list of recipients does not allow it, and only the user "
        "can change that list ([chats] in the App file). Nothing was done; do not look for a way around."
    )
