"""Sending itself: typing as a person would, an id given beforehand, and a look-up if the answer was lost."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock
from urllib.parse import unquote

import anyio
import pytest

from tests.harness import Admin
from tests.policy.common import MAYA, SAM, bridge_with, effects
from waha_mcp.app.actions import Action
from waha_mcp.bridge import Bridge
from waha_mcp.policy import delivery
from waha_mcp.sandbox import SandboxInfo
from waha_mcp.tools.catalog import CATALOG, SENDS, Context, Tool
from waha_mcp.tools.params import Chat, OwnPerson
from waha_mcp.waha.client import TAKES_MESSAGE_ID
from waha_mcp.waha.errors import OutcomeUnknown
from waha_mcp.waha.models import Sent

pytestmark = pytest.mark.anyio

#: As it is outside these tests.
LOOK_AGAIN = delivery.LOOK_AGAIN

TEXT = {"chat": SAM, "text": "Only once"}
#: A group, and the hidden id of Sam.
GROUP, LID = "120363041234567890@g.us", "990000000000055@lid"
MESSAGE = f"/api/default/chats/{SAM}/messages/"
NEW_ID = "/api/default/new-message-id"
TYPING = ["/api/sendSeen", "/api/startTyping", "/api/stopTyping"]


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The waits in seconds; no time passes."""
    seconds: list[float] = []

    async def sleep(each: float) -> None:
        seconds.append(each)

    monkeypatch.setattr(delivery, "LOOK_AGAIN", LOOK_AGAIN)
    monkeypatch.setattr(delivery.MessageIds, "get_spare", AsyncMock())
    monkeypatch.setattr(delivery, "anyio", SimpleNamespace(sleep=sleep, move_on_after=anyio.move_on_after))
    return seconds


# Typing like a person


@pytest.mark.parametrize(
    ("length", "shortest", "longest"),
    [(2, 0.8 * delivery.LEAST_TYPING, 1.2 * delivery.LEAST_TYPING), (50, 1.2, 1.8), (10_000, 3.0, 3.0)],
)
async def test_typing_takes_as_long_as_the_text_within_bounds(
    length: int, shortest: float, longest: float, waits: list[float], sandbox: SandboxInfo
) -> None:
    async with bridge_with(sandbox, humanize=True) as bridge:
        await bridge.call("send_text", {"chat": SAM, "text": "x" * length, "mentions": [MAYA] * 20})
    [pause] = waits
    # The chat's id counts as a few letters.
    assert shortest <= pause <= max(longest, min(delivery.MOST_TYPING, longest + len(SAM) * 0.036))


@pytest.mark.parametrize(
    ("tool", "arguments", "types"),
    [
        ("send_text", {"chat": SAM, "text": "x"}, True),
        ("send_text", {"chat": "GROUP", "text": "x"}, True),
        ("send_text", {"chat": "CHANNEL", "text": "x"}, False),
        ("post_text_status", {"text": "x"}, False),
        ("mark_read", {"chat": SAM}, False),
        ("react", {"message_id": "MESSAGE", "emoji": "👍"}, False),
        ("create_group", {"subject": "x", "participants": [SAM]}, False),
    ],
)
async def test_only_before_something_new_to_one_person_or_group(
    tool: str, arguments: dict[str, Any], types: bool, waits: list[float], sandbox: SandboxInfo, admin: Admin
) -> None:
    arrived = await admin.request("POST", "/sandbox/messages", {"chatId": SAM, "text": "Hello"})
    async with bridge_with(sandbox, humanize=True) as bridge:
        bridge.app = bridge.app.model_copy(update={"toolsets": frozenset({"all"})})
        groups = (await bridge.call("list_groups", {})).model_dump()["groups"]
        group = next(each["id"] for each in groups if "Family" in each["subject"])
        channels = (await bridge.call("list_channels", {"role": "owner"})).model_dump()["channels"]
        stand = {"GROUP": group, "CHANNEL": channels[0]["id"], "MESSAGE": arrived["id"]}
        await admin.clear()
        await bridge.call(tool, {k: stand.get(str(v), v) for k, v in arguments.items()})
    done = await effects(admin)
    assert len(waits) == types
    assert done[:-1] == (TYPING if types else [])


async def test_typing_shows_to_whom_it_is_sent_and_not_to_whom_it_speaks_of(
    waits: list[float], sandbox: SandboxInfo, admin: Admin
) -> None:
    async def introduce(chat: Chat, person: OwnPerson, *, ctx: Context) -> Sent:
        raise NotImplementedError

    # The mentions themselves, not their names.
    introduce.__annotations__ |= {"chat": Chat, "person": OwnPerson}
    tool = Tool("introduce", "Introduce", "", Action.SEND, (), "core", SENDS, None, introduce)
    async with bridge_with(sandbox) as bridge:
        await admin.clear()
        context = Context(bridge.app, bridge.waha, bridge.key.grant, bridge.directory)
        await delivery.act_human(tool, {"chat": SAM, "person": MAYA}, context)
    done = [(r["path"], r["body"]["chatId"]) for r in await admin.requests() if r["method"] == "POST"]
    assert done == [(path, SAM) for path in TYPING]


# An id beforehand


async def ids_given(admin: Admin) -> list[Any]:
    return [r["body"].get("id") for r in await admin.requests() if r["path"] == "/api/sendText"]


@pytest.mark.parametrize(
    ("given", "answered", "ours"),
    [
        ("3EB0AA", f"true_{SAM}_3EB0AA", True),
        # An engine that assigns its own id still says that the message is this account's.
        ("3EB0AA", f"true_{SAM}_3EB0BB", True),
        ("3EB0AA", f"false_{SAM}_3EB0AA", False),
        ("3EB0AA", None, False),
        # An id alone does not say whose it is, so it has to be the one that was given, if any was.
        ("3EB0AA", "3EB0AA", True),
        (f"true_{SAM}_3EB0AA", "3EB0AA", True),
        ("3EB0AA", "3EB0BB", False),
        (None, "3EB0AA", True),
        (None, f"false_{SAM}_3EB0AA", False),
    ],
)
def test_an_answer_is_a_send_where_it_names_a_message_of_ours(
    given: str | None, answered: str | None, ours: bool
) -> None:
    assert delivery.is_ours(Sent(message_id=answered, chat=SAM, time=None), given) is ours


@pytest.mark.parametrize(
    ("answered", "chat", "elsewhere"),
    [
        (SAM, SAM, False),
        (MAYA, SAM, True),
        (GROUP, GROUP, False),
        (GROUP, SAM, True),
        (SAM, GROUP, True),
        (GROUP, "990000000000077@lid", True),
        ("status@broadcast", SAM, True),
        # The hidden id of Sam, and one that may be anybody's.
        (LID, SAM, False),
        (SAM, LID, False),
        (LID, MAYA, True),
        ("990000000000077@lid", SAM, False),
        ("990000000000077@lid", "990000000000078@lid", True),
    ],
)
def test_a_message_is_elsewhere_where_its_chat_is_certainly_another(answered: str, chat: str, elsewhere: bool) -> None:
    directory: Any = SimpleNamespace(canonical=lambda chat: SAM if chat == LID else chat)
    sent = Sent(message_id=f"true_{answered}_3EB0AA", chat=answered, time=None)
    assert delivery.is_elsewhere(sent, chat, directory) is elsewhere


@pytest.mark.parametrize("where", ["the answer", "the look-up"])
async def test_a_message_in_another_chat_is_not_the_one_that_was_to_be_sent(
    where: str, waits: list[float], sandbox: SandboxInfo, admin: Admin
) -> None:
    async with bridge_with(sandbox) as bridge:
        await admin.fault(NEW_ID, body='{"id": "3EB0AA"}')
        other = {"id": f"true_{MAYA}_3EB0AA", "fromMe": True}
        await admin.fault("/api/sendText", body=json.dumps(other if where == "the answer" else {}))
        await admin.fault(f"{MESSAGE}*", body=json.dumps(other), count=10)
        with pytest.raises(OutcomeUnknown) as error:
            await bridge.call("send_text", TEXT)
    assert ("in a chat other than" in str(error.value)) is (where == "the answer")
    assert MAYA not in str(error.value)


@pytest.mark.parametrize("body", ['{"id": 7}', '{"id": ""}', '{"id": null}', "{}", '"x"', "[]"])
async def test_what_is_no_id_is_given_to_no_message(body: str, sandbox: SandboxInfo, admin: Admin) -> None:
    async with bridge_with(sandbox) as bridge:
        await admin.fault(NEW_ID, body=body)
        await admin.clear()
        await bridge.call("send_text", TEXT)
        await bridge.call("send_text", TEXT | {"chat": MAYA})
    without, given = await ids_given(admin)
    assert without is None
    assert isinstance(given, str)
    assert given


async def test_an_id_that_comes_again_is_given_to_no_second_message(
    sandbox: SandboxInfo, admin: Admin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "MOST_IDS", 2)
    monkeypatch.setattr(delivery.MessageIds, "get_spare", AsyncMock())
    async with bridge_with(sandbox) as bridge:
        await admin.clear()
        # The same id in both forms; the first of three is forgotten by the end.
        for number, given in enumerate(("3EB0A1", f"true_{SAM}_3EB0A1", "3EB0A2", "3EB0A3", "3EB0A1")):
            await admin.fault(NEW_ID, body=json.dumps({"id": given}))
            await bridge.call("send_text", TEXT | {"text": f"Number {number}"})
    assert await ids_given(admin) == ["3EB0A1", None, "3EB0A2", "3EB0A3", "3EB0A1"]


async def spare(bridge: Bridge) -> None:
    """Return once the id for the next send has been fetched."""
    while bridge.policy._message_ids._spare is None:  # noqa: ASYNC110
        await anyio.sleep(0.01)


async def test_a_send_takes_the_id_that_was_asked_for_after_the_one_before(sandbox: SandboxInfo, admin: Admin) -> None:
    async with bridge_with(sandbox) as bridge:
        await bridge.call("send_text", TEXT)
        await spare(bridge)
        await admin.clear()
        for text in ("Two", "Three"):
            await bridge.call("send_text", TEXT | {"text": text})
            await spare(bridge)
    made = [r["path"] for r in await admin.requests() if r["path"] in (NEW_ID, "/api/sendText")]
    assert made == ["/api/sendText", NEW_ID] * 2
    given = await ids_given(admin)
    assert None not in given
    assert len(set(given)) == 2


async def test_sends_at_once_share_no_id(sandbox: SandboxInfo, admin: Admin) -> None:
    async with bridge_with(sandbox) as bridge:
        await admin.clear()
        for turn in range(2):
            async with anyio.create_task_group() as tasks:
                for number in range(4):
                    tasks.start_soon(bridge.call, "send_text", TEXT | {"text": f"Text {turn} {number}"})
    given = await ids_given(admin)
    assert len(set(given)) == len(given) == 8
    assert None not in given


async def test_an_id_that_lies_too_long_is_given_to_no_message(
    sandbox: SandboxInfo, admin: Admin, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with bridge_with(sandbox) as bridge:
        await admin.clear()
        await admin.fault(NEW_ID, body='{"id": "3EB0A1"}')
        await admin.fault(NEW_ID, body='{"id": "3EB0A2"}')
        await admin.fault(NEW_ID, body='{"id": "3EB0A3"}')
        await bridge.call("send_text", TEXT)
        await spare(bridge)
        monkeypatch.setattr(delivery, "SPARE_LIFE", -1.0)
        await bridge.call("send_text", TEXT | {"text": "Later"})
    assert await ids_given(admin) == ["3EB0A1", "3EB0A3"]


@pytest.mark.parametrize(
    ("key", "tool", "arguments"),
    [
        ("send", "send_text", TEXT),
        ("read_send", "mark_read", {"chat": SAM}),
        ("read_send", "send_media", {"chat": SAM, "kind": "file", "data": "data:text/plain;base64,eA=="}),
    ],
)
async def test_no_id_is_asked_for_where_there_can_be_none(
    key: str, tool: str, arguments: dict[str, Any], sandbox: SandboxInfo, admin: Admin
) -> None:
    async with bridge_with(sandbox, key) as bridge:
        await admin.clear()
        await bridge.call(tool, arguments)
    assert NEW_ID not in [r["path"] for r in await admin.requests()]


def test_what_takes_an_id_answers_with_the_message_that_it_sent_to_one_chat() -> None:
    taking = [tool for tool in CATALOG.values() if TAKES_MESSAGE_ID.intersection(tool.calls)]
    assert taking
    for tool in taking:
        assert tool.result is Sent, tool.name
        first, *_ = tool.references.items()
        assert (first[0], first[1].reached) == ("chat", True), tool.name


# Found again


async def looks(admin: Admin) -> list[str]:
    return [path for r in await admin.requests() if (path := unquote(r["path"])).startswith(MESSAGE)]


@pytest.mark.parametrize(
    "before",
    [{"body": "{}"}, {"status": 403, "body": '{"message": "Forbidden", "statusCode": 403}'}],
    ids=["not shown", "an error"],
)
async def test_a_message_that_shows_at_the_third_look_is_found(
    before: dict[str, Any], waits: list[float], sandbox: SandboxInfo, admin: Admin
) -> None:
    async with bridge_with(sandbox) as bridge:
        await admin.fault("/api/sendText", drop=True, after=True)
        await admin.fault(MESSAGE, count=2, **before)
        sent = await bridge.call("send_text", TEXT)
        assert sent.model_dump()["message_id"].startswith(f"true_{SAM}_")
    at_once, *later = waits
    assert at_once == 0
    assert min(later) >= 1
    assert 3 <= sum(later) <= 5


async def test_a_message_that_does_not_show_is_said_to_prove_nothing(
    waits: list[float], sandbox: SandboxInfo, admin: Admin
) -> None:
    async with bridge_with(sandbox) as bridge:
        await admin.fault("/api/sendText", drop=True)
        await admin.clear()
        with pytest.raises(OutcomeUnknown, match="proves nothing") as told:
            await bridge.call("send_text", TEXT)
        assert "had an internal error" not in str(told.value)
        assert "did not refuse" not in str(told.value)
    assert len(await looks(admin)) == len(waits) == 3


async def test_of_a_send_without_an_id_beforehand_the_answer_is_not_looked_for(
    waits: list[float], sandbox: SandboxInfo, admin: Admin
) -> None:
    async with bridge_with(sandbox) as bridge:
        await admin.fault(NEW_ID, status=501, body="{}")
        await admin.fault("/api/sendText", drop=True, after=True)
        await admin.clear()
        with pytest.raises(OutcomeUnknown) as told:
            await bridge.call("send_text", TEXT)
        assert "did not refuse" not in str(told.value)
        assert "proves nothing" not in str(told.value)
    assert waits == []
    assert await looks(admin) == []
