"""The parameter types that tools share. Each carries its check and the description that agents read."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from waha_mcp.app.urls import parse
from waha_mcp.waha.parsing import ChatKind
from waha_mcp.whatsapp.ids import parse_message_id


class Argument(BaseModel):
    """The base of what is nested in arguments: closed, as the arguments themselves are."""

    model_config = ConfigDict(extra="forbid", defer_build=True, hide_input_in_errors=True)


@dataclass(frozen=True)
class Reference:
    """Marks a parameter that names chats or people: the bridge turns it into chat ids before the tool runs.

    `reached` says whether an effect of the tool reaches them (they get a message, a mention, a place in a group ...):
    then the policy asks whether they may be. False: they are only spoken of, as the person on a contact card is.
    `kind` is the only kind of chat that makes sense there; the bridge refuses the others.
    """

    reached: bool = True
    kind: ChatKind | None = None


@dataclass(frozen=True)
class MessageReference:
    """Marks a parameter that names messages: the chat inside each id counts as a `Reference` to that chat does.

    `reached=False` is for a message that is only taken from, as what is forwarded is.
    """

    reached: bool = True


@dataclass(frozen=True)
class Fetched:
    """Marks a parameter that holds a URL which WAHA fetches, from inside its own network."""


@dataclass(frozen=True)
class FetchesLinks:
    """Marks a switch that makes WAHA fetch the links in the text, as it does a `Fetched` URL."""


@dataclass(frozen=True)
class LocalFile:
    """Marks a parameter that names a file in the outbox folder: an approval is for the bytes it holds then."""


def _message_id(value: str) -> str:
    parse_message_id(value)
    return value.strip()


def web_url(value: str) -> str:
    """The URL in the writing that every program reads alike: what goes out is what was judged and shown.

    Raises:
        ValueError: none that is http or https, with a plain host and without a password.
    """
    return parse(value).href


#: Whether a link in the text shows with a preview.
LinkPreview = Annotated[bool, FetchesLinks(), Field(description="Show a preview of the first link")]
#: One chat, by name, by chat id or by phone number in any usual international writing. The tool gets the chat id.
Chat = Annotated[
    str,
    Reference(),
    Field(min_length=1, description="Name, phone number with country code (+1 202 555 0123) or chat id"),
]
#: People, each written as a chat is. The tool gets their chat ids.
People = Annotated[
    list[str],
    Reference(),
    Field(description="People to mention, as names, numbers or ids; write @<number> where each stands in the text"),
]
#: A chat of ours that is only looked at, or changed as nobody but ourselves can see.
OwnChat = Annotated[
    str,
    Reference(reached=False),
    Field(min_length=1, description="Name, phone number with country code (+1 202 555 0123) or chat id"),
]
Person = Annotated[
    str,
    Reference(kind="person"),
    Field(min_length=1, description="Name, phone number with country code (+1 202 555 0123) or chat id"),
]
#: A person whom the tool only speaks of.
OwnPerson = Annotated[
    str,
    Reference(reached=False, kind="person"),
    Field(min_length=1, description="Name, phone number with country code (+1 202 555 0123) or chat id"),
]
Members = Annotated[
    list[str],
    Reference(kind="person"),
    Field(min_length=1, max_length=100, description="People, as names, numbers or chat ids"),
]
GroupId = Annotated[str, Reference(kind="group"), Field(min_length=1, description="A group's subject or id")]
ChannelId = Annotated[str, Reference(kind="channel"), Field(min_length=1, description="A channel's name or id")]
#: A channel, where its people do not notice what is done.
OwnChannel = Annotated[
    str,
    Reference(reached=False, kind="channel"),
    Field(min_length=1, description="A channel's name or id"),
]
#: A full message id. What is done to the message reaches its chat.
MessageId = Annotated[
    str,
    MessageReference(),
    AfterValidator(_message_id),
    Field(description="Message id, as get_messages gives it"),
]
ReplyTo = Annotated[
    str, MessageReference(), AfterValidator(_message_id), Field(description="Id of the message to reply to")
]
#: A message that is only taken from: its own chat does not notice.
SourceMessageId = Annotated[
    str,
    MessageReference(reached=False),
    AfterValidator(_message_id),
    Field(description="Message id, as get_messages gives it"),
]
#: Where WAHA fetches a file.
MediaUrl = Annotated[str, Fetched(), AfterValidator(web_url), Field(description="Where WAHA fetches it")]
Limit = Annotated[int, Field(ge=1, le=100, description="How many at most")]
Cursor = Annotated[str, Field(description="Where to go on: the cursor of the page before")]
#: A person whose messages are wanted. The tool gets the chat id.
Sender = Annotated[
    str, Reference(reached=False, kind="person"), Field(min_length=1, description="Only from: name, number or chat id")
]


def _moment(value: Any) -> Any:
    """`2d`, `12h`, `30m` as the moment that long ago; anything else as it is."""
    match = re.fullmatch(r"\s*(\d{1,5})\s*([mhdw])\s*", value) if isinstance(value, str) else None
    if match is None:
        return value
    seconds = {"m": 60, "h": 3_600, "d": 86_400, "w": 604_800}[match[2]]
    try:
        return datetime.now().astimezone() - timedelta(seconds=int(match[1]) * seconds)
    except OverflowError:
        raise ValueError("too long ago") from None


#: A moment with its zone.
Moment = Annotated[
    AwareDatetime,
    BeforeValidator(_moment),
    WithJsonSchema({"type": "string", "description": "ISO 8601 with zone, or how long ago: 30m, 12h, 2d, 3w"}),
]
#: A moment that lies ahead, for which a time span would be another one at each call.
Appointment = Annotated[
    AwareDatetime, WithJsonSchema({"type": "string", "description": "ISO 8601 with zone, as 2026-11-30T19:00:00+01:00"})
]
Detail = Annotated[
    Literal["concise", "full"],
    Field(description="full: also who reacted and voted, and ids of quotes"),
]
