"""What could not be read is requested in smaller pages, and if it stays missing, the answer says so."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import unquote

import anyio
import pytest
from mcp import MCPError
from mcp.types import PromptReference

from tests.harness import Admin, app_for, memory_client
from tests.sandbox.box import group_id
from waha_mcp.bridge import Bridge
from waha_mcp.sandbox import SandboxInfo
from waha_mcp.server.protocol import Protocol
from waha_mcp.tools.catalog import ArgumentError
from waha_mcp.waha.errors import WahaError

pytestmark = pytest.mark.anyio

MAYA, SAM = "447700900142@c.us", "12025550123@c.us"
CONTACTS, GROUPS, CHATS = "/api/contacts/all", "/api/default/groups", "/api/default/chats"
OVERVIEW = "/api/default/chats/overview"
MIB = 2**20
#: The maximum size of an answer here, in bytes; a larger one would only take longer.
MOST = MIB

#: The tools that show the content of one source, with valid arguments.
SHOWS: dict[str, tuple[str, dict[str, Any]]] = {
    CONTACTS: ("get_contacts", {"limit": 100}),
    GROUPS: ("list_groups", {}),
    OVERVIEW: ("list_chats", {"limit": 100}),
    CHATS: ("find_chats", {"query": "a"}),
}
#: Ways in which a source cannot be read, and the text about each.
FAILURES: dict[str, tuple[dict[str, Any], str]] = {
    "always too large": ({"oversize": MOST + MIB}, "WAHA's answer was too large"),
    "failing inside": ({"status": 500, "body": "{}"}, "WAHA had an internal error (500)"),
    "cut off": ({"malformed": True}, "WAHA's answer is not valid JSON"),
    "no body": ({"status": 200, "body": ""}, "WAHA's answer is not a list of"),
    "an error that says 200": ({"body": '{"error": {"code": 1}}'}, "WAHA's answer is not a list of"),
    "rows in no known form": ({"body": '[{"x": 1}, {"x": 2}]'}, "none that this version can read"),
    "not in this engine": ({"status": 501, "body": '{"message": "not by \'WPP\' engine"}'}, "this engine cannot"),
}


@pytest.fixture(autouse=True)
def small_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("waha_mcp.waha.responses.MAX_JSON", MOST)


async def ask(bridge: Bridge, tool: str, **arguments: Any) -> Any:
    return (await bridge.call(tool, arguments)).model_dump(mode="json", exclude_none=True)


async def limits(admin: Admin, path: str) -> list[int]:
    """The page sizes that were requested under a path."""
    queries = [r["query"] for r in await admin.requests() if unquote(r["path"]) == path]
    return [int(part.removeprefix("limit=")) for q in queries for part in q.split("&") if part.startswith("limit=")]


async def spoil(admin: Admin, path: str, **fault: Any) -> None:
    """Make every request for exactly this path fail."""
    await admin.clear()
    await admin.fault(f"*{path}", **fault)


@pytest.mark.parametrize("path", SHOWS)
@pytest.mark.slow
async def test_a_page_that_is_too_large_comes_in_smaller_ones(
    path: str, sandbox: SandboxInfo, bridge: Bridge, admin: Admin
) -> None:
    tool, arguments = SHOWS[path]
    expected = await ask(bridge, tool, **arguments)
    assert expected[next(iter(expected))]
    async with Bridge(app_for(sandbox, sandbox.keys["read_send"])) as other:
        await other.key.settle()
        await spoil(admin, f"{path}*", above=7, count=1000, oversize=MOST + MIB)
        assert await ask(other, tool, **arguments) == expected
    asked = await limits(admin, path)
    assert asked[0] > 7
    assert asked[-1] <= 7


async def test_groups_whose_descriptions_fill_more_than_one_answer_are_all_there(bridge: Bridge, admin: Admin) -> None:
    made = [await _big_group(admin, f"Archive {number}", MOST // 10) for number in range(12)]
    await admin.clear()
    found = await ask(bridge, "find_chats", query="Archive", limit=20)
    assert {chat["id"] for chat in found["chats"]} >= set(made)
    assert "not_told" not in found
    assert (await ask(bridge, "get_messages", chat="archive 7"))["chat"] == made[7]
    asked = await limits(admin, GROUPS)
    assert asked[0] == 2000
    assert min(asked) < 12


@pytest.mark.slow
async def test_a_group_that_no_answer_can_hold_is_said_to_be_missing(bridge: Bridge, admin: Admin) -> None:
    before = len((await ask(bridge, "list_groups"))["groups"])
    await _big_group(admin, "Archive", MOST + MIB)
    bridge.people.expire()
    found = await ask(bridge, "list_groups")
    assert len(found["groups"]) >= before
    assert found["not_told"] == ["groups: 1 left out: WAHA's answer was too large"]
    assert 1 in await limits(admin, GROUPS)


async def _big_group(admin: Admin, subject: str, size: int) -> str:
    created = await admin.request("POST", GROUPS, {"name": subject, "participants": [{"id": SAM}]})
    big = group_id(created)
    await admin.request("PUT", f"{GROUPS}/{big}/description", {"description": "x" * size})
    return big


@pytest.mark.parametrize("failure", FAILURES)
async def test_contacts_that_cannot_be_read_are_not_said_to_be_none(failure: str, bridge: Bridge, admin: Admin) -> None:
    fault, why = FAILURES[failure]
    await spoil(admin, CONTACTS, count=1000, **fault)
    contacts = await ask(bridge, "get_contacts")
    assert contacts["contacts"] == []
    [said] = contacts["not_told"]
    assert said.startswith("contacts: ")
    assert why in said
    assert (await ask(bridge, "find_chats", query="zzyzx"))["not_told"] == [said]
    assert [f"names of {said}"] == (await ask(bridge, "list_chats"))["not_told"]
    assert CONTACTS in [r["path"] for r in await admin.requests()]


@pytest.mark.parametrize("failure", FAILURES)
async def test_groups_that_cannot_be_listed_are_shown_from_the_chats_and_the_rest_said_to_be_missing(
    failure: str, bridge: Bridge, admin: Admin
) -> None:
    fault, why = FAILURES[failure]
    await spoil(admin, GROUPS, count=1000, **fault)
    found = await ask(bridge, "list_groups")
    assert found["groups"]
    assert all(group["subject"] for group in found["groups"])
    [said] = found["not_told"]
    assert said.startswith("groups: ")
    assert why in said


@pytest.mark.parametrize("failure", [each for each in FAILURES if each != "not in this engine"])
async def test_a_name_is_not_said_to_be_nobodys_while_not_all_names_are_known(
    failure: str, bridge: Bridge, admin: Admin
) -> None:
    await spoil(admin, CONTACTS, count=1000, **FAILURES[failure][0])
    for name in ("Maya Lindqvist", "Zzyzx Qwrtpl"):
        with pytest.raises(ArgumentError) as refusal:
            await bridge.call("send_text", {"chat": name, "text": "Hi"})
        assert "among what could be read (not known: contacts: " in str(refusal.value)
        assert "nobody goes by" not in str(refusal.value)
        assert "is nobody's name" not in str(refusal.value)
    assert "/api/sendText" not in [r["path"] for r in await admin.requests()]
    assert (await ask(bridge, "get_messages", chat=MAYA))["chat"] == MAYA


async def test_a_subject_is_not_taken_for_a_group_where_somebody_may_be_saved_under_it(
    bridge: Bridge, admin: Admin
) -> None:
    await spoil(admin, CONTACTS, count=1000, status=500)
    with pytest.raises(ArgumentError, match="1 found with the name 'Project Kestrel' among") as refusal:
        await bridge.call("send_text", {"chat": "Project Kestrel", "text": "Hi"})
    assert "@g.us" in str(refusal.value)
    assert "/api/sendText" not in [r["path"] for r in await admin.requests()]
    # For reading, it is enough.
    assert (await ask(bridge, "get_messages", chat="Project Kestrel"))["chat"].endswith("@g.us")


async def test_a_saved_name_comes_before_groups_that_could_not_be_read(bridge: Bridge, admin: Admin) -> None:
    await spoil(admin, GROUPS, count=1000, status=500)
    await bridge.call("send_text", {"chat": "Maya Lindqvist", "text": "Hi"})
    assert [r["body"]["chatId"] for r in await admin.requests() if r["path"] == "/api/sendText"] == [MAYA]


async def test_what_an_engine_cannot_list_does_not_take_the_other_names_away(bridge: Bridge, admin: Admin) -> None:
    await admin.request("POST", "/sandbox/engine", {"lacks": ["GroupsController_getGroups"]})
    assert (await ask(bridge, "get_messages", chat="Maya Lindqvist"))["chat"] == MAYA
    assert (await ask(bridge, "list_groups"))["not_told"] == ["groups: this engine cannot list them"]


async def test_what_failed_is_known_again_when_waha_can_be_read(
    bridge: Bridge, admin: Admin, monkeypatch: pytest.MonkeyPatch
) -> None:
    await spoil(admin, CONTACTS, count=1, status=500)
    assert "not_told" in await ask(bridge, "get_contacts")
    assert "not_told" in await ask(bridge, "get_contacts")
    monkeypatch.setattr("waha_mcp.people.filling.GAP_LIFE", 0.0)
    found = await ask(bridge, "get_contacts")
    assert found["contacts"]
    assert "not_told" not in found


async def test_where_no_name_at_all_can_be_read_the_error_goes_up(bridge: Bridge, admin: Admin) -> None:
    for path in (CONTACTS, GROUPS, CHATS):
        await admin.fault(path, count=1000, status=500)
    with pytest.raises(WahaError, match="500"):
        await bridge.call("list_groups", {})


async def test_a_list_of_chats_ends_where_waha_gives_the_same_page_for_ever(sandbox: SandboxInfo, admin: Admin) -> None:
    page = await admin.request("GET", f"{OVERVIEW}?limit=3")
    hidden = app_for(
        sandbox, sandbox.keys["read"], chats={"read": {"allow": [SAM], "deny": [row["id"] for row in page]}}
    )
    async with Bridge(hidden) as bridge:
        await bridge.key.settle()
        await spoil(admin, OVERVIEW, count=1000, body=json.dumps(page))
        with anyio.fail_after(10):
            found = await ask(bridge, "list_chats", limit=2)
            assert (await ask(bridge, "get_unread"))["chats"] == []
    assert found["chats"] == []
    assert found["not_told"] == ["chats: WAHA gave the same page again"]
    assert len(await limits(admin, OVERVIEW)) < 6


@pytest.mark.slow
async def test_a_chat_is_read_in_smaller_pages_where_they_are_too_large(
    sandbox: SandboxInfo, bridge: Bridge, admin: Admin
) -> None:
    for tool, arguments in {
        "get_messages": {"chat": MAYA, "limit": 50},
        "search_messages": {"query": "the", "chat": MAYA, "limit": 50},
        "get_unread": {},
    }.items():
        expected = await ask(bridge, tool, **arguments)
        if tool == "get_unread":
            await spoil(admin, OVERVIEW, above=5, count=1000, oversize=MOST + MIB)
        else:
            await admin.clear()
            await admin.fault(f"/api/default/chats/{MAYA}/messages", above=20, count=1000, oversize=MOST + MIB)
        assert await ask(bridge, tool, **arguments) == expected
        asked = await limits(admin, OVERVIEW if tool == "get_unread" else f"/api/default/chats/{MAYA}/messages")
        assert asked[0] > 20
        assert asked[-1] <= 20
        await admin.request("DELETE", "/sandbox/faults")


async def test_unread_messages_that_cannot_be_read_are_said_to_be_missing(bridge: Bridge, admin: Admin) -> None:
    [first, *_] = (await ask(bridge, "get_unread"))["chats"]
    await admin.fault(f"/api/default/chats/{first['id']}/messages", count=1000, status=500)
    found = await ask(bridge, "get_unread")
    assert (
        f"more messages of {first['id']}: WAHA or a proxy in front of it had an internal error (500)"
        in found["not_told"]
    )
    assert len(found["chats"][0]["messages"]) <= 1


@pytest.mark.parametrize("body", ["", "null", "{}", "[null]"])
async def test_one_chat_whose_messages_are_no_list_takes_no_other_away(bridge: Bridge, admin: Admin, body: str) -> None:
    [first, *others] = (await ask(bridge, "get_unread"))["chats"]
    await admin.fault(
        f"/api/default/chats/{first['id']}/messages", count=1, body=body, status=200, content_type="application/json"
    )
    found = await ask(bridge, "get_unread")
    assert found["chats"][1:] == others
    assert f"more messages of {first['id']}: WAHA's answer is not a list of messages" in found["not_told"]


async def test_a_search_names_the_chats_that_it_could_not_search(bridge: Bridge, admin: Admin) -> None:
    # Reading all chats at once fails, so it goes chat by chat.
    await admin.fault("/api/default/chats/all/messages", count=1000, status=501, body="{}")
    await admin.fault(f"/api/default/chats/{MAYA}/messages", count=1000, status=500)
    await spoil(admin, CHATS, above=3, count=1, status=500)
    found = await ask(bridge, "search_messages", query="zzyzx")
    assert found["hits"] == []
    assert "chats: WAHA or a proxy in front of it had an internal error (500)" in found["not_told"]
    bridge.people.expire()
    found = await ask(bridge, "search_messages", query="zzyzx")
    assert f"messages of {MAYA}: WAHA or a proxy in front of it had an internal error (500)" in found["not_told"]


@pytest.mark.parametrize(
    ("tool", "arguments", "path"),
    [
        ("get_group", {"group": "120363999999999999@g.us"}, "/api/default/groups/*"),
        ("get_message", {"message_id": f"false_{MAYA}_AAAA"}, f"/api/default/chats/{MAYA}/messages/*"),
        ("get_media", {"message_id": f"false_{MAYA}_AAAA"}, f"/api/default/chats/{MAYA}/messages/*"),
        ("get_channel", {"channel": "120363000000000001@newsletter"}, "/api/default/channels/*"),
        ("get_contact", {"contact": MAYA}, "/api/default/contacts/*"),
        ("get_profile_picture", {"chat": MAYA}, "/api/contacts/profile-picture"),
        ("match_hidden_id", {"contact": MAYA}, "/api/default/lids/*"),
        ("get_messages", {"chat": MAYA}, f"/api/default/chats/{MAYA}/messages"),
        ("search_messages", {"query": "x", "chat": MAYA}, f"/api/default/chats/{MAYA}/messages"),
        ("list_labels", {}, "/api/default/labels"),
        ("list_labeled_chats", {"label_id": "1"}, "/api/default/labels/*"),
        ("list_channels", {}, "/api/default/channels"),
        ("get_presence", {}, "/api/default/presence"),
        ("get_presence", {"chat": MAYA}, "/api/default/presence/*"),
        ("get_limits", {}, "/api/sessions/default/*"),
        ("list_hidden_ids", {}, "/api/default/lids"),
        ("list_participants", {"group": "120363999999999999@g.us"}, "/api/default/groups/*"),
    ],
)
@pytest.mark.parametrize("body", ["true", '"text"', '[{"x": 1}]', '{"error": {"code": 1}}'])
async def test_an_answer_in_no_known_form_does_not_say_that_there_is_none(
    tool: str, arguments: dict[str, Any], path: str, body: str, sandbox: SandboxInfo, admin: Admin
) -> None:
    async with Bridge(app_for(sandbox, sandbox.keys["read"], toolsets=frozenset({"all"}))) as bridge:
        await bridge.call("list_chats", {"limit": 1})
        await admin.clear()
        # A person's "about" text is requested separately if the engine has it.
        await admin.request("POST", "/sandbox/engine", {"lacks": ["ContactsController_getAbout"]})
        await admin.fault(path, count=1000, body=body)
        with pytest.raises(WahaError, match=r"WAHA's (answer is not |list of .* none that this version)") as error:
            await bridge.call(tool, arguments)
        assert "there is no" not in str(error.value).lower()
        assert "has no " not in str(error.value)


async def test_completions_say_that_there_may_be_more_and_errors_go_up(sandbox: SandboxInfo, admin: Admin) -> None:
    bridge = Bridge(app_for(sandbox, sandbox.keys["read"]))
    prompt = PromptReference(type="ref/prompt", name="draft_reply")
    async with bridge, memory_client(Protocol(lambda _: bridge).server, "auto") as client:
        await bridge.key.settle()
        await spoil(admin, GROUPS, count=1000, status=500)
        completion = (await client.complete(prompt, {"name": "chat", "value": "maya"})).completion
        # Values that `resolve` accepts while somebody else may have the name.
        assert MAYA in completion.values
        assert completion.has_more is True
        for path in (CONTACTS, CHATS):
            await admin.fault(path, count=1000, status=500)
        bridge.people.expire()
        with pytest.raises(MCPError, match="500"):
            await client.complete(prompt, {"name": "chat", "value": "maya"})
