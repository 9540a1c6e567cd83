"""What a defence is, and which cases belong to it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Defence:
    """One defence.

    `off` switches it off: a file of `waha_mcp`, a fragment that occurs in it once, and its replacement. There are
    several if it is in several places, or if a second defence behind it blocks the same. `cases` are `file::test` for
    all cases of a test or `file::test[id]` for one, without `test_` and `.py`.
    """

    name: str
    off: tuple[tuple[str, str, str], ...]
    cases: tuple[str, ...]


#: Cases that test the whole, or that no single place in the code is responsible for.
WITHOUT = (
    "buttons::a_label_that_is_there_is_pressed_as_it_stands",
    "coercion::nobody_else_is_reached_by_a_form_that_has_to_be_read",
    "coercion::what_a_host_adds_changes_nothing",
    "coercion::an_audience_that_is_blank_or_misnamed_is_not_everybody",
    "coercion::the_same_in_another_form_is_a_repeat",
    "coercion::a_person_is_asked_about_the_arguments_as_they_are_taken",
    "defences",
    "ways_out",
    # Only the code of the command and of the page opens a task grant.
    "grants::nothing_that_an_agent_or_a_host_says_opens_one",
    # Nobody can be given a grant for the audience of a story or the profile.
    "grants::no_audience_without_bounds_is_reached",
    "limits::an_approval_cannot_be_guessed",
    "limits::no_tool_approves",
    "limits::who_is_denied_is_not_even_asked_about",
    "claims::a_sealed_message_is_not_pressed_on_under_a_friends_chat",
    "secrets_kept::other_media_is_saved_all_the_same",
    "limits::parallel_calls_do_not_get_around_the_limits",
    "limits::what_was_not_sent_spends_no_pace",
    "limits::what_was_not_sent_gives_the_approval_back_once",
    "yes::a_notice_writes_nothing_into_the_protocol",
    "outcomes::a_text_that_left_is_guarded_whatever_becomes_of_the_same_beside_it",
    "outcomes::forty_texts_cancelled_before_they_left_all_go_out_when_tried_again",
    "verdicts::a_group_is_not_taken_for_the_only_one_where_groups_cannot_be_read",
    "outlasting::after_ten_minutes_the_caller_may_take_the_risk[allowing the repeat]",
    "outlasting::what_was_sent_is_not_sent_again_with_an_option_that_changes_nothing",
    "whom::a_name_in_letters_that_look_alike_reaches_nobody",
    *(
        f"whom::an_own_group_called_like_a_person_gets_nothing_while_contacts_are_not_known[{how}]"
        for how in ("there are none yet", "they fail", "they are no list")
    ),
    "yes::a_call_that_waits_does_nothing_without_a_yes[cancelled]",
    "whom::a_name_that_may_be_chosen_reaches_nobody_where",
    "whom::a_yes_for_a_message_lets_the_next_one_out_of",
    # A wait reports messages only.
    *(
        f"heard::nothing_is_told_of_a_sealed_chat_in[{what}-wait_for_messages]"
        for what in ("typing and calls", "votes")
    ),
    # Numbers on a list need no list of people.
    "woken::strangers_whom_nobody_knows_cost_a_few_look_ups_however_much_they_write"
    "[beside changes of a group-by number]",
    "whom::a_sealed_chat_is_told_by_nothing_from_one_that_is_not_there",
    "whom::a_listing_is_the_same_with_a_sealed_chat_and_without",
    "fetch::no_redirect_leads_to_what_is_no_plain_web_address",
    "fetch::what_is_no_picture_is_not_sent_as_one",
    "fetch::a_server_gets_nothing_of_ours",
    # JSON escapes what ends a line or a text.
    *(
        f"woken::a_burst_stays_one_line_and_its_words_hide_nothing_where_they_hold[{how}]"
        for how in ("a forged burst on a line of its own", "the end of the JSON")
    ),
    # Arguments take references in place of ids, and text in any other form is not an id.
    "woken::an_id_that_its_sender_chose_puts_nothing_into_the_programs_environment",
    "woken::nothing_wakes_it_that_is_no_message_to_the_account[a reaction]",
    "woken::nothing_wakes_it_that_is_no_message_to_the_account[a call]",
    "woken::nothing_wakes_it_that_is_no_message_to_the_account[a channel]",
    "heard::a_friends_message_is_found_behind_any_flood",
    "heard::a_sealed_chat_is_subscribed_to_no_more_than_one_that_is_not_there",
    "heard::edits_over_and_over_put_nothing_off",
    # Texts are cleaned before they are indexed, too.
    "remembered::no_letter_hides_what_stands_behind_it",
    # Only a quotation mark has a meaning inside quotation marks.
    *(f"remembered::syntax_in_a_word_means_nothing[{word}]" for word in ("a*", "^a", "folded: a", "-a")),
)

#: The sample that CI tries: one of each kind of attack.
SAMPLE = (
    "only an error in WAHA's own format counts as a refusal",
    "a message that is not in the chat its id names is refused",
    "only saved names resolve for effects",
    "a malformed line is not a message",
    "only an explicit yes by a person counts",
    "the account's own messages do not wake the agent",
)


def holds(pattern: str, case: str) -> bool:
    """Whether an entry of `cases` or `WITHOUT` matches this case (`file::test[id]`)."""
    return case == pattern or case.startswith((f"{pattern}[", f"{pattern}::"))


def short(nodeid: str) -> str:
    """A pytest id in the form of `cases`."""
    file, _, test = nodeid.rpartition("/")[2].partition("::")
    return f"{file.removeprefix('test_').removesuffix('.py')}::{test.removeprefix('test_')}"
