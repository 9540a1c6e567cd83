"""Messages arrive while the connection is cut at random; each tool receives them in parallel, in a separate bridge.

`waha-mcp listen` receives them, too, in a separate process.
"""

from __future__ import annotations

import json
import random
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.abc import ByteReceiveStream, TaskStatus
from anyio.streams.text import TextReceiveStream

from tests.harness import Admin, app_for, command_after, environment
from waha_mcp.bridge import Bridge
from waha_mcp.feed import live
from waha_mcp.sandbox import SandboxInfo, running
from waha_mcp.tools.core import hearing

SAM, MAYA, STRANGER, HIDDEN = "12025550123@c.us", "447700900142@c.us", "12025550188@c.us", "211000000000777@lid"
CHATS = (MAYA, STRANGER, HIDDEN)
#: How `listen` names them; the hidden one by a reference.
SHOWN = {"Maya Lindqvist": MAYA, "+12025550188": STRANGER}
#: Shorter delays before reconnecting, in each process; and a shorter quiet period, after which a burst or an answer has
#: settled.
PAUSE, LONGEST_PAUSE, SETTLE = 0.05, 0.3, 0.2
QUICK = (
    "from waha_mcp.feed import live, settling\n"
    f"live.FIRST_PAUSE, live.LONGEST_PAUSE, settling.SETTLE = {PAUSE}, {LONGEST_PAUSE}, {SETTLE}\n"
)
#: Everybody who writes in CHATS may wake an agent, without limit.
LISTEN = """\
url = "{url}"
key = "{key}"

[listen]
allow = ["Maya Lindqvist", "+1 202 555 0188", "211000000000777@lid"]
per_hour = 1000
"""
#: Seconds until a run counts as failed, and seconds after the last message in which `listen` might still report one
#: twice.
PATIENCE, AFTERWARDS = 240.0, 1.0


@dataclass
class Ears:
    """What one tool has received: texts by chat, in the order reported."""

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
    """For one tool: messages lost, reported twice, and reported before an earlier one of their chat; and the total."""

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
        patch.setattr(live, "FIRST_PAUSE", PAUSE)
        patch.setattr(live, "LONGEST_PAUSE", LONGEST_PAUSE)
        patch.setattr(hearing, "SETTLE", SETTLE)
        async with running(engine=engine, reply_after=0.1) as info:
            admin = Admin(info)
            try:
                return await _Run(info, admin, rng).run(messages, cuts, sends)
            finally:
                await admin.aclose()


class _Run:
    def __init__(self, info: SandboxInfo, admin: Admin, rng: random.Random) -> None:
        self._app, self._admin, self._rng = app_for(info, info.keys["read_send"]), admin, rng
        self._listen_app = LISTEN.format(url=info.url, key=info.keys["read"])
        self._said: dict[str, list[str]] = {chat: [] for chat in CHATS}
        self._ears = {name: Ears() for name in ("wait_for_messages", "get_updates")}
        self._printed, self._answers = Ears(), Ears()

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
                await tasks.start(self._read_lines, messages)
                tasks.start_soon(self._talk, three, sends, said[SAM])
                await self._arrive(messages, cuts)
        found = [outcome(name, ears, self._said) for name, ears in self._ears.items()]
        return [
            *found,
            outcome("send_text, wait_for_reply", self._answers, said),
            outcome("waha-mcp listen", self._printed, self._said),
        ]

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
        """Call one tool repeatedly, each time with the cursor of its last answer, until it has received that many."""
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
            # A little longer than until all are there, in case some come twice.
            settled += ears.count >= messages

    async def _read_lines(self, messages: int, *, task_status: TaskStatus[None]) -> None:
        """Run `waha-mcp listen`, and read what it prints until it has reported that many."""
        with tempfile.TemporaryDirectory() as folder:
            command = [*command_after(QUICK), "listen", "--app", _app_file(folder, self._listen_app), "--json"]
            env = environment(XDG_STATE_HOME=folder)
            async with await anyio.open_process(command, env=env) as process, anyio.create_task_group() as tasks:
                await tasks.start(_has_begun, process.stderr)
                task_status.started()
                with anyio.move_on_after(PATIENCE / 2) as scope:
                    async for line in _lines(process.stdout):
                        burst = json.loads(line)
                        chat = SHOWN.get(burst["chat"], HIDDEN)
                        self._printed.heard[chat] += [each["text"] for each in burst["messages"]]
                        if self._printed.count >= messages:
                            # A little longer, as above.
                            scope.deadline = anyio.current_time() + AFTERWARDS
                process.terminate()

    async def _talk(self, bridge: Bridge, sends: int, said: list[str]) -> None:
        for number in range(sends):
            text = f"question {number}"
            said.append(f"Got it: “{text}” 👍")
            sent = await bridge.call("send_text", {"chat": SAM, "text": text, "wait_for_reply": 20})
            for each in sent.replies:  # type: ignore[attr-defined]
                self._answers.heard[SAM].append(each.text)


def _app_file(folder: str, text: str) -> str:
    path = Path(folder, "ears.toml")
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)
    return str(path)


async def _has_begun(stderr: ByteReceiveStream | None, *, task_status: TaskStatus[None]) -> None:
    """Read the log of `listen` until it ends, and signal once it is connected."""
    async for line in _lines(stderr):
        if "from now on" in line:
            task_status.started()


async def _lines(stream: ByteReceiveStream | None) -> AsyncIterator[str]:
    assert stream is not None
    rest = ""
    async for text in TextReceiveStream(stream):
        *whole, rest = (rest + text).split("\n")
        for line in whole:
            yield line
