"""Facts about a channel that an engine does not know are left out, and not reported as none."""

from __future__ import annotations

from typing import Any

import pytest

from tests.policy.common import bridge_with
from waha_mcp.sandbox import running
from waha_mcp.tools.channels import Channels, Posts, list_channels, preview_channel

pytestmark = pytest.mark.anyio

CHANNEL = "120363000000000009@newsletter"
#: WPP's row of any channel.
ROW = {"id": CHANNEL, "name": "News", "invite": "", "role": "SUBSCRIBER", "verified": False, "subscribersCount": 0}
POST = {"id": f"false_{CHANNEL}_A1", "timestamp": 1_790_000_000, "from": CHANNEL, "fromMe": False, "body": "Hi"}


class Context:
    """A call's context over canned answers."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers
        self.waha = self.directory = self
        self.me: frozenset[str] = frozenset()

    async def call(self, operation: str, **_: Any) -> Any:
        return self.answers["posts" if operation.endswith("preview") else "channels"]

    def readable(self, chat: str) -> bool:
        return True

    def canonical(self, chat: str) -> str:
        return chat

    def name(self, chat: str) -> None:
        return None

    def shows(self, chat: str) -> bool:
        return True


async def listed(row: dict[str, Any]) -> dict[str, Any]:
    ctx: Any = Context(channels=[row])
    found = await list_channels(ctx=ctx)
    assert isinstance(found, Channels)
    return found.channels[0].model_dump(exclude_none=True)


async def test_of_a_channel_no_count_and_no_lack_of_a_mark_is_said_where_the_engine_does_not_know() -> None:
    assert await listed(ROW) == {"id": CHANNEL, "name": "News", "role": "subscriber"}


async def test_of_a_channel_the_count_and_the_mark_are_said_where_the_engine_knows() -> None:
    known = await listed(ROW | {"verified": True, "subscribersCount": 7})
    assert (known["verified"], known["subscribers"]) == (True, 7)


@pytest.mark.parametrize(("views", "shown"), [(0, None), (12, 12), ("12", None), (None, None)])
async def test_of_a_post_the_views_are_said_where_the_engine_knows(views: Any, shown: int | None) -> None:
    posts = [{"message": POST, "reactions": {"👍": 2, "🎉": None}, "viewCount": views}]
    ctx: Any = Context(channels=ROW, posts=posts)
    found = await preview_channel(CHANNEL, 1, ctx=ctx)
    assert isinstance(found, Posts)
    assert (found.posts[0].views, found.posts[0].reactions) == (shown, {"👍": 2})


@pytest.mark.parametrize(("engine", "known"), [("gows", True), ("wpp", False)])
async def test_subscribers_are_left_out_where_the_engine_does_not_know_them(engine: str, known: bool) -> None:
    async with running(engine=engine) as sandbox, bridge_with(sandbox, toolsets=frozenset({"channels"})) as bridge:
        channels = (await bridge.call("list_channels", {})).model_dump()["channels"]
    assert channels
    assert [each["subscribers"] is not None for each in channels] == [known] * len(channels)
