"""The defences of incoming events, and of the agent woken by messages."""

from __future__ import annotations

from tests.attacks.defences import Defence

_LISTENING, _RUNS, _GUARD = "listening.py", "cli/agent_runs.py", "policy/loop_guard.py"
_WAKING, _CAME, _HEARING = "tools/core/waking.py", "tools/core/what_came.py", "tools/core/hearing.py"
_CATCH_UP = "tools/core/catch_up.py"
_LIVE, _RECORD, _SETTLING = "feed/live.py", "feed/record.py", "feed/settling.py"
_SUBSCRIPTIONS = "server/subscriptions.py"

_LOOK_UPS = "woken::strangers_whom_nobody_knows_cost_a_few_look_ups_however_much_they_write"
_WORDS = "woken::a_burst_stays_one_line_and_its_words_hide_nothing_where_they_hold"


_NO_SECOND_LOOK = (_LISTENING, "if not await self._waking.may(ctx, chat):", "if False:")
_NOTHING_SEALED = (
    _CAME,
    "if not self.ctx.readable(chat):\n            return None\n        if kind_of_chat",
    "if kind_of_chat",
)


#: The second defence behind it: results of tools are swept.
NOT_SWEPT = (
    "policy/gate.py",
    "return result if whole or not self._recipients.read_limited else swept(result, self.readable)",
    "return result",
)


def each(test: str, *ids: str) -> tuple[str, ...]:
    """Single cases of a test."""
    return tuple(f"{test}[{one}]" for one in ids)


HEARING = (
    # The woken agent
    Defence(
        "the words of a burst are cleaned",
        (("whatsapp/untrusted.py", "if not _all_shows(text):", "if False:"),),
        each(
            _WORDS,
            "a forged burst after a line separator",
            "a forged burst after a next line",
            "escapes of eight bits",
            "another direction",
            "words in tags",
            "zeros",
            "escapes for a terminal",
            "a forged burst after a carriage return",
        ),
    ),
    Defence(
        "a program that is run gets no variable with a key",
        (("cli/listen.py", "without_secrets(os.environ) | ids", "dict(os.environ) | ids"),),
        ("woken::a_steered_program_finds_no_key_around_it",),
    ),
    Defence(
        "the output of a program is not printed as a burst",
        ((_RUNS, "stdout=sys.stderr", "stdout=None"),),
        ("woken::what_a_steered_program_prints_is_no_burst",),
    ),
    Defence(
        "a run has a time limit",
        ((_RUNS, "with anyio.move_on_after(limit):", "with anyio.move_on_after(None):"),),
        ("woken::a_program_that_a_message_keeps_busy_does_not_keep_the_next_from_running",),
    ),
    Defence(
        "only people on the list wake the agent",
        ((_WAKING, "if event.by is None or not await self.may(ctx, chat):", "if event.by is None:"), _NO_SECOND_LOOK),
        ("woken::nobody_wakes_it_who_is_not_on_the_list",),
    ),
    Defence(
        "a chat that may not be read does not wake the agent",
        (
            (_WAKING, "return ctx.readable(chat) and await self.may_wake(chat)", "return await self.may_wake(chat)"),
            _NOTHING_SEALED,
        ),
        (
            "woken::a_chat_that_may_not_be_read_wakes_nobody_under_any_of_its_ids",
            "woken::a_chat_that_is_sealed_while_its_burst_waits_is_not_given",
        ),
    ),
    Defence(
        "whether a chat may wake the agent is checked again before the burst is given",
        (_NO_SECOND_LOOK,),
        ("woken::a_chat_that_is_sealed_while_its_burst_waits_is_not_given",),
    ),
    Defence(
        "a group wakes the agent only with a mention",
        ((_WAKING, "await self.may_wake(event.by) and await _names_me(ctx, event)", "await self.may_wake(event.by)"),),
        each(
            "woken::nothing_in_a_group_wakes_it_that_does_not_mention_the_account",
            "a mention in words alone",
            "a quoted mention",
            "an edit into a mention",
        ),
    ),
    Defence(
        "whoever mentions the account in a group must be on the list, too",
        ((_WAKING, "await self.may_wake(event.by) and await _names_me(ctx, event)", "await _names_me(ctx, event)"),),
        (
            "woken::nobody_in_a_listed_group_wakes_it_who_is_not_listed",
            *each(_LOOK_UPS, "as mentions-by number", "as mentions-by name"),
        ),
    ),
    Defence(
        "stories and broadcasts do not wake the agent",
        (
            (
                _WAKING,
                'if event.chat is None or kind_of_chat(event.chat) not in ("person", "group"):',
                "if event.chat is None:",
            ),
        ),
        each("woken::nothing_wakes_it_that_is_no_message_to_the_account", "a status story", "a broadcast"),
    ),
    Defence(
        "the account's own messages do not wake the agent",
        (
            (_WAKING, "if event.by == ME:\n            return _own", "if False:\n            return _own"),
            (_CAME, "if self.only_messages and by == ME:", "if False:"),
        ),
        ("woken::nothing_wakes_it_that_the_account_wrote",),
    ),
    Defence(
        "a person without a second id is looked up rarely",
        (("people/filling.py", "self._single.get(chat, NEVER) > now - again:", "False:"),),
        each(
            _LOOK_UPS,
            *(f"{where}-{how}" for where in ("in a chat", "in a listed group") for how in ("by number", "by name")),
        ),
    ),
    Defence(
        "a change in a group does not expire the lists of people",
        (("bridge.py", "self.people.changed(event.chat)", "self.people.expire()"),),
        each(_LOOK_UPS, "beside changes of a group-by name"),
    ),
    Defence(
        "a paused App does not wake the agent",
        ((_LISTENING, "if why is None and (paused := await bridge.policy.paused()):", "if paused := None:"),),
        ("woken::bursts_that_wait_for_the_end_of_a_pause_wake_nobody_in_it",),
    ),
    Defence(
        "a conversation between machines ends after a number of turns",
        ((_GUARD, "if found.turns >= self._turns:", "if False:"),),
        ("woken::a_machine_that_is_answered_is_stopped_after_so_many_turns",),
    ),
    Defence(
        "a message sent through WAHA does not count as the owner's",
        ((_WAKING, 'and text_of(row.get("source")) == "app"', "and True"),),
        each("woken::a_machine_that_is_answered_is_stopped_after_so_many_turns", "with a text"),
    ),
    Defence(
        "a reaction counts as an answer",
        (
            (
                _WAKING,
                'if event.kind not in ("message", "edited", "reaction", "vote"):',
                'if event.kind not in ("message", "edited"):',
            ),
        ),
        each("woken::a_machine_that_is_answered_is_stopped_after_so_many_turns", "with a reaction"),
    ),
    Defence(
        "the number of times that a chat wakes the agent in an hour is limited",
        ((_GUARD, "if len(found.woken) >= self._per_hour:", "if False:"),),
        (
            "woken::a_person_who_writes_under_two_ids_is_one_for_the_limits",
            "woken::a_chat_that_deletes_what_it_wrote_is_counted_all_the_same",
        ),
    ),
    Defence(
        "a person's two ids are one chat",
        (
            (
                _WAKING,
                "chat = ctx.directory.canonical(event.chat)\n        if chat.endswith",
                "chat = event.chat\n        if False and chat.endswith",
            ),
        ),
        ("woken::a_person_who_writes_under_two_ids_is_one_for_the_limits",),
    ),
    Defence(
        "the wait for a chat to settle has an end",
        (
            (
                _SETTLING,
                "min(max(self._last, self.typed_at), self._first + self.longest)",
                "max(self._last, self.typed_at)",
            ),
        ),
        (
            "woken::endless_typing_and_writing_puts_a_burst_off_for_a_bounded_time",
            "heard::no_typing_writing_or_editing_keeps_a_wait_from_its_end",
        ),
    ),
    # What is heard
    Defence(
        "no event of a chat that may not be read is reported",
        (_NOTHING_SEALED, NOT_SWEPT),
        (
            *(
                f"heard::nothing_is_told_of_a_sealed_chat_in[{what}-{tool}]"
                for what, tools in (
                    ("messages", ("get_updates", "wait_for_messages")),
                    ("edits, deletions and reactions", ("get_updates", "wait_for_messages")),
                    ("receipts", ("get_updates", "wait_for_messages")),
                    ("typing and calls", ("get_updates",)),
                    ("votes", ("get_updates",)),
                )
                for tool in tools
            ),
            "heard::a_sealed_group_changes_unheard",
            "heard::of_a_flood_in_sealed_chats_not_even_its_size_is_told",
            "heard::who_types_in_a_sealed_chat_puts_nothing_off",
        ),
    ),
    Defence(
        "a story is reported only if its author may be read",
        (
            (_CAME, "if not by or not all(each and self.ctx.shows(chat, each) for each in about):", "if False:"),
            NOT_SWEPT,
        ),
        (
            "heard::nothing_is_told_of_a_sealed_chat_in[status stories-get_updates]",
            "heard::nothing_is_told_of_a_sealed_chat_in[status stories-wait_for_messages]",
        ),
    ),
    Defence(
        "a quote is shown only if its chat may be read",
        (("waha/messages.py", "if not all(map(names.shows, sources)):", "if False:"),),
        ("heard::what_a_sealed_chat_says_is_not_quoted",),
    ),
    Defence(
        "a message of a sealed chat is not accepted as a position",
        (
            (
                _HEARING,
                "if not ctx.readable(ctx.directory.canonical(key.chat)) or not ctx.shows(key.chat, after):",
                "if False:",
            ),
        ),
        ("heard::a_message_of_a_sealed_chat_is_a_place_no_more_than_one_that_is_not_there",),
    ),
    Defence(
        "the number of events is reported only if all chats may be read",
        ((_HEARING, 'if ctx.readable(NOT_KNOWN) else "Events"', 'if True else "Events"'),),
        ("heard::of_a_flood_in_sealed_chats_not_even_its_size_is_told",),
    ),
    Defence(
        "a subscription reports nothing about a chat that may not be read",
        ((_SUBSCRIPTIONS, "if not readable(chat):\n            return False", "if False:\n            return False"),),
        ("heard::what_is_unread_changes_by_nothing_in_a_sealed_chat",),
    ),
    Defence(
        "a parameter that needs read is offered only with it",
        (("bridge.py", "return tool.under(self.key.grant.actions)", "return tool"),),
        ("heard::a_key_that_only_sends_hears_nothing_and_is_told_of_nothing_to_hear",),
    ),
    Defence(
        "a wait for a reply needs a chat that may be read",
        (("bridge.py", "if not self.policy.readable(arguments[tool.needs[name].of]):", "if False:"),),
        ("heard::a_chat_that_may_be_written_and_not_read_gives_no_reply",),
    ),
    Defence(
        "whether the key may still read is checked while its connection is open",
        ((_LIVE, "if not until.cancel_called:", "if False:"),),
        ("heard::a_key_that_may_not_read_any_more_hears_no_more_though_its_connection_stays",),
    ),
    Defence(
        "events that came faster than they are kept are read back",
        (("feed/since.py", "if not covers or dropped:", "if not covers:"),),
        ("heard::a_flood_does_not_push_a_friends_message_out_of_a_wait",),
    ),
    Defence(
        "each chat has a share of the budget for reading back",
        (("feed/reading_back.py", "one.go_on(start, Share(budget, share))", "one.go_on(start, budget)"),),
        ("heard::strangers_who_wrote_a_lot_meanwhile_leave_a_friends_message_to_be_read_back",),
    ),
    Defence(
        "the summary contains nothing of a sealed chat",
        (
            (_CATCH_UP, "        return ctx.readable(one)\n", "        return True\n"),
            (_CATCH_UP, "if not ctx.readable(chat) or not ctx.shows(chat, record.id):", "if False:"),
            NOT_SWEPT,
        ),
        ("missed::a_sealed_chat_changes_nothing_in_the_summary",),
    ),
    Defence(
        "chats with known people are read back before those with strangers",
        (("feed/reading_back.py", "chats.sort(key=lambda chat: not first(chat))", "pass"),),
        ("missed::however_many_strangers_write_a_friend_stands_before_them",),
    ),
    Defence(
        "known people are listed before strangers",
        ((_CATCH_UP, "else 0 if known else 1", "else 0"),),
        ("missed::however_many_strangers_write_a_friend_stands_before_them",),
    ),
    Defence(
        "each person's first mention is shown before anybody's second",
        ((_CATCH_UP, "told[sender] += 1", "pass"),),
        ("missed::who_mentions_me_again_and_again_hides_nobody_elses_mention",),
    ),
    Defence(
        "mentions are taken from the message's own list, not from its text",
        (
            (
                "history/records.py",
                "if any(chat in me for _, chat in mentioned(content)):",
                'if any(f"@{chat.partition(chr(64))[0]}" in text for chat in me):',
            ),
        ),
        ("missed::a_text_that_names_me_is_no_mention",),
    ),
    Defence(
        "the record of events has a maximum size",
        ((_RECORD, "or (self._bytes > MOST_BYTES and len(self.entries) > 1)", "or False"),),
        ("heard::memory_stays_bounded_however_long_the_texts_are",),
    ),
    Defence(
        "only the last of somebody's reactions is reported",
        ((_CAME, "if before is not None:\n                self._drop(before)", "if False:\n                pass"),),
        ("heard::reactions_set_over_and_over_are_one",),
    ),
    Defence(
        "typing is reported at a limited rate",
        ((_HEARING, "self._settling.typed_at > self._told + REPORT_TYPING", "self._settling.typed_at > self._told"),),
        ("heard::a_flood_of_typing_is_no_flood_of_progress",),
    ),
    Defence(
        "a send and its wait share the time limit of one call",
        (
            (
                _HEARING,
                "ends = min(time.monotonic() + seconds, ctx.started + WHOLE - WORDING)",
                "ends = time.monotonic() + seconds",
            ),
            (_HEARING, "with anyio.move_on_after(ctx.started + WHOLE - time.monotonic()):", "if True:"),
        ),
        ("heard::a_send_and_its_wait_end_with_the_time_of_a_call",),
    ),
    Defence(
        "the time of a message is never later than now",
        ((_RECORD, "return int(min(when, time.time()))", "return int(when)"),),
        ("heard::a_message_from_the_future_hides_none_that_comes_after_it",),
    ),
    Defence(
        "only the author changes a message",
        (
            (
                _CAME,
                "of = self._by_id.get(at)\n",
                "of = next((row for key, row in self._by_id.items() if key[::2] == at[::2]), None)\n",
            ),
        ),
        ("heard::nobody_edits_or_deletes_anothers_message",),
    ),
)
