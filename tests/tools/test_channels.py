"""What is said of channels."""

from __future__ import annotations

import pytest

from tests.policy.common import bridge_with
from waha_mcp.sandbox import running

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(("engine", "known"), [("gows", True), ("wpp", False)])
async def test_subscribers_are_left_out_where_the_engine_does_not_know_them(engine: str, known: bool) -> None:
    async with running(engine=engine) as sandbox, bridge_with(sandbox, toolsets=frozenset({"channels"})) as bridge:
        channels = (await bridge.call("list_channels", {})).model_dump()["channels"]
    assert channels
    assert [each["subscribers"] is not None for each in channels] == [known] * len(channels)
