"""Names, numbers and ids of chats and people, in what tools take and in what they give."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from tests.harness import Admin, app_for
from waha_mcp.bridge import Bridge
from waha_mcp.sandbox import ANSWERING_CHAT, SandboxInfo
from waha_mcp.tools.catalog import ArgumentError

pytestmark = pytest.mark.anyio

MAYA = "447700900142@c.us"


async def ask(bridge: Bridge, tool: str, **arguments: Any) -> Any:
    return (await bridge.call(tool, arguments)).model_dump(mode="json", exclude_none=True)


@pytest.mark.parametrize(
    ("written", "chat"),
    [
        ("Maya Lindqvist", MAYA),
        ("  maya   LINDQVIST ", MAYA),
        ("Maya", MAYA),  # the name that she chose
        ("diego alvarez", "12025550148@c.us"),
        ("Mum ❤", "12025550102@c.us"),
        ("ליאור כהן", "12025550135@c.us"),
        ("+44 7700 900142", MAYA),
        ("447700900142@s.whatsapp.net", MAYA),
    ],
)
async def test_a_chat_is_named_as_people_name_it(written: str, chat: str, bridge: Bridge) -> None:
    assert (await ask(bridge, "get_messages", chat=written, limit=1))["chat"] == chat


async def test_a_group_is_named_by_its_subject(bridge: Bridge) -> None:
    found = await ask(bridge, "get_messages", chat="project kestrel", limit=1)
    assert found["chat"].endswith("@g.us")
    assert found["chat_name"] == "Project Kestrel"


@pytest.mark.parametrize(
    ("written", "candidates"),
    [
        ("Anna Schmidt", ["491713920011@c.us", "493023125042@c.us"]),  # two people
        ("Maya Lindquist", [MAYA]),  # one, but not exactly
        ("Sam", [ANSWERING_CHAT]),
        ("Mu", ["12025550102@c.us"]),
    ],
)
async def test_anything_less_than_one_exact_name_lists_who_may_be_meant_and_sends_nothing(
    written: str, candidates: list[str], bridge: Bridge, admin: Admin
) -> None:
    with pytest.raises(ArgumentError) as refusal:
        await bridge.call("send_text", {"chat": written, "text": "Hello"})
    assert str(refusal.value).startswith("chat: ")
    for each in candidates:
        assert each in str(refusal.value)
    assert "last active" in str(refusal.value)
    assert not [r for r in await admin.requests() if r["method"] == "POST"]


@pytest.mark.parametrize("written", ["0151 123456", "Zzyzx Qwrtpl", "@", "?"])
async def test_what_names_nobody_says_what_would_be_right(written: str, bridge: Bridge) -> None:
    with pytest.raises(ArgumentError) as refusal:
        await bridge.call("get_messages", {"chat": written})
    assert "+1 202 555 0123" in str(refusal.value)


async def test_people_are_named_in_lists_too(bridge: Bridge, admin: Admin) -> None:
    await bridge.call(
        "send_text", {"chat": "Project Kestrel", "text": "@447700900177 and @12025550171", "mentions": ["Priya Nair"]}
    )
    [sent] = [r for r in await admin.requests() if r["path"] == "/api/sendText"]
    assert sent["body"]["mentions"] == ["447700900177@c.us"]


async def test_a_number_is_written_to_under_its_true_id(bridge: Bridge) -> None:
    # The number is written with a 0 after the country code, which WhatsApp drops.
    assert (await ask(bridge, "send_text", chat="+44 0 7700 900142", text="Hi"))["chat"] == MAYA


async def test_a_number_that_is_not_on_whatsapp_is_not_written_to(bridge: Bridge, admin: Admin) -> None:
    with pytest.raises(ArgumentError, match="not on WhatsApp"):
        await bridge.call("send_text", {"chat": "+1 202 555 0187", "text": "Hi"})
    assert not [r for r in await admin.requests() if r["method"] == "POST"]


async def test_a_send_only_key_knows_no_names_and_says_why(sandbox: SandboxInfo, admin: Admin) -> None:
    async with Bridge(app_for(sandbox, sandbox.keys["send"])) as bridge:
        with pytest.raises(ArgumentError, match="no read action"):
            await bridge.call("send_text", {"chat": "Maya Lindqvist", "text": "Hi"})
        await admin.clear()
        assert (await ask(bridge, "send_text", chat="+44 7700 900142", text="Hi"))["chat"] == MAYA
        # The first request is for the account that the send counts for.
        assert [r["path"] for r in await admin.requests()] == ["/api/sessions", "/api/sendText"]


async def test_the_directory_is_fetched_once_for_all_who_ask_and_not_before(bridge: Bridge, admin: Admin) -> None:
    await bridge.key.settle()
    assert not [r for r in await admin.requests() if "contacts" in r["path"]]
    async with anyio.create_task_group() as tasks:
        for _ in range(8):
            tasks.start_soon(bridge.call, "find_chats", {"query": "maya"})
    assert [r["path"] for r in await admin.requests()].count("/api/contacts/all") == 1


async def test_a_name_that_is_missing_is_looked_for_anew(
    bridge: Bridge, admin: Admin, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bridge.call("find_chats", {"query": "maya"})
    await admin.request(
        "POST", "/sandbox/messages", {"chatId": "12025550199@c.us", "text": "Hi", "pushName": "Newcomer Nora"}
    )
    monkeypatch.setattr("waha_mcp.people.filling.MISS_LIFE", 0.0)
    assert (await ask(bridge, "get_messages", chat="newcomer nora"))["chat"] == "12025550199@c.us"


async def test_a_person_with_a_hidden_id_is_one_person(bridge: Bridge) -> None:
    contacts = (await ask(bridge, "get_contacts", limit=100))["contacts"]
    names = [contact.get("name") for contact in contacts]
    assert names.count("Maya Lindqvist") == 1
    hikers = await ask(bridge, "get_messages", chat="Sunday Hikers 🥾", limit=50, sender="Maya Lindqvist")
    assert hikers["messages"]
    assert {message["sender"] for message in hikers["messages"]} == {MAYA}


async def test_senders_mentions_quotes_reactions_and_votes_have_names(bridge: Bridge) -> None:
    messages = (await ask(bridge, "get_messages", chat="Sunday Hikers 🥾", limit=20, detail="full"))["messages"]
    asked = next(message for message in messages if message.get("text", "").endswith("has three, right?"))
    assert asked["sender_name"] == "Jonas Becker"
    assert asked["text"].startswith("@me ")
    assert asked["reply_to"]["sender_name"] == "Nina Vogel"
    reacted = next(message for message in messages if message.get("text") == "Great Falls it is then")
    assert reacted["reactions"][0] == {"emoji": "👍", "count": 2, "by": ["Jonas Becker", "Maya Lindqvist"]}
    [poll] = [message["poll"] for message in messages if message["kind"] == "poll"]
    assert poll["options"][1] == {
        "text": "Great Falls",
        "votes": 3,
        "voters": ["Maya Lindqvist", "Zoë 🌻 Martin", "me"],
    }


@pytest.mark.parametrize(
    ("query", "best"),
    [
        ("lindquist", "Maya Lindqvist"),
        ("zoe", "Zoë 🌻 Martin"),
        ("kestrel", "Project Kestrel"),
        ("sundy hikers", "Sunday Hikers 🥾"),
        ("dave", "Dave the plumber"),
        ("900177", "Priya Nair"),
    ],
)
async def test_find_chats_takes_typos_parts_and_digits(query: str, best: str, bridge: Bridge) -> None:
    found = (await ask(bridge, "find_chats", query=query))["chats"]
    assert (found[0].get("name") or found[0].get("calls_themselves")) == best


async def test_lists_that_are_known_whole_say_exactly_how_many_follow(bridge: Bridge) -> None:
    first = await ask(bridge, "get_contacts", limit=10)
    second = await ask(bridge, "get_contacts", limit=100, cursor=first["cursor"])
    assert first["left_out"] == len(second["contacts"])
    assert not {c["id"] for c in first["contacts"]} & {c["id"] for c in second["contacts"]}
    assert (await ask(bridge, "list_groups", limit=2))["left_out"] == 3


async def test_what_may_not_be_read_appears_in_no_list_search_or_candidate(
    sandbox: SandboxInfo,
) -> None:
    app = app_for(sandbox, sandbox.keys["read_send"], chats={"read": {"deny": [MAYA]}})
    async with Bridge(app) as bridge:
        calls: dict[str, dict[str, Any]] = {
            "list_chats": {"limit": 50},
            "get_unread": {},
            "get_contacts": {},
            "find_chats": {"query": "Maya Lindqvist"},
        }
        for tool, arguments in calls.items():
            # She may still write in a group that may be read.
            assert f'"id":"{MAYA}"' not in (await bridge.call(tool, arguments)).model_dump_json()
        with pytest.raises(ArgumentError) as refusal:
            await bridge.call("get_messages", {"chat": "Maya Lindqvist"})
        assert MAYA not in str(refusal.value)


async def test_who_has_no_name_yet_is_shown_once_by_the_one_that_they_chose(bridge: Bridge, admin: Admin) -> None:
    await bridge.call("find_chats", {"query": "maya"})
    chat = "12025550188@c.us"
    for text in ("Hi", "Are you there?"):
        await admin.request("POST", "/sandbox/messages", {"chatId": chat, "text": text, "pushName": "Newcomer Nora"})
    found = await ask(bridge, "get_messages", chat=chat, limit=5)
    assert "chat_name" not in found
    assert [each.get("calls_themselves") for each in found["messages"]] == ["Newcomer Nora", None]
    assert "sender_name" not in found["messages"][0]
