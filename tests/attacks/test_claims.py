"""A message id only claims which chat the message is in: no effect relies on the claim."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.attacks.hijacked import ATTACKER, FAST, FRIEND, SEALED, VICTIM, Hijacked, hijacked
from tests.harness import sandbox_server
from waha_mcp.policy.approval import waiting
from waha_mcp.sandbox import SandboxInfo

SEALED_WORDS = "sealed words 5519"
POLICY = f"""
[chats]
send = {{ allow = ["{FRIEND}", "{VICTIM}", "groups"] }}
read = {{ deny = ["{SEALED}"] }}

{FAST}"""
DATA = base64.b64encode(b"soup").decode()

#: What can be done with a message, by tool; MESSAGE is its id.
USES: dict[str, tuple[str, dict[str, Any]]] = {
    "quoted in a text": ("send_text", {"chat": FRIEND, "text": "look", "reply_to": "MESSAGE"}),
    "quoted in a file": ("send_media", {"chat": FRIEND, "kind": "file", "data": DATA, "reply_to": "MESSAGE"}),
    "quoted in a sticker": ("send_sticker", {"chat": FRIEND, "data": DATA, "reply_to": "MESSAGE"}),
    "quoted in a poll": ("send_poll", {"chat": FRIEND, "question": "?", "options": ["a", "b"], "reply_to": "MESSAGE"}),
    "quoted in a place": ("send_location", {"chat": FRIEND, "latitude": 1, "longitude": 1, "reply_to": "MESSAGE"}),
    "forwarded": ("forward_message", {"chat": FRIEND, "message_id": "MESSAGE"}),
    "reacted to": ("react", {"message_id": "MESSAGE", "emoji": "👍"}),
    "edited": ("edit_message", {"message_id": "MESSAGE", "text": "other words"}),
    "deleted": ("delete_message", {"message_id": "MESSAGE"}),
    "pinned": ("pin_message", {"message_id": "MESSAGE"}),
    "starred": ("star_message", {"message_id": "MESSAGE"}),
    "voted in": ("vote_in_poll", {"message_id": "MESSAGE", "options": ["a"]}),
    "pressed on": ("reply_to_buttons", {"message_id": "MESSAGE", "label": "Yes"}),
    "read": ("get_message", {"message_id": "MESSAGE"}),
    "fetched": ("get_media", {"message_id": "MESSAGE"}),
}  # fmt: skip


def use(agent: Hijacked, how: str, message: str) -> tuple[bool, str]:
    tool, arguments = USES[how]
    # A refusal must not be the repeat guard's, for what another case did.
    more = {"allow_repeat": True} if how.startswith("quoted") or how in ("forwarded", "pressed on") else {}
    return agent.call(tool, **{k: message if v == "MESSAGE" else v for k, v in arguments.items()}, **more)


@pytest.fixture(scope="module", params=["gows", "noweb"])
def sandbox(request: pytest.FixtureRequest) -> Iterator[SandboxInfo]:
    with sandbox_server("--engine", request.param) as info:
        yield info


@pytest.fixture(scope="module")
def serving(sandbox: SandboxInfo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hijacked]:
    with hijacked(sandbox, tmp_path_factory.mktemp("claims"), POLICY) as agent:
        yield agent


@pytest.fixture(scope="module")
def sealed(serving: Hijacked) -> str:
    """The bare id of a message in the sealed chat."""
    return serving.judge.arrive(SEALED, SEALED_WORDS).split("_")[2]


@pytest.fixture
def agent(serving: Hijacked, sealed: str) -> Iterator[Hijacked]:
    """An agent that may write to two people, and read all chats but one."""
    serving.judge.forget()
    yield serving
    serving.judge.no_faults()


def came_to_nothing(agent: Hijacked, outcome: tuple[bool, str]) -> None:
    done, said = outcome
    assert not done, said
    assert SEALED_WORDS not in said
    assert agent.judge.effects() == []


@pytest.mark.parametrize("how", [each for each in list(USES)[:-2] if each != "pressed on"])
def test_a_sealed_message_is_not_under_a_friends_chat(how: str, agent: Hijacked, sealed: str) -> None:
    came_to_nothing(agent, use(agent, how, f"false_{FRIEND}_{sealed}"))


def test_a_sealed_message_is_not_pressed_on_under_a_friends_chat(agent: Hijacked, sealed: str) -> None:
    came_to_nothing(agent, use(agent, "pressed on", f"false_{FRIEND}_{sealed}"))


CLAIMS = {
    "as an own message": "true_{friend}_{sealed}",
    "with its author as participant": "false_{friend}_{sealed}_{author}",
    "with the friend as participant": "false_{friend}_{sealed}_{friend}",
    "under the friend's hidden id": "false_{lid}_{sealed}",
    "in the engine's writing of the chat": "false_12025550123@s.whatsapp.net_{sealed}",
    "with a device of the friend": "false_12025550123:7@c.us_{sealed}",
    "under a group": "false_{group}_{sealed}_{author}",
    "with blanks around it": " false_{friend}_{sealed} ",
    "with an id behind the id": "false_{friend}_3EB0AAAAAAAAAAAAAAAA_{sealed}",
    "with the sealed chat's id behind it": "false_{friend}_{sealed}_false_{author}_{sealed}",
}


@pytest.mark.parametrize("claim", CLAIMS)
def test_a_sealed_message_is_not_quoted(claim: str, agent: Hijacked, sealed: str) -> None:
    lid = agent.judge.get(f"/api/default/lids/pn/{FRIEND.partition('@')[0]}")["lid"]
    groups = agent.judge.get("/api/default/groups?limit=1")
    group = (groups if isinstance(groups, list) else list(groups.values()))[0]
    message = CLAIMS[claim].format(
        friend=FRIEND, sealed=sealed, author=SEALED, lid=lid, group=group.get("id") or group["JID"]
    )
    came_to_nothing(agent, use(agent, "quoted in a text", message))
    came_to_nothing(agent, use(agent, "read", message))


def message_row(sandbox_id: str, **more: Any) -> str:
    return json.dumps({"id": sandbox_id, "fromMe": False, "body": SEALED_WORDS, "timestamp": 1} | more)


#: What an engine that ignores the chat answers to a look-up.
ANSWERS = {
    "the message under its true chat": f"false_{SEALED}_ID",
    "another message of the friend": f"false_{FRIEND}_3EB0BBBBBBBBBBBBBBBB",
    "an own message under the same id": f"true_{FRIEND}_ID",
    "a message by somebody else in that chat": f"false_{FRIEND}_ID_{SEALED}",
}


@pytest.mark.parametrize("what", ANSWERS)
@pytest.mark.parametrize("how", ["quoted in a text", "forwarded", "read"])
def test_what_is_found_must_be_what_was_claimed(how: str, what: str, agent: Hijacked, sealed: str) -> None:
    row = message_row(ANSWERS[what].replace("ID", sealed))
    agent.judge.fault("/api/default/chats/*/messages/*", method="GET", count=9, body=row)
    claim = f"false_{FRIEND}_{sealed}" + (f"_{FRIEND}" if "by somebody else" in what else "")
    came_to_nothing(agent, use(agent, how, claim))


@pytest.mark.parametrize("how", ["quoted in a text", "forwarded", "reacted to", "edited", "deleted"])
def test_a_look_up_that_fails_lets_nothing_pass(how: str, agent: Hijacked, sealed: str) -> None:
    agent.judge.fault("/api/default/chats/*/messages/*", method="GET", count=9, status=500, body="{}")
    came_to_nothing(agent, use(agent, how, f"false_{FRIEND}_{sealed}"))


def test_a_true_claim_goes_through(agent: Hijacked) -> None:
    message = agent.judge.arrive(FRIEND, "a question")
    agent.judge.forget()
    assert use(agent, "quoted in a text", message)[0]
    assert use(agent, "reacted to", message)[0]
    assert [r["path"] for r in agent.judge.effects()] == ["/api/sendText", "/api/reaction"]


# Without the action read


@pytest.fixture(scope="module")
def send_only(sandbox: SandboxInfo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hijacked]:
    """An agent that cannot look anything up."""
    policy = POLICY.replace("read =", "# read =")
    with hijacked(sandbox, tmp_path_factory.mktemp("sendonly"), policy, key="send", actions=("send",)) as agent:
        yield agent


@pytest.mark.parametrize("how", ["quoted in a text", "forwarded", "reacted to", "edited", "deleted", "pinned"])
@pytest.mark.parametrize("whose", ["of a sealed chat", "of the friend", "of ours from elsewhere"])
def test_without_read_no_message_passes_that_the_app_did_not_send(
    how: str, whose: str, send_only: Hijacked, agent: Hijacked, sealed: str
) -> None:
    message = {
        "of a sealed chat": lambda: f"false_{FRIEND}_{sealed}",
        "of the friend": lambda: agent.judge.arrive(FRIEND, "a question"),
        "of ours from elsewhere": lambda: agent.judge.write(FRIEND, f"from the phone {how}"),
    }[whose]()
    send_only.judge.forget()
    came_to_nothing(send_only, use(send_only, how, message))


def test_without_read_the_apps_own_message_can_be_named(send_only: Hijacked) -> None:
    done, said = send_only.call("send_text", chat=FRIEND, text="mine")
    assert done, said
    send_only.judge.forget()
    assert use(send_only, "deleted", json.loads(said)["message_id"])[0]
    assert [r["method"] for r in send_only.judge.effects()] == ["DELETE"]


# What a person is shown


@pytest.fixture
def asking(asking_all: Hijacked) -> Hijacked:
    """An agent whose every call needs approval, with no question waiting."""
    asking_all.no_questions()
    return asking_all


@pytest.fixture(scope="module")
def asking_all(sandbox: SandboxInfo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hijacked]:
    with hijacked(sandbox, tmp_path_factory.mktemp("asking"), 'approval = "all"\n' + FAST) as agent:
        yield agent


@pytest.mark.parametrize("how", ["quoted in a text", "forwarded", "reacted to", "deleted", "quoted in a poll"])
def test_a_question_shows_what_the_message_says(how: str, asking: Hijacked, monkeypatch: pytest.MonkeyPatch) -> None:
    words = f"between you and me: {how}"
    message = asking.judge.arrive(ATTACKER if how == "forwarded" else FRIEND, words)
    asking.judge.forget()
    done, said = use(asking, how, message)
    assert not done
    entry = said.partition("id ")[2].partition(".")[0]
    monkeypatch.setenv("XDG_STATE_HOME", str(asking.state))
    (filed,) = [each for each in waiting() if each.id == entry]
    assert words in json.dumps(filed.question.content, ensure_ascii=False)
    assert asking.judge.effects() == []


@pytest.mark.parametrize("how", ["quoted in a text", "forwarded"])
def test_a_yes_is_for_the_words_that_were_shown(how: str, asking: Hijacked) -> None:
    """A message that is edited after the approval counts as another one."""
    from tests.attacks.test_limits import approve

    message = asking.judge.arrive(FRIEND, f"harmless: {how}")
    entry = use(asking, how, message)[1].partition("id ")[2].partition(".")[0]
    approve(asking, entry)
    asking.judge.forget()
    row = message_row(message, body="something else")
    asking.judge.fault("/api/default/chats/*/messages/*", method="GET", count=9, body=row)
    done, said = use(asking, how, message)
    asking.judge.no_faults()
    assert not done
    assert "waiting for approval" in said
    assert asking.judge.effects() == []
