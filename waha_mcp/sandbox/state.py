"""The server's state: sessions, keys, apps, pending effects, faults, the request log and the event listeners."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Any, TypeVar

from waha_mcp.app.actions import Action
from waha_mcp.sandbox.account import Account
from waha_mcp.sandbox.answers import Refusal, http_error
from waha_mcp.sandbox.contract import contract
from waha_mcp.sandbox.engines import ENGINES, Engine, Wording
from waha_mcp.sandbox.event_stream import Stream
from waha_mcp.sandbox.faults import Faults, RequestLog
from waha_mcp.sandbox.happenings import Happening, Kept, StatusChanged
from waha_mcp.sandbox.key_ring import Keys, every_action
from waha_mcp.sandbox.seed import NO_SIZE, Size, build_account

T = TypeVar("T")
WORKING = "WORKING"
#: The base of `media.url`: WAHA's configured address, which may differ from the one that clients use.
PUBLIC_URL = "http://waha.example.com:3000"


@dataclass(slots=True)
class Session:
    """One session. `account` is None until it is paired; `changed` fires when the status does.

    `statuses` are its last ones, with their times; `missed` are the happenings that WhatsApp keeps until the session is
    up.
    """

    name: str
    status: str
    config: dict[str, Any] = field(default_factory=dict)
    account: Account | None = None
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    qr: int = 0
    number_caches: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    statuses: list[dict[str, Any]] = field(default_factory=list)
    missed: list[Kept] = field(default_factory=list)


@dataclass(slots=True)
class Pending:
    """A pending effect, such as an acknowledgement or an answer."""

    handle: asyncio.TimerHandle
    effect: Callable[[], None]


class Sandbox:
    """The state of one running sandbox.

    Args:
        engine: `gows`, `noweb`, `webjs` or `wpp`.
        seed: makes the account; the same seed gives the same account, relative to `now`.
        now: Unix seconds that count as the start; the real time when None.
        size: how large the account is.
        status_wait: seconds WAHA waits for a session to reach the wanted status before it answers 422.
        reply_after: seconds until an answering person replies.
    """

    def __init__(
        self,
        *,
        engine: str = "gows",
        seed: int = 1,
        now: int | None = None,
        size: Size = NO_SIZE,
        status_wait: float = 0.05,
        reply_after: float = 0.3,
    ) -> None:
        if engine not in ENGINES:
            raise ValueError(f"unknown engine {engine!r}: the engines are {', '.join(ENGINES)}")
        self.contract = contract()
        engine_class, wording_class = ENGINES[engine]
        self.engine: Engine = engine_class(PUBLIC_URL)
        self.wording: Wording = wording_class(self.engine)
        self.seed = seed
        self.started = time.time()
        self.status_wait = status_wait
        self.reply_after = reply_after
        self.keys = Keys()
        self.apps: dict[str, dict[str, Any]] = {}
        self.faults = Faults()
        self.log = RequestLog()
        self.stream = Stream()
        self._pending: dict[int, Pending] = {}
        self._background: set[asyncio.Task[Any]] = set()
        self._numbers = count(1)
        self._born = int(self.started) if now is None else now
        self._size = size
        self.sessions = {"default": self._first_session()}
        self.named_keys = {
            name: self.keys.create(session="default", actions=every_action(on=on), label=name).secret
            for name, on in NAMED_KEYS.items()
        }

    @property
    def version(self) -> dict[str, Any]:
        """`WAHAEnvironment` of WAHA."""
        return {
            "version": self.contract.waha,
            "engine": self.engine.name,
            "tier": "CORE",
            "browser": "/usr/bin/google-chrome-stable",
            "platform": "linux/x64",
            "worker": {"id": ""},
        }

    def now(self) -> float:
        """The time that new messages get."""
        return time.time()

    def _first_session(self) -> Session:
        return Session("default", WORKING, default_config(), self.paired_account())

    def begin_anew(self) -> None:
        """Return to the initial state, with the same keys and listeners. Pending effects are dropped."""
        self._drop_pending()
        self.apps.clear()
        self.faults.active.clear()
        self.log.clear()
        for key_id, key in list(self.keys.stored.items()):
            if key.secret not in self.named_keys.values():
                self.keys.delete(key_id)
        self.sessions = {"default": self._first_session()}

    def paired_account(self) -> Account:
        """A fresh account, for a session that has just been paired."""
        return build_account(self.seed, self._born, self._size)

    def turn(self, session: Session, status: str) -> None:
        """Set a session's status; one that is up again receives the happenings it has missed."""
        again = status == session.status and status != "SCAN_QR_CODE"
        session.status = status
        session.changed.set()
        session.changed = asyncio.Event()
        if not again:
            point = {"status": status, "timestamp": time.time_ns() // 1_000_000}
            session.statuses = [point] if status == "STARTING" else [*session.statuses[-2:], point]
            self.emit(session, StatusChanged())
        if status == WORKING:
            missed, session.missed = session.missed, []
            for each in missed:
                self.emit(session, each)

    def emit(self, session: Session, happening: Happening) -> None:
        """Report a happening in the account to the session's listeners. WhatsApp keeps some of them for a session that
        is not up.
        """
        if session.status != WORKING and not isinstance(happening, StatusChanged):
            if isinstance(happening, Kept):
                session.missed.append(happening)
            return
        if not self.stream.hears(session.name):
            return
        delay = self.wording.delay(happening)
        if delay:
            self.later(delay, lambda: self._tell(session, happening))
        else:
            self._tell(session, happening)

    def _tell(self, session: Session, happening: Happening) -> None:
        account = session.account
        metadata = session.config.get("metadata")
        before = {} if metadata is None else {"metadata": metadata}
        after = {"engine": self.engine.name, "environment": self.version}
        me = None if account is None else self.wording.me(account)
        self.stream.publish(session.name, before | {"me": me}, self.wording.events(session, happening), after)

    def later(self, delay: float, effect: Callable[[], None]) -> None:
        """Schedule an effect after `delay` seconds, or as soon as `settle` is called."""
        number = next(self._numbers)

        def fire() -> None:
            if self._pending.pop(number, None) is not None:
                effect()

        self._pending[number] = Pending(asyncio.get_running_loop().call_later(delay, fire), effect)

    def due(self, delay: float) -> asyncio.Event:
        """An event that is set after `delay` seconds, or when `settle` is called."""
        due = asyncio.Event()
        self.later(delay, due.set)
        return due

    def in_background(self, delay: float, work: Callable[[], Awaitable[T]]) -> asyncio.Task[T]:
        """Do `work` after `delay` seconds, or when `settle` is called, even if nobody waits for it any more."""
        due = self.due(delay)

        async def wait_and_work() -> T:
            await due.wait()
            return await work()

        task = asyncio.create_task(wait_and_work())
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return task

    async def settle(self) -> int:
        """Run all pending effects now, in order of time, including those that they cause, and wait for them; return how
        many ran.
        """
        count = 0
        while self._pending or self._background:
            if not self._pending:
                await asyncio.wait(self._background)
                continue
            pending = self._pending.pop(min(self._pending, key=lambda each: (self._pending[each].handle.when(), each)))
            pending.handle.cancel()
            pending.effect()
            count += 1
        return count

    def close(self) -> None:
        """Drop pending effects, so that none runs after the server has stopped."""
        self._drop_pending()
        self.stream.close()

    def _drop_pending(self) -> None:
        for pending in self._pending.values():
            pending.handle.cancel()
        self._pending.clear()
        for task in self._background:
            task.cancel()

    async def in_status(self, name: str, wanted: str) -> Session:
        """The session, once it has the wanted status.

        Raises:
            Refusal: 422 for an unknown session, 404 for a stopped one, 422 after `status_wait` in another status.
        """
        session = self.sessions.get(name)
        if session is None:
            raise Refusal(422, {"error": f'Session "{name}" does not exist', "session": name})
        if session.status == "STOPPED":
            raise http_error(
                404,
                f"We didn't find a session with name '{name}'.\n"
                f"Please start it first by using POST /api/sessions/{name}/start request",
            )
        try:
            async with asyncio.timeout(self.status_wait):
                while session.status != wanted:
                    await session.changed.wait()
        except TimeoutError:
            raise Refusal(
                422,
                {
                    "error": "Session status is not as expected. Try again later or restart the session",
                    "session": name,
                    "status": session.status,
                    "expected": [wanted],
                },
            ) from None
        return session


NAMED_KEYS: dict[str, set[Action]] = {
    "none": set(),
    "read": {Action.READ},
    "send": {Action.SEND},
    "read_send": {Action.READ, Action.SEND},
    "full": set(Action),
}


def default_config() -> dict[str, Any]:
    """A session's configuration, with secrets like those in real ones."""
    return {
        "metadata": {"customer.id": "42"},
        "debug": False,
        "proxy": {"server": "proxy.example.com:3128", "username": "proxy-user", "password": "proxy-secret"},
        "noweb": {"markOnline": True, "store": {"enabled": True, "fullSync": False}},
        "webhooks": [
            {
                "url": "https://hooks.example.com/waha",
                "events": ["message", "session.status"],
                "hmac": {"key": "hmac-secret"},
                "retries": {"policy": "constant", "delaySeconds": 2, "attempts": 15},
                "customHeaders": [{"name": "X-Token", "value": "header-secret"}],
            }
        ],
    }
