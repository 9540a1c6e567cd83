"""No double effects, and what becomes of a send whose answer was lost."""

from __future__ import annotations

import anyio
import pytest

from tests.harness import Admin
from tests.policy.common import MAYA, SAM, bridge_with, effects
from waha_mcp.policy import Refusal, delivery, repeats
from waha_mcp.sandbox import SandboxInfo
from waha_mcp.waha.client import TAKES_MESSAGE_ID
from waha_mcp.waha.contract import contract
from waha_mcp.waha.errors import OutcomeUnknown, Unreachable, WahaError

pytestmark = pytest.mark.anyio

TEXT = {"chat": SAM, "text": "Only once"}


async def test_the_same_to_the_same_chat_is_refused_unless_repeated_on_purpose(
    sandbox: SandboxInfo, admin: Admin
) -> None:
    async with bridge_with(sandbox) as bridge:
        await admin.clear()
        await bridge.call("send_text", TEXT)
        with pytest.raises(Refusal, match="allow_repeat"):
            await bridge.call("send_text", TEXT)
        with pytest.raises(Refusal):
            await bridge.call("send_text", TEXT | {"chat": "+1 202 555 0123"})
        await bridge.call("send_text", TEXT | {"chat": MAYA})
        await bridge.call("send_text", TEXT | {"text": "Another"})
        await bridge.call("send_text", TEXT | {"allow_repeat": True})
        assert len(await effects(admin)) == 4


async def test_after_a_minute_it_is_no_repeat(sandbox: SandboxInfo, monkeypatch: pytest.MonkeyPatch) -> None:
    async with bridge_with(sandbox) as bridge:
        await bridge.call("send_text", TEXT)
        monkeypatch.setattr(repeats, "WINDOW", 0.0)
        await bridge.call("send_text", TEXT)


async def test_of_the_same_at_once_one_goes_out(sandbox: SandboxInfo, admin: Admin) -> None:
    refused = []
    async with bridge_with(sandbox) as bridge:
        await admin.clear()

        async def call() -> None:
            try:
                await bridge.call("send_text", TEXT)
            except Refusal:
                refused.append(1)

        async with anyio.create_task_group() as calls:
            for _ in range(10):
                calls.start_soon(call)
        assert len(await effects(admin)) == 1
    assert len(refused) == 9


async def test_what_certainly_did_not_happen_may_be_tried_again(sandbox: SandboxInfo, admin: Admin) -> None:
    async with bridge_with(sandbox) as bridge:
        await admin.fault("/api/sendText", status=422, body='{"error": "no"}')
        with pytest.raises(WahaError):
            await bridge.call("send_text", TEXT)
        await bridge.call("send_text", TEXT)


async def test_a_cancelled_send_counts_as_done(sandbox: SandboxInfo, admin: Admin) -> None:
    async with bridge_with(sandbox) as bridge:
        await bridge.call("send_text", {"chat": SAM, "text": "warm up"})
        await admin.fault("/api/sendText", delay=60)
        with anyio.move_on_after(0.3):
            await bridge.call("send_text", TEXT)
        with pytest.raises(Refusal):
            await bridge.call("send_text", TEXT)


async def test_a_send_whose_answer_was_lost_is_found_and_reported_as_sent(sandbox: SandboxInfo, admin: Admin) -> None:
    async with bridge_with(sandbox) as bridge:
        await admin.fault("/api/sendText", drop=True, after=True)
        await admin.clear()
        sent = await bridge.call("send_text", TEXT)
        assert sent.model_dump()["message_id"].startswith(f"true_{SAM}_")
        assert await effects(admin) == ["/api/sendText"]


async def test_a_send_that_never_happened_is_reported_as_not_sent_and_may_be_tried_again(
    sandbox: SandboxInfo, admin: Admin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "LOOK_AGAIN", (0.0, 0.01))
    async with bridge_with(sandbox) as bridge:
        await admin.fault("/api/sendText", drop=True)
        with pytest.raises(Unreachable, match="not sent"):
            await bridge.call("send_text", TEXT)
        await bridge.call("send_text", TEXT)


async def test_a_send_that_cannot_be_looked_up_is_of_unknown_outcome(sandbox: SandboxInfo, admin: Admin) -> None:
    async with bridge_with(sandbox) as bridge:
        await admin.fault("/api/sendText", drop=True, after=True)
        await admin.fault(f"/api/default/chats/{SAM}/messages/", status=403, count=9, body="{}")
        with pytest.raises(OutcomeUnknown):
            await bridge.call("send_text", TEXT)
        with pytest.raises(Refusal):
            await bridge.call("send_text", TEXT)


async def test_an_engine_without_ids_beforehand_sends_all_the_same(sandbox: SandboxInfo, admin: Admin) -> None:
    async with bridge_with(sandbox) as bridge:
        await admin.fault("/api/default/new-message-id", status=501, body="{}")
        await bridge.call("send_text", TEXT)


def test_the_operations_that_take_an_id_are_those_of_the_contract() -> None:
    taking = {
        f"{operation.method} {operation.path}"
        for operation in contract().operations
        if operation.action == "send" and operation.path.count("/") == 2 and not operation.deprecated
        if any(line.startswith("id:") for line in contract().body_errors(operation, {"id": 7}))
    }
    assert taking == TAKES_MESSAGE_ID
