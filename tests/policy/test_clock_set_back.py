"""Rows in the store from before a clock was set back are valid no longer than they would have been."""

from __future__ import annotations

import time

import pytest

from tests.policy.common import SetClock
from waha_mcp.app.policy_fields import LIFETIME
from waha_mcp.policy.approval import Approvals
from waha_mcp.policy.question import Question
from waha_mcp.policy.repeats import WINDOW, Repeats
from waha_mcp.store import Store

HOUR = 3600.0


def asked(approvals: Approvals) -> str:
    question = Question("one", "send_text", "Send", (), {}, "digest", time.time() + LIFETIME)
    return approvals.ask(question).id


def test_an_approval_of_the_future_is_gone(store: Store, set_clock: SetClock) -> None:
    approvals = Approvals("one", store)
    set_clock(HOUR)
    first = asked(approvals)
    assert approvals.decide(first, approve=True)
    [approved] = approvals.entries()
    set_clock(0.0)
    assert approvals.entries() == []
    second = asked(approvals)
    assert second != first
    assert not approvals.use(approved)
    assert approvals.decide(second, approve=True)


def test_an_approval_outlives_a_clock_that_is_set_back_a_little(store: Store, set_clock: SetClock) -> None:
    approvals = Approvals("one", store)
    set_clock(1.0)
    assert approvals.decide(asked(approvals), approve=True)
    set_clock(0.0)
    assert [each.state for each in approvals.entries()] == ["approved"]


def test_what_was_done_in_the_future_is_refused_for_a_minute_from_when_it_is_met(
    store: Store, set_clock: SetClock
) -> None:
    repeats = Repeats("one", store)
    set_clock(HOUR)
    repeats.end("digest", repeats.begin("digest"), "done")
    set_clock(0.0)
    assert repeats.before("digest")
    set_clock(WINDOW / 2)
    [before] = repeats.before("digest")
    assert before.ago == pytest.approx(WINDOW / 2, abs=5)
    set_clock(WINDOW + 5)
    assert repeats.before("digest") == []
