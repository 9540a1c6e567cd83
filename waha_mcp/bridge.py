"""The bridge: one App connected to WAHA. It holds the grant, lists the tools and runs calls; it knows no MCP."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Self

import anyio
import anyio.to_thread

from waha_mcp.app.actions import Action, Grant
from waha_mcp.app.definition import App, AppError
from waha_mcp.feed.live import Feed
from waha_mcp.log import hidden, redact_answer
from waha_mcp.observing import NOBODY, Observer
from waha_mcp.people.directory import Directory, everyone
from waha_mcp.people.filling import FilledTable
from waha_mcp.people.resolving import NotOnWhatsApp, Unresolved
from waha_mcp.policy import Ask, cannot_ask
from waha_mcp.steps import did_you_mean
from waha_mcp.store.attendance import Presence
from waha_mcp.tools.catalog import (
    CATALOG,
    ArgumentError,
    Context,
    Progress,
    Tool,
    exposed,
    no_progress,
    session_advice,
    why_hidden,
)
from waha_mcp.tools.params import Reference
from waha_mcp.tools.presenting import View
from waha_mcp.tools.references import References
from waha_mcp.tools.toolsets import TOOLSETS, load_tools
from waha_mcp.tools.wording import Answer, answer_from
from waha_mcp.waha.client import Waha
from waha_mcp.waha.errors import Forbidden, SessionNotReady, Unauthorized, WahaError
from waha_mcp.waha.events import Event
from waha_mcp.waha.key_probe import KeyProbe
from waha_mcp.waha.models import Result
from waha_mcp.waha.parsing import kind_of_chat
from waha_mcp.whatsapp.ids import phone_of
from waha_mcp.whatsapp.untrusted import clean_name

if TYPE_CHECKING:
    from waha_mcp.indexing import Indexing
    from waha_mcp.policy.call import Call
    from waha_mcp.policy.gate import Policy
    from waha_mcp.store import Store
    from waha_mcp.waha.shared_events import SharedEvents

logger = logging.getLogger(__name__)

#: Seconds before the policy is loaded, so that the client's first listing is answered before.
LISTING_FIRST = 0.2
#: Seconds that a call waits for the feed to open first.
OPENING = 5.0
#: Substrings of the operations that may change names of people, groups or channels.
_NAMED = ("/groups", "/contacts", "/channels")


class UnknownTool(Exception):
    """No tool with that name is exposed: it does not exist, or the App or the grant hides it."""


class Withdrawn(UnknownTool):
    """The tool was listed, and is not exposed now. The text says why, for the agent."""


class _NotResolved(ArgumentError):
    """A name, number or id in the arguments leads to no chat, or to several."""


def _both(first: ArgumentError | None, second: ArgumentError) -> ArgumentError:
    """An error with the text of both."""
    return ArgumentError(f"{first}. {second}") if first else second


#: The decision in the trail on a call that ends this way before the gate.
EARLY = {UnknownTool: "not offered", _NotResolved: "not resolved", ArgumentError: "invalid arguments"}


@dataclass(frozen=True)
class Shared:
    """What a bridge shares with the others of its process; by default it has its own, or none."""

    store: Store | None = None
    events: SharedEvents | None = None
    observer: Observer = NOBODY


ALONE = Shared()


class Bridge:
    """One running App. Entering it starts to probe the grant of its key; leaving it closes its connections."""

    def __init__(self, app: App, *, paced: bool = True, shared: Shared = ALONE) -> None:
        """Load the App's toolsets. Makes no request. `paced`: whether filling the index leaves WAHA time for others.

        Raises:
            AppError: the App names an unknown toolset or tool.
        """
        # A tool in `include` or `exclude` may be in any toolset.
        load_tools() if app.include or app.exclude else load_tools(app.toolsets)
        for what, named, known in (
            ("toolset", app.toolsets, TOOLSETS),
            ("tool in include", app.include, CATALOG.keys()),
            ("tool in exclude", app.exclude, CATALOG.keys()),
        ):
            if unknown := sorted(named - known):
                there = (
                    f"the toolsets are {', '.join(sorted(known))}" if len(known) < 20 else "there is none by that name"
                )
                meant = did_you_mean(unknown[0], known)
                raise AppError(f"unknown {what} {', '.join(map(repr, unknown))}: {there}{meant}")
        self.app = app
        self._shared = shared
        self.waha = Waha(app.url, app.key, app.session, ca_file=app.ca_file, observer=shared.observer)
        self.key = KeyProbe(app, self.waha)
        self.key.listeners.add(self._grant_changed)
        #: Awaited whenever the exposed tools have changed.
        self.listeners: set[Callable[[], Awaitable[None]]] = set()
        #: All tools ever listed, and when removed ones were removed.
        self._listed: set[str] = set()
        #: What the App declares, which is listed before WAHA has answered, also by another process of the App.
        self._declared = self.key.grant
        self._gone: dict[str, datetime] = {}
        #: The table of people, shared by policy and directory.
        self.people = FilledTable(self.waha)
        #: Events in WhatsApp. It listens from when a tool needs it.
        self.feed = Feed(self.waha, live=app.feed == "live", shared=shared.events)
        self.feed.listeners.add(self._heard)
        self.feed.refused = partial(self.key.doubt, Action.READ)
        #: What is recorded for people who ask which clients there are.
        self.presence = Presence(app.id, lambda: self.policy.store, lambda: (self.feed.state, self.feed.why))
        self.feed.turned = self.presence.changed
        #: The local index; None: the App has none, or it is not known yet whether the key may read.
        self.indexing: Indexing | None = None
        self._paced = paced
        self._start: Callable[..., object] | None = None
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        self._stack.enter_context(hidden(*self.app.secrets()))
        await self._stack.enter_async_context(self.waha)
        tasks = await self._stack.enter_async_context(anyio.create_task_group())
        self._stack.callback(tasks.cancel_scope.cancel)
        self.people.start = self.feed.start = self.presence.start = self._start = tasks.start_soon
        tasks.start_soon(self.key.watch, self._get_ready)
        return self

    async def __aexit__(self, *exc_info: Any) -> None:
        await self._stack.aclose()
        if self.indexing is not None:
            await self.indexing.end()
        if self._shared.store is not None:
            # Otherwise it ends with the process's own store.
            await anyio.to_thread.run_sync(self.presence.end)
        if "policy" in self.__dict__:
            await self.policy.aclose()

    def end_trail(self) -> None:
        """Write pending lines to the trail, for a process that ends without closing the bridge. Blocks."""
        if "policy" in self.__dict__:
            self.policy.end_trail()

    @cached_property
    def policy(self) -> Policy:
        """The policy. Imported with the first call; listings do not need it."""
        from waha_mcp.policy.gate import Policy

        return Policy(self.app, self.people, self._shared.observer, self._shared.store)

    @cached_property
    def references(self) -> References:
        """The short ids of messages and cursors."""
        return References(self.app.id, self.app.key, self.policy.store)

    @cached_property
    def directory(self) -> Directory:
        """Resolves names for arguments and results."""
        readable = self.policy.readable if self.policy.read_limited else everyone
        return Directory(self.people, readable, self.policy.written)

    # Tools and calls

    @property
    def phone(self) -> str | None:
        """The account's number in E.164 form, once it is known; makes no request."""
        return next(filter(None, map(phone_of, sorted(self.people.table.me))), None)

    def tools(self) -> list[Tool]:
        """The exposed tools, in a stable order."""
        return exposed(self.app, self.key.grant)

    def listing(self) -> list[Tool]:
        """The exposed tools, for a client: a later call of a removed one is told why."""
        found = self.tools()
        self._listed |= {tool.name for tool in found}
        return found

    def listed_before(self, names: Iterable[str]) -> None:
        """Record tools that a client was listed at an earlier start: see `listing`."""
        self._listed |= CATALOG.keys() & set(names)

    async def call(
        self,
        name: str,
        arguments: Mapping[str, Any],
        *,
        ask: Ask = cannot_ask,
        client: str | None = None,
        progress: Progress = no_progress,
    ) -> Result:
        """Run one tool, if the policy allows the call.

        `ask` asks the person at the client; `client` names it in the trail; `progress` reports on long tools.

        Raises:
            UnknownTool: not exposed; nothing was sent to WAHA for it.
            Withdrawn: not exposed any more.
            ArgumentError: invalid arguments, or a name with no match or several; nothing was changed.
            Refusal: the policy refuses the call; nothing was changed.
            WahaError: WAHA failed or refused.
        """
        began = time.monotonic()
        try:
            made = await self._made(name, arguments, ask, client, progress, began)
        except BaseException as error:
            decision = next((word for kind, word in EARLY.items() if isinstance(error, kind)), None)
            outcome = "refused" if decision else "failed" if isinstance(error, Exception) else "broken off"
            ms = round((time.monotonic() - began) * 1000, 1)
            self.policy.note(name, arguments, client=client, decision=decision or "not checked", outcome=outcome, ms=ms)
            raise
        async with self._noting(made.tool):
            try:
                result = await self.policy.run(made)
            finally:
                if made.changes.possible and any(kind in call for call in made.tool.calls for kind in _NAMED):
                    # Also after an error: names may have changed.
                    self.people.expire()
        if made.tool.afterwards is None:
            return result
        return await made.tool.afterwards(result, {**made.arguments, **made.beside}, made.context, made.place)

    async def answer(self, name: str, arguments: Mapping[str, Any], **call: Any) -> Answer:
        """Run one tool as `call`, and word its result as docs/answers.md says, within the App's budget.

        Raises as `call`.
        """
        result = await self.call(name, arguments, **call)
        return await self.worded(result, full=arguments.get("detail") == "full", names=not CATALOG[name].effect)

    async def worded(self, result: Result, *, full: bool = False, names: bool = True) -> Answer:
        """A result worded as docs/answers.md says, within the App's budget. Nothing is handed out except through this.

        `names`: as in `Policy.hands_out`.
        """
        await self.policy.hands_out(result, names=names)

        def view() -> View:
            return View(self.directory, self.app.zone, full=full)

        return await answer_from(result, view, self.references, self.app.budget)

    async def error(self, text: str) -> str:
        """The text of an error for the agent: with references to messages, and without the App's key."""
        return redact_answer(await self.references.in_text(text), self.app.key)

    async def _made(
        self, name: str, arguments: Mapping[str, Any], ask: Ask, client: str | None, progress: Progress, began: float
    ) -> Call:
        """The call for the gate, which began at `began` (monotonic clock). Raises as `call`."""
        from waha_mcp.policy.call import Call

        await self.key.settle()
        if name in self._listed and CATALOG[name].action is not None and not self.key.known:
            # It may have been listed at an earlier start; a call needs WAHA's word, or why there is none.
            await self.key.confirm()
        tool = self._offered(name)
        parsed, wrong = await self._parsed(tool, arguments)
        completed = {name: value for name, value in parsed.items() if name not in tool.arguments.model_fields}
        parsed |= await self._with_long_ids(tool, completed)
        allow_repeat = bool(parsed.pop("allow_repeat", False))
        if tool.action is None:
            grant = await self.key.recheck()
        else:
            if not self.key.identified:
                await self.key.identify()
                tool = self._offered(name)
            grant = self.key.grant
        self.directory.available = Action.READ in grant.actions
        async with self._noting(tool):
            if tool.action is not None:
                await self.policy.prepare(grant)
                await self._begin_to_index()
            try:
                parsed, written = await self._with_chat_ids(tool, parsed)
            except _NotResolved as error:
                raise _both(wrong, error) from None
            if wrong:
                raise wrong
            beside = {name: parsed.pop(name) for name in tool.needs if name in parsed}
            await self._ready_for(tool, beside, parsed)
        return Call(tool, parsed, self._context(grant, progress, began), ask, client, allow_repeat, written, beside)

    def _context(self, grant: Grant, progress: Progress, began: float) -> Context:
        policy = self.policy
        return Context(
            self.app,
            self.waha,
            grant,
            self.directory,
            policy.readable,
            policy.summary,
            policy.paused,
            progress,
            self.feed,
            began,
            indexing=self.indexing,
            task_grants=policy.task_grants,
        )

    async def chat_names(self, beginning: str, limit: int = 20) -> list[str]:
        """Completions for a chat argument: names, or ids where names are not unique, of chats matching `beginning`.

        The most recent chats if `beginning` is empty; no completions without the action read.

        Raises:
            WahaError: WAHA could not be asked.
        """
        async with self.reading() as ctx:
            if ctx is None:
                return []
            await self.directory.load()
        return self.directory.completions(beginning, limit)

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Context | None]:
        """The context for reads other than tools; None without the action read. Errors in it count as those of a call.

        Raises:
            WahaError: WAHA could not be asked.
        """
        began = time.monotonic()
        await self.key.settle()
        if Action.READ in self.key.grant.actions and not self.key.identified:
            await self.key.identify()
        grant = self.key.grant
        self.directory.available = Action.READ in grant.actions
        if not self.directory.available:
            yield None
            return
        async with self._noting():
            await self.policy.prepare(grant)
            yield self._context(grant, no_progress, began)

    @asynccontextmanager
    async def _noting(self, tool: Tool | None = None) -> AsyncIterator[None]:
        """On Unauthorized withdraw all actions; on Forbidden check the refused action again. Both are re-raised.

        SessionNotReady is re-raised with the next step that this key allows.
        """
        try:
            yield
        except Unauthorized as error:
            await self.key.refuse(str(error))
            raise
        except Forbidden as error:
            # An operation that is not among the tool's own `calls` was a look-up, which needs read.
            doubted = Action.READ if tool is None or error.operation not in tool.calls else tool.action
            if doubted is not None:
                await self.key.doubt(doubted)
            raise
        except SessionNotReady as error:
            if error.status not in (None, "WORKING"):
                error.args = (session_advice(str(self.waha.session), error.status, self.app, self.key.grant),)
            raise

    async def _parsed(self, tool: Tool, arguments: Mapping[str, Any]) -> tuple[dict[str, Any], ArgumentError | None]:
        """The arguments, validated and with what references stand for; and what is wrong where they are guessed.

        Arguments of unknown names are guessed, so that one error tells what else is wrong with them. It is raised
        when their names have been looked up, and nothing else is done with them.

        Raises:
            ArgumentError: invalid arguments.
        """
        given = tool.normalized(arguments)
        guessed = tool.guessed(given)
        wrong: ArgumentError | None = None
        if guessed != given:
            try:
                tool.validated(given, self.app.zone)
            except ArgumentError as error:
                wrong = error
        try:
            long = await self._with_long_ids(tool, guessed)
        except ArgumentError as error:
            raise _both(wrong, error) from None
        try:
            return tool.validated(long, self.app.zone), wrong
        except ArgumentError as error:
            raise wrong or error from None

    async def _with_long_ids(self, tool: Tool, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments with what each reference in them stands for.

        Raises:
            ArgumentError: one stands for nothing, or the store is away.
        """

        async def long(kinds: str, name: str, value: Any) -> Any:
            if isinstance(value, list):
                return [await long(kinds, name, each) for each in value]
            return await self.references.expand(kinds, value, name) if isinstance(value, str) else value

        marked: list[tuple[str, Iterable[str]]] = [
            ("m", tool.messages),
            ("c", tool.cursors),
            ("mc", tool.places),
            ("gnp", tool.references),
        ]
        given = [(kinds, name) for kinds, names in marked for name in names if name in arguments]
        called = {name: mark.called or name for name, mark in tool.references.items()}
        expanded, wrong = dict(arguments), None
        for kinds, name in given:
            try:
                expanded[name] = await long(kinds, called.get(name, name), arguments[name])
            except ArgumentError as error:
                wrong = _both(wrong, error)
        if wrong:
            raise wrong
        return expanded

    async def _with_chat_ids(self, tool: Tool, arguments: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
        """The arguments with every chat and person (id, number or name) resolved to a chat id; each id as written.

        Raises:
            ArgumentError: no match, or several, or a chat of the wrong kind.
        """
        resolved, as_written = dict(arguments), dict[str, str]()

        async def chat_id(value: str, mark: Reference) -> str:
            chat = await self._chat_id(value, mark, tool.effect)
            as_written.setdefault(chat, value.strip())
            return chat

        for name, mark in tool.references.items():
            value = arguments[name]
            try:
                if isinstance(value, str):
                    resolved[name] = await chat_id(value, mark)
                elif value is not None:
                    resolved[name] = [await chat_id(each, mark) for each in value]
            except Unresolved as error:
                await self.policy.hands_out_names(error.named)
                raise _NotResolved(f"{mark.called or name}: {error}") from None
        return resolved, as_written

    async def _ready_for(self, tool: Tool, beside: Mapping[str, Any], arguments: Mapping[str, Any]) -> None:
        """Prepare for what the call will wait for.

        Raises:
            ArgumentError: it may not be done in the call's chat.
        """
        for name in filter(beside.get, beside):
            if not self.policy.readable(arguments[tool.needs[name].of]):
                raise ArgumentError(f"{name}: this chat may not be read here, so leave it out. Nothing was done")
            with suppress(WahaError), anyio.move_on_after(OPENING):
                # What is heard from now on need not be read back.
                await self.feed.open()

    async def _chat_id(self, written: str, mark: Reference, effect: bool) -> str:
        try:
            chat = await self.directory.resolve(written, mark.kind, effect=effect)
        except NotOnWhatsApp as error:
            if not self.policy.read_limited or (effect and mark.reached):
                raise
            # The policy says the same about it as about a chat that may not be read.
            chat = error.chat
        kind = kind_of_chat(chat)
        if mark.kind is not None and kind != mark.kind:
            # As it was written: only those who may read the chat may learn the id.
            raise Unresolved(f"{clean_name(written, 60)} is a {kind}; this tool takes a {mark.kind}")
        return chat

    def _offered(self, name: str) -> Tool:
        tool = CATALOG.get(name)
        why = None if tool is None else why_hidden(tool, self.app, self.key.grant)
        if tool is None or (why is not None and not self._was_offered(tool)):
            raise UnknownTool(name)
        if why is not None and tool.action in self.key.grant.unknown:
            raise Withdrawn(f"{name} is offered, but {why}. Nothing was done: try again later.")
        if why is not None:
            since = f" since {self._gone[name]:%H:%M}" if name in self._gone else ""
            raise Withdrawn(
                f"{name} was offered and is no longer available{since}: {why.rstrip('.')}. "
                "Nothing was done. Only the user can change that: tell them, and do not look for a way around."
            )
        return tool.under(self.key.grant.actions)

    def _was_offered(self, tool: Tool) -> bool:
        # Some clients list the tools in one process and make each call in another.
        return tool.name in self._listed or why_hidden(tool, self.app, self._declared) is None

    # Events

    def _heard(self, event: Event) -> None:
        """Apply what an event changes in what is known."""
        if event.kind == "group" and event.chat is not None:
            self.people.changed(event.chat)
        elif event.kind == "session":
            self.waha.hear_status(str(event.what))

    # Changes of the grant

    async def _get_ready(self) -> None:
        """Load the policy and resolve its lists, once the grant is known."""
        # The client's pending listing comes first: it needs no policy, and loading the policy takes time.
        await anyio.sleep(LISTING_FIRST)
        await self._begin_to_index()
        await self.policy.prepare(self.key.grant)
        logger.info("App %s %s", self.app.id, self.policy.summary())

    async def _begin_to_index(self) -> None:
        """Keep the App's index filled, or delete it where the key may not read (any more)."""
        if not self.app.index or not self.key.known:
            return
        withdrawn = self.key.withdrawn(Action.READ)
        if self.indexing is None or (self.indexing.ended and not withdrawn):
            from waha_mcp.indexing import Indexing

            self.indexing = Indexing(
                self.app.id,
                self.feed,
                self.people,
                kept=self.app.kept,
                may_keep=self.policy.indexed,
                prepare=lambda: self.policy.prepare(self.key.grant),
                paced=self._paced,
                secrets=self.app.secrets(),
            )
        if not withdrawn:
            assert self._start is not None
            self.indexing.begin(self._start)
        elif not self.indexing.ended:
            await self._end_index()

    async def _end_index(self) -> None:
        """Delete the index, since this key may no longer read; if the App has another key now, only close it."""
        assert self.indexing is not None
        try:
            await self.indexing.end(delete=not await anyio.to_thread.run_sync(self.app.replaced))
        except OSError as error:
            logger.error("The index could not be deleted: %s", error.strerror or error)

    async def _grant_changed(self, before: Grant) -> None:
        if Action.READ not in self.key.grant.actions:
            self.feed.close()
        if self.indexing is not None:
            await self._begin_to_index()
        had, has = exposed(self.app, before), self.tools()
        if had == has:
            return
        gone = {tool.name for tool in had} - {tool.name for tool in has}
        still = self._gone.keys() - {tool.name for tool in has}
        self._gone = {name: self._gone[name] for name in still} | dict.fromkeys(gone, datetime.now().astimezone())
        for listener in tuple(self.listeners):
            try:
                await listener()
            except Exception:  # a closed client must not stop the caller or the other listeners
                logger.exception("Could not tell a client that the tools have changed")
