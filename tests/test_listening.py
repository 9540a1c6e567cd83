"""Whom messages wake and when, in this process: the loop that `waha-mcp listen` and the channel share."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from tests.harness import Admin, app_for
from waha_mcp import listening
from waha_mcp.app.actions import Action
from waha_mcp.bridge import Bridge
from waha_mcp.listening import CannotRead, Listener, Wake
from waha_mcp.sandbox import SandboxInfo
from waha_mcp.tools.core import waking
from waha_mcp.waha.errors import WahaError

# A burst needs its time to settle.
pytestmark = [pytest.mark.anyio, pytest.mark.slow]

SAM, MAYA, DAD, STRANGER = "12025550123@c.us", "447700900142@c.us", "12025550101@c.us", "12025550188@c.us"
ANYBODY = {"allow": ["*"]}
#: Seconds of quiet that end a burst here, and seconds until something expected counts as missing.
SETTLE, PATIENCE = 0.3, 20.0


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waking, "SETTLE", SETTLE)
    monkeypatch.setattr(waking, "LONGEST_SETTLE", 2.0)


class Agent:
    """Takes bursts; with `holds`, each one is in progress until `let` releases it."""

    def __init__(self, sandbox: SandboxInfo, admin: Admin, *, holds: bool = False) -> None:
        self.sandbox, self._admin, self._holds = sandbox, admin, holds
        self.wakes: list[Wake] = []
        #: Chats of the bursts in progress.
        self.busy: list[str] = []
        self.said: list[str] = []
        self.bridge: Bridge
        self.ended: Exception | None = None
        self._let = anyio.Event()
        self._more = anyio.Event()
        self._taken = 0

    async def take(self, wake: Wake) -> None:
        self.wakes.append(wake)
        self.busy.append(wake.chat)
        self.note()
        if self._holds:
            await self._let.wait()
        self.busy.remove(wake.chat)

    def note(self) -> None:
        self._more.set()
        self._more = anyio.Event()

    def let(self) -> None:
        self._holds = False
        self._let.set()

    async def until(self, true: Any) -> None:
        with anyio.fail_after(PATIENCE):
            while not true():
                await self._more.wait()

    async def burst(self) -> dict[str, Any]:
        """The content of the next burst."""
        await self.until(lambda: len(self.wakes) > self._taken)
        self._taken += 1
        found: dict[str, Any] = json.loads(self.wakes[self._taken - 1].line)
        return found

    async def texts(self) -> list[str]:
        return [each["text"] for each in (await self.burst())["messages"]]

    async def says(self, words: str) -> str:
        """The first line of the log with these words."""
        await self.until(lambda: any(words in each for each in self.said))
        return next(each for each in self.said if words in each)

    async def write(self, chat: str, text: str, **more: Any) -> str:
        """A message arrives; returns its id."""
        return str(
            (await self._admin.request("POST", "/sandbox/messages", {"chatId": chat, "text": text, **more}))["id"]
        )

    async def happen(self, kind: str, **more: Any) -> None:
        await self._admin.request("POST", "/sandbox/events", {"kind": kind, **more})

    async def answer(self, chat: str, text: str) -> None:
        """A message that the agent itself sends, through the App."""
        await self.bridge.call("send_text", {"chat": chat, "text": text})


class _Lines(logging.Handler):
    def __init__(self, agent: Agent) -> None:
        super().__init__()
        self._agent = agent

    def emit(self, record: logging.LogRecord) -> None:
        self._agent.said.append(record.getMessage())
        self._agent.note()


@asynccontextmanager
async def listening_with(
    agent: Agent, rules: dict[str, Any], *, loses: bool = False, key: str | None = None
) -> AsyncIterator[Agent]:
    """The agent is woken during the block, unless the loop has `ended` before."""
    pace = {"total": "", "chat": "", "first_contacts": "", "gap": [0, 0]}
    made = app_for(agent.sandbox, key or agent.sandbox.keys["read_send"], listen=rules, pace=pace)
    log, lines = logging.getLogger("waha_mcp.listening"), _Lines(agent)
    before = log.level
    log.setLevel(logging.INFO)
    log.addHandler(lines)
    try:
        async with Bridge(made) as agent.bridge, anyio.create_task_group() as tasks:
            listener = Listener(agent.bridge, agent.take, loses=loses)

            async def run() -> None:
                try:
                    await listener.run()
                except Exception as error:
                    agent.ended = error
                    agent.note()

            tasks.start_soon(run)
            await agent.until(lambda: agent.ended or any("from now on" in each for each in agent.said))
            yield agent
            tasks.cancel_scope.cancel()
    finally:
        log.removeHandler(lines)
        log.setLevel(before)


@pytest.fixture
def agent(sandbox: SandboxInfo, admin: Admin) -> Agent:
    return Agent(sandbox, admin)


@pytest.fixture
def holding(sandbox: SandboxInfo, admin: Admin) -> Agent:
    return Agent(sandbox, admin, holds=True)


# Whom they wake


async def test_a_burst_has_its_chat_its_ids_and_its_words_and_no_key(agent: Agent) -> None:
    key = agent.sandbox.keys["read_send"]
    async with listening_with(agent, {"allow": ["Maya Lindqvist"]}):
        await agent.write(STRANGER, "Let me in")
        await agent.write(MAYA, "Are you there?")
        await agent.write(MAYA, f"Is it {key}?")
        burst = await agent.burst()
    [wake] = agent.wakes
    assert wake.chat == MAYA
    assert wake.message_ids == [each["id"] for each in burst["messages"]]
    assert len(wake.message_ids) == 2
    assert [each["sender"] for each in burst["messages"]] == ["them", "them"]
    assert burst["chat"] == "Maya Lindqvist"
    assert "Are you there?" in wake.line
    assert key not in wake.line
    assert "\n" not in wake.line


async def test_in_a_group_it_takes_one_on_the_list_who_mentions_the_account(agent: Agent, admin: Admin) -> None:
    me = (await admin.request("GET", "/api/sessions/default"))["me"]["id"]
    made = {"subject": "Chess", "from": MAYA}
    group = (await admin.request("POST", "/sandbox/groups", made))["id"]
    other = (await admin.request("POST", "/sandbox/groups", made | {"subject": "Go"}))["id"]
    async with listening_with(agent, {"allow": [MAYA, group]}):
        await agent.write(group, "to nobody", **{"from": MAYA})
        await agent.write(group, "to somebody else", mentions=[DAD], **{"from": MAYA})
        await agent.write(group, "from somebody else", mentions=[me], **{"from": STRANGER})
        await agent.write(other, "elsewhere", mentions=[me], **{"from": MAYA})
        await agent.write(group, "to me", mentions=[me], **{"from": MAYA})
        burst = await agent.burst()
        assert (burst["chat"], [each["text"] for each in burst["messages"]]) == ("Chess", ["to me"])
    assert len(agent.wakes) == 1


async def test_what_the_account_writes_wakes_nobody(agent: Agent) -> None:
    async with listening_with(agent, ANYBODY):
        await agent.write(MAYA, "from the phone", fromMe=True)
        await agent.answer(MAYA, "from the agent")
        await agent.write(MAYA, "from Maya")
        assert await agent.texts() == ["from Maya"]


# Bursts


async def test_what_became_of_a_message_while_its_burst_waited_is_folded_into_it(agent: Agent) -> None:
    async with listening_with(agent, ANYBODY):
        gone = await agent.write(DAD, "gone")
        await agent.happen("revoked", messageId=gone)
        edited = await agent.write(MAYA, "Fryday")
        await agent.happen("edited", messageId=edited, text="Friday")
        [message] = (await agent.burst())["messages"]
        assert (message["text"], message["edited"]) == ("Friday", True)
        await agent.write(DAD, "still here")
        assert await agent.texts() == ["still here"]


async def test_who_is_typing_has_not_finished(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waking, "SETTLE", 1.0)
    monkeypatch.setattr(waking, "LONGEST_SETTLE", 20.0)
    async with listening_with(agent, ANYBODY):
        await agent.write(MAYA, "one")
        for _ in range(3):
            await anyio.sleep(0.6)
            await agent.happen("presence", chatId=MAYA, presence="typing")
        await agent.write(MAYA, "two")
        assert await agent.texts() == ["one", "two"]


async def test_a_chats_next_burst_waits_for_its_last_and_other_chats_do_not(holding: Agent) -> None:
    async with listening_with(holding, ANYBODY):
        await holding.write(MAYA, "one")
        await holding.until(lambda: holding.busy == [MAYA])
        await holding.write(MAYA, "two")
        await holding.write(MAYA, "three")
        await holding.write(DAD, "beside")
        await holding.until(lambda: holding.busy == [MAYA, DAD])
        await anyio.sleep(2 * SETTLE)
        assert holding.busy == [MAYA, DAD]
        holding.let()
        assert [await holding.texts() for _ in range(3)] == [["one"], ["beside"], ["two", "three"]]


async def test_the_number_of_bursts_with_the_agent_is_limited(holding: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "AT_ONCE", 2)
    async with listening_with(holding, ANYBODY):
        for chat in (MAYA, DAD, SAM):
            await holding.write(chat, "Hello")
        await holding.until(lambda: len(holding.busy) == 2)
        await anyio.sleep(2 * SETTLE)
        assert len(holding.wakes) == 2
        holding.let()
        await holding.until(lambda: len(holding.wakes) == 3)


async def test_a_flood_is_cut_for_who_may_lose_it_and_counted(holding: Agent, admin: Admin) -> None:
    async with listening_with(holding, ANYBODY, loses=True):
        await holding.write(MAYA, "one")
        await holding.until(lambda: holding.busy == [MAYA])
        await admin.request("POST", "/sandbox/socket", {"flood": 120, "chatId": MAYA})
        await holding.write(DAD, "after it")
        await holding.until(lambda: len(holding.wakes) == 2)
        holding.let()
        bursts = [await holding.burst() for _ in range(3)]
    assert (len(bursts[2]["messages"]), bursts[2]["left_out"]) == (50, 70)


async def test_a_flood_is_told_whole_to_who_is_told_everything(agent: Agent, admin: Admin) -> None:
    async with listening_with(agent, ANYBODY | {"per_hour": 1000}):
        await admin.request("POST", "/sandbox/socket", {"flood": 120, "chatId": MAYA})
        heard: list[str] = []
        while len(heard) < 120:
            heard += await agent.texts()
    assert heard == [f"Flood {number}" for number in range(1, 121)]


# What ends a loop


async def test_after_so_many_answers_only_a_word_of_the_owner_lets_the_chat_wake_it_again(agent: Agent) -> None:
    async with listening_with(agent, ANYBODY | {"turns": 2}):
        for number in range(2):
            await agent.write(MAYA, f"question {number}")
            assert await agent.texts() == [f"question {number}"]
            await agent.answer(MAYA, f"answer {number}")
        await agent.write(MAYA, "unheard")
        assert MAYA in await agent.says("was answered 2 times since the account's owner last wrote there")
        await agent.write(MAYA, "unheard, too")
        await agent.write(DAD, "another chat")
        assert await agent.texts() == ["another chat"]
        await agent.write(MAYA, "It is me", fromMe=True)
        await agent.write(MAYA, "heard")
        burst = await agent.burst()
        assert ([each["text"] for each in burst["messages"]], burst["unheard"]) == (["heard"], 2)
        await agent.write(MAYA, "heard as well")
        assert "unheard" not in await agent.burst()
    assert len([each for each in agent.said if "was answered" in each]) == 1


async def test_a_chat_wakes_it_so_often_in_an_hour(agent: Agent) -> None:
    async with listening_with(agent, ANYBODY | {"per_hour": 1}):
        await agent.write(MAYA, "one")
        assert await agent.texts() == ["one"]
        await agent.write(MAYA, "two")
        await agent.says("woke the agent 1 times within an hour")
        await agent.write(DAD, "another chat")
        assert await agent.texts() == ["another chat"]


async def test_more_chats_than_can_wait_wake_nobody_and_are_counted(
    agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waking, "MOST_WAITING", 1)
    async with listening_with(agent, ANYBODY):
        await agent.write(MAYA, "first")
        await agent.write(DAD, "second")
        await agent.says("too many chats wait already")
        assert await agent.texts() == ["first"]
        await agent.write(DAD, "third")
        assert (await agent.burst())["unheard"] == 1


async def test_messages_that_woke_nobody_are_counted_for_a_limited_number_of_chats(
    agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "MOST_COUNTED", 1)
    async with listening_with(agent, ANYBODY | {"per_hour": 1}):
        for chat in (MAYA, DAD):
            await agent.write(chat, "heard")
            await agent.burst()
        for chat in (MAYA, DAD, MAYA):
            before = len(agent.said)
            await agent.write(chat, "unheard")
            await agent.until(lambda before=before: len(agent.said) > before)
        assert [each.partition(" ")[0] for each in agent.said if "woke the agent" in each] == [MAYA, DAD, MAYA]


# How it goes on, and how it ends


async def test_what_fails_once_is_tried_again(agent: Agent, admin: Admin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "PAUSE", 0.01)
    await admin.fault("/api/default/chats/overview", status=500, count=2)
    async with listening_with(agent, ANYBODY):
        await agent.write(MAYA, "Hello")
        assert await agent.texts() == ["Hello"]
    assert [each for each in agent.said if "Trying again" in each]


async def test_it_does_not_begin_where_waha_gives_no_answer(
    agent: Agent, admin: Admin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "PAUSE", 0.01)
    await admin.fault("/api/default/chats/overview", status=500, count=1000)
    async with listening_with(agent, ANYBODY):
        assert isinstance(agent.ended, WahaError)
    assert len([each for each in agent.said if "Trying again" in each]) == listening.TRIES - 1


async def test_it_ends_when_the_key_may_not_read_any_more(agent: Agent, admin: Admin) -> None:
    key = await admin.mint({Action.READ, Action.SEND})
    async with listening_with(agent, ANYBODY, key=key["key"]):
        await admin.change_key(key, actions={"send": True})
        with pytest.raises(Exception):  # noqa: B017, PT011 - whatever the call says, the bridge learns of it
            await agent.bridge.call("list_chats", {})
        await agent.until(lambda: agent.ended is not None)
    assert isinstance(agent.ended, CannotRead)


async def test_what_the_agent_fails_with_ends_it(sandbox: SandboxInfo, admin: Admin) -> None:
    class Broken(Agent):
        async def take(self, wake: Wake) -> None:
            raise BrokenPipeError

    agent = Broken(sandbox, admin)
    async with listening_with(agent, ANYBODY):
        await agent.write(MAYA, "Hello")
        await agent.until(lambda: agent.ended is not None)
    assert isinstance(agent.ended, BrokenPipeError)
