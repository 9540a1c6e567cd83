"""The policy fields of an App definition. Unknown or malformed values are refused when the App is loaded."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, SecretStr, model_validator

from waha_mcp.app.urls import parse_host
from waha_mcp.whatsapp.ids import parse_chat

#: Words that a list may hold instead of a chat, each for all chats of one kind. "public" stands for effects that are
#: visible to an open audience: the profile, a channel's name, a group joined by its link.
KINDS = ("people", "groups", "channels", "broadcasts", "status", "public")

#: Which effects need a person's approval first.
Approval = Literal["never", "first_contact", "send", "destructive", "all"]
#: How the trail records a call's arguments.
Audit = Literal["off", "digest", "text"]

_RATE = re.compile(r"\s*[1-9][0-9]{0,5}\s*/\s*(second|minute|hour|day)\s*")


class Settings(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, hide_input_in_errors=True)


def _entry(value: str) -> str:
    """Parse a list entry: `*`, a kind, a chat id or number (returned as chat id), or the name of a saved contact."""
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
    """Chats that may be read. An empty `allow` matches no chat; `deny` wins over `allow`."""

    allow: Names = ("*",)
    deny: Names = ()


class SendRule(ReadRule):
    """Chats that may be written to. Chats under `ask` need a person's approval first; `deny` wins over both."""

    ask: Names = ()

    @model_validator(mode="before")
    @classmethod
    def _asking_is_not_allowing(cls, data: object) -> object:
        # With `ask` alone, the default allow = ["*"] would make `ask` pointless.
        if isinstance(data, dict) and "ask" in data and "allow" not in data:
            return {**data, "allow": ()}
        return data


class Chats(Settings):
    """Which chats the agent may write to and read; with `existing_only`, only chats that already have messages."""

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
    """Rate limits on effects that reach others, as "count/period; ..." or "" for none.

    `first_contacts` limits chats that this account has never written to. `gap` is the shortest and longest pause in
    seconds between two sends; each pause is random within it. `redis` is the URL of counters that processes of one App
    share.
    """

    total: Rates = "20/minute; 200/hour"
    chat: Rates = "10/minute; 60/hour"
    first_contacts: Rates = "2/minute; 10/hour; 30/day"
    gap: Annotated[tuple[float, float], AfterValidator(_ordered), BeforeValidator(_listed)] = (0.0, 1.5)
    redis: SecretStr | None = None


#: Host names or addresses, normalized like `urls.Url.host`. A list in the App definition.
Hosts = Annotated[
    frozenset[Annotated[str, AfterValidator(parse_host)]],
    BeforeValidator(lambda value: frozenset(value) if isinstance(value, list) else value),
]


class Links(Settings):
    """Which hosts may be named in what goes out; `others` says what happens with those that `allow` does not cover.

    A host covers its subdomains.
    """

    allow: Hosts = frozenset()
    others: Literal["allow", "ask", "refuse"] = "allow"

    @model_validator(mode="before")
    @classmethod
    def _a_list_needs_others(cls, data: object) -> object:
        # A list alone would limit nothing, and look as if it did.
        if isinstance(data, dict) and "allow" in data and "others" not in data:
            raise ValueError("say what happens with other hosts: others = 'ask' or 'refuse'")
        return data


NO_PACE = Pace(total="", chat="", first_contacts="", gap=(0.0, 0.0))


class PolicyFields(Settings):
    """The fields of an App definition that make up its policy."""

    chats: Chats = Chats()
    approval: Approval = "never"
    pace: Pace = Pace()
    #: Mark as seen, show "typing" and pause before a message is sent, as a person would.
    humanize: bool = False
    audit: Audit = "digest"
    links: Links = Links()
    #: Who fetches media URLs: this bridge, from the address that it has checked, or WAHA by itself.
    media_fetch: Literal["bridge", "waha"] = "bridge"
    #: Hosts on a private network that media may be fetched from nevertheless.
    media_hosts: Hosts = frozenset()
