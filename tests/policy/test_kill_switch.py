"""The kill switch: a paused App can only read, in every process, until the user resumes it."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from tests.harness import Admin, app_for, opened_store
from tests.memory_store import Memory
from tests.policy.common import DAD, MAYA, SAM, bridge_with, effects
from tests.policy.test_gate import EFFECTS, sample
from waha_mcp.app.actions import Action
from waha_mcp.bridge import Bridge
from waha_mcp.policy import Refusal, delivery
from waha_mcp.policy.approval import waiting
from waha_mcp.policy.kill_switch import Pause, pause, paused, paused_apps, resume
from waha_mcp.policy.question import Question, clock
from waha_mcp.sandbox import SandboxInfo
from waha_mcp.store import StoreAway
from waha_mcp.store.sqlite import Sqlite

pytestmark = pytest.mark.anyio

TEXT = {"chat": SAM, "text": "Hello"}


# The rows


def test_an_app_is_paused_by_itself_or_with_all() -> None:
    store = Memory()
    assert paused(store, "one") is None
    found, new = pause(store, "one")
    assert (paused(store, "one"), new) == (found, True)
    assert paused(store, "two") is None
    whole, _ = pause(store, None)
    assert paused(store, "one") == paused(store, "two") == whole
    assert (found.app_id, whole.app_id) == ("one", None)
    assert paused_apps(store) == ["one"]


def test_a_second_pause_keeps_the_time_of_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    store = Memory()
    first, _ = pause(store, "one")
    monkeypatch.setattr(store, "now", lambda: first.since + 100)
    assert pause(store, "one") == (first, False)


def test_a_resume_ends_its_own_pause_and_no_other() -> None:
    store = Memory()
    assert not resume(store, None)
    pause(store, "one")
    pause(store, "two")
    whole, _ = pause(store, None)
    assert resume(store, "one")
    assert not resume(store, "one")
    assert paused(store, "one") == whole
    assert resume(store, None)
    assert paused(store, "one") is None
    assert paused(store, "two") == Pause("two", float(store.get("pause", "two") or 0))


def test_a_pause_says_since_when_and_how_it_ends() -> None:
    now = datetime.now().astimezone().replace(hour=14, minute=2)
    assert Pause(None, now.timestamp()).text == (
        f"paused by the user since {clock(now.timestamp())}, all Apps; reading chats goes on; only the user can resume "
        "(waha-mcp resume)"
    )
    assert "since 14:02 (UTC" in Pause(None, now.timestamp()).text
    early = Pause("work", now.timestamp() - 10 * 86_400).text
    assert re.search(r"since \d{4}-\d\d-\d\d 1\d:02 \(UTC", early)
    assert "App 'work'" in early
    assert "(waha-mcp resume work)" in early


# Calls


async def test_no_tool_with_an_effect_reaches_waha(sandbox: SandboxInfo, admin: Admin) -> None:
    chats = {
        "person": SAM, "group": "120363000000000000@g.us", "channel": "120363000000000001@newsletter",
        "message": f"true_{SAM}_3EB0C767D26A1B2E5F4C",
    }  # fmt: skip
    async with everything(sandbox) as bridge:
        await bridge.key.settle()
        pause(opened_store(), None)
        await admin.clear()
        for tool in EFFECTS.values():
            with pytest.raises(Refusal, match="paused by the user since") as refused:
                await bridge.call(tool.name, sample(tool, chats))
            assert refused.value.decision == "paused"
        assert await effects(admin) == []


def everything(sandbox: SandboxInfo) -> Bridge:
    """A bridge with all tools."""
    return Bridge(
        app_for(
            sandbox,
            sandbox.keys["full"],
            session="default",
            actions=frozenset(Action),
            toolsets=frozenset({"all"}),
        )
    )


async def test_reading_goes_on_and_get_status_says_since_when(sandbox: SandboxInfo) -> None:
    async with bridge_with(sandbox) as bridge:
        assert (await bridge.call("get_status", {})).paused is None  # type: ignore[attr-defined]
        found, _ = pause(opened_store(), None)
        assert (await bridge.call("get_status", {})).paused == found.text  # type: ignore[attr-defined]
        await bridge.call("list_chats", {})
        await bridge.call("get_messages", {"chat": SAM})
        resume(opened_store(), None)
        assert (await bridge.call("get_status", {})).paused is None  # type: ignore[attr-defined]
        await bridge.call("send_text", TEXT)


async def test_another_app_goes_on(sandbox: SandboxInfo) -> None:
    async with bridge_with(sandbox) as bridge:
        pause(opened_store(), "another")
        await bridge.call("send_text", TEXT)
        pause(opened_store(), "default")
        with pytest.raises(Refusal, match="App 'default'"):
            await bridge.call("send_text", TEXT | {"text": "Another"})


async def test_nobody_is_asked_about_what_is_paused(sandbox: SandboxInfo) -> None:
    async with bridge_with(sandbox, approval="send") as bridge:
        pause(opened_store(), None)
        with pytest.raises(Refusal, match="paused"):
            await bridge.call("send_text", TEXT)
    assert waiting() == []


async def _during_the_question(bridge: Bridge, paused_now: Callable[[], None], patch: pytest.MonkeyPatch) -> Any:
    async def yes(question: Question) -> bool:
        paused_now()
        return True

    return await bridge.call("send_text", TEXT, ask=yes)


async def _during_the_gap(bridge: Bridge, paused_now: Callable[[], None], patch: pytest.MonkeyPatch) -> Any:
    await bridge.call("send_text", TEXT | {"text": "First"}, ask=_yes)

    async def wait() -> None:
        paused_now()

    patch.setattr(bridge.policy._pacer._gap, "reserve", wait)
    return await bridge.call("send_text", TEXT, ask=_yes)


async def _while_typing(bridge: Bridge, paused_now: Callable[[], None], patch: pytest.MonkeyPatch) -> Any:
    async def type_(*_: object) -> None:
        paused_now()

    patch.setattr(delivery, "act_human", type_)
    return await bridge.call("send_text", TEXT, ask=_yes)


async def _before_the_id(bridge: Bridge, paused_now: Callable[[], None], patch: pytest.MonkeyPatch) -> Any:
    async def new(*_: object) -> str:
        paused_now()
        return "3EB0C767D26A1B2E5F4C"

    patch.setattr(delivery.MessageIds, "new", new)
    return await bridge.call("send_text", TEXT, ask=_yes)


async def _yes(question: Question) -> bool:
    return True


@pytest.mark.parametrize("when", [_during_the_question, _during_the_gap, _while_typing, _before_the_id])
async def test_what_waits_does_not_leave_any_more_and_costs_neither_pace_nor_approval(
    when: Any, sandbox: SandboxInfo, admin: Admin, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with bridge_with(sandbox, approval="send", humanize=True) as bridge:
        monkeypatch.setattr(delivery, "TYPING_RATE", 0.0)
        monkeypatch.setattr(delivery, "LEAST_TYPING", 0.0)
        taken: list[object] = []
        monkeypatch.setattr(bridge.policy._pacer, "give_back", _kept(taken))
        with monkeypatch.context() as patch, pytest.raises(Refusal, match="paused by the user"):
            await when(bridge, lambda: pause(opened_store(), None), patch)
        assert [r["body"]["text"] for r in await admin.performed("/api/sendText")] in ([], ["First"])
        assert len(taken) == 1
        resume(opened_store(), None)
        asked: list[Question] = []

        async def again(question: Question) -> bool:
            asked.append(question)
            return True

        await bridge.call("send_text", TEXT, ask=again)
        assert asked == []  # the earlier approval counts


def _kept(taken: list[object]) -> Callable[[object], Any]:
    async def give_back(counted: object) -> None:
        taken.append(counted)

    return give_back


async def test_humanize_does_not_begin_where_the_pause_came_in_the_gap(
    sandbox: SandboxInfo, admin: Admin, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with bridge_with(sandbox, humanize=True) as bridge:
        await bridge.call("get_status", {})

        async def wait() -> None:
            pause(opened_store(), None)

        monkeypatch.setattr(bridge.policy._pacer._gap, "reserve", wait)
        await admin.clear()
        with pytest.raises(Refusal, match="paused"):
            await bridge.call("send_text", TEXT)
        assert await effects(admin) == []


async def test_nothing_is_done_while_a_pause_cannot_be_read(
    sandbox: SandboxInfo, admin: Admin, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = Sqlite.rows

    def away(store: Sqlite, table: str, prefix: str = "") -> Any:
        if table == "pause":
            raise StoreAway("The store is away.")
        return rows(store, table, prefix)

    async with everything(sandbox) as bridge:
        await bridge.key.settle()
        monkeypatch.setattr(Sqlite, "rows", away)
        await admin.clear()
        for tool, arguments in (
            ("send_text", {"chat": MAYA, "text": "x"}),
            ("mark_read", {"chat": DAD}),
            ("archive_chat", {"chat": DAD}),
        ):
            with pytest.raises(Refusal, match="The store is away"):
                await bridge.call(tool, arguments)
        assert await effects(admin) == []
        status = await bridge.call("get_status", {})
        assert status.paused == "not known, so everything but reading is refused: The store is away."  # type: ignore[attr-defined]
        await bridge.call("get_messages", {"chat": SAM})


async def test_it_holds_in_every_process_at_once(sandbox: SandboxInfo) -> None:
    async with bridge_with(sandbox) as one, bridge_with(sandbox) as other:
        await one.call("send_text", TEXT)
        pause(opened_store(), None)
        for number, bridge in enumerate((one, other)):
            with pytest.raises(Refusal, match="paused"):
                await bridge.call("send_text", TEXT | {"text": f"Number {number}"})
