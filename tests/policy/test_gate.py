"""Nothing bypasses the gate: every tool with an effect passes through it, and no listing shows what may not be read."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import pytest
from pydantic import SecretStr

from tests.harness import Admin, app_for
from tests.policy.common import DAD, MAYA, SAM, STRANGER, bridge_with, effects
from tests.policy.test_fetching import resolver
from waha_mcp.app.actions import Action, Grant
from waha_mcp.app.definition import App
from waha_mcp.app.policy_fields import Chats, SendRule
from waha_mcp.bridge import Bridge
from waha_mcp.people.directory import Directory
from waha_mcp.people.filling import FilledTable
from waha_mcp.policy import Refusal
from waha_mcp.policy.audit import Trail
from waha_mcp.policy.call import Call
from waha_mcp.policy.gate import Policy
from waha_mcp.policy.pace import Pacer
from waha_mcp.policy.question import Question
from waha_mcp.sandbox import SandboxInfo
from waha_mcp.sandbox.contract import contract
from waha_mcp.store import StoreAway
from waha_mcp.store.sqlite import Sqlite
from waha_mcp.tools.catalog import CATALOG, READS, ArgumentError, Context, Tool
from waha_mcp.tools.params import MessageReference, Reference
from waha_mcp.waha.client import Waha
from waha_mcp.waha.errors import BadAnswer, NotFound, OutcomeUnknown, WahaError
from waha_mcp.waha.models import Result

pytestmark = pytest.mark.anyio

EFFECTS = {name: tool for name, tool in CATALOG.items() if tool.effect}


def sample(tool: Tool, chats: dict[str, str]) -> dict[str, Any]:
    """Arguments that the tool accepts, from its schema: the required ones, and one where one of several is required."""
    schema = tool.input_schema
    names = [*schema.get("required", ()), *tool.one_of[:1]]
    return {name: _value(name, schema["properties"][name], tool, chats) for name in names}


def _value(name: str, schema: dict[str, Any], tool: Tool, chats: dict[str, str]) -> Any:
    if name in tool.references:
        chat = chats[tool.references[name].kind or "person"]
        return [chat] if schema["type"] == "array" else chat
    if name in tool.messages:
        message = chats["message"]
        return [message] if schema["type"] == "array" else message
    if "enum" in schema:
        return schema["enum"][0]
    match schema.get("type"):
        case "array":
            items = [_value("", schema["items"], tool, chats) for _ in range(2)]
            return [f"{each}{n}" if isinstance(each, str) else each for n, each in enumerate(items)]
        case "object":
            required = schema.get("required", ())
            return {key: _value(key, schema["properties"][key], tool, chats) for key in required}
        case "integer" | "number":
            return 1
        case "boolean":
            return True
    if schema.get("format") == "date-time" or name in ("start", "at", "since"):
        return "2030-05-01T09:00:00+02:00"
    if name == "emoji":
        return "👍"
    if name == "invite":
        return "https://chat.whatsapp.com/AbCdEfGhIjKlMnOpQrStUv"
    if "phone" in name:
        return "+12025550123"
    if name in ("link", "url", "image_url"):
        return "https://192.0.2.1/x.png"
    return "abc12345"


@pytest.mark.parametrize("rule", ["nobody", "approval"])
async def test_every_tool_with_an_effect_is_stopped_by_the_gate(
    rule: str, sandbox: SandboxInfo, admin: Admin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    for bound in ("MOST_WAITING", "MOST_PER_CHATS"):
        monkeypatch.setattr(f"waha_mcp.policy.approval.{bound}", 1000)
    policy: dict[str, Any] = (
        {"approval": "all"} if rule == "approval" else {"chats": Chats(send=SendRule(allow=())), "audit": "off"}
    )
    app = app_for(
        sandbox,
        sandbox.keys["full"],
        session="default",
        actions=frozenset(Action),
        toolsets=frozenset({"all"}),
        **policy,
    )
    groups = await admin.request("GET", "/api/default/groups?limit=1")
    channels = await admin.request("GET", "/api/default/channels")
    group = groups[0] if isinstance(groups, list) else next(iter(groups.values()))
    arrived = await admin.request("POST", "/sandbox/messages", {"chatId": SAM, "text": "Hello"})
    chats = {
        "person": SAM,
        "group": group.get("id") or group["JID"],
        "channel": channels[0]["id"],
        "message": arrived["id"],
    }
    async with Bridge(app) as bridge:
        await bridge.key.settle()
        await admin.clear()
        for tool in EFFECTS.values():
            if rule == "nobody" and not _reaches(tool):
                continue
            arguments = sample(tool, chats)
            with pytest.raises(Refusal) as refusal:
                await bridge.call(tool.name, arguments)
            expected = {"waiting for approval"} if rule == "approval" else {"recipient refused"}
            assert refusal.value.decision in expected | {"url refused"}, tool.name
        assert await effects(admin) == []


def _reaches(tool: Tool) -> bool:
    marks: list[Reference | MessageReference] = [*tool.references.values(), *tool.messages.values()]
    return any(mark.reached for mark in marks) or tool.reaches in ("status", "everyone")


#: Tools that are called here but that this sandbox's engine lacks, or that need a word or a place.
MAY_FAIL: frozenset[str] = frozenset({})


async def _everything_shown(bridge: Bridge) -> str:
    """The output of all read-only tools that need no chat."""
    said = []
    failed: dict[str, str] = {}
    for tool in CATALOG.values():
        if tool.effect or tool.action is not Action.READ:
            continue
        schema = tool.input_schema
        asked = {"query": "a", "text": "a"} if "query" in schema.get("required", ()) else {}
        arguments: dict[str, Any] = asked | {"timeout": 0}
        if set(schema.get("required", ())) - {"query"}:
            continue
        try:
            result = await bridge.call(tool.name, {k: v for k, v in arguments.items() if k in schema["properties"]})
        except (Refusal, WahaError, ArgumentError) as error:
            failed[tool.name] = str(error)
        else:
            said.append(json.dumps(result.model_dump(mode="json"), ensure_ascii=False))
    assert failed.keys() == MAY_FAIL, failed
    return "\n".join([*said, *failed.values()])


async def test_no_listing_shows_a_chat_that_may_not_be_read(sandbox: SandboxInfo) -> None:
    hidden = ["Maya", "447700900142", "Kestrel", "Hikers", "Whitcombe", "Robert Rivers", "12025550101"]
    fields: dict[str, Any] = {"chats": {"read": {"allow": [SAM]}}}
    async with bridge_with(sandbox, **fields) as bridge:
        bridge.app = bridge.app.model_copy(update={"toolsets": frozenset({"all"})})
        shown = await _everything_shown(bridge)
    assert "Sam Okafor" in shown
    assert [name for name in hidden if name in shown] == []


@pytest.mark.usefixtures("whole")
async def test_what_is_asked_for_by_a_link_shows_no_chat_that_may_not_be_read(
    sandbox: SandboxInfo, admin: Admin
) -> None:
    channels = await admin.request("GET", "/api/default/channels")
    channel = next(each for each in channels if "Library" in each["name"])
    group = (await admin.request("POST", "/sandbox/groups", {"subject": "Secret", "from": SAM}))["id"]
    join = "/api/default/groups/join-info"
    invite = {"invite": "https://chat.whatsapp.com/AbCdEfGhIjKlMnOpQrStUv"}
    for rule, shown in (({"deny": [channel["id"], group]}, False), ({"allow": [SAM]}, False), ({}, True)):
        said = []
        async with bridge_with(sandbox, chats={"read": rule}) as bridge:
            every_tool(bridge)
            await admin.fault(join, body=json.dumps({"id": group, "subject": "Secret"}))
            for tool, arguments in (
                ("get_channel", {"channel": channel["id"]}),
                ("get_channel", {"channel": channel["invite"]}),
                ("preview_channel", {"channel": channel["id"]}),
                ("preview_channel", {"channel": channel["invite"]}),
                ("get_invite_info", invite),
            ):
                try:
                    said.append((await bridge.call(tool, arguments)).model_dump_json())
                except NotFound as error:
                    said.append(str(error))
        words = ("Library", "Library", "rivers", "rivers", "Secret")
        assert [word in each for word, each in zip(words, said, strict=True)] == [shown] * 5, (rule, said)


async def test_a_denied_chat_is_left_out_where_others_are_shown(sandbox: SandboxInfo) -> None:
    async with bridge_with(sandbox, chats={"read": {"deny": [DAD]}}) as bridge:
        bridge.app = bridge.app.model_copy(update={"toolsets": frozenset({"all"})})
        shown = await _everything_shown(bridge)
    assert "Maya" in shown
    # He is a member of groups that may be read, and wrote there.
    assert not [each for each in ("id", "chat") if f'"{each}": "{DAD}"' in shown]


# Whose chats may be read


async def refused(bridge: Bridge, tool: str, arguments: dict[str, Any], decision: str, **more: Any) -> str:
    """The text of a call that is refused for this reason."""
    with pytest.raises(Refusal) as refusal:
        await bridge.call(tool, arguments, **more)
    assert refusal.value.decision == decision
    return str(refusal.value)


def every_tool(bridge: Bridge) -> None:
    bridge.app = bridge.app.model_copy(update={"toolsets": frozenset({"all"})})


async def arrive(admin: Admin, chat: str, **more: Any) -> str:
    answer = await admin.request("POST", "/sandbox/messages", {"chatId": chat, "text": "Hello"} | more)
    return str(answer["id"])


@pytest.fixture
async def whole(admin: Admin) -> None:
    """An engine that lacks nothing."""
    await admin.request("POST", "/sandbox/engine", {"has": [operation.id for operation in contract().operations]})


def test_a_refusal_reads_as_its_text_alone() -> None:
    assert str(Refusal("too fast", "Wait a little.")) == "Wait a little."


@pytest.mark.usefixtures("whole")
@pytest.mark.parametrize("rule", [{"allow": [SAM]}, {"deny": [DAD]}], ids=str)
@pytest.mark.parametrize("tool", ["get_message", "get_media", "forward_message", "star_message"])
async def test_a_message_of_a_chat_that_may_not_be_read_is_not_even_looked_for(
    tool: str, rule: dict[str, Any], sandbox: SandboxInfo, admin: Admin
) -> None:
    hidden, shown = await arrive(admin, DAD), await arrive(admin, SAM)
    more = {"chat": SAM} if tool == "forward_message" else {}
    async with bridge_with(sandbox, chats={"read": rule}) as bridge:
        every_tool(bridge)
        await admin.clear()
        await refused(bridge, tool, {"message_id": hidden} | more, "not readable")
        assert [r["path"] for r in await admin.requests() if "/messages/" in r["path"]] == []
        assert await effects(admin) == []
        # In the other chat it is looked up; the text has no media.
        with suppress(NotFound):
            await bridge.call(tool, {"message_id": shown} | more)
        assert [r["path"] for r in await admin.requests() if "/messages" in r["path"]]


@pytest.mark.usefixtures("whole")
@pytest.mark.parametrize(
    ("tool", "arguments", "passes"),
    [
        ("get_messages", {"chat": SAM}, True),
        ("get_messages", {"chat": SAM, "sender": DAD}, False),
        ("get_messages", {"chat": DAD}, False),
        ("archive_chat", {"chat": SAM}, True),
        ("archive_chat", {"chat": DAD}, False),
    ],
)
async def test_one_chat_that_may_not_be_read_is_enough(
    tool: str, arguments: dict[str, Any], passes: bool, sandbox: SandboxInfo, admin: Admin
) -> None:
    async with bridge_with(sandbox, chats={"read": {"allow": [SAM]}, "send": {"allow": []}}) as bridge:
        every_tool(bridge)
        await admin.clear()
        if passes:
            await bridge.call(tool, arguments)
        else:
            await refused(bridge, tool, arguments, "not readable")
            assert await effects(admin) == []


async def test_where_a_chat_may_be_written_to_and_not_read_its_own_messages_can_be_answered_there(
    sandbox: SandboxInfo, admin: Admin
) -> None:
    hers, his = await arrive(admin, MAYA), await arrive(admin, SAM)
    async with bridge_with(sandbox, chats={"read": {"allow": [SAM]}}) as bridge:
        await bridge.call("send_text", {"chat": MAYA, "text": "Yes", "reply_to": hers})
        await bridge.call("react", {"message_id": hers, "emoji": "👍"})
        await bridge.call("send_text", {"chat": MAYA, "text": "See", "reply_to": his})
        await admin.clear()
        await refused(bridge, "send_text", {"chat": SAM, "text": "See", "reply_to": hers}, "not readable")
        assert await effects(admin) == []


async def test_a_read_is_not_held_to_what_may_be_done(sandbox: SandboxInfo) -> None:
    async with bridge_with(sandbox, chats={"send": {"allow": []}}, approval="all") as bridge:
        for _ in range(2):
            assert (await bridge.call("get_messages", {"chat": SAM})).reached == ()


@pytest.mark.parametrize("key", ["read_send", "send"])
async def test_who_is_meant_by_a_name_on_a_list_is_known_before_a_call_passes(
    key: str, sandbox: SandboxInfo, admin: Admin
) -> None:
    async with bridge_with(sandbox, key, chats={"send": {"allow": ["Sam Okafor"]}}) as bridge:
        await admin.clear()
        if key == "read_send":
            await bridge.call("send_text", {"chat": SAM, "text": "Hello"})
        else:
            await refused(bridge, "send_text", {"chat": SAM, "text": "Hello"}, "recipient refused")
            assert [r["path"] for r in await admin.requests() if "/contacts" in r["path"]] == []


async def test_the_same_answer_to_what_was_edited_meanwhile_is_no_repeat(sandbox: SandboxInfo, admin: Admin) -> None:
    real = await arrive(admin, SAM)
    path = f"/api/default/chats/{SAM}/messages/"
    row = await admin.request("GET", f"{path}{real}")
    call = {"chat": SAM, "text": "Yes", "reply_to": real}
    async with bridge_with(sandbox) as bridge:
        await bridge.call("send_text", call)
        await admin.fault(path, body=json.dumps(row | {"body": "Shall I cancel?"}))
        await bridge.call("send_text", call)
        await refused(bridge, "send_text", call, "repeat refused")


# Links


async def test_what_nobody_fetches_is_no_link_to_look_at(
    sandbox: SandboxInfo, monkeypatch: pytest.MonkeyPatch, admin: Admin
) -> None:
    private = "see http://10.0.0.1/x"
    replied = await arrive(admin, SAM, id="3EB0.internal")
    async with bridge_with(sandbox) as bridge:
        every_tool(bridge)
        monkeypatch.setattr(anyio, "getaddrinfo", resolver("8.8.8.8"))
        await bridge.call("send_text", {"chat": SAM, "text": private})
        await bridge.call("send_poll", {"chat": SAM, "question": private, "options": ["a", "b"]})
        await refused(bridge, "send_text", {"chat": SAM, "text": private, "link_preview": True}, "url refused")
        # WAHA makes no preview of the id of a chat or a message.
        monkeypatch.setattr(anyio, "getaddrinfo", resolver("10.0.0.1"))
        call = {"chat": SAM, "text": "Hello", "link_preview": True}
        await bridge.call("send_text", call)
        await refused(bridge, "send_text", call | {"text": "see c.us"}, "url refused")
        await bridge.call("send_text", call | {"text": "Again", "reply_to": replied})


# First contacts


FIRST: dict[str, Any] = {"approval": "first_contact"}
BROADCAST = "1234567890@broadcast"


async def test_a_group_or_list_that_was_never_written_to_is_a_first_contact_and_a_channel_is_none(
    sandbox: SandboxInfo, admin: Admin
) -> None:
    made = await admin.request("POST", "/sandbox/groups", {"subject": "New", "from": SAM})
    group = made["id"] if isinstance(made["id"], str) else made["id"]["_serialized"]
    async with bridge_with(sandbox, **FIRST) as bridge:
        every_tool(bridge)
        channels = (await bridge.call("list_channels", {"role": "owner"})).model_dump()["channels"]
        await admin.clear()
        for chat in (group, BROADCAST, STRANGER):
            await refused(bridge, "send_text", {"chat": chat, "text": "Hello"}, "waiting for approval")
        assert await effects(admin) == []
        # As if the chat had no message of ours.
        await admin.fault("/api/default/chats/*/messages", count=100, body="[]")
        await bridge.call("send_text", {"chat": channels[0]["id"], "text": "Hello"})


@pytest.mark.parametrize("failure", [{"status": 500}, {"status": 403}, {"malformed": True}], ids=str)
async def test_whom_waha_does_not_tell_to_be_known_is_a_first_contact(
    failure: dict[str, Any], sandbox: SandboxInfo, admin: Admin
) -> None:
    async with bridge_with(sandbox, **FIRST) as bridge:
        await admin.fault("/api/default/chats/*/messages", count=100, **failure)
        await refused(bridge, "send_text", {"chat": SAM, "text": "Hello"}, "waiting for approval")


async def test_without_read_who_was_written_to_by_this_app_is_known_and_nobody_else(
    sandbox: SandboxInfo, admin: Admin
) -> None:
    pace = {"total": "", "chat": "", "first_contacts": "1/hour", "gap": [0, 0]}
    async with bridge_with(sandbox, "send", pace=pace) as bridge:
        await admin.clear()
        for text in ("Hello", "Are you there?"):
            await bridge.call("send_text", {"chat": SAM, "text": text})
        await refused(bridge, "send_text", {"chat": MAYA, "text": "Hello"}, "too fast")
        assert [r["path"] for r in await admin.requests() if "/messages" in r["path"]] == []


async def test_where_first_contacts_do_not_matter_nobody_asks_for_them(sandbox: SandboxInfo, admin: Admin) -> None:
    async with bridge_with(sandbox) as bridge:
        await admin.clear()
        await bridge.call("send_text", {"chat": STRANGER, "text": "Hello"})
    assert [r["path"] for r in await admin.requests() if r["path"].endswith("/messages")] == []


@pytest.mark.usefixtures("whole")
@pytest.mark.parametrize(
    ("mode", "tool", "arguments", "asks"),
    [
        ("first_contact", "post_text_status", {"text": "x"}, True),
        ("first_contact", "update_profile", {"about": "x"}, True),
        ("first_contact", "archive_chat", {"chat": STRANGER}, False),
        ("send", "archive_chat", {"chat": SAM}, False),
        ("send", "update_profile", {"about": "x"}, True),
        ("destructive", "mark_read", {"chat": SAM}, False),
        ("destructive", "delete_chat", {"chat": SAM}, True),
        ("all", "archive_chat", {"chat": SAM}, True),
        (["first_contact", "destructive"], "post_text_status", {"text": "x"}, True),
        (["first_contact", "destructive"], "delete_chat", {"chat": SAM}, True),
        (["first_contact", "destructive"], "archive_chat", {"chat": SAM}, False),
    ],
)
async def test_each_mode_asks_for_what_reaches_others_or_is_lost(
    mode: str | list[str], tool: str, arguments: dict[str, Any], asks: bool, sandbox: SandboxInfo, admin: Admin
) -> None:
    async with bridge_with(sandbox, approval=mode) as bridge:
        every_tool(bridge)
        await admin.clear()
        if asks:
            await refused(bridge, tool, arguments, "waiting for approval")
        else:
            await bridge.call(tool, arguments)
        assert bool(await effects(admin)) is not asks


# Before the question


async def nobody(question: Question) -> bool:
    raise AssertionError(f"asked: {question.text()}")


async def yes(question: Question) -> bool:
    return True


async def test_nobody_is_asked_for_what_would_be_refused_anyway(sandbox: SandboxInfo) -> None:
    pace = {"total": "1/minute", "chat": "", "first_contacts": "", "gap": [0, 0]}
    text = {"chat": SAM, "text": "Hello"}
    async with bridge_with(sandbox, approval="send", pace=pace) as bridge:
        await bridge.call("send_text", text, ask=yes)
        await refused(bridge, "send_text", text, "repeat refused", ask=nobody)
        await refused(bridge, "send_text", text | {"text": "More"}, "too fast", ask=nobody)


async def test_of_two_that_a_person_approves_at_once_one_goes_out(sandbox: SandboxInfo, admin: Admin) -> None:
    asked, both = [], anyio.Event()

    async def together(question: Question) -> bool:
        asked.append(question)
        if len(asked) == 2:
            both.set()
        await both.wait()
        return True

    decisions: list[str] = []
    async with bridge_with(sandbox, approval="send") as bridge:
        await admin.clear()

        async def call() -> None:
            try:
                await bridge.call("send_text", {"chat": SAM, "text": "Hello"}, ask=together)
            except Refusal as refusal:
                decisions.append(refusal.decision)

        with anyio.fail_after(20):
            async with anyio.create_task_group() as calls:
                calls.start_soon(call)
                calls.start_soon(call)
        assert decisions == ["repeat refused"]
        assert await effects(admin) == ["/api/sendText"]


# What it says afterwards


async def test_only_chats_are_named_as_reached(sandbox: SandboxInfo) -> None:
    async with bridge_with(sandbox) as bridge:
        every_tool(bridge)
        assert (await bridge.call("post_text_status", {"text": "x"})).reached == ()
        assert (await bridge.call("update_profile", {"about": "x"})).reached == ()
        [reached] = (await bridge.call("send_text", {"chat": SAM, "text": "x"})).reached
        assert reached.words == "Sam Okafor (+12025550123)"


async def test_without_read_those_reached_are_named_by_number_and_nothing_is_looked_up(
    sandbox: SandboxInfo, admin: Admin
) -> None:
    async with bridge_with(sandbox, "send") as bridge:
        await admin.clear()
        [reached] = (await bridge.call("send_text", {"chat": SAM, "text": "x"})).reached
        assert reached.words == "+12025550123"
    assert [r["path"] for r in await admin.requests() if "contacts" in r["path"]] == []


async def test_a_done_call_does_not_wait_for_names(
    sandbox: SandboxInfo, admin: Admin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("waha_mcp.policy.gate.NAMES", 0.05)
    async with bridge_with(sandbox) as bridge:
        await admin.fault("/api/contacts", delay=3, count=9)
        with anyio.fail_after(2.5):
            [reached] = (await bridge.call("send_text", {"chat": SAM, "text": "x"})).reached
        assert reached.words == "+12025550123"


async def test_a_status_that_is_refused_says_who_may_not_be_reached(sandbox: SandboxInfo) -> None:
    async with bridge_with(sandbox, chats={"send": {"allow": ["people"]}}) as bridge:
        every_tool(bridge)
        assert "status stories" in await refused(bridge, "post_text_status", {"text": "x"}, "recipient refused")
        assert "everyone" in await refused(bridge, "update_profile", {"about": "x"}, "recipient refused")


@pytest.mark.parametrize(
    ("slip", "says"),
    [
        (ArgumentError("a wrong word"), "a wrong word"),
        (BadAnswer("an odd answer"), "an odd answer"),
        (RuntimeError("a secret path"), "had an internal error"),
    ],
    ids=str,
)
async def test_what_fails_after_a_change_is_told_in_its_own_words_where_they_are_for_agents(
    slip: Exception, says: str, sandbox: SandboxInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> object:
        raise slip

    monkeypatch.setattr("waha_mcp.tools.core.sending.sent_from", broken)
    async with bridge_with(sandbox) as bridge:
        with pytest.raises(OutcomeUnknown, match="did not refuse") as told:
            await bridge.call("send_text", {"chat": SAM, "text": "x"})
    assert says in str(told.value)
    assert "secret" not in str(told.value)


async def test_what_a_read_asks_of_waha_is_never_said_to_have_happened_perhaps(
    sandbox: SandboxInfo, admin: Admin, tmp_path: Path
) -> None:
    call = {"kind": "voice", "save_as": "x", "data": "data:audio/mpeg;base64,SUQz"}
    async with bridge_with(sandbox) as bridge:
        every_tool(bridge)
        bridge.app = bridge.app.model_copy(update={"outbox": tmp_path})
        await admin.fault("/api/default/media/convert", body='{"data": "", "mimetype": "audio/ogg"}')
        with pytest.raises(BadAnswer, match="no converted file"):
            await bridge.call("convert_media", call)


@pytest.mark.parametrize("answer", ["{}", "", '{"ok": true}', "[]"])
async def test_a_send_that_is_answered_with_no_message_is_sent_where_the_message_is_found(
    answer: str, sandbox: SandboxInfo, admin: Admin
) -> None:
    async with bridge_with(sandbox) as bridge:
        await admin.fault("/api/sendText", after=True, status=201, body=answer)
        sent = await bridge.call("send_text", {"chat": SAM, "text": "x"})
        assert sent.model_dump()["message_id"].startswith(f"true_{SAM}_")
        await admin.fault("/api/sendText", status=201, body=answer)
        with pytest.raises(OutcomeUnknown, match="did not answer with"):
            await bridge.call("send_text", {"chat": SAM, "text": "y"})


async def test_that_a_message_was_reacted_to_does_not_make_it_our_own(sandbox: SandboxInfo, admin: Admin) -> None:
    call = {"message_id": await arrive(admin, SAM), "emoji": "👍"}
    async with bridge_with(sandbox) as bridge:
        await bridge.call("react", call)
        await admin.fault(f"/api/default/chats/{SAM}/messages/", count=100, status=500)
        with pytest.raises(BadAnswer):
            await bridge.call("react", call)


@pytest.mark.parametrize("approval", ["never", "all"])
async def test_where_the_pace_is_not_known_nothing_is_done(
    approval: str, sandbox: SandboxInfo, admin: Admin, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unknown(*_: object) -> None:
        raise StoreAway("The store is away.")

    # Before a person is asked, and before it is done.
    monkeypatch.setattr(Pacer, "check" if approval == "all" else "take", unknown)
    async with bridge_with(sandbox, approval=approval) as bridge:
        await admin.clear()
        told = await refused(bridge, "send_text", {"chat": SAM, "text": "x"}, "store away")
        assert "this was not done" in told
        assert await effects(admin) == []


@pytest.mark.parametrize(
    ("end", "decision", "outcome"),
    [
        (None, "allowed", "done"),
        (Refusal("too fast", "No."), "too fast", "refused"),
        (OutcomeUnknown("Perhaps."), "allowed", "unknown"),
        (ArgumentError("Wrong."), "allowed", "failed"),
        (BadAnswer("Odd."), "allowed", "failed"),
        (RuntimeError("A slip."), "allowed", "broken off"),
        (asyncio.CancelledError(), "allowed", "broken off"),
    ],
    ids=repr,
)
async def test_a_call_goes_into_the_trail_as_it_ended(
    end: BaseException | None, decision: str, outcome: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[dict[str, Any]] = []
    monkeypatch.setattr(Trail, "write", lambda _, line: lines.append(line))

    async def look(*, ctx: Context) -> Result:
        if end is not None:
            raise end
        return Result()

    app = App(url="http://127.0.0.1:9", key=SecretStr("k"), session="default")
    waha = Waha(app.url, app.key, app.session)
    people = FilledTable(waha)
    policy = Policy(app, people)
    context = Context(app, waha, Grant.initial(frozenset(Action)), Directory(people, policy.readable, policy.written))
    tool = Tool("look", "Look", "", Action.READ, (), "core", READS, None, look)
    raised: BaseException | None = None
    try:
        await policy.run(Call(tool, {}, context))
    except BaseException as error:
        raised = error
    assert raised is end
    [line] = lines
    assert "arguments" not in line
    assert (line["tool"], line["decision"], line["outcome"]) == ("look", decision, outcome)


# What it tells others


async def test_whether_a_chat_was_written_to_is_a_no_where_waha_does_not_tell(
    sandbox: SandboxInfo, admin: Admin
) -> None:
    async with bridge_with(sandbox) as bridge:
        assert await bridge.policy.written(SAM)
        assert not await bridge.policy.written(STRANGER)
        await admin.fault("/api/default/chats/*/messages", count=100, status=500)
        assert not await bridge.policy.written(SAM)


@pytest.mark.parametrize("approval", ["never", "all"])
async def test_the_summary_says_when_a_person_is_asked(approval: str, sandbox: SandboxInfo) -> None:
    async with bridge_with(sandbox, approval=approval) as bridge:
        assert ("approval" in bridge.policy.summary()) is (approval == "all")


async def test_the_summary_says_that_no_links_are_listed(sandbox: SandboxInfo) -> None:
    async with bridge_with(sandbox, links={"others": "refuse"}) as bridge:
        assert bridge.policy.summary().endswith("; links to: none, others: refuse")


async def test_leaving_closes_the_store(sandbox: SandboxInfo, monkeypatch: pytest.MonkeyPatch) -> None:
    closed, close = list[Sqlite](), Sqlite.close

    def noted(store: Sqlite) -> None:
        closed.append(store)
        close(store)

    monkeypatch.setattr(Sqlite, "close", noted)
    async with bridge_with(sandbox) as bridge:
        assert bridge.policy
    assert len(closed) == 1
