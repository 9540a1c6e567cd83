"""Effects and unknown outcomes outlast the process: over restarts, crashes and several processes at once."""

from __future__ import annotations

import itertools
import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.attacks.front import Does, Front, after, answer, cut, reset, says
from tests.attacks.hijacked import FAST, FRIEND, SOONER, VICTIM, Hijacked, hijacked
from waha_mcp.sandbox import SandboxInfo

SEND = "POST /api/sendText"
ME = "12025550100@c.us"
#: The path of look-ups of messages, as it appears in a request.
LOOKS = f"GET /api/default/chats/{FRIEND.replace('@', '%40')}/messages/"
NONE = says(answer(b'{"statusCode": 404, "message": "Not Found"}', "404 Not Found"))
#: The guard counts half a second as ten minutes.
TEN_MINUTES = "import waha_mcp.policy.repeats as repeats\nrepeats.UNKNOWN_WINDOW = 0.5\n"

_folders = itertools.count(1)
Open = Callable[..., Any]


@pytest.fixture
def opened(sandbox: SandboxInfo, way: Front, tmp_path: Path) -> Iterator[Open]:
    """Starts processes of one App, one per call."""

    @contextmanager
    def open_one(policy: str = FAST, *, first: str = "", **more: Any) -> Iterator[Hijacked]:
        with hijacked(sandbox, tmp_path, policy, url=way.url, first=SOONER + first, **more) as agent:
            yield agent

    way.hits.clear()
    yield open_one
    way.rules.clear()


def text_to(chat: str, text: str, **more: Any) -> dict[str, Any]:
    return {"chat": chat, "text": text} | more


LOST: dict[str, Does] = {
    "the answer is cut off": cut(0.5),
    "nothing is passed on": cut(0),
    "the connection is reset": reset,
    "a proxy answers 504": after(answer(b"", "504 Gateway Timeout")),
    "a login page comes back": after(answer(b"<html>", kind="text/html")),
    "a queue answers 202": after(answer(b'{"queued": true}', "202 Accepted")),
}


@pytest.mark.parametrize("how", LOST)
def test_after_a_restart_what_went_out_is_found_and_not_sent_again_where(
    how: str, opened: Open, way: Front, text: str
) -> None:
    with opened() as agent:
        way.rules |= {SEND: LOST[how], LOOKS: NONE}
        done, said = agent.call("send_text", **text_to(FRIEND, text))
        assert not done
        assert "unknown" in said
    way.rules.clear()
    with opened() as agent:
        for more in ({}, {"allow_repeat": True}):
            done, said = agent.call("send_text", **text_to(FRIEND, text, **more))
            if not more:
                assert not done
                assert "It did go out at" in said
                [reference] = re.findall(r"message (m\d{9}):", said)
                shown = json.loads(agent.call("get_message", message_id=reference)[1])
                assert (shown["chat"], shown["message"]["sender"], shown["message"]["text"]) == (
                    "Sam Okafor",
                    "me",
                    text,
                )
                assert agent.judge.delivered(FRIEND, text) == 1
        # Only a call that knows about the first delivery allows a second one.
        assert done
        assert agent.judge.delivered(FRIEND, text) == 2


WITHIN: dict[str, dict[str, Any]] = {
    "plainly": {},
    "allowing the repeat": {"allow_repeat": True},
    "with a zero-width space": {"allow_repeat": True, "after": "\u200b"},
    "with a trailing blank": {"after": " "},
    "with an empty list": {"mentions": [], "allow_repeat": True},
    "with a preview": {"link_preview": True, "allow_repeat": True},
}


@pytest.mark.parametrize("killed", [False, True], ids=["after its end", "after a crash"])
@pytest.mark.parametrize("how", WITHIN)
def test_in_another_process_what_is_not_known_is_not_sent_again(
    how: str, killed: bool, opened: Open, way: Front, text: str
) -> None:
    again = dict(WITHIN[how])
    spelled = text + again.pop("after", "")
    with opened() as agent:
        way.rules |= {SEND: LOST["nothing is passed on"], LOOKS: NONE}
        assert not agent.call("send_text", **text_to(FRIEND, text))[0]
        if killed:
            agent.kill()
    del way.rules[SEND]
    with opened() as agent:
        done, said = agent.call("send_text", **text_to(FRIEND, spelled, **again))
        assert not done
        assert "waiting for approval" in said if again.get("allow_repeat") else "is unknown" in said
        assert agent.judge.delivered(FRIEND, text) == 1


def test_a_process_that_is_killed_while_it_sends_leaves_it_unknown(opened: Open, way: Front, text: str) -> None:
    with opened(first="client.READ_TIMEOUT = client.DEADLINE = 30\n") as agent, opened() as beside:
        beside.call("list_chats")
        agent.judge.forget()
        agent.judge.fault("/api/sendText", late=60.0)
        agent.begin("send_text", **text_to(FRIEND, text))
        agent.judge.await_request("/api/sendText")
        assert "under way" in beside.call("send_text", **text_to(FRIEND, text, allow_repeat=True))[1]
        agent.kill()
        assert "is unknown" in beside.call("send_text", **text_to(FRIEND, text))[1]
        assert agent.judge.delivered(FRIEND, text) == 1
        assert "It did go out" in beside.call("send_text", **text_to(FRIEND, text))[1]
        assert agent.judge.delivered(FRIEND, text) == 1


def lost(agent: Hijacked, way: Front, text: str) -> None:
    """Send a text that is delivered, and whose outcome stays unknown."""
    way.rules |= {SEND: LOST["nothing is passed on"], LOOKS: NONE}
    assert not agent.call("send_text", **text_to(FRIEND, text))[0]
    del way.rules[SEND]


@pytest.mark.parametrize(("answered", "sent"), [(True, 2), (False, 1), (None, 1)])
def test_a_person_decides_whether_it_may_arrive_twice(
    answered: bool | None, sent: int, opened: Open, way: Front, text: str
) -> None:
    with opened(asks=True) as agent:
        lost(agent, way, text)
        asked: list[str] = []

        def decide(question: dict[str, Any]) -> dict[str, Any]:
            asked.append(question["params"]["message"])
            if answered is None:
                return {"result": {"action": "cancel"}}
            return {"result": {"action": "accept", "content": {"approve": answered}}}

        agent.answer = decide
        assert not agent.call("send_text", **text_to(FRIEND, text))[0]
        assert asked == []
        done, _ = agent.call("send_text", **text_to(FRIEND, text, allow_repeat=True))
        assert done is bool(answered)
        assert ["may happen twice" in each for each in asked] == [True]
        assert agent.judge.delivered(FRIEND, text) == sent


def test_a_yes_that_was_given_before_it_was_unknown_is_not_for_the_repeat(opened: Open, way: Front, text: str) -> None:
    def yes(question: dict[str, Any]) -> dict[str, Any]:
        way.shut()
        return {"result": {"action": "accept", "content": {"approve": True}}}

    with opened('approval = "send"\n' + FAST, asks=True) as agent:
        agent.answer = yes
        assert not agent.call("send_text", **text_to(FRIEND, text))[0]
        # The approval of the call that was not sent applies to the next attempt, whose answer is lost.
        way.open()
        agent.answer = lambda question: {"result": {"action": "cancel"}}
        lost(agent, way, text)
        done, said = agent.call("send_text", **text_to(FRIEND, text, allow_repeat=True))
        assert not done
        assert "waiting for approval" in said
        assert agent.judge.delivered(FRIEND, text) == 1


@pytest.mark.parametrize("again", [False, True], ids=["plainly", "allowing the repeat"])
def test_after_ten_minutes_the_caller_may_take_the_risk(again: bool, opened: Open, way: Front, text: str) -> None:
    with opened(first=TEN_MINUTES) as agent:
        lost(agent, way, text)

        def says_never() -> bool:
            return "still unknown" in agent.call("send_text", **text_to(FRIEND, text))[1]

        agent.judge.await_(says_never)
        done, _ = agent.call("send_text", **text_to(FRIEND, text, allow_repeat=again))
        assert done is again
        assert agent.judge.delivered(FRIEND, text) == 1 + again


def test_of_two_processes_that_send_the_same_at_once_one_does(opened: Open, text: str) -> None:
    with opened() as one, opened() as other:
        for agent in (one, other):
            agent.call("list_chats")
        calls = [(agent, agent.begin("send_text", **text_to(FRIEND, text))) for agent in (one, other) * 4]
        assert sum(agent.outcome(number)[0] for agent, number in calls) == 1
        assert one.judge.delivered(FRIEND, text) == 1


SPELLINGS = {
    "a zero-width space": "{}\u200b",
    "a zero-width joiner": "{}\u200d",
    "a byte order mark": "\ufeff{}",
    "a bidi override": "\u202d{}\u202c",
    "a soft hyphen": "\u00ad{}",
    "an invisible plus": "{}\u2064",
    "tag characters": "{}\U000e0061\U000e007f",
    "a Hangul filler": "{}\u3164",
    "a Braille blank": "{}\u2800",
    "a variation selector": "{}\ufe0f",
    "a trailing blank": "{} ",
    "a trailing tab": "{}\t",
    "line breaks around it": "\n\n{}\n",
    "an ideographic space": "{}\u3000",
}


@pytest.mark.parametrize("how", SPELLINGS)
def test_what_was_sent_is_not_sent_again_with(how: str, agent: Hijacked, text: str) -> None:
    assert agent.call("send_text", **text_to(FRIEND, text))[0]
    agent.judge.forget()
    done, said = agent.call("send_text", **text_to(FRIEND, SPELLINGS[how].format(text)))
    assert not done
    assert "was done" in said
    assert agent.judge.effects() == []


OPTIONS: dict[str, dict[str, Any]] = {
    "no mentions": {"mentions": []},
    "a preview of nothing": {"link_preview": True},
    "nothing replied to": {"reply_to": None},
    "the number for the name": {"chat": "+1 202 555 0123"},
    "the other domain": {"chat": FRIEND.replace("@c.us", "@s.whatsapp.net")},
}


@pytest.mark.parametrize("how", OPTIONS)
def test_what_was_sent_is_not_sent_again_with_an_option_that_changes_nothing(
    how: str, agent: Hijacked, text: str
) -> None:
    assert agent.call("send_text", **text_to(FRIEND, text))[0]
    agent.judge.forget()
    assert not agent.call("send_text", **text_to(FRIEND, text) | OPTIONS[how])[0]
    assert agent.judge.effects() == []


OTHER_WAYS: dict[str, tuple[tuple[str, dict[str, Any]], tuple[str, dict[str, Any]]]] = {
    "a preview of one's own": (
        ("send_text", {"chat": FRIEND, "text": "{} https://example.com/x"}),
        (
            "send_link_preview",
            {"chat": FRIEND, "text": "{} https://example.com/x", "link": "https://example.com/x", "title": "Look"},
        ),
    ),
    "a text for a preview": (
        (
            "send_link_preview",
            {"chat": FRIEND, "text": "{} https://example.com/x", "link": "https://example.com/x", "title": "Look"},
        ),
        ("send_text", {"chat": FRIEND, "text": "{} https://example.com/x"}),
    ),
    "the account among the members": (
        ("create_group", {"subject": "{}", "participants": [FRIEND, VICTIM]}),
        ("create_group", {"subject": "{}", "participants": [FRIEND, VICTIM, ME]}),
    ),
    "a zero below zero": (
        ("send_location", {"chat": FRIEND, "latitude": 0, "longitude": 18, "title": "{}"}),
        ("send_location", {"chat": FRIEND, "latitude": -0.0, "longitude": 18, "title": "{}"}),
    ),
    "the meridian from the other side": (
        ("send_location", {"chat": FRIEND, "latitude": 1, "longitude": 180, "title": "{}"}),
        ("send_location", {"chat": FRIEND, "latitude": 1, "longitude": -180, "title": "{}"}),
    ),
}


OPERATIONS = {
    "send_text": SEND,
    "send_link_preview": "POST /api/send/link-custom-preview",
    "create_group": "POST /api/default/groups",
    "send_location": "POST /api/sendLocation",
}


def filled(arguments: dict[str, Any], text: str) -> dict[str, Any]:
    return {name: value.format(text) if isinstance(value, str) else value for name, value in arguments.items()}


@pytest.mark.parametrize("how", OTHER_WAYS)
def test_what_was_done_is_not_done_again_by(how: str, agent: Hijacked, text: str) -> None:
    (tool, first), (other, again) = OTHER_WAYS[how]
    done, said = agent.call(tool, **filled(first, text))
    assert done, said
    agent.judge.forget()
    done, said = agent.call(other, **filled(again, text))
    assert not done
    assert "was done" in said
    assert agent.judge.effects() == []


@pytest.mark.parametrize("how", OTHER_WAYS)
def test_in_another_process_what_is_not_known_is_not_done_by(how: str, opened: Open, way: Front, text: str) -> None:
    (tool, first), (other, again) = OTHER_WAYS[how]
    with opened() as one:
        way.rules |= {OPERATIONS[tool]: LOST["nothing is passed on"], LOOKS: NONE}
        done, said = one.call(tool, **filled(first, text))
        way.rules.clear()
        assert not done, said
    with opened() as two:
        two.judge.forget()
        done, said = two.call(other, **filled(again, text), allow_repeat=True)
        assert not done, said
        assert two.judge.effects() == []


# Pace


def paced(**limits: str) -> str:
    return "[pace]\n" + "".join(
        f'{name} = "{limits.get(name, "")}"\n' for name in ("total", "chat", "first_contacts")
    ) + "gap = [0, 0]\n"  # fmt: skip


_strangers = itertools.count(447700900700)
LIMITS: dict[str, tuple[dict[str, str], Callable[[int], str]]] = {
    "in all": ({"total": "3/hour"}, lambda n: (FRIEND, VICTIM)[n % 2]),
    "to one chat": ({"chat": "3/hour"}, lambda n: FRIEND),
    "to strangers": ({"first_contacts": "3/hour"}, lambda n: f"{next(_strangers)}@c.us"),
}


@pytest.mark.parametrize("ending", ["its end", "a crash"])
@pytest.mark.parametrize("limit", LIMITS)
def test_a_limit_holds_over_two_processes_that_start_twice(
    limit: str, ending: str, sandbox: SandboxInfo, way: Front, tmp_path: Path
) -> None:
    rates, chat = LIMITS[limit]
    done = 0
    numbers = itertools.count()
    for _ in range(2):
        with (
            hijacked(sandbox, tmp_path, paced(**rates), url=way.url) as one,
            hijacked(sandbox, tmp_path, paced(**rates), url=way.url) as other,
        ):
            for agent in (one, other) * 2:
                n = next(numbers)
                done += agent.call("send_text", **text_to(chat(n), f"{limit} {ending} {n}"))[0]
            if ending == "a crash":
                one.kill()
                other.kill()
    assert done == 3


def test_however_many_wait_in_line_none_waits_for_longer_than_the_longest_wait(
    sandbox: SandboxInfo, way: Front, tmp_path: Path, text: str
) -> None:
    policy = '[pace]\ntotal = ""\nchat = ""\nfirst_contacts = ""\ngap = [1, 1]\n'
    with hijacked(sandbox, tmp_path, policy, url=way.url) as agent:
        agent.call("list_chats")
        began = time.monotonic()
        outcomes = agent.at_once([("send_text", text_to(FRIEND, f"{text} {n}")) for n in range(12)])
        late = max(0, time.monotonic() - began - 3)
        # At once, after one second, two and three; a busy machine starts the last calls later.
        assert 3 <= sum(done for done, _ in outcomes) <= 4 + late
        assert all("Too soon after the last send" in said for done, said in outcomes if not done)


DOWN = {
    "stopped": "STOPPED",
    "failed": "FAILED",
    "starting": "STARTING",
    "waiting for its QR code": "SCAN_QR_CODE",
}


@pytest.mark.parametrize("how", DOWN)
def test_sends_that_waha_refuses_spend_nothing_and_the_session_is_named_where_it_is(
    how: str, sandbox: SandboxInfo, way: Front, tmp_path: Path, text: str
) -> None:
    status = DOWN[how]
    refusal = f'{{"error": "Session status is not as expected", "session": "default", "status": "{status}"}}'
    policy = '[pace]\ntotal = "2/hour"\nchat = ""\nfirst_contacts = ""\ngap = [0.5, 0.5]\n'
    with hijacked(sandbox, tmp_path, policy, url=way.url) as agent:
        way.rules[SEND] = says(answer(refusal.encode(), "422 Unprocessable Entity"))
        for n in range(4):
            done, said = agent.call("send_text", **text_to(FRIEND, f"{text} {n}"))
            assert not done
            assert said.startswith("Session 'default' ")
        way.rules.clear()
        for n in range(2):
            assert agent.call("send_text", **text_to(FRIEND, f"{text} then {n}"))[0]
        assert "limit" in agent.call("send_text", **text_to(FRIEND, f"{text} at last"))[1]
