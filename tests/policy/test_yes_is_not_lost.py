"""A person's approval counts for the next attempt if the call failed before it began."""

from __future__ import annotations

import shutil

import pytest

from tests.harness import Admin
from tests.policy.common import MAYA, bridge_with, effects
from waha_mcp.places import state_root
from waha_mcp.policy import Refusal
from waha_mcp.policy.question import Question
from waha_mcp.sandbox import SandboxInfo

CALL = {"chat": MAYA, "text": "Once"}


async def test_where_the_store_goes_away_while_a_person_is_asked(sandbox: SandboxInfo, admin: Admin) -> None:
    file, asked = state_root() / "store.sqlite", list[Question]()

    async def yes(question: Question) -> bool:
        asked.append(question)
        file.rename(file.with_name("elsewhere"))
        file.mkdir()
        return True

    async with bridge_with(sandbox, approval="all") as bridge:
        with pytest.raises(Refusal, match="cannot be looked up"):
            await bridge.call("send_text", CALL, ask=yes)
        assert await effects(admin) == []
        shutil.rmtree(file)
        file.with_name("elsewhere").rename(file)
        await bridge.call("send_text", CALL, ask=yes)
    assert len(asked) == 1
    assert await effects(admin) == ["/api/sendText"]


async def test_where_the_same_was_done_while_a_person_was_asked(sandbox: SandboxInfo, admin: Admin) -> None:
    asked = list[Question]()

    async def yes(question: Question) -> bool:
        asked.append(question)
        if len(asked) == 1:
            await bridge.call("send_text", CALL, ask=yes)
        return True

    async with bridge_with(sandbox, approval="all") as bridge:
        with pytest.raises(Refusal, match="The same was done"):
            await bridge.call("send_text", CALL, ask=yes)
        assert await effects(admin) == ["/api/sendText"]
        await bridge.call("send_text", CALL | {"allow_repeat": True}, ask=yes)
    assert len(asked) == 2
