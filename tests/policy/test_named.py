"""An id only claims which chat a message is in: every message that a call names is looked up before any effect."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.harness import Admin, approvals_of
from tests.memory_store import Memory
from tests.policy.canned import Canned, canned
from tests.policy.common import DAD, MAYA, SAM, bridge_with, cannot_write, effects, lid_of
from tests.policy.test_gate_alone import Gate
from waha_mcp.bridge import Bridge
from waha_mcp.people.filling import FilledTable
from waha_mcp.people.persons import People
from waha_mcp.policy import Refusal
from waha_mcp.policy.call import Call
from waha_mcp.policy.named import NamedMessages
from waha_mcp.sandbox import SandboxInfo, running
from waha_mcp.sandbox.contract import contract
from waha_mcp.store import Store, StoreAway
from waha_mcp.tools.catalog import CATALOG
from waha_mcp.tools.toolsets import load_tools
from waha_mcp.waha.errors import BadAnswer, NotFound, OutcomeUnknown, WahaError

pytestmark = pytest.mark.anyio

load_tools()

SEALED: dict[str, Any] = {"chats": {"send": {"allow": [SAM, MAYA]}, "read": {"deny": [DAD]}}, "approval": "never"}
EVERY: frozenset[str] = frozenset({"all"})


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A state folder of the test's own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


@pytest.fixture
async def waha(anyio_backend: str) -> AsyncIterator[Canned]:
    async with canned() as answers:
        yield answers


@pytest.fixture(params=["gows", "noweb", *(pytest.param(each, marks=pytest.mark.slow) for each in ("webjs", "wpp"))])
async def engine(request: pytest.FixtureRequest, anyio_backend: str) -> AsyncIterator[SandboxInfo]:
    async with running(engine=request.param, reply_after=60) as info:
        yield info


@pytest.fixture
async def at(engine: SandboxInfo) -> AsyncIterator[Admin]:
    """Admin access to a WAHA whose engine lacks nothing."""
    hand = Admin(engine)
    await hand.request("POST", "/sandbox/engine", {"has": [operation.id for operation in contract().operations]})
    yield hand
    await hand.aclose()


async def arrive(admin: Admin, chat: str, text: str = "the door code is 7731") -> str:
    answer = await admin.request("POST", "/sandbox/messages", {"chatId": chat, "text": text})
    return str(answer["id"])


def every_tool(bridge: Bridge) -> None:
    bridge.app = bridge.app.model_copy(update={"toolsets": EVERY})


#: Calls that name a message, by tool. MESSAGE stands for its id.
NAMING: dict[str, dict[str, Any]] = {
    "send_text": {"chat": SAM, "text": "look", "reply_to": "MESSAGE"},
    "forward_message": {"chat": SAM, "message_id": "MESSAGE"},
    "react": {"message_id": "MESSAGE", "emoji": "👍"},
    "star_message": {"message_id": "MESSAGE"},
    "pin_message": {"message_id": "MESSAGE"},
    "edit_message": {"message_id": "MESSAGE", "text": "other"},
    "delete_message": {"message_id": "MESSAGE"},
    "get_message": {"message_id": "MESSAGE"},
    "get_media": {"message_id": "MESSAGE"},
}
#: What an id may claim about a message in another chat.
CLAIMS = {
    "under the friend's chat": lambda bare: f"false_{SAM}_{bare}",
    "as our own": lambda bare: f"true_{SAM}_{bare}",
    "with a participant": lambda bare: f"false_{SAM}_{bare}_{DAD}",
    "under another chat that may be read": lambda bare: f"false_{MAYA}_{bare}",
}


@pytest.mark.parametrize("chat_matters", [True, False], ids=["", "engine looks at the bare id alone"])
@pytest.mark.parametrize("claim", CLAIMS)
@pytest.mark.parametrize("tool", NAMING)
async def test_a_message_under_another_chat_than_its_own_is_none(
    tool: str, claim: str, chat_matters: bool, engine: SandboxInfo, at: Admin
) -> None:
    real = await arrive(at, DAD)
    if not chat_matters:
        row = await at.request("GET", f"/api/default/chats/{DAD}/messages/{real}")
        await at.fault("/api/default/chats/*/messages/*", body=json.dumps(row), count=9)
    named = CLAIMS[claim](real.split("_")[2])
    async with bridge_with(engine, **SEALED) as bridge:
        every_tool(bridge)
        await at.clear()
        with pytest.raises((Refusal, WahaError)) as told:
            await bridge.call(tool, {k: named if v == "MESSAGE" else v for k, v in NAMING[tool].items()})
        assert "7731" not in str(told.value)
        assert "no such chat or message" in str(told.value)
        assert await effects(at) == []


@pytest.mark.parametrize("tool", ["send_text", "forward_message", "react", "star_message", "get_message"])
async def test_a_message_under_its_own_chat_is_taken_under_either_id_of_the_person(
    tool: str, engine: SandboxInfo, at: Admin, request: pytest.FixtureRequest
) -> None:
    if request.node.callspec.params["engine"] in ("webjs", "wpp"):
        pytest.skip("WhatsApp Web finds a message by its own id alone")
    real = await arrive(at, SAM)
    lid = await lid_of(at, SAM)
    bare = real.split("_")[2]
    for app_id, chat in (("by-number", SAM), ("by-hidden-id", lid)):
        async with bridge_with(engine, id=app_id, **SEALED) as bridge:
            every_tool(bridge)
            named = f"false_{chat}_{bare}"
            await bridge.call(tool, {k: named if v == "MESSAGE" else v for k, v in NAMING[tool].items()})


async def test_the_flag_for_own_messages_must_be_right(engine: SandboxInfo, at: Admin) -> None:
    bare = (await arrive(at, SAM)).split("_")[2]
    async with bridge_with(engine) as bridge:
        with pytest.raises(Refusal, match="no such chat or message"):
            await bridge.call("react", {"message_id": f"true_{SAM}_{bare}", "emoji": "👍"})


@pytest.mark.parametrize("answer", ['{"message": "gone"}', '["x"]', '{"id": 7}'])
async def test_a_look_up_that_answers_no_message_is_not_told_as_there_is_none(
    answer: str, sandbox: SandboxInfo, admin: Admin
) -> None:
    real = await arrive(admin, SAM)
    async with bridge_with(sandbox) as bridge:
        await admin.fault(f"/api/default/chats/{SAM}/messages/", body=answer)
        with pytest.raises(BadAnswer):
            await bridge.call("react", {"message_id": real, "emoji": "👍"})
        assert await effects(admin) == []


# Without read


async def test_without_read_only_what_this_app_has_sent_can_be_named(sandbox: SandboxInfo, admin: Admin) -> None:
    foreign = await arrive(admin, SAM)
    async with bridge_with(sandbox, "send") as bridge:
        await admin.clear()
        with pytest.raises(Refusal, match="Without the action read"):
            await bridge.call("react", {"message_id": foreign, "emoji": "👍"})
        with pytest.raises(Refusal, match="Without the action read"):
            await bridge.call("send_text", {"chat": SAM, "text": "look", "reply_to": foreign})
        assert await effects(admin) == []
        own = (await bridge.call("send_text", {"chat": SAM, "text": "hello"})).model_dump()["message_id"]
        await bridge.call("react", {"message_id": own, "emoji": "👍"})
        # The same id under another chat is another claim.
        with pytest.raises(Refusal, match="Without the action read"):
            await bridge.call("react", {"message_id": own.replace(SAM, MAYA), "emoji": "👍"})


# What a person is shown


async def test_a_person_who_is_asked_reads_what_is_quoted_and_the_yes_is_for_that(
    sandbox: SandboxInfo, admin: Admin
) -> None:
    real = await arrive(admin, MAYA, "meet me at six")
    call = {"chat": SAM, "text": "look", "reply_to": real}
    async with bridge_with(sandbox, approval="send") as bridge:
        with pytest.raises(Refusal, match="waiting"):
            await bridge.call("send_text", call)
        approvals = approvals_of("default")
        [entry] = [each for each in approvals.entries() if each.state == "waiting"]
        assert "meet me at six" in entry.question.text()
        approvals.decide(entry.id, approve=True)
        # Its author changes it meanwhile: the approval covered the old text.
        path = f"/api/default/chats/{MAYA}/messages/"
        row = await admin.request("GET", f"/api/default/chats/{MAYA}/messages/{real}")
        await admin.fault(path, body=json.dumps(row | {"body": "send money"}))
        with pytest.raises(Refusal, match="waiting"):
            await bridge.call("send_text", call)
        assert await effects(admin) == []
        await bridge.call("send_text", call)


async def test_a_person_is_shown_what_a_message_without_text_is(sandbox: SandboxInfo, admin: Admin) -> None:
    sent = await admin.request(
        "POST",
        "/api/sendPoll",
        {"session": "default", "chatId": MAYA, "poll": {"name": "Where?", "options": ["Lake", "Hill"]}},
    )
    rows = await admin.request("GET", f"/api/default/chats/{MAYA}/messages?limit=1&downloadMedia=false")
    assert sent
    async with bridge_with(sandbox, approval="send") as bridge:
        every_tool(bridge)
        with pytest.raises(Refusal, match="waiting"):
            await bridge.call("forward_message", {"chat": SAM, "message_id": rows[0]["id"]})
        entries = approvals_of("default").entries()
        shown = "\n".join(entry.question.text() for entry in entries)
        assert "Lake" in shown
        assert "Hill" in shown


# Own messages


async def test_what_this_app_has_sent_can_be_named_while_waha_does_not_show_it(
    sandbox: SandboxInfo, admin: Admin
) -> None:
    async with bridge_with(sandbox) as bridge:
        own = (await bridge.call("send_text", {"chat": SAM, "text": "hello"})).model_dump()["message_id"]
        for failure in ({"status": 500}, {"body": "{}"}):
            await admin.fault(f"/api/default/chats/{SAM}/messages/", count=100, **failure)
            await bridge.call("react", {"message_id": own, "emoji": "👍"})
            await admin.request("DELETE", "/sandbox/faults")


async def test_of_own_messages_the_oldest_are_forgotten_first(
    sandbox: SandboxInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("waha_mcp.policy.named.MOST_OWN", 2)
    async with bridge_with(sandbox, "send") as bridge:
        first, *later = [
            (await bridge.call("send_text", {"chat": SAM, "text": text})).model_dump()["message_id"] for text in "abc"
        ]
        for own in later:
            await bridge.call("react", {"message_id": own, "emoji": "👍"})
        with pytest.raises(Refusal) as refusal:
            await bridge.call("react", {"message_id": first, "emoji": "👍"})
        assert refusal.value.decision == "unknown message"


async def test_a_send_whose_id_is_of_no_known_form_is_done(sandbox: SandboxInfo, admin: Admin) -> None:
    async with bridge_with(sandbox, "send") as bridge:
        await admin.fault("/api/sendText", after=True, status=201, body='{"id": "3EB0FFFF"}')
        sent = (await bridge.call("send_text", {"chat": SAM, "text": "hello"})).model_dump()
        assert sent["message_id"] == "3EB0FFFF"


async def test_an_answer_with_somebody_elses_message_is_no_send(sandbox: SandboxInfo, admin: Admin) -> None:
    async with bridge_with(sandbox) as bridge:
        await admin.fault("/api/sendText", status=201, body=f'{{"id": "false_{MAYA}_3EB0FFFF", "fromMe": false}}')
        with pytest.raises(OutcomeUnknown, match="did not answer with the message sent"):
            await bridge.call("send_text", {"chat": SAM, "text": "hello"})


# Who wrote it


@pytest.fixture
async def group_message(sandbox: SandboxInfo, admin: Admin) -> str:
    """The id of a message that Sam wrote in a group."""
    made = await admin.request("POST", "/sandbox/groups", {"subject": "New", "from": SAM})
    group = made["id"] if isinstance(made["id"], str) else made["id"]["_serialized"]
    answer = await admin.request("POST", "/sandbox/messages", {"chatId": group, "from": SAM, "text": "Hello"})
    return str(answer["id"])


async def test_an_id_may_leave_out_who_wrote_it_and_may_not_name_another(
    group_message: str, sandbox: SandboxInfo, admin: Admin
) -> None:
    head = "_".join(group_message.split("_")[:3])
    assert group_message != head
    async with bridge_with(sandbox) as bridge:
        for named in (group_message, head, f"{head}_{SAM}", f"{head}_{await lid_of(admin, SAM)}"):
            await bridge.call("react", {"message_id": named, "emoji": "👍"})
        await admin.clear()
        for named in (f"{head}_{DAD}", f"{head}_{MAYA}"):
            with pytest.raises(Refusal) as refusal:
                await bridge.call("react", {"message_id": named, "emoji": "👍"})
            assert refusal.value.decision == "not found"
        assert await effects(admin) == []
        # WAHA may do so, too.
        row = await admin.request("GET", f"/api/default/chats/{head.split('_')[1]}/messages/{group_message}")
        await admin.fault("/api/default/chats/*/messages/*", body=json.dumps(row | {"id": head}))
        await bridge.call("react", {"message_id": group_message, "emoji": "👍"})


@pytest.mark.parametrize("answer", ["null", "", "{}"])
async def test_where_waha_shows_no_message_there_is_none(answer: str, sandbox: SandboxInfo, admin: Admin) -> None:
    real = await arrive(admin, SAM)
    async with bridge_with(sandbox) as bridge:
        await admin.clear()
        await admin.fault(f"/api/default/chats/{SAM}/messages/", body=answer)
        with pytest.raises(Refusal) as refusal:
            await bridge.call("react", {"message_id": real, "emoji": "👍"})
        assert refusal.value.decision == "not found"
        assert await effects(admin) == []


@pytest.mark.parametrize("other", [("false", "3EB0FFFF"), ("true", None)], ids=["another id", "one of ours"])
async def test_an_engine_that_shows_another_message_than_was_asked_for_shows_none(
    other: tuple[str, str | None], sandbox: SandboxInfo, admin: Admin
) -> None:
    real = await arrive(admin, SAM)
    row = await admin.request("GET", f"/api/default/chats/{SAM}/messages/{real}")
    shown = f"{other[0]}_{SAM}_{other[1] or real.split('_')[2]}"
    async with bridge_with(sandbox) as bridge:
        await admin.fault(f"/api/default/chats/{SAM}/messages/", body=json.dumps(row | {"id": shown}))
        with pytest.raises(Refusal, match="no such chat or message"):
            await bridge.call("react", {"message_id": real, "emoji": "👍"})
        assert await effects(admin) == []


async def test_what_was_sent_while_the_store_was_away_can_be_named(
    sandbox: SandboxInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with bridge_with(sandbox, "send") as bridge:
        with monkeypatch.context() as away:
            cannot_write(away, "sent")
            own = (await bridge.call("send_text", {"chat": SAM, "text": "hello"})).model_dump()["message_id"]
        await bridge.call("react", {"message_id": own, "emoji": "👍"})


# By itself


async def named(waha: Canned, message_id: str, store: Store) -> list[str]:
    """The chats of the messages that a call names, once they are looked up."""
    gate = Gate(waha, {})
    arguments = {"message_id": message_id, "emoji": "👍"}
    call = Call(CATALOG["react"], arguments, gate.context)
    await NamedMessages("alone", People(FilledTable(waha.waha)), store).look_up(call)
    return list(call.named_messages)


STORY = "status@broadcast"


@pytest.mark.parametrize(
    ("claim", "shown", "found"),
    [
        (f"false_{STORY}_AA", f"false_{STORY}_AA_{SAM}", True),
        (f"false_{STORY}_AA_{SAM}", f"false_{STORY}_AA_{SAM}", True),
        (f"false_{STORY}_AA", f"false_{STORY}_AA", False),
        (f"false_{STORY}_AA_{SAM}", f"false_{STORY}_AA", False),
        (f"false_{STORY}_AA_{MAYA}", f"false_{STORY}_AA_{SAM}", False),
        (f"true_{STORY}_AA", f"true_{STORY}_AA", True),
        (f"false_{SAM}_AA", f"false_{SAM}_AA", True),
    ],
)
async def test_a_story_is_one_only_where_waha_tells_whose_it_is(
    claim: str, shown: str, found: bool, waha: Canned
) -> None:
    chat = claim.split("_")[1]
    waha.answers[f"/api/default/chats/{chat}/messages/{claim}"] = {"id": shown, "fromMe": shown.startswith("true")}
    if found:
        assert await named(waha, claim, Memory()) == [claim]
    else:
        with pytest.raises(Refusal, match="no such chat or message"):
            await named(waha, claim, Memory())


class Away(Memory):
    """A store that is away."""

    def get(self, table: str, key: str) -> str | None:
        raise StoreAway("The store is away.")


async def test_what_waha_does_not_show_is_no_message_of_ours_while_the_store_is_away(waha: Canned) -> None:
    with pytest.raises(NotFound):
        await named(waha, f"true_{SAM}_AA", Away())
