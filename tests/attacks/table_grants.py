"""The defences of task grants, each with the cases that must fail without it."""

from __future__ import annotations

from tests.attacks.defences import Defence

_GRANTS, _APPROVER, _GATE = "policy/task_grants.py", "policy/approver.py", "policy/gate.py"
#: Switches off the comparison of the members shown with those of now.
_ANYBODY = (
    _GRANTS,
    'if grant is None or grant.left < 1 or grant.shown != shown or grant.who not in ("", who):',
    "if grant is None or grant.left < 1:",
)
_ANY_TOOL = (
    _GRANTS,
    "    return (\n        tool.toolset in _TOOLSETS\n",
    "    return True or (\n        tool.toolset in _TOOLSETS\n",
)

GRANTS = (
    Defence(
        "a task grant covers only the chats that were named",
        (
            (
                _GRANTS,
                'key = f"{identity}/{chat}"\n    row = store.get(_TABLE, key)',
                'row = next((each.value for each in store.rows(_TABLE, f"{identity}/")), None)\n    '
                'key = next((each.key for each in store.rows(_TABLE, f"{identity}/")), "")',
            ),
            _ANYBODY,
        ),
        ("grants::nobody_else_gets_anything",),
    ),
    Defence(
        "a task grant belongs to one App",
        (
            (
                _GRANTS,
                'key = f"{identity}/{chat}"\n    row = store.get(_TABLE, key)',
                'key = next((each.key for each in store.rows(_TABLE) if each.key.endswith(chat)), "")\n    '
                "row = store.get(_TABLE, key)",
            ),
        ),
        ("grants::another_app_of_the_account_has_none_of_it",),
    ),
    Defence(
        "every message uses up one of a task grant",
        ((_GRANTS, "left=grant.left - 1", "left=grant.left"),),
        ("grants::after_the_last_message_a_person_is_asked", "grants::whatever_stands_in_a_chat_is_a_message"),
    ),
    Defence(
        "processes together take no more than a task grant has",
        (
            (
                _GRANTS,
                "if store.swap(_TABLE, grant.key, row, _written(after), expires=grant.expires):",
                "__import__('time').sleep(0.3)\n        put(store, _TABLE, grant.key, _written(after))\n"
                "        if True:",
            ),
        ),
        ("grants::at_once_no_more_go_than_were_given",),
    ),
    Defence(
        "a task grant ends",
        (
            (_GRANTS, "max(grant.created, grant.used) - ASTRAY <= now < grant.expires", "True"),
            (
                _GRANTS,
                "put(store, _TABLE, grant.key, _written(grant), expires=grant.expires)",
                "put(store, _TABLE, grant.key, _written(grant))",
            ),
            (
                _GRANTS,
                "if store.swap(_TABLE, grant.key, row, _written(after), expires=grant.expires):",
                "if store.swap(_TABLE, grant.key, row, _written(after)):",
            ),
        ),
        ("grants::when_it_is_over_a_person_is_asked",),
    ),
    Defence(
        "a task grant covers messages and nothing else",
        (_ANY_TOOL,),
        ("grants::what_is_no_message_is_asked_about",),
    ),
    Defence(
        "a task grant does not skip the question about a link",
        ((_APPROVER, "and all(reason.by_grant for reason in why)", ""),),
        ("grants::a_link_is_asked_about",),
    ),
    Defence(
        "a task grant lets nothing be fetched",
        ((_APPROVER, "            and not asks_a_server\n", ""),),
        ("grants::no_server_learns_a_url",),
    ),
    Defence(
        "a task grant covers only the members that were shown",
        (_ANYBODY,),
        ("grants::a_group_that_has_changed_is_asked_about",),
    ),
    Defence(
        "everybody whom a call reaches needs a task grant",
        (
            (_GRANTS, "all(grant is not None and grant.left >= left for grant in found)", "any(found)"),
            (_GRANTS, "            give_back(store, taken)\n            return ()", "            continue"),
        ),
        ("grants::whoever_else_is_reached_is_asked_about",),
    ),
    Defence(
        "a refusal overrides a task grant",
        ((_APPROVER, 'if entry is not None and entry.state == "refused":', "if False:"),),
        ("grants::what_was_refused_does_not_go_under_one",),
    ),
    Defence(
        "a task grant does not lift the deny list",
        ((_GATE, "        if refused:\n", "        if False:\n"),),
        ("grants::who_is_denied_stays_denied",),
    ),
    Defence(
        "a task grant does not lift a pause",
        ((_GATE, "if pause is not None:\n            raise Refusal(", "if False:\n            raise Refusal("),),
        ("grants::what_is_paused_stays_paused",),
    ),
    Defence(
        "a task grant does not lift the limits of pace",
        (
            (_GATE, "await self._paced(self._pacer.check(call.reached, counting))", "pass"),
            (_GATE, "counted = await self._paced(self._pacer.take(call.reached, first))", "counted = None"),
        ),
        ("grants::the_pace_stays",),
    ),
    Defence(
        "a message that was not sent is given back to the task grant",
        ((_APPROVER, "await in_thread(task_grants.give_back, self._store, granted)", "pass"),),
        ("grants::what_was_not_sent_takes_nothing",),
    ),
    Defence(
        "a message that may have been sent is taken from the task grant",
        (
            (
                _GATE,
                "if happened:\n                raise _as",
                "if happened:\n                await self._approver.give_back(call)\n                raise _as",
            ),
        ),
        ("grants::what_may_have_been_sent_takes_one",),
    ),
)
