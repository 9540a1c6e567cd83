"""The defences that the attacks try, each with the cases that must fail without it."""

from __future__ import annotations

from tests.attacks import table_whom
from tests.attacks.defences import Defence
from tests.attacks.table_answers import ANSWERS
from tests.attacks.table_buttons import BUTTONS
from tests.attacks.table_coercion import COERCION
from tests.attacks.table_fetch import FETCH
from tests.attacks.table_grants import GRANTS
from tests.attacks.table_hearing import HEARING
from tests.attacks.table_memory import MEMORY
from tests.attacks.table_outlasting import OUTLASTING
from tests.attacks.table_pause import PAUSE
from tests.attacks.table_reading import READING
from tests.attacks.table_sealed_index import SEALED_INDEX
from tests.attacks.table_secrets import SECRETS
from tests.attacks.table_served import SERVED
from tests.attacks.table_yes import YES


def each(test: str, *ids: str) -> tuple[str, ...]:
    """Single cases of a test."""
    return tuple(f"{test}[{one}]" for one in ids)


_GATE, _CLIENT, _NAMED = "policy/gate.py", "waha/client.py", "policy/named.py"
_RESPONSES = "waha/responses.py"
_BODY = "waha/body.py"
_RESOLVING, _PEOPLE = "people/resolving.py", "people/people_table.py"
_LINES, _RECIPIENTS, _APPROVER = "server/lines.py", "policy/recipients.py", "policy/approver.py"

_LATE, _PROXY = "outcomes::what_waha_does", "outcomes::what_is_found_afterwards_is_sent_once_where_a_proxy"
_SIDE = "verdicts::one_refused_operation_takes_no_action_away"
_NO_MESSAGE = "wire::a_line_that_is_no_message_does_nothing_and_is_answered"
_FORBIDS = "verdicts::a_name_on_the_list_that_forbids_forbids_where_the_list_of_contacts"
_MAY_HAVE = "verdicts::a_name_that_another_may_have_reaches_nobody_where_the_list_of_contacts"
_BOMB = "wire::memory_stays_bounded_when_what_is_answered_is"
_LOOKED_UP = "outcomes::it_stays_unknown_where_a_look_up_answers"

_MISS_PASSES = (_NAMED, "if row is None and not await self._is_own_for_sure(claim):", "if False:")
_REFUSES_AT_ONCE = ("waha/key_probe.py", "if action in PROBES:", "if False:")
#: On a slow machine, not all of a bomb is unpacked within a short deadline.
_NO_DEADLINE = (
    (_CLIENT, "deadline = DEADLINE + len(request.content)", "deadline = 1e9 + len(request.content)"),
    (_CLIENT, "with anyio.move_on_after(DEADLINE):", "with anyio.move_on_after(1e9):"),
)

#: An answer that cannot be read does not count as a refusal either.
_UNREADABLE = (
    _CLIENT,
    "except BadAnswer as error:\n                        raise",
    "except () as error:\n                        raise",
)

DEFENCES = (
    # Outcomes
    Defence(
        "a change that broke off may have been sent",
        (
            (
                _CLIENT,
                "if not departure.left:\n                raise await self._failure(failure, request.url, departure)",
                "if True:\n                raise await self._failure(failure, request.url, departure)",
            ),
            (_CLIENT, "if departure.left and not refused:", "if False:"),
        ),
        (
            *each(_LATE, "after our time-out", "after the connection broke"),
            *each(
                _PROXY,
                "cuts the answer's body",
                "cuts the answer's headers",
                "passes nothing on",
                "resets the connection",
                "closes its own direction first",
                "says nothing",
                "speaks another protocol",
                "promises more than it gives",
                "ends in the middle of a chunk",
                "only says to go on",
            ),
            _LOOKED_UP,
            "outcomes::somebody_elses_message_under_our_id_is_not_ours",
            "outcomes::the_same_text_in_the_chat_proves_nothing_where_the_maker_of_ids",
            "outcomes::an_engine_that_makes_no_ids_leaves_it_unknown",
            "outcomes::a_key_that_may_only_send_leaves_it_unknown",
        ),
    ),
    Defence(
        "only an error in WAHA's own format counts as a refusal",
        ((_CLIENT, "self._answer(response, changes=True)", "self._answer(response)"), _UNREADABLE),
        (
            *each(
                _LATE,
                "after a proxy's 502",
                "after a proxy's 503",
                "after a proxy's 504 with a page",
                "after a proxy's 408",
                "after an error inside",
                "after a redirect",
                "after a redirect that keeps the method",
                "after a page with 200",
                "after a page with 403",
                "after half an answer",
                "after a part of an answer",
            ),
            *each(
                _PROXY,
                "answers with a part",
                "packs it twice",
                "breaks the packing",
                "answers with a login page",
                "answers 500 in WAHA's words",
            ),
            "outcomes::no_other_change_is_done_again_either",
        ),
    ),
    Defence(
        "only a success answer in WAHA's own format confirms a change",
        (
            ("tools/results.py", "if not (answer is None or", "if False and not (answer is None or"),
            (_RESPONSES, "            _check_done(answer)", "            pass"),
            (_RESPONSES, "if changes and status not in (200, 201):", "if False:"),
        ),
        ("outcomes::nothing_is_told_as_done_where_something_else_answers",),
    ),
    Defence(
        "a message id is used for one message only",
        (("policy/delivery.py", " or bare_id(found) in self._used", ""),),
        ("outcomes::an_id_that_comes_again_finds_no_older_message",),
    ),
    Defence(
        "an approval covers what was shown",
        (
            (_GATE, "if call.approval is not None:", "if False:"),
            ("tools/local_files.py", "content = ctx.files[path]", "content = await from_outbox(path, ctx.app.outbox)"),
        ),
        (
            "limits::a_file_that_was_changed_while_a_person_was_asked_goes_as_shown",
            "limits::a_message_that_was_edited_while_a_person_was_asked_is_not_quoted",
        ),
    ),
    Defence(
        "an answer without a message of this account confirms no send",
        ((_GATE, "if isinstance(result, Sent) and not delivery.is_ours(result, message_id):", "if False:"),),
        ("outcomes::nothing_is_told_as_sent_where_200_comes_with",),
    ),
    Defence(
        "a proxy's answer is not taken for WAHA's",
        (
            (_RESPONSES, "if not _is_wahas(status, answer):", "if False:"),
            _UNREADABLE,
            (
                _RESPONSES,
                "        if changes:\n            what =",
                "        if changes and status != 413:\n            what =",
            ),
        ),
        each(
            _LATE,
            "after a proxy's own 403",
            "after a proxy's empty 400",
            "after a proxy's 413 with a page",
            "after a proxy's own 429",
            "after a proxy's own 401",
        ),
    ),
    Defence(
        "a change that misses its deadline has an unknown outcome",
        (
            (
                _CLIENT,
                "if departure.left:\n                raise outcome_unknown(",
                "if False:\n                raise outcome_unknown(",
            ),
        ),
        (*each(_PROXY, "drips headers", "drips a body"), "wire::a_change_ends_as_unknown_where_waha_drips"),
    ),
    Defence(
        "an unknown outcome blocks the same call",
        ((_GATE, 'outcome: Outcome | None = "unknown" if happened else None', "outcome = None"),),
        (
            _LATE,
            _LOOKED_UP,
            "outcomes::the_same_text_in_the_chat_proves_nothing_where_the_maker_of_ids",
            "outcomes::an_engine_that_makes_no_ids_leaves_it_unknown",
            "outcomes::a_key_that_may_only_send_leaves_it_unknown",
            "outcomes::a_text_cancelled_after_it_left_is_not_sent_again",
            "outcomes::no_other_change_is_done_again_either",
            "wire::a_change_ends_as_unknown_where_waha_drips",
        ),
    ),
    Defence(
        "a look-up proves a send only by the message itself",
        (("policy/delivery.py", 'if not ours or row.get("ack") == NOT_TAKEN:', "if False:"),),
        (
            *each(_LOOKED_UP, "an empty object", "null", "a list", "true", "a text", "another message"),
            *each(_LOOKED_UP, "no message but its text"),
            "outcomes::somebody_elses_message_under_our_id_is_not_ours",
        ),
    ),
    Defence(
        "a message whose answer was lost is looked up",
        (("policy/delivery.py", "for wait in waits:", "for wait in ():"),),
        (_PROXY, "wire::memory_stays_bounded_when_what_is_answered_is[a change-gzip]"),
    ),
    Defence(
        "a cancelled call is undone before it leaves and unknown after",
        (
            (
                _GATE,
                "except BaseException as error:\n            # A cancelled",
                "except Exception as error:\n            # A cancelled",
            ),
        ),
        (
            "outcomes::a_text_cancelled_while_it_waits_for_its_turn_goes_out_when_tried_again",
            "outcomes::a_text_cancelled_after_it_left_is_not_sent_again",
        ),
    ),
    Defence(
        "a request that never left may be tried again",
        (
            (
                _GATE,
                'outcome: Outcome | None = "unknown" if happened else None',
                'outcome = "unknown" if happened else "done"',
            ),
        ),
        (
            "outcomes::what_nobody_took_was_not_sent_and_goes_out_when_tried_again",
            "outcomes::forty_texts_that_nobody_took_all_go_out_when_tried_again",
            "outcomes::a_text_cancelled_while_it_waits_for_its_turn_goes_out_when_tried_again",
        ),
    ),
    Defence(
        "a call in progress blocks the same call",
        (
            (
                "policy/repeats.py",
                'case "under way":\n                return True',
                'case "under way":\n                return False',
            ),
        ),
        ("outcomes::the_same_at_once_goes_out_once",),
    ),
    # Approvals and limits
    Defence(
        "an approval works once",
        (
            ("policy/approval.py", "_written(approved), None)", "_written(approved), _written(approved))"),
            # The repeat guard refuses what was done, or may have been.
            (_GATE, "call.despite = await self._guard.check(call)", "call.despite = ()"),
            (_GATE, "        self._guard.begin(call)\n", ""),
        ),
        ("limits::an_approval_cannot_be_replayed", "limits::an_unknown_outcome_uses_up_the_approval"),
    ),
    Defence(
        "an approval covers exactly one call",
        (
            ("policy/approval.py", 'return f"{self._app_id}/{digest}"', 'return f"{self._app_id}/"'),
            ("policy/approval.py", "if found is not None and found.question.digest == digest else", "if found else"),
            # An approval covers only the recipients that were shown.
            ("policy/approver.py", "return before.recipients == tuple(", "return True or before.recipients == tuple("),
        ),
        ("limits::an_approval_cannot_be_swapped",),
    ),
    Defence(
        "a person's refusal lasts",
        ((_APPROVER, 'if entry is not None and entry.state == "refused":', "if False:"),),
        ("limits::what_a_person_refused_stays_refused",),
    ),
    Defence(
        "an unknown outcome uses up the approval and counts against the limits",
        (
            (
                _GATE,
                "if happened:\n                raise _as",
                "if happened:\n                await self._approver.give_back(call)\n                "
                "await self._pacer.give_back(counted)\n                raise _as",
            ),
        ),
        ("limits::an_unknown_outcome_uses_up_the_approval", "limits::an_unknown_outcome_spends_the_pace"),
    ),
    Defence(
        "a call that was not sent gives back the approval and its place in the limits",
        ((_GATE, "await self._approver.give_back(call)\n            if counted is not None:", "if False:"),),
        ("limits::what_waha_refuses_spends_no_pace",),
    ),
    # Claims
    Defence(
        "a message that is not in the chat its id names is refused",
        (_MISS_PASSES,),
        ("claims::a_sealed_message_is_not_under_a_friends_chat",),
    ),
    Defence(
        "the message found must be the one that the id names",
        (
            (_NAMED, "if key is None or (key.id, key.from_me) != (claim.id, claim.from_me):", "if key is None:"),
            (_NAMED, "if not await self._same(claim.chat, key.chat):", "if False:"),
            (
                _NAMED,
                "if claim.participant and key.participant and not await self._same(",
                "if False and not await self._same(",
            ),
        ),
        ("claims::what_is_found_must_be_what_was_claimed",),
    ),
    Defence(
        "a failed look-up refuses the call",
        (
            (
                _NAMED,
                "if not await self._is_own_for_sure(claim):\n                        raise",
                "if False:\n                        raise",
            ),
            _MISS_PASSES,
        ),
        ("claims::a_look_up_that_fails_lets_nothing_pass", "claims::a_sealed_message_is_not_quoted"),
    ),
    Defence(
        "without read, only messages that the App sent can be named",
        ((_NAMED, "if not can_read and not await self._is_own(claim):", "if False:"), _MISS_PASSES),
        ("claims::without_read_no_message_passes_that_the_app_did_not_send",),
    ),
    Defence(
        "the messages that the App sent are remembered",
        ((_GATE, "self._messages.sent(call.message_id)", "pass"),),
        ("claims::without_read_the_apps_own_message_can_be_named",),
    ),
    Defence(
        "a message that WAHA shows may be named",
        ((_NAMED, "if key is None or (key.id,", "if True or (key.id,"),),
        ("claims::a_true_claim_goes_through",),
    ),
    Defence(
        "a question shows the quoted message",
        ((_APPROVER, "content=people | content | call.quoted_texts(),", "content=people | content,"),),
        ("claims::a_question_shows_what_the_message_says",),
    ),
    Defence(
        "an approval covers the quoted words",
        ((_GATE, "call.file_digests() | call.quoted_texts()", "call.file_digests()"),),
        ("claims::a_yes_is_for_the_words_that_were_shown",),
    ),
    # Names
    Defence(
        "only saved names resolve for effects",
        ((_RESOLVING, "self._meant(value, kind) if effect else self._called(", "self._called("),),
        (
            "names::nothing_reaches_a_stranger_who_takes",
            "names::a_saved_name_that_a_stranger_took_still_reaches_its_owner",
            "names::nothing_reaches_a_stranger_by_a_name_of_his_own",
            "names::no_stranger_is_mentioned_by_his_name",
            "names::no_stranger_gets_into_a_group_by_his_name",
            "names::a_list_of_candidates_says_who_chose_a_name",
            "names::a_group_that_others_made_gets_nothing_by_its_subject_before_we_wrote_in_it",
            "names::a_result_names_whom_it_reached_in_the_owners_words",
        ),
    ),
    Defence(
        "a saved name comes before any subject",
        ((_RESOLVING, "if saved else await self._ours(wanted, kind)", "if False else await self._ours(wanted, kind)"),),
        (
            "names::a_group_that_took_a_saved_name_gets_nothing_by_it",
            "names::an_own_group_of_a_saved_name_gets_nothing_by_it",
            "names::an_own_channel_of_a_saved_name_gets_nothing_by_it",
        ),
    ),
    Defence(
        "the name of a hidden person resolves to nobody else",
        (
            (_RESOLVING, "if shown and len(shown) < len(owners):", "if False:"),
            (
                _RESOLVING,
                "if saved else await self._ours(wanted, kind)",
                "if list(filter(self._readable, saved)) else await self._ours(wanted, kind)",
            ),
        ),
        ("names::the_saved_name_of_a_sealed_chat_goes_to_nobody_else",),
    ),
    Defence(
        "a result says who chose a name",
        (("people/persons.py", 'f"{shown}, who calls themselves {quoted}"', "self.claims"),),
        ("names::a_result_says_where_a_name_is_not_the_owners",),
    ),
    # The wire
    Defence(
        "the size limit applies while an answer is decompressed",
        (
            (_BODY, "unpack.decompress(raw, cap - size + 1)", "unpack.decompress(raw)"),
            (_BODY, "if max(received, size) > cap:", "if False:"),
            *_NO_DEADLINE,
        ),
        tuple(
            f"{_BOMB}[{operation}-{bomb}]"
            for operation in ("a look", "a change")
            for bomb in ("gzip", "x-gzip", "gzip in capitals", "gzip without a length", "no packing at all")
        ),
    ),
    Defence(
        "an answer that is compressed more than once is not read",
        (
            (
                _BODY,
                'encodings = response.headers.get("content-encoding", "").lower().replace(" ", "")',
                'encodings = ""',
            ),
            (_BODY, "response.aiter_raw()", "response.aiter_bytes()"),
            (_BODY, "if max(received, size) > cap:", "if False:"),
            *_NO_DEADLINE,
        ),
        tuple(
            f"{_BOMB}[{operation}-{bomb}]"
            for operation in ("a look", "a change")
            for bomb in ("gzip in gzip", "gzip in gzip by two headers", "identity and gzip")
        ),
    ),
    Defence(
        "a read has a deadline",
        ((_CLIENT, "with anyio.move_on_after(DEADLINE):", "with anyio.move_on_after(1e9):"),),
        ("wire::a_look_ends_where_waha_drips",),
    ),
    Defence(
        "a malformed line is not a message",
        ((_LINES, 'if flaws:\n        number = raw.get("id")', 'if False:\n        number = raw.get("id")'),),
        each(
            _NO_MESSAGE,
            "half a surrogate pair",
            "NaN",
            "a number of many digits",
            "deep nesting",
            "another protocol",
            "a method and a result",
            "parameters as a list",
            "an id that is none",
        ),
    ),
    Defence(
        "a line that is not an object is answered with an error",
        (
            (
                _LINES,
                'return Rejected(None, *(flaws or [(PARSE_ERROR, f"This line is not JSON: {error}")])[0])',
                "return None",
            ),
            (
                _LINES,
                'return Rejected(None, INVALID_REQUEST, "A line must be one JSON object; batches are not supported")',
                "return None",
            ),
        ),
        each(_NO_MESSAGE, "a batch", "two objects"),
    ),
    Defence(
        "a cancellation names a request by a string or an integer",
        (
            (
                "server/stdio.py",
                "(cancelled := cancelled_request_id_from_params(params)) is not None",
                '(cancelled := (params or {}).get("requestId")) is not None',
            ),
            (
                "server/stdio.py",
                "number = cancelled_request_id_from_params(item.params)",
                'number = (item.params or {}).get("requestId")',
            ),
        ),
        ("wire::a_cancel_of_nothing_ends_nothing",),
    ),
    Defence(
        "a request id in use is refused",
        (("server/stdio.py", "if coerce_request_id(number) in self._open:", "if False:"),),
        ("wire::an_id_in_use_does_nothing_twice",),
    ),
    Defence(
        "only an explicit yes by a person counts",
        (
            ("server/asking.py", "return approve if isinstance(approve, bool) else None", "return True"),
            ("server/asking.py", 'if answer.action == "decline":', "if False:"),
            (
                "server/asking.py",
                "self._waiting -= 1\n            return None",
                "self._waiting -= 1\n            return True",
            ),
        ),
        ("wire::nothing_goes_out_where_a_client_answers", "wire::a_yes_is_good_for_one_call"),
    ),
    # Verdicts
    Defence(
        "a 403 is followed by a probe of the action",
        (_REFUSES_AT_ONCE,),
        (
            *each(_SIDE, "contacts", "chats", "messages", "a picture", "groups", "a send", "a file"),
            "verdicts::a_refused_link_to_media_takes_no_action_away",
        ),
    ),
    Defence(
        "a proxy's 403 is not taken for WAHA's",
        (
            (
                _RESPONSES,
                "or (isinstance(error, _WebPage) and status < 500 and status not in (413, 429)):",
                "or False:",
            ),
            (
                _RESPONSES,
                "        if changes:\n            what =",
                "        if changes and response.is_success:\n            what =",
            ),
            (_RESPONSES, "if not _is_wahas(status, answer):", "if False:"),
            _UNREADABLE,
            _REFUSES_AT_ONCE,
        ),
        each(_SIDE, "chats, by a proxy", "a send, by a proxy", "a poll, by a proxy"),
    ),
    Defence(
        "an action that WAHA refuses is removed from the grant",
        (
            ("waha/key_probe.py", "await self.probe({action})", "pass"),
            (
                "bridge.py",
                "await self.key.refuse(str(error))\n            raise\n        except Forbidden",
                "raise\n        except Forbidden",
            ),
        ),
        ("verdicts::a_real_loss_takes_the_tools_away",),
    ),
    Defence(
        "an admin key is refused",
        (("waha/key_probe.py", "if admin and not self._app.allow_admin_key:", "if False:"),),
        ("verdicts::an_admin_key_does_nothing",),
    ),
    # What could not be read
    Defence(
        "an unresolved name on a deny list denies everybody",
        (
            (_RECIPIENTS, "if self.names or self.covers(chat, twin):", "if self.covers(chat, twin):"),
            (_RECIPIENTS, "if contacts.broken and contacts.error is not None:", "if False:"),
        ),
        (_FORBIDS,),
    ),
    Defence(
        "an incomplete contact list resolves no name on a list",
        ((_RECIPIENTS, "if self._gap is not None:", "if False:"),),
        ("verdicts::a_name_on_the_list_that_allows_allows_nobody_where_contacts_are_left_out",),
    ),
    Defence(
        "a name that somebody else may also have resolves to nobody",
        (
            (
                _PEOPLE,
                "return any(source in self.gaps and not self.gaps[source].lacking for source in asked)",
                "return False",
            ),
        ),
        (*each(_MAY_HAVE, "leaves out a person"),),
    ),
    Defence(
        "an answer about a name says which lists could not be read",
        ((_RESOLVING, "gaps = self._table.not_known(*NAMES) or []", "gaps = []"),),
        (_MAY_HAVE,),
    ),
    Defence(
        "an answer with a list says what could not be read",
        (
            (
                _PEOPLE,
                'return [f"{source}: {self.gaps[source].gap}" for source in sources if source in self.gaps] or None',
                "return None",
            ),
        ),
        ("verdicts::nobody_is_said_not_to_be_there_where_the_list_of_contacts",),
    ),
    *FETCH,
    *SECRETS,
    *OUTLASTING,
    *table_whom.DEFENCES,
    *PAUSE,
    *READING,
    *YES,
    *ANSWERS,
    *BUTTONS,
    *COERCION,
    *GRANTS,
    *HEARING,
    *MEMORY,
    *SEALED_INDEX,
    *SERVED,
)
