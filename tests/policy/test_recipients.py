"""Whom the agent can reach and read."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from tests.harness import Admin
from tests.policy.common import DAD, MAYA, SAM, STRANGER, bridge_with, effects, lid_of, send
from waha_mcp.policy import Refusal
from waha_mcp.policy.settings import PolicyFields
from waha_mcp.sandbox import SandboxInfo
from waha_mcp.waha.errors import WahaError

pytestmark = pytest.mark.anyio

#: What the App says, and whether a text to a chat then passes.
RULES: dict[str, tuple[dict[str, Any], str, bool]] = {
    "no rule": ({}, STRANGER, True),
    "everyone": (send(["*"]), STRANGER, True),
    "an empty list is nobody": (send([]), SAM, False),
    "a listed id": (send([SAM]), SAM, True),
    "a listed number": (send(["+1 (202) 555-0123"]), SAM, True),
    "another number": (send([SAM]), MAYA, False),
    "a saved name": (send(["Sam Okafor"]), SAM, True),
    "a saved name in other case": (send(["sam  OKAFOR"]), SAM, True),
    "another's saved name": (send(["Sam Okafor"]), MAYA, False),
    "a name with a look-alike letter": (send(["S\u0430m Okafor"]), SAM, False),
    "a name that somebody chose for themselves": (send(["Swift Parcels"]), "12025550182@c.us", False),
    "a name that two have": (send(["Anna Schmidt"]), "491713920011@c.us", False),
    "all people": (send(["people"]), STRANGER, True),
    "all groups is no people": (send(["groups"]), SAM, False),
    "deny wins over everyone": (send(["*"], deny=[SAM]), SAM, False),
    "deny wins over the same id": (send([SAM], deny=[SAM]), SAM, False),
    "deny leaves others": (send(["*"], deny=[SAM]), MAYA, True),
    "a denied name": (send(["*"], deny=["Sam Okafor"]), SAM, False),
    "a denied name that nobody has denies everybody": (send(["*"], deny=["Nobody Atall"]), SAM, False),
    "a denied kind": (send(["*"], deny=["people"]), SAM, False),
    "another writing of a denied Brazilian number": (send(deny=["+55 11 98765-4321"]), "551187654321@c.us", False),
    "another writing of a denied Mexican number": (send(deny=["5215512345678@c.us"]), "525512345678@c.us", False),
    "existing chats only, a known one": ({"chats": {"existing_only": True}}, SAM, True),
    "existing chats only, a new one": ({"chats": {"existing_only": True}}, STRANGER, False),
}


@pytest.mark.parametrize("case", RULES)
async def test_a_text_goes_only_where_the_lists_allow(case: str, sandbox: SandboxInfo, admin: Admin) -> None:
    fields, chat, passes = RULES[case]
    async with bridge_with(sandbox, **fields) as bridge:
        await admin.clear()
        if passes:
            await bridge.call("send_text", {"chat": chat, "text": "Hello"})
            assert await effects(admin) == ["/api/sendText"]
        else:
            with pytest.raises(Refusal, match="may not write"):
                await bridge.call("send_text", {"chat": chat, "text": "Hello"})
            assert await effects(admin) == []


@pytest.mark.parametrize(("listed", "passes"), [("allow", True), ("deny", False)])
@pytest.mark.parametrize("swapped", [False, True])
async def test_a_person_is_the_same_under_both_ids(
    listed: str, passes: bool, swapped: bool, sandbox: SandboxInfo, admin: Admin
) -> None:
    ids = [SAM, await lid_of(admin, SAM)]
    on_list, written = reversed(ids) if swapped else ids
    async with bridge_with(sandbox, **send(**{listed: [on_list]})) as bridge:
        call = bridge.call("send_text", {"chat": written, "text": "Hello"})
        if passes:
            await call
        else:
            with pytest.raises(Refusal):
                await call


async def test_a_hidden_id_that_cannot_be_told_from_a_denied_number_is_refused(sandbox: SandboxInfo) -> None:
    async with bridge_with(sandbox, key="send", **send(deny=[DAD])) as bridge:
        with pytest.raises(Refusal):
            await bridge.call("send_text", {"chat": "99999999999999@lid", "text": "Hello"})
        await bridge.call("send_text", {"chat": SAM, "text": "Hello"})


@pytest.mark.parametrize("failure", [{"status": 500}, {"status": 501}, {"malformed": True}, {"body": "[]"}], ids=str)
async def test_a_number_that_waha_does_not_match_with_a_denied_hidden_id_is_refused(
    failure: dict[str, Any], sandbox: SandboxInfo, admin: Admin
) -> None:
    lid = await lid_of(admin, SAM)
    await admin.clear()
    await admin.fault("/api/default/lids/*", count=10_000, **failure)
    async with bridge_with(sandbox, **send(deny=[lid])) as bridge:
        for number in (SAM, DAD):
            with pytest.raises(Refusal):
                await bridge.call("send_text", {"chat": number, "text": "Hello"})
        assert await effects(admin) == []
        assert any("/lids/" in r["path"] for r in await admin.requests())
        # Once WAHA tells whose it is, the others can be reached again.
        await admin.request("DELETE", "/sandbox/faults")
        await bridge.call("send_text", {"chat": DAD, "text": "Hello"})
        with pytest.raises(Refusal):
            await bridge.call("send_text", {"chat": SAM, "text": "Hello"})


async def test_a_chat_under_a_number_that_may_be_a_denied_hidden_id_is_not_read(
    sandbox: SandboxInfo, admin: Admin
) -> None:
    lid = await lid_of(admin, SAM)
    await admin.clear()
    await admin.fault("/api/default/lids", count=10_000, body="[]")
    async with bridge_with(sandbox, chats={"read": {"deny": [lid]}}) as bridge:
        with pytest.raises(Refusal):
            await bridge.call("get_messages", {"chat": SAM})
        assert any("/lids" in r["path"] for r in await admin.requests())
        await admin.request("DELETE", "/sandbox/faults")
        await bridge.call("get_messages", {"chat": DAD})
        with pytest.raises(Refusal):
            await bridge.call("get_messages", {"chat": SAM})


async def test_hidden_ids_that_cannot_be_read_let_nothing_be_read_under_a_list(
    sandbox: SandboxInfo, admin: Admin
) -> None:
    await admin.fault("/api/default/lids", count=10_000, status=500)
    async with bridge_with(sandbox, chats={"read": {"deny": [DAD]}}) as bridge:
        with pytest.raises(WahaError, match="500"):
            await bridge.call("list_chats", {})


async def test_saved_contacts_of_a_list_come_in_smaller_pages(sandbox: SandboxInfo, admin: Admin) -> None:
    await admin.clear()
    await admin.fault("/api/contacts/all", above=7, count=10_000, oversize=11 * 2**20)
    async with bridge_with(sandbox, **send(["Sam Okafor"])) as bridge:
        await bridge.call("send_text", {"chat": SAM, "text": "Hello"})
        with pytest.raises(Refusal):
            await bridge.call("send_text", {"chat": DAD, "text": "Hello"})
    pages = [r["query"] for r in await admin.requests() if r["path"] == "/api/contacts/all"]
    assert "limit=2000" in pages[0]
    assert "limit=7&" in "".join(pages)


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        ({"status": 501, "body": "{}"}, "this engine cannot list them"),
        ({"above": 0, "oversize": 11 * 2**20}, None),
    ],
    ids=["unsupported", "too large"],
)
async def test_a_name_of_which_it_is_not_known_whom_it_means_allows_nobody(
    fault: dict[str, Any], why: str | None, sandbox: SandboxInfo, admin: Admin
) -> None:
    await admin.clear()
    await admin.fault("/api/contacts/all", count=10_000, **fault)
    async with bridge_with(sandbox, **send(["Sam Okafor"])) as bridge:
        with pytest.raises(Refusal if why else WahaError):
            await bridge.call("send_text", {"chat": SAM, "text": "Hello"})
        assert await effects(admin) == []
        told = (await bridge.call("get_status", {})).model_dump()["reach"]
        if why:
            assert f"not looked up, because the contacts could not all be read ({why}): Sam Okafor" in told
        else:
            assert "not looked up: Sam Okafor" in told
        assert "no saved contact" not in told


async def test_a_saved_name_is_open_while_others_may_have_it(
    sandbox: SandboxInfo, admin: Admin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("waha_mcp.waha.rows.MOST", 10)
    async with bridge_with(sandbox, **send(["Sam Okafor", "Maya Lindqvist"])) as bridge:
        for chat in (SAM, MAYA):
            with pytest.raises(Refusal):
                await bridge.call("send_text", {"chat": chat, "text": "Hello"})
        told = (await bridge.call("get_status", {})).model_dump()["reach"]
        assert "only the first 10 of them were read" in told
    assert await effects(admin) == []


@pytest.mark.parametrize("body", ["", "{}", '{"error": {"code": 1}}', "[{}]", "true"])
async def test_an_answer_that_is_no_list_of_messages_is_no_chat_that_exists(
    body: str, sandbox: SandboxInfo, admin: Admin
) -> None:
    await admin.clear()
    await admin.fault("/api/default/chats/*/messages", count=10_000, body=body)
    async with bridge_with(sandbox, chats={"existing_only": True}) as bridge:
        with pytest.raises(Refusal):
            await bridge.call("send_text", {"chat": SAM, "text": "Hello"})
    assert await effects(admin) == []
    assert any("/messages" in r["path"] for r in await admin.requests())


async def test_names_of_a_key_that_cannot_read_are_nobody(sandbox: SandboxInfo) -> None:
    async with bridge_with(sandbox, key="send", **send(["Sam Okafor"])) as bridge:
        with pytest.raises(Refusal):
            await bridge.call("send_text", {"chat": SAM, "text": "Hello"})


async def test_a_mention_reaches_whom_it_names(sandbox: SandboxInfo, admin: Admin) -> None:
    async with bridge_with(sandbox, **send([SAM])) as bridge:
        await admin.clear()
        with pytest.raises(Refusal, match=DAD):
            await bridge.call("send_text", {"chat": SAM, "text": "@12025550101", "mentions": [DAD]})
        assert await effects(admin) == []


async def test_a_quote_from_a_chat_that_may_not_be_reached_is_refused(sandbox: SandboxInfo) -> None:
    async with bridge_with(sandbox, **send([SAM])) as bridge:
        with pytest.raises(Refusal):
            await bridge.call(
                "send_text", {"chat": SAM, "text": "See", "reply_to": f"false_{DAD}_3EB0C767D26A1B2E5F4C"}
            )


async def test_a_quote_from_a_chat_that_may_not_be_read_is_refused(sandbox: SandboxInfo) -> None:
    async with bridge_with(sandbox, chats={"read": {"deny": [DAD]}}) as bridge:
        with pytest.raises(Refusal):
            await bridge.call(
                "send_text", {"chat": SAM, "text": "See", "reply_to": f"false_{DAD}_3EB0C767D26A1B2E5F4C"}
            )


async def test_reactions_and_read_marks_are_held_to_the_same_lists(sandbox: SandboxInfo, admin: Admin) -> None:
    async with bridge_with(sandbox, **send([SAM])) as bridge:
        await admin.clear()
        for tool, arguments in {
            "react": {"message_id": f"false_{DAD}_3EB0C767D26A1B2E5F4C", "emoji": "👍"},
            "mark_read": {"chat": DAD},
        }.items():
            with pytest.raises(Refusal):
                await bridge.call(tool, arguments)
        assert await effects(admin) == []


async def test_a_chat_that_may_not_be_read_is_answered_as_if_there_were_none(sandbox: SandboxInfo) -> None:
    async with bridge_with(sandbox, chats={"read": {"allow": [SAM]}}) as bridge:
        refusals = set()
        for chat in (DAD, STRANGER, await lid_of_any(bridge)):
            with pytest.raises(Refusal) as refusal:
                await bridge.call("get_messages", {"chat": chat})
            refusals.add(str(refusal.value))
        assert len(refusals) == 1
        assert await bridge.call("get_messages", {"chat": SAM})


async def lid_of_any(bridge: Any) -> str:
    rows = await bridge.waha.call("GET /api/{session}/lids", query={"limit": 50})
    return next(str(row["lid"]) for row in rows if row["pn"] == DAD)


async def test_a_chat_that_may_not_be_read_may_not_be_tidied_away(sandbox: SandboxInfo, admin: Admin) -> None:
    async with bridge_with(sandbox, chats={"read": {"deny": [DAD]}}) as bridge:
        bridge.app = bridge.app.model_copy(update={"toolsets": frozenset({"all"})})
        await admin.clear()
        for tool in ("archive_chat", "mark_unread", "delete_chat"):
            with pytest.raises(Refusal, match="no such chat"):
                await bridge.call(tool, {"chat": DAD})
        assert await effects(admin) == []


async def test_status_and_summary_say_in_one_line_who_can_be_reached(sandbox: SandboxInfo) -> None:
    fields: dict[str, Any] = {"chats": {"send": {"allow": [SAM, "groups"], "ask": ["people"]}, "read": {"deny": [DAD]}}}
    async with bridge_with(sandbox, approval="first_contact", **fields) as bridge:
        status = await bridge.call("get_status", {})
        told = status.model_dump()["reach"]
        assert told == (
            "can write to all groups and 1 listed chat, after approval to all people; "
            "can read everyone but not 1 listed chat; approval: first_contact"
        )


@pytest.mark.parametrize(
    "fields",
    [
        {"chats": {"send": {"allow": [""]}}},
        {"chats": {"send": {"allow": ["12345@nowhere"]}}},
        {"chats": {"send": {"allow": ["0151 1234567"]}}},
        {"chats": {"send": {"allow": "everyone"}}},
        {"chats": {"send": {"only": [SAM]}}},
        {"chats": {"write": {}}},
        {"chats": {"read": {"ask": ["*"]}}},
        {"approval": "sometimes"},
        {"pace": {"total": "20 per minute"}},
        {"pace": {"total": "0/minute"}},
        {"pace": {"gap": [3, 1]}},
        {"humanize": "yes"},
        {"audit": "everything"},
    ],
    ids=str,
)
def test_a_broken_policy_does_not_load(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        PolicyFields.model_validate(fields)


def test_asking_about_some_does_not_allow_the_others() -> None:
    assert PolicyFields.model_validate(send(ask=["groups"])).chats.send.allow == ()
