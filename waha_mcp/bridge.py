"""The bridge: one App bound to WAHA. It knows the grant, lists the tools and runs them; it knows no MCP."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import anyio

from waha_mcp.app.actions import Action, Grant
from waha_mcp.app.definition import App, AppError
from waha_mcp.log import hide
from waha_mcp.people.directory import Directory
from waha_mcp.people.filling import FilledTable
from waha_mcp.people.resolving import Unresolved
from waha_mcp.policy import Ask, cannot_ask
from waha_mcp.tools.budget import fit
from waha_mcp.tools.catalog import CATALOG, ArgumentError, Context, Progress, Tool, exposed, no_progress, why_hidden
from waha_mcp.tools.params import Reference
from waha_mcp.tools.toolsets import TOOLSETS, load_tools
from waha_mcp.waha.client import Waha
from waha_mcp.waha.errors import Forbidden, Unauthorized
from waha_mcp.waha.key_probe import KeyProbe
from waha_mcp.waha.models import Result
from waha_mcp.waha.parsing import kind_of_chat

if TYPE_CHECKING:
    from waha_mcp.policy.gate import Policy

logger = logging.getLogger(__name__)

#: Seconds that a client gets to ask for its first listing before the policy is loaded.
LISTING_FIRST = 0.2
#: Parts of the operations that change who is called what.
_NAMED = ("/groups", "/contacts", "/channels")


class UnknownTool(Exception):
    """No tool of that name is on offer: there is none, or the grant does not hold it."""


class Bridge:
    """One App at work. Entering it starts finding out what its key may do; leaving it closes its connections."""

    def __init__(self, app: App) -> None:
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
        hide(app.key)
        self.waha = Waha(app.url, app.key, app.session, ca_file=app.ca_file)
        self.key = KeyProbe(app, self.waha)
        self.key.listeners.add(self._grant_changed)
        #: Awaited whenever the tools on offer have changed.
        self.listeners: set[Callable[[], Awaitable[None]]] = set()
        #: Who is who, for the policy and for the directory.
        self.people = FilledTable(self.waha)
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        await self._stack.enter_async_context(self.waha)
        tasks = await self._stack.enter_async_context(anyio.create_task_group())
        self._stack.callback(tasks.cancel_scope.cancel)
        self.people.start = tasks.start_soon
        tasks.start_soon(self.key.watch, self._get_ready)
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
        return exposed(self.app, self.key.grant)

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

        await self.key.settle()
        tool = self._offered(name)
        parsed = tool.parse(arguments)
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
        await self.key.settle()
        if Action.READ in self.key.grant.actions and not self.key.identified:
            await self.key.identify()
        self.directory.available = Action.READ in self.key.grant.actions
        if not self.directory.available:
            return []
        async with self._noting():
            await self.policy.prepare(self.key.grant)
            await self.directory.load()
        return self.directory.completions(beginning, limit)

    @asynccontextmanager
    async def _noting(self, tool: Tool | None = None) -> AsyncIterator[None]:
        """Take back what WAHA refuses: the key as a whole, or an action of which that is certain."""
        try:
            yield
        except Unauthorized as error:
            await self.key.refuse(str(error))
            raise
        except Forbidden as error:
            # Of an operation that is not the tool's own, only reading is to be doubted.
            doubted = Action.READ if tool is None or error.operation not in tool.calls else tool.action
            if doubted is not None:
                await self.key.doubt(doubted)
            raise

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
        if tool is None or why_hidden(tool, self.app, self.key.grant) is not None:
            raise UnknownTool(name)
        return tool

    # What the key's grant changes

    async def _get_ready(self) -> None:
        """Load the policy and learn whom it names, once the key's grant is found out."""
        # The listing that waits for the grant goes first: it needs no policy, and loading one takes time.
        await anyio.sleep(LISTING_FIRST)
        await self.policy.prepare(self.key.grant)
        logger.info("App %s %s", self.app.id, self.policy.summary())

    async def _grant_changed(self, before: Grant) -> None:
        if exposed(self.app, before) == self.tools():
            return
        for listener in tuple(self.listeners):
            try:
                await listener()
            except Exception:  # a client that has gone must not stop what found the change, or the others
                logger.exception("Could not tell a client that the tools have changed")
