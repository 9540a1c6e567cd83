"""Messages arrive while the connection is cut at random; each tool hears them at once, in a bridge of its own."""

from __future__ import annotations

import random
import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import anyio
import pytest

from tests.harness import Admin, app_for
from waha_mcp.bridge import Bridge
from waha_mcp.feed import live
from waha_mcp.sandbox import SandboxInfo, running

SAM, MAYA, STRANGER, HIDDEN = "12025550123@c.us", "447700900142@c.us", "12025550188@c.us", "211000000000777@lid"
CHATS = (MAYA, STRANGER, HIDDEN)
#: Seconds until a run counts as failed.
PATIENCE = 240.0


@dataclass
class Ears:
    """What one tool has heard: texts by chat, in the order in which it told them."""

    heard: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def add(self, messages: Iterable[Any]) -> None:
        before = ""
        for message in messages:
            if getattr(message, "what", None) is not None:
                before = message.chat or before
                continue
            before = message.chat or before
            if message.sender != "me":
                self.heard[before].append(message.text)

    @property
    def count(self) -> int:
        return sum(len(self.heard[chat]) for chat in CHATS)


@dataclass(frozen=True)
class Outcome:
    """Of one tool: messages lost, told twice, and told before an earlier one of their chat; of how many."""

    tool: str
    messages: int
    lost: int
    twice: int
    out_of_order: int


def outcome(tool: str, ears: Ears, said: dict[str, list[str]]) -> Outcome:
    lost = twice = disorder = 0
    for chat, texts in said.items():
        counts = Counter(ears.heard[chat])
        lost += sum(text not in counts for text in texts)
        twice += sum(count - 1 for count in counts.values())
        places = [texts.index(text) for text in dict.fromkeys(ears.heard[chat]) if text in counts and text in texts]
        disorder += sum(after < before for before, after in pairwise(places))
    return Outcome(tool, sum(map(len, said.values())), lost, twice, disorder)


async def drops(engine: str, messages: int, cuts: int, sends: int, seed: int = 1) -> list[Outcome]:
    """Let `messages` arrive, cut all connections `cuts` times meanwhile, and wait for the answers to `sends`."""
    rng = random.Random(seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(live, "FIRST_PAUSE", 0.05)
        patch.setattr(live, "LONGEST_PAUSE", 0.3)
        async with running(engine=engine, reply_after=0.1) as info:
            admin = Admin(info)
            try:
                return await _Run(info, admin, rng).run(messages, cuts, sends)
            finally:
                await admin.aclose()


class _Run:
    def __init__(self, info: SandboxInfo, admin: Admin, rng: random.Random) -> None:
        self._app, self._admin, self._rng = app_for(info, info.keys["read_send"]), admin, rng
        self._said: dict[str, list[str]] = {chat: [] for chat in CHATS}
        self._ears = {name: Ears() for name in ("wait_for_messages", "get_updates")}
        self._answers = Ears()
        self._started = 0
        self._over = anyio.Event()

    async def run(self, messages: int, cuts: int, sends: int) -> list[Outcome]:
        said: dict[str, list[str]] = {SAM: []}
        with anyio.fail_after(PATIENCE):
            async with (
                Bridge(self._app) as one,
                Bridge(self._app) as two,
                Bridge(self._app) as three,
                anyio.create_task_group() as tasks,
            ):
                for name, bridge in zip(self._ears, (one, two), strict=True):
                    start = (await bridge.call("get_updates", {})).model_dump()["cursor"]
                    tasks.start_soon(self._listen, name, bridge, start, messages)
                tasks.start_soon(self._talk, three, sends, said[SAM])
                await self._arrive(messages, cuts)
        found = [outcome(name, ears, self._said) for name, ears in self._ears.items()]
        return [*found, outcome("send_text, wait_for_reply", self._answers, said)]

    async def _arrive(self, messages: int, cuts: int) -> None:
        cut_at = set(self._rng.sample(range(messages), cuts))
        for number in range(messages):
            chat = self._rng.choice(CHATS)
            text = f"message {number}"
            self._said[chat].append(text)
            await self._admin.request("POST", "/sandbox/messages", {"chatId": chat, "text": text})
            if number in cut_at:
                await self._admin.request("POST", "/sandbox/socket", {"drop": True})
            if self._rng.random() < 0.1:
                await anyio.sleep(self._rng.random() / 20)

    async def _listen(self, name: str, bridge: Bridge, cursor: str, messages: int) -> None:
        """Call one tool again and again, from the cursor of its last answer on, until it has heard as many."""
        ears, ends = self._ears[name], time.monotonic() + PATIENCE / 2
        settled = 0
        while settled < 3 and time.monotonic() < ends:
            if name == "get_updates":
                found = await bridge.call(name, {"after": cursor})
                ears.add(found.updates)  # type: ignore[attr-defined]
                await anyio.sleep(0.05)
            else:
                found = await bridge.call(name, {"after": cursor, "settle": 0, "timeout": 1})
                ears.add(found.messages)  # type: ignore[attr-defined]
            cursor = found.cursor  # type: ignore[attr-defined]
            # A little longer than until all are there: some might come twice.
            settled += ears.count >= messages

    async def _talk(self, bridge: Bridge, sends: int, said: list[str]) -> None:
        for number in range(sends):
            text = f"question {number}"
            said.append(f"Got it: “{text}” 👍")
            sent = await bridge.call("send_text", {"chat": SAM, "text": text, "wait_for_reply": 20})
            for each in sent.replies:  # type: ignore[attr-defined]
                self._answers.heard[SAM].append(each.text)
