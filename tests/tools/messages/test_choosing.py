"""Choosing a button or a row of a list by its label."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.harness import Admin, with_buttons
from tests.policy.common import SAM, bridge_with, effects
from waha_mcp.bridge import Bridge
from waha_mcp.sandbox import SandboxInfo
from waha_mcp.sandbox.contract import contract
from waha_mcp.waha.choices import Choice, chosen
from waha_mcp.waha.errors import Refused

pytestmark = pytest.mark.anyio

REPLY = "/api/send/buttons/reply"


async def asking(admin: Admin, raw: dict[str, Any] | None) -> str:
    """A message of Sam's with buttons; returns its id."""
    # Each engine lacks a few operations; here it has all.
    await admin.request("POST", "/sandbox/engine", {"has": [operation.id for operation in contract().operations]})
    answer = await admin.request("POST", "/sandbox/messages", {"chatId": SAM, "text": "Well?", "raw": raw})
    await admin.clear()
    return str(answer["id"])


async def pressed(admin: Admin) -> list[dict[str, Any]]:
    return [each["body"] for each in await admin.requests() if each["path"] == REPLY]


@pytest.fixture
async def bridge(sandbox: SandboxInfo) -> AsyncIterator[Bridge]:
    async with bridge_with(sandbox, include=frozenset({"reply_to_buttons"})) as made:
        yield made


@pytest.mark.parametrize("label", ["Not now", "not now", "  Not  now ", "Not\u200b now"])
async def test_a_label_leads_to_the_id_of_its_button(label: str, bridge: Bridge, admin: Admin) -> None:
    message = await asking(admin, with_buttons("Yes", "Not now"))
    await bridge.call("reply_to_buttons", {"message_id": message, "label": label})
    (body,) = await pressed(admin)
    assert (body["chatId"], body["replyTo"]) == (SAM, message)
    assert (body["selectedButtonID"], body["selectedDisplayText"]) == ("notnow", "Not now")


async def test_an_unknown_label_is_answered_with_the_labels_that_there_are(bridge: Bridge, admin: Admin) -> None:
    message = await asking(admin, with_buttons("Yes", "Not now"))
    with pytest.raises(Refused, match="'Yes', 'Not now'"):
        await bridge.call("reply_to_buttons", {"message_id": message, "label": "Perhaps"})
    assert await effects(admin) == []


@pytest.mark.parametrize("raw", [None, with_buttons()])
async def test_a_message_without_buttons_cannot_be_answered_with_one(
    raw: dict[str, Any] | None, bridge: Bridge, admin: Admin
) -> None:
    message = await asking(admin, raw)
    with pytest.raises(Refused, match="no buttons"):
        await bridge.call("reply_to_buttons", {"message_id": message, "label": "Yes"})
    assert await effects(admin) == []


async def test_labels_of_a_chat_that_may_not_be_read_are_neither_used_nor_told(
    sandbox: SandboxInfo, admin: Admin
) -> None:
    message = await asking(admin, with_buttons("Yes", "Not now"))
    chats = {"read": {"deny": [SAM]}}
    async with bridge_with(sandbox, include=frozenset({"reply_to_buttons"}), chats=chats) as bridge:
        for label in ("Yes", "Perhaps"):
            with pytest.raises(Refused) as said:
                await bridge.call("reply_to_buttons", {"message_id": message, "label": label})
            assert "Yes" not in str(said.value)
            assert "no buttons" in str(said.value)
    assert await effects(admin) == []


# One of several

MIXED = [
    Choice("Buy", "reply", "mug", section="Mug"),
    Choice("Buy", "reply", "bowl", section="Bowl"),
    Choice("Look", "link", value="https://example.com/mug", section="Mug"),
    Choice("Ask", "row", None),
]


def test_a_section_tells_two_choices_with_one_label_apart() -> None:
    assert chosen(MIXED, "Bowl: Buy").id == "bowl"
    with pytest.raises(Refused, match=r"Several.*'Mug: Buy', 'Bowl: Buy', 'Ask'"):
        chosen(MIXED, "Buy")


def test_two_choices_with_one_label_and_one_id_are_one() -> None:
    assert chosen([Choice("Buy", "reply", "mug", section=each) for each in "AB"], "Buy").id == "mug"


@pytest.mark.parametrize(
    ("kind", "does"),
    [("link", "opens a link"), ("call", "dials"), ("copy", "copies"), ("other", "opens a page")],
)
def test_a_button_that_answers_nothing_is_left_to_a_person(kind: Any, does: str) -> None:
    with pytest.raises(Refused, match=f"'Look' {does}.*None of its buttons answers it"):
        chosen([Choice("Look", kind)], "look")
    # A button that answers takes precedence over one with the same label that does not.
    assert chosen([Choice("Look", kind), Choice("Look", "reply", "l")], "look").id == "l"


def test_labels_are_told_without_what_hides_and_not_without_end() -> None:
    many = [Choice(f"Row\n {number}\u202e", "row", str(number)) for number in range(40)]
    with pytest.raises(Refused) as said:
        chosen(many, "no such")
    assert str(said.value).endswith("'Row 28', 'Row 29' and 10 more.")
