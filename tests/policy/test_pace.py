"""Rate limits: per App and chat, for first contacts, the gap between sends, and acting human."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, suppress
from typing import Any

import anyio
import pytest

from tests.harness import Admin
from tests.memory_store import Memory
from tests.policy.common import MAYA, SAM, STRANGER, bridge_with, effects
from tests.redis_server import RedisServer
from waha_mcp.app.policy_fields import Pace
from waha_mcp.bridge import Bridge
from waha_mcp.policy import Refusal, delivery
from waha_mcp.policy.gap import MAX_WAIT, TooFast
from waha_mcp.policy.pace import FULLEST, Pacer, used
from waha_mcp.sandbox import SandboxInfo
from waha_mcp.store import Store, StoreAway

pytestmark = pytest.mark.anyio

OFF: dict[str, Any] = {"total": "", "chat": "", "first_contacts": "", "gap": [0, 0]}


def pacer_of(settings: Pace, store: Store | None = None, account: str = "12025550100") -> Pacer:
    """A pacer that counts in a store, of its own unless one is given."""

    async def key() -> str:
        return account

    return Pacer(settings, store or Memory(), key)


def limits(**changes: Any) -> dict[str, Any]:
    return {"pace": OFF | changes}


async def send(bridge: Bridge, number: int, chat: str = SAM) -> bool:
    """Whether the text passed; if not, the answer must come at once and say when to try again."""
    started = time.monotonic()
    try:
        await bridge.call("send_text", {"chat": chat, "text": f"Number {number}"})
    except Refusal as error:
        refusal = error
    else:
        return True
    assert refusal.decision == "too fast"
    assert "try again in" in str(refusal)
    assert time.monotonic() - started < 1
    return False


@pytest.mark.parametrize(
    ("rates", "chats", "passed"),
    [
        ({"total": "2/minute"}, [SAM, MAYA, SAM, MAYA], [True, True, False, False]),
        ({"chat": "1/minute"}, [SAM, SAM, MAYA], [True, False, True]),
        ({"total": "5/minute; 2/hour"}, [SAM, SAM, SAM], [True, True, False]),
        ({"first_contacts": "1/hour"}, [STRANGER, "12025550198@c.us", SAM], [True, False, True]),
    ],
    ids=["in all", "per chat", "several limits", "first contacts"],
)
async def test_over_a_limit_the_answer_is_when_to_try_again(
    rates: dict[str, str], chats: list[str], passed: list[bool], sandbox: SandboxInfo, admin: Admin
) -> None:
    async with bridge_with(sandbox, **limits(**rates)) as bridge:
        await admin.clear()
        assert [await send(bridge, n, chat) for n, chat in enumerate(chats)] == passed
        assert len(await effects(admin)) == sum(passed)


async def test_calls_in_parallel_do_not_get_around_a_limit(sandbox: SandboxInfo, admin: Admin) -> None:
    async with bridge_with(sandbox, **limits(total="3/minute")) as bridge:
        await admin.clear()
        async with anyio.create_task_group() as calls:
            for number in range(20):
                calls.start_soon(send, bridge, number)
        assert len(await effects(admin)) == 3


async def test_every_chat_that_one_call_reaches_counts(sandbox: SandboxInfo) -> None:
    async with bridge_with(sandbox, **limits(chat="1/minute")) as bridge:
        await bridge.call("send_text", {"chat": SAM, "text": "@447700900142", "mentions": [MAYA]})
        assert not await send(bridge, 1, MAYA)


@pytest.mark.slow
async def test_a_short_gap_is_waited_out_and_a_long_one_is_answered() -> None:
    pacer = pacer_of(Pace.model_validate(OFF | {"gap": [0.1, 0.2]}))
    started = time.monotonic()
    for _ in range(3):
        await pacer.take([SAM], [])
    assert 0.2 <= time.monotonic() - started < 2
    slow = pacer_of(Pace.model_validate(OFF | {"gap": [50, 60]}))
    await slow.take([SAM], [])
    with anyio.fail_after(5), pytest.raises(TooFast) as refusal:
        await slow.take([SAM], [])
    assert 49 < refusal.value.wait <= 60


@pytest.mark.slow
async def test_machines_on_one_redis_share_the_limits_of_an_account(redis_server: RedisServer) -> None:
    settings = Pace.model_validate(OFF | {"total": "3/minute"})
    with closing(redis_server.store()) as one, closing(redis_server.store()) as other:
        beside = [pacer_of(settings, one), pacer_of(settings, other)]
        passed = 0
        for number in range(6):
            with suppress(TooFast):
                await beside[number % 2].take([SAM], [])
                passed += 1
        assert passed == 3
        await pacer_of(settings, other, account="12025550177").take([SAM], [])


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.slow)])
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    made: Store = Memory() if request.param == "memory" else request.getfixturevalue("redis_server").store()
    yield made
    made.close()


async def test_what_is_given_back_counts_no_more_and_nothing_else_is_touched(store: Store) -> None:
    limits = {"total": "3/minute; 9/hour", "chat": "2/minute", "first_contacts": "1/minute"}
    pacer = pacer_of(Pace.model_validate(OFF | limits), store)
    await pacer.take([MAYA], [])
    counted = await pacer.take([SAM], [SAM])
    with pytest.raises(TooFast):
        await pacer.check([SAM], [SAM])
    await pacer.give_back(counted)
    await pacer.take([SAM], [SAM])
    await pacer.take([MAYA], [])
    with pytest.raises(TooFast):  # three in all, as if the one that was given back had never been counted
        await pacer.take([SAM], [])


async def test_a_take_that_fails_halfway_counts_for_nothing() -> None:
    pacer = pacer_of(Pace.model_validate(OFF | {"total": "1/minute", "chat": "1/minute"}))
    await pacer.take([MAYA], [])
    for _ in range(3):
        with pytest.raises(TooFast, match="in all"):
            await pacer.take([SAM], [])
    # If the limit of the one chat had been counted, it would be the one named.
    with pytest.raises(TooFast, match="in all"):
        await pacer.check([SAM], [])


async def test_the_wait_that_is_told_ends_when_the_window_does() -> None:
    pacer = pacer_of(Pace.model_validate(OFF | {"total": "1/minute"}))
    await pacer.take([SAM], [])
    for counting in (pacer.take, pacer.check):
        with pytest.raises(
            TooFast, match=r"Over the App's limit of 1 per minute in all: try again in \d+ s"
        ) as refusal:
            await counting([SAM], [])
        assert 50 < refusal.value.wait <= 60
    assert str(TooFast(-3.0, "Too soon")) == "Too soon: try again in 1 s"


class Away(Memory):
    """A store that can be away for some of its steps."""

    def __init__(self) -> None:
        super().__init__()
        self.lost: set[str] = set()

    def take(self, counts: Any) -> Any:
        self._reach("take")
        return super().take(counts)

    def check(self, counts: Any) -> None:
        self._reach("check")
        super().check(counts)

    def give_back(self, taken: Any) -> None:
        self._reach("give_back")
        super().give_back(taken)

    def _reach(self, step: str) -> None:
        if step in self.lost:
            raise StoreAway("The store is away.")


async def test_limits_of_a_store_that_is_away_let_nothing_pass() -> None:
    store = Away()
    pacer = pacer_of(Pace.model_validate(OFF | {"total": "1/minute"}), store)
    store.lost = {"take", "check"}
    for counting in (pacer.take, pacer.check):
        with pytest.raises(StoreAway, match="The store is away"):
            await counting([SAM], [])
    store.lost.clear()
    await pacer.take([SAM], [])


async def test_a_count_that_cannot_be_given_back_stays_and_fails_nothing(caplog: pytest.LogCaptureFixture) -> None:
    store = Away()
    pacer = pacer_of(Pace.model_validate(OFF | {"total": "1/minute"}), store)
    counted = await pacer.take([SAM], [])
    store.lost = {"give_back"}
    await pacer.give_back(counted)
    assert [record.getMessage() for record in caplog.records] == ["A call that sent nothing stays counted: StoreAway"]
    with pytest.raises(TooFast):
        await pacer.check([SAM], [])


async def test_the_apps_of_one_account_count_together_each_by_limits_of_its_own() -> None:
    store = Memory()
    strict = pacer_of(Pace.model_validate(OFF | {"total": "2/minute"}), store)
    loose = pacer_of(Pace.model_validate(OFF | {"total": "3/minute"}), store)
    free = pacer_of(Pace.model_validate(OFF), store)
    elsewhere = pacer_of(Pace.model_validate(OFF | {"total": "2/minute"}), store, "12025550177")
    await free.take([SAM], [])
    await loose.take([SAM], [])
    with pytest.raises(TooFast, match="2 per minute"):
        await strict.take([SAM], [])
    await loose.take([SAM], [])
    with pytest.raises(TooFast, match="3 per minute"):
        await loose.take([SAM], [])
    await free.take([SAM], [])
    await elsewhere.take([SAM], [])


@pytest.mark.slow
async def test_two_servers_that_are_started_twice_send_no_more_than_one_may(sandbox: SandboxInfo, admin: Admin) -> None:
    passed = 0
    for _ in range(2):
        async with (
            bridge_with(sandbox, **limits(total="3/hour")) as one,
            bridge_with(sandbox, **limits(total="3/hour")) as other,
        ):
            await admin.clear()
            for number in range(3):
                passed += await send(one, 10 * passed + number) + await send(other, 100 + 10 * passed + number)
    assert passed == 3


@pytest.mark.slow
async def test_humanize_reads_types_and_stops_before_it_sends(
    sandbox: SandboxInfo, admin: Admin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "LEAST_TYPING", 0.01)
    async with bridge_with(sandbox, humanize=True) as bridge:
        await admin.clear()
        await bridge.call("send_text", {"chat": SAM, "text": "Hi"})
        assert await effects(admin) == ["/api/sendSeen", "/api/startTyping", "/api/stopTyping", "/api/sendText"]


@pytest.mark.slow
async def test_humanize_stays_under_the_time_out_of_the_strictest_client(sandbox: SandboxInfo) -> None:
    async with bridge_with(sandbox, humanize=True) as bridge:
        started = time.monotonic()
        await bridge.call("send_text", {"chat": SAM, "text": "A long text. " * 200})
        assert delivery.MOST_TYPING <= time.monotonic() - started < 5


async def test_a_failure_of_humanize_does_not_hold_up_the_send(
    sandbox: SandboxInfo, admin: Admin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "LEAST_TYPING", 0.01)
    async with bridge_with(sandbox, humanize=True) as bridge:
        await admin.fault("/api/startTyping", status=501, body="{}")
        await bridge.call("send_text", {"chat": SAM, "text": "Hi"})


def test_the_default_limits_are_on() -> None:
    assert all((Pace().total, Pace().chat, Pace().first_contacts, Pace().gap[1] > 0))
    assert MAX_WAIT < 5


async def test_how_much_is_used_is_what_the_limits_count() -> None:
    store = Memory()
    settings = Pace.model_validate(OFF | {"total": "9/minute; 99/hour", "chat": "2/minute", "first_contacts": "3/day"})
    pacer = pacer_of(settings, store)
    assert [(row.what, row.used, row.chat) for row in used(settings, store, "12025550100")] == [
        ("in all", 0, None),
        ("in all", 0, None),
        ("first contacts", 0, None),
        ("to one chat", 0, None),
    ]
    await pacer.take([MAYA], [MAYA])
    undone = await pacer.take([SAM], [])
    await pacer.take([SAM, STRANGER], [])
    await pacer.give_back(undone)
    await pacer.take([SAM], [])
    rows = used(settings, store, "12025550100")
    assert [(row.what, row.used, str(row.rate)) for row in rows[:3]] == [
        ("in all", 3, "9 per minute"),
        ("in all", 3, "99 per hour"),
        ("first contacts", 1, "3 per day"),
    ]
    assert (rows[3].chat, rows[3].used) == (SAM, 2)
    assert {row.chat for row in rows[4:]} == {MAYA, STRANGER}
    with pytest.raises(TooFast):
        await pacer.check([SAM], [])
    assert used(settings, store, "12025550101")[0].used == 0


async def test_of_many_chats_the_fullest_are_told() -> None:
    store, settings = Memory(), Pace.model_validate(OFF | {"chat": "100/hour"})
    pacer = pacer_of(settings, store)
    for number in range(2 * FULLEST):
        for _ in range(number + 1):
            await pacer.take([f"1202555010{number}@c.us"], [])
    rows = used(settings, store, "12025550100")
    assert [row.used for row in rows] == [2 * FULLEST - at for at in range(FULLEST)]


async def test_of_an_account_that_is_not_known_nothing_is_told() -> None:
    assert {row.used for row in used(Pace(), Memory(), None)} == {None}
    assert used(Pace.model_validate(OFF), Memory(), None) == []
