"""What a key may do, as WAHA itself tells: whose it is, its session, and the actions that it grants."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Collection

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
    Unsupported,
    WahaError,
)
from waha_mcp.waha.parsing import all_of, text_of

logger = logging.getLogger(__name__)

#: Seconds that a call, or a listing of what is not declared, waits for the key's actions to be found out.
SETTLE_BUDGET = 2.0
#: Seconds between two looks for a WAHA that could not be reached: the first wait, and the longest.
RETRY_FIRST, RETRY_MOST = 2.0, 60.0

#: Harmless looks that tell whether a key has an action: WAHA's guard answers 403 before anything else happens.
#: control, setting and delete have none.
_PROBES = {
    Action.READ: "GET /api/sessions/{session}",
    Action.SEND: "GET /api/{session}/status/new-message-id",
    Action.APP: "GET /api/apps",
}
_ADMIN_PROBE = "GET /api/server/environment"

_ADMIN_KEY = (
    "This is an admin key (or WAHA runs without keys), which would put no limit on the agent. Make a scoped one: "
    "add an MCP app to the session in WAHA's dashboard and use its key, or set allow_admin_key = true in the App."
)
_NO_SCOPED_KEYS = (
    "WAHA's API is not at this URL, or this WAHA is older than 2026.4 and knows no scoped keys (404): "
    "ask the user to check the App's url, or to set allow_admin_key = true in the App."
)


class KeyProbe:
    """What one App's key may do. Nothing is asked until `identify`, `probe` or `watch` is awaited."""

    def __init__(self, app: App, waha: Waha) -> None:
        """The key that `waha` calls with. A session that the App doesn't name is set on `waha` once it is found."""
        self._app, self._waha = app, waha
        self.grant = Grant.initial(app.actions)
        #: Awaited with the grant of before, whenever it has changed.
        self.listeners: set[Callable[[Grant], Awaitable[None]]] = set()
        #: Whether the key was looked at. Nothing is called on one that was not: it may be an admin's.
        self.identified = False
        self._settled = anyio.Event()
        #: One look at a time; how many there were, and how the last one failed.
        self._looking = anyio.Lock()
        self._looks = 0
        self._failure: WahaError | None = None

    async def settle(self, budget: float = SETTLE_BUDGET) -> bool:
        """Wait until the key's actions are found out, `budget` seconds at most; whether they are."""
        with anyio.move_on_after(budget):
            await self._settled.wait()
        return self._settled.is_set()

    async def listable(self) -> bool:
        """Wait as long as a listing does; whether the key's actions are found out.

        Actions that the App declares are listed at once: what WAHA refuses of them is taken back and announced.
        """
        return await self.settle(SETTLE_BUDGET if self._app.actions is None else 0.0)

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
            await self._waha.call(_ADMIN_PROBE, bound=False, unread=True)
            admin = True
        except Forbidden:
            admin = False
        except NotFound:
            admin, problem = False, None if self._app.allow_admin_key else _NO_SCOPED_KEYS
        except Unauthorized as error:
            admin, problem = False, str(error)
        # Any other answer is no evidence that the key is a scoped one, and goes up.
        if admin and not self._app.allow_admin_key:
            problem = _ADMIN_KEY
        elif problem is None and self._waha.session is None:
            problem = await self._find_session()
        self.identified = True
        await self._apply(self.grant.refused(problem))
        if problem:
            logger.warning("%s", problem)

    async def _find_session(self) -> str | None:
        """Bind to the key's only session; what is wrong where it has none or several."""
        answer = await self._waha.call("GET /api/sessions", query={"all": True}, bound=False)
        names = all_of(answer, "sessions", lambda row: text_of(row.get("name")))
        if len(names) == 1:
            self._waha.session = names[0]
            return None
        if not names:
            return "WAHA shows this key no session: ask the user to create one, or to set the App's session."
        return (
            f"This key has several sessions ({', '.join(sorted(names))}): ask the user to set the App's session to one."
        )

    async def probe(self, only: Collection[Action] = frozenset(Action)) -> None:
        """Ask WAHA, all at once, for those of the App's actions that it can be asked for harmlessly."""
        wanted = (UNNAMED_ACTIONS if self._app.actions is None else self._app.actions) & set(only)

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
            await self._waha.call(operation)
        except Forbidden:
            return Evidence.REFUSED
        except (SessionNotReady, Unsupported, Refused):
            return Evidence.PROBED  # past the guard
        return Evidence.PROBED

    async def doubt(self, action: Action) -> None:
        """Find out whether an action is gone, of which one of its own operations was refused (403).

        WAHA does not say why it refuses, and a proxy in front of it may refuse single operations. Where an action has
        a harmless probe, the probe decides. Where it has none, the refusal counts.
        """
        if action in _PROBES:
            await self.probe({action})
        else:
            await self._apply(self.grant.with_evidence({action: Evidence.REFUSED}))

    async def refuse(self, why: str) -> None:
        """Take back all actions, because WAHA refuses the key as a whole."""
        await self._apply(self.grant.refused(why))

    async def watch(self, then: Callable[[], Awaitable[None]]) -> None:
        """Identify and probe; as long as WAHA leaves something open, look again now and then.

        `then` is awaited after each look that succeeds. It may raise WahaError, which is logged.
        """
        wait = RETRY_FIRST
        while True:
            try:
                await self.identify()
                await self.probe()
                self._settled.set()
                await then()
            except WahaError as error:
                logger.warning("%s", error)
            self._settled.set()
            if self.identified and (self.grant.problem or Evidence.UNKNOWN not in self.grant.evidence.values()):
                return
            await anyio.sleep(wait)
            wait = min(2 * wait, RETRY_MOST)

    async def recheck(self) -> Grant:
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
            if not self.identified:
                return self.grant.refused(str(error))
        return self.grant

    async def _apply(self, grant: Grant) -> None:
        before, self.grant = self.grant, grant
        if grant != before:
            for listener in tuple(self.listeners):
                await listener(before)


async def examine(app: App) -> Grant:
    """What WAHA grants the App's key, asked about every action whatever the App names.

    Of control, setting and delete, which cannot be asked for harmlessly, the evidence stays DECLARED.

    Raises:
        WahaError: WAHA cannot be reached.
    """
    async with Waha(app.url, app.key, app.session, ca_file=app.ca_file) as waha:
        key = KeyProbe(app.model_copy(update={"actions": frozenset(Action)}), waha)
        await key.identify()
        await key.probe()
    return key.grant
