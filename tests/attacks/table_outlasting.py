"""The defences that hold over restarts, crashes and several processes."""

from __future__ import annotations

from tests.attacks.defences import Defence

_GATE, _REPEATS = "policy/gate.py", "policy/repeats.py"
_HERE = "outlasting::"
_RESTARTED = f"{_HERE}after_a_restart_what_went_out_is_found_and_not_sent_again_where"
_ELSEWHERE = f"{_HERE}in_another_process_what_is_not_known_is_not_sent_again"
_KILLED = f"{_HERE}a_process_that_is_killed_while_it_sends_leaves_it_unknown"
_LIMIT = f"{_HERE}a_limit_holds_over_two_processes_that_start_twice"

OUTLASTING = (
    Defence(
        "after an unknown outcome the message is looked up again",
        (("policy/repeat_guard.py", 'if attempt.outcome == "unknown" and (found', "if False and (found"),),
        (_RESTARTED,),
    ),
    Defence(
        "a record of what was done outlasts the process",
        (
            (
                _GATE,
                "self.store: Store = store or user_store()",
                'self.store = __import__("waha_mcp.store.sqlite").store.sqlite.Sqlite('
                '__import__("pathlib").Path(__import__("tempfile").mkdtemp(), "store.sqlite"))',
            ),
        ),
        (
            _RESTARTED,
            _ELSEWHERE,
            _KILLED,
            _LIMIT,
            f"{_HERE}of_two_processes_that_send_the_same_at_once_one_does",
        ),
    ),
    Defence(
        "a call that a process left unfinished has an unknown outcome",
        ((_REPEATS, 'if so.outcome == "under way" and not self._store.alive(so.process):', "if False:"),),
        (_KILLED,),
    ),
    Defence(
        "only a person allows a repeat after an unknown outcome",
        ((_REPEATS, 'return self.outcome == "unknown" and self.ago < UNKNOWN_WINDOW', "return False"),),
        (
            *(
                f"{_ELSEWHERE}[{how}-{ending}]"
                for how in ("allowing the repeat", "with a zero-width space", "with an empty list", "with a preview")
                for ending in ("after its end", "after a crash")
            ),
            f"{_HERE}a_person_decides_whether_it_may_arrive_twice",
            f"{_HERE}a_yes_that_was_given_before_it_was_unknown_is_not_for_the_repeat",
        ),
    ),
    Defence(
        "the caller may take the risk of a repeat after a while",
        ((_REPEATS, "return again and self.outcome", "return self.outcome"),),
        (f"{_HERE}after_ten_minutes_the_caller_may_take_the_risk[plainly]",),
    ),
    Defence(
        "the repeat guard compares what the recipient sees",
        (
            (
                "policy/sameness.py",
                "call.tool.looks_like or call.tool.name, _seen(call))",
                "call.tool.name, call.arguments)",
            ),
        ),
        (
            f"{_HERE}what_was_sent_is_not_sent_again_with",
            f"{_HERE}what_was_done_is_not_done_again_by",
            f"{_HERE}in_another_process_what_is_not_known_is_not_done_by",
            *(
                f"{_HERE}what_was_sent_is_not_sent_again_with_an_option_that_changes_nothing[{how}]"
                for how in ("no mentions", "a preview of nothing")
            ),
        ),
    ),
    Defence(
        "no call waits long for its turn",
        (("policy/gap.py", "if start - now > MAX_WAIT:", "if False:"),),
        (f"{_HERE}however_many_wait_in_line_none_waits_for_longer_than_the_longest_wait",),
    ),
    Defence(
        "a send that WAHA refused is not counted",
        ((_GATE, "await self._pacer.give_back(counted)", "pass"),),
        (f"{_HERE}sends_that_waha_refuses_spend_nothing_and_the_session_is_named_where_it_is",),
    ),
)
