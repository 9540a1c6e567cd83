"""A task grant skips the question, in the chats and within the limits that a person set, and nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from pydantic import SecretStr

from tests.harness import Admin, approvals_of, opened_store
from tests.policy.common import DAD, MAYA, SAM, STRANGER, SetClock, bridge_with, cannot_write, effects, lid_of
from waha_mcp.app.policy_fields import LIFETIME
from waha_mcp.bridge import Bridge
from waha_mcp.people.persons import shown_of
from waha_mcp.policy import Refusal, task_grants
from waha_mcp.policy.approval import decide, waiting
from waha_mcp.policy.forgetting import Chats, forget
from waha_mcp.policy.kill_switch import pause
from waha_mcp.policy.question import Question
from waha_mcp.policy.task_grants import MOST_MESSAGES, MOST_SECONDS, TaskGrant, end, give, give_back, in_force, take
from waha_mcp.sandbox import SandboxInfo
from waha_mcp.store import Store
from waha_mcp.tools.catalog import CATALOG
from waha_mcp.waha.errors import WahaError

pytestmark = pytest.mark.anyio

WHO = {MAYA: "Maya Lindqvist (+447700900142)"}
WAITS = "waiting for approval"

# In the store


def left(store: Store, app_id: str = "one") -> dict[str, int]:
    return {grant.chat: grant.left for grant in in_force(store, app_id)}


def test_each_message_takes_one_until_none_is_left(store: Store) -> None:
    give(store, "one", WHO, messages=2)
    assert [bool(take(store, "one", WHO)) for _ in range(3)] == [True, True, False]
    assert in_force(store, "one") == []


def test_a_newer_grant_takes_the_place_of_the_older_and_adds_nothing(store: Store) -> None:
    give(store, "one", WHO, messages=5)
    give(store, "one", WHO, messages=1)
    assert left(store) == {MAYA: 1}


@pytest.mark.parametrize(
    "wrong",
    [
        {"messages": MOST_MESSAGES + 1},
        {"messages": 0},
        {"seconds": MOST_SECONDS + 1},
        {"seconds": 1},
        {"seconds": float("nan")},
        {"chats": {}},
        {"chats": {"status@broadcast": "x"}},
        {"chats": {"public": "x"}},
        {"chats": {"120363000000000002@newsletter": "x"}},
        {"chats": {MAYA: "x", "123@broadcast": "x"}},
    ],
)
def test_more_than_there_may_be_cannot_be_given(wrong: dict[str, Any], store: Store) -> None:
    with pytest.raises(ValueError, match="task grant"):
        give(store, "one", **({"chats": WHO} | wrong))
    assert store.rows("task_grant") == []


def test_it_is_for_one_app_and_one_chat_and_who_was_shown(store: Store) -> None:
    give(store, "one", WHO)
    assert take(store, "two", WHO) == ()
    assert take(store, "one", {SAM: WHO[MAYA]}) == ()
    assert take(store, "one", {MAYA: "Another (+447700900142)"}) == ()
    assert left(store) == {MAYA: 5}


def test_where_one_of_several_chats_has_none_nothing_is_taken(store: Store) -> None:
    give(store, "one", WHO)
    assert take(store, "one", {**WHO, SAM: "Sam"}) == ()
    assert left(store) == {MAYA: 5}


def test_what_is_given_back_goes_to_the_same_grant_alone(store: Store) -> None:
    give(store, "one", WHO, messages=2)
    taken = take(store, "one", WHO)
    give_back(store, taken)
    assert left(store) == {MAYA: 2}
    give(store, "one", WHO, messages=1)
    give_back(store, taken)
    assert left(store) == {MAYA: 1}
    end(store)
    give_back(store, taken)
    assert left(store) == {}


def test_only_the_grants_that_are_meant_are_ended(store: Store) -> None:
    give(store, "one", {**WHO, SAM: "Sam"})
    give(store, "two", WHO)
    assert [grant.chat for grant in end(store, "one", lambda grant: grant.chat == SAM)] == [SAM]
    assert (left(store), left(store, "two")) == ({MAYA: 5}, {MAYA: 5})
    assert len(end(store)) == 2
    assert store.rows("task_grant") == []


GOOD = {"shown": WHO[MAYA], "created": 0.0, "used": 0.0, "seconds": 1800.0, "left": 5}
WRONG: dict[str, str] = {
    "no JSON": "{",
    "no object": "[1]",
    "a field too few": json.dumps({"shown": WHO[MAYA], "left": 5}),
    "a field too many": json.dumps({**GOOD, "ever": True}),
    "more messages than there may be": json.dumps({**GOOD, "left": 6}),
    "half a message": json.dumps({**GOOD, "left": 0.5}),
    "longer than there may be": json.dumps({**GOOD, "seconds": 1801}),
    "no number": json.dumps({**GOOD, "seconds": "1800"}),
    "no end": json.dumps({**GOOD, "seconds": float("nan")}),
    "nobody": json.dumps({**GOOD, "shown": None}),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_row_that_is_not_right_is_no_grant(what: str, store: Store) -> None:
    now = store.now()
    times = {"created": now, "used": now}

    def put(text: str) -> None:
        store.swap("task_grant", f"one/{MAYA}", store.get("task_grant", f"one/{MAYA}"), text)

    put(json.dumps(GOOD | times))
    assert task_grants.open_for(store, "one", [MAYA])
    try:
        put(json.dumps(json.loads(WRONG[what]) | times))
    except (ValueError, TypeError):
        put(WRONG[what])
    if what == "nobody":
        assert take(store, "one", {MAYA: "None"}) == ()
    assert not task_grants.open_for(store, "one", [MAYA])
    assert take(store, "one", WHO) == ()
    assert in_force(store) == []


# Clocks


def test_it_ends_by_the_stores_clock(store: Store, set_clock: SetClock) -> None:
    give(store, "one", WHO, seconds=60)
    set_clock(57)
    assert take(store, "one", WHO)
    set_clock(61)
    assert take(store, "one", WHO) == ()
    assert in_force(store) == []


def test_a_grant_from_the_future_is_none(store: Store, set_clock: SetClock) -> None:
    set_clock(3600)
    give(store, "one", WHO)
    set_clock(0)
    assert take(store, "one", WHO) == ()


def test_a_clock_that_is_set_back_after_a_message_makes_it_no_longer(store: Store, set_clock: SetClock) -> None:
    give(store, "one", WHO)
    set_clock(1500)
    assert take(store, "one", WHO)
    set_clock(60)
    assert take(store, "one", WHO) == ()


def test_it_outlives_a_clock_that_is_set_back_a_little(store: Store, set_clock: SetClock) -> None:
    set_clock(2)
    give(store, "one", WHO)
    set_clock(0)
    assert take(store, "one", WHO)


# Together


def test_threads_together_take_no_more_than_was_given(store: Store) -> None:
    give(store, "one", WHO, messages=5)
    with ThreadPoolExecutor(8) as threads:
        taken = list(threads.map(lambda _: bool(take(store, "one", WHO)), range(24)))
    assert sum(taken) == 5


TAKES = """
import sys
from waha_mcp.policy.task_grants import take
from waha_mcp.store.folders import user_store
store = user_store()
store.now()
print("ready", flush=True)
sys.stdin.readline()
print(len(take(store, "one", {sys.argv[1]: sys.argv[2]})))
"""


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("redis", marks=pytest.mark.slow)])
def test_of_processes_that_spend_the_last_message_at_once_exactly_one_does(
    kind: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kind == "redis":
        monkeypatch.setenv("WAHA_MCP_STORE", request.getfixturevalue("redis_server").url)
    from waha_mcp.store.folders import user_store

    store = user_store()
    for _ in range(3):
        give(store, "one", WHO, messages=1)
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", TAKES, MAYA, WHO[MAYA]], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            for _ in range(2)
        ]
        for each in processes:
            assert each.stdout is not None
            assert each.stdout.readline() == "ready\n"
        for each in processes:
            assert each.stdin is not None
            each.stdin.write("\n")
            each.stdin.flush()
        assert sorted(each.communicate(timeout=30)[0] for each in processes) == ["0\n", "1\n"]
    store.close()


def test_forgetting_a_chat_deletes_its_grants(store: Store) -> None:
    give(store, "one", {**WHO, SAM: "Sam"})
    give(store, "two", WHO)
    assert forget(store, Chats([MAYA]), "one").task_grants == 1
    assert (left(store), left(store, "two")) == ({SAM: 5}, {MAYA: 5})
    assert forget(store, Chats(None), None).task_grants == 2


# Which tools


def test_there_are_grants_for_what_is_done_in_a_chat_and_for_nothing_else() -> None:
    assert {name for name, tool in CATALOG.items() if task_grants.covers(tool)} == {
        *("send_text", "send_media", "react", "mark_read", "send_sticker", "send_link_preview", "send_list"),
        *("reply_to_buttons", "send_poll", "vote_in_poll", "send_location", "send_contact_cards", "send_event"),
        *("forward_message", "edit_message", "pin_message", "set_typing"),
    }


# At the gate


async def nobody(question: Question) -> bool | None:
    raise AssertionError(f"was asked: {question.text()}")


async def no(question: Question) -> bool:
    return False


async def open_to(bridge: Bridge, *chats: str, messages: int = MOST_MESSAGES) -> None:
    """Open a task grant, as `waha-mcp grant` does."""
    await bridge.policy.prepare(bridge.key.grant)
    shown, who = shown_of(dict([await bridge.policy.grantable(chat) for chat in chats]))
    give(bridge.policy.store, bridge.app.identity, shown, messages=messages, who=who)


def text(number: int = 1, chat: str = MAYA, **more: Any) -> dict[str, Any]:
    return {"chat": chat, "text": f"Text {number}", **more}


async def test_messages_go_without_a_question_until_the_last_is_spent(sandbox: SandboxInfo, admin: Admin) -> None:
    async with bridge_with(sandbox, approval="send", pace={"gap": [0, 0]}) as bridge:
        await open_to(bridge, MAYA, messages=2)
        for number in (1, 2):
            await bridge.call("send_text", text(number), ask=nobody)
        with pytest.raises(Refusal, match=WAITS):
            await bridge.call("send_text", text(3))
    assert len(await admin.performed("/api/sendText")) == 2


@pytest.mark.parametrize(
    "fields",
    [
        {"approval": "all"},
        {"approval": "first_contact"},
        {"chats": {"send": {"allow": [], "ask": ["people"]}}},
    ],
    ids=["all", "first contact", "a list"],
)
async def test_it_answers_each_reason_that_is_about_the_chat(fields: dict[str, Any], sandbox: SandboxInfo) -> None:
    async with bridge_with(sandbox, **fields) as bridge:
        await open_to(bridge, STRANGER)
        await bridge.call("send_text", text(chat=STRANGER), ask=nobody)


async def test_the_trail_says_that_a_grant_allowed_it(sandbox: SandboxInfo) -> None:
    from waha_mcp.policy.audit import parsed, trail_path

    async with bridge_with(sandbox, approval="send") as bridge:
        await open_to(bridge, MAYA)
        await bridge.call("send_text", text(), ask=nobody)
        lines = [parsed(line) for line in trail_path(bridge.app.id).read_text().splitlines()]
    assert [line["decision"] for line in lines] == ["allowed by a task grant"] * 2


async def test_another_chat_is_asked_about(sandbox: SandboxInfo) -> None:
    async with bridge_with(sandbox, approval="send") as bridge:
        await open_to(bridge, MAYA)
        with pytest.raises(Refusal, match=WAITS):
            await bridge.call("send_text", text(chat=SAM))


async def test_whoever_else_is_reached_needs_a_grant_as_well(sandbox: SandboxInfo) -> None:
    mentions = {"chat": MAYA, "text": "Ask @12025550123", "mentions": [SAM]}
    async with bridge_with(sandbox, approval="send") as bridge:
        await open_to(bridge, MAYA)
        with pytest.raises(Refusal, match=WAITS):
            await bridge.call("send_text", mentions)
        await open_to(bridge, SAM)
        await bridge.call("send_text", mentions, ask=nobody)
        assert sorted(grant.left for grant in in_force(bridge.policy.store)) == [4, 4]


async def test_a_person_is_one_under_both_ids(sandbox: SandboxInfo, admin: Admin) -> None:
    hidden = await lid_of(admin, MAYA)
    async with bridge_with(sandbox, approval="send", pace={"gap": [0, 0]}) as bridge:
        await open_to(bridge, hidden)
        assert left(bridge.policy.store, bridge.app.id) == {MAYA: 5}
        await bridge.call("send_text", text(1, hidden), ask=nobody)
        await bridge.call("send_text", text(2), ask=nobody)
        assert left(bridge.policy.store, bridge.app.id) == {MAYA: 3}


UNCOVERED: dict[str, tuple[str, dict[str, Any]]] = {
    "deleting the chat": ("delete_chat", {"chat": MAYA}),
    "blocking them": ("block_contact", {"contact": MAYA}),
    "saving them under a name": ("save_contact", {"contact": MAYA, "first_name": "Mum"}),
    "a group with them": ("create_group", {"subject": "Two of us", "participants": [MAYA]}),
    "a status story": ("post_text_status", {"text": "Hello"}),
    "a status story for them": ("post_text_status", {"text": "Hello", "people": [MAYA]}),
    "the profile": ("update_profile", {"name": "Maya"}),
    "a file from a server": ("send_media", {"chat": MAYA, "kind": "file", "url": "https://example.com/a.pdf"}),
    "a preview from a server": ("send_text", {"chat": MAYA, "text": "https://example.com/?q=1", "link_preview": True}),
    "whether the account is online": ("set_presence", {"online": True}),
}


@pytest.mark.parametrize("what", UNCOVERED)
async def test_what_is_no_message_in_the_chat_is_asked_about(what: str, sandbox: SandboxInfo, admin: Admin) -> None:
    tool, arguments = UNCOVERED[what]
    async with bridge_with(sandbox, key="full", toolsets=frozenset({"all"}), approval="all") as bridge:
        await open_to(bridge, MAYA)
        await admin.clear()
        with pytest.raises(Refusal, match=WAITS):
            await bridge.call(tool, arguments)
        assert left(bridge.policy.store, bridge.app.id) == {MAYA: 5}
        assert not waiting()[0].question.open_to
    assert await effects(admin) == []


async def test_a_link_that_is_asked_about_is_asked_about(sandbox: SandboxInfo) -> None:
    async with bridge_with(sandbox, approval="send", links={"others": "ask"}) as bridge:
        await open_to(bridge, MAYA)
        with pytest.raises(Refusal, match=WAITS):
            await bridge.call("send_text", text() | {"text": "See https://evil.example/x"})
        await bridge.call("send_text", text(2), ask=nobody)


async def test_a_link_that_is_refused_is_refused(sandbox: SandboxInfo) -> None:
    async with bridge_with(sandbox, approval="send", links={"others": "refuse"}) as bridge:
        await open_to(bridge, MAYA)
        with pytest.raises(Refusal, match="list of links"):
            await bridge.call("send_text", text() | {"text": "See https://evil.example/x"}, ask=nobody)


async def test_who_is_denied_stays_denied(sandbox: SandboxInfo) -> None:
    async with bridge_with(sandbox, approval="send") as bridge:
        await open_to(bridge, MAYA)
    async with bridge_with(sandbox, approval="send", chats={"send": {"deny": [MAYA]}}) as bridge:
        with pytest.raises(Refusal, match="may not write"):
            await bridge.call("send_text", text(), ask=nobody)
        with pytest.raises(Refusal, match="may not write"):
            await bridge.policy.grantable(MAYA)
        assert left(bridge.policy.store, bridge.app.id) == {MAYA: 5}


async def test_the_pace_stays(sandbox: SandboxInfo) -> None:
    async with bridge_with(sandbox, approval="send", pace={"total": "1/hour", "gap": [0, 0]}) as bridge:
        await open_to(bridge, MAYA)
        await bridge.call("send_text", text(1), ask=nobody)
        with pytest.raises(Refusal) as refused:
            await bridge.call("send_text", text(2), ask=nobody)
        assert refused.value.why == "too fast"
        assert left(bridge.policy.store, bridge.app.id) == {MAYA: 4}


async def test_a_pause_stays(sandbox: SandboxInfo) -> None:
    async with bridge_with(sandbox, approval="send") as bridge:
        await open_to(bridge, MAYA)
        pause(bridge.policy.store, bridge.app.id)
        with pytest.raises(Refusal, match="paused by the user"):
            await bridge.call("send_text", text(), ask=nobody)


async def test_the_guard_against_repeats_stays(sandbox: SandboxInfo) -> None:
    async with bridge_with(sandbox, approval="send", pace={"gap": [0, 0]}) as bridge:
        await open_to(bridge, MAYA)
        await bridge.call("send_text", text(), ask=nobody)
        with pytest.raises(Refusal, match="The same was done"):
            await bridge.call("send_text", text(), ask=nobody)


async def test_what_may_happen_twice_is_asked_about(sandbox: SandboxInfo, admin: Admin) -> None:
    async with bridge_with(sandbox, key="send", approval="send", pace={"gap": [0, 0]}) as bridge:
        await open_to(bridge, MAYA)
        await admin.fault("/api/sendText", status=504)
        with pytest.raises(WahaError):
            await bridge.call("send_text", text(), ask=nobody)
        # A message that may have been sent counts as spent.
        assert left(bridge.policy.store, bridge.app.id) == {MAYA: 4}
        with pytest.raises(Refusal, match=WAITS):
            await bridge.call("send_text", text(allow_repeat=True))
        [entry] = waiting()
        assert "may happen twice" in entry.question.text()
        assert not entry.question.open_to


async def test_a_refusal_before_it_wins(sandbox: SandboxInfo) -> None:
    async with bridge_with(sandbox, approval={"when": "send", "ask_at": "console"}) as bridge:
        with pytest.raises(Refusal, match=WAITS):
            await bridge.call("send_text", text())
        assert decide(waiting()[0].id, approve=False)
        await open_to(bridge, MAYA)
        with pytest.raises(Refusal, match="The user refused this"):
            await bridge.call("send_text", text())


async def test_a_no_at_the_client_before_it_wins(sandbox: SandboxInfo) -> None:
    async with bridge_with(sandbox, approval="send") as bridge:
        with pytest.raises(Refusal, match="Declined"):
            await bridge.call("send_text", text(), ask=no)
        await open_to(bridge, MAYA)
        with pytest.raises(Refusal, match="Declined"):
            await bridge.call("send_text", text(), ask=nobody)


async def test_a_yes_to_exactly_this_is_used_before_it(sandbox: SandboxInfo) -> None:
    async with bridge_with(sandbox, approval="send") as bridge:
        with pytest.raises(Refusal, match=WAITS):
            await bridge.call("send_text", text())
        assert decide(waiting()[0].id, approve=True)
        await open_to(bridge, MAYA)
        await bridge.call("send_text", text(), ask=nobody)
        assert left(bridge.policy.store, bridge.app.id) == {MAYA: 5}


async def test_a_question_that_it_answers_waits_no_longer(sandbox: SandboxInfo) -> None:
    async with bridge_with(sandbox, approval="send") as bridge:
        with pytest.raises(Refusal, match=WAITS):
            await bridge.call("send_text", text())
        await open_to(bridge, MAYA)
        await bridge.call("send_text", text(), ask=nobody)
    assert waiting() == []


async def test_what_was_certainly_not_sent_is_given_back(sandbox: SandboxInfo, admin: Admin) -> None:
    async with bridge_with(sandbox, approval="send") as bridge:
        await open_to(bridge, MAYA)
        await admin.fault("/api/sendText", status=422, body='{"error": "no", "session": "default"}')
        with pytest.raises(WahaError):
            await bridge.call("send_text", text(), ask=nobody)
        assert left(bridge.policy.store, bridge.app.id) == {MAYA: 5}


async def test_one_that_ends_before_the_message_leaves_lets_nothing_out(
    sandbox: SandboxInfo, admin: Admin, monkeypatch: pytest.MonkeyPatch
) -> None:
    from waha_mcp.policy import delivery

    async def ended(*given: Any) -> None:
        end(opened_store())

    monkeypatch.setattr(delivery, "act_human", ended)
    async with bridge_with(sandbox, approval="send", humanize=True) as bridge:
        await open_to(bridge, MAYA)
        await admin.clear()
        with pytest.raises(Refusal, match="has just ended"):
            await bridge.call("send_text", text(), ask=nobody)
    assert await effects(admin) == []


async def test_a_person_under_another_name_is_asked_about(sandbox: SandboxInfo, admin: Admin) -> None:
    async with bridge_with(sandbox, approval="send") as bridge:
        await open_to(bridge, MAYA)
        await admin.request("PUT", f"/api/default/contacts/{MAYA}", {"firstName": "Somebody", "lastName": "Else"})
        with pytest.raises(Refusal, match=WAITS):
            await bridge.call("send_text", text())
        assert left(bridge.policy.store, bridge.app.id) == {MAYA: 5}


@pytest.mark.parametrize("gone", [[], [SAM]], ids=["one more", "one in another's place"])
async def test_a_group_with_another_member_is_asked_about(gone: list[str], sandbox: SandboxInfo, admin: Admin) -> None:
    made = await admin.request("POST", "/api/default/groups", {"name": "Hikers", "participants": [{"id": SAM}]})
    group = str(made.get("id") or made["JID"])
    async with bridge_with(sandbox, approval="send", pace={"gap": [0, 0]}) as bridge:
        await open_to(bridge, group)
        await bridge.call("send_text", text(1, group), ask=nobody)
        await admin.request(
            "POST", f"/api/default/groups/{group}/participants/add", {"participants": [{"id": STRANGER}]}
        )
        for each in gone:
            path = f"/api/default/groups/{group}/participants/remove"
            await admin.request("POST", path, {"participants": [{"id": each}]})
        with pytest.raises(Refusal, match=WAITS):
            await bridge.call("send_text", text(2, group))
        assert left(bridge.policy.store, bridge.app.id) == {group: 4}


async def test_where_waha_is_away_nothing_is_taken(sandbox: SandboxInfo, admin: Admin) -> None:
    async with bridge_with(sandbox, approval="send") as bridge:
        await open_to(bridge, MAYA)
        await bridge.call("mark_read", {"chat": MAYA}, ask=nobody)
        await admin.fault("/api/contacts*", drop=True, count=100)
        await admin.fault("/api/default/contacts*", drop=True, count=100)
        with pytest.raises((Refusal, WahaError)):
            await bridge.call("send_text", text())
        assert left(bridge.policy.store, bridge.app.id) == {MAYA: 4}


async def test_where_the_store_cannot_be_written_nothing_goes(
    sandbox: SandboxInfo, admin: Admin, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with bridge_with(sandbox, approval="send") as bridge:
        await open_to(bridge, MAYA)
        cannot_write(monkeypatch, "task_grant")
        await admin.clear()
        with pytest.raises(Refusal, match="cannot be looked up"):
            await bridge.call("send_text", text(), ask=nobody)
    assert await effects(admin) == []


async def test_a_grant_is_for_no_other_key_of_an_app_of_the_same_id(sandbox: SandboxInfo) -> None:
    # All Apps without a definition have the same id.
    async with bridge_with(sandbox, approval="send") as bridge:
        await open_to(bridge, MAYA)
        other = bridge.app.model_copy(update={"key": SecretStr(sandbox.keys["full"])})
    async with Bridge(other) as bridge:
        with pytest.raises(Refusal, match=WAITS):
            await bridge.call("send_text", text())


# What is told of it


async def test_the_status_tells_of_a_grant_while_one_is_in_force(sandbox: SandboxInfo) -> None:
    async with bridge_with(sandbox, approval="send") as bridge:
        assert "task_grants" not in (await bridge.answer("get_status", {})).data
        await open_to(bridge, MAYA, messages=1)
        [told] = (await bridge.answer("get_status", {})).data["task_grants"]
        assert told.startswith("Maya Lindqvist (+447700900142): 1 message left until ")
        await bridge.call("send_text", text(), ask=nobody)
        assert "task_grants" not in (await bridge.answer("get_status", {})).data


async def test_the_status_tells_nothing_of_who_may_not_be_read(sandbox: SandboxInfo) -> None:
    async with bridge_with(sandbox, approval="send", chats={"read": {"deny": [MAYA]}}) as bridge:
        await open_to(bridge, MAYA, DAD)
        [told] = (await bridge.answer("get_status", {})).data["task_grants"]
        assert "+12025550101" in told


# Given with a yes


async def test_a_question_says_for_whom_a_window_may_be_opened(sandbox: SandboxInfo) -> None:
    async with bridge_with(sandbox, approval="send", pace={"gap": [0, 0]}) as bridge:
        with pytest.raises(Refusal, match=WAITS):
            await bridge.call("send_text", text(1))
        [entry] = waiting()
        assert entry.question.open_to == WHO
        assert task_grants.allow_for_a_while(approvals_of(bridge.app.id), bridge.policy.store, entry.id)
        for number in range(1, 7):
            await bridge.call("send_text", text(number), ask=nobody)
        with pytest.raises(Refusal, match=WAITS):
            await bridge.call("send_text", text(7))


def test_an_app_without_a_trail_gets_none_by_a_window() -> None:
    from waha_mcp.policy.audit import trail_path

    store, approvals = opened_store(), approvals_of("one")
    asked = Question("one", "send_text", "Send", (WHO[MAYA],), {}, "d", time.time() + LIFETIME, chats=(MAYA,))
    entry = approvals.ask(replace(asked, open_to=WHO, identity="one/key"))
    assert task_grants.allow_for_a_while(approvals, store, entry.id)
    assert [grant.chat for grant in in_force(store)] == [MAYA]
    assert not trail_path("one").exists()


def test_a_yes_to_a_question_without_it_opens_nothing() -> None:
    store = opened_store()
    entry = approvals_of("one").ask(
        Question("one", "send_text", "Send", (WHO[MAYA],), {}, "d", time.time() + LIFETIME, chats=(MAYA,))
    )
    assert not task_grants.allow_for_a_while(approvals_of("one"), store, entry.id)
    assert [each.state for each in approvals_of("one").entries()] == ["waiting"]
    assert in_force(store) == []


def test_a_grant_says_in_words_how_much_is_left() -> None:
    grant = TaskGrant("one", MAYA, "Maya", 0.0, 0.0, 60.0, 1)
    assert grant.text.startswith("Maya: 1 message left until ")
