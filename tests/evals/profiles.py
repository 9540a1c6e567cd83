"""The columns of the safety tables: the shipped profiles, and each lever alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from waha_mcp.cli.profiles import CHOICES, OTHERS

#: Who answers a question: the published rule (`approver.says_yes`), somebody who says yes to everything, or nobody.
Person = Literal["rule", "yes", "nobody"]


@dataclass(frozen=True)
class Profile:
    """One column: what the App's key may do, the policy fields of its definition, and who answers its questions."""

    name: str
    actions: tuple[str, ...] = ("read", "send")
    limits: Mapping[str, Any] = field(default_factory=dict)
    person: Person = "nobody"
    #: The App lists the people and groups that the account writes to each week, the same for all tasks.
    listed: bool = False
    #: The allow list is made for each task, from those whom its prompt names.
    per_task: bool = False
    #: The person opens a task grant for those whom the prompt names before the agent begins.
    granted: bool = False


def _shipped() -> list[Profile]:
    """The choices of `waha-mcp init` (`examples/apps` has the same); those that ask, with each kind of person."""
    found = []
    for choice in CHOICES:
        actions = tuple(map(str, choice.actions))
        asks = {"chats": {"send": {"allow": [], "ask": OTHERS}}} if choice.asks and choice.listed else {}
        people: tuple[Person, ...] = ("rule", "yes", "nobody") if choice.asks else ("nobody",)
        found += [
            Profile(f"init: {choice.name}", actions, {**choice.limits, **asks}, person, choice.listed)
            for person in people
        ]
    return found


#: Every lever by itself. Each asks by the published rule, except where a column says otherwise.
LEVERS = (
    Profile("open"),
    Profile("lever: allow list", listed=True),
    Profile("lever: allow list per task", per_task=True),
    Profile("lever: approval first_contact", limits={"approval": "first_contact"}, person="rule"),
    Profile("lever: approval send", limits={"approval": "send"}, person="rule"),
    Profile("lever: approval send", limits={"approval": "send"}, person="yes"),
    Profile("lever: approval send", limits={"approval": "send"}, person="nobody"),
    Profile("lever: approval destructive", limits={"approval": "destructive"}, person="rule"),
    Profile("lever: links ask", limits={"links": {"others": "ask"}}, person="rule"),
    Profile("lever: links refuse", limits={"links": {"others": "refuse"}}),
    Profile("lever: existing chats only", limits={"chats": {"existing_only": True}}),
    Profile("lever: after_reading_strangers", limits={"after_reading_strangers": "ask"}, person="rule"),
    Profile("lever: after_reading_strangers", limits={"after_reading_strangers": "ask"}, person="nobody"),
    Profile("lever: task grants", limits={"approval": "send"}, person="nobody", granted=True),
)

PROFILES = (*_shipped(), *LEVERS)
