"""The gap between two sends: one line for all Apps and processes of an account, in which nobody waits for long."""

from __future__ import annotations

import itertools
import time
from pathlib import Path

import anyio
import pytest

from tests.harness import Admin
from tests.memory_store import Memory
from tests.policy.common import SAM, bridge_with
from tests.store.processes import together
from waha_mcp.policy.gap import MAX_WAIT, Gap, Slot, TooFast
from waha_mcp.sandbox import SandboxInfo
from waha_mcp.waha.errors import WahaError

pytestmark = pytest.mark.anyio


class Clocked(Memory):
    """A store whose clock stands still until it is set."""

    time = 1_800_000_000.0

    def now(self) -> float:
        return self.time


@pytest.fixture
def store() -> Clocked:
    return Clocked()


def gap_of(store: Memory, shortest: float, longest: float, account: str = "12025550100") -> Gap:
    async def key() -> str:
        return account

    return Gap(shortest, longest, store, key)


async def reserved(one: Gap) -> Slot:
    slot = await one.reserve()
    assert slot is not None
    return slot


async def test_the_first_of_a_line_goes_at_once_and_each_other_a_gap_later(store: Clocked) -> None:
    line = gap_of(store, 1, 1)
    assert [(await reserved(line)).wait for _ in range(4)] == [0, 1, 2, 3]
    with pytest.raises(TooFast, match="try again in 4 s") as refusal:
        await line.reserve()
    assert refusal.value.wait == 4 > MAX_WAIT
    # A refused call has not taken anybody's turn.
    store.time += 1
    assert (await reserved(line)).wait == 3


async def test_all_apps_of_an_account_stand_in_one_line_each_with_its_own_gap(store: Clocked) -> None:
    quick, slow = gap_of(store, 0.5, 0.5), gap_of(store, 2, 2)
    await quick.reserve()
    assert (await reserved(slow)).wait == 2
    assert (await reserved(quick)).wait == 2.5
    assert (await reserved(gap_of(store, 2, 2, "12025550101"))).wait == 0


async def test_an_app_without_a_gap_stands_in_no_line(store: Clocked) -> None:
    assert await gap_of(store, 0, 0).reserve() is None
    assert (await reserved(gap_of(store, 1, 1))).wait == 0


async def test_the_gap_is_drawn_once_so_that_insisting_does_not_shorten_it(
    store: Clocked, monkeypatch: pytest.MonkeyPatch
) -> None:
    shares = itertools.chain([0.5], itertools.repeat(0.0))
    monkeypatch.setattr("random.random", lambda: next(shares))
    line = gap_of(store, 10, 30)
    await line.reserve()
    for _ in range(3):
        with pytest.raises(TooFast) as refusal:
            await line.reserve()
        assert refusal.value.wait == 20
    store.time += 20
    assert (await reserved(line)).wait == 0


async def test_a_turn_that_was_given_back_is_the_next_ones(store: Clocked) -> None:
    line = gap_of(store, 1, 1)
    await line.reserve()
    slot = await reserved(line)
    await line.give_back(slot)
    assert (await reserved(line)).wait == 1


async def test_a_turn_on_which_a_later_one_builds_is_not_given_back(store: Clocked) -> None:
    line = gap_of(store, 1, 1)
    slot = await reserved(line)
    await line.reserve()
    await line.give_back(slot)
    assert (await reserved(line)).wait == 2


@pytest.mark.parametrize("back", [10, 100_000])
async def test_a_clock_that_was_set_back_keeps_nobody_waiting_for_longer_than_the_gap(
    back: float, store: Clocked
) -> None:
    line = gap_of(store, 1, 1)
    await line.reserve()
    store.time -= back
    assert (await reserved(line)).wait == 1


async def test_a_turn_is_forgotten_once_no_gap_can_reach_so_far(store: Clocked) -> None:
    await gap_of(store, 1, 1).reserve()
    store.time += 60 + MAX_WAIT
    assert store.rows("gap") == []
    assert (await reserved(gap_of(store, 60, 60))).wait == 0


@pytest.mark.slow
def test_of_processes_that_ask_at_once_each_gets_a_turn_of_its_own(tmp_path: Path) -> None:
    lines = """
import anyio
from waha_mcp.policy.gap import Gap, TooFast
async def key():
    return "12025550100"
async def main():
    gap = Gap(0.001, 0.001, store, key)
    for _ in range(50):
        slot = await gap.reserve()
        print(slot.after.split(",")[0].strip("["))
anyio.run(main)
"""
    starts = " ".join(together(tmp_path / "store.sqlite", lines, 3)).split()
    assert len(starts) == len(set(starts)) == 150
    ordered = sorted(map(float, starts))
    assert all(later - earlier > 0.0009 for earlier, later in itertools.pairwise(ordered))


@pytest.mark.slow
async def test_what_waha_refused_makes_nobody_wait(sandbox: SandboxInfo, admin: Admin) -> None:
    pace = {"total": "", "chat": "", "first_contacts": "", "gap": [60, 60]}
    async with bridge_with(sandbox, pace=pace) as bridge:
        for number in range(3):
            await admin.fault("/api/sendText", status=422, body='{"error": "no", "session": "default"}')
            with pytest.raises(WahaError, match="no"):
                await bridge.call("send_text", {"chat": SAM, "text": f"Refused {number}"})
        await bridge.call("send_text", {"chat": SAM, "text": "Taken"})


@pytest.mark.slow
async def test_who_is_cancelled_while_waiting_leaves_the_line(sandbox: SandboxInfo) -> None:
    pace = {"total": "", "chat": "", "first_contacts": "", "gap": [2, 2]}
    async with bridge_with(sandbox, pace=pace) as bridge:
        await bridge.call("send_text", {"chat": SAM, "text": "First"})
        sent = time.monotonic()
        with anyio.move_on_after(0.3):
            await bridge.call("send_text", {"chat": SAM, "text": "Cancelled"})
        await bridge.call("send_text", {"chat": SAM, "text": "Second"})
        assert time.monotonic() - sent < 3
