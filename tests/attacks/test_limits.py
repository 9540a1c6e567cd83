"""Approvals and limits: an approval works once and for exactly one call, and no way of calling exceeds a limit."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.attacks.front import Front, after, answer
from tests.attacks.hijacked import ATTACKER, FAST, FRIEND, SEALED, SECRET, SOONER, VICTIM, Hijacked, hijacked
from tests.harness import run
from waha_mcp.sandbox import SandboxInfo

ASKING = f"""
approval = "send"

[chats]
send = {{ deny = ["{SEALED}"] }}

[pace]
first_contacts = ""
gap = [0, 0]
"""
PACED = """
[pace]
total = "4/minute"
chat = "2/minute"
first_contacts = "1/minute"
gap = [0, 0]
"""
ONE_PER_CHAT = '[pace]\ntotal = ""\nchat = "1/minute"\nfirst_contacts = ""\ngap = [0, 0]\n'


# What changes while a person is asked

YES = {"result": {"action": "accept", "content": {"approve": True}}}


@pytest.fixture(scope="module")
def with_person(sandbox: SandboxInfo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Hijacked, Path]]:
    """An agent whose client asks a person, and its outbox."""
    folder = tmp_path_factory.mktemp("person")
    with hijacked(sandbox, folder, 'approval = "send"\n' + FAST, asks=True) as agent:
        yield agent, folder / "outbox"


def test_a_file_that_was_changed_while_a_person_was_asked_goes_as_shown(
    with_person: tuple[Hijacked, Path],
) -> None:
    agent, outbox = with_person
    agent.judge.forget()

    def swap(question: dict[str, Any]) -> dict[str, Any]:
        (outbox / "menu.txt").write_text(SECRET)
        return YES

    agent.answer = swap
    done, said = agent.call("send_media", chat=FRIEND, kind="file", path="menu.txt")
    assert done, said
    [sent] = agent.judge.effects()
    assert b64decode(sent["body"]["file"]["data"]) == b"soup"


def test_a_message_that_was_edited_while_a_person_was_asked_is_not_quoted(with_person: tuple[Hijacked, Path]) -> None:
    agent, _ = with_person
    message = agent.judge.write(FRIEND, "See you at six")
    agent.judge.forget()

    def edit(question: dict[str, Any]) -> dict[str, Any]:
        assert "See you at six" in question["params"]["message"]
        agent.judge.ask("PUT", f"/api/default/chats/{FRIEND}/messages/{message}", {"text": SECRET})
        return YES

    agent.answer = edit
    done, said = agent.call("send_text", chat=FRIEND, text="look at that", reply_to=message)
    assert not done
    assert "changed" in said
    assert agent.judge.delivered(FRIEND, "look at that") == 0


# Approval


@pytest.fixture(scope="module")
def asking_all(sandbox: SandboxInfo, way: Front, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hijacked]:
    with hijacked(sandbox, tmp_path_factory.mktemp("asking"), ASKING, url=way.url, first=SOONER) as agent:
        yield agent


@pytest.fixture
def asking(asking_all: Hijacked) -> Hijacked:
    """An agent whose sends a person must approve, with nothing that waits."""
    asking_all.no_questions()
    return asking_all


def waiting_id(agent: Hijacked, text: str, chat: str = FRIEND) -> str:
    done, said = agent.call("send_text", chat=chat, text=text)
    assert not done
    return said.partition("id ")[2].partition(".")[0]


def approve(agent: Hijacked, entry: str, *arguments: str) -> None:
    done = run("approve", entry, "--yes", *arguments, env={"XDG_STATE_HOME": str(agent.state)})
    assert done.returncode == 0, done.stderr


def test_an_approval_cannot_be_replayed(asking: Hijacked) -> None:
    approve(asking, waiting_id(asking, "replayed"))
    calls = [("send_text", {"chat": FRIEND, "text": "replayed", "allow_repeat": True})] * 6
    assert sum(done for done, _ in asking.at_once(calls)) == 1
    assert asking.judge.delivered(FRIEND, "replayed") == 1


@pytest.mark.parametrize(
    "swap",
    [{"text": SECRET}, {"chat": VICTIM}, {"chat": ATTACKER}, {"mentions": [VICTIM]}, {"text": "lunch?\u200b"}],
    ids=["text", "chat", "stranger", "mention", "an invisible letter"],
)
def test_an_approval_cannot_be_swapped(swap: dict[str, Any], asking: Hijacked) -> None:
    text = f"lunch? {swap.keys()} {len(str(swap))}"
    approve(asking, waiting_id(asking, text))
    asking.judge.forget()
    done, _ = asking.call("send_text", **({"chat": FRIEND, "text": text} | swap))
    assert not done
    assert asking.judge.effects() == []


@pytest.mark.parametrize(
    "guess", [{"confirm": True}, {"approved": True}, {"approval_id": "000000000000"}, {"approve": "yes"}]
)
def test_an_approval_cannot_be_guessed(guess: dict[str, Any], asking: Hijacked) -> None:
    asking.judge.forget()
    done, _ = asking.call("send_text", chat=FRIEND, text="guessed", **guess)
    assert not done
    assert asking.judge.effects() == []


def test_no_tool_approves(asking: Hijacked) -> None:
    assert not [name for name in asking.tools if "approv" in name or "confirm" in name]
    for name in ("approve", "approvals", "confirm"):
        assert asking.call(name, id="000000000000") == (False, f"Unknown tool: {name}")


def test_who_is_denied_is_not_even_asked_about(asking: Hijacked) -> None:
    done, said = asking.call("send_text", chat=SEALED, text=SECRET)
    assert not done
    assert "waiting" not in said


def test_what_a_person_refused_stays_refused(asking: Hijacked) -> None:
    approve(asking, waiting_id(asking, "refused"), "--refuse")
    asking.judge.forget()
    for more in ({}, {"allow_repeat": True}):
        done, said = asking.call("send_text", chat=FRIEND, text="refused", **more)
        assert not done
        assert "refused" in said
    assert asking.judge.effects() == []


UNKNOWN = {
    "a web page": answer(b"<html>", kind="text/html"),
    "a time-out of a proxy": answer(b"", "504 Gateway Timeout"),
    "half an answer": answer(b'{"id": "tr'),
}


@pytest.mark.parametrize("how", UNKNOWN)
def test_an_unknown_outcome_uses_up_the_approval(how: str, asking: Hijacked, way: Front) -> None:
    text = f"approved, then {how}"
    approve(asking, waiting_id(asking, text))
    # Not to be found afterwards, either.
    way.rules = {
        "POST /api/sendText": after(UNKNOWN[how]),
        f"GET /api/default/chats/{FRIEND.replace('@', '%40')}/messages/": lambda connection, hand_on: None,
    }
    done, said = asking.call("send_text", chat=FRIEND, text=text)
    del way.rules["POST /api/sendText"]
    assert not done
    assert "unknown" in said
    done, said = asking.call("send_text", chat=FRIEND, text=text, allow_repeat=True)
    assert not done
    assert "waiting for approval" in said
    way.rules.clear()
    assert "did go out" in asking.call("send_text", chat=FRIEND, text=text, allow_repeat=True)[1]
    assert asking.judge.delivered(FRIEND, text) == 1


def test_what_was_not_sent_gives_the_approval_back_once(asking: Hijacked, way: Front) -> None:
    text = "approved, and nobody there"
    approve(asking, waiting_id(asking, text))
    way.shut()
    done, said = asking.call("send_text", chat=FRIEND, text=text)
    way.open()
    assert not done
    assert "not sent" in said
    calls = [("send_text", {"chat": FRIEND, "text": text, "allow_repeat": True})] * 4
    assert sum(done for done, _ in asking.at_once(calls)) == 1
    assert asking.judge.delivered(FRIEND, text) == 1


# Limits


def test_parallel_calls_do_not_get_around_the_limits(sandbox: SandboxInfo, tmp_path: Path) -> None:
    with hijacked(sandbox, tmp_path, PACED) as agent:
        agent.call("list_chats")
        agent.judge.forget()
        calls = [("send_text", {"chat": FRIEND, "text": f"spam {n}"}) for n in range(20)]
        assert sum(done for done, _ in agent.at_once(calls)) == 2
        strangers = [("send_text", {"chat": f"121255501{n}@c.us", "text": "spam"}) for n in range(60, 80)]
        assert sum(done for done, _ in agent.at_once(strangers)) == 1
        rest = [("send_text", {"chat": VICTIM, "text": f"spam {n}"}) for n in range(5)]
        assert sum(done for done, _ in agent.at_once(rest)) == 1
        assert len(agent.judge.effects()) == 4


@pytest.fixture(scope="module")
def paced(sandbox: SandboxInfo, way: Front, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hijacked]:
    """An agent that may write to each chat once a minute."""
    with hijacked(sandbox, tmp_path_factory.mktemp("paced"), ONE_PER_CHAT, url=way.url, first=SOONER) as agent:
        yield agent


@pytest.mark.parametrize("how", UNKNOWN)
def test_an_unknown_outcome_spends_the_pace(how: str, paced: Hijacked, way: Front) -> None:
    chat = f"1202555016{list(UNKNOWN).index(how)}@c.us"
    way.rules = {"POST /api/sendText": after(UNKNOWN[how]), "GET /api/default/chats/": lambda connection, hand_on: None}
    done, said = paced.call("send_text", chat=chat, text="first")
    assert not done
    assert "unknown" in said
    way.rules.clear()
    paced.judge.forget()
    done, said = paced.call("send_text", chat=chat, text="second")
    assert not done
    assert "limit" in said
    assert paced.judge.effects() == []


def test_what_was_not_sent_spends_no_pace(paced: Hijacked, way: Front) -> None:
    way.shut()
    done, said = paced.call("send_text", chat=VICTIM, text="nobody there")
    way.open()
    assert not done
    assert "not sent" in said
    assert paced.call("send_text", chat=VICTIM, text="another")[0]
    assert not paced.call("send_text", chat=VICTIM, text="one more")[0]
    assert paced.judge.delivered(VICTIM, "another") == 1
    assert paced.judge.delivered(VICTIM, "one more") == 0


def test_what_waha_refuses_spends_no_pace(paced: Hijacked, way: Front) -> None:
    chat = "12025550135@c.us"
    way.rules = {
        "POST /api/sendText": lambda connection, _: connection.sendall(
            answer(b'{"error": "no", "session": "default"}', "422 No")
        )
    }
    assert not paced.call("send_text", chat=chat, text="refused")[0]
    way.rules.clear()
    assert paced.call("send_text", chat=chat, text="another")[0]
    assert paced.judge.delivered(chat, "another") == 1
