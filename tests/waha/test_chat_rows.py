"""Rows of the overview of chats."""

from __future__ import annotations

import pytest

from waha_mcp.waha.chat_rows import chat_from


@pytest.mark.parametrize(
    ("chat", "name", "shown"),
    [
        ("12025550177@c.us", "+1 (202) 555-0177", None),
        ("12025550177@c.us", "Nadia 2", "Nadia 2"),
        ("120363000000000001@g.us", "2026", "2026"),
        ("12025550177@c.us", None, None),
    ],
)
def test_a_number_is_no_name_of_a_person(chat: str, name: str | None, shown: str | None) -> None:
    found = chat_from({"id": chat, "name": name})
    assert found is not None
    assert found.name == shown


def test_a_last_message_of_who_has_no_name_says_what_they_call_themselves() -> None:
    chat = "12025550177@c.us"
    row = {"id": f"false_{chat}_AA", "from": chat, "fromMe": False, "body": "Hello", "_data": {"notifyName": "Nadia"}}
    found = chat_from({"id": chat, "name": None, "lastMessage": row})
    assert found is not None
    assert found.last_message is not None
    assert (found.last_message.sender_name, found.last_message.calls_themselves) == (None, "Nadia")
