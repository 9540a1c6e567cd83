"""The six actions a WAHA key can carry, and WAHA's own reading of an `actions` value."""

from __future__ import annotations

from collections.abc import Mapping
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


def actions_from_waha(value: Mapping[str, bool] | None) -> frozenset[Action]:
    """The actions that WAHA grants for the `actions` value of a key or an app.

    `None` is all but delete. An object is taken as it is: a flag left out is off.

    Raises:
        ValueError: a name that is not an action, or a flag that is not a boolean.
    """
    if value is None:
        return NULL_ACTIONS
    granted: set[Action] = set()
    for name, flag in value.items():
        try:
            action = Action(name)
        except ValueError:
            raise ValueError(f"unknown action {name!r}: the actions are {', '.join(Action)}") from None
        if not isinstance(flag, bool):
            raise ValueError(f"action {name!r} must be true or false, not {type(flag).__name__}")
        if flag:
            granted.add(action)
    return frozenset(granted)
