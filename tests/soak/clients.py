"""A client: a random mix of what agents do and what they may not, with repeats while an outcome is open."""

from __future__ import annotations

import base64
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

from tests.soak.servers import Hung, Lost, Way
from tests.soak.verdict import CLAIMS, Call
from tests.soak.world import Chats, Rules, marks
from waha_mcp.sandbox.sample_files import jpeg

#: Ids of messages in answers, and the text of a call that waits for a person.
_MESSAGE = re.compile(r'"(?:id|message_id)":"(m[0-9]+)"')
_WAITS = re.compile(r"waiting for approval, id")
_PICTURE = base64.b64encode(jpeg()).decode()

#: How an agent reacts to each kind of answer about something it wanted done: how often it repeats the call, and after
#: how many seconds. Other answers end it.
AGAIN: Mapping[str, tuple[int, float, float]] = {
    "nothing": (40, 0.2, 0.6),
    "unknown": (2, 0.5, 3.0),
    "repeat: under way": (6, 0.5, 1.5),
    "not sent": (3, 0.5, 3.0),
    "waits": (8, 1.5, 4.0),
}


@dataclass
class Shared:
    """Shared by all clients of a place: `ids` that any of them has seen, and who has a repeat to make."""

    ids: deque[str] = field(default_factory=lambda: deque(maxlen=400))
    calls: list[Call] = field(default_factory=list)
    #: Marks of lost answers that have not been repeated yet: no clock is set meanwhile.
    owed: set[str] = field(default_factory=set)
    stop: threading.Event = field(default_factory=threading.Event)
    #: Errors of the soak itself.
    failures: list[BaseException] = field(default_factory=list)


@dataclass(eq=False)
class _Wish:
    """A call to be made, and how often each kind of answer came."""

    tool: str
    arguments: dict[str, Any]
    mark: str = ""
    due: float = 0.0
    heard: dict[str, int] = field(default_factory=dict)


class Client(threading.Thread):
    """One client, until `stop` is set and no repeat is left."""

    def __init__(
        self,
        number: int,
        place: str,
        rules: Rules,
        chats: Chats,
        way: Way,
        shared: Shared,
        *,
        seed: int,
        think: tuple[float, float],
    ) -> None:
        super().__init__(name=f"{rules.app}-{number}", daemon=True)
        self._number, self._place, self._rules, self._chats = number, place, rules, chats
        self._way, self._shared, self._think = way, shared, think
        self._draw = Random(f"{seed} client {number}")
        self._marks = marks(number)
        self._owed: list[_Wish] = []
        self._own = chats.own[rules.app]

    def run(self) -> None:
        try:
            # One call of each reading tool, so that the server has loaded everything for it.
            for wish in [*self._reads(), *self._looks()] if self._rules.reads else ():
                if not self._shared.stop.is_set():
                    self._step(wish)
            while not self._shared.stop.is_set():
                self._step(self._next())
                self._shared.stop.wait(self._draw.uniform(*self._think))
            # The last lost answer is repeated, too, as an agent would.
            for wish in [each for each in self._owed if each.mark in self._shared.owed]:
                self._step(wish)
        except BaseException as error:
            self._shared.failures.append(error)
            raise
        finally:
            self._way.close()

    def _next(self) -> _Wish:
        now = time.monotonic()
        due = next((each for each in self._owed if each.due <= now), None)
        return due if due is not None else self._wish()

    def _step(self, wish: _Wish) -> None:
        if wish in self._owed:
            self._owed.remove(wish)
        call = Call(self._place, self._rules.app, self._number, wish.tool, wish.arguments, time.time(), mark=wish.mark)
        try:
            call.text, call.is_error = self._way.call(wish.tool, wish.arguments)
        except Lost:
            pass
        except Hung:
            call.hung = True
        call.ended = time.time()
        self._shared.calls.append(call)
        if call.text is not None and not call.is_error:
            self._shared.ids.extend(_MESSAGE.findall(call.text))
        if wish.mark:
            self._follow(wish, call)

    def _follow(self, wish: _Wish, call: Call) -> None:
        said: str = call.said
        if said == "other" and _WAITS.search(call.text or ""):
            said = "waits"
        if said == "nothing":
            self._shared.owed.add(wish.mark)
        else:
            self._shared.owed.discard(wish.mark)
        if said in CLAIMS or said not in AGAIN:
            return
        most, soonest, latest = AGAIN[said]
        wish.heard[said] = wish.heard.get(said, 0) + 1
        if wish.heard[said] <= most:
            wish.due = time.monotonic() + self._draw.uniform(soonest, latest)
            self._owed.append(wish)
        else:
            self._shared.owed.discard(wish.mark)

    # What it wants

    def _wish(self) -> _Wish:
        rules = self._rules
        kinds: list[tuple[int, Callable[[], _Wish]]] = [(4, self._refused), (1, self._nonsense)]
        if rules.reads:
            kinds += [(12, self._read), (2, self._look)]
        if rules.sends:
            kinds += [(12, self._send), (2, self._react), (1, self._mark_read)]
        weights = [weight for weight, _ in kinds]
        [(_, made)] = self._draw.choices(kinds, weights)
        return made()

    def _of(self, chats: frozenset[str]) -> str:
        """One of these chats, in one of the ways to write it."""
        return self._written(self._draw.choice(sorted(chats)))

    def _written(self, chat: str) -> str:
        return chat if self._draw.random() < 0.7 else f"+{chat.partition('@')[0]}"

    def _id(self) -> str:
        """The id of a message: one that this App has seen, or one that another App has."""
        return self._draw.choice(self._shared.ids) if self._shared.ids else "m000000001"

    def _read(self) -> _Wish:
        return self._draw.choice(self._reads())

    def _reads(self) -> list[_Wish]:
        mark = next(self._marks)
        chat = self._of(self._rules.reads)
        return [
            _Wish("list_chats", {"limit": self._draw.randint(1, 30)}),
            _Wish("get_messages", {"chat": chat, "limit": self._draw.randint(1, 40)}),
            _Wish("get_messages", {"chat": self._own, "limit": 10}),
            _Wish("search_messages", {"query": "mk", "limit": 10}),
            _Wish("search_messages", {"query": f"nobody said {mark}"}),
            _Wish("get_unread", {"lines": 3}),
            _Wish("get_catch_up", {}),
            _Wish("get_updates", {}),
            _Wish("wait_for_messages", {"timeout": 1}),
            _Wish("list_groups", {}),
            _Wish("get_status", {}),
        ]

    def _look(self) -> _Wish:
        return self._draw.choice(self._looks())

    def _looks(self) -> list[_Wish]:
        return [
            _Wish("get_message", {"message_id": self._id(), "before": 2}),
            _Wish("get_media", {"message_id": self._id()}),
        ]

    def _send(self) -> _Wish:
        mark, chat = next(self._marks), self._of(self._rules.sends)
        if self._rules.kind == "paced":
            chat = self._written(self._own)
        kind = self._draw.random()
        if kind < 0.7:
            return _Wish("send_text", {"chat": chat, "text": f"See you at {mark}"}, mark)
        if kind < 0.85:
            return _Wish("send_media", {"chat": chat, "kind": "image", "data": _PICTURE, "caption": mark}, mark)
        return _Wish("send_poll", {"chat": chat, "question": f"{mark}?", "options": ["yes", "no"]}, mark)

    def _react(self) -> _Wish:
        return _Wish("react", {"message_id": self._id(), "emoji": self._draw.choice("👍❤😀")})

    def _mark_read(self) -> _Wish:
        return _Wish("mark_read", {"chat": self._of(self._rules.sends)})

    def _refused(self) -> _Wish:
        """A call that policy must refuse. Its mark may not appear anywhere."""
        mark, chats = next(self._marks), self._chats
        others = [each for app, each in chats.own.items() if app != self._rules.app]
        unsent = [e for e in (chats.unwritable, chats.sealed, *others, self._own) if e not in self._rules.sends]
        unread = [each for each in (chats.sealed, *others) if each not in self._rules.reads]
        return self._draw.choice(
            [
                _Wish("send_text", {"chat": self._written(self._draw.choice(unsent)), "text": f"Never {mark}"}),
                _Wish("send_text", {"chat": f"Nobody {mark}", "text": "Hello"}),
                _Wish("get_messages", {"chat": self._written(self._draw.choice(unread))}),
                _Wish("search_messages", {"query": "mk", "chat": self._draw.choice(unread)}),
                _Wish("mark_read", {"chat": self._draw.choice(unsent)}),
            ]
        )

    def _nonsense(self) -> _Wish:
        mark = next(self._marks)
        return self._draw.choice(
            [
                _Wish("no_such_tool", {"text": mark}),
                _Wish("send_text", {"chat": self._own, "txt": mark}),
                _Wish("get_messages", {"chat": self._own, "limit": "many"}),
                _Wish("get_message", {"message_id": f"true_{self._own}_{mark}"}),
                _Wish("list_chats", {"cursor": mark}),
                _Wish("delete_chat", {"chat": self._own}),
            ]
        )
