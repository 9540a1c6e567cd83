"""The defences of pauses, the trail and withdrawn rights."""

from __future__ import annotations

from tests.attacks.defences import Defence

_GATE = "policy/gate.py"
_NO_SECOND_LOOK = (
    _GATE,
    "self._check_not_paused()\n        self._guard.begin(call)\n",
    "self._guard.begin(call)\n",
)

PAUSE = (
    Defence(
        "a paused App has no effects",
        ((_GATE, "if pause is not None:\n            raise Refusal(", "if False:\n            raise Refusal("),),
        (
            "pause::what_is_paused_does_nothing",
            "pause::a_pause_holds_for_a_second_process_and_after_a_restart",
        ),
    ),
    Defence(
        "get_status reports a pause",
        (("tools/core/overview.py", "paused=await ctx.paused()", "paused=None"),),
        ("pause::what_is_paused_still_reads",),
    ),
    Defence(
        "a pause is checked again right before a request leaves",
        (_NO_SECOND_LOOK,),
        (
            "pause::what_waits_when_the_pause_comes_does_not_leave",
            "pause::what_a_person_was_asked_before_the_pause_does_not_leave_with_their_yes",
        ),
    ),
    Defence(
        "resuming one App does not lift the pause of all",
        (("policy/kill_switch.py", "for key in (_ALL, app_id):", "for key in (app_id,):"),),
        ("pause::the_resume_of_one_app_does_not_lift_the_pause_of_all",),
    ),
    Defence(
        "if the pause cannot be looked up, effects are refused",
        (
            (_GATE, "pause = paused(self.store, self._app.id)\n        if", "pause = None\n        if"),
            (_GATE, '{"process": self.store.process}', '{"process": ""}'),
        ),
        ("pause::nothing_leaves_while_a_pause_cannot_be_looked_up",),
    ),
    Defence(
        "an effect is in the trail before it leaves",
        ((_GATE, "if self._trail is not None and not call.begun:", "if False:"),),
        ("pause::a_process_killed_while_something_leaves_has_written_it_down",),
    ),
    Defence(
        "a call that fails before the gate is in the trail",
        (("bridge.py", "self.policy.note(name", "(lambda *_, **__: None)(name"),),
        ("pause::a_try_that_the_policy_never_saw_leaves_a_line_without_its_words",),
    ),
    Defence(
        "keys are taken out of the trail",
        (
            ("policy/audit.py", "line, _ = redact_json(entry, *self._secrets)", "line, _ = redact_json(entry)"),
            (_GATE, "redact_answer(tool, self._app.key)", "tool"),
        ),
        ("pause::a_key_that_leaked_does_not_stand_in_the_trail",),
    ),
    Defence(
        "processes take turns when they write the trail",
        (
            (
                "store/line_file.py",
                'return locked(self._path.with_suffix(".lock"), WAIT)',
                "return contextlib.nullcontext(True)",
            ),
        ),
        ("pause::agents_in_several_processes_cannot_push_each_others_lines_out",),
    ),
    Defence(
        "forgetting takes a chat out of the trail",
        (("policy/forgetting.py", "if not chats.in_text(line):", "if True:"),),
        ("pause::what_was_forgotten_is_in_no_file",),
    ),
    Defence(
        "a rotated key stops working",
        (
            (
                "cli/rotation.py",
                "plan.session, None)\n        await admin.remove_key(old.get_secret_value())",
                "plan.session, None) if False else None\n        return None",
            ),
        ),
        ("pause::an_agent_with_the_old_key_can_do_nothing_any_more",),
    ),
)
