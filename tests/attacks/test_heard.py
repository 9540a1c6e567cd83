"""Incoming events: chats outside the lists, floods, endless typing, forged positions, changes by others to messages."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.attacks.hijacked import ATTACKER, FAST, FRIEND, SEALED, SECRET, VICTIM, Hijacked, hijacked
from tests.attacks.judge import Judge
from waha_mcp.sandbox import SandboxInfo

#: Somebody who writes seldom.
MUM = "12025550102@c.us"
#: Only these chats may not be read.
SEALING = f'[chats]\nread = {{ deny = ["{SEALED}"] }}\n' + FAST
#: A small record, and shorter waits.
SMALL = "from waha_mcp.feed import record\nrecord.MOST = 40\n"
SHORT = "import waha_mcp.tools.core.hearing as hearing\nhearing.WHOLE, hearing.WORDING = 5.0, 0.5\n"
#: Short reconnection delays, since other cases drop connections.
SOON_BACK = "from waha_mcp.feed import live\nlive.FIRST_PAUSE = live.LONGEST_PAUSE = 0.1\n"

Agents = Iterator[Hijacked]


@pytest.fixture(scope="module")
def limited(sandbox: SandboxInfo, tmp_path_factory: pytest.TempPathFactory) -> Agents:
    with hijacked(sandbox, tmp_path_factory.mktemp("limited"), SEALING, first=SOON_BACK) as agent:
        yield agent


@pytest.fixture(scope="module")
def unlimited(sandbox: SandboxInfo, tmp_path_factory: pytest.TempPathFactory) -> Agents:
    with hijacked(sandbox, tmp_path_factory.mktemp("unlimited"), FAST, first=SOON_BACK) as agent:
        yield agent


@pytest.fixture
def ear(limited: Hijacked) -> Hijacked:
    """An agent that may not read one chat, and already receives events."""
    return listening(limited)


@pytest.fixture
def all_ears(unlimited: Hijacked) -> Hijacked:
    """An agent without lists, which already receives events."""
    return listening(unlimited)


def listening(agent: Hijacked) -> Hijacked:
    """The agent, once its server receives live events."""
    agent.judge.await_(lambda: "notes" not in heard(agent, "get_updates"))
    return agent


def heard(agent: Hijacked, tool: str, **arguments: Any) -> dict[str, Any]:
    return result(agent.call(tool, **arguments))


def result(outcome: tuple[bool, str]) -> dict[str, Any]:
    done, said = outcome
    assert done, said
    found: dict[str, Any] = json.loads(said)
    return found


def texts(found: dict[str, Any]) -> list[str]:
    rows = found.get("messages", found.get("updates", found.get("replies", [])))
    return [each["text"] for each in rows if each.get("text")]


def happen(judge: Judge, kind: str, **what: Any) -> None:
    judge.ask("POST", "/sandbox/events", {"kind": kind} | what)


def played(judge: Judge, *lines: dict[str, Any]) -> None:
    judge.ask("POST", "/sandbox/script", {"lines": list(lines)})


def shared_group(judge: Judge, subject: str) -> str:
    """A group of the account, the attacker, a friend and who has made it."""
    group = str(judge.ask("POST", "/sandbox/groups", {"subject": subject, "from": VICTIM})["id"])
    people = {"participants": [{"id": each} for each in (ATTACKER, FRIEND)]}
    judge.ask("POST", f"/api/default/groups/{group}/participants/add", people)
    return group


def hidden_id(judge: Judge, chat: str) -> str:
    return str(judge.get(f"/api/default/lids/pn/{chat.partition('@')[0]}")["lid"])


# Chats outside the lists


def messages(judge: Judge) -> None:
    judge.arrive(SEALED, SECRET)
    judge.arrive(hidden_id(judge, SEALED), SECRET)
    judge.write(SEALED, SECRET)


def changes(judge: Judge) -> None:
    message = judge.arrive(hidden_id(judge, SEALED), SECRET)
    happen(judge, "reaction", messageId=message, reaction="🔑")
    happen(judge, "edited", messageId=message, text=SECRET + "!")
    happen(judge, "revoked", messageId=message)
    mine = judge.write(SEALED, SECRET)
    happen(judge, "reaction", messageId=mine, reaction="🔑")


def receipts(judge: Judge) -> None:
    mine = judge.write(SEALED, SECRET)
    happen(judge, "ack", messageId=mine, ack=2)
    happen(judge, "ack", messageId=mine, ack=3)
    judge.arrive(SEALED, SECRET)
    happen(judge, "read", chatId=SEALED)


def signs(judge: Judge) -> None:
    for presence in ("typing", "recording", "paused"):
        happen(judge, "presence", chatId=SEALED, presence=presence)
    judge.ask("POST", "/sandbox/calls", {"from": SEALED})


def votes(judge: Judge) -> None:
    body = {"session": "default", "chatId": SEALED, "poll": {"name": SECRET, "options": ["a", "b"]}}
    poll = judge.ask("POST", "/api/sendPoll", body)
    happen(judge, "vote", messageId=str(poll["id"]), votes=["a"], **{"from": SEALED})


def stories(judge: Judge) -> None:
    story = judge.arrive("status@broadcast", SECRET, **{"from": SEALED})
    happen(judge, "revoked", messageId=story)


HIDDEN: dict[str, Callable[[Judge], None]] = {
    "messages": messages,
    "edits, deletions and reactions": changes,
    "receipts": receipts,
    "typing and calls": signs,
    "votes": votes,
    "status stories": stories,
}


@pytest.mark.parametrize("tool", ["get_updates", "wait_for_messages"])
@pytest.mark.parametrize("what", HIDDEN)
def test_nothing_is_told_of_a_sealed_chat_in(what: str, tool: str, ear: Hijacked) -> None:
    after = heard(ear, "get_updates")["cursor"]
    HIDDEN[what](ear.judge)
    ear.judge.settle()
    ear.judge.arrive(FRIEND, "after it")
    more = {"settle": 0} if tool == "wait_for_messages" else {}
    found: dict[str, Any] = {}

    def told() -> bool:
        found.update(heard(ear, tool, after=after, **more))
        return bool(texts(found))

    ear.judge.await_(told)
    assert texts(found) == ["after it"]
    assert len(found["messages" if tool == "wait_for_messages" else "updates"]) == 1
    assert "left_out" not in found
    assert SEALED.partition("@")[0] not in str(found)


def test_a_sealed_group_changes_unheard(sandbox: SandboxInfo, tmp_path: Path) -> None:
    judge = Judge(sandbox)
    group = str(judge.ask("POST", "/sandbox/groups", {"subject": "Sealed", "from": VICTIM})["id"])
    judge.close()
    with hijacked(sandbox, tmp_path, f'[chats]\nread = {{ deny = ["{group}"] }}\n' + FAST) as agent:
        after = heard(agent, "get_updates")["cursor"]
        happen(agent.judge, "group", chatId=group, subject=SECRET)
        happen(agent.judge, "group", chatId=group, change="join", people=[ATTACKER])
        agent.judge.arrive(group, SECRET, **{"from": VICTIM})
        agent.judge.arrive(FRIEND, "after it")
        agent.judge.await_(lambda: bool(texts(heard(agent, "get_updates", after=after))))
        assert [each.get("text") for each in heard(agent, "get_updates", after=after)["updates"]] == ["after it"]


def test_what_a_sealed_chat_says_is_not_quoted(ear: Hijacked) -> None:
    after = heard(ear, "get_updates")["cursor"]
    secret = ear.judge.arrive(SEALED, SECRET)
    ear.judge.arrive(FRIEND, "Look", replyTo=secret.split("_")[2])
    found = heard(ear, "wait_for_messages", after=after, settle=0)
    assert texts(found) == ["Look"]
    assert SECRET not in str(found)


@pytest.mark.parametrize("tool", ["get_updates", "wait_for_messages"])
@pytest.mark.parametrize("hidden", [False, True], ids=["its number", "its hidden id"])
def test_a_message_of_a_sealed_chat_is_a_place_no_more_than_one_that_is_not_there(
    hidden: bool, tool: str, ear: Hijacked
) -> None:
    chat = hidden_id(ear.judge, SEALED) if hidden else SEALED
    there = ear.judge.arrive(chat, SECRET)
    absent = there[:-4] + "0000"
    outcomes = [ear.call(tool, after=each) for each in (there, absent)]
    assert outcomes[0] == outcomes[1]
    assert not outcomes[0][0]


def test_of_a_flood_in_sealed_chats_not_even_its_size_is_told(sandbox: SandboxInfo, tmp_path: Path) -> None:
    with hijacked(sandbox, tmp_path, SEALING, first=SMALL) as agent:
        after = heard(agent, "get_updates")["cursor"]
        agent.judge.ask("POST", "/sandbox/socket", {"flood": 150, "chatId": SEALED})
        agent.judge.arrive(FRIEND, "after it")
        agent.judge.await_(lambda: bool(texts(heard(agent, "get_updates", after=after))))
        found = heard(agent, "get_updates", after=after)
        assert texts(found) == ["after it"]
        assert found["notes"][0] == "Events were too many to keep: their messages were read back."


def test_who_types_in_a_sealed_chat_puts_nothing_off(ear: Hijacked) -> None:
    after = heard(ear, "get_updates")["cursor"]
    typing = {"kind": "presence", "chatId": SEALED, "presence": "typing", "after": 0.4}
    played(ear.judge, {"chatId": FRIEND, "text": "at once"}, *[typing] * 25)
    found = heard(ear, "wait_for_messages", after=after, settle=1)
    assert texts(found) == ["at once"]
    assert found["waited"] < 6


def told(agent: Hijacked, method: str) -> list[dict[str, Any]]:
    """The notifications of a kind that have come so far."""
    return [each for each in agent.told if each["method"] == method]


def subscribe(agent: Hijacked, uri: str) -> dict[str, Any]:
    answer: dict[str, Any] = agent.answer_to(agent.write("resources/subscribe", {"uri": uri}))
    return answer


def test_what_is_unread_changes_by_nothing_in_a_sealed_chat(ear: Hijacked) -> None:
    assert "result" in subscribe(ear, "waha://unread")
    messages(ear.judge)
    happen(ear.judge, "read", chatId=SEALED)
    # Longer than such a change would be delayed.
    assert heard(ear, "wait_for_messages", chat=MUM, timeout=2)["messages"] == []
    assert told(ear, "notifications/resources/updated") == []
    ear.judge.arrive(FRIEND, "after it")
    ear.judge.await_(lambda: bool(heard(ear, "get_updates") and told(ear, "notifications/resources/updated")))


@pytest.mark.parametrize("hidden", [False, True], ids=["its number", "its hidden id"])
def test_a_sealed_chat_is_subscribed_to_no_more_than_one_that_is_not_there(hidden: bool, ear: Hijacked) -> None:
    sealed = hidden_id(ear.judge, SEALED) if hidden else SEALED
    absent = "99000111222333@lid" if hidden else "12025550177@c.us"
    answers = [subscribe(ear, f"waha://chats/{chat}")["error"] for chat in (sealed, absent)]
    assert answers[0]["code"] == answers[1]["code"]
    assert sealed not in answers[0]["message"].replace(f"waha://chats/{sealed}", "")


# Without the action, and when it is gone

HEARING = {"wait_for_messages", "get_updates"}


def test_a_key_that_only_sends_hears_nothing_and_is_told_of_nothing_to_hear(
    sandbox: SandboxInfo, tmp_path: Path, text: str
) -> None:
    with hijacked(sandbox, tmp_path, FAST, key="send", actions=("send",)) as agent:
        listed = json.dumps(agent.answer_to(agent.write("tools/list", {}))["result"]["tools"])
        assert not [each for each in ("wait_for_reply", *HEARING) if each in listed]
        agent.judge.forget()
        assert not agent.call("send_text", chat=FRIEND, text=text, wait_for_reply=1)[0]
        assert agent.judge.effects() == []
        for tool in HEARING:
            assert not agent.call(tool)[0]
        assert "error" in subscribe(agent, "waha://unread")
        assert not any(each["path"].startswith("/ws") for each in agent.judge.requests())


def test_a_chat_that_may_be_written_and_not_read_gives_no_reply(ear: Hijacked, text: str) -> None:
    ear.judge.forget()
    done, said = ear.call("send_text", chat=SEALED, text=text, wait_for_reply=5)
    assert not done
    assert "wait_for_reply" in said
    assert ear.judge.effects() == []


@pytest.mark.parametrize("how", ["without read", "deleted"])
def test_a_key_that_may_not_read_any_more_hears_no_more_though_its_connection_stays(
    how: str, sandbox: SandboxInfo, tmp_path: Path
) -> None:
    judge = Judge(sandbox)
    flags = {"isAdmin": False, "session": "default", "isActive": True}
    made = judge.ask("POST", "/api/keys", flags | {"actions": {"read": True, "send": True}})
    first = "from waha_mcp.feed import live\nlive.LOOK_AGAIN = 0.2\n"
    with hijacked(sandbox, tmp_path, FAST, key=made["key"], first=first) as agent:
        heard(agent, "get_updates")
        if how == "deleted":
            judge.ask("DELETE", f"/api/keys/{made['id']}")
        else:
            judge.ask("PUT", f"/api/keys/{made['id']}", flags | {"actions": {"send": True}})
        judge.await_(lambda: not agent.listed() & HEARING)
        judge.arrive(FRIEND, SECRET)
        done, said = agent.call("wait_for_messages", timeout=1)
        assert not done
        assert SECRET not in said
    judge.close()


# Floods


def flooded(judge: Judge, count: int, size: int) -> None:
    for number in range(count):
        judge.arrive(ATTACKER, f"{number}" + "\U0001f600" * size)


def test_a_friends_message_is_found_behind_any_flood(all_ears: Hijacked) -> None:
    after = heard(all_ears, "get_updates")["cursor"]
    all_ears.judge.ask("POST", "/sandbox/socket", {"flood": 400, "chatId": ATTACKER})
    all_ears.judge.arrive(FRIEND, "in the middle")
    all_ears.judge.ask("POST", "/sandbox/socket", {"flood": 400, "chatId": ATTACKER})
    seen: list[str] = []
    for _ in range(200):
        found = heard(all_ears, "get_updates", after=after)
        assert len(str(found)) < 40_000
        if not found["updates"]:
            break
        seen += texts(found)
        after = found["cursor"]
    assert seen.count("in the middle") == 1
    assert len(seen) == 801


@pytest.mark.parametrize("wanted", ["by chat", "by sender"])
def test_a_flood_does_not_push_a_friends_message_out_of_a_wait(
    wanted: str, sandbox: SandboxInfo, tmp_path: Path
) -> None:
    # The record overflows before the wait reads it.
    first = "from waha_mcp.feed import record\nrecord.MOST = 3\n"
    with hijacked(sandbox, tmp_path, FAST, first=first) as agent:
        after = heard(agent, "get_updates")["cursor"]
        who = {"chat": VICTIM} if wanted == "by chat" else {"sender": VICTIM}
        number = agent.begin("wait_for_messages", after=after, settle=2, timeout=20, **who)
        agent.judge.arrive(VICTIM, "first")
        # All of it arrives at once.
        os.kill(agent.pid, signal.SIGSTOP)
        agent.judge.ask("POST", "/sandbox/socket", {"flood": 150, "chatId": ATTACKER})
        agent.judge.arrive(VICTIM, "second")
        agent.judge.ask("POST", "/sandbox/socket", {"flood": 150, "chatId": ATTACKER})
        os.kill(agent.pid, signal.SIGCONT)
        found = result(agent.outcome(number))
        assert texts(found) == ["first", "second"]
        assert heard(agent, "wait_for_messages", after=found["cursor"], timeout=0, **who)["messages"] == []


def test_strangers_who_wrote_a_lot_meanwhile_leave_a_friends_message_to_be_read_back(
    sandbox: SandboxInfo, tmp_path: Path
) -> None:
    with hijacked(sandbox, tmp_path, FAST) as agent:
        after = heard(agent, "get_updates")["cursor"]
    judge = Judge(sandbox)
    began = int(time.time())
    judge.arrive(VICTIM, "before the flood")
    # WAHA orders chats by the second of their last message.
    judge.await_(lambda: time.time() > began + 2)
    for number in range(6):
        judge.ask("POST", "/sandbox/socket", {"flood": 300, "chatId": f"44770090506{number}@c.us"})
    judge.close()
    with hijacked(sandbox, tmp_path, FAST) as agent:
        found = heard(agent, "wait_for_messages", chat=VICTIM, after=after, timeout=0)
        assert texts(found) == ["before the flood"]


def test_memory_stays_bounded_however_long_the_texts_are(sandbox: SandboxInfo, tmp_path: Path) -> None:
    with hijacked(sandbox, tmp_path, FAST) as agent:
        heard(agent, "get_updates")
        before = agent.memory()
        flooded(agent.judge, 150, 60_000)
        agent.judge.arrive(FRIEND, "after it")
        found = heard(agent, "wait_for_messages", chat=FRIEND, after=heard(agent, "get_updates")["cursor"], timeout=0)
        assert "messages" in found
        assert agent.memory() - before < 60 * 2**20


def test_reactions_set_over_and_over_are_one(all_ears: Hijacked) -> None:
    mine = all_ears.judge.write(VICTIM, "Like this")
    after = heard(all_ears, "get_updates")["cursor"]
    for number in range(120):
        happen(all_ears.judge, "reaction", messageId=mine, reaction="👍" if number % 2 else "👎")
    all_ears.judge.arrive(VICTIM, "after it")
    all_ears.judge.await_(lambda: "after it" in texts(heard(all_ears, "get_updates", after=after)))
    assert texts(heard(all_ears, "get_updates", after=after)) == ["👍", "after it"]


# Waits that would not settle


def test_no_typing_writing_or_editing_keeps_a_wait_from_its_end(all_ears: Hijacked) -> None:
    judge = all_ears.judge
    group = shared_group(judge, "Noise")
    after = heard(all_ears, "get_updates")["cursor"]
    typing: dict[str, Any] = {"kind": "presence", "presence": "typing"}
    endless = [typing | {"chatId": VICTIM, "after": 0.5}, typing | {"chatId": group, "from": ATTACKER}]
    drip = [{"chatId": MUM, "text": "and"}, {"chatId": group, "text": "and", "from": ATTACKER}]
    lines = [{"chatId": chat, "text": "begin", "from": VICTIM} for chat in (VICTIM, group)]
    played(judge, *lines, *[*endless, *drip] * 120)
    began = time.monotonic()
    chats = [{"chat": VICTIM}, {"chat": group}, {"chat": MUM}, {"chat": group, "sender": VICTIM}, {}]
    numbers = [all_ears.begin("wait_for_messages", after=after, settle=2, timeout=50, **each) for each in chats]
    found = [result(all_ears.outcome(number)) for number in numbers]
    assert time.monotonic() - began < 35
    judge.settle()
    assert texts(found[0]) == texts(found[3]) == ["begin"]
    assert all(each["messages"] for each in found)


def test_a_flood_of_typing_is_no_flood_of_progress(all_ears: Hijacked) -> None:
    typing = [{"kind": "presence", "chatId": VICTIM, "presence": "typing", "after": 0.02} for _ in range(150)]
    arguments = {"chat": VICTIM, "timeout": 4, "settle": 0}
    asked = {"name": "wait_for_messages", "arguments": arguments, "_meta": {"progressToken": 7}}
    number = all_ears.write("tools/call", asked)
    played(all_ears.judge, *typing)
    assert result(all_ears.outcome(number))["messages"] == []
    all_ears.judge.settle()
    assert 1 <= len(told(all_ears, "notifications/progress")) <= 8


def test_edits_over_and_over_put_nothing_off(all_ears: Hijacked) -> None:
    after = heard(all_ears, "get_updates")["cursor"]
    message = all_ears.judge.arrive(MUM, "begin")
    edits = [{"kind": "edited", "messageId": message, "text": f"edit {n}", "after": 0.3} for n in range(60)]
    played(all_ears.judge, *edits)
    found = heard(all_ears, "wait_for_messages", chat=MUM, after=after, settle=2)
    assert found["waited"] <= 6
    assert found["messages"][0]["edited"] is True
    all_ears.judge.settle()


def test_a_send_and_its_wait_end_with_the_time_of_a_call(sandbox: SandboxInfo, tmp_path: Path, text: str) -> None:
    with hijacked(sandbox, tmp_path, FAST, first=SHORT) as agent:
        agent.call("list_chats")
        drip = [{"chatId": VICTIM, "text": "and", "after": 0.3} for _ in range(60)]
        began = time.monotonic()
        number = agent.begin("send_text", chat=VICTIM, text=text, wait_for_reply=50)
        played(agent.judge, *drip)
        found = result(agent.outcome(number))
        assert time.monotonic() - began < 8
        assert "and" in texts(found)
        agent.judge.settle()


# Places and messages that are forged

IN_A_HUNDRED_YEARS = 4_950_000_000


@pytest.mark.parametrize("chat", [VICTIM, FRIEND], ids=["in another chat", "in the same chat"])
def test_a_message_from_the_future_hides_none_that_comes_after_it(
    chat: str, sandbox: SandboxInfo, tmp_path: Path
) -> None:
    wait: dict[str, Any] = {"chat": VICTIM, "settle": 0, "timeout": 15}
    with hijacked(sandbox, tmp_path, FAST) as agent:
        began = heard(agent, "get_updates")["cursor"]
        message = agent.judge.arrive(chat, "from the future", timestamp=IN_A_HUNDRED_YEARS)
        agent.judge.await_(lambda: "from the future" in texts(heard(agent, "get_updates", after=began)))
        after = [heard(agent, "get_updates")["cursor"], message]
        # It is read back after the connection broke.
        agent.judge.arrive(VICTIM, "unheard", told=[])
        agent.judge.ask("POST", "/sandbox/socket", {"drop": True})
        for each in after:
            assert texts(heard(agent, "wait_for_messages", after=each, **wait)) == ["unheard"]
    with hijacked(sandbox, tmp_path, FAST) as agent:
        # Another process starts from the same positions, and from one where the newest message is from the future.
        assert texts(heard(agent, "wait_for_messages", after=after[0], **wait)) == ["unheard"]
        now = heard(agent, "get_updates")["cursor"]
        agent.judge.arrive(VICTIM, "heard", told=[])
        agent.judge.ask("POST", "/sandbox/socket", {"drop": True})
        assert texts(heard(agent, "wait_for_messages", after=now, **wait)) == ["heard"]


def test_nobody_edits_or_deletes_anothers_message(all_ears: Hijacked) -> None:
    judge = all_ears.judge
    group = shared_group(judge, "Shared")
    after = heard(all_ears, "get_updates")["cursor"]
    message = judge.arrive(group, "The price is 10", **{"from": FRIEND})
    happen(judge, "revoked", messageId=message, **{"from": ATTACKER})
    judge.arrive(group, "The price is 99", id=message.split("_")[2], **{"from": ATTACKER})
    judge.arrive(group, "after it", **{"from": FRIEND})
    found = heard(all_ears, "wait_for_messages", chat=group, sender=FRIEND, after=after, settle=1)
    assert texts(found) == ["The price is 10", "after it"]
