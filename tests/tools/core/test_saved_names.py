"""For effects only names resolve that the account's owner gave: what strangers call themselves gets them nothing."""

from __future__ import annotations

from typing import Any

import anyio
import anyio.lowlevel
import pytest

from tests.harness import Admin, app_for, worded
from tests.sandbox.box import group_id
from tests.tools.core.test_names import ask
from waha_mcp.app.policy_fields import Chats
from waha_mcp.bridge import Bridge
from waha_mcp.policy import Refusal
from waha_mcp.sandbox import ANSWERING_CHAT, SandboxInfo
from waha_mcp.tools.catalog import ArgumentError
from waha_mcp.waha.errors import OutcomeUnknown

pytestmark = pytest.mark.anyio

MUM, STRANGER = "12025550102@c.us", "12025550187@c.us"


async def stranger(admin: Admin, name: str, chat: str = STRANGER) -> None:
    """A stranger who calls himself so writes to the account."""
    message = {"chatId": chat, "text": "It's me", "pushName": name}
    await admin.request("POST", "/sandbox/messages", message)


async def sent_to(admin: Admin) -> list[str]:
    return [r["body"]["chatId"] for r in await admin.requests() if r["path"] == "/api/sendText"]


@pytest.mark.parametrize("written", ["Mum", "mum", "MUM", "Mum ❤️", " Mum ", "M u m", "Mum 👩🏽‍🦱", "❤️ Mum"])
@pytest.mark.parametrize("chosen", ["Mum", "Mum ❤️", "mum"])
async def test_a_saved_name_reaches_who_is_saved_under_it_whoever_else_takes_it(
    written: str, chosen: str, bridge: Bridge, admin: Admin
) -> None:
    await stranger(admin, chosen)
    result = await bridge.call("send_text", {"chat": written, "text": "Hello"})
    assert await sent_to(admin) == [MUM]
    assert worded(result)["reached"] == ["Mum ❤️ (+12025550102)"]
    assert "others" not in worded(result)


@pytest.mark.parametrize("chosen", ["Zora Blum", "Bank of Nowhere"])
async def test_a_name_that_only_its_owner_chose_reaches_nobody(chosen: str, bridge: Bridge, admin: Admin) -> None:
    await stranger(admin, chosen)
    with pytest.raises(ArgumentError, match="nobody is saved under exactly") as told:
        await bridge.call("send_text", {"chat": chosen, "text": "Hello"})
    assert f"{STRANGER}: person who calls themselves '{chosen}'" in str(told.value)
    assert await sent_to(admin) == []
    # For reading, the name is enough.
    assert (await ask(bridge, "get_messages", chat=chosen, limit=1))["chat"] == STRANGER


async def test_candidates_are_the_saved_ones_first_then_by_likeness(bridge: Bridge, admin: Admin) -> None:
    await stranger(admin, "Sam Okafo")
    with pytest.raises(ArgumentError) as told:
        await bridge.call("send_text", {"chat": "Sam Okafo", "text": "Hello"})
    lines = str(told.value).splitlines()[1:]
    assert lines[0].startswith(f"- {ANSWERING_CHAT}: person saved as 'Sam Okafor'")
    assert any(line.startswith(f"- {STRANGER}: person who calls themselves") for line in lines)


@pytest.mark.parametrize("written", ["M\u0443m", "\u041cum", "Mum1", "Mumm", "MÜM", "Mum\u200b", "Ｍｕｍ"])
async def test_letters_that_only_look_alike_are_other_letters(written: str, bridge: Bridge, admin: Admin) -> None:
    with pytest.raises(ArgumentError):
        await bridge.call("send_text", {"chat": written, "text": "Hello"})
    assert await sent_to(admin) == []


async def test_two_who_are_saved_alike_are_told_apart_by_the_user(bridge: Bridge, admin: Admin) -> None:
    with pytest.raises(ArgumentError, match="2 go by the name"):
        await bridge.call("send_text", {"chat": "anna schmidt", "text": "Hello"})
    assert await sent_to(admin) == []


async def rename(admin: Admin, chat: str, first: str, last: str = "") -> None:
    """Save a person under a name, as the owner does on the phone."""
    await admin.request("PUT", f"/api/default/contacts/{chat}", {"firstName": first, "lastName": last})


async def test_a_name_that_was_saved_for_somebody_else_meanwhile_is_theirs(
    bridge: Bridge, admin: Admin, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bridge.call("find_chats", {"query": "mum"})
    await rename(admin, MUM, "Mother")
    await rename(admin, ANSWERING_CHAT, "Mum")
    monkeypatch.setattr("waha_mcp.people.filling.MISS_LIFE", 0.0)
    result = await bridge.call("send_text", {"chat": "Mum", "text": "Hello"})
    assert await sent_to(admin) == [ANSWERING_CHAT]
    assert worded(result)["reached"] == ["Mum (+12025550123)"]
    await bridge.call("send_text", {"chat": "Mother", "text": "Hello"})
    assert await sent_to(admin) == [ANSWERING_CHAT, MUM]


async def test_a_name_that_was_taken_from_somebody_meanwhile_reaches_nobody(
    bridge: Bridge, admin: Admin, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bridge.call("find_chats", {"query": "mum"})
    await rename(admin, MUM, "Mother")
    await stranger(admin, "Mum")
    monkeypatch.setattr("waha_mcp.people.filling.MISS_LIFE", 0.0)
    with pytest.raises(ArgumentError, match="nobody is saved under exactly"):
        await bridge.call("send_text", {"chat": "Mum", "text": "Hello"})
    assert await sent_to(admin) == []


# Changes of names


async def contacts_read(admin: Admin) -> int:
    return [r["path"] for r in await admin.requests()].count("/api/contacts/all")


@pytest.mark.parametrize("fault", [None, {"status": 500, "body": "{}"}], ids=["done", "unknown"])
async def test_names_are_read_anew_after_a_change_whatever_came_of_it(
    fault: dict[str, Any] | None, sandbox: SandboxInfo, admin: Admin
) -> None:
    app = app_for(sandbox, sandbox.keys["read_send"], toolsets=frozenset({"all"}))
    async with Bridge(app) as bridge:
        await bridge.call("find_chats", {"query": "mum"})
        if fault:
            await admin.fault(f"/api/default/contacts/{MUM}", **fault)
        await admin.clear()
        call = bridge.call("save_contact", {"contact": MUM, "first_name": "Mother"})
        if fault:
            with pytest.raises(OutcomeUnknown):
                await call
        else:
            await call
        assert await contacts_read(admin) == 0
        await bridge.call("find_chats", {"query": "mum"})
        assert await contacts_read(admin) == 1


async def test_a_refused_change_causes_no_names_to_be_read_anew(sandbox: SandboxInfo, admin: Admin) -> None:
    chats = Chats.model_validate({"send": {"allow": []}})
    app = app_for(sandbox, sandbox.keys["read_send"], toolsets=frozenset({"all"}), chats=chats)
    async with Bridge(app) as bridge:
        await bridge.call("find_chats", {"query": "mum"})
        await admin.clear()
        with pytest.raises(Refusal):
            await bridge.call("create_group", {"subject": "Chess", "participants": [MUM]})
        await bridge.call("find_chats", {"query": "mum"})
        assert await contacts_read(admin) == 0


async def test_a_reader_does_not_wait_while_an_old_table_is_read_anew(
    bridge: Bridge, admin: Admin, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bridge.call("find_chats", {"query": "mum"})
    await rename(admin, MUM, "Mother")
    monkeypatch.setattr("waha_mcp.people.filling.LIFE", 0.0)
    found: Any = await bridge.call("find_chats", {"query": "mum"})
    assert found.chats[0].name == "Mum ❤️"
    with anyio.fail_after(5):
        while bridge.directory.name(MUM) != "Mother":
            await anyio.lowlevel.checkpoint()


# Groups


async def make_group(admin: Admin, subject: str, *, ours: bool) -> str:
    """A group with that subject; without `ours`, somebody else made it and the account has not written in it."""
    if not ours:
        return str((await admin.request("POST", "/sandbox/groups", {"subject": subject, "from": STRANGER}))["id"])
    body = {"name": subject, "participants": [{"id": STRANGER}]}
    return group_id(await admin.request("POST", "/api/default/groups", body))


async def test_a_group_under_a_saved_name_does_not_get_in_its_way(bridge: Bridge, admin: Admin) -> None:
    await make_group(admin, "Mum", ours=True)
    await bridge.call("send_text", {"chat": "Mum", "text": "Hello"})
    assert await sent_to(admin) == [MUM]


async def test_a_group_that_the_account_made_goes_by_its_subject(bridge: Bridge, admin: Admin) -> None:
    group = await make_group(admin, "Chess 4", ours=True)
    result = await bridge.call("send_text", {"chat": "chess 4", "text": "Hello"})
    assert await sent_to(admin) == [group]
    [said] = worded(result)["reached"]
    assert said.startswith("the group “Chess 4” (")
    assert "others" in worded(result)


async def test_a_group_that_others_made_goes_by_its_subject_once_the_account_has_written_there(
    bridge: Bridge, admin: Admin
) -> None:
    group = await make_group(admin, "Free money", ours=False)
    with pytest.raises(ArgumentError, match="nobody is saved under"):
        await bridge.call("send_text", {"chat": "Free money", "text": "Hello"})
    assert await sent_to(admin) == []
    await bridge.call("send_text", {"chat": group, "text": "Hello"})
    await bridge.call("send_text", {"chat": "Free money", "text": "Hello again"})
    assert await sent_to(admin) == [group, group]


async def test_only_waha_can_say_that_the_account_wrote_there(bridge: Bridge, admin: Admin) -> None:
    group = await make_group(admin, "Free money", ours=False)
    await bridge.call("send_text", {"chat": group, "text": "Hello"})
    await admin.fault(f"/api/default/chats/{group}/messages", status=500, body="{}", count=20)
    with pytest.raises(ArgumentError, match="nobody is saved under"):
        await bridge.call("send_text", {"chat": "Free money", "text": "Hello again"})
