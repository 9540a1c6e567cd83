"""What WAHA says of an App, asked with the App's own key: for people who look at it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import anyio

from waha_mcp.app.actions import Action, Grant
from waha_mcp.app.definition import App, AppError
from waha_mcp.bridge import Bridge, Shared
from waha_mcp.console.sight import Sight
from waha_mcp.log import hide
from waha_mcp.people.persons import People
from waha_mcp.policy.own_account import OwnAccount, known_key
from waha_mcp.policy.pace import used
from waha_mcp.policy.question import clock
from waha_mcp.steps import for_person
from waha_mcp.store import Store, StoreAway, in_thread
from waha_mcp.store.attendance import Client
from waha_mcp.waha.errors import Forbidden, Unauthorized, WahaError, no_session, session_step
from waha_mcp.waha.parsing import chat_id_of, listing, mapping_of, text_of
from waha_mcp.whatsapp.ids import phone_of

#: Seconds that WAHA has for all answers; of them, those that the names of chats may take.
PATIENCE, NAMES = 4.0, 1.0
#: Seconds for which an answer is good. A QR code is for about 20.
FRESH = 8.0
#: The state of a session that waits for its QR code to be scanned.
SCAN = "SCAN_QR_CODE"


@dataclass(frozen=True)
class Look:
    """What is known of one App. None, where it says nothing else: that is not known.

    `problem`: why WAHA could not be asked about all of it. `account`: the account's key in the store, for its counts.
    """

    problem: str | None = None
    version: str | None = None
    engine: str | None = None
    #: Seconds until WAHA's first answer; None: there was none.
    seconds: float | None = None
    session: str | None = None
    state: str | None = None
    #: What to do about the state; None where it works.
    step: str | None = None
    phone: str | None = None
    #: The name that the account has chosen for itself.
    name: str | None = None
    grant: Grant | None = None
    account: str | None = None
    #: What the QR code says, where the session waits for it to be scanned; else why it is not to be had.
    qr: str | None = None
    no_qr: str | None = None
    #: Who the chats are that are nearest to a limit, by their ids.
    names: Mapping[str, str] = field(default_factory=dict)

    def who(self, chat: str) -> str:
        """Who a chat is, as far as that is known."""
        return self.names.get(chat) or phone_of(chat) or chat


class Looks:
    """The last look at each App. All who look at one App at a time share one look."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[App, float, Look]] = {}
        self._turns: dict[str, anyio.Lock] = {}

    async def at(self, app: App, store: Store) -> Look:
        """What WAHA says of the App now, or said at most `FRESH` seconds ago."""
        async with self._turns.setdefault(app.id, anyio.Lock()):
            known = self._found.get(app.id)
            if known is None or known[0] != app or time.monotonic() - known[1] > FRESH:
                look = await look_at(app, store, PATIENCE)
                known = self._found[app.id] = app, time.monotonic(), look
            return known[2]


_LOOKS = Looks()


async def looked_at(sight: Sight) -> dict[str, tuple[App, Look] | str]:
    """Of each visible App, by its id, the App and what WAHA says of it; or why it cannot be used, in words."""
    apps = await in_thread(lambda: {app_id: _defined(sight, app_id) for app_id in sight.app_ids()})
    found: dict[str, tuple[App, Look] | str] = dict.fromkeys(apps, "")

    async def look(app_id: str, app: App) -> None:
        found[app_id] = app, await _LOOKS.at(app, store)

    with sight.opened() as store:
        async with anyio.create_task_group() as tasks:
            for app_id, app in apps.items():
                if isinstance(app, str):
                    found[app_id] = app
                else:
                    tasks.start_soon(look, app_id, app)
    return found


def _defined(sight: Sight, app_id: str) -> App | str:
    try:
        app = sight.app(app_id)
    except AppError as error:
        return str(error)
    if app is None:
        return "There is no definition of it here: the program that starts its server knows what it may do."
    for secret in app.secrets():
        hide(secret)
    return app


async def look_at(app: App, store: Store, patience: float) -> Look:
    """Ask WAHA about an App, for at most `patience` seconds. `store`: the user's; it may be away."""
    try:
        bridge = Bridge(app, shared=Shared(store))
    except AppError as error:
        return Look(problem=str(error))
    asking = _Asking(app, bridge, store)
    with anyio.move_on_after(patience) as asked:
        try:
            async with bridge.waha:
                await asking.ask()
        except WahaError as error:
            asking.note(problem=for_person(str(error)))
    if asked.cancelled_caught:
        asking.note(problem=f"WAHA at {app.url} did not answer within {patience:.0f} s")
    if asking.found.account is None and app.session is not None:
        # As its Apps count while WAHA does not tell who it is.
        with suppress(StoreAway):
            asking.note(account=await in_thread(known_key, store, app.url, app.session))
    return asking.found


def client_in_words(client: Client) -> str:
    """A client in words."""
    over = f", over {client.over}" if client.over else ""
    last = f", last heard of at {clock(client.seen)}" if client.over == "http" else ""
    return f"{client.name}{over}, since {clock(client.since)}{last}"


class _Asking:
    """One look. `found`: what is known so far."""

    def __init__(self, app: App, bridge: Bridge, store: Store) -> None:
        self._app, self._bridge, self._store = app, bridge, store
        self.found = Look(session=app.session)

    def note(self, **known: Any) -> None:
        self.found = replace(self.found, **known)

    async def ask(self) -> None:
        """Find out everything.

        Raises:
            WahaError: WAHA could not be asked about all of it.
        """
        waha, key = self._bridge.waha, self._bridge.key
        began = time.monotonic()
        version: Mapping[str, Any] = {}
        # It tells nothing to a key that it does not know: what is wrong with that, the probe says.
        with suppress(Unauthorized):
            version = mapping_of(await waha.call("GET /api/server/version", bound=False))
        self.note(
            seconds=time.monotonic() - began,
            version=text_of(version.get("version")),
            engine=text_of(version.get("engine")),
        )
        await key.confirm()
        self.note(grant=key.grant, session=waha.session)
        if key.grant.problem is not None:
            self.note(problem=for_person(key.grant.problem))
            return
        await self._session()
        if self.found.state == SCAN:
            await self._qr()
        with suppress(StoreAway):
            self.note(account=await OwnAccount(self._app.url, self._bridge.people, self._store).key())
            if self.found.state == "WORKING" and Action.READ in key.grant.actions:
                with anyio.move_on_after(NAMES):
                    await self._names()

    async def _session(self) -> None:
        rows = listing(await self._bridge.waha.call("GET /api/sessions", query={"all": True}, bound=False), "sessions")
        session = str(self.found.session)
        row = next((row for row in rows if row.get("name") == session), {})
        state, me = text_of(row.get("status")), mapping_of(row.get("me"))
        step = None if state == "WORKING" else session_step(session, state) if state else no_session(session)
        self.note(
            state=state,
            step=None if step is None else for_person(step),
            phone=phone_of(chat_id_of(me.get("id")) or ""),
            name=text_of(me.get("pushName")),
        )

    async def _qr(self) -> None:
        try:
            answer = await self._bridge.waha.call("GET /api/{session}/auth/qr", query={"format": "raw"})
            self.note(qr=text_of(mapping_of(answer).get("value")))
        except Forbidden:
            self.note(no_qr="the App's key lacks the action control")
        except WahaError as error:
            self.note(no_qr=for_person(str(error)))

    async def _names(self) -> None:
        people = People(self._bridge.people)
        rows = await in_thread(used, self._app.pace, self._store, self.found.account)
        for chat in dict.fromkeys(row.chat for row in rows if row.chat):
            with suppress(WahaError):
                self.note(names={**self.found.names, chat: str(await people.describe(chat))})
