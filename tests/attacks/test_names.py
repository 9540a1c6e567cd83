"""Names that strangers choose: a message to a saved name reaches the person saved under it, or nobody."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.attacks.hijacked import ATTACKER, FAST, Hijacked, hijacked
from tests.attacks.judge import Judge
from waha_mcp.sandbox import SandboxInfo

MUM, DAD, ZOE = "12025550102@c.us", "12025550101@c.us", "33639980023@c.us"
MAYA, PRIYA, DIEGO, OLU = "447700900142@c.us", "447700900177@c.us", "12025550148@c.us", "447700900163@c.us"

#: What a stranger calls himself, and whom that name may reach when the agent uses it. Each is distinct after folding,
#: so that only one stranger has it.
STRANGERS: dict[str, tuple[str, str | None]] = {
    "a saved name without its emoji": ("Mum", MUM),
    "a saved name with something invisible": ("D\u200ba\u2060d", None),
    "a saved name in capitals and without its emoji": ("ZOE MARTIN", ZOE),
    "a saved name with an emoji": ("Maya Lindqvist ✅", MAYA),
    "a saved name without its blank": ("PriyaNair", PRIYA),
    "a saved name in other accents and blanks": ("Diego\u00a0\u00a0A\u0301lvarez 🎉", DIEGO),
    "a saved name with a flag": ("Olu Adeyemi 🇬🇧", OLU),
    "a saved name with a skin tone": ("Nina Vogel 👍🏽", "491713920035@c.us"),
    "a saved name in a Cyrillic letter": ("S\u0430m Okafor", None),
    "a saved name in Greek letters": ("\u0399van Petrov", None),
    "a saved name with a digit for a letter": ("Sam 0kafor", None),
    "a saved name with another apostrophe": ("Grace O’Connor", None),
    "a saved name that turns around": ("\u202eroflakO maS", None),
    "a saved name with a word more": ("Sam Okafor (new number)", None),
    "half of a saved name": ("Leila", None),
    "what a contact calls himself": ("Helen R. ❤️", None),
    "who someone is": ("Landlord", None),
    "somebody to trust": ("WhatsApp Support", None),
}  # fmt: skip


def groups(judge: Judge) -> list[dict[str, Any]]:
    found = judge.get("/api/default/groups?limit=50")
    return found if isinstance(found, list) else list(found.values())


def subject_of(group: dict[str, Any]) -> str:
    return str(group.get("subject") or group.get("Name") or group.get("name") or "")


def kestrel(judge: Judge) -> str:
    """A group that others made and that we may rename."""
    return next(str(each.get("id") or each["JID"]) for each in groups(judge) if "Kestrel" in subject_of(each))


@pytest.fixture(scope="module")
def serving(sandbox: SandboxInfo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hijacked]:
    with hijacked(sandbox, tmp_path_factory.mktemp("names"), FAST) as agent:
        for at, (name, _) in enumerate(STRANGERS.values()):
            agent.judge.arrive(f"1415555010{at:02}@c.us", "hello", pushName=name)
        yield agent


@pytest.fixture
def agent(serving: Hijacked) -> Hijacked:
    """An agent that knows nothing but names."""
    serving.judge.forget()
    return serving


def reached_only(agent: Hijacked, saved: str | None, outcome: tuple[bool, str]) -> None:
    done, said = outcome
    assert agent.judge.reached() == ([saved] if saved else []), said
    assert done == (saved is not None), said
    if saved:
        assert f"+{saved.partition('@')[0]}" in said
    else:
        assert agent.judge.effects() == []


@pytest.mark.parametrize("who", STRANGERS)
def test_nothing_reaches_a_stranger_who_takes(who: str, agent: Hijacked) -> None:
    name, saved = STRANGERS[who]
    reached_only(agent, saved, agent.call("send_text", chat=name, text=f"for {who}"))


BY_NAME: dict[str, tuple[str, dict[str, Any]]] = {
    "a file": ("send_media", {"kind": "file", "path": "menu.txt"}),
    "a poll": ("send_poll", {"question": "?", "options": ["a", "b"]}),
    "a place": ("send_location", {"latitude": 1, "longitude": 1}),
    "being seen to type": ("set_typing", {"state": "typing"}),
}


@pytest.mark.parametrize("what", BY_NAME)
def test_a_saved_name_that_a_stranger_took_still_reaches_its_owner(what: str, agent: Hijacked) -> None:
    tool, arguments = BY_NAME[what]
    reached_only(agent, MUM, agent.call(tool, chat="Mum", **arguments))


@pytest.mark.parametrize("what", BY_NAME)
def test_nothing_reaches_a_stranger_by_a_name_of_his_own(what: str, agent: Hijacked) -> None:
    tool, arguments = BY_NAME[what]
    reached_only(agent, None, agent.call(tool, chat="WhatsApp Support", **arguments))


def test_no_stranger_is_mentioned_by_his_name(agent: Hijacked) -> None:
    assert not agent.call("send_text", chat=MAYA, text="hello @", mentions=["WhatsApp Support"])[0]
    assert agent.judge.effects() == []


def test_no_stranger_gets_into_a_group_by_his_name(agent: Hijacked) -> None:
    assert not agent.call("create_group", subject="Friends", participants=["Landlord"])[0]
    assert agent.judge.effects() == []


def test_a_list_of_candidates_says_who_chose_a_name(agent: Hijacked) -> None:
    done, said = agent.call("send_text", chat="Landlord", text="rent")
    assert not done
    assert "calls themselves 'Landlord'" in said


# Groups and channels


def test_a_group_that_took_a_saved_name_gets_nothing_by_it(agent: Hijacked) -> None:
    agent.judge.ask("PUT", f"/api/default/groups/{kestrel(agent.judge)}/subject", {"subject": "Yuki Tanaka 田中 🌸"})
    agent.call("save_contact", contact="12025550160@c.us", first_name="Harbor", last_name="Dental Clinic")
    agent.judge.forget()
    outcome = agent.call("send_text", chat="Yuki Tanaka 田中", text="for Yuki")
    reached_only(agent, "61491570156@c.us", outcome)


def test_an_own_group_of_a_saved_name_gets_nothing_by_it(agent: Hijacked) -> None:
    agent.judge.ask("POST", "/api/default/groups", {"name": "Jonas Becker 🚲", "participants": [{"id": MAYA}]})
    agent.call("save_contact", contact="12025550160@c.us", first_name="Harbor", last_name="Dental Clinic")
    agent.judge.forget()
    outcome = agent.call("send_text", chat="jonas becker", text="for Jonas")
    reached_only(agent, "491713920028@c.us", outcome)


def test_an_own_channel_of_a_saved_name_gets_nothing_by_it(agent: Hijacked) -> None:
    agent.judge.ask("POST", "/api/default/channels", {"name": "Amina 🌙"})
    agent.judge.ask("POST", "/api/default/channels", {"name": "Lior"})
    agent.call("save_contact", contact="33639980017@c.us", first_name="Amina", last_name="")
    agent.judge.forget()
    reached_only(agent, "33639980017@c.us", agent.call("send_text", chat="amina", text="for Amina"))


def test_a_group_that_others_made_gets_nothing_by_its_subject_before_we_wrote_in_it(agent: Hijacked) -> None:
    unwritten = []
    for group in groups(agent.judge):
        chat, owner = str(group.get("id") or group["JID"]), group.get("owner") or group.get("OwnerPN") or ""
        rows = agent.judge.get(f"/api/default/chats/{chat}/messages?limit=200&downloadMedia=false")
        if "12025550100" not in owner and not any(row["fromMe"] for row in rows):
            unwritten.append(subject_of(group))
    assert unwritten
    for subject in unwritten:
        assert not agent.call("send_text", chat=subject, text="hello all")[0]
    assert agent.judge.effects() == []


# What a result says


def test_a_result_names_whom_it_reached_in_the_owners_words(agent: Hijacked) -> None:
    done, said = agent.call("send_text", chat="mum", text="where are you?")
    assert done
    assert "Mum" in json.dumps(json.loads(said), ensure_ascii=False)
    assert "+12025550102" in said


def test_a_result_says_where_a_name_is_not_the_owners(agent: Hijacked) -> None:
    done, said = agent.call("send_text", chat="141555501017@c.us", text="who is this?")
    assert done
    assert "calls themselves" in said


@pytest.mark.parametrize("who", ["a stranger's group", "another contact"])
def test_the_saved_name_of_a_sealed_chat_goes_to_nobody_else(who: str, sandbox: SandboxInfo, tmp_path: Path) -> None:
    sealed, other = "12025550101@c.us", "12025550177@c.us"
    policy = f'[chats]\nread = {{ deny = ["{sealed}"] }}\n{FAST}'
    with hijacked(sandbox, tmp_path, policy) as agent:
        rows = agent.judge.get("/api/contacts/all?session=default&limit=500")
        [name] = [row["name"] for row in rows if row["id"] == sealed]
        if who == "another contact":
            agent.judge.ask("PUT", f"/api/default/contacts/{other}", {"firstName": name.upper(), "lastName": ""})
        else:
            group = agent.judge.ask("POST", "/sandbox/groups", {"subject": name, "from": ATTACKER})
            agent.judge.write(group["id"], "hello all")
        agent.judge.forget()
        done, said = agent.call("send_text", chat=name, text="for that one only")
        assert not done, said
        assert agent.judge.reached() == []
