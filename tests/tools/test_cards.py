"""Contact cards: WAHA writes each field into a line of a vCard."""

from __future__ import annotations

import pytest

from tests.harness import Admin
from tests.policy.common import SAM, bridge_with
from waha_mcp.sandbox import SandboxInfo

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("field", ["name", "organization"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\u2028", "\x0b", "\x85"])
async def test_no_field_of_a_card_begins_another_line(field: str, end: str, sandbox: SandboxInfo, admin: Admin) -> None:
    card = {"name": "Maya", "phone": "+447700900142"} | {field: f"A{end}URL:https://example.net"}
    async with bridge_with(sandbox, toolsets=frozenset({"core", "messages"})) as bridge:
        await admin.clear()
        await bridge.call("send_contact_cards", {"chat": SAM, "contacts": [card]})
        [sent] = [entry for entry in await admin.requests() if entry["path"] == "/api/sendContactVcard"]
    shown = sent["body"]["contacts"][0]["fullName" if field == "name" else "organization"]
    assert shown == "A URL:https://example.net"
