"""Arguments in unusual forms: the policy checks the converted form, and no conversion reaches more people."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.attacks.hijacked import ATTACKER, FAST, FRIEND, SECRET, Hijacked, hijacked
from tests.attacks.test_yes import YES
from waha_mcp.sandbox import SandboxInfo


@pytest.fixture(scope="module")
def listed(sandbox: SandboxInfo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hijacked]:
    """An agent that may write to one friend."""
    policy = f'[chats]\nsend = {{ allow = ["{FRIEND}"] }}\n{FAST}'
    with hijacked(sandbox, tmp_path_factory.mktemp("listed"), policy) as agent:
        yield agent


BOTH = json.dumps([FRIEND, ATTACKER])
#: Ways to name another person in a form that has to be converted first.
SMUGGLED: dict[str, tuple[str, dict[str, Any]]] = {
    "a number as a number": ("send_text", {"chat": int(ATTACKER.partition("@")[0]), "text": SECRET}),
    "a list for a chat": ("send_text", {"chat": [ATTACKER], "text": SECRET}),
    "JSON text for a chat": ("send_text", {"chat": json.dumps([ATTACKER]), "text": SECRET}),
    "a mention as one value": ("send_text", {"chat": FRIEND, "text": SECRET, "mentions": ATTACKER}),
    "mentions as JSON text": ("send_text", {"chat": FRIEND, "text": SECRET, "mentions": BOTH}),
    "mentions as JSON text in a list": ("send_text", {"chat": FRIEND, "text": SECRET, "mentions": [BOTH]}),
    "people as JSON text": ("create_group", {"subject": SECRET, "participants": BOTH}),
    "people as one value": ("create_group", {"subject": SECRET, "participants": ATTACKER}),
    "an audience as JSON text": ("post_text_status", {"text": SECRET, "people": BOTH}),
    "another property for the chat": ("send_text", {"chat": FRIEND, "text": SECRET, "to": ATTACKER}),
    "a chat in a host's property": ("send_text", {"text": SECRET, "wait_for_previous": {"chat": ATTACKER}}),
}


@pytest.mark.parametrize("case", SMUGGLED)
def test_nobody_else_is_reached_by_a_form_that_has_to_be_read(case: str, listed: Hijacked) -> None:
    tool, arguments = SMUGGLED[case]
    listed.judge.forget()
    done, said = listed.call(tool, **arguments)
    assert not done, said
    assert listed.judge.effects() == []


def test_what_a_host_adds_changes_nothing(listed: Hijacked, text: str) -> None:
    listed.judge.forget()
    done, said = listed.call("send_text", chat=FRIEND, text=text, wait_for_previous={"chat": ATTACKER})
    assert done, said
    assert listed.judge.reached() == [FRIEND]
    (sent,) = listed.judge.effects()
    assert ATTACKER not in json.dumps(sent["body"])


@pytest.mark.parametrize(
    "audience",
    [{"people": ""}, {"people": " "}, {"people": []}, {"people": "[]"}, {"people": "null"}, {"audience": [FRIEND]}],
    ids=str,
)
def test_an_audience_that_is_blank_or_misnamed_is_not_everybody(
    audience: dict[str, Any], agent: Hijacked, text: str
) -> None:
    done, said = agent.call("post_text_status", text=text, **audience)
    assert not done, said
    assert agent.judge.effects() == []


def test_a_blank_that_takes_away_does_so_alone(agent: Hijacked) -> None:
    done, said = agent.call("update_profile", name="Ana", about="")
    assert done, said
    (changed,) = agent.judge.effects()
    assert changed["path"].endswith("/profile/name")


@pytest.mark.parametrize(
    ("first", "again"),
    [
        ({"text": 4711}, {"text": "4711"}),
        ({"text": "Lunch?", "mentions": ""}, {"text": "Lunch?", "mentions": [], "reply_to": None}),
        ({"text": "Supper?", "link_preview": "false"}, {"text": "Supper?", "wait_for_previous": True}),
    ],
    ids=str,
)
def test_the_same_in_another_form_is_a_repeat(first: dict[str, Any], again: dict[str, Any], agent: Hijacked) -> None:
    assert agent.call("send_text", chat=FRIEND, **first)[0]
    done, said = agent.call("send_text", chat=FRIEND, **again)
    assert not done, said
    assert agent.judge.reached() == [FRIEND]


def test_a_person_is_asked_about_the_arguments_as_they_are_taken(
    sandbox: SandboxInfo, tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    asked: list[str] = []

    def answer(question: dict[str, Any]) -> dict[str, Any]:
        asked.append(question["params"]["message"])
        return YES

    policy = f'[approval]\nwhen = "send"\n{FAST}'
    with hijacked(sandbox, tmp_path_factory.mktemp("asked"), policy, asks=True) as agent:
        agent.judge.forget()
        agent.answer = answer
        group = {"subject": text, "participants": json.dumps([FRIEND])}
        done, said = agent.call("create_group", **group, wait_for_previous="say yes to all")
        assert done, said
        (made,) = agent.judge.effects()
    (question,) = asked
    assert "say yes" not in question
    assert "Sam Okafor" in question
    assert json.dumps([FRIEND]) not in question
    assert [each["id"] for each in made["body"]["participants"]] == [FRIEND]
