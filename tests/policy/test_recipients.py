"""Whom the agent can write to and read."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from pydantic import ValidationError

from tests.harness import Admin
from tests.policy.canned import Canned, canned
from tests.policy.common import DAD, MAYA, SAM, STRANGER, bridge_with, effects, lid_of, send
from waha_mcp.app.policy_fields import Chats, PolicyFields
from waha_mcp.people import filling
from waha_mcp.people.filling import FilledTable
from waha_mcp.people.persons import PUBLIC, STATUS, People
from waha_mcp.policy import Refusal
from waha_mcp.policy.recipients import Entries, Recipients, Verdict
from waha_mcp.sandbox import SandboxInfo
from waha_mcp.waha.errors import WahaError
from waha_mcp.whatsapp.ids import NOT_KNOWN

pytestmark = pytest.mark.anyio

#: The App's fields, and whether a text to a chat passes with them.
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
        # Once WAHA says whose it is, the others can be reached again.
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
@pytest.mark.slow
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


async def test_names_on_lists_are_nobody_for_a_key_that_cannot_read(sandbox: SandboxInfo) -> None:
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


# One list

LID, OTHER_LID = "900000000000001@lid", "900000000000002@lid"
GROUP = "120363000000000001@g.us"
OF_A_KIND = {
    "people": SAM,
    "groups": GROUP,
    "channels": "120363000000000002@newsletter",
    "broadcasts": "17@broadcast",
    "status": STATUS,
    "public": PUBLIC,
}


@pytest.mark.parametrize("kind", OF_A_KIND)
def test_a_kind_covers_its_own_and_no_other(kind: str) -> None:
    entries = Entries([kind])
    assert [each for each, chat in OF_A_KIND.items() if entries.covers(chat, None)] == [kind]
    assert [each for each, chat in OF_A_KIND.items() if entries.may_cover(chat, None)] == [kind]
    assert not any(entries.holds(chat, None) for chat in OF_A_KIND.values())
    assert str(entries) == f"all {kind}"


def test_entries_are_told_apart() -> None:
    entries = Entries(["people", SAM, LID, "Sam Okafor"])
    assert entries.ids == {SAM, LID}
    assert entries.unmatched == {LID}
    assert entries.names == {"Sam Okafor"}
    assert not entries.everyone
    assert entries
    assert not Entries([])


def test_everyone_covers_all_and_holds_nobody() -> None:
    entries = Entries(["*"])
    assert entries.names == entries.ids == set()
    assert all(entries.covers(chat, None) and not entries.holds(chat, None) for chat in OF_A_KIND.values())


@pytest.mark.parametrize(
    ("listed", "chat", "twin", "may"),
    [
        ([SAM], SAM, None, True),
        ([SAM], LID, SAM, True),
        ([SAM], DAD, None, False),
        ([SAM], OTHER_LID, DAD, False),
        ([SAM], LID, None, True),  # whose number nobody knows: it may be on the list
        ([SAM], GROUP, None, False),
        ([LID], LID, None, True),
        ([LID], SAM, LID, True),
        ([LID], SAM, None, True),  # whose hidden id nobody knows
        ([LID], DAD, OTHER_LID, False),
        ([LID], OTHER_LID, None, False),
        ([LID], GROUP, None, False),
        (["groups"], LID, None, False),
        (["12025550123@lid"], SAM, OTHER_LID, False),  # the digits of a hidden id are not a phone number
        (["Nobody Atall"], GROUP, None, True),  # a name that could not be resolved may mean anybody
        (["551187654321@c.us"], "5511987654321@c.us", None, True),
        (["5491123456789@c.us"], "541123456789@c.us", None, True),
        (["5215512345678@c.us"], "525512345678@c.us", None, True),
        (["541123456789@c.us"], "541123456780@c.us", None, False),
        ([], SAM, None, False),
        ([], LID, None, False),
    ],
)
def test_a_list_that_forbids_covers_whoever_may_be_on_it(
    listed: list[str], chat: str, twin: str | None, may: bool
) -> None:
    assert Entries(listed).may_cover(chat, twin) is may


def test_a_list_that_grows_covers_by_the_numbers_it_has_learned() -> None:
    entries = Entries([DAD])
    assert not entries.may_cover("551187654321@c.us", None)
    entries.ids.add("5511987654321@c.us")
    assert entries.may_cover("551187654321@c.us", None)


# The lists of an App, against a WAHA that gives every shape of answer


@pytest.fixture
async def waha(anyio_backend: str) -> AsyncIterator[Canned]:
    async with canned() as answers:
        answers.answers["/api/default/lids"] = []
        yield answers


async def ready(waha: Canned, *, can_read: bool = True, **rules: Any) -> Recipients:
    recipients = Recipients(Chats.model_validate(rules), People(FilledTable(waha.waha)))
    await recipients.prepare(can_read=can_read)
    return recipients


def saved(*rows: Any) -> list[Any]:
    return [*rows, {"id": DAD, "name": "Dad", "pushname": ""}]


CONTACTS = "/api/contacts/all"
SOMEBODY: dict[str, tuple[Any, bool]] = {
    "saved": ({"id": SAM, "name": "Sam Okafor"}, True),
    "said to be saved": ({"id": SAM, "name": "Sam Okafor", "isMyContact": True}, True),
    "not saved": ({"id": SAM, "name": "Sam Okafor", "isMyContact": False}, False),
    "chosen by themselves": ({"id": SAM, "pushname": "Sam Okafor"}, False),
    "no text": ({"id": SAM, "name": ["Sam Okafor"]}, False),
    "a number": ({"id": SAM, "name": 7}, False),
    "empty": ({"id": SAM, "name": ""}, False),
    "no id": ({"id": "sam", "name": "Sam Okafor"}, False),
    "null id": ({"id": None, "name": "Sam Okafor"}, False),
    "composed otherwise": ({"id": SAM, "name": " sam  okafor"}, True),
    "with an emoji": ({"id": SAM, "name": "Sam Okafor ❤️"}, True),
    "with an accent": ({"id": SAM, "name": "Sám Okafor"}, True),
    "the account itself": ({"id": SAM, "name": "Sam Okafor", "isMe": True}, True),
    "with one word more": ({"id": SAM, "name": "Sam Okafor Jr"}, False),
}


@pytest.mark.parametrize("case", SOMEBODY)
async def test_a_name_is_the_one_under_which_the_owner_saved_a_person(case: str, waha: Canned) -> None:
    row, resolved = SOMEBODY[case]
    waha.answers[CONTACTS] = saved(row)
    recipients = await ready(waha, send={"allow": ["Sam Okafor"]})
    assert await recipients.verdict(SAM) is (Verdict.NAMED if resolved else Verdict.NO)
    assert await recipients.verdict(DAD) is Verdict.NO
    assert (recipients.unresolved() is None) is resolved


async def test_a_group_of_that_name_is_no_saved_contact(waha: Canned) -> None:
    waha.answers[CONTACTS] = saved({"id": GROUP, "name": "Sam Okafor"})
    recipients = await ready(waha, send={"allow": ["Sam Okafor"]})
    assert await recipients.verdict(GROUP) is Verdict.NO
    assert recipients.unresolved() == "no saved contact, or several, called Sam Okafor"


@pytest.mark.parametrize("same", [True, False])
async def test_two_ids_of_one_name_are_one_person_only_where_waha_says_so(same: bool, waha: Canned) -> None:
    if same:
        waha.pair(LID, SAM)
    else:
        waha.pair(OTHER_LID, SAM)
        waha.pair(LID, DAD)
    waha.answers[CONTACTS] = saved({"id": SAM, "name": "Sam Okafor"}, {"id": LID, "name": "Sam Okafor"})
    recipients = await ready(waha, send={"allow": ["Sam Okafor"]})
    verdict = Verdict.NAMED if same else Verdict.NO
    assert [await recipients.verdict(chat) for chat in (SAM, LID)] == [verdict, verdict]


async def test_three_of_one_name_are_nobody(waha: Canned) -> None:
    waha.pair(LID, SAM)
    waha.answers[CONTACTS] = [{"id": each, "name": "Sam Okafor"} for each in (SAM, LID, DAD)]
    recipients = await ready(waha, send={"allow": ["Sam Okafor"]})
    assert [await recipients.verdict(chat) for chat in (SAM, LID, DAD)] == [Verdict.NO] * 3


async def test_a_denied_name_saved_under_a_hidden_id_may_be_any_number(waha: Canned) -> None:
    waha.answers[CONTACTS] = saved({"id": LID, "name": "Sam Okafor"})
    recipients = await ready(waha, send={"deny": ["Sam Okafor"]})
    assert [await recipients.verdict(chat) for chat in (LID, SAM, DAD)] == [Verdict.NO] * 3
    waha.pair(LID, SAM)
    waha.pair(OTHER_LID, DAD)
    await recipients.prepare(can_read=True)
    assert [await recipients.verdict(chat) for chat in (LID, SAM)] == [Verdict.NO] * 2
    assert await recipients.verdict(DAD) is Verdict.ALLOWED


async def test_another_writing_of_the_number_behind_a_denied_hidden_id_is_denied(waha: Canned) -> None:
    waha.pair(LID, "5511987654321@c.us")
    recipients = await ready(waha, send={"deny": [LID]})
    assert await recipients.verdict("551187654321@c.us") is Verdict.NO
    assert await recipients.verdict(SAM) is Verdict.ALLOWED


async def test_a_name_that_somebody_else_has_too_by_now_is_nobody_s(
    waha: Canned, monkeypatch: pytest.MonkeyPatch
) -> None:
    sam = {"id": SAM, "name": "Sam Okafor"}
    waha.answers |= {CONTACTS: saved(sam), "/api/contacts": sam}
    recipients = await ready(waha, send={"allow": ["Sam Okafor"]})
    assert await recipients.verdict(SAM) is Verdict.NAMED
    waha.answers[CONTACTS] = saved(sam, {"id": MAYA, "name": "Sam Okafor"})
    monkeypatch.setattr(filling, "LIFE", 0.0)
    assert await recipients.verdict(SAM) is Verdict.NO


async def test_who_lost_a_name_is_not_readable_by_it_once_the_contacts_are_too_old(
    waha: Canned, monkeypatch: pytest.MonkeyPatch
) -> None:
    waha.answers[CONTACTS] = saved({"id": SAM, "name": "Sam Okafor"})
    recipients = await ready(waha, read={"allow": ["Sam Okafor"]})
    assert recipients.readable(SAM)
    waha.answers[CONTACTS] = saved({"id": SAM, "name": "Old number"})
    monkeypatch.setattr(filling, "LIFE", 0.0)
    monkeypatch.setattr(filling, "OLDEST", 0.0)
    await recipients.prepare(can_read=True)
    assert not recipients.readable(SAM)


async def test_who_got_a_name_that_forbids_is_not_readable_once_the_contacts_are_too_old(
    waha: Canned, monkeypatch: pytest.MonkeyPatch
) -> None:
    waha.answers["/api/default/lids"] = [{"lid": LID, "pn": SAM}, {"lid": OTHER_LID, "pn": DAD}]
    waha.answers[CONTACTS] = saved({"id": SAM, "name": "Sam Okafor"})
    recipients = await ready(waha, read={"deny": ["Sam Okafor"]})
    assert [recipients.readable(each) for each in (SAM, DAD)] == [False, True]
    waha.answers[CONTACTS] = [{"id": DAD, "name": "Sam Okafor", "pushname": ""}]
    monkeypatch.setattr(filling, "LIFE", 0.0)
    monkeypatch.setattr(filling, "OLDEST", 0.0)
    await recipients.prepare(can_read=True)
    assert [recipients.readable(each) for each in (SAM, DAD)] == [True, False]


async def test_names_are_nobodys_from_when_the_key_does_not_read_any_more(
    waha: Canned, monkeypatch: pytest.MonkeyPatch
) -> None:
    waha.answers[CONTACTS] = saved({"id": SAM, "name": "Sam Okafor"})
    allowing = await ready(waha, send={"allow": ["Sam Okafor"]}, read={"allow": ["Sam Okafor"]})
    assert allowing.readable(SAM)
    forbidding = await ready(waha, send={"deny": ["Sam Okafor"]})
    monkeypatch.setattr(filling, "LIFE", 0.0)
    for path in (CONTACTS, "/api/contacts"):
        waha.answers[path] = httpx.Response(403, json={"statusCode": 403, "message": "Forbidden"})
    assert await allowing.verdict(SAM) is Verdict.NO
    assert not allowing.readable(SAM)
    assert await forbidding.verdict(DAD) is Verdict.NO


async def test_where_it_is_not_certain_who_is_saved_how_saving_counts_as_renaming(waha: Canned) -> None:
    waha.answers |= {CONTACTS: saved({"id": SAM, "name": "Sam Okafor"}), "/api/contacts": httpx.Response(422, json={})}
    recipients = await ready(waha, send={"allow": ["Sam Okafor"]})
    assert await recipients.renames(MAYA, ["Maya"])
    waha.answers["/api/contacts"] = {"id": MAYA, "name": "Maya"}
    assert not await recipients.renames(MAYA, ["Maya"])


async def test_whoever_is_not_known_may_be_read_only_where_nothing_is_limited(waha: Canned) -> None:
    assert not (await ready(waha, read={"deny": [GROUP]})).readable(NOT_KNOWN)
    assert (await ready(waha)).readable(NOT_KNOWN)


async def test_without_names_on_lists_saving_somebody_changes_none_and_asks_nothing(waha: Canned) -> None:
    recipients = await ready(waha, send={"allow": [SAM]})
    waha.asked.clear()
    assert not await recipients.renames(SAM, ["Sam Okafor"])
    assert waha.asked == []


async def test_contacts_that_cannot_be_read_are_an_error_that_leaves_names_open(waha: Canned) -> None:
    waha.answers[CONTACTS] = httpx.Response(422, json={})
    recipients = Recipients(Chats.model_validate(send(["Sam Okafor"])["chats"]), People(FilledTable(waha.waha)))
    with pytest.raises(WahaError, match="422"):
        await recipients.prepare(can_read=True)
    assert recipients.unresolved() == "not looked up: Sam Okafor"
    assert await recipients.verdict(SAM) is Verdict.NO
    waha.answers[CONTACTS] = saved({"id": SAM, "name": "Sam Okafor"})
    await recipients.prepare(can_read=True)
    assert await recipients.verdict(SAM) is Verdict.NAMED


@pytest.mark.parametrize(
    ("rules", "can_read", "asked"),
    [
        ({}, True, []),
        ({"send": {"allow": ["*"], "ask": ["Sam Okafor"]}}, True, []),
        ({"send": {"allow": ["Sam Okafor"]}}, False, []),
        ({"read": {"deny": [GROUP]}}, False, []),
        ({"send": {"allow": [GROUP]}}, True, []),
        ({"send": {"allow": [SAM]}}, True, ["/api/default/lids/pn/12025550123"]),
        ({"send": {"allow": [], "ask": ["Sam Okafor"]}}, True, [CONTACTS]),
        ({"read": {"allow": [GROUP]}}, True, ["/api/default/lids"]),
        ({"existing_only": True}, True, []),
    ],
)
async def test_only_what_the_lists_need_is_looked_up_and_once(
    rules: dict[str, Any], can_read: bool, asked: list[str], waha: Canned
) -> None:
    waha.answers[CONTACTS] = saved()
    recipients = await ready(waha, can_read=can_read, **rules)
    await recipients.prepare(can_read=can_read)
    assert waha.asked == asked


async def test_who_is_not_limited_is_looked_up_nowhere(waha: Canned) -> None:
    recipients = await ready(waha, read={"deny": [GROUP]})
    waha.asked.clear()
    assert await recipients.verdict(SAM) is Verdict.ALLOWED
    assert await (await ready(waha)).verdict(SAM) is Verdict.ALLOWED
    assert waha.asked == []


async def test_everyone_is_looked_up_nowhere(waha: Canned) -> None:
    recipients = await ready(waha, send={"allow": ["public"]})
    assert await recipients.verdict(PUBLIC) is Verdict.ALLOWED
    assert await recipients.verdict(STATUS) is Verdict.NO
    assert waha.asked == []


VERDICTS: dict[str, tuple[dict[str, Any], str, Verdict]] = {
    "by name": ({"allow": ["*", SAM]}, SAM, Verdict.NAMED),
    "by name under the other id": ({"allow": [SAM]}, LID, Verdict.NAMED),
    "as one of all": ({"allow": ["*", SAM]}, DAD, Verdict.ALLOWED),
    "as one of a kind": ({"allow": ["people"]}, DAD, Verdict.ALLOWED),
    "after a question": ({"allow": [SAM], "ask": ["people"]}, DAD, Verdict.ASK),
    "after a question, by another id": ({"allow": [], "ask": [SAM]}, LID, Verdict.ASK),
    "not asked about": ({"allow": [SAM], "ask": [DAD]}, GROUP, Verdict.NO),
    "allowed beats ask": ({"allow": [SAM], "ask": ["*"]}, SAM, Verdict.NAMED),
    "deny beats ask": ({"allow": [], "ask": ["*"], "deny": [SAM]}, SAM, Verdict.NO),
    "deny beats ask, of another": ({"allow": [], "ask": ["*"], "deny": [SAM]}, DAD, Verdict.ASK),
    "deny of a person leaves others under a hidden id": ({"deny": [SAM]}, OTHER_LID, Verdict.ALLOWED),
    "deny of a person leaves groups": ({"deny": [SAM]}, GROUP, Verdict.ALLOWED),
    "deny of a person leaves status": ({"deny": [SAM]}, STATUS, Verdict.ALLOWED),
}


@pytest.mark.parametrize("kind", OF_A_KIND)
async def test_a_kind_on_a_list_is_its_own_chats_and_nothing_is_looked_up_for_it(kind: str, waha: Canned) -> None:
    recipients = await ready(waha, send={"allow": [kind]})
    assert waha.asked == []
    allowed = [each for each, chat in OF_A_KIND.items() if await recipients.verdict(chat) is Verdict.ALLOWED]
    assert allowed == [kind]


@pytest.mark.parametrize("case", VERDICTS)
async def test_what_the_lists_say_of_a_chat(case: str, waha: Canned) -> None:
    waha.pair(LID, SAM)
    waha.pair(OTHER_LID, DAD)
    rule, chat, verdict = VERDICTS[case]
    assert await (await ready(waha, send=rule)).verdict(chat) is verdict


@pytest.mark.parametrize(("chat", "exists"), [(SAM, True), (DAD, False), (STATUS, False), (PUBLIC, False)])
async def test_only_a_chat_with_messages_of_either_side_exists(chat: str, exists: bool, waha: Canned) -> None:
    for each in (SAM, STATUS, PUBLIC):
        waha.messages(each, [{"id": "false_12025550123@c.us_AA", "fromMe": False}])
    waha.messages(DAD, [])
    recipients = await ready(waha, existing_only=True)
    assert await recipients.verdict(chat) is (Verdict.ALLOWED if exists else Verdict.NO)
    anywhere = await ready(waha)
    assert await anywhere.verdict(chat) is Verdict.ALLOWED


async def test_a_chat_of_which_waha_does_not_tell_does_not_exist(waha: Canned) -> None:
    waha.messages(SAM, httpx.Response(500, json={}))
    assert await (await ready(waha, existing_only=True)).verdict(SAM) is Verdict.NO


READS: list[tuple[dict[str, Any], list[str]]] = [
    ({}, [SAM, LID, DAD, OTHER_LID, GROUP]),
    ({"allow": [SAM]}, [SAM, LID]),
    ({"allow": ["groups", LID]}, [SAM, LID, GROUP]),
    ({"deny": [SAM]}, [DAD, OTHER_LID, GROUP]),
    ({"allow": ["people"], "deny": [LID]}, [DAD, OTHER_LID]),
    ({"allow": []}, []),
    ({"deny": ["Nobody Atall"]}, []),
]


@pytest.mark.parametrize(("rule", "readable"), READS, ids=str)
async def test_what_may_be_read_is_the_same_each_time_it_is_asked(
    rule: dict[str, Any], readable: list[str], waha: Canned
) -> None:
    waha.answers["/api/default/lids"] = [{"lid": LID, "pn": SAM}, {"lid": OTHER_LID, "pn": DAD}]
    waha.answers[CONTACTS] = saved()
    recipients = await ready(waha, read=rule)
    for _ in range(2):
        assert [each for each in (SAM, LID, DAD, OTHER_LID, GROUP) if recipients.readable(each)] == readable


async def test_a_chat_can_be_read_once_it_is_known_not_to_be_the_denied_one(waha: Canned) -> None:
    recipients = await ready(waha, read={"deny": [LID]})
    assert not recipients.readable(SAM)
    assert not recipients.readable(DAD)
    waha.pair(LID, SAM)
    await recipients.prepare(can_read=True)
    assert not recipients.readable(SAM)
    assert recipients.readable(DAD)


@pytest.mark.parametrize(
    ("rules", "told"),
    [
        ({}, "can write to everyone; can read everyone"),
        (
            {"send": {"allow": []}, "read": {"allow": []}},
            "can write to nobody; can read nobody",
        ),
        (
            {"send": {"allow": ["*"], "deny": ["channels", "groups"]}, "existing_only": True},
            "can write to everyone, never to all groups and all channels, only in chats that already have messages; "
            "can read everyone",
        ),
        (
            {"send": {"allow": [SAM, DAD], "ask": ["people"]}, "read": {"allow": ["people", SAM], "deny": [DAD]}},
            "can write to 2 listed chats, after approval to all people; "
            "can read all people and 1 listed chat but not 1 listed chat",
        ),
        (
            {"send": {"allow": ["Nobody Atall", "Anybody"]}},
            "can write to 2 listed chats; can read everyone; no saved contact, or several, called Anybody, "
            "Nobody Atall",
        ),
        (
            {"send": {"deny": ["Nobody Atall"]}},
            "can write to everyone, never to 1 listed chat; can read everyone; "
            "a deny list has a name that is not certain, so it denies everybody",
        ),
        (
            {"read": {"deny": ["Nobody Atall"]}},
            "can write to everyone; can read everyone but not 1 listed chat; "
            "a deny list has a name that is not certain, so it denies everybody",
        ),
    ],
    ids=str,
)
async def test_the_lists_are_told_in_one_line(rules: dict[str, Any], told: str, waha: Canned) -> None:
    waha.answers[CONTACTS] = saved()
    assert (await ready(waha, **rules)).summary() == told
