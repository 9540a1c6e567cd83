"""Chats with assistants, such as Meta AI: `<id>@bot`."""

from __future__ import annotations

from typing import Any

import pytest

from tests.harness import Admin
from tests.policy.common import SAM, bridge_with, effects, send
from waha_mcp.policy import Refusal
from waha_mcp.sandbox import SandboxInfo

pytestmark = pytest.mark.anyio

BOT = "867051314767696@bot"


@pytest.fixture
async def answered(admin: Admin) -> None:
    """An assistant has written."""
    await admin.request("POST", "/sandbox/messages", {"chatId": BOT, "text": "How can I help?"})


@pytest.mark.usefixtures("answered")
async def test_a_chat_with_an_assistant_is_listed_and_read(sandbox: SandboxInfo) -> None:
    async with bridge_with(sandbox) as bridge:
        chats: list[dict[str, Any]] = (await bridge.call("list_chats", {"limit": 5})).model_dump()["chats"]
        assert BOT in [each["id"] for each in chats]
        [message] = (await bridge.call("get_messages", {"chat": BOT})).model_dump()["messages"]
        assert (message["sender"], message["text"]) == (BOT, "How can I help?")


@pytest.mark.usefixtures("answered")
@pytest.mark.parametrize(
    ("lists", "passes"),
    [
        (send(), True),
        (send(["people"]), True),
        (send([BOT]), True),
        (send([SAM]), False),
        (send(deny=[BOT]), False),
        (send(deny=["people"]), False),
    ],
    ids=str,
)
async def test_an_assistant_is_written_to_as_a_person_is(
    lists: dict[str, Any], passes: bool, sandbox: SandboxInfo, admin: Admin
) -> None:
    async with bridge_with(sandbox, **lists) as bridge:
        await admin.clear()
        if passes:
            await bridge.call("send_text", {"chat": BOT, "text": "Hello"})
        else:
            with pytest.raises(Refusal, match="may not write"):
                await bridge.call("send_text", {"chat": BOT, "text": "Hello"})
        assert await effects(admin) == ["/api/sendText"] * passes
