"""A status story belongs to its author: a person who may not be reached or read is not, through stories either."""

from __future__ import annotations

from typing import Any

import pytest

from tests.harness import Admin
from tests.policy.common import MAYA, SAM, bridge_with, effects, send
from waha_mcp.people.persons import STATUS
from waha_mcp.policy import Refusal
from waha_mcp.sandbox import SandboxInfo
from waha_mcp.whatsapp.ids import NOT_KNOWN, chats_of

pytestmark = pytest.mark.anyio

STORY = f"false_{STATUS}_3EB0AAAAAAAAAAAAAAAA_"


@pytest.mark.parametrize(
    ("message_id", "chats"),
    [
        (f"false_{SAM}_3EB0AA", (SAM,)),
        (f"false_120363041234567890@g.us_3EB0AA_{SAM}", ("120363041234567890@g.us",)),
        (f"{STORY}{SAM}", (STATUS, SAM)),
        (f"{STORY}12025550123@s.whatsapp.net", (STATUS, SAM)),
        (STORY.rstrip("_"), (STATUS, NOT_KNOWN)),
        (f"true_{STATUS}_3EB0AAAAAAAAAAAAAAAA_{SAM}", (STATUS,)),
    ],
)
def test_a_message_is_about_its_chat_and_a_story_about_its_author_too(message_id: str, chats: tuple[str, ...]) -> None:
    assert chats_of(message_id) == chats


async def test_who_may_not_be_written_to_is_not_reached_by_a_reaction_to_their_story(
    sandbox: SandboxInfo, admin: Admin
) -> None:
    async with bridge_with(sandbox, **send(["people", "status"], deny=[SAM])) as bridge:
        await admin.clear()
        with pytest.raises(Refusal) as refusal:
            await bridge.call("react", {"message_id": f"{STORY}{SAM}", "emoji": "👍"})
        assert refusal.value.decision == "recipient refused"
        assert await effects(admin) == []


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("get_message", {"message_id": f"{STORY}{SAM}"}),
        ("send_text", {"chat": MAYA, "text": "look", "reply_to": f"{STORY}{SAM}"}),
    ],
)
async def test_a_story_of_somebody_who_may_not_be_read_is_as_if_it_were_not_there(
    tool: str, arguments: dict[str, Any], sandbox: SandboxInfo, admin: Admin
) -> None:
    async with bridge_with(sandbox, chats={"read": {"deny": [SAM]}}) as bridge:
        with pytest.raises(Refusal, match="no such chat or message"):
            await bridge.call(tool, arguments)


async def test_stories_are_read_without_those_of_whom_may_not_be_read(sandbox: SandboxInfo, admin: Admin) -> None:
    for author, text in ((SAM, "from Sam"), (MAYA, "from Maya")):
        await admin.request("POST", "/sandbox/messages", {"chatId": STATUS, "text": text, "from": author})
    async with bridge_with(sandbox) as bridge:
        assert {"from Sam", "from Maya"} <= _texts(await bridge.call("get_messages", {"chat": STATUS}))
    async with bridge_with(sandbox, chats={"read": {"deny": [SAM]}}) as bridge:
        seen = _texts(await bridge.call("get_messages", {"chat": STATUS}))
    assert "from Maya" in seen
    assert "from Sam" not in seen


def _texts(result: Any) -> set[str]:
    return {message.text for message in result.messages}
