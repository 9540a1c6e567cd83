"""The defences that `test_served` tries."""

from __future__ import annotations

from tests.attacks.defences import Defence

_CREDENTIALS, _BRIDGES, _HTTP = "server/credentials.py", "bridges.py", "server/http.py"

SERVED = (
    Defence(
        "a round-trip state is bound to its App and key",
        (
            (
                "server/asking.py",
                'f"{app.identity}/"',
                '"all/"',
            ),
        ),
        ("served::an_answer_to_one_keys_question_is_taken_with_no_other",),
    ),
    Defence(
        "a session is bound to the key that opened it",
        (
            (
                _HTTP,
                'token = AccessToken(token="", client_id=caller.owner, scopes=[])',
                'token = AccessToken(token="", client_id="", scopes=[])',
            ),
        ),
        ("served::a_session_of_one_key_is_ended_with_no_other",),
    ),
    Defence(
        "a request with two keys counts as one without",
        ((_CREDENTIALS, "if len(found) > 1:", "if False:"), (_CREDENTIALS, "[key] = found", "key = max(found)")),
        ("served::a_key_beside_another_is_none",),
    ),
    Defence(
        "headers can only narrow what an App offers",
        (
            (
                _CREDENTIALS,
                'return app.model_copy(update={"exclude": app.exclude | left_out})',
                'return app.model_copy(update={"exclude": frozenset(left_out), "toolsets": frozenset(wanted)})',
            ),
        ),
        ("served::a_header_brings_back_no_tool_that_the_app_leaves_out",),
    ),
    Defence(
        "the read-only header is enforced",
        ((_CREDENTIALS, "only_read = any(", "only_read = False and any("),),
        ("served::an_agent_that_may_only_read_by_its_header_sends_nothing",),
    ),
    Defence(
        "the server's own folders are not offered to remote clients",
        ((_CREDENTIALS, 'files = {} if app.remote_files else {"outbox": None, "downloads": None}', "files = {}"),),
        ("served::a_file_of_the_servers_machine_does_not_get_out",),
    ),
    Defence(
        "a request with an unknown Host is refused",
        (("server/known_hosts.py", 'if not self._knows(_IN_HOST, headers.getlist("host")):', "if False:"),),
        ("served::a_page_under_a_rebound_name_sends_nothing",),
    ),
    Defence(
        "a request from another origin is refused",
        (("server/known_hosts.py", "and not self._knows(_IN_ORIGIN, origins)", "and False"),),
        ("served::a_page_of_another_origin_sends_nothing",),
    ),
    Defence(
        "the key of a definition that is not served does not get the template",
        ((_CREDENTIALS, "not (self._folder is not None and self._folder.withholds(key))", "True"),),
        ("served::the_key_of_a_disabled_app_does_not_get_the_template",),
    ),
    Defence(
        "narrowed bridges take their App's own room",
        ((_BRIDGES, "((own, MOST_OF_ONE), ", "("),),
        ("served::narrowing_crowds_out_no_other_app",),
    ),
)
