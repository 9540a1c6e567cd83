"""The six actions of a WAHA key, and the Grant: the actions in force for this App, each with its evidence."""

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


#: The actions that `actions: null` of a key or app grants: all but deleting the session.
NULL_ACTIONS = frozenset(Action) - {Action.DELETE}

#: The actions that are probed for an App that names none; the others are on only when named.
UNNAMED_ACTIONS = frozenset({Action.READ, Action.SEND})


def parse_action(name: str) -> Action:
    """Parse the name of an action.

    Raises:
        ValueError: no such action; the message lists all six.
    """
    try:
        return Action(name)
    except ValueError:
        raise ValueError(f"unknown action {name!r}: the actions are {', '.join(Action)}") from None


def actions_from_waha(value: object) -> frozenset[Action]:
    """Parse the `actions` value of a WAHA key or app (`{"read": true, ...}` or None) into the granted actions.

    `None` grants all but delete. In an object, a missing flag is off.

    Raises:
        ValueError: not an object, an unknown action, or a flag that is not a boolean.
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
    """Why an action is in force (DECLARED, PROBED) or not (the others)."""

    DECLARED = "declared by the App"
    PROBED = "confirmed by WAHA"
    REFUSED = "refused by WAHA for this key"
    UNNAMED = "not named by the App"
    UNKNOWN = "not confirmed by WAHA yet"


@dataclass(frozen=True)
class Grant:
    """The actions in force, with the evidence for each. An action without evidence is off.

    `problem` says why the key as a whole cannot be used; while it is set, no action is in force.
    """

    evidence: Mapping[Action, Evidence] = field(default_factory=dict)
    problem: str | None = None

    @classmethod
    def initial(cls, declared: frozenset[Action] | None) -> Grant:
        """The grant before WAHA has answered. `declared` is None if the App names no actions."""
        if declared is None:
            return cls({a: Evidence.UNKNOWN if a in UNNAMED_ACTIONS else Evidence.UNNAMED for a in Action})
        return cls({a: Evidence.DECLARED if a in declared else Evidence.UNNAMED for a in Action})

    @property
    def actions(self) -> frozenset[Action]:
        """The actions in force."""
        return frozenset(a for a in Action if self.why_not(a) is None)

    @property
    def unknown(self) -> frozenset[Action]:
        """The actions about which WAHA has yet to answer; none where the whole key has a problem."""
        return frozenset(a for a, e in self.evidence.items() if e is Evidence.UNKNOWN and self.problem is None)

    def why_not(self, action: Action) -> str | None:
        """Why an action is not in force, as a short phrase; None if it is."""
        if self.problem is not None:
            return self.problem
        evidence = self.evidence.get(action, Evidence.UNKNOWN)
        return None if evidence in (Evidence.DECLARED, Evidence.PROBED) else f"action '{action}' is {evidence}"

    def with_evidence(self, changes: Mapping[Action, Evidence]) -> Grant:
        """A copy with some evidence replaced. Actions that the App does not name stay off."""
        kept = {a: e for a, e in changes.items() if self.evidence.get(a) is not Evidence.UNNAMED}
        return replace(self, evidence={**self.evidence, **kept})

    def refused(self, problem: str | None) -> Grant:
        """A copy with `problem` set, so that no action is in force; None clears it."""
        return replace(self, problem=problem)
