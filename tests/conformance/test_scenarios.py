"""A scenario is green only when it has checked something and nothing failed; what does not apply has a reason."""

from __future__ import annotations

import pytest

from tests.conformance.scenarios import APPLY, LEFT_OUT, NEWER, OLDER, WITH_SESSIONS, Check, missing, stale, verdict

GOOD = Check("a", "SUCCESS")
BAD = Check("b", "FAILURE", "it answered 200")
SCHEMA = Check("wire-schema-valid", "SUCCESS")
DIAGNOSTIC = "sep-2575-server-no-log-without-loglevel"


@pytest.mark.parametrize(
    ("checks", "good", "text"),
    [
        ([GOOD, SCHEMA], True, "1 checks"),
        ([GOOD, BAD], False, "b: it answered 200"),
        ([SCHEMA], False, "has checked nothing"),
        ([], False, "has checked nothing"),
        ([GOOD, Check("c", "WARNING")], True, "1 checks, 1 warnings"),
        ([GOOD, Check("wire-schema-valid", "FAILURE", "no id")], False, "wire-schema-valid: no id"),
    ],
)
def test_a_scenario_is_green_when_it_has_checked_something_and_nothing_failed(
    checks: list[Check], good: bool, text: str
) -> None:
    found = verdict("tools-list", checks, NEWER, sessions=False)
    assert (found.good, found.text) == (good, text)


def test_a_check_that_needs_a_diagnostic_tool_is_excused_only_where_it_could_not_be_tested() -> None:
    untestable = Check(DIAGNOSTIC, "FAILURE", "Not testable: server does not list the diagnostic tool")
    assert verdict("server-stateless", [GOOD, untestable], NEWER, sessions=False).good is True
    assert (
        verdict("server-stateless", [GOOD, Check(DIAGNOSTIC, "FAILURE", "logs")], NEWER, sessions=False).good is False
    )
    assert verdict("tools-list", [GOOD, untestable], NEWER, sessions=False).good is False


def test_a_scenario_of_sessions_applies_with_sessions_alone() -> None:
    assert verdict("server-session-lifecycle", [BAD], OLDER, sessions=True).good is False
    assert verdict("server-session-lifecycle", [BAD], OLDER, sessions=False).good is None


def test_a_scenario_that_nobody_knows_has_not_run_or_is_gone_is_told() -> None:
    assert verdict("brand-new", [GOOD], NEWER, sessions=False).good is False
    assert missing(APPLY[OLDER] - {"ping"}, OLDER, sessions=False) == ["ping"]
    assert missing(APPLY[OLDER], OLDER, sessions=True) == sorted(WITH_SESSIONS)
    assert stale(LEFT_OUT.keys() - {"tools-call-audio"}) == ["tools-call-audio"]
    assert stale(LEFT_OUT) == []


def test_no_scenario_both_applies_and_is_left_out() -> None:
    assert not (APPLY[OLDER] | APPLY[NEWER] | WITH_SESSIONS) & LEFT_OUT.keys()
