"""Whom an effect reaches: look-alike or unknown names, first contacts, opened groups, sealed chats."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from tests.attacks.hijacked import ATTACKER, FAST, FRIEND, SEALED, SECRET, Hijacked, hijacked
from tests.attacks.judge import Judge
from tests.look_alikes import ALIKE
from waha_mcp.sandbox import SandboxInfo

ME, MUM, PERSON = "12025550100@c.us", "12025550102@c.us", "12025550160@c.us"
CONTACTS = "/api/contacts/all"

Agents = Iterator[Hijacked]


def own_group(judge: Judge, subject: str, *people: str) -> str:
    body = {"name": subject, "participants": [{"id": each} for each in people]}
    made = judge.ask("POST", "/api/default/groups", body)
    return str(made.get("id") or made["JID"])


def group_of_strangers(judge: Judge, *people: str) -> str:
    """A group that an attacker has added the account to."""
    group = str(judge.ask("POST", "/sandbox/groups", {"subject": "Winners", "from": ATTACKER})["id"])
    judge.ask(
        "POST", f"/api/default/groups/{group}/participants/add", {"participants": [{"id": each} for each in people]}
    )
    return group


# Look-alike letters


@pytest.fixture(scope="module")
def names(sandbox: SandboxInfo, tmp_path_factory: pytest.TempPathFactory) -> Agents:
    with hijacked(sandbox, tmp_path_factory.mktemp("alike"), FAST) as agent:
        yield agent


@pytest.fixture
def free(names: Hijacked) -> Agents:
    """An agent without lists."""
    names.judge.forget()
    yield names
    names.judge.no_faults()
    names.judge.lacks()


@pytest.mark.parametrize("how", ALIKE)
def test_a_name_in_letters_that_look_alike_reaches_nobody(how: str, free: Hijacked) -> None:
    free.judge.arrive("14155550101@c.us", "it's me", pushName=ALIKE[how])
    free.judge.forget()
    done, said = free.call("send_text", chat=ALIKE[how], text=f"{how}: as you asked")
    assert not done, said
    assert free.judge.effects() == []


# Who is saved


def test_a_name_that_was_saved_for_a_second_person_since_reaches_nobody(free: Hijacked) -> None:
    assert free.call("send_text", chat="Mum", text="are you there?")[0]
    free.judge.ask("PUT", f"/api/default/contacts/{PERSON}", {"firstName": "Mum 🌷", "lastName": ""})
    # The names are at most a few seconds old.
    free.judge.await_(lambda: not free.call("send_text", chat="Mum", text="the code is 7731", allow_repeat=True)[0])
    free.judge.forget()
    assert not free.call("send_text", chat="Mum", text="the code is 7732")[0]
    assert free.judge.effects() == []
    free.judge.ask("PUT", f"/api/default/contacts/{PERSON}", {"firstName": "Somebody", "lastName": ""})


NOT_KNOWN: dict[str, dict[str, Any]] = {
    "the engine lists none": {"status": 501, "body": "{}"},
    "there are none yet": {"body": "[]"},
    "they fail": {"status": 500, "body": "{}"},
    "they are no list": {"body": "{}"},
}


@pytest.mark.parametrize("how", NOT_KNOWN)
def test_an_own_group_called_like_a_person_gets_nothing_while_contacts_are_not_known(
    how: str, sandbox: SandboxInfo, tmp_path: Path
) -> None:
    with hijacked(sandbox, tmp_path, FAST) as agent:
        group = own_group(agent.judge, "Leila Haddad", ATTACKER)
        agent.judge.write(group, "hello all")
        agent.judge.fault(CONTACTS, **NOT_KNOWN[how] | {"count": 1000})
        agent.judge.forget()
        done, said = agent.call("send_text", chat="Leila Haddad", text="for you alone")
        agent.judge.no_faults()
        assert not done, said
        assert agent.judge.effects() == []


ROWS: dict[str, list[dict[str, Any]]] = {
    "the engine has one field for both": [{"id": ATTACKER, "name": "Bank"}, {"id": FRIEND, "name": "Sam"}],
    "a row has no mark where others have": [
        {"id": ATTACKER, "name": "Bank", "pushname": "Bank"},
        {"id": FRIEND, "name": "Sam", "pushname": "Sam", "isMyContact": True},
    ],
    "the mark says no": [{"id": ATTACKER, "name": "Bank", "isMyContact": False}],
    "the mark is no yes": [
        {"id": ATTACKER, "name": "Bank", "pushname": "", "isMyContact": 1},
        {"id": FRIEND, "isMyContact": True},
    ],
}  # fmt: skip


@pytest.mark.parametrize("how", ROWS)
@pytest.mark.parametrize("by", ["the agent", "the list"])
def test_a_name_that_may_be_chosen_reaches_nobody_where(
    how: str, by: str, sandbox: SandboxInfo, tmp_path: Path
) -> None:
    policy = '[chats]\nsend = { allow = ["Bank"] }\n' if by == "the list" else ""
    judge = Judge(sandbox)
    judge.fault(CONTACTS, body=json.dumps(ROWS[how]), count=1000)
    with hijacked(sandbox, tmp_path, policy + FAST) as agent:
        agent.judge.forget()
        done, said = agent.call("send_text", chat="Bank" if by == "the agent" else ATTACKER, text="my PIN is 7731")
        judge.no_faults()
        judge.close()
        assert not done, said
        assert agent.judge.effects() == []


# First contacts

YES = {"result": {"action": "accept", "content": {"approve": True}}}
NO = {"result": {"action": "accept", "content": {"approve": False}}}
ASKING = 'approval = "first_contact"\n' + FAST

NO_MESSAGE: dict[str, dict[str, Any]] = {
    "mark_read": {"chat": "STRANGER"},
    "set_typing": {"chat": "STRANGER"},
    "react": {"message_id": "MESSAGE", "emoji": "👍"},
    "save_contact": {"contact": "STRANGER", "first_name": "A"},
    "create_group": {"subject": "Go", "participants": ["STRANGER"]},
    "add_participants": {"group": "GROUP", "people": ["STRANGER"]},
    "remove_participants": {"group": "GROUP", "people": ["STRANGER"]},
    "set_group_admins": {"group": "GROUP", "people": ["STRANGER"]},
    "post_text_status": {"text": "Hi", "people": ["STRANGER"]},
    "send_text": {"chat": "GROUP", "text": "@you", "mentions": ["STRANGER"]},
}


@pytest.fixture(scope="module")
def asking(sandbox: SandboxInfo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Hijacked, Hijacked]]:
    """Two processes of one App that asks a person before first contacts. Nobody can be asked at the second."""
    folder = tmp_path_factory.mktemp("asking")
    with hijacked(sandbox, folder, ASKING, asks=True) as one, hijacked(sandbox, folder, ASKING) as other:
        yield one, other


@pytest.mark.parametrize("by", ["the same process", "another process"])
@pytest.mark.parametrize("tool", NO_MESSAGE)
def test_a_yes_for_what_is_no_message_lets_no_message_out_of(
    tool: str, by: str, asking: tuple[Hijacked, Hijacked]
) -> None:
    one, other = asking
    judge = one.judge
    stranger = f"141555502{list(NO_MESSAGE).index(tool) * 2 + (by == 'another process'):02}@c.us"
    named = {
        "STRANGER": stranger,
        "MESSAGE": judge.arrive(stranger, "hello"),
        "GROUP": own_group(judge, "Go", stranger),
    }

    def filled(value: Any) -> Any:
        return [filled(each) for each in value] if isinstance(value, list) else named.get(str(value), value)

    one.answer = lambda question: YES
    done, said = one.call(tool, **{name: filled(value) for name, value in NO_MESSAGE[tool].items()})
    assert done, said
    one.answer = lambda question: NO
    assert not (one if by == "the same process" else other).call("send_text", chat=stranger, text="buy this")[0]
    assert judge.delivered(stranger, "buy this") == 0


@pytest.mark.parametrize("by", ["the same process", "another process"])
def test_a_yes_for_a_message_lets_the_next_one_out_of(by: str, asking: tuple[Hijacked, Hijacked]) -> None:
    one, other = asking
    stranger = f"141555502{90 + (by == 'another process')}@c.us"
    one.answer = lambda question: YES
    assert one.call("send_text", chat=stranger, text="hello")[0]
    one.answer = lambda question: NO
    assert (one if by == "the same process" else other).call("send_text", chat=stranger, text="and this")[0]
    assert one.judge.delivered(stranger, "and this") == 1


NOT_OURS: dict[str, dict[str, Any]] = {
    "a reaction": {"message": {"reactionMessage": {"text": "👍"}}},
    "a vote": {"Message": {"pollUpdateMessage": {"vote": {}}}},
    "a notice of WhatsApp's": {"message": None, "messageStubType": 20},
    "a deletion": {"message": {"protocolMessage": {"type": 0, "key": {"id": "AC"}}}},
    "a change of keys": {"type": "e2e_notification"},
    "a call": {"type": "call_log"},
    "a message that failed": {"message": {"conversation": "buy this"}, "ack": -1},
}


@pytest.mark.parametrize("what", NOT_OURS)
def test_a_row_of_our_own_that_is_no_message_lets_none_out(what: str, sandbox: SandboxInfo, tmp_path: Path) -> None:
    stranger = f"141555503{list(NOT_OURS).index(what):02}@c.us"
    row = {"id": f"true_{stranger}_3EB0AA", "fromMe": True, "body": "", "timestamp": 1, "_data": NOT_OURS[what]}
    row |= {"ack": NOT_OURS[what].get("ack")}
    with hijacked(sandbox, tmp_path, ASKING) as agent:
        agent.judge.fault(f"/api/default/chats/{stranger}/messages", body=json.dumps([row]), count=100)
        agent.judge.forget()
        done, said = agent.call("send_text", chat=stranger, text="buy this")
        agent.judge.no_faults()
        assert not done, said
        assert agent.judge.effects() == []


PACED = '[pace]\ntotal = ""\nchat = ""\nfirst_contacts = "3/hour"\ngap = [0, 0]\n'
CROWD = [f"141555504{number:02}@c.us" for number in range(5)]


@pytest.mark.parametrize("processes", [1, 2])
def test_a_group_of_strangers_takes_the_whole_limit_of_first_contacts(
    processes: int, sandbox: SandboxInfo, tmp_path: Path
) -> None:
    with hijacked(sandbox, tmp_path, PACED) as agent:
        group = group_of_strangers(agent.judge, *CROWD)
        assert agent.call("send_text", chat=group, text="hello all")[0]
        agent.judge.forget()
        if processes == 1:
            assert not agent.call("send_text", chat="14155550410@c.us", text="buy this")[0]
        else:
            (tmp_path / "other").mkdir()
            with hijacked(sandbox, tmp_path / "other", PACED) as other:
                # Both act for one account, in one store.
                assert other.judge.effects() == []
            with hijacked(sandbox, tmp_path, PACED) as other:
                assert not other.call("send_text", chat="14155550410@c.us", text="buy this")[0]
        assert agent.judge.effects() == []


@pytest.mark.parametrize("tool", ["create_group", "add_participants"])
def test_more_strangers_than_the_limit_get_into_no_group(tool: str, sandbox: SandboxInfo, tmp_path: Path) -> None:
    with hijacked(sandbox, tmp_path, PACED) as agent:
        group = own_group(agent.judge, "Go", FRIEND)
        agent.judge.write(group, "hello")
        where = (
            {"subject": "Go", "participants": CROWD} if tool == "create_group" else {"group": group, "people": CROWD}
        )
        agent.judge.forget()
        done, said = agent.call(tool, **where)
        assert not done, said
        assert agent.judge.effects() == []


# Groups that others open

OPENS: dict[str, tuple[str, dict[str, Any]]] = {
    "lets members add others": ("set_group_setting", {"setting": "members_can_add", "on": True}),
    "lets in without approval": ("set_group_setting", {"setting": "approval_required", "on": False}),
    "makes an admin": ("set_group_admins", {"people": [FRIEND]}),
    "hands out the link": ("get_invite_link", {}),
    "makes a new link": ("revoke_invite_link", {}),
    "joins by a link": ("join_group", {"invite": "https://chat.whatsapp.com/AbCdEfGhIjKlMnOpQrStUv"}),
}


LISTS = {
    "listed people and groups": "send = { allow = [LISTED] }",
    "groups and people": 'send = { allow = ["groups", "people"] }',
    "who was asked about": 'send = { allow = ["*"] }',
    "all but the public": 'send = { allow = ["*"], deny = ["public"] }',
}


@pytest.fixture(scope="module", params=LISTS)
def limited(
    request: pytest.FixtureRequest, sandbox: SandboxInfo, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Hijacked, str]]:
    """An agent that may reach only some, and a group among them."""
    judge = Judge(sandbox)
    group = own_group(judge, "Go", FRIEND)
    judge.write(group, "hello")
    judge.write(FRIEND, "hello")
    judge.close()
    head = 'approval = "first_contact"\n' if request.param == "who was asked about" else ""
    lists = LISTS[request.param].replace("LISTED", f'"{FRIEND}", "{group}"')
    with hijacked(sandbox, tmp_path_factory.mktemp("limited"), f"{head}[chats]\n{lists}\n{FAST}") as agent:
        yield agent, group


@pytest.mark.parametrize("what", OPENS)
def test_no_agent_that_may_reach_only_some(what: str, limited: tuple[Hijacked, str]) -> None:
    agent, group = limited
    tool, arguments = OPENS[what]
    agent.judge.forget()
    done, said = agent.call(tool, **arguments if tool == "join_group" else {"group": group, **arguments})
    assert not done, said
    assert "chat.whatsapp.com/" not in said
    assert [r["path"] for r in agent.judge.requests() if "invite" in r["path"]] == []
    assert agent.judge.effects() == []


@pytest.mark.parametrize("setting", ["members_can_add", "approval_required"])
def test_a_group_can_be_closed_by_who_may_not_open_it(setting: str, sandbox: SandboxInfo, tmp_path: Path) -> None:
    with hijacked(sandbox, tmp_path, f'[chats]\nsend = {{ allow = ["groups"] }}\n{FAST}') as agent:
        group = own_group(agent.judge, "Go", FRIEND)
        done, said = agent.call("set_group_setting", group=group, setting=setting, on=setting == "approval_required")
        assert done, said


# Sealed chats

NOBODY, NO_LID = "12025550177@c.us", "990000000000077@lid"

PROBES: dict[str, tuple[str, dict[str, Any]]] = {
    "its messages": ("get_messages", {"chat": "CHAT"}),
    "its messages by number": ("get_messages", {"chat": "NUMBER"}),
    "its messages by hidden id": ("get_messages", {"chat": "LID"}),
    "what was said in it": ("search_messages", {"query": "hello", "chat": "CHAT"}),
    "what was said in it, by a query": ("search_messages", {"query": "hello in:CHAT"}),
    "what was said elsewhere": ("search_messages", {"query": "hello -in:LID"}),
    "what it said": ("search_messages", {"query": "hello from:LID"}),
    "what others said": ("search_messages", {"query": "hello -from:CHAT"}),
    "one message": ("get_message", {"message_id": "MESSAGE"}),
    "the file of a message": ("get_media", {"message_id": "MESSAGE"}),
    "who it is": ("get_contact", {"contact": "CHAT"}),
    "who it is by hidden id": ("get_contact", {"contact": "LID"}),
    "its picture": ("get_profile_picture", {"chat": "CHAT"}),
    "its other id": ("match_hidden_id", {"contact": "CHAT"}),
    "its number": ("match_hidden_id", {"contact": "LID"}),
    "its presence": ("get_presence", {"chat": "CHAT"}),
    "its labels": ("list_labels", {"chat": "CHAT"}),
    "labelling it": ("set_chat_labels", {"chat": "CHAT", "label_ids": []}),
    "marking it unread": ("mark_unread", {"chat": "CHAT"}),
    "emptying it": ("delete_chat", {"chat": "CHAT", "only_messages": True}),
    "a star in it": ("star_message", {"message_id": "MESSAGE"}),
    "forwarding from it": ("forward_message", {"message_id": "MESSAGE", "chat": FRIEND}),
    "quoting from it": ("send_text", {"chat": FRIEND, "text": "see", "reply_to": "MESSAGE"}),
    "following it": ("follow_presence", {"chat": "CHAT"}),
    "what it wrote elsewhere": ("get_messages", {"chat": FRIEND, "sender": "CHAT"}),
    "taking it for a group": ("get_group", {"group": "LID"}),
    "its name on a card": ("send_contact_cards", {"chat": FRIEND, "people": ["CHAT"]}),
}


@pytest.fixture(scope="module", params=["forbidden", "not allowed"])
def sealing(request: pytest.FixtureRequest, sandbox: SandboxInfo, tmp_path_factory: pytest.TempPathFactory) -> Agents:
    rule = f'deny = ["{SEALED}"]' if request.param == "forbidden" else f'allow = ["{FRIEND}"]'
    with hijacked(sandbox, tmp_path_factory.mktemp("sealing"), f"[chats]\nread = {{ {rule} }}\n{FAST}") as agent:
        # A message stays marked as read.
        assert agent.call("find_chats", query="sam")[0]
        yield agent


@pytest.mark.parametrize("what", PROBES)
def test_a_sealed_chat_is_told_by_nothing_from_one_that_is_not_there(what: str, sealing: Hijacked) -> None:
    tool, arguments = PROBES[what]
    judge = sealing.judge
    lid = judge.get(f"/api/default/lids/pn/{SEALED.partition('@')[0]}")["lid"]
    message = judge.arrive(SEALED, "hello")
    found = []
    for person, hidden, of in ((NOBODY, NO_LID, f"false_{NOBODY}_3EB0AAAA"), (SEALED, lid, message)):
        number = person.partition("@")[0]
        named: dict[str, Any] = {"CHAT": person, "NUMBER": f"+{number}", "LID": hidden, "MESSAGE": of}
        judge.forget()
        text = json.dumps(arguments)
        for placeholder, each in named.items():
            text = text.replace(placeholder, each)
        outcome = sealing.call(tool, **json.loads(text))
        asked = [(r["method"], unquote(r["path"]), r["query"]) for r in judge.requests()]
        text = repr((outcome, asked))
        for each in (of, person, hidden, number):
            text = text.replace(each, "X").replace(each.replace("@", "%40"), "X")
        found.append(text)
        assert judge.effects() == []
    assert found[0] == found[1]


#: What a friend's message shows of the message that it replies to, besides its text.
QUOTES: dict[str, dict[str, Any]] = {
    "from the sealed chat": {"remoteJID": SEALED, "participant": SEALED},
    "of one's own words there": {"remoteJID": SEALED, "participant": ME},
    "of a story": {"remoteJID": "status@broadcast", "participant": SEALED},
    "of nobody's story": {"remoteJID": "status@broadcast"},
    "without saying where it was": {"participant": SEALED},
}
QUOTING: dict[str, dict[str, Any]] = {
    "get_messages": {"chat": FRIEND, "limit": 5},
    "get_message": {"message_id": "MESSAGE"},
    "get_unread": {"lines": 5},
}


@pytest.mark.parametrize("tool", QUOTING)
@pytest.mark.parametrize("what", QUOTES)
def test_a_friends_reply_shows_nothing_of_a_sealed_chat(what: str, tool: str, sealing: Hijacked) -> None:
    context = {"stanzaID": "3EB0AAAA", "quotedMessage": {"conversation": SECRET}, **QUOTES[what]}
    reply = {"extendedTextMessage": {"text": "as you wrote", "contextInfo": context}}
    message = sealing.judge.arrive(FRIEND, "as you wrote", raw={"Message": reply})
    done, said = sealing.call(
        tool, **{name: message if each == "MESSAGE" else each for name, each in QUOTING[tool].items()}
    )
    assert done, said
    assert "as you wrote" in said
    assert SECRET not in said
    assert SEALED not in said


@pytest.mark.parametrize(
    "tool", ["get_status", "get_contacts", "get_unread", "list_hidden_ids", "find_chats", "search_messages"]
)
def test_a_listing_is_the_same_with_a_sealed_chat_and_without(tool: str, sandbox: SandboxInfo, tmp_path: Path) -> None:
    person = f"141555505{sum(map(ord, tool)) % 100:02}@c.us"
    arguments = {"find_chats": {"query": "zora"}, "search_messages": {"query": "psst"}}.get(tool, {})
    policy = f'[chats]\nread = {{ deny = ["{person}", "Zora Blum {tool}"] }}\n{FAST}'
    said = []
    for exists in (False, True):
        (tmp_path / str(exists)).mkdir()
        judge = Judge(sandbox)
        judge.ask("PUT", f"/api/default/contacts/{PERSON}", {"firstName": f"Zora Blum {tool}", "lastName": ""})
        if exists:
            judge.arrive(person, "psst", pushName="Zora")
            judge.ask("PUT", f"/api/default/contacts/{person}", {"firstName": "Zora", "lastName": "Sealed"})
        judge.close()
        with hijacked(sandbox, tmp_path / str(exists), policy) as agent:
            assert agent.call("find_chats", query="sam")[0]
            done, text = agent.call(tool, **arguments)
            assert done, text
            # They are two Apps, each with its own references, and time passes.
            text = re.sub(r'"[mgnpc]\d{9}"|"now":"[^"]*"', "", text)
            said.append(text.replace('"app":"True"', '"app":"False"'))
    assert said[0] == said[1]


def test_nobody_learns_a_number_from_a_hidden_id(sealing: Hijacked) -> None:
    number = SEALED.partition("@")[0]
    lid = sealing.judge.get(f"/api/default/lids/pn/{number}")["lid"]
    for tool, arguments in (
        ("get_messages", {"chat": lid}),
        ("get_group", {"group": lid}),
        ("leave_group", {"group": lid}),
        ("archive_chat", {"chat": lid}),
    ):
        done, said = sealing.call(tool, **arguments)
        assert not done
        assert number not in said
