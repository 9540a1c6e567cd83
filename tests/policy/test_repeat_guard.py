"""The guard's answer to a repeat of a call with an unknown outcome: it looks for the message again first."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from tests.memory_store import Memory
from tests.policy.canned import Canned, canned
from tests.policy.common import SAM
from tests.policy.test_gate_alone import Gate
from waha_mcp.app.actions import Action, Grant
from waha_mcp.people.filling import FilledTable
from waha_mcp.people.persons import People
from waha_mcp.policy import Refusal
from waha_mcp.policy.call import Call
from waha_mcp.policy.named import NamedMessages
from waha_mcp.policy.question import clock
from waha_mcp.policy.repeat_guard import RepeatGuard
from waha_mcp.tools.catalog import CATALOG
from waha_mcp.tools.toolsets import load_tools

pytestmark = pytest.mark.anyio

load_tools()

BARE, FULL = "3EB0AA", f"true_{SAM}_3EB0AA"
SENT_AT = 1_700_000_000
TEXT = {"chat": SAM, "text": "Only once"}


@pytest.fixture
async def waha(anyio_backend: str) -> AsyncIterator[Canned]:
    async with canned() as answers:
        yield answers


async def lost(waha: Canned, *, tool: str = "send_text", message_id: str | None = BARE, reads: bool = True) -> str:
    """The guard's answer to a repeat of a call with an unknown outcome; "" if it may go on."""
    store = Memory()
    messages = NamedMessages("alone", People(FilledTable(waha.waha)), store)
    guard = RepeatGuard("alone", store, messages)
    actions = frozenset(Action) if reads else frozenset({Action.SEND})
    context = replace(Gate(waha, {}).context, grant=Grant.initial(actions))
    call = Call(CATALOG[tool], TEXT, context, seen="digest of what they would see", requested_id=message_id)
    guard.begin(call)
    guard.end(call, "unknown")
    waha.asked.clear()
    try:
        await guard.check(call)
    except Refusal as refusal:
        return str(refusal)
    return ""


def shown(waha: Canned, **more: object) -> None:
    row = {"id": FULL, "fromMe": True, "timestamp": SENT_AT, "ack": 1} | more
    waha.answers[f"/api/default/chats/{SAM}/messages/{BARE}"] = row


async def test_what_is_found_is_said_to_have_gone_out_when_waha_says_so(waha: Canned) -> None:
    shown(waha)
    assert f"It did go out at {clock(SENT_AT)}, message {FULL}" in await lost(waha)


async def test_where_waha_does_not_say_when_it_was_when_the_call_began(waha: Canned) -> None:
    shown(waha, timestamp=None)
    said = await lost(waha)
    assert f"message {FULL}" in said
    assert clock(SENT_AT) not in said


async def test_what_does_not_show_stays_unknown(waha: Canned) -> None:
    assert "its outcome is unknown" in await lost(waha)
    assert len(waha.asked) == 1


@pytest.mark.parametrize("how", [{"message_id": None}, {"reads": False}], ids=str)
async def test_nothing_is_asked_where_there_is_nothing_to_look_for_or_no_right_to(
    how: dict[str, object], waha: Canned
) -> None:
    shown(waha)
    assert "its outcome is unknown" in await lost(waha, **how)  # type: ignore[arg-type]
    assert waha.asked == []


async def test_what_can_be_done_twice_is_not_kept(waha: Canned) -> None:
    assert await lost(waha, tool="archive_chat") == ""
