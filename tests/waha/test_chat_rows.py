"""Rows of the chats overview."""

from __future__ import annotations

from typing import Any

import pytest

from waha_mcp.waha.chat_rows import chat_from
from waha_mcp.waha.messages import NOBODY, Glimpse, Message, message_from


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
    assert isinstance(found.last_message, Message)
    assert (found.last_message.sender_name, found.last_message.calls_themselves) == (None, "Nadia")


@pytest.mark.parametrize(
    "row",
    [
        {"body": "Hello"},
        {"body": None, "location": {"latitude": 1.5, "longitude": 2.5}},
        {"body": None, "vCards": ["BEGIN:VCARD\nVERSION:3.0\nFN:Maya\nEND:VCARD"]},
        {"body": None, "hasMedia": True, "media": {"mimetype": "image/jpeg"}},
        {"body": "seen", "_data": {"message": {"imageMessage": {"viewOnce": True, "mimetype": "image/jpeg"}}}},
        {"body": "gone", "_data": {"type": "revoked"}},
        {"body": "a\u202eb \U0001f604\u200d", "_data": {"PushName": "N\u200ba"}, "participant": "12025550188@c.us"},
    ],
)
def test_a_glimpse_says_of_a_message_what_the_message_says_itself(row: dict[str, Any]) -> None:
    chat = "12025550177@c.us"
    last = {"id": f"false_{chat}_AA", "from": chat, "fromMe": False, "timestamp": 1_700_000_000} | row
    found, whole = chat_from({"id": chat, "lastMessage": last}, full=False), message_from(last, NOBODY, chat=chat)
    assert found is not None
    assert isinstance(found.last_message, Glimpse)
    assert whole is not None
    assert found.last_message.model_dump() == whole.model_dump(include=set(Glimpse.model_fields))
