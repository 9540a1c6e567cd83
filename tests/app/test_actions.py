"""Actions and the Grant: the actions in force follow from the evidence, and without evidence an action is off."""

from __future__ import annotations

from itertools import chain, combinations
from typing import Any

import pytest

from waha_mcp.app.actions import NULL_ACTIONS, Action, Evidence, Grant, actions_from_waha, parse_action

SETS = [frozenset(c) for c in chain.from_iterable(combinations(Action, n) for n in range(7))]


def test_null_is_all_but_delete() -> None:
    assert actions_from_waha(None) == NULL_ACTIONS == set(Action) - {Action.DELETE}


@pytest.mark.parametrize("actions", SETS, ids=lambda s: ",".join(sorted(s)) or "none")
def test_an_object_is_taken_as_it_is(actions: frozenset[Action]) -> None:
    assert actions_from_waha({str(a): True for a in actions}) == actions
    assert actions_from_waha({str(a): a in actions for a in Action}) == actions


@pytest.mark.parametrize("value", [{"read": 1}, {"read": None}, {"read": "true"}, {"Read": True}, [], "read", 5])
def test_what_is_not_an_object_of_flags_is_an_error(value: Any) -> None:
    with pytest.raises(ValueError, match=r"true|action"):
        actions_from_waha(value)


def test_an_unknown_action_is_told_with_the_six_that_there_are() -> None:
    with pytest.raises(ValueError, match="read, send, control, setting, app, delete"):
        parse_action("write")


def test_undeclared_actions_are_off_until_they_are_confirmed() -> None:
    grant = Grant.initial(None)
    assert grant.actions == set()
    assert grant.with_evidence({Action.READ: Evidence.PROBED}).actions == {Action.READ}
    assert grant.with_evidence({Action.READ: Evidence.REFUSED}).actions == set()


def test_what_was_not_named_is_never_on_whatever_waha_says() -> None:
    everything = dict.fromkeys(Action, Evidence.PROBED)
    assert Grant.initial(None).with_evidence(everything).actions == {Action.READ, Action.SEND}
    assert Grant.initial(frozenset({Action.APP})).with_evidence(everything).actions == {Action.APP}


@pytest.mark.parametrize("declared", SETS, ids=lambda s: ",".join(sorted(s)) or "none")
def test_declared_actions_are_on_until_they_are_refused(declared: frozenset[Action]) -> None:
    grant = Grant.initial(declared)
    assert grant.actions == declared
    for action in declared:
        assert grant.with_evidence({action: Evidence.REFUSED}).actions == declared - {action}


def test_a_refused_action_comes_back_when_it_is_confirmed() -> None:
    grant = Grant.initial(frozenset({Action.READ})).with_evidence({Action.READ: Evidence.REFUSED})
    assert grant.with_evidence({Action.READ: Evidence.PROBED}).actions == {Action.READ}


def test_a_problem_with_the_key_takes_everything_and_gives_it_back() -> None:
    grant = Grant.initial(frozenset(Action))
    refused = grant.refused("the key is unknown")
    assert refused.actions == set()
    assert {refused.why_not(a) for a in Action} == {"the key is unknown"}
    assert refused.refused(None) == grant


def test_no_evidence_is_no() -> None:
    assert Grant().actions == set()


def test_the_reason_names_the_action() -> None:
    grant = Grant.initial(frozenset({Action.READ})).with_evidence({Action.READ: Evidence.REFUSED})
    assert "'read'" in (grant.why_not(Action.READ) or "")
    assert "'send'" in (grant.why_not(Action.SEND) or "")
