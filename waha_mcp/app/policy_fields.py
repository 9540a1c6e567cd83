"""The policy as an App writes it down. Anything unclear in it is refused when the App is loaded."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, SecretStr, model_validator

from waha_mcp.app.urls import parse_host
from waha_mcp.whatsapp.ids import parse_chat

#: Words that a list may hold instead of a chat: every chat of one kind. "public" is what more people see than a list
#: can name: the profile, a channel's name, a group joined by its link.
KINDS = ("people", "groups", "channels", "broadcasts", "status", "public")

#: When a person is asked before something is done.
Approval = Literal["never", "first_contact", "send", "destructive", "all"]
#: What the trail keeps of a call's arguments.
Audit = Literal["off", "digest", "text"]

_RATE = re.compile(r"\s*[1-9][0-9]{0,5}\s*/\s*(second|minute|hour|day)\s*")


class Settings(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, hide_input_in_errors=True)


def _entry(value: str) -> str:
    """One entry: `*`, a kind, a chat id or number (as a chat id), or the name of a saved contact."""
    text = value.strip()
    if not text:
        raise ValueError("an empty text names nobody")
    if text != "*" and ("@" in text or not any(c.isalpha() for c in text)):
        return parse_chat(text)
    return text


def _listed(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


Names = Annotated[tuple[Annotated[str, AfterValidator(_entry)], ...], BeforeValidator(_listed)]


class ReadRule(Settings):
    """Chats that may be read. An empty `allow` is nobody; `deny` wins."""

    allow: Names = ("*",)
    deny: Names = ()


class SendRule(ReadRule):
    """Chats that may be written to. Those under `ask` may be after a person has approved; `deny` wins."""

    ask: Names = ()

    @model_validator(mode="before")
    @classmethod
    def _asking_is_not_allowing(cls, data: object) -> object:
        # With `ask` alone, a default of everyone would leave nobody to ask about.
        if isinstance(data, dict) and "ask" in data and "allow" not in data:
            return {**data, "allow": ()}
        return data


class Chats(Settings):
    """Which chats the agent may reach and read; `existing_only` allows only chats that already have messages."""

    send: SendRule = SendRule()
    read: ReadRule = ReadRule()
    existing_only: bool = False


def _rates(value: str) -> str:
    if value.strip() and not all(_RATE.fullmatch(part) for part in value.split(";")):
        raise ValueError("write limits like '20/minute; 200/hour' (second, minute, hour or day), or '' for none")
    return value.strip()


Rates = Annotated[str, AfterValidator(_rates)]


def _ordered(value: tuple[float, float]) -> tuple[float, float]:
    if not 0 <= value[0] <= value[1] <= 60:
        raise ValueError("must be [shortest, longest] in seconds, from 0 to 60")
    return value


class Pace(Settings):
    """How fast the agent may do things that reach others.

    `first_contacts` counts chats that this account has never written to. `gap` is the shortest and the longest pause
    (seconds) between two sends; where between them is chance. `redis` is a URL that processes of one App share.
    """

    total: Rates = "20/minute; 200/hour"
    chat: Rates = "10/minute; 60/hour"
    first_contacts: Rates = "2/minute; 10/hour; 30/day"
    gap: Annotated[tuple[float, float], AfterValidator(_ordered), BeforeValidator(_listed)] = (0.0, 1.5)
    redis: SecretStr | None = None


#: Hosts in the form of `urls.Url.host`, written as a list.
Hosts = Annotated[
    frozenset[Annotated[str, AfterValidator(parse_host)]],
    BeforeValidator(lambda value: frozenset(value) if isinstance(value, list) else value),
]

NO_PACE = Pace(total="", chat="", first_contacts="", gap=(0.0, 0.0))


class PolicyFields(Settings):
    """The policy's fields of an App."""

    chats: Chats = Chats()
    approval: Approval = "never"
    pace: Pace = Pace()
    #: Seen, typing, a pause and then the message, as a person writes.
    humanize: bool = False
    audit: Audit = "digest"
    #: Hosts that WAHA may fetch media from although they are on a private network.
    media_hosts: Hosts = frozenset()
