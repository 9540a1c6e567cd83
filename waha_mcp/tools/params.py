"""The parameter types that tools share, each with its validator, marks and the description that agents read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from waha_mcp.app.actions import Action
from waha_mcp.app.urls import parse
from waha_mcp.waha.parsing import ChatKind
from waha_mcp.whatsapp.ids import NOT_KNOWN, chats_of
from waha_mcp.whatsapp.untrusted import clean_name, clean_text

_M = TypeVar("_M")


class Argument(BaseModel):
    """Base of models nested in arguments; refuses unknown properties, as the arguments do."""

    model_config = ConfigDict(extra="forbid", defer_build=True, hide_input_in_errors=True)


@dataclass(frozen=True)
class Reference:
    """Marks a parameter for chats or people; the bridge resolves it to chat ids before the tool runs.

    `reached`: whether the tool's effect reaches them (a message, a mention, a place in a group ...), so that they must
    be allowed as recipients. False: only used as data, such as the person on a contact card. `kind`: the only kind of
    chat allowed; None: any. `called`: what errors call the argument, if not by the parameter's name.
    """

    reached: bool = True
    kind: ChatKind | None = None
    called: str | None = None


@dataclass(frozen=True)
class MessageReference:
    """Marks a parameter for messages; the chat in each id is treated like a `Reference` to that chat.

    `reached=False`: the message is only a source, such as one that is forwarded.
    """

    reached: bool = True


@dataclass(frozen=True)
class CursorReference:
    """Marks a parameter for a cursor."""


@dataclass(frozen=True)
class PlaceReference:
    """Marks a parameter for a place in time: a cursor, or a message."""


@dataclass(frozen=True)
class Needs:
    """Marks an optional parameter on what follows once the call is done, which needs another action of the key.

    The tool's `afterwards` gets it, and not the tool. `of`: the parameter for the chat that must be readable then.
    """

    action: Action
    of: str


@dataclass(frozen=True)
class Fetched:
    """Marks a parameter for the URL of a file; `Context.fetched` has its bytes, unless WAHA fetches by itself."""


@dataclass(frozen=True)
class FetchesLinks:
    """Marks a flag that makes WAHA fetch the links in the text arguments, from its own network."""


@dataclass(frozen=True)
class LocalFile:
    """Marks a parameter for a file in the outbox folder; an approval is for its bytes at that time."""


@dataclass(frozen=True)
class Encoded:
    """Marks a parameter for the bytes of a file in base64."""


@dataclass(frozen=True)
class SavedName:
    """Marks a parameter for a part of the name under which a person is saved; such names decide whom a name means."""


@dataclass(frozen=True)
class Unseen:
    """Marks a parameter that changes nothing in what a recipient sees, such as the MIME type of a file.

    Also for fields of models nested in arguments.
    """


@dataclass(frozen=True)
class ContentType:
    """Marks a parameter for a MIME type, which nobody reads as a text."""


@dataclass(frozen=True)
class Narrows:
    """Marks an optional parameter that makes an effect reach or take less: a blank one does not count as left out."""


@dataclass(frozen=True)
class Clears:
    """Marks an optional parameter whose empty text removes something, if no other optional one is given."""


def mark_in(annotation: Any, kind: type[_M]) -> _M | None:
    """The mark of one class in an annotation or in its type arguments; None if there is none."""
    for found in getattr(annotation, "__metadata__", ()):
        if isinstance(found, kind):
            return found
    return next((mark for each in get_args(annotation) if (mark := mark_in(each, kind)) is not None), None)


def _message_id(value: str) -> str:
    if NOT_KNOWN in chats_of(value):
        raise ValueError("its author is missing: give the id as WAHA gave it, with the author's chat id at its end")
    return value.strip()


def _not_blank(value: str) -> str:
    if not clean_text(value).strip():
        raise ValueError("it is blank, which WhatsApp does not accept")
    return value


def different(values: list[str]) -> list[str]:
    """The values, if a person can tell each from the others.

    Raises:
        ValueError: two look the same.
    """
    seen: set[str] = set()
    for value in map(clean_name, values):
        if value in seen:
            raise ValueError(f"{value!r} is given twice; WhatsApp requires each to be different")
        seen.add(value)
    return values


def web_url(value: str) -> str:
    """The normalized URL, so that what is fetched is exactly what was checked and shown.

    Raises:
        ValueError: not an http or https URL with a plain host and without a password.
    """
    return parse(value).href


#: Mark of a name or title: WAHA refuses a blank one.
NotBlank = AfterValidator(_not_blank)
#: Whether the first link in the text gets a preview.
LinkPreview = Annotated[bool, FetchesLinks(), Field(description="Preview the first link")]
_ANYBODY = Field(min_length=1, description="Name, number with + or id")
#: One chat, by name, chat id or phone number in international format. The tool gets the chat id.
Chat = Annotated[
    str,
    Reference(),
    _ANYBODY,
]
#: People to mention, each given like a `Chat`. The tool gets their chat ids.
#: That they are mentioned is seen only where their numbers stand in the text.
People = Annotated[
    list[str],
    Reference(),
    Unseen(),
    Field(description="Write @<number> where each stands in the text"),
]
#: A chat that is only read, or changed in a way that others cannot see.
OwnChat = Annotated[
    str,
    Reference(reached=False),
    _ANYBODY,
]
Person = Annotated[
    str,
    Reference(kind="person"),
    _ANYBODY,
]
#: A person whom the effect does not reach.
OwnPerson = Annotated[
    str,
    Reference(reached=False, kind="person"),
    _ANYBODY,
]
Members = Annotated[
    list[str],
    Reference(kind="person"),
    Field(min_length=1, max_length=100, description="Names, numbers or ids of people"),
]
GroupId = Annotated[str, Reference(kind="group"), Field(min_length=1, description="A group's subject or id")]
ChannelId = Annotated[str, Reference(kind="channel"), Field(min_length=1, description="A channel's name or id")]
#: A channel whose people do not see the effect.
OwnChannel = Annotated[
    str,
    Reference(reached=False, kind="channel"),
    Field(min_length=1, description="A channel's name or id"),
]
#: A full message id. The effect reaches its chat.
MessageId = Annotated[
    str,
    MessageReference(),
    AfterValidator(_message_id),
    Field(description="Id of a message"),
]
ReplyTo = Annotated[
    str, MessageReference(), AfterValidator(_message_id), Field(description="Id of a message to reply to")
]
#: A message that is only a source: the effect does not reach its chat.
SourceMessageId = Annotated[
    str,
    MessageReference(reached=False),
    AfterValidator(_message_id),
    Field(description="Id of a message"),
]
#: The URL of a file, normalized.
MediaUrl = Annotated[str, Fetched(), AfterValidator(web_url), Field(description="To fetch it from")]
Limit = Annotated[int, Field(ge=1, le=100)]
Cursor = Annotated[str, CursorReference(), Field(description="From the page before")]
#: Filter by author. The tool gets the chat id.
Sender = Annotated[
    str, Reference(reached=False, kind="person"), Field(min_length=1, description="Only from this person")
]


Detail = Annotated[
    Literal["concise", "full"],
    Field(description="full adds who reacted and voted, and ids of quotes"),
]
