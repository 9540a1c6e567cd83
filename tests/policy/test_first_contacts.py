"""First contacts: to whom this account has sent messages, and who else counts when one is sent."""

from __future__ import annotations

from typing import Any

import pytest

from tests.harness import Admin, with_buttons
from tests.policy.common import MAYA, SAM, STRANGER, bridge_with, cannot_write, effects
from tests.policy.test_gate import every_tool, refused
from waha_mcp.policy.question import Question
from waha_mcp.sandbox import SandboxInfo
from waha_mcp.sandbox.contract import contract
from waha_mcp.tools.catalog import CATALOG, Tool
from waha_mcp.tools.toolsets import load_tools
from waha_mcp.waha.models import Sent

pytestmark = pytest.mark.anyio

load_tools()

FIRST: dict[str, Any] = {"approval": "first_contact", "pace": {"first_contacts": "", "gap": [0, 0]}}
ME = "12025550100@c.us"


async def yes(question: Question) -> bool | None:
    return True


@pytest.fixture(autouse=True)
async def whole(admin: Admin) -> None:
    """An engine that lacks nothing."""
    await admin.request("POST", "/sandbox/engine", {"has": [operation.id for operation in contract().operations]})


async def strangers_message(admin: Admin, **more: Any) -> str:
    answer = await admin.request("POST", "/sandbox/messages", {"chatId": STRANGER, "text": "Hello"} | more)
    return str(answer["id"])


async def own_group(admin: Admin, *people: str) -> str:
    body = {"name": "Chess", "participants": [{"id": each} for each in people]}
    made = await admin.request("POST", "/api/default/groups", body)
    return str(made.get("id") or made["JID"])


async def others_group(admin: Admin, *members: str) -> str:
    """A group of somebody else's with these strangers in it."""
    made = await admin.request("POST", "/sandbox/groups", {"subject": "New", "from": SAM})
    people = {"participants": [{"id": each} for each in members]}
    if members:
        await admin.request("POST", f"/api/default/groups/{made['id']}/participants/add", people)
    return str(made["id"])


NO_MESSAGE: dict[str, dict[str, Any]] = {
    "mark_read": {"chat": STRANGER},
    "set_typing": {"chat": STRANGER},
    "react": {"message_id": "MESSAGE", "emoji": "👍"},
    "save_contact": {"contact": STRANGER, "first_name": "A"},
    "block_contact": {"contact": STRANGER, "blocked": False},
    "create_group": {"subject": "Go", "participants": [STRANGER]},
    "add_participants": {"group": "GROUP", "people": [STRANGER]},
    "remove_participants": {"group": "GROUP", "people": [STRANGER]},
    "set_group_admins": {"group": "GROUP", "people": [STRANGER]},
    "pin_message": {"message_id": "MESSAGE"},
    "post_text_status": {"text": "Hi", "people": [STRANGER]},
}


@pytest.mark.parametrize("tool", NO_MESSAGE)
async def test_what_is_no_message_opens_no_way_to_one(tool: str, sandbox: SandboxInfo, admin: Admin) -> None:
    named = {"MESSAGE": await strangers_message(admin), "GROUP": await own_group(admin, STRANGER)}
    arguments = {k: named.get(v, v) if isinstance(v, str) else v for k, v in NO_MESSAGE[tool].items()}
    async with bridge_with(sandbox, "full", **FIRST) as bridge:
        every_tool(bridge)
        await bridge.call(tool, arguments, ask=yes)
        await admin.clear()
        await refused(bridge, "send_text", {"chat": STRANGER, "text": "Hello"}, "waiting for approval")
        assert await effects(admin) == []


async def test_who_is_mentioned_got_no_message_and_the_chat_has_one(sandbox: SandboxInfo, admin: Admin) -> None:
    group = await others_group(admin)
    async with bridge_with(sandbox, **FIRST) as bridge:
        await bridge.call("send_text", {"chat": group, "text": "@12025550199", "mentions": [STRANGER]}, ask=yes)
        await refused(bridge, "send_text", {"chat": STRANGER, "text": "Hello"}, "waiting for approval")
        await bridge.call("send_text", {"chat": group, "text": "And another"})
        await bridge.call("send_text", {"chat": STRANGER, "text": "Hello"}, ask=yes)
        await bridge.call("send_text", {"chat": STRANGER, "text": "Hello again"})


async def test_a_button_that_was_pressed_is_a_message(sandbox: SandboxInfo, admin: Admin) -> None:
    message = await strangers_message(admin, raw=with_buttons("Yes", "No"))
    async with bridge_with(sandbox, **FIRST) as bridge:
        every_tool(bridge)
        press = {"message_id": message, "label": "Yes"}
        await bridge.call("reply_to_buttons", press, ask=yes)
        await bridge.call("send_text", {"chat": STRANGER, "text": "Hello again"})


def pace(first: str) -> dict[str, Any]:
    return {"pace": {"total": "", "chat": "", "first_contacts": first, "gap": [0, 0]}}


OTHERS = ["12025550191@c.us", "12025550192@c.us", "12025550193@c.us"]


@pytest.mark.parametrize(
    ("first", "members", "left"),
    [
        ("4/hour", 0, 3),
        ("4/hour", 1, 2),
        ("4/hour", 2, 1),
        ("4/hour", 3, 0),
        # As many as may pass at once, so that a group can be written to at all.
        ("2/hour", 3, 0),
        ("1/hour", 3, 0),
        ("3/hour; 2/minute", 3, 0),
        ("2/minute; 9/hour", 1, 0),
    ],
)
async def test_the_people_of_a_group_count_when_it_is_first_written_to(
    first: str, members: int, left: int, sandbox: SandboxInfo, admin: Admin
) -> None:
    group = await others_group(admin, *OTHERS[:members])
    async with bridge_with(sandbox, **pace(first)) as bridge:
        # A recipient of a message is no stranger.
        bridge.policy._people.remember(SAM)
        await bridge.call("send_text", {"chat": group, "text": "Hello all"})
        await bridge.call("send_text", {"chat": group, "text": "Hello again"})
        for number in range(left):
            await bridge.call("send_text", {"chat": f"1415555018{number}@c.us", "text": "Hello"})
        await refused(bridge, "send_text", {"chat": STRANGER, "text": "Hello"}, "too fast")


async def test_each_person_who_is_put_into_a_group_counts(sandbox: SandboxInfo, admin: Admin) -> None:
    async with bridge_with(sandbox, **pace("2/hour")) as bridge:
        every_tool(bridge)
        await admin.clear()
        await refused(bridge, "create_group", {"subject": "Go", "participants": OTHERS}, "too fast")
        assert await effects(admin) == []
        await bridge.call("create_group", {"subject": "Go", "participants": OTHERS[:2]})
        await refused(bridge, "send_text", {"chat": STRANGER, "text": "Hello"}, "too fast")


async def test_what_is_no_message_in_a_group_looks_at_none_of_its_people(sandbox: SandboxInfo, admin: Admin) -> None:
    group = await others_group(admin, *OTHERS)
    async with bridge_with(sandbox, **pace("2/hour")) as bridge:
        await admin.clear()
        await bridge.call("mark_read", {"chat": group})
        assert [r["path"] for r in await admin.requests() if "participants" in r["path"]] == []
        await bridge.call("send_text", {"chat": STRANGER, "text": "Hello"})


async def test_who_was_written_to_before_a_restart_is_no_stranger_in_a_group(
    sandbox: SandboxInfo, admin: Admin
) -> None:
    group = await others_group(admin, *OTHERS[:2])
    limit = pace("4/hour")
    async with bridge_with(sandbox, **limit) as bridge:
        for each in (SAM, *OTHERS[:2]):
            await bridge.call("send_text", {"chat": each, "text": "Hello"})
    async with bridge_with(sandbox, **limit) as bridge:
        await bridge.call("send_text", {"chat": group, "text": "Hello all"})
        await bridge.call("send_text", {"chat": "14155550180@c.us", "text": "Hello"})
        await refused(bridge, "send_text", {"chat": STRANGER, "text": "Hello"}, "too fast")


async def test_who_was_written_to_while_the_store_was_away_is_no_first_contact(
    sandbox: SandboxInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    cannot_write(monkeypatch, "met")
    async with bridge_with(sandbox, "send", approval="first_contact") as bridge:
        await bridge.call("send_text", {"chat": STRANGER, "text": "Hello"}, ask=yes)
        await bridge.call("send_text", {"chat": STRANGER, "text": "Hello again"})


async def test_a_key_that_does_not_read_asks_for_nobody_in_a_group(sandbox: SandboxInfo, admin: Admin) -> None:
    group = await others_group(admin, *OTHERS)
    async with bridge_with(sandbox, "send", **pace("2/hour")) as bridge:
        await admin.clear()
        await bridge.call("send_text", {"chat": group, "text": "Hello all"})
        assert [r["path"] for r in await admin.requests() if "participants" in r["path"]] == []
        await bridge.call("send_text", {"chat": STRANGER, "text": "Hello"})


@pytest.mark.parametrize("failure", [{"status": 500}, {"status": 501, "body": "{}"}], ids=str)
async def test_a_group_whose_people_are_not_told_counts_as_one(
    failure: dict[str, Any], sandbox: SandboxInfo, admin: Admin
) -> None:
    group = await others_group(admin, *OTHERS)
    async with bridge_with(sandbox, **pace("2/hour")) as bridge:
        await admin.fault(f"/api/default/groups/{group}/participants/v2", count=10, **failure)
        await bridge.call("send_text", {"chat": group, "text": "Hello all"})
        await bridge.call("send_text", {"chat": STRANGER, "text": "Hello"})
        await refused(bridge, "send_text", {"chat": MAYA[:-6] + "3@c.us", "text": "Hello"}, "too fast")


@pytest.mark.parametrize("tool", [each for each in CATALOG.values() if each.result is Sent], ids=lambda tool: tool.name)
def test_what_sends_a_message_names_the_one_chat_that_gets_it_or_is_a_story(tool: Tool) -> None:
    assert len(tool.posted_in) == (0 if tool.reaches == "status" else 1)
    for name in tool.posted_in:
        assert tool.input_schema["properties"][name]["type"] == "string"


def test_what_sends_no_message_names_no_chat_that_gets_one() -> None:
    assert [tool.name for tool in CATALOG.values() if tool.result is not Sent and tool.posted_in] == []


# Who opens a group to others


OPENS: dict[str, tuple[str, dict[str, Any], bool]] = {
    "members may add": ("set_group_setting", {"setting": "members_can_add", "on": True}, True),
    "members may not add": ("set_group_setting", {"setting": "members_can_add", "on": False}, False),
    "no approval": ("set_group_setting", {"setting": "approval_required", "on": False}, True),
    "approval": ("set_group_setting", {"setting": "approval_required", "on": True}, False),
    "all may write": ("set_group_setting", {"setting": "only_admins_send", "on": False}, False),
    "all may edit": ("set_group_setting", {"setting": "only_admins_edit_info", "on": False}, False),
    "an admin": ("set_group_admins", {"people": [SAM]}, True),
    "no admin": ("set_group_admins", {"people": [SAM], "admin": False}, False),
    "the link": ("get_invite_link", {}, True),
    "a new link": ("revoke_invite_link", {}, True),
    "joining": ("join_group", {"invite": "https://chat.whatsapp.com/AbCdEfGhIjKlMnOpQrStUv"}, True),
}


@pytest.mark.parametrize("what", OPENS)
async def test_what_opens_a_group_to_others_reaches_everyone_and_what_closes_it_does_not(
    what: str, sandbox: SandboxInfo, admin: Admin
) -> None:
    tool, arguments, opens = OPENS[what]
    group = await own_group(admin, SAM)
    if tool != "join_group":
        arguments = {"group": group, **arguments}
    async with bridge_with(sandbox, "full", chats={"send": {"allow": ["groups", "people"]}}) as bridge:
        every_tool(bridge)
        await admin.clear()
        if opens:
            assert "may not write to everyone" in await refused(bridge, tool, arguments, "recipient refused")
            assert [r["path"] for r in await admin.requests() if "/groups/" in r["path"]] == []
        else:
            await bridge.call(tool, arguments)
            assert await effects(admin) != []
    if opens and tool != "join_group":
        async with bridge_with(sandbox, "full", chats={"send": {"allow": ["groups", "people", "public"]}}) as bridge:
            every_tool(bridge)
            await bridge.call(tool, arguments)
