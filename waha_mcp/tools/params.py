"""The parameter types that tools share. Each carries its check and the description that agents read."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, Field

from waha_mcp.waha.ids import parse_chat, parse_message_id


def _message_id(value: str) -> str:
    parse_message_id(value)
    return value.strip()


def _chats(values: list[str]) -> list[str]:
    return [parse_chat(value) for value in values]


#: A chat id, from a chat id or a phone number in any usual international writing.
Chat = Annotated[
    str,
    AfterValidator(parse_chat),
    Field(description="Phone number with country code (+1 202 555 0123) or chat id"),
]
#: Chat ids of people.
People = Annotated[
    list[str],
    AfterValidator(_chats),
    Field(description="People to mention, as numbers or chat ids; write @<number> where each stands in the text"),
]
#: A full message id.
MessageId = Annotated[str, AfterValidator(_message_id), Field(description="Message id, as get_messages gives it")]
ReplyTo = Annotated[str, AfterValidator(_message_id), Field(description="Id of the message to reply to")]
Limit = Annotated[int, Field(ge=1, le=100, description="How many at most")]
Cursor = Annotated[str, Field(description="Where to go on: the cursor of the page before")]
#: A moment with its zone.
Moment = Annotated[AwareDatetime, Field(description="ISO 8601 with zone, such as 2026-05-01T09:00:00+02:00")]
