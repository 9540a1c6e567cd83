"""What an answer reveals about chats that may not be read, and where it says that a message went."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.attacks.front import Front, after, answer, says
from tests.attacks.hijacked import ATTACKER, FAST, FRIEND, SEALED, SECRET, VICTIM, Hijacked, hijacked
from tests.attacks.judge import Judge
from waha_mcp.sandbox import SandboxInfo

STATUS = "status@broadcast"
#: Lists of chats under which `SEALED` may neither be read nor reached.
LISTS = {
    "forbidden": f'read = {{ deny = ["{SEALED}"] }}\nsend = {{ deny = ["{SEALED}"] }}',
    "not allowed": f'read = {{ allow = ["{FRIEND}", "status"] }}\nsend = {{ allow = ["{FRIEND}", "status"] }}',
}

Agents = Iterator[Hijacked]


# Status stories


@pytest.fixture(scope="module", params=LISTS)
def sealing(request: pytest.FixtureRequest, sandbox: SandboxInfo, tmp_path_factory: pytest.TempPathFactory) -> Agents:
    policy = f"[chats]\n{LISTS[request.param]}\n{FAST}"
    with hijacked(sandbox, tmp_path_factory.mktemp("stories"), policy) as agent:
        yield agent


#: The tool, and its arguments, in which STORY stands for the id of a story.
STORIES: dict[str, tuple[str, dict[str, Any]]] = {
    "reading it": ("get_message", {"message_id": "STORY"}),
    "an answer to it": ("send_text", {"chat": FRIEND, "text": "see", "reply_to": "STORY"}),
    "an answer among the stories": ("send_text", {"chat": STATUS, "text": "see", "reply_to": "STORY"}),
    "a reaction": ("react", {"message_id": "STORY", "emoji": "👍"}),
    "a forward": ("forward_message", {"message_id": "STORY", "chat": FRIEND}),
    "a star": ("star_message", {"message_id": "STORY"}),
}


def story(judge: Judge, author: str, text: str) -> str:
    return judge.arrive(STATUS, text, **{"from": author})


@pytest.mark.parametrize("author", ["who may not be read", "whom the id leaves out"])
@pytest.mark.parametrize("what", STORIES)
def test_a_story_is_as_its_author_may_be_reached_and_read(what: str, author: str, sealing: Hijacked) -> None:
    tool, arguments = STORIES[what]
    found = story(sealing.judge, SEALED, SECRET)
    if author == "whom the id leaves out":
        found = found.removesuffix(f"_{SEALED}")
        assert found.count("_") == 2
    sealing.judge.forget()
    done, said = sealing.call(tool, **{key: found if each == "STORY" else each for key, each in arguments.items()})
    assert not done
    assert SECRET not in said
    assert sealing.judge.effects() == []


LISTINGS: dict[str, dict[str, Any]] = {
    "get_messages": {"chat": STATUS, "limit": 100},
    "search_messages": {"query": "kestrel", "chat": STATUS},
}


@pytest.mark.parametrize("author", ["who may not be read", "who is not known"])
@pytest.mark.parametrize("tool", LISTINGS)
def test_stories_are_listed_without_those_of_an_author(tool: str, author: str, sealing: Hijacked) -> None:
    judge = sealing.judge
    judge.forget()
    row = {"id": f"false_{STATUS}_3EB0AA", "fromMe": False, "body": "kestrel of nobody", "timestamp": 1_900_000_000}
    if author == "who may not be read":
        row |= {"id": f"{row['id']}_{SEALED}", "participant": SEALED}
    seen = row | {"id": f"false_{STATUS}_3EB0AB_{FRIEND}", "participant": FRIEND, "body": "kestrel of a friend"}
    judge.fault(f"/api/default/chats/{STATUS}/messages", body=json.dumps([row, seen]), count=100)
    done, said = sealing.call(tool, **LISTINGS[tool])
    judge.no_faults()
    assert done, said
    assert "of a friend" in said
    assert "of nobody" not in said


# Groups that may be written to and not read


@pytest.fixture(scope="module")
def group(sandbox: SandboxInfo) -> str:
    """A group of ours with a friend in it."""
    judge = Judge(sandbox)
    made = judge.ask("POST", "/api/default/groups", {"name": "Sealed", "participants": [{"id": FRIEND}]})
    judge.close()
    return str(made.get("id") or made["JID"])


@pytest.fixture(scope="module", params=["forbidden", "not allowed"])
def writing(
    request: pytest.FixtureRequest, group: str, sandbox: SandboxInfo, tmp_path_factory: pytest.TempPathFactory
) -> Agents:
    """An agent that may write to everybody, and read neither the group nor one person."""
    rule = f'deny = ["{group}", "{SEALED}"]' if request.param == "forbidden" else f'allow = ["{FRIEND}"]'
    policy = f"[chats]\nread = {{ {rule} }}\n{FAST}"
    with hijacked(sandbox, tmp_path_factory.mktemp("writing"), policy) as agent:
        yield agent


def code_of(judge: Judge, group: str) -> str:
    return judge.text(f"/api/default/groups/{group}/invite-code").rpartition("/")[2]


def test_an_invite_link_of_a_group_that_may_not_be_read_is_not_handed_out(writing: Hijacked, group: str) -> None:
    writing.judge.forget()
    done, said = writing.call("get_invite_link", group=group)
    assert not done
    assert "chat.whatsapp.com" not in said
    assert [r for r in writing.judge.requests() if r["path"].endswith("/invite-code")] == []


def test_a_renewed_link_of_a_group_that_may_not_be_read_is_not_handed_out(writing: Hijacked, group: str) -> None:
    before = code_of(writing.judge, group)
    done, said = writing.call("revoke_invite_link", group=group)
    assert done, said
    new = code_of(writing.judge, group)
    assert new != before
    assert new not in said


def test_a_link_that_was_joined_does_not_tell_that_it_is_of_a_group_that_may_not_be_read(
    writing: Hijacked, group: str
) -> None:
    done, said = writing.call("join_group", invite=code_of(writing.judge, group))
    assert done, said
    # Neither its id nor a reference to it.
    assert json.loads(said) == {}


#: The tools that show who is in a group.
MEMBERS: dict[str, dict[str, Any]] = {
    "add_participants": {"people": [FRIEND]},
    "remove_participants": {"people": [VICTIM]},
    "set_group_admins": {"people": [VICTIM]},
    "decide_join_requests": {"people": [VICTIM], "approved": False},
}


@pytest.mark.parametrize("tool", MEMBERS)
def test_who_is_in_a_group_that_may_not_be_read_is_not_told_by(tool: str, writing: Hijacked, group: str) -> None:
    [person] = MEMBERS[tool]["people"]
    rows = json.dumps([{"id": person, "requesterId": person, "status": "409", "error": 409}])
    writing.judge.fault(f"/api/default/groups/{group}/*", body=rows, count=1)
    done, said = writing.call(tool, group=group, **MEMBERS[tool])
    writing.judge.no_faults()
    assert done, said
    assert '"ok"' not in said
    assert "in the group" not in said


@pytest.mark.parametrize("unread", [1, 3, 60])
def test_how_many_messages_wait_in_a_chat_that_may_not_be_read_is_not_told_by_marking_them(
    unread: int, writing: Hijacked
) -> None:
    said = []
    for count in (0, unread):
        for number in range(count):
            writing.judge.arrive(SEALED, f"message {number} of {count}")
        writing.judge.forget()
        said.append(writing.call("mark_read", chat=SEALED))
        assert len(writing.judge.effects()) == 1
    assert said[0][0]
    assert said[0] == said[1]


# Answers of another chat

SEND = "POST /api/sendText"


def sent_to(chat: str, form: str) -> bytes:
    """The answer to a send that names this chat."""
    if form == "a message":
        return answer(json.dumps({"id": f"true_{chat}_3EB0AABB", "fromMe": True, "to": chat}).encode(), "201 Created")
    key = {"remoteJid": chat.replace("@c.us", "@s.whatsapp.net"), "fromMe": True, "id": "3EB0AABB"}
    return answer(json.dumps({"key": key, "messageTimestamp": "1900000000"}).encode(), "201 Created")


ELSEWHERE = {
    "another person": VICTIM,
    "an unknown person": ATTACKER,
    "a group": "120363041234567890@g.us",
    "the stories": STATUS,
    "a channel": "120363000000000001@newsletter",
}
FORMS = ["a message", "a key"]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("where", ELSEWHERE)
def test_nothing_is_told_as_sent_where_the_answer_names(
    where: str, form: str, agent: Hijacked, way: Front, text: str
) -> None:
    way.rules[SEND] = says(sent_to(ELSEWHERE[where], form))
    done, said = agent.call("send_text", chat=FRIEND, text=text)
    assert way.hits == [SEND]
    assert not done, said
    assert "unknown" in said
    assert ELSEWHERE[where] not in said
    # It may have been sent.
    way.rules.clear()
    assert not agent.call("send_text", chat=FRIEND, text=text, allow_repeat=True)[0]
    assert agent.judge.delivered(FRIEND, text) == 0


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("where", ELSEWHERE)
def test_it_is_found_in_its_chat_where_the_answer_names(
    where: str, form: str, agent: Hijacked, way: Front, text: str
) -> None:
    way.rules[SEND] = after(sent_to(ELSEWHERE[where], form))
    done, said = agent.call("send_text", chat=FRIEND, text=text)
    assert done, said
    assert ELSEWHERE[where] not in said
    assert agent.judge.delivered(FRIEND, text) == 1


@pytest.mark.parametrize("form", FORMS)
def test_a_look_up_that_names_another_chat_finds_nothing(form: str, agent: Hijacked, way: Front, text: str) -> None:
    given = f"3EB0CC{FORMS.index(form):02}"
    agent.judge.fault("/api/default/new-message-id", body=json.dumps({"id": given}))
    row: dict[str, Any] = {"id": f"true_{VICTIM}_{given}", "fromMe": True, "body": text}
    if form == "a key":
        row = {"key": {"remoteJid": VICTIM, "fromMe": True, "id": given}}
    agent.judge.fault(f"/api/default/chats/{FRIEND}/messages/*", body=json.dumps(row), count=100)
    way.rules[SEND] = says(answer(b"", "504 Gateway Timeout"))
    for _ in range(2):
        done, said = agent.call("send_text", chat=FRIEND, text=text)
        assert not done, said
        assert VICTIM not in said
        assert "not known" in said or "unknown" in said
    assert agent.judge.delivered(FRIEND, text) == 0


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("which", ["the hidden id", "a hidden id that is not known"])
def test_it_is_told_as_sent_where_the_answer_names(
    which: str, form: str, agent: Hijacked, way: Front, text: str
) -> None:
    lid = agent.judge.get(f"/api/default/lids/pn/{FRIEND.partition('@')[0]}")["lid"]
    way.rules[SEND] = after(sent_to(lid if which == "the hidden id" else "990000000000077@lid", form))
    # No look-up would find it.
    agent.judge.fault(f"/api/default/chats/{FRIEND}/messages/*", status=404, body="{}", count=100)
    done, said = agent.call("send_text", chat=FRIEND, text=text)
    agent.judge.no_faults()
    assert done, said
    assert agent.judge.delivered(FRIEND, text) == 1


# Messages that failed


@pytest.mark.parametrize("form", FORMS)
def test_nothing_is_told_as_sent_where_the_message_failed(form: str, agent: Hijacked, way: Front, text: str) -> None:
    failed = json.loads(sent_to(FRIEND, form).partition(b"\r\n\r\n")[2]) | {"ack": -1}
    way.rules[SEND] = says(answer(json.dumps(failed).encode(), "201 Created"))
    done, said = agent.call("send_text", chat=FRIEND, text=text)
    assert way.hits == [SEND]
    assert not done, said
    assert "unknown" in said


@pytest.mark.parametrize("form", FORMS)
def test_a_message_that_failed_is_not_found_as_one_that_went_out(
    form: str, agent: Hijacked, way: Front, text: str
) -> None:
    given = f"3EB0DD{FORMS.index(form):02}"
    agent.judge.fault("/api/default/new-message-id", body=json.dumps({"id": given}))
    row: dict[str, Any] = {"id": f"true_{FRIEND}_{given}", "fromMe": True, "body": text, "ack": -1}
    if form == "a key":
        row = {"key": {"remoteJid": FRIEND, "fromMe": True, "id": given}, "ack": -1}
    agent.judge.fault(f"/api/default/chats/{FRIEND}/messages/*", body=json.dumps(row), count=100)
    way.rules[SEND] = says(answer(b"", "504 Gateway Timeout"))
    for _ in range(2):
        done, said = agent.call("send_text", chat=FRIEND, text=text)
        assert not done, said
        assert "did go out" not in said
        assert "not known" in said or "unknown" in said
    assert agent.judge.delivered(FRIEND, text) == 0
