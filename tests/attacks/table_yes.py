"""The defences of a person's approval, each with the cases that must fail without it."""

from __future__ import annotations

from tests.attacks.defences import Defence

_APPROVER, _APPROVAL, _NOTICES = "policy/approver.py", "policy/approval.py", "policy/notices.py"

YES = (
    Defence(
        "the bytes that were shown are the ones sent",
        (("tools/local_files.py", "content = ctx.files[path]", "content = await from_outbox(path, ctx.app.outbox)"),),
        (
            "yes::what_goes_is_what_the_client_was_asked_about_where_the_file_is",
            "yes::what_goes_is_what_the_console_showed_where_the_file_is",
        ),
    ),
    Defence(
        "an approval covers the bytes of the file",
        (("policy/call.py", "file.sha256 for file in self.files}", '"" for file in self.files}'),),
        ("yes::a_yes_for_one_file_sends_no_other_where_it_is",),
    ),
    Defence(
        'with ask_at = "console", an answer from the host does not count',
        (
            (
                _APPROVER,
                'await call.ask(question) if self._rules.ask_at == "client" else None',
                "await call.ask(question)",
            ),
        ),
        ("yes::a_host_answers_nothing_where_the_console_is_asked",),
    ),
    Defence(
        "a declined question stays declined in other processes and after a restart",
        ((_APPROVER, "if client is not None:", "if False:"),),
        ("yes::a_declined_call_is_not_asked_about_again",),
    ),
    Defence(
        "an approval works once over all processes",
        (
            (_APPROVAL, "_written(approved), None)", "_written(approved), _written(approved))"),
            # The repeat guard refuses what was done.
            ("policy/gate.py", "call.despite = await self._guard.check(call)", "call.despite = ()"),
            ("policy/gate.py", "        self._guard.begin(call)\n", ""),
        ),
        ("yes::an_approval_is_good_once_for_all_processes", "yes::a_yes_that_was_not_used_is_good_once_after"),
    ),
    Defence(
        "a waiting call needs an approval",
        ((_APPROVER, "if used := await in_thread(self._used, entry):\n            return used", "return filed"),),
        tuple(f"yes::a_call_that_waits_does_nothing_without_a_yes[{how}]" for how in ("refused", "nobody decides")),
    ),
    Defence(
        "a flood of questions keeps no other question out",
        (
            (
                _APPROVAL,
                "for entry in _surplus(others, question):",
                "if len(waiting) >= MOST_WAITING:\n                raise TooManyWaiting\n            for entry in ():",
            ),
            (_APPROVAL, ">= MOST_PER_CHATS:", ">= 1000:"),
        ),
        ("yes::a_flood_keeps_no_honest_question_out",),
    ),
    Defence(
        "the chat with the most questions makes room for others",
        (
            (_APPROVAL, "max(left, key=lambda entry: max(about[chat] for chat in _about(entry.question)))", "left[0]"),
            (_APPROVAL, ">= MOST_PER_CHATS:", ">= 1000:"),
        ),
        ("yes::a_flood_takes_no_honest_question_away",),
    ),
    Defence(
        "the number of questions about one chat is limited",
        ((_APPROVAL, ">= MOST_PER_CHATS:", ">= 1000:"),),
        ("yes::a_person_is_not_asked_about_one_chat_without_end",),
    ),
    Defence(
        "a notice gets no key",
        (("log.py", 'if not k.startswith("WAHA_") and redact(v, *_hidden()) == v}', "}"),),
        ("yes::a_notice_gets_no_key",),
    ),
    Defence(
        "a notice contains no text of the agent",
        ((_NOTICES, "head = entry.question.head().text", "head = entry.question.text()"),),
        ("yes::a_notice_carries_no_text_of_the_agent",),
    ),
    Defence(
        "an approval covers the recipients that were shown",
        (
            (
                _APPROVER,
                "return before.recipients == tuple(names.values()) and before.who.items() <= who.items()",
                "return True",
            ),
        ),
        ("yes::a_yes_for_a_group_is_none_after", "yes::a_yes_for_a_group_is_none_where_meanwhile"),
    ),
    Defence(
        "a refusal holds for calls that look the same",
        ((_APPROVAL, 'or (seen != "" and entry.question.seen == seen)', ""),),
        ("yes::what_was_refused_is_not_asked_again_respelled", "yes::spellings_of_one_question_take_one_place"),
    ),
    Defence(
        "a declined question holds for calls that look the same",
        (
            (_APPROVAL, "self._key(question.seen), json", "self._key(question.digest), json"),
            (_APPROVER, "self._approvals.declined(call.seen)", "self._approvals.declined(call.digest)"),
        ),
        ("yes::what_was_declined_is_not_asked_again_respelled",),
    ),
    Defence(
        "the number of forms open at a client is limited",
        (("server/asking.py", "if self._waiting >= _MOST_OPEN:", "if False:"),),
        ("yes::so_many_forms_are_open_at_the_client_and_no_more",),
    ),
    Defence(
        "base64 content is shown like a file",
        (("policy/call.py", "for name in self.tool.encoded if name in given]", "for name in ()]"),),
        ("yes::bytes_in_base64_are_shown_as_a_file_is",),
    ),
)
