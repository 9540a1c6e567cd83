"""Marks on fields of result models: what a value is, for whoever words the answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

#: What a reference stands for: a message, a group, a channel, a person without a number, or a cursor.
ReferenceKind = Literal["m", "g", "n", "p", "c"]


@dataclass(frozen=True)
class Long:
    """Marks the full id of a message ("m") or a full cursor ("c"), for which an answer gives a reference."""

    kind: ReferenceKind


@dataclass(frozen=True)
class At:
    """Marks a time, as ISO 8601. `coarse`: of an earlier day, only the day is told."""

    coarse: bool = False


@dataclass(frozen=True)
class Whom:
    """Marks the id of a chat. `name`: the field with its name, which stands before the id in the answer.

    `row`: the model is about this chat: the answer has the name under the field's own name, and `phone` or `id`.
    Otherwise the name stands under the marked field, and the id beside it, as in `chat` and `chat_id`.
    """

    name: str | None = None
    row: bool = False


@dataclass(frozen=True)
class Author:
    """Marks the chat id of who wrote a message, or "me".

    `name`: the field with the name. `message`: the one with the message's id, whose chat the answer names; None: it
    names none, so that the author is named in any case.
    """

    name: str = "sender_name"
    message: str | None = "id"


@dataclass(frozen=True)
class Usual:
    """Marks a field that an answer leaves out where it has this value."""

    value: object


@dataclass(frozen=True)
class FullOnly:
    """Marks a field that only an answer in full detail has."""


@dataclass(frozen=True)
class Worded:
    """Marks a text of ours with chat ids in it, for which an answer gives names."""


Mark = Long | At | Whom | Author | Usual | FullOnly | Worded

#: The full id of a message.
LongId = Annotated[str, Long("m")]
#: A full cursor.
LongCursor = Annotated[str, Long("c")]
#: A time, as ISO 8601.
Time = Annotated[str, At()]
#: The same, where an answer tells only the day if it is not today's.
Day = Annotated[str, At(coarse=True)]
#: A chat without a field for its name.
BareChatId = Annotated[str, Whom()]
#: The chat of a message or page, whose name is in `chat_name`.
ChatId = Annotated[str, Whom("chat_name")]
#: The chat or person that a row of a list is about.
RowId = Annotated[str, Whom("name", row=True)]
