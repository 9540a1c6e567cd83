"""Marks on fields of result models: they tell the renderer of the answer what a value is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

#: What a reference denotes: a message, a group, a channel, a person without a number, or a cursor.
ReferenceKind = Literal["m", "g", "n", "p", "c"]


@dataclass(frozen=True)
class Long:
    """Marks the full id of a message ("m") or a full cursor ("c"), for which an answer gives a reference."""

    kind: ReferenceKind


@dataclass(frozen=True)
class At:
    """Marks a time, as ISO 8601. `coarse`: only the date is given for an earlier day."""

    coarse: bool = False


@dataclass(frozen=True)
class Whom:
    """Marks the id of a chat. `name`: the field with its name, which precedes the id in the answer.

    `row`: the model describes this chat: the answer has the name under the field's own name, and `phone` or `id`.
    Otherwise the name is under the marked field, with the id beside it, as in `chat` and `chat_id`.
    """

    name: str | None = None
    row: bool = False


@dataclass(frozen=True)
class Author:
    """Marks the chat id of a message's author, or "me".

    `name`: the field with the name. `message`: the field with the message's id, whose chat the answer names; None: the
    answer names no chat, so it always names the author.
    """

    name: str = "sender_name"
    message: str | None = "id"


@dataclass(frozen=True)
class Usual:
    """Marks a field that an answer omits when it has this value."""

    value: object


@dataclass(frozen=True)
class FullOnly:
    """Marks a field that is only in an answer in full detail."""


@dataclass(frozen=True)
class Worded:
    """Marks a text written by waha-mcp that contains chat ids, which an answer replaces by names."""


Mark = Long | At | Whom | Author | Usual | FullOnly | Worded

#: The full id of a message.
LongId = Annotated[str, Long("m")]
#: A full cursor.
LongCursor = Annotated[str, Long("c")]
#: A time, as ISO 8601.
Time = Annotated[str, At()]
#: The same, but an answer gives only the date unless it is today.
Day = Annotated[str, At(coarse=True)]
#: A chat without a field for its name.
BareChatId = Annotated[str, Whom()]
#: The chat of a message or page, whose name is in `chat_name`.
ChatId = Annotated[str, Whom("chat_name")]
#: The chat or person that a list row describes.
RowId = Annotated[str, Whom("name", row=True)]
