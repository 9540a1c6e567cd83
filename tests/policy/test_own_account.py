"""What the store keeps about an account: its name there, and whom it has written to."""

from __future__ import annotations

from typing import Any

import pytest

from tests.harness import NO_PACE, Admin
from tests.memory_store import Memory
from tests.policy.common import SAM, STRANGER, bridge_with, effects
from waha_mcp.people.filling import FilledTable
from waha_mcp.policy import Refusal
from waha_mcp.policy.own_account import OwnAccount
from waha_mcp.sandbox import SandboxInfo
from waha_mcp.waha.errors import Unreachable

pytestmark = pytest.mark.anyio

URL, ELSEWHERE = "http://waha.test:3000", "http://127.0.0.1:3000"


class Answers:
    """A WAHA client that answers with its session's account."""

    session = "default"

    def __init__(self, me: dict[str, str] | None) -> None:
        self.me, self.asked = me, 0

    async def call(self, operation: str, **_: Any) -> Any:
        self.asked += 1
        return [{"name": self.session, "status": "WORKING", "me": self.me}]


def account(me: str | None, store: Memory, *, url: str = URL) -> OwnAccount:
    waha: Any = Answers({"id": me} if me else None)
    return OwnAccount(url, FilledTable(waha), store)


async def test_an_account_is_its_number_whatever_the_url() -> None:
    store = Memory()
    one, other = account("12025550100@c.us", store), account("12025550100@c.us", store, url=ELSEWHERE)
    assert await one.key() == await other.key()
    assert "2025550100" in await one.key()
    assert await account("12025550177@c.us", store).key() != await one.key()


async def test_an_account_whose_number_is_not_known_is_named_by_url_and_session() -> None:
    store = Memory()
    unknown = account(None, store)
    assert await unknown.key() == await account(None, store).key()
    assert await unknown.key() != await account(None, store, url=ELSEWHERE).key()


async def test_a_key_that_is_not_told_the_number_learns_it_from_one_that_is() -> None:
    store = Memory()
    blind = account(None, store)
    assert "2025550100" not in await blind.key()
    seen = await account("12025550100@c.us", store).key()
    assert await blind.key() == seen
    # Another number has taken over the session since.
    now = await account("12025550177@c.us", store).key()
    assert await blind.key() == now


async def test_an_account_that_waha_does_not_tell_of_is_named_by_url_and_session() -> None:
    waha: Any = Answers(None)

    async def call(operation: str, **_: Any) -> Any:
        raise Unreachable("WAHA is away")

    waha.call = call
    away = OwnAccount(URL, FilledTable(waha), Memory())
    assert await away.key() == await account(None, Memory()).key()


async def test_whom_an_account_has_written_to_is_its_own() -> None:
    store = Memory()
    one, other = account("12025550100@c.us", store), account("12025550177@c.us", store)
    await one.key()
    one.remember([SAM])
    one.remember([SAM])
    assert await one.has_met(SAM)
    assert not await one.has_met(STRANGER)
    assert not await other.has_met(SAM)
    assert await account("12025550100@c.us", store, url=ELSEWHERE).has_met(SAM)


async def test_the_oldest_are_let_go_of_where_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("waha_mcp.policy.own_account.MOST_MET", 10)
    one = account("12025550100@c.us", Memory())
    await one.key()
    for number in range(11):
        one.remember([f"120255501{number:02}@c.us"])
    assert not await one.has_met("12025550100@c.us")
    assert await one.has_met("12025550110@c.us")


async def test_who_was_written_to_is_no_first_contact_after_a_restart_either(
    sandbox: SandboxInfo, admin: Admin
) -> None:
    async with bridge_with(sandbox, pace=NO_PACE) as bridge:
        await bridge.call("send_text", {"chat": STRANGER, "text": "Hello"})
    # A key that only sends cannot look into the chat.
    async with bridge_with(sandbox, "send", approval="first_contact", pace=NO_PACE) as bridge:
        await admin.clear()
        await bridge.call("send_text", {"chat": STRANGER, "text": "Hello again"})
        assert await effects(admin) == ["/api/sendText"]
        with pytest.raises(Refusal, match="waiting for approval"):
            await bridge.call("send_text", {"chat": "12025550198@c.us", "text": "Hello"})


async def test_a_message_that_this_app_has_sent_is_its_own_after_a_restart(sandbox: SandboxInfo, admin: Admin) -> None:
    async with bridge_with(sandbox, "send") as bridge:
        sent = await bridge.call("send_text", {"chat": SAM, "text": "Hello"})
    message_id = sent.model_dump()["message_id"]
    async with bridge_with(sandbox, "send") as bridge:
        await admin.clear()
        await bridge.call("send_text", {"chat": SAM, "text": "And more", "reply_to": message_id})
        with pytest.raises(Refusal, match="has sent can be named"):
            await bridge.call("send_text", {"chat": SAM, "text": "And more", "reply_to": message_id + "0"})
        assert len(await effects(admin)) == 1
