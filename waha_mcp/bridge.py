"""The bridge: one App bound to WAHA. It knows the grant, lists the tools and runs them; it knows no MCP."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import anyio

from waha_mcp.app.actions import UNNAMED_ACTIONS, Action, Evidence, Grant
from waha_mcp.app.definition import App, AppError
from waha_mcp.people.directory import Directory
from waha_mcp.people.filling import FilledTable
from waha_mcp.people.resolving import Unresolved
from waha_mcp.policy import Ask, cannot_ask
from waha_mcp.tools.budget import fit
from waha_mcp.tools.catalog import CATALOG, ArgumentError, Context, Progress, Tool, exposed, no_progress, why_hidden
from waha_mcp.tools.params import Reference
from waha_mcp.tools.toolsets import TOOLSETS, load_tools
from waha_mcp.waha.client import Waha
from waha_mcp.waha.errors import (
    Forbidden,
    NotFound,
    Refused,
    SessionNotReady,
    Unauthorized,
    Unsupported,
    WahaError,
)
from waha_mcp.waha.models import Result
from waha_mcp.waha.parsing import all_of, kind_of_chat, text_of

if TYPE_CHECKING:
    from waha_mcp.policy.gate import Policy

logger = logging.getLogger(__name__)

#: Seconds that a call, or a listing of what is not declared, waits for the key's actions to be found out.
SETTLE_BUDGET = 2.0
#: Seconds that a client gets to ask for its first listing before the policy is loaded.
LISTING_FIRST = 0.2
#: Seconds between two looks for a WAHA that could not be reached: the first wait, and the longest.
RETRY_FIRST, RETRY_MOST = 2.0, 60.0

#: Harmless looks that tell whether a key has an action: WAHA's guard answers 403 before anything else happens.
#: control, setting and delete have none.
_PROBES = {
    Action.READ: "GET /api/sessions/{session}",
    Action.SEND: "GET /api/{session}/status/new-message-id",
    Action.APP: "GET /api/apps",
}
#: Parts of the operations that change who is called what.
_NAMED = ("/groups", "/contacts", "/channels")
_ADMIN_PROBE = "GET /api/server/environment"

_ADMIN_KEY = (
    "This is an admin key (or WAHA runs without keys), which would put no limit on the agent. Make a scoped one: "
    "add an MCP app to the session in WAHA's dashboard and use its key, or set allow_admin_key = true in the App."
)
_NO_SCOPED_KEYS = (
    "WAHA's API is not at this URL, or this WAHA is older than 2026.4 and knows no scoped keys (404): "
    "ask the user to check the App's url, or to set allow_admin_key = true in the App."
)


class UnknownTool(Exception):
    """No tool of that name is on offer: there is none, or the grant does not hold it."""


class Bridge:
    """One App at work. Entering it starts finding out what its key may do; leaving it closes its connections.

    `on_change` is awaited whenever the tools on offer have changed.
    """

    def __init__(self, app: App, on_change: Callable[[], Awaitable[None]] | None = None) -> None:
        """Bind an App. No request is made yet.

        Raises:
            AppError: the App names a toolset or a tool that there is not.
        """
        # A tool that is named may be in any toolset.
        load_tools() if app.include or app.exclude else load_tools(app.toolsets)
        for what, named, known in (
            ("toolset", app.toolsets, TOOLSETS),
            ("tool in include", app.include, CATALOG.keys()),
            ("tool in exclude", app.exclude, CATALOG.keys()),
        ):
            if unknown := sorted(named - known):
                raise AppError(f"unknown {what} {', '.join(map(repr, unknown))}: there are {', '.join(sorted(known))}")
        self.app = app
        self.waha = Waha(app.url, app.key, app.session, ca_file=app.ca_file)
        #: Who is who, for the policy and for the directory.
        self.people = FilledTable(self.waha)
        self.grant = Grant.initial(app.actions)
        self.on_change = on_change
        self._settled = anyio.Event()
        self._identified = False
        #: One look at a time; how many there were, and how the last one failed.
        self._looking = anyio.Lock()
        self._looks = 0
        self._failure: WahaError | None = None
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        await self._stack.enter_async_context(self.waha)
        tasks = await self._stack.enter_async_context(anyio.create_task_group())
        self._stack.callback(tasks.cancel_scope.cancel)
        self.people.start = tasks.start_soon
        tasks.start_soon(self._find_out)
        return self

    async def __aexit__(self, *exc_info: Any) -> None:
        await self._stack.aclose()
        if "policy" in self.__dict__:
            await self.policy.aclose()

    @cached_property
    def policy(self) -> Policy:
        """The gate that calls pass. Loaded with the first of them: a listing is answered without."""
        from waha_mcp.policy.gate import Policy

        return Policy(self.app, self.people)

    @cached_property
    def directory(self) -> Directory:
        """Who is behind a name."""
        return Directory(self.people, self.policy.readable, self.policy.written)

    # What is on offer

    def tools(self) -> list[Tool]:
        """The tools on offer now, in a stable order."""
        return exposed(self.app, self.grant)

    async def settle(self, budget: float = SETTLE_BUDGET) -> bool:
        """Wait until the key's actions are found out, `budget` seconds at most; whether they are."""
        with anyio.move_on_after(budget):
            await self._settled.wait()
        return self._settled.is_set()

    async def listable(self) -> bool:
        """Wait as long as a listing does; whether the key's actions are found out.

        Actions that the App declares are listed at once: what WAHA refuses of them is taken back and announced.
        """
        return await self.settle(SETTLE_BUDGET if self.app.actions is None else 0.0)

    async def call(
        self,
        name: str,
        arguments: Mapping[str, Any],
        *,
        ask: Ask = cannot_ask,
        client: str | None = None,
        progress: Progress = no_progress,
    ) -> Result:
        """Run one tool, if the policy lets it pass.

        `ask` puts a question to the person at the client called `client`; `progress` is told how far a long tool is.

        Raises:
            UnknownTool: not on offer; nothing was sent to WAHA on its behalf.
            ArgumentError: the arguments are wrong, or name nobody or several; nothing was changed.
            Refusal: the policy does not let it pass; nothing was changed.
            WahaError: WAHA could not, or would not.
        """
        from waha_mcp.policy.call import Call

        await self.settle()
        tool = self._offered(name)
        parsed = tool.parse(arguments)
        allow_repeat = bool(parsed.pop("allow_repeat", False))
        grant = self.grant
        if tool.action is None:
            grant = await self._recheck()
        elif not self._identified:
            # Nothing runs on a key that was never looked at: it may be an admin's.
            await self.identify()
            tool = self._offered(name)
            grant = self.grant
        self.directory.available = Action.READ in grant.actions
        async with self._noting(tool):
            if tool.action is not None:
                await self.policy.prepare(grant)
            parsed = await self._with_chat_ids(tool, parsed)
            ctx = Context(
                self.app, self.waha, grant, self.directory, self.policy.readable, self.policy.summary, progress
            )
            made = Call(tool, parsed, ctx, ask, client, allow_repeat)
            try:
                result = await self.policy.run(made)
            finally:
                if made.changes.possible and any(kind in call for call in tool.calls for kind in _NAMED):
                    # Whatever came of it: who is called what may have changed.
                    self.people.expire()
        return fit(result, self.app.budget)

    async def chat_names(self, beginning: str, limit: int = 20) -> list[str]:
        """What may be written for a chat whose name is like `beginning`; empty: the most recent. None without read.

        A name that several share is given as their ids.

        Raises:
            WahaError: WAHA could not be asked.
        """
        await self.settle()
        if Action.READ in self.grant.actions and not self._identified:
            # As for a call: nothing is asked for with a key that may be an admin's.
            await self.identify()
        self.directory.available = Action.READ in self.grant.actions
        if not self.directory.available:
            return []
        async with self._noting():
            await self.policy.prepare(self.grant)
            await self.directory.load()
        return self.directory.completions(beginning, limit)

    @asynccontextmanager
    async def _noting(self, tool: Tool | None = None) -> AsyncIterator[None]:
        """Take back what WAHA refuses: the key as a whole, or an action of which that is certain."""
        try:
            yield
        except Unauthorized as error:
            await self._apply(self.grant.refused(str(error)))
            raise
        except Forbidden as error:
            await self._doubt(error, tool)
            raise

    async def _doubt(self, error: Forbidden, tool: Tool | None) -> None:
        """Find out whether a 403 means that an action is gone.

        WAHA does not say why it refuses, and what stands in front of it may refuse single operations. Where an action
        has a harmless probe, the probe decides. Where it has none, what counts is one of the tool's own operations.
        """
        doubted = Action.READ if tool is None or error.operation not in tool.calls else tool.action
        if doubted in _PROBES:
            await self.probe({doubted})
        elif doubted is not None:
            await self._apply(self.grant.with_evidence({doubted: Evidence.REFUSED}))

    async def _with_chat_ids(self, tool: Tool, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments with every chat and person, given by id, number or name, as a chat id.

        Raises:
            ArgumentError: what was written names nobody, or several.
        """
        resolved = dict(arguments)
        for name, mark in tool.references.items():
            value = arguments[name]
            try:
                if isinstance(value, str):
                    resolved[name] = await self._chat_id(value, mark, tool.effect)
                elif value is not None:
                    resolved[name] = [await self._chat_id(each, mark, tool.effect) for each in value]
            except Unresolved as error:
                raise ArgumentError(f"{name}: {error}") from None
        return resolved

    async def _chat_id(self, written: str, mark: Reference, effect: bool) -> str:
        chat = await self.directory.resolve(written, mark.kind, effect=effect)
        kind = kind_of_chat(chat)
        if mark.kind is not None and kind != mark.kind:
            raise Unresolved(f"{chat} is a {kind}; this tool takes a {mark.kind}")
        return chat

    def _offered(self, name: str) -> Tool:
        tool = CATALOG.get(name)
        if tool is None or why_hidden(tool, self.app, self.grant) is not None:
            raise UnknownTool(name)
        return tool

    # Finding out what the key may do

    async def identify(self) -> None:
        """Find the key's session, and refuse a key that WAHA refuses or takes for an admin's.

        Who comes while another looks gets what that one finds, so that a slow WAHA is not asked once per call.

        Raises:
            WahaError: WAHA could not be reached, so nothing is known.
        """
        looks = self._looks
        async with self._looking:
            if looks == self._looks:
                self._failure = None
                try:
                    await self._look()
                except WahaError as error:
                    self._failure = error
                self._looks += 1
            if self._failure is not None:
                raise self._failure

    async def _look(self) -> None:
        problem = None
        try:
            await self.waha.call(_ADMIN_PROBE, bound=False, unread=True)
            admin = True
        except Forbidden:
            admin = False
        except NotFound:
            admin, problem = False, None if self.app.allow_admin_key else _NO_SCOPED_KEYS
        except Unauthorized as error:
            admin, problem = False, str(error)
        # Any other answer is no evidence that the key is a scoped one, and goes up.
        if admin and not self.app.allow_admin_key:
            problem = _ADMIN_KEY
        elif problem is None and self.waha.session is None:
            problem = await self._find_session()
        self._identified = True
        await self._apply(self.grant.refused(problem))
        if problem:
            logger.warning("%s", problem)

    async def _find_session(self) -> str | None:
        """Bind to the key's only session; what is wrong where it has none or several."""
        answer = await self.waha.call("GET /api/sessions", query={"all": True}, bound=False)
        names = all_of(answer, "sessions", lambda row: text_of(row.get("name")))
        if len(names) == 1:
            self.waha.session = names[0]
            return None
        if not names:
            return "WAHA shows this key no session: ask the user to create one, or to set the App's session."
        return (
            f"This key has several sessions ({', '.join(sorted(names))}): ask the user to set the App's session to one."
        )

    async def probe(self, only: Collection[Action] = frozenset(Action)) -> None:
        """Ask WAHA, all at once, for those of the App's actions that it can be asked for harmlessly."""
        wanted = (UNNAMED_ACTIONS if self.app.actions is None else self.app.actions) & set(only)

        async def ask(action: Action, operation: str) -> None:
            try:
                evidence = await self._probe(operation)
            except Unauthorized as error:
                await self._apply(self.grant.refused(str(error)))
            except WahaError as error:
                logger.warning("Could not find out about %s: %s", operation, error)
            else:
                await self._apply(self.grant.with_evidence({action: evidence}))

        async with anyio.create_task_group() as tasks:
            for action, operation in _PROBES.items():
                if action in wanted and self.grant.problem is None:
                    tasks.start_soon(ask, action, operation)

    async def _probe(self, operation: str) -> Evidence:
        try:
            await self.waha.call(operation)
        except Forbidden:
            return Evidence.REFUSED
        except (SessionNotReady, Unsupported, Refused):
            return Evidence.PROBED  # past the guard
        return Evidence.PROBED

    async def _find_out(self) -> None:
        """Identify and probe; as long as WAHA leaves something open, look again now and then."""
        wait = RETRY_FIRST
        while True:
            try:
                await self.identify()
                await self.probe()
                self._settled.set()
                # The listing that waits for this goes first: it needs no policy, and loading one takes time.
                await anyio.sleep(LISTING_FIRST)
                await self.policy.prepare(self.grant)
                logger.info("App %s %s", self.app.id, self.policy.summary())
            except WahaError as error:
                logger.warning("%s", error)
            self._settled.set()
            if self._identified and (self.grant.problem or Evidence.UNKNOWN not in self.grant.evidence.values()):
                return
            await anyio.sleep(wait)
            wait = min(2 * wait, RETRY_MOST)

    async def _recheck(self) -> Grant:
        """Look again, so that a status shows what is so now; the grant to show.

        What WAHA does not answer stays as it was. A key that was never looked at is shown as no good, for that is
        what calls will find.
        """
        try:
            await self.identify()
            with anyio.move_on_after(SETTLE_BUDGET):
                await self.probe()
        except WahaError as error:
            logger.warning("%s", error)
            if not self._identified:
                return self.grant.refused(str(error))
        return self.grant

    async def _apply(self, grant: Grant) -> None:
        before = self.tools()
        self.grant = grant
        if self.on_change is not None and self.tools() != before:
            try:
                await self.on_change()
            except Exception:  # a client that has gone must not stop what found the change
                logger.exception("Could not tell that the tools have changed")


async def examine(app: App) -> Grant:
    """What WAHA grants the App's key, asked about every action whatever the App names.

    Of control, setting and delete, which cannot be asked for harmlessly, the evidence stays DECLARED.

    Raises:
        WahaError: WAHA cannot be reached.
    """
    bridge = Bridge(app.model_copy(update={"actions": frozenset(Action)}))
    async with bridge.waha:
        await bridge.identify()
        await bridge.probe()
    return bridge.grant
