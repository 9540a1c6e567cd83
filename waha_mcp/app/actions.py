"""The six actions a WAHA key can carry, and the Grant: which are in force here and how we know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum


class Action(StrEnum):
    """What a scoped key may do. Names and order are WAHA's (`SessionActionsDTO`)."""

    READ = "read"
    SEND = "send"
    CONTROL = "control"
    SETTING = "setting"
    APP = "app"
    DELETE = "delete"


#: What `actions: null` means on a key or an app: everything but deleting the session.
NULL_ACTIONS = frozenset(Action) - {Action.DELETE}

#: What an App that names no actions may be found to have; the others are on only when named.
UNNAMED_ACTIONS = frozenset({Action.READ, Action.SEND})


def parse_action(name: str) -> Action:
    """The action called `name`; a `ValueError` that lists all six where there is none."""
    try:
        return Action(name)
    except ValueError:
        raise ValueError(f"unknown action {name!r}: the actions are {', '.join(Action)}") from None


def actions_from_waha(value: object) -> frozenset[Action]:
    """The actions that WAHA grants for the `actions` value of a key or an app.

    `None` is all but delete. An object is taken as it is: a flag left out is off.

    Raises:
        ValueError: not an object, a name that is not an action, or a flag that is not a boolean.
    """
    if value is None:
        return NULL_ACTIONS
    if not isinstance(value, Mapping):
        raise ValueError('must be an object of flags, such as {"read": true}, or null')
    granted: set[Action] = set()
    for name, flag in value.items():
        action = parse_action(name)
        if not isinstance(flag, bool):
            raise ValueError(f"action {name!r} must be true or false, not {type(flag).__name__}")
        if flag:
            granted.add(action)
    return frozenset(granted)


class Evidence(StrEnum):
    """How we know whether an action is in force. The first two mean that it is."""

    DECLARED = "declared by the App"
    PROBED = "confirmed by WAHA"
    REFUSED = "refused by WAHA for this key"
    UNNAMED = "not named by the App"
    UNKNOWN = "not confirmed by WAHA yet"


@dataclass(frozen=True)
class Grant:
    """The actions in force, with the evidence for each. An action without evidence is off.

    `problem` says why the key as a whole is no good; then no action is in force.
    """

    evidence: Mapping[Action, Evidence] = field(default_factory=dict)
    problem: str | None = None

    @classmethod
    def initial(cls, declared: frozenset[Action] | None) -> Grant:
        """What may be assumed before WAHA has answered anything; `None` = the App names no actions."""
        if declared is None:
            return cls({a: Evidence.UNKNOWN if a in UNNAMED_ACTIONS else Evidence.UNNAMED for a in Action})
        return cls({a: Evidence.DECLARED if a in declared else Evidence.UNNAMED for a in Action})

    @property
    def actions(self) -> frozenset[Action]:
        """The actions in force."""
        return frozenset(a for a in Action if self.why_not(a) is None)

    def why_not(self, action: Action) -> str | None:
        """Why an action is not in force, in a few words; None where it is."""
        if self.problem is not None:
            return self.problem
        evidence = self.evidence.get(action, Evidence.UNKNOWN)
        return None if evidence in (Evidence.DECLARED, Evidence.PROBED) else f"action '{action}' is {evidence}"

    def with_evidence(self, changes: Mapping[Action, Evidence]) -> Grant:
        """A grant with some evidence replaced. An action that the App leaves out stays out."""
        kept = {a: e for a, e in changes.items() if self.evidence.get(a) is not Evidence.UNNAMED}
        return replace(self, evidence={**self.evidence, **kept})

    def refused(self, problem: str | None) -> Grant:
        """The same evidence, with the key refused as a whole; None takes that back."""
        return replace(self, problem=problem)
