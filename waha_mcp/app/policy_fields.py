"""The policy fields of an App definition. Unknown or malformed values are refused when the App is loaded."""

from __future__ import annotations

import re
from typing import Annotated, Literal, NamedTuple

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, model_validator

from waha_mcp.app.urls import is_local, parse, parse_host
from waha_mcp.whatsapp.ids import parse_chat

#: Words that a list may hold instead of a chat, each for all chats of one kind. "public" stands for effects that are
#: visible to an open audience: the profile, a channel's name, a group joined by its link.
KINDS = ("people", "groups", "channels", "broadcasts", "status", "public")

#: Which effects need a person's approval first.
OCCASIONS = ("first_contact", "send", "destructive", "all")
#: How the trail records a call's arguments.
Audit = Literal["off", "digest", "text"]

#: The periods of rate limits, in seconds.
_PERIODS = {"second": 1.0, "minute": 60.0, "hour": 3_600.0, "day": 86_400.0}
_RATE = re.compile(rf"\s*([1-9][0-9]{{0,5}})\s*/\s*({'|'.join(_PERIODS)})\s*")


class Settings(BaseModel):
    """Fields of an App. Defaults are made by `model_construct`, which needs no validator to be built at every start."""

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

    send: SendRule = SendRule.model_construct()
    read: ReadRule = ReadRule.model_construct()
    existing_only: bool = False


class Rate(NamedTuple):
    """At most `amount` effects in any period of this length."""

    amount: int
    period: str

    @property
    def window(self) -> float:
        """The period in seconds."""
        return _PERIODS[self.period]

    def __str__(self) -> str:
        return f"{self.amount} per {self.period}"


def rates_in(text: str) -> list[Rate]:
    """The limits that a text such as "20/minute; 200/hour" names, in its order; none in an empty one.

    Raises:
        ValueError: it is not written so.
    """
    parts = [_RATE.fullmatch(part) for part in text.split(";")] if text.strip() else []
    if None in parts:
        raise ValueError("write limits like '20/minute; 200/hour' (second, minute, hour or day), or '' for none")
    return [Rate(int(part[1]), part[2]) for part in parts if part]


def _rates(value: str) -> str:
    rates_in(value)
    return value.strip()


Rates = Annotated[str, AfterValidator(_rates)]


def _ordered(value: tuple[float, float]) -> tuple[float, float]:
    if not 0 <= value[0] <= value[1] <= 60:
        raise ValueError("must be [shortest, longest] in seconds, from 0 to 60")
    return value


class Pace(Settings):
    """Rate limits on effects that reach others, as "count/period; ..." or "" for none.

    `first_contacts` limits chats that this account has never written to. `gap` is the shortest and longest pause in
    seconds between two sends; each pause is random within it.
    """

    total: Rates = "20/minute; 200/hour"
    chat: Rates = "10/minute; 60/hour"
    first_contacts: Rates = "2/minute; 10/hour; 30/day"
    gap: Annotated[tuple[float, float], AfterValidator(_ordered), BeforeValidator(_listed)] = (0.0, 1.5)

    @model_validator(mode="before")
    @classmethod
    def _no_redis(cls, data: object) -> object:
        if isinstance(data, dict) and "redis" in data:
            raise ValueError(
                "redis is no field of it any more: set the environment variable WAHA_MCP_STORE to the URL, for all "
                "that is counted and kept"
            )
        return data


#: Seconds of a question's lifetime: the default, the shortest and the longest.
LIFETIME, SHORTEST, LONGEST = 600.0, 60.0, 86_400.0
#: Most seconds that a call waits for a decision; hosts cut calls off after about a minute.
MOST_WAIT = 50.0

_DURATION = re.compile(r"([0-9]{1,6})([smh])")


def seconds_in(value: object) -> float:
    """The seconds in a time span such as "90s", "10m" or "2h".

    Raises:
        ValueError: it is none.
    """
    found = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError('write a time such as "90s", "10m" or "2h"')
    return float(found[1]) * {"s": 1, "m": 60, "h": 3_600}[found[2]]


def _run_time(value: float) -> float:
    if not 1 <= value <= 3_600:
        raise ValueError("must be from 1s to 1h")
    return value


def _lifetime(value: float) -> float:
    if not SHORTEST <= value <= LONGEST:
        raise ValueError("must be from 1m to 24h")
    return value


def _wait(value: float) -> float:
    if not 0 <= value <= MOST_WAIT:
        raise ValueError(f"must be from 0s to {MOST_WAIT:.0f}s")
    return value


Seconds = Annotated[float, BeforeValidator(seconds_in)]


def _notified(value: SecretStr) -> SecretStr:
    url = parse(value.get_secret_value())
    if url.scheme == "http" and not is_local(url.host):
        raise ValueError(f"plain http would send it unencrypted to {url.host}; use https://")
    return SecretStr(url.href)


class Notify(Settings):
    """Whom to tell that a question waits: exactly one of `command` and `url`.

    `command` gets one line of text as its last argument, without a shell. `url` gets a POST with JSON; it is a secret,
    since addresses of such services often hold one.
    """

    command: Annotated[list[str], Field(min_length=1)] | None = None
    url: Annotated[SecretStr, AfterValidator(_notified)] | None = None

    @model_validator(mode="after")
    def _one_of_two(self) -> Notify:
        if (self.command is None) == (self.url is None):
            raise ValueError('must have exactly one of command = ["program"] and url = "https://..."')
        return self


def _occasions(value: object) -> object:
    """Parse "never", one of `OCCASIONS`, or a list of them, as a set."""
    if value == "never":
        return frozenset()
    named = list(value) if isinstance(value, list | frozenset) else [value]
    if not named or not all(isinstance(each, str) and each in OCCASIONS for each in named):
        raise ValueError(f"must be 'never', one of {', '.join(map(repr, OCCASIONS))}, or a list of several of these")
    return frozenset(named)


class Approval(Settings):
    """When a person is asked, where, and for how long; `approval = "send"` is short for `{when = "send"}`."""

    #: Any of `OCCASIONS`; empty for never.
    when: Annotated[frozenset[str], BeforeValidator(_occasions)] = frozenset()
    #: "client": at the client if it can ask, else at the console; "console": always on the page or in a terminal.
    ask_at: Literal["client", "console"] = "client"
    notify: Notify | None = None
    #: Seconds for which a question and its approval are good.
    lifetime: Annotated[Seconds, AfterValidator(_lifetime)] = LIFETIME
    #: Seconds for which a call waits for the decision at the console.
    wait: Annotated[Seconds, AfterValidator(_wait)] = 0.0


def _approval(value: object) -> object:
    # A table without `when` would ask about nothing by itself, and look as if it did.
    if isinstance(value, dict) and "when" not in value:
        raise ValueError(
            "say when a person is asked: when = 'first_contact', 'send', 'destructive' or 'all' "
            "('never': only as the lists of chats and links say)"
        )
    return {"when": value} if isinstance(value, str | list) else value


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


#: Why there is nothing to listen for, where `allow` is empty.
NOBODY = (
    "nobody's messages may wake an agent: put whose may into the App file, as a table [listen] with "
    'allow = ["+1 202 555 0123", "Maya Lindqvist"]'
)


class Listen(Settings):
    """Whose messages wake an agent (`listen` and `serve --channel`): nobody's, where `allow` is empty; and how often.

    `per_hour`: at most so often for each chat. `turns`: after so many answers to one chat, only once the account's
    owner has written there. `time_limit`: seconds that the agent may take each time.
    """

    allow: Names = ()
    per_hour: Annotated[int, Field(ge=1, le=1_000)] = 20
    turns: Annotated[int, Field(ge=1, le=1_000)] = 10
    time_limit: Annotated[Seconds, AfterValidator(_run_time)] = 300.0


class PolicyFields(Settings):
    """The fields of an App definition that make up its policy."""

    chats: Chats = Chats.model_construct()
    approval: Annotated[Approval, BeforeValidator(_approval)] = Approval.model_construct()
    pace: Pace = Pace.model_construct()
    #: Mark as seen, show "typing" and pause before a message is sent, as a person would.
    humanize: bool = False
    audit: Audit = "digest"
    links: Links = Links.model_construct()
    #: Whether a person is asked before others are reached than those whose words were read within the last hour.
    after_reading_strangers: Literal["allow", "ask"] = "allow"
    listen: Listen = Listen.model_construct()
    #: Who fetches media URLs: this bridge, from the address that it has checked, or WAHA by itself.
    media_fetch: Literal["bridge", "waha"] = "bridge"
    #: Hosts on a private network that media may be fetched from nevertheless.
    media_hosts: Hosts = frozenset()
