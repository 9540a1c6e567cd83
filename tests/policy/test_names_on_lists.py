"""A name on one of the App's lists means whoever has that name among the saved contacts now, not at the start."""

from __future__ import annotations

from typing import Any

import pytest

from tests.harness import Admin
from tests.policy.common import MAYA, SAM, STRANGER, bridge_with, effects, send
from waha_mcp.people import filling
from waha_mcp.policy import NOT_FOUND, Refusal
from waha_mcp.sandbox import SandboxInfo
from waha_mcp.waha.errors import WahaError

NAME = "Maya Lindqvist"


@pytest.fixture(autouse=True)
def _ten_seconds_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """A table read before a call is too old to say whom a name means."""
    monkeypatch.setattr(filling, "MISS_LIFE", 0.0)
    monkeypatch.setattr("waha_mcp.policy.recipients.MISS_LIFE", 0.0)


async def save(admin: Admin, chat: str, name: str) -> None:
    """Save a contact on the phone."""
    await admin.request("PUT", f"/api/default/contacts/{chat}", {"firstName": name, "lastName": ""})


async def test_who_lost_the_name_is_not_reached_by_it(sandbox: SandboxInfo, admin: Admin) -> None:
    async with bridge_with(sandbox, **send([NAME])) as bridge:
        await bridge.call("send_text", {"chat": MAYA, "text": "before"})
        await save(admin, MAYA, "Old number")
        await admin.clear()
        with pytest.raises(Refusal, match="may not write"):
            await bridge.call("send_text", {"chat": MAYA, "text": "after"})
    assert await effects(admin) == []


async def test_who_got_the_name_is_reached_by_it(sandbox: SandboxInfo, admin: Admin) -> None:
    async with bridge_with(sandbox, **send([NAME])) as bridge:
        with pytest.raises(Refusal, match="may not write"):
            await bridge.call("send_text", {"chat": STRANGER, "text": "before"})
        await save(admin, MAYA, "Old number")
        await save(admin, STRANGER, NAME)
        await bridge.call("send_text", {"chat": STRANGER, "text": "after"})


async def test_who_got_a_name_that_is_denied_is_denied(sandbox: SandboxInfo, admin: Admin) -> None:
    async with bridge_with(sandbox, **send(deny=[NAME])) as bridge:
        await bridge.call("send_text", {"chat": STRANGER, "text": "before"})
        await save(admin, MAYA, "Old number")
        await save(admin, STRANGER, NAME)
        await admin.clear()
        with pytest.raises(Refusal, match="may not write"):
            await bridge.call("send_text", {"chat": STRANGER, "text": "after"})
    assert await effects(admin) == []


async def test_a_denied_name_that_several_have_by_now_forbids_everybody(sandbox: SandboxInfo, admin: Admin) -> None:
    async with bridge_with(sandbox, **send(deny=[NAME])) as bridge:
        await bridge.call("send_text", {"chat": STRANGER, "text": "before"})
        await save(admin, STRANGER, NAME)
        with pytest.raises(Refusal, match="may not write"):
            await bridge.call("send_text", {"chat": STRANGER, "text": "after"})


async def test_who_has_a_name_is_looked_up_by_one_row_where_nothing_changed(sandbox: SandboxInfo, admin: Admin) -> None:
    async with bridge_with(sandbox, **send([NAME])) as bridge:
        await bridge.call("send_text", {"chat": MAYA, "text": "one"})
        await admin.clear()
        await bridge.call("send_text", {"chat": MAYA, "text": "two"})
    assert "/api/contacts/all" not in [each["path"] for each in await admin.requests()]


async def test_a_chat_that_is_readable_by_name_follows_the_name(
    sandbox: SandboxInfo, admin: Admin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filling, "LIFE", 0.0)
    monkeypatch.setattr(filling, "OLDEST", 0.0)
    async with bridge_with(sandbox, chats={"read": {"allow": [NAME]}}) as bridge:
        await bridge.call("get_messages", {"chat": MAYA})
        await save(admin, MAYA, "Old number")
        with pytest.raises(Refusal, match=NOT_FOUND):
            await bridge.call("get_messages", {"chat": MAYA})


async def test_names_allow_nobody_where_it_cannot_be_told_any_more_whom_they_mean(
    sandbox: SandboxInfo, admin: Admin
) -> None:
    async with bridge_with(sandbox, **send([NAME])) as bridge:
        await bridge.call("send_text", {"chat": MAYA, "text": "before"})
        await admin.fault("/api/contacts*", status=500, count=100)
        await admin.clear()
        with pytest.raises(WahaError):
            await bridge.call("send_text", {"chat": MAYA, "text": "after"})
    assert await effects(admin) == []


NAMED: dict[str, dict[str, Any]] = {
    "on the list of chats that may be read": {"chats": {"read": {"allow": ["Sam Okafor"]}}},
    "on the list of chats that may not be read": {"chats": {"read": {"deny": ["Sam Okafor"]}}},
    "on the list of recipients": {"chats": {"send": {"allow": ["Sam Okafor", "people"]}}},
    "on the list to ask about": {"chats": {"send": {"allow": ["people"], "ask": ["Sam Okafor"]}}},
}


@pytest.mark.parametrize("where", NAMED)
@pytest.mark.parametrize(
    "arguments",
    [
        {"contact": SAM, "first_name": "Sammy"},
        {"contact": MAYA, "first_name": "Sam", "last_name": "Okafor"},
        {"contact": MAYA, "first_name": "SAM OKAFOR"},
        {"contact": STRANGER, "first_name": "Sam\u00a0Okafor"},
        {"contact": MAYA, "first_name": "sam", "last_name": "okafor ❤️"},
    ],
    ids=["away", "to another", "in other case", "to a stranger", "with an emoji"],
)
async def test_a_name_on_a_list_is_moved_by_nobody_but_the_user(
    where: str, arguments: dict[str, str], sandbox: SandboxInfo, admin: Admin
) -> None:
    async with bridge_with(sandbox, toolsets=frozenset({"core", "contacts"}), **NAMED[where]) as bridge:
        await admin.clear()
        with pytest.raises(Refusal, match="whom a name on them means"):
            await bridge.call("save_contact", arguments)
        assert await effects(admin) == []


async def test_other_names_are_saved_as_before(sandbox: SandboxInfo, admin: Admin) -> None:
    chats = NAMED["on the list of chats that may be read"]
    async with bridge_with(sandbox, toolsets=frozenset({"core", "contacts"}), **chats) as bridge:
        await bridge.call("save_contact", {"contact": STRANGER, "first_name": "Priya"})


async def test_where_first_contacts_are_asked_about_names_are_too(sandbox: SandboxInfo, admin: Admin) -> None:
    async with bridge_with(sandbox, toolsets=frozenset({"core", "contacts"}), approval="first_contact") as bridge:
        await admin.clear()
        with pytest.raises(Refusal, match="waiting for approval"):
            await bridge.call("save_contact", {"contact": SAM, "first_name": "Mum"})
        assert await effects(admin) == []
