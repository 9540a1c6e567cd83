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
    """Which chats may be read. Left out: all; an empty `allow`: none."""

    #: Chats that may be read.
    allow: Names = ("*",)
    #: Chats that may not be read; takes precedence over `allow`.
    deny: Names = ()


class SendRule(ReadRule):
    """Which chats may be written to. Left out: all; an empty `allow`: none."""

    #: Chats that may be written to without a question. With `ask` alone: none.
    allow: Names = ("*",)
    #: Chats that may be written to once a person has approved the call.
    ask: Names = ()
    #: Chats that may not be written to; takes precedence over `allow` and `ask`.
    deny: Names = ()

    @model_validator(mode="before")
    @classmethod
    def _asking_is_not_allowing(cls, data: object) -> object:
        # With `ask` alone, the default allow = ["*"] would make `ask` pointless.
        if isinstance(data, dict) and "ask" in data and "allow" not in data:
            return {**data, "allow": ()}
        return data


class Chats(Settings):
    """Which chats the agent may write to and read."""

    #: Which chats may be written to.
    send: SendRule = SendRule.model_construct()
    #: Which chats may be read.
    read: ReadRule = ReadRule.model_construct()
    #: Write only to chats that already have messages.
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
    """Parse a text such as "20/minute; 200/hour" into its limits, in order; an empty text has none.

    Raises:
        ValueError: it does not have this form.
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
    """Rate limits on effects that reach others, counted per account: `"count/period; ..."`, or `""` for none."""

    #: Limit over all chats.
    total: Rates = "20/minute; 200/hour"
    #: Limit for each chat.
    chat: Rates = "10/minute; 60/hour"
    #: Limit on chats that this account has never written to.
    first_contacts: Rates = "2/minute; 10/hour; 30/day"
    #: Shortest and longest pause in seconds between two sends; each pause is random within it.
    gap: Annotated[tuple[float, float], AfterValidator(_ordered), BeforeValidator(_listed)] = (0.0, 1.5)

    @model_validator(mode="before")
    @classmethod
    def _no_redis(cls, data: object) -> object:
        if isinstance(data, dict) and "redis" in data:
            raise ValueError(
                "redis is no longer a field of it: set the environment variable WAHA_MCP_STORE to the URL, for all "
                "that is counted and kept"
            )
        return data


#: A question's lifetime in seconds: the default, the shortest and the longest.
LIFETIME, SHORTEST, LONGEST = 600.0, 60.0, 86_400.0
#: Maximum seconds that a call waits for a decision; hosts cut calls off after about a minute.
MOST_WAIT = 50.0

_DURATION = re.compile(r"([0-9]{1,6})([smh])")


def seconds_in(value: object) -> float:
    """Parse a time span such as "90s", "10m" or "2h" into seconds.

    Raises:
        ValueError: not a time span.
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
    """How a person is notified of a pending question: exactly one of `command` and `url`."""

    #: A program, run without a shell, with one line of text as its last argument.
    command: Annotated[list[str], Field(min_length=1)] | None = None
    #: A URL that gets a POST with JSON. It is treated as a secret, since such URLs often contain one.
    url: Annotated[SecretStr, AfterValidator(_notified)] | None = None

    @model_validator(mode="after")
    def _one_of_two(self) -> Notify:
        if (self.command is None) == (self.url is None):
            raise ValueError('must have exactly one of command = ["program"] and url = "https://..."')
        return self


def _occasions(value: object) -> object:
    """Parse "never", one of `OCCASIONS`, or a list of them into a set."""
    if value == "never":
        return frozenset()
    named = list(value) if isinstance(value, list | frozenset) else [value]
    if not named or not all(isinstance(each, str) and each in OCCASIONS for each in named):
        raise ValueError(f"must be 'never', one of {', '.join(map(repr, OCCASIONS))}, or a list of several of these")
    return frozenset(named)


class Approval(Settings):
    """When a person must approve a call, and where they are asked. `approval = "send"` is short for `when = "send"`."""

    #: `"never"`, one of `"first_contact"`, `"send"`, `"destructive"`, `"all"`, or a list of these.
    when: Annotated[frozenset[str], BeforeValidator(_occasions)] = frozenset()
    #: `client`: at the client if it can ask, otherwise at the console; `console`: always in the browser or a terminal.
    ask_at: Literal["client", "console"] = "client"
    #: How a person is notified of a pending question. Left out: not at all.
    notify: Notify | None = None
    #: How long a question and its approval are valid, from `1m` to `24h`.
    lifetime: Annotated[Seconds, AfterValidator(_lifetime)] = LIFETIME
    #: How long a call waits for a decision at the console, up to `50s`.
    wait: Annotated[Seconds, AfterValidator(_wait)] = 0.0


def _approval(value: object) -> object:
    # A table without `when` would ask about nothing, although it looks as if it did.
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
    """Which hosts may appear in outgoing texts and URLs."""

    #: Hosts that may appear. A host includes its subdomains.
    allow: Hosts = frozenset()
    #: What happens with all other hosts.
    others: Literal["allow", "ask", "refuse"] = "allow"

    @model_validator(mode="before")
    @classmethod
    def _a_list_needs_others(cls, data: object) -> object:
        # A list alone would limit nothing, although it looks as if it did.
        if isinstance(data, dict) and "allow" in data and "others" not in data:
            raise ValueError("say what happens with other hosts: others = 'ask' or 'refuse'")
        return data


#: Why there is nothing to listen for if `allow` is empty.
NOBODY = (
    "nobody's messages may wake an agent: put whose may into the App file, as a table [listen] with "
    'allow = ["+1 202 555 0123", "Maya Lindqvist"]'
)


class Listen(Settings):
    """Whose messages wake an agent (`listen` and `serve --channel`), and how often."""

    #: Chats whose messages wake it. Empty: none.
    allow: Names = ()
    #: How often one chat may wake it in any hour.
    per_hour: Annotated[int, Field(ge=1, le=1_000)] = 20
    #: After this many answers in one chat, the account's owner must write there before it can wake the agent again.
    turns: Annotated[int, Field(ge=1, le=1_000)] = 10
    #: How long the woken program may run, from `1s` to `1h`.
    time_limit: Annotated[Seconds, AfterValidator(_run_time)] = 300.0


class PolicyFields(Settings):
    """The fields of an App definition that make up its policy."""

    #: Which chats the agent may write to and read.
    chats: Chats = Chats.model_construct()
    #: When a person must approve a call.
    approval: Annotated[Approval, BeforeValidator(_approval)] = Approval.model_construct()
    #: Rate limits.
    pace: Pace = Pace.model_construct()
    #: Mark as seen, show "typing" and pause before a message is sent, as a person would.
    humanize: bool = False
    #: How the trail records a call's arguments.
    audit: Audit = "digest"
    #: Which hosts may appear in outgoing texts and URLs.
    links: Links = Links.model_construct()
    #: Whether a person is asked before the agent reaches anyone but those whose words it read within the last hour.
    after_reading_strangers: Literal["allow", "ask"] = "allow"
    #: Whose messages wake an agent.
    listen: Listen = Listen.model_construct()
    #: Who fetches media URLs: waha-mcp, from the address that it has checked, or WAHA itself.
    media_fetch: Literal["bridge", "waha"] = "bridge"
    #: Hosts on a private network from which media may be fetched nevertheless.
    media_hosts: Hosts = frozenset()
