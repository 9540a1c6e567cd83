"""What an agent may do, as `init` offers it: the actions of its key, and whom it may write to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from waha_mcp.app.actions import Action, parse_action
from waha_mcp.app.definition import split_names
from waha_mcp.app.policy_fields import KINDS
from waha_mcp.cli.admin import run
from waha_mcp.cli.common import Failure
from waha_mcp.cli.dialog import Asking, one_of
from waha_mcp.cli.terminal import set_in
from waha_mcp.steps import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from waha_mcp.app.definition import App


@dataclass(frozen=True)
class Choice:
    """What an agent may do. `limits`: fields of its App.

    `listed`: it writes to those on a list. `asks`: a person is asked about all others.
    """

    name: str
    actions: tuple[Action, ...]
    does: str
    protects: str
    limits: Mapping[str, Any] = field(default_factory=dict)
    listed: bool = False
    asks: bool = False


#: Whom an App with a list asks about, if a choice `asks`: everybody not on it.
OTHERS = ["people", "groups"]

CHOICES = (
    Choice(
        "assistant",
        (Action.READ, Action.SEND),
        "reads, answers those you have written to, and asks you before anything to others, links and deletions",
        "a stranger's message cannot make it write to strangers or send links without your yes",
        {"approval": ["first_contact", "destructive"], "links": {"others": "ask"}},
        asks=True,
    ),
    Choice(
        "careful",
        (Action.READ, Action.SEND),
        "reads, writes to people you name, and asks you before each message to anyone else",
        "a stranger's message cannot make it write to others without your yes",
        {"approval": "destructive", "links": {"others": "ask"}},
        listed=True,
        asks=True,
    ),
    Choice("read", (Action.READ,), "reads, and writes to nobody", "nothing that it reads can leave through WhatsApp"),
    Choice(
        "notify",
        (Action.SEND,),
        "writes to people you name, and reads nothing",
        "no message that somebody sends you can steer it",
        listed=True,
    ),
    Choice(
        "reply",
        (Action.READ, Action.SEND),
        "reads, and writes to anyone",
        "nothing: whoever writes to you can try to make it send your chats to them",
    ),
)


def ask_choice(asking: Asking, given: str | None) -> Choice:
    """What the agent may do."""
    if given is None and asking.on:
        print("\nWhat may the agent do, and what does that protect from?")
        for number, each in enumerate(CHOICES, 1):
            print(set_in(each.does, " " * 16, first=f"  {number}  {each.name:<10} "))
            print(set_in(each.protects, " " * 16))
        print(set_in(f"or actions by name: {', '.join(Action)}", "  "))
    return asking.until("Choose", parse_choice, given=given, default="1" if asking.on else "read")


def parse_choice(given: str) -> Choice:
    """Parse a number or name of `CHOICES`, or names of actions.

    Raises:
        Failure: none of these.
    """
    names = [each.name for each in CHOICES]
    if given in names or given.isdecimal():
        name = one_of(given, names, "choice")
        # "read" is also the name of an action, with the same meaning.
        return next(each for each in CHOICES if each.name == name)
    return Choice("", tuple(parse_actions(given, names)), "", "")


def parse_actions(given: str, choices: Sequence[str] = ()) -> frozenset[Action]:
    """Parse names of actions. `choices`: what could have been given in their place.

    Raises:
        Failure: one of them is none, or there is none.
    """
    try:
        found = frozenset(map(parse_action, split_names(given)))
    except ValueError as error:
        wrong = next(each for each in split_names(given) if each not in tuple(Action))
        instead = f" (or one of {', '.join(choices)})" if choices else ""
        raise Failure(f"{error}{instead}{did_you_mean(wrong, [*choices, *Action])}") from None
    if not found:
        raise Failure("an agent without any action can do nothing: name at least one")
    return found


def ask_limits(asking: Asking, app: Callable[..., App], may: Choice, send_to: str | None) -> dict[str, Any]:
    """The App's fields that say whom the agent may write to. `app(**fields)`: the App with them, and a key that reads.

    Raises:
        Failure, AppError: nobody can be asked, and `send_to` does not say it.
    """
    if Action.SEND not in may.actions:
        if send_to is not None:
            raise Failure("--send-to: without the action send the agent writes to nobody")
        return {}
    if send_to is None and not may.listed:
        return dict(may.limits)

    def rule(answer: str) -> dict[str, Any]:
        return _rule(app, may, split_names(answer))

    question = "\nWhom may it write to? Numbers, with commas"
    if may.asks:
        question = (
            "\nWhom may it write to without asking you? Numbers or names of saved contacts, with commas (Enter: nobody)"
        )
    allowed = asking.until(question, rule, given=send_to, default="" if may.asks or not asking.on else None)
    return {"chats": {"send": allowed}, **may.limits}


def _rule(app: Callable[..., App], may: Choice, names: list[str]) -> dict[str, Any]:
    """The list `chats.send` with these names, which are looked up.

    Raises:
        Failure, AppError: one of them cannot be found.
    """
    from waha_mcp.cli.setup import unknown_recipients

    allowed = {"allow": names} | ({"ask": OTHERS} if may.asks else {})
    made = app(chats={"send": allowed})
    if not names and not may.asks:
        raise Failure("name whom it may write to (--send-to): numbers, or * for everyone")
    named = [each for each in made.chats.send.allow if "@" not in each and each != "*" and each not in KINDS]
    if named and Action.READ not in may.actions:
        raise Failure(f"without the action read no name is looked up: give the number instead of {named[0]}")
    if named and (wrong := run(unknown_recipients, made)):
        raise Failure(f"{wrong}: give the number, or the name as it is saved")
    return allowed
