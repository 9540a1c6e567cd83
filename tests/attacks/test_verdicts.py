"""What a refusal proves about a key, and what an unreadable answer proves about a name."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.attacks.front import Front, answer
from tests.attacks.hijacked import FAST, FRIEND, SEALED, SECRET, VICTIM, Hijacked, hijacked
from tests.attacks.judge import Judge
from waha_mcp.sandbox import SandboxInfo

#: Fetch names anew for each call.
ANEW = (
    "import waha_mcp.people.filling as filling\n"
    "filling.LIFE = filling.MISS_LIFE = filling.GAP_LIFE = filling.OLDEST = 0.0\n"
)


# Refusals


@pytest.fixture(scope="module")
def serving(sandbox: SandboxInfo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hijacked]:
    with hijacked(sandbox, tmp_path_factory.mktemp("verdicts"), "media_links = true\n" + FAST, first=ANEW) as agent:
        yield agent


@pytest.fixture
def agent(serving: Hijacked) -> Iterator[Hijacked]:
    serving.judge.no_faults()
    serving.judge.forget()
    yield serving
    serving.judge.no_faults()


FORBIDDEN = '{"statusCode": 403, "message": "Forbidden resource", "error": "Forbidden"}'
PAGE = {"status": 403, "body": "<html>Blocked", "content_type": "text/html"}
WAHAS = {"status": 403, "body": FORBIDDEN}

#: One operation that is refused, and a call that uses it.
SIDE: dict[str, tuple[str, tuple[str, dict[str, Any]], dict[str, Any]]] = {
    "contacts": ("/api/contacts/all", ("get_contacts", {}), WAHAS),
    "chats": ("/api/default/chats*", ("list_chats", {}), WAHAS),
    "messages": (f"/api/default/chats/{FRIEND}/messages", ("get_messages", {"chat": FRIEND}), WAHAS),
    "a picture": ("/api/contacts/profile-picture", ("get_profile_picture", {"chat": FRIEND}), WAHAS),
    "groups": ("/api/default/groups", ("list_groups", {}), WAHAS),
    "a send": ("/api/sendText", ("send_text", {"chat": FRIEND, "text": "refused"}), WAHAS),
    "a file": ("/api/sendFile", ("send_media", {"chat": FRIEND, "kind": "file", "path": "menu.txt"}), WAHAS),
    "chats, by a proxy": ("/api/default/chats*", ("list_chats", {}), PAGE),
    "a send, by a proxy": ("/api/sendText", ("send_text", {"chat": FRIEND, "text": "blocked"}), PAGE),
    "a poll, by a proxy": (
        "/api/sendPoll", ("send_poll", {"chat": FRIEND, "question": "?", "options": ["a", "b"]}), PAGE,
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", SIDE)
def test_one_refused_operation_takes_no_action_away(what: str, agent: Hijacked) -> None:
    path, (tool, arguments), how = SIDE[what]
    agent.judge.fault(path, count=20, **how)
    assert not agent.call(tool, **arguments)[0]
    agent.judge.no_faults()
    assert agent.listed() == agent.tools
    text = f"after {what} was refused"
    assert agent.call("get_messages", chat=FRIEND)[0]
    assert agent.call("send_text", chat=FRIEND, text=text)[0]
    assert agent.judge.delivered(FRIEND, text) == 1


def test_a_refused_link_to_media_takes_no_action_away(agent: Hijacked) -> None:
    rows = agent.judge.get("/api/default/chats/all/messages?limit=500&downloadMedia=false")
    message = next(row["id"] for row in rows if row["hasMedia"])
    agent.judge.fault("/api/keys/media", count=20, **WAHAS)
    agent.judge.forget()
    assert not agent.call("get_media", message_id=message)[0]
    assert any(r["path"] == "/api/keys/media" for r in agent.judge.requests())
    agent.judge.no_faults()
    assert agent.listed() == agent.tools
    assert agent.call("get_messages", chat=FRIEND)[0]


LOSSES: dict[str, dict[str, Any]] = {
    "send": {"actions": {"read": True}},
    "read": {"actions": {"send": True}},
    "everything": {"actions": {}},
    "being active": {"isActive": False},
}


@pytest.mark.parametrize("what", LOSSES)
def test_a_real_loss_takes_the_tools_away(what: str, sandbox: SandboxInfo, tmp_path: Path) -> None:
    body = {"isAdmin": False, "session": "default", "isActive": True, "actions": {"read": True, "send": True}}
    with closing(Judge(sandbox)) as hand:
        key = hand.ask("POST", "/api/keys", body)
        with hijacked(sandbox, tmp_path, FAST, key=key["key"]) as agent:
            # The reads at start-up are over.
            assert agent.call("list_chats")[0]
            hand.ask("PUT", f"/api/keys/{key['id']}", body | LOSSES[what])
            hand.forget()
            calls = [("list_chats", {}), ("send_text", {"chat": FRIEND, "text": f"lost {what}"})]
            outcomes = [agent.call(tool, **arguments)[0] for tool, arguments in calls]
            kept = agent.listed()
            assert outcomes == [what == "send", what == "read"]
            assert ("list_chats" in kept, "send_text" in kept) == (what == "send", what == "read")
            assert hand.delivered(FRIEND, f"lost {what}") == (what == "read")


def test_an_admin_key_does_nothing(sandbox: SandboxInfo, tmp_path: Path) -> None:
    with hijacked(sandbox, tmp_path, FAST, key=sandbox.admin_key) as agent:
        agent.judge.forget()
        for tool, arguments in (("send_text", {"chat": FRIEND, "text": "as admin"}), ("list_chats", {})):
            assert not agent.call(tool, **arguments)[0]
        assert agent.judge.effects() == []


# What could not be read


Page = Callable[[socket.socket, Callable[[], bytes]], None]
TOO_LARGE = answer(b'["' + b"x" * (11 * 2**20) + b'"]')


def without(name: str) -> Page:
    """A list of WAHA whose pages with this name in them are too large."""

    def do(connection: socket.socket, hand_on: Callable[[], bytes]) -> None:
        whole = hand_on()
        connection.sendall(TOO_LARGE if json.dumps(name)[1:-1].encode() in whole or name.encode() in whole else whole)

    return do


def always(what: bytes) -> Page:
    return lambda connection, _: connection.sendall(what)


LISTS = {
    "is too large": always(TOO_LARGE),
    "cannot be read": always(answer(b"[{]")),
    "is a page of a proxy": always(answer(b"<html>", kind="text/html")),
    "has rows that are none": always(answer(b'[["x"], ["y"]]')),
    "fails inside": always(answer(b"{}", "500 Oops")),
}  # fmt: skip


@pytest.mark.parametrize("how", ["leaves out a person", "is too large", "fails inside"])
def test_a_name_on_the_list_that_forbids_forbids_where_the_list_of_contacts(
    how: str, sandbox: SandboxInfo, way: Front, tmp_path: Path
) -> None:
    way.rules["GET /api/contacts/all"] = LISTS[how] if how in LISTS else without("Robert Rivers")
    policy = f'[chats]\nsend = {{ deny = ["Dad 👨‍🔧"] }}\n{FAST}'
    with hijacked(sandbox, tmp_path, policy, url=way.url) as agent:
        agent.judge.forget()
        for chat in (SEALED, "+1 202 555 0101", "Dad"):
            assert not agent.call("send_text", chat=chat, text=SECRET)[0]
        assert agent.judge.effects() == []
    assert way.hits
    way.rules.clear()


def test_a_name_on_the_list_that_allows_allows_nobody_where_contacts_are_left_out(
    sandbox: SandboxInfo, way: Front, tmp_path: Path
) -> None:
    # One of two people with this name cannot be read.
    way.rules["GET /api/contacts/all"] = without("anna.schmidt")
    policy = f'[chats]\nsend = {{ allow = ["Anna Schmidt"] }}\n{FAST}'
    with hijacked(sandbox, tmp_path, policy, url=way.url) as agent:
        agent.judge.forget()
        for chat in ("491713920011@c.us", "493023125042@c.us", "Anna Schmidt", VICTIM):
            assert not agent.call("send_text", chat=chat, text=SECRET)[0]
        assert agent.judge.effects() == []
    way.rules.clear()


@pytest.fixture(scope="module")
def by_name(sandbox: SandboxInfo, way: Front, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hijacked]:
    """An agent that fetches names anew for each call, behind `way`."""
    with hijacked(sandbox, tmp_path_factory.mktemp("by-name"), FAST, url=way.url, first=ANEW) as agent:
        yield agent


@pytest.mark.parametrize("how", ["leaves out a person", *LISTS])
def test_a_name_that_another_may_have_reaches_nobody_where_the_list_of_contacts(
    how: str, by_name: Hijacked, way: Front
) -> None:
    way.rules["GET /api/contacts/all"] = LISTS[how] if how in LISTS else without("anna.schmidt")
    by_name.judge.forget()
    for name in ("Anna Schmidt", "Sam Okafor", "Mum"):
        if (name, how) == ("Sam Okafor", "leaves out a person"):
            continue
        done, said = by_name.call("send_text", chat=name, text=f"{how} {name}")
        assert not done
        assert "not known: contacts" in said
    assert by_name.judge.effects() == []
    way.rules.clear()


def test_a_group_is_not_taken_for_the_only_one_where_groups_cannot_be_read(by_name: Hijacked, way: Front) -> None:
    way.rules["GET /api/default/groups"] = without("Project Kestrel")
    by_name.judge.forget()
    assert not by_name.call("send_text", chat="Sunday Hikers", text="only this one?")[0]
    assert by_name.judge.effects() == []
    way.rules.clear()


@pytest.mark.parametrize("how", ["is too large", "is a page of a proxy", "has rows that are none"])
@pytest.mark.parametrize("tool", ["get_contacts", "find_chats"])
def test_nobody_is_said_not_to_be_there_where_the_list_of_contacts(
    how: str, tool: str, by_name: Hijacked, way: Front
) -> None:
    way.hits.clear()
    way.rules["GET /api/contacts/all"] = LISTS[how]
    done, said = by_name.call(tool, **({"query": "Nina"} if tool == "find_chats" else {}))
    assert way.hits
    way.rules.clear()
    assert not done or "not_told" in said, said
