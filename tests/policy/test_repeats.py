"""No double effects, and what is reported about a send whose answer was lost."""

from __future__ import annotations

import re
from collections import Counter
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.harness import Admin
from tests.memory_store import Memory
from tests.policy.common import MAYA, SAM, bridge_with, effects
from tests.store.processes import together
from waha_mcp.bridge import Bridge
from waha_mcp.policy import Refusal, repeats
from waha_mcp.policy.repeats import Attempt, Outcome, Repeated, Repeats
from waha_mcp.sandbox import SandboxInfo
from waha_mcp.sandbox.contract import contract
from waha_mcp.store import StoreAway
from waha_mcp.waha import client
from waha_mcp.waha.client import TAKES_MESSAGE_ID
from waha_mcp.waha.errors import OutcomeUnknown, Unreachable, WahaError

pytestmark = pytest.mark.anyio

TEXT = {"chat": SAM, "text": "Only once"}
MESSAGE = f"/api/default/chats/{SAM}/messages/"


async def performed(admin: Admin) -> int:
    """How often WAHA has sent the text, by its own messages of the chat, once no work is pending."""
    await admin.settle()
    rows = await admin.request("GET", f"/api/default/chats/{SAM}/messages?limit=100&downloadMedia=false")
    return sum(row["body"] == TEXT["text"] and row["fromMe"] for row in rows)


async def test_the_same_to_the_same_chat_is_refused_unless_repeated_on_purpose(
    sandbox: SandboxInfo, admin: Admin
) -> None:
    async with bridge_with(sandbox) as bridge:
        await admin.clear()
        await bridge.call("send_text", TEXT)
        with pytest.raises(Refusal, match="allow_repeat"):
            await bridge.call("send_text", TEXT)
        with pytest.raises(Refusal):
            await bridge.call("send_text", TEXT | {"chat": "+1 202 555 0123"})
        await bridge.call("send_text", TEXT | {"chat": MAYA})
        await bridge.call("send_text", TEXT | {"text": "Another"})
        await bridge.call("send_text", TEXT | {"allow_repeat": True})
        assert len(await effects(admin)) == 4


async def test_a_refused_repeat_names_the_message_that_was_sent(sandbox: SandboxInfo) -> None:
    async with bridge_with(sandbox) as bridge:
        sent = (await bridge.call("send_text", TEXT)).model_dump()["message_id"]
        with pytest.raises(Refusal, match=f"message {re.escape(sent)}, so it is not done again"):
            await bridge.call("send_text", TEXT)


async def test_after_a_minute_it_is_no_repeat(sandbox: SandboxInfo, monkeypatch: pytest.MonkeyPatch) -> None:
    async with bridge_with(sandbox) as bridge:
        await bridge.call("send_text", TEXT)
        monkeypatch.setattr(repeats, "WINDOW", 0.0)
        await bridge.call("send_text", TEXT)


async def test_of_the_same_at_once_one_goes_out_and_the_others_hear_that_it_is_under_way(
    sandbox: SandboxInfo, admin: Admin
) -> None:
    said: list[str] = []
    async with bridge_with(sandbox) as bridge:
        await bridge.call("send_text", TEXT | {"text": "warm up"})
        await admin.fault("/api/sendText", delay=0.3)

        async def call() -> None:
            try:
                await bridge.call("send_text", TEXT)
            except Refusal as refusal:
                said.append(str(refusal))

        async with anyio.create_task_group() as calls:
            for _ in range(10):
                calls.start_soon(call)
    assert len(said) == 9
    assert all("under way" in each for each in said)
    assert await performed(admin) == 1


async def test_what_waha_refused_may_be_tried_again(sandbox: SandboxInfo, admin: Admin) -> None:
    async with bridge_with(sandbox) as bridge:
        await admin.fault("/api/sendText", status=422, body='{"error": "no", "session": "default"}')
        with pytest.raises(WahaError):
            await bridge.call("send_text", TEXT)
        await bridge.call("send_text", TEXT)


async def test_a_refused_repeat_on_purpose_leaves_the_guard_of_the_first(sandbox: SandboxInfo, admin: Admin) -> None:
    async with bridge_with(sandbox) as bridge:
        await bridge.call("send_text", TEXT)
        await admin.fault("/api/sendText", status=422, body='{"error": "no", "session": "default"}')
        with pytest.raises(WahaError):
            await bridge.call("send_text", TEXT | {"allow_repeat": True})
        with pytest.raises(Refusal, match="The same was done"):
            await bridge.call("send_text", TEXT)


# Cancelled


@pytest.mark.slow
async def test_a_call_that_is_cancelled_while_it_waits_for_its_turn_was_not_sent(
    sandbox: SandboxInfo, admin: Admin
) -> None:
    pace = {"total": "2/minute", "chat": "", "first_contacts": "", "gap": [1.0, 1.1]}
    async with bridge_with(sandbox, pace=pace) as bridge:
        await bridge.call("send_text", TEXT | {"text": "warm up"})
        await admin.clear()
        with anyio.move_on_after(0.3) as waited:
            await bridge.call("send_text", TEXT)
        assert waited.cancelled_caught
        assert await effects(admin) == []
        # Neither the repeat guard nor the pace has counted it.
        await bridge.call("send_text", TEXT)


async def test_a_call_that_is_cancelled_after_it_left_is_of_unknown_outcome(sandbox: SandboxInfo, admin: Admin) -> None:
    async with bridge_with(sandbox) as bridge:
        await bridge.call("send_text", TEXT | {"text": "warm up"})
        await admin.fault("/api/sendText", late=0.2)
        with anyio.move_on_after(0.1) as waited:
            await bridge.call("send_text", TEXT)
        assert waited.cancelled_caught
        assert await performed(admin) == 1
        with pytest.raises(Refusal, match="It did go out at"):
            await bridge.call("send_text", TEXT)
        assert await performed(admin) == 1


# Answers that are lost


async def test_a_send_whose_answer_was_lost_is_found_and_reported_as_sent(sandbox: SandboxInfo, admin: Admin) -> None:
    async with bridge_with(sandbox) as bridge:
        await admin.fault("/api/sendText", drop=True, after=True)
        await admin.clear()
        sent = await bridge.call("send_text", TEXT)
        assert sent.model_dump()["message_id"].startswith(f"true_{SAM}_")
        assert await effects(admin) == ["/api/sendText"]
        with pytest.raises(Refusal, match="The same was done"):
            await bridge.call("send_text", TEXT)


LOST: dict[str, dict[str, Any]] = {
    "the client gives up and WAHA goes on": {"late": 0.6},
    "the connection breaks and WAHA goes on": {"late": 0.3, "drop": True},
    "a proxy answers 502 and WAHA goes on": {"late": 0.3, "status": 502, "body": ""},
    "a proxy answers 504 with a page": {"late": 0.3, "status": 504, "body": "<html>", "content_type": "text/html"},
    "a proxy answers 408": {"late": 0.3, "status": 408, "body": "{}"},
    "a proxy redirects": {"late": 0.3, "status": 302, "headers": {"location": "/login"}},
    "a proxy shows a page with 200": {"late": 0.3, "status": 200, "body": "<html>", "content_type": "text/html"},
    "a proxy shows a page with 403": {"late": 0.3, "status": 403, "body": "<html>", "content_type": "text/html"},
    "WAHA fails inside": {"late": 0.3, "status": 500, "body": '{"exception": {}}'},
    "the answer is cut off": {"late": 0.3, "malformed": True},
}  # fmt: skip


@pytest.mark.parametrize("how", LOST)
async def test_what_waha_may_still_do_is_neither_denied_nor_done_again(
    how: str, sandbox: SandboxInfo, admin: Admin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "READ_TIMEOUT", 0.3)
    async with bridge_with(sandbox) as bridge:
        await bridge.call("send_text", TEXT | {"text": "warm up"})
        await admin.fault("/api/sendText", **LOST[how])
        with pytest.raises(OutcomeUnknown) as told:
            await bridge.call("send_text", TEXT)
        assert "not sent" not in str(told.value)
        assert "ry again" not in str(told.value)
        assert "did not refuse" not in str(told.value)
        assert await performed(admin) == 1
        with pytest.raises(Refusal, match="It did go out at"):
            await bridge.call("send_text", TEXT)
        assert await performed(admin) == 1


NOT_A_MESSAGE: dict[str, dict[str, Any]] = {
    "an error": {"status": 403, "body": '{"message": "Forbidden", "statusCode": 403}'},
    "an empty object": {"body": "{}"},
    "another message": {"body": '{"id": "true_12025550123@c.us_3EB0FFFFFFFFFFFFFFFF", "fromMe": true}'},
    "one with no id": {"body": '{"fromMe": true, "body": "Only once"}'},
    "a list": {"body": "[]"},
    "text": {"body": "yes", "content_type": "text/plain"},
}


@pytest.mark.parametrize("what", NOT_A_MESSAGE)
async def test_a_look_up_that_answers_anything_but_the_message_is_no_evidence(
    what: str, sandbox: SandboxInfo, admin: Admin
) -> None:
    async with bridge_with(sandbox) as bridge:
        await admin.fault("/api/sendText", drop=True)
        await admin.fault(MESSAGE, count=9, **NOT_A_MESSAGE[what])
        with pytest.raises(OutcomeUnknown):
            await bridge.call("send_text", TEXT)
        with pytest.raises(Refusal, match="is unknown"):
            await bridge.call("send_text", TEXT)


async def test_a_message_that_whatsapp_did_not_take_is_not_told_as_sent(sandbox: SandboxInfo, admin: Admin) -> None:
    answer = f'{{"id": "true_{SAM}_3EB0AAAAAAAAAAAAAAAA", "fromMe": true, "ack": -1}}'
    async with bridge_with(sandbox) as bridge:
        await admin.fault("/api/sendText", body=answer, status=201)
        await admin.fault(MESSAGE, count=9, body=answer)
        with pytest.raises(OutcomeUnknown):
            await bridge.call("send_text", TEXT)


async def test_a_message_of_somebody_else_with_our_id_is_no_evidence(sandbox: SandboxInfo, admin: Admin) -> None:
    async with bridge_with(sandbox) as bridge:
        await admin.fault("/api/default/new-message-id", body='{"id": "3EB0AAAAAAAAAAAAAAAA"}')
        await admin.fault("/api/sendText", drop=True)
        await admin.fault(MESSAGE, count=9, body=f'{{"id": "false_{SAM}_3EB0AAAAAAAAAAAAAAAA"}}')
        with pytest.raises(OutcomeUnknown):
            await bridge.call("send_text", TEXT)


async def test_without_an_id_beforehand_a_message_of_the_same_text_proves_nothing(
    sandbox: SandboxInfo, admin: Admin
) -> None:
    async with bridge_with(sandbox) as bridge:
        await admin.fault("/api/default/new-message-id", status=501, body="{}", count=9)
        await bridge.call("send_text", TEXT)
        await admin.fault("/api/sendText", drop=True)
        with pytest.raises(OutcomeUnknown):
            await bridge.call("send_text", TEXT | {"allow_repeat": True})
        assert await performed(admin) == 1


async def test_an_unknown_outcome_is_remembered_for_longer_than_a_known_one(
    sandbox: SandboxInfo, admin: Admin, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with bridge_with(sandbox) as bridge:
        await admin.fault("/api/sendText", drop=True)
        with pytest.raises(OutcomeUnknown):
            await bridge.call("send_text", TEXT)
        monkeypatch.setattr(repeats, "WINDOW", 0.0)
        for again in (False, True):
            with pytest.raises(Refusal, match="is unknown" if not again else "waiting for approval"):
                await bridge.call("send_text", TEXT | {"allow_repeat": again})
        monkeypatch.setattr(repeats, "UNKNOWN_WINDOW", 0.0)
        with pytest.raises(Refusal, match="still unknown"):
            await bridge.call("send_text", TEXT)
        await bridge.call("send_text", TEXT | {"allow_repeat": True})


async def test_what_never_left_is_told_as_not_sent_and_counts_for_nothing(sandbox: SandboxInfo, admin: Admin) -> None:
    pace = {"total": "1/minute", "chat": "1/minute", "first_contacts": "", "gap": [0, 0]}
    async with bridge_with(sandbox, pace=pace) as bridge:
        await bridge.call("list_chats", {})
        right, bridge.waha.url = bridge.waha.url, "http://127.0.0.1:9"
        with pytest.raises(Unreachable, match="not sent"):
            await bridge.call("send_text", TEXT)
        bridge.waha.url = right
        await bridge.call("send_text", TEXT)


async def test_an_unknown_outcome_spends_the_pace(sandbox: SandboxInfo, admin: Admin) -> None:
    pace = {"total": "1/minute", "chat": "", "first_contacts": "", "gap": [0, 0]}
    async with bridge_with(sandbox, pace=pace) as bridge:
        await admin.fault("/api/sendText", drop=True)
        with pytest.raises(OutcomeUnknown):
            await bridge.call("send_text", TEXT)
        with pytest.raises(Refusal, match="limit"):
            await bridge.call("send_text", TEXT | {"text": "Another"})


async def test_a_tool_that_fails_after_its_change_does_not_deny_it(
    sandbox: SandboxInfo, admin: Admin, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> object:
        raise RuntimeError("a slip of ours")

    monkeypatch.setattr("waha_mcp.tools.core.sending.sent_from", broken)
    async with bridge_with(sandbox) as bridge:
        with pytest.raises(OutcomeUnknown, match="did not refuse"):
            await bridge.call("send_text", TEXT)
        with pytest.raises(Refusal, match="It did go out"):
            await bridge.call("send_text", TEXT)
    assert await performed(admin) == 1


async def test_an_engine_without_ids_beforehand_sends_all_the_same(sandbox: SandboxInfo, admin: Admin) -> None:
    async with bridge_with(sandbox) as bridge:
        await admin.fault("/api/default/new-message-id", status=501, body="{}")
        await bridge.call("send_text", TEXT)


def test_the_operations_that_take_an_id_are_those_of_the_contract() -> None:
    taking = {
        f"{operation.method} {operation.path}"
        for operation in contract().operations
        if operation.action == "send" and operation.path.count("/") == 2 and not operation.deprecated
        if any(line.startswith("id:") for line in contract().body_errors(operation, {"id": 7}))
    }
    assert taking == TAKES_MESSAGE_ID


@pytest.fixture
async def bridge(sandbox: SandboxInfo) -> Any:
    async with bridge_with(sandbox) as found:
        yield found


async def test_every_effect_names_the_chat_that_it_reached(bridge: Bridge) -> None:
    sent = await bridge.call("send_text", TEXT)
    assert [each.words for each in sent.reached] == ["Sam Okafor (+12025550123)"]


async def test_what_is_the_same_when_done_twice_is_no_repeat(sandbox: SandboxInfo, admin: Admin) -> None:
    async with bridge_with(sandbox) as bridge:
        await admin.clear()
        for _ in range(2):
            await bridge.call("mark_read", {"chat": SAM})
        assert len(await effects(admin)) == 2


# By the clock


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The guard's clock, as the only item."""
    now = [1_800_000_000.0]
    monkeypatch.setattr("time.time", lambda: now[0])
    return now


@pytest.fixture
def guard() -> Repeats:
    return Repeats("one", Memory())


def outcome_of(guard: Repeats, attempt: Attempt) -> str | None:
    """The outcome of the blocking attempt, if there is one."""
    before = guard.before("a")
    return before[0].outcome if before and before[0].id == attempt.id else None


@pytest.mark.parametrize(
    ("outcome", "holds", "no_more"),
    [
        ("under way", (0, 60, 600, 1e9), ()),
        ("done", (0, 59.9), (60, 600)),
        ("unknown", (0, 60, 600, 43_199.9), (43_200, 1e9)),
    ],
)
def test_the_same_is_refused_for_as_long_as_its_outcome_says(
    outcome: Outcome, holds: tuple[float, ...], no_more: tuple[float, ...], clock: list[float], guard: Repeats
) -> None:
    attempt = guard.begin("a")
    # The duration of the call does not matter: the time counts from its end.
    clock[0] += 100
    if outcome == "under way":
        clock[0] -= 100
    else:
        guard.end("a", attempt, outcome)
    since = clock[0]
    for after in sorted(holds + no_more):
        clock[0] = since + after
        found = guard.before("a")
        assert bool(found) is (after in holds)
        for each in found:
            assert each.outcome == outcome
            assert each.ago == pytest.approx(after)
        assert guard.before("b") == []


def test_what_did_not_happen_leaves_what_stood_before(clock: list[float], guard: Repeats) -> None:
    guard.end("a", guard.begin("a"), None)
    assert guard.before("a") == []
    done = guard.begin("a")
    guard.end("a", done, "done")
    guard.end("a", guard.begin("a", again=True), None)
    assert outcome_of(guard, done) == "done"


def test_while_it_is_under_way_nobody_can_allow_it_again(clock: list[float], guard: Repeats) -> None:
    attempt = guard.begin("a")
    clock[0] += 1e6
    with pytest.raises(Repeated):
        guard.begin("a", again=True, despite={attempt.id})


@pytest.mark.parametrize(
    ("after", "again", "by_a_person", "begins"),
    [
        (599.9, False, False, False),
        (599.9, True, False, False),
        (599.9, False, True, True),
        (600, False, False, False),
        (600, True, False, True),
        (43_199.9, False, False, False),
        (43_200, False, False, True),
    ],
)
def test_what_is_not_known_is_done_again_only_if_a_person_or_later_the_caller_takes_the_risk(
    after: float, again: bool, by_a_person: bool, begins: bool, clock: list[float], guard: Repeats
) -> None:
    lost = guard.begin("a")
    guard.end("a", lost, "unknown")
    clock[0] += after
    with nullcontext() if begins else pytest.raises(Repeated):
        guard.begin("a", again=again, despite={lost.id} if by_a_person else ())


def test_the_risk_that_a_person_takes_is_for_the_attempts_that_they_were_told_of(guard: Repeats) -> None:
    lost = guard.begin("a")
    guard.end("a", lost, "unknown")
    second = guard.begin("a", despite={lost.id})
    guard.end("a", second, "unknown")
    with pytest.raises(Repeated):
        guard.begin("a", again=True, despite={lost.id})
    guard.begin("a", despite={lost.id, second.id})


def test_what_is_not_known_stays_so_where_a_repeat_had_no_effect(guard: Repeats) -> None:
    lost = guard.begin("a")
    guard.end("a", lost, "unknown")
    guard.end("a", guard.begin("a", despite={lost.id}), None)
    assert outcome_of(guard, lost) == "unknown"


def test_what_was_repeated_on_purpose_stands_for_what_was_not_known(clock: list[float], guard: Repeats) -> None:
    lost = guard.begin("a")
    guard.end("a", lost, "unknown")
    clock[0] += 1
    again = guard.begin("a", despite={lost.id})
    clock[0] += 1
    guard.end("a", again, "done")
    assert outcome_of(guard, again) == "done"
    clock[0] += 60
    assert guard.before("a") == []


def test_what_is_found_later_counts_as_done_from_then_on(clock: list[float], guard: Repeats) -> None:
    lost = guard.begin("a", chat=SAM, message_id="3EB0")
    guard.end("a", lost, "unknown")
    [lost] = guard.before("a")
    assert (lost.chat, lost.message_id) == (SAM, "3EB0")
    sent_at = clock[0] + 2
    clock[0] += 5_000
    found = guard.found("a", lost, f"true_{SAM}_3EB0", sent_at)
    assert guard.before("a") == [found]
    assert (found.outcome, found.found, found.at, found.ago) == ("done", True, sent_at, 0.0)
    clock[0] += 60
    assert guard.before("a") == []


def test_what_is_found_while_a_person_lets_it_happen_twice_leaves_the_other_its_own_outcome(
    clock: list[float], guard: Repeats
) -> None:
    lost = guard.begin("a")
    guard.end("a", lost, "unknown")
    second = guard.begin("a", despite={lost.id})
    clock[0] += 1
    guard.found("a", lost, "id", None)
    guard.end("a", second, "unknown")
    assert [each.outcome for each in guard.before("a")] == ["unknown", "done"]
    clock[0] += 60
    assert [each.id for each in guard.before("a")] == [second.id]
    with pytest.raises(Repeated):
        guard.begin("a", again=True, despite={lost.id})
    third = guard.begin("a", despite={second.id})
    guard.end("a", third, None)
    assert [each.id for each in guard.before("a")] == [second.id]


def test_a_call_under_way_beside_an_unknown_outcome_blocks_until_it_ends(clock: list[float], guard: Repeats) -> None:
    lost = guard.begin("a")
    guard.end("a", lost, "unknown")
    second = guard.begin("a", despite={lost.id})
    clock[0] += 1e6
    assert [each.id for each in guard.before("a")] == [second.id]


def test_where_waha_does_not_say_when_it_was_sent_it_was_when_it_began(clock: list[float], guard: Repeats) -> None:
    lost = guard.begin("a")
    clock[0] += 50
    guard.end("a", lost, "unknown")
    assert guard.found("a", lost, "id", None).at == clock[0] - 50


def test_what_no_longer_holds_is_not_kept(clock: list[float]) -> None:
    store = Memory()
    guard = Repeats("one", store)
    for number in range(100):
        guard.end(str(number), guard.begin(str(number)), "done")
    clock[0] += 60
    guard.begin("last")
    assert len(store.rows("attempt")) == 1


# Several processes, and one that comes back


class Beside(Memory):
    """A store, and a second process on it."""

    def __init__(self) -> None:
        super().__init__()
        self.own = self.process
        self.living = {self.own, "other"}

    def alive(self, process: str) -> bool:
        return process in self.living


def test_a_call_under_way_in_another_process_blocks_and_is_unknown_once_that_process_is_gone(
    clock: list[float],
) -> None:
    store = Beside()
    guard = Repeats("one", store)
    store.process = "other"
    guard.begin("a")
    store.process = store.own
    clock[0] += 599
    with pytest.raises(Repeated) as repeated:
        guard.begin("a")
    assert repeated.value.before.outcome == "under way"
    store.living.remove("other")
    with pytest.raises(Repeated) as repeated:
        guard.begin("a")
    assert repeated.value.before.outcome == "unknown"
    assert repeated.value.before.ago == pytest.approx(599)
    clock[0] += 1
    guard.begin("a", again=True)


def test_what_a_process_has_left_behind_is_let_go_of(clock: list[float]) -> None:
    store = Beside()
    store.process = "other"
    for digest in "abc":
        Repeats("one", store).begin(digest)
    store.process = store.own
    store.living.remove("other")
    clock[0] += 43_200
    Repeats("one", store).begin("d")
    assert [row.key for row in store.rows("attempt")] == ["one/d"]


def test_what_was_done_stays_so_when_its_process_ends(clock: list[float]) -> None:
    store = Beside()
    guard = Repeats("one", store)
    store.process = "other"
    guard.end("a", guard.begin("a"), "done")
    store.living.remove("other")
    assert [each.outcome for each in guard.before("a")] == ["done"]


@pytest.mark.parametrize("outcome", ["done", "unknown", None])
def test_what_came_of_a_call_is_known_before_it_is_written(outcome: Outcome | None, guard: Repeats) -> None:
    attempt = guard.begin("a")
    guard.over(attempt, outcome)
    assert outcome_of(guard, attempt) == outcome
    if outcome is None:
        guard.begin("a")
    else:
        with pytest.raises(Repeated):
            guard.begin("a")


def test_each_app_has_a_guard_of_its_own(guard: Repeats) -> None:
    store = Memory()
    Repeats("one", store).begin("a")
    assert Repeats("one", store).before("a") != []
    assert Repeats("on", store).before("a") == []
    assert Repeats("two", store).before("a") == []


class Breaking(Memory):
    """A store that can be away."""

    away = False

    def swap(self, *arguments: Any, **more: Any) -> bool:
        if self.away:
            raise StoreAway("The store is away.")
        return super().swap(*arguments, **more)


@pytest.mark.parametrize("outcome", ["done", "unknown", None])
def test_what_came_of_a_call_is_known_although_it_could_not_be_written(
    outcome: Outcome | None, clock: list[float]
) -> None:
    store = Breaking()
    guard = Repeats("one", store)
    attempt = guard.begin("a")
    store.away = True
    if outcome is None:
        guard.end("a", attempt, None)
    else:
        guard.end("a", attempt, outcome)
    assert outcome_of(guard, attempt) == outcome
    with pytest.raises(StoreAway):
        guard.begin("b")
    store.away = False
    guard.begin("a", again=True, despite={attempt.id})
    # From now on other processes know it, too.
    beside = Repeats("one", store)
    clock[0] += 1
    assert [each.outcome for each in beside._read(store.get("attempt", "one/a"))] == [
        *([] if outcome is None else [outcome]),
        "under way",
    ]
    assert guard._unwritten == {}


class Answerless(Memory):
    """A store that writes, and whose answer can be lost."""

    lost = False

    def swap(self, *arguments: Any, **more: Any) -> bool:
        done = super().swap(*arguments, **more)
        if self.lost:
            raise StoreAway("The answer was lost.")
        return done


def test_a_call_that_could_not_begin_stands_in_the_way_of_nobody_though_it_was_written_down() -> None:
    store = Answerless()
    guard, beside = Repeats("one", store), Repeats("one", store)
    guard.begin("first")
    beside.begin("second")
    store.lost = True
    with pytest.raises(StoreAway):
        guard.begin("a")
    store.lost = False
    assert [each.outcome for each in beside.before("a")] == ["under way"]
    assert guard.before("a") == []
    guard.begin("another")
    assert beside.before("a") == []
    assert (guard._stray, guard._unwritten) == ({}, {})
    beside.begin("a")


@pytest.mark.slow
def test_of_processes_that_begin_the_same_at_once_one_does(tmp_path: Path) -> None:
    lines = """
from waha_mcp.policy.repeats import Repeated, Repeats
guard = Repeats("one", store)
for n in range(50):
    try:
        attempt = guard.begin(str(n))
    except Repeated:
        continue
    print(n)
    guard.end(str(n), attempt, "done")
"""
    begun = " ".join(together(tmp_path / "store.sqlite", lines, 3)).split()
    assert Counter(begun) == {str(n): 1 for n in range(50)}
