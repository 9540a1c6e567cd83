"""Probes a key at WAHA: whether it is a scoped key, its session, and its actions."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress

import anyio

from waha_mcp.app.actions import UNNAMED_ACTIONS, Action, Evidence, Grant
from waha_mcp.app.definition import App
from waha_mcp.waha.client import Waha
from waha_mcp.waha.errors import (
    Forbidden,
    NotFound,
    Refused,
    SessionNotReady,
    Unauthorized,
    UnknownOperation,
    Unsupported,
    WahaError,
    other_session,
)
from waha_mcp.waha.parsing import all_of, mapping_of, text_of
from waha_mcp.waha.session_state import SESSIONS
from waha_mcp.waha.versions import SCOPED_KEYS

logger = logging.getLogger(__name__)

#: Seconds that a call, or a listing without declared actions, waits for the probe.
SETTLE_BUDGET = 2.0
#: Seconds between two probes while something is unknown: the first wait and the longest (exponential backoff).
RETRY_FIRST, RETRY_MOST = 2.0, 60.0

#: Harmless GETs that show whether a key has an action: without it, WAHA's guard answers 403. control, setting and
#: delete have none.
PROBES = {
    Action.READ: "GET /api/sessions/{session}",
    Action.SEND: "GET /api/{session}/status/new-message-id",
    Action.APP: "GET /api/apps",
}
_ADMIN_PROBE, _VERSION = "GET /api/server/environment", "GET /api/server/version"

_ADMIN_KEY = (
    "This is an admin key (or WAHA runs without keys), which would put no limit on the agent. Make a scoped one: "
    "with `waha-mcp init`, or as an MCP app of the session in WAHA's dashboard. Or set allow_admin_key = true in the "
    "App."
)
_NO_WAHA = "A program other than WAHA answers at the App's url: ask the user to correct it."
_NO_SCOPED_KEYS = (
    f"WAHA's API is not at this URL, or this WAHA is older than {SCOPED_KEYS} and has no scoped keys (404): "
    "ask the user to check the App's url, or to set allow_admin_key = true in the App."
)


class KeyProbe:
    """The grant of one App's key. Makes no request before `identify`, `probe` or `watch` is awaited."""

    def __init__(self, app: App, waha: Waha) -> None:
        """`waha`: the client with the key. If the App names no session, it is set on `waha` once found."""
        self._app, self._waha = app, waha
        self.grant = Grant.initial(app.actions)
        #: Awaited with the previous grant after each change, and whenever WAHA has confirmed the grant.
        self.listeners: set[Callable[[Grant], Awaitable[None]]] = set()
        #: Whether `identify` has succeeded. Before that no action is used: it may be an admin key.
        self.identified = False
        #: Whether WAHA last answered that the key does not exist (any more).
        self.unauthorized = False
        #: When WAHA last confirmed the grant as found at startup (Unix seconds); None: not yet, or an action without a
        #: probe is off, which the next start tries again.
        self.confirmed: float | None = None
        self._settled = anyio.Event()
        #: Single flight of `identify`: a lock, the count of runs, and the error of the last one.
        self._looking = anyio.Lock()
        self._looks = 0
        self._failure: WahaError | None = None

    @property
    def known(self) -> bool:
        """Whether the grant is final: nothing in it is unknown."""
        return self.identified and not self.grant.unknown

    @property
    def admin(self) -> bool:
        """Whether it is known to be an admin key, which this App may not use."""
        return self.grant.problem == _ADMIN_KEY

    def withdrawn(self, action: Action) -> bool:
        """Whether the key is known not to allow an action (any more). False if WAHA has not answered about it."""
        grant = self.grant
        return action not in grant.actions and action not in grant.unknown and grant.problem != _NO_WAHA

    async def settle(self, budget: float = SETTLE_BUDGET) -> bool:
        """Wait for the first probe, at most `budget` seconds; return whether it has ended."""
        with anyio.move_on_after(budget):
            await self._settled.wait()
        return self._settled.is_set()

    async def listable(self, most: float = math.inf) -> bool:
        """Wait for the first probe before a listing, at most `most` seconds; return whether it has ended.

        Declared actions are listed without waiting; if WAHA refuses one, the change is notified.
        """
        return await self.settle(min(SETTLE_BUDGET, most) if self._app.actions is None else 0.0)

    async def identify(self) -> None:
        """Check that the key is a valid scoped key, find its session, and update the grant.

        Concurrent callers share one run (single flight).

        Raises:
            WahaError: WAHA could not be reached or failed; the grant is unchanged.
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
        problem, unauthorized = None, False
        try:
            await self._waha.call(_ADMIN_PROBE, bound=False, unread=True)
            admin = True
        except Forbidden:
            admin = False
        except (NotFound, UnknownOperation):
            admin, problem = False, None if self._app.allow_admin_key else _NO_SCOPED_KEYS
        except Unauthorized as error:
            admin, problem, unauthorized = False, str(error), True
        # Any other error is no evidence that the key is scoped, so it is raised.
        if admin and not self._app.allow_admin_key:
            problem = _ADMIN_KEY if await self._is_waha() else _NO_WAHA
        elif problem is None and self._waha.session is None:
            problem = await self._find_session()
        self.identified, self.unauthorized = True, unauthorized
        await self._apply(self.grant.refused(problem))
        if problem:
            logger.warning("%s", problem)

    async def _is_waha(self) -> bool:
        """Whether WAHA itself answers there, and not a program that answers everything; True if the check fails."""
        with suppress(WahaError):
            return isinstance(mapping_of(await self._waha.call(_VERSION, bound=False)).get("version"), str)
        return True

    async def _find_session(self) -> str | None:
        """Set the client's session to the key's only one; the problem as text if it has none or several."""
        names = await self._session_names()
        if len(names) == 1:
            self._waha.session = names[0]
            return None
        if not names:
            return "WAHA shows this key no session: ask the user to create one, or to set the App's session."
        return f"This key has several sessions ({', '.join(names)}): ask the user to set the App's session to one."

    async def _session_names(self) -> list[str]:
        """The names of the sessions that WAHA lists for the key, sorted. Raises WahaError."""
        answer = await self._waha.call(SESSIONS, query={"all": True}, bound=False)
        return sorted(all_of(answer, "sessions", lambda row: text_of(row.get("name"))))

    async def probe(self, only: Collection[Action] = frozenset(Action)) -> None:
        """Run the harmless probes of the App's actions (those in `only`) concurrently, and update the grant."""
        wanted = (UNNAMED_ACTIONS if self._app.actions is None else self._app.actions) & set(only)
        open_questions = set[Action]()

        async def ask(action: Action, operation: str) -> None:
            try:
                evidence = await self._probe(operation)
            except Unauthorized as error:
                await self.refuse(str(error))
            except WahaError as error:
                open_questions.add(action)
                logger.warning("Could not find out about %s: %s", operation, error)
            else:
                await self._apply(self.grant.with_evidence({action: evidence}))

        async with anyio.create_task_group() as tasks:
            for action, operation in PROBES.items():
                if action in wanted and self.grant.problem is None:
                    tasks.start_soon(ask, action, operation)
        if any(self.grant.evidence[action] is Evidence.REFUSED for action in wanted):
            await self._check_session()
        lost = any(e is Evidence.REFUSED and action not in PROBES for action, e in self.grant.evidence.items())
        if self.known and not self.grant.problem and not open_questions and not lost and set(only) == set(Action):
            self.confirmed = time.time()
            await self._tell(self.grant)

    async def _check_session(self) -> None:
        """Check whether a refusal concerns the session: WAHA's 403 does not say, but it lists only a key's own."""
        if self.grant.problem is not None or self._waha.session is None:
            return
        try:
            names = await self._session_names()
        except WahaError as error:
            logger.warning("Could not find out about the key's session: %s", error)
            return
        if self._waha.session not in names:
            await self._apply(self.grant.refused(other_session(self._waha.session, names)))

    async def _probe(self, operation: str) -> Evidence:
        try:
            await self._waha.call(operation)
        except Forbidden:
            return Evidence.REFUSED
        except (SessionNotReady, Unsupported, Refused):
            return Evidence.PROBED  # past the guard
        return Evidence.PROBED

    async def doubt(self, action: Action) -> None:
        """Check an action again after one of its operations was answered with 403.

        The 403 does not say why. If the action has a harmless probe, the probe decides; else it counts as refused.
        """
        if action in PROBES:
            await self.probe({action})
        else:
            self.confirmed = None
            await self._apply(self.grant.with_evidence({action: Evidence.REFUSED}))
            await self._check_session()

    async def refuse(self, why: str) -> None:
        """Withdraw all actions, because WAHA does not know the key. `why`: the problem to show."""
        self.unauthorized = True
        await self._apply(self.grant.refused(why))

    async def watch(self, then: Callable[[], Awaitable[None]]) -> None:
        """Identify and probe, with retries until nothing is unknown or the grant has a problem.

        `then` is awaited after each successful probe. It may raise WahaError, which is logged.
        """
        wait = RETRY_FIRST
        while True:
            try:
                await self.confirm()
                self._settled.set()
                await then()
            except WahaError as error:
                logger.warning("%s", error)
            self._settled.set()
            if self.known:
                return
            await anyio.sleep(wait)
            wait = min(2 * wait, RETRY_MOST)

    async def confirm(self) -> None:
        """Identify and probe, once.

        Raises:
            WahaError: WAHA could not be reached or failed.
        """
        await self.identify()
        await self.probe()

    async def recheck(self) -> Grant:
        """Identify and probe again; the grant to show in a status.

        Actions about which WAHA does not answer stay as before. If the key was never identified, the grant is shown as
        refused, since calls would fail.
        """
        try:
            await self.identify()
            with anyio.move_on_after(SETTLE_BUDGET):
                await self.probe()
        except WahaError as error:
            logger.warning("%s", error)
            if not self.identified:
                return self.grant.refused(str(error))
        return self.grant

    async def _apply(self, grant: Grant) -> None:
        before, self.grant = self.grant, grant
        if grant != before:
            await self._tell(before)

    async def _tell(self, before: Grant) -> None:
        for listener in tuple(self.listeners):
            await listener(before)


async def examine(app: App) -> Grant:
    """The grant of the App's key for all actions, whichever the App declares.

    control, setting and delete have no harmless probe; their evidence stays DECLARED.

    Raises:
        WahaError: WAHA could not be reached or failed.
    """
    async with Waha(app.url, app.key, app.session, ca_file=app.ca_file) as waha:
        key = KeyProbe(app.model_copy(update={"actions": frozenset(Action)}), waha)
        await key.identify()
        await key.probe()
    return key.grant
