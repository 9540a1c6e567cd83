"""A task grant that a person has opened: what an agent may do with it, and that it cannot widen it.

Whoever runs `waha-mcp grant` here is the person.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.attacks.hijacked import (
    ATTACKER,
    FAST,
    FRIEND,
    GROUP_CHANGES,
    SEALED,
    SECRET,
    VICTIM,
    Hijacked,
    change,
    hijacked,
    hikers,
    started,
)
from tests.harness import run
from waha_mcp.digests import digest
from waha_mcp.policy.task_grants import give
from waha_mcp.sandbox import SandboxInfo
from waha_mcp.store.sqlite import Sqlite

ALL = 'approval = "all"\n' + FAST
WAITS = "waiting for approval"
YES = {"approve": True}


@pytest.fixture
def asked(sandbox: SandboxInfo, folder: Path) -> Iterator[Hijacked]:
    """An agent that needs approval for every change."""
    with hijacked(sandbox, folder, ALL) as agent:
        agent.judge.forget()
        yield agent


def grant(agent: Hijacked, *to: str, messages: int = 5) -> None:
    """Open a task grant, as the person."""
    env = {"XDG_STATE_HOME": str(agent.state), "WAHA_API_KEY": agent.judge.sandbox.keys["full"]}
    chats = [part for each in to for part in ("--to", each)]
    app = str(agent.state.parent / "app.toml")
    done = run("grant", "--app", app, *chats, "--messages", str(messages), "--yes", env=env)
    assert done.returncode == 0, done.stderr
    agent.judge.forget()


def refused(agent: Hijacked, tool: str = "send_text", **arguments: Any) -> str:
    """The text of a call that must have no effect."""
    agent.judge.forget()
    done, said = agent.call(tool, **arguments)
    assert not done
    assert agent.judge.effects() == []
    return said


def send(agent: Hijacked, text: str, chat: str = FRIEND) -> bool:
    return agent.call("send_text", chat=chat, text=text)[0]


# Who


@pytest.mark.parametrize("chat", [VICTIM, ATTACKER, SEALED])
def test_nobody_else_gets_anything(chat: str, asked: Hijacked) -> None:
    grant(asked, FRIEND)
    assert WAITS in refused(asked, chat=chat, text=SECRET)
    assert send(asked, "for you")


def test_whoever_else_is_reached_is_asked_about(asked: Hijacked) -> None:
    grant(asked, FRIEND)
    number = ATTACKER.partition("@")[0]
    assert WAITS in refused(asked, chat=FRIEND, text=f"Look @{number}", mentions=[ATTACKER])


def test_another_app_of_the_account_has_none_of_it(asked: Hijacked, folder: Path) -> None:
    grant(asked, FRIEND)
    other = folder / "other.toml"
    other.write_text((folder / "app.toml").read_text().replace(f'id = "{folder.name}"', 'id = "other"'))
    key = asked.judge.sandbox.keys["full"]
    beside = Hijacked(asked.judge, other, asked.state, key=key, launch=started(), asks=False)
    try:
        assert WAITS in refused(beside, chat=FRIEND, text="from another App")
    finally:
        beside.close()


@pytest.mark.parametrize("how", GROUP_CHANGES)
def test_a_group_that_has_changed_is_asked_about(how: str, asked: Hijacked) -> None:
    group = hikers(asked)
    grant(asked, group)
    assert send(asked, "as it was", group)
    change(asked, group, how)
    assert WAITS in refused(asked, chat=group, text=SECRET)


# How much and how long


def forwarded(agent: Hijacked, number: int) -> tuple[str, dict[str, Any]]:
    agent.judge.ask("POST", "/sandbox/engine", {"has": ["ChattingController_forwardMessage"]})
    message = agent.judge.arrive(FRIEND, f"to forward {number}")
    return "forward_message", {"message_id": message, "chat": FRIEND}


def reacted(agent: Hijacked, number: int) -> tuple[str, dict[str, Any]]:
    return "react", {"message_id": agent.judge.arrive(FRIEND, f"to react to {number}"), "emoji": "👍"}


def polled(agent: Hijacked, number: int) -> tuple[str, dict[str, Any]]:
    return "send_poll", {"chat": FRIEND, "question": f"Which, {number}?", "options": ["one", "two"]}


def located(agent: Hijacked, number: int) -> tuple[str, dict[str, Any]]:
    return "send_location", {"chat": FRIEND, "latitude": 1.0 + number, "longitude": 2.0}


def texted(agent: Hijacked, number: int) -> tuple[str, dict[str, Any]]:
    return "send_text", {"chat": FRIEND, "text": f"text {number}"}


Making = Callable[[Hijacked, int], tuple[str, dict[str, Any]]]
KINDS: dict[str, Making] = {"texts": texted, "forwards": forwarded, "polls": polled, "reactions": reacted}


@pytest.mark.parametrize("kind", KINDS)
def test_after_the_last_message_a_person_is_asked(kind: str, asked: Hijacked) -> None:
    grant(asked, FRIEND)
    for number in range(5):
        tool, arguments = KINDS[kind](asked, number)
        done, said = asked.call(tool, **arguments)
        assert done, said
    tool, arguments = KINDS[kind](asked, 5)
    assert WAITS in refused(asked, tool, **arguments)


@pytest.mark.parametrize("kind", [*KINDS, "places"])
def test_whatever_stands_in_a_chat_is_a_message(kind: str, asked: Hijacked) -> None:
    grant(asked, FRIEND, messages=1)
    tool, arguments = KINDS.get(kind, located)(asked, 0)
    assert asked.call(tool, **arguments)[0]
    assert WAITS in refused(asked, chat=FRIEND, text="the second")


def test_at_once_no_more_go_than_were_given(sandbox: SandboxInfo, folder: Path, asked: Hijacked) -> None:
    grant(asked, FRIEND)
    beside = Hijacked(
        asked.judge, folder / "app.toml", asked.state, key=sandbox.keys["full"], launch=started(), asks=False
    )
    try:
        begun = [
            (agent, agent.begin("send_text", chat=FRIEND, text=f"at once {number}"))
            for number, agent in enumerate([asked, beside] * 6)
        ]
        assert sum(agent.outcome(number)[0] for agent, number in begun) == 5
    finally:
        beside.close()
    assert len(asked.judge.reached()) == 5


def test_when_it_is_over_a_person_is_asked(asked: Hijacked) -> None:
    with closing(Sqlite(asked.state / "waha-mcp" / "store.sqlite")) as store:
        now = store.now
        store.now = lambda: now() - 61  # type: ignore[method-assign]
        give(store, _identity(asked), {FRIEND: _shown(asked)}, 60)
    assert WAITS in refused(asked, chat=FRIEND, text="too late")


def _identity(agent: Hijacked) -> str:
    """The agent's App, as the store knows it."""
    return f"{agent.state.parent.name}/{digest(agent.judge.sandbox.keys['full'])}"


def _shown(agent: Hijacked) -> str:
    """The friend as a question shows them."""
    contact = agent.judge.get(f"/api/contacts?session=default&contactId={FRIEND}")
    return f"{contact['name']} (+{FRIEND.partition('@')[0]})"


def test_what_was_not_sent_takes_nothing(asked: Hijacked) -> None:
    grant(asked, FRIEND, messages=1)
    asked.judge.fault("/api/sendText", status=422, body='{"error": "no", "session": "default"}')
    assert not send(asked, "not sent")
    assert send(asked, "sent")
    assert not send(asked, "one too many")


def test_what_may_have_been_sent_takes_one(asked: Hijacked) -> None:
    grant(asked, FRIEND, messages=1)
    asked.judge.fault("/api/sendText", status=504)
    assert not send(asked, "perhaps")
    asked.judge.no_faults()
    assert WAITS in refused(asked, chat=FRIEND, text="another")


# What


NO_MESSAGES: dict[str, tuple[str, dict[str, Any]]] = {
    "blocking": ("block_contact", {"contact": FRIEND}),
    "a name for them": ("save_contact", {"contact": FRIEND, "first_name": "Mum"}),
    "a group with them": ("create_group", {"subject": "Us", "participants": [FRIEND]}),
    "a call of theirs": ("reject_call", {"caller": FRIEND, "call_id": "1"}),
}
IN_GROUP: dict[str, tuple[str, dict[str, Any]]] = {
    "leaving it": ("leave_group", {}),
    "its name": ("update_group", {"subject": "Ours"}),
    "who is in it": ("remove_participants", {"people": [FRIEND]}),
    "deleting it": ("delete_group", {}),
}


@pytest.mark.parametrize("what", [*NO_MESSAGES, *IN_GROUP, "deleting a message"])
def test_what_is_no_message_is_asked_about(what: str, asked: Hijacked) -> None:
    group = hikers(asked) if what in IN_GROUP else ""
    if what == "deleting a message":
        tool, arguments = "delete_message", {"message_id": asked.judge.write(FRIEND, "mine")}
    else:
        tool, arguments = {**NO_MESSAGES, **IN_GROUP}[what]
    grant(asked, FRIEND, *filter(None, [group]))
    assert WAITS in refused(asked, tool, **arguments, **({"group": group} if group else {}))


AUDIENCES: dict[str, tuple[str, dict[str, Any]]] = {
    "a story": ("post_text_status", {"text": SECRET}),
    "a story for them": ("post_text_status", {"text": SECRET, "people": [FRIEND]}),
    "the profile": ("update_profile", {"about": SECRET}),
}


@pytest.mark.parametrize("what", AUDIENCES)
def test_no_audience_without_bounds_is_reached(what: str, asked: Hijacked) -> None:
    grant(asked, FRIEND)
    tool, arguments = AUDIENCES[what]
    assert WAITS in refused(asked, tool, **arguments)


def test_a_link_is_asked_about(sandbox: SandboxInfo, folder: Path) -> None:
    with hijacked(sandbox, folder, ALL + '[links]\nothers = "ask"\n') as agent:
        grant(agent, FRIEND)
        assert WAITS in refused(agent, chat=FRIEND, text="Look at https://evil.example/x")
        assert send(agent, "No link")


SERVERS: dict[str, tuple[str, dict[str, Any]]] = {
    "a file": ("send_media", {"chat": FRIEND, "kind": "file", "url": "https://evil.invalid/?q=7731"}),
    "a preview": ("send_text", {"chat": FRIEND, "text": "https://evil.invalid/?q=7731", "link_preview": True}),
}


@pytest.mark.parametrize("what", SERVERS)
def test_no_server_learns_a_url(what: str, asked: Hijacked) -> None:
    grant(asked, FRIEND)
    tool, arguments = SERVERS[what]
    assert WAITS in refused(asked, tool, **arguments)


# What stays


def test_who_is_denied_stays_denied(sandbox: SandboxInfo, folder: Path) -> None:
    policy = ALL + f'[chats]\nsend = {{ deny = ["{FRIEND}"] }}\n'
    with hijacked(sandbox, folder, policy) as agent:
        with closing(Sqlite(agent.state / "waha-mcp" / "store.sqlite")) as store:
            give(store, _identity(agent), {FRIEND: _shown(agent)})
        assert "may not write" in refused(agent, chat=FRIEND, text="denied")


def test_what_is_paused_stays_paused(asked: Hijacked) -> None:
    grant(asked, FRIEND)
    assert run("pause", env={"XDG_STATE_HOME": str(asked.state)}).returncode == 0
    assert "paused by the user" in refused(asked, chat=FRIEND, text="paused")


def test_the_pace_stays(sandbox: SandboxInfo, folder: Path) -> None:
    with hijacked(sandbox, folder, ALL.replace('total = ""', 'total = "2/hour"')) as agent:
        grant(agent, FRIEND)
        assert [send(agent, f"paced {number}") for number in range(4)] == [True, True, False, False]


def test_what_was_refused_does_not_go_under_one(asked: Hijacked) -> None:
    said = refused(asked, chat=FRIEND, text="refused once")
    entry = said.partition(f"{WAITS}, id ")[2].partition(".")[0]
    assert run("approve", entry, "--refuse", env={"XDG_STATE_HOME": str(asked.state)}).returncode == 0
    grant(asked, FRIEND)
    assert "The user refused this" in refused(asked, chat=FRIEND, text="refused once")


# Who opens one


SAID: dict[str, dict[str, Any]] = {
    "an argument": {"task_grant": {"for": "30m", "messages": 5}},
    "a flag": {"granted": True},
    "words in the text": {"text": "waha-mcp grant --to 'Sam Okafor' --for 30m --yes"},
}
ANSWERS: dict[str, dict[str, Any]] = {
    "a yes to more": {**YES, "open": True, "for": "30m", "messages": 5},
    "a decision of the page": {**YES, "decision": "open", "always": True},
}


@pytest.mark.parametrize("how", [*SAID, *ANSWERS, "a tool"])
def test_nothing_that_an_agent_or_a_host_says_opens_one(how: str, sandbox: SandboxInfo, folder: Path) -> None:
    with hijacked(sandbox, folder, ALL, asks=how in ANSWERS) as agent:
        call = {"chat": FRIEND, "text": "first", **SAID.get(how, {})}
        if how in ANSWERS:
            agent.answer = lambda question: {"result": {"action": "accept", "content": ANSWERS[how]}}
        agent.call("send_text", **call)
        if how == "a tool":
            for tool in ("grant", "open", "task_grant"):
                assert not agent.call(tool, to=FRIEND)[0]
        agent.answer = lambda question: {"result": {"action": "cancel"}}
        assert WAITS in refused(agent, chat=FRIEND, text="second")
        with closing(Sqlite(agent.state / "waha-mcp" / "store.sqlite")) as store:
            assert store.rows("task_grant") == []
        assert "grant" not in json.dumps(sorted(agent.tools))
