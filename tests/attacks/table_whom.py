"""The defences that limit whom an effect reaches, each with the cases that must fail without it."""

from __future__ import annotations

from tests.attacks.defences import Defence


def each(test: str, *ids: str) -> tuple[str, ...]:
    """Single cases of a test."""
    return tuple(f"{test}[{one}]" for one in ids)


_GATE, _RESOLVING, _CATALOG = "policy/gate.py", "people/resolving.py", "tools/catalog.py"
_ALIKE = "whom::a_name_in_letters_that_look_alike_reaches_nobody"
_SEALED = "whom::a_sealed_chat_is_told_by_nothing_from_one_that_is_not_there"

DEFENCES = (
    Defence(
        "look-alike letters count as different letters",
        ((_RESOLVING, "wanted = spell_name(written)", 'wanted = fold(clean_name(written)).replace(" ", "")'),),
        each(
            _ALIKE,
            "full-width",
            "one full-width letter",
            "mathematical",
            "double-struck",
            "an accent",
            "a combining accent",
            "a combining line",
            "zero width",
            "a word joiner",
            "a joiner",
            "a mark of direction",
            "a tag",
            "a soft hyphen",
        ),
    ),
    Defence(
        "saved names are looked up again before an effect",
        ((_RESOLVING, 'await self._people.refresh("contacts")', "pass"),),
        ("whom::a_name_that_was_saved_for_a_second_person_since_reaches_nobody",),
    ),
    Defence(
        "a subject resolves to no chat while the saved names are unknown",
        (
            (
                _RESOLVING,
                'saved_unknown = kind in (None, "person") and not table.contacts_known',
                "saved_unknown = False",
            ),
        ),
        ("whom::an_own_group_called_like_a_person_gets_nothing_while_contacts_are_not_known[the engine lists none]",),
    ),
    Defence(
        "a name that a person may have chosen does not count as saved",
        (
            (
                "people/parts.py",
                "(apart if contact.saved is None else contact.saved)",
                "contact.saved is not False",
            ),
        ),
        tuple(
            f"whom::a_name_that_may_be_chosen_reaches_nobody_where[{by}-{how}]"
            for by in ("the agent", "the list")
            for how in (
                "the engine has one field for both",
                "a row has no mark where others have",
                "the mark is no yes",
            )
        ),
    ),
    Defence(
        "only a message makes a person a known contact",
        (
            (
                "policy/first_contacts.py",
                "chats = call.posted_in()\n",
                'chats = [each for each in call.reached if "@" in each]\n',
            ),
        ),
        ("whom::a_yes_for_what_is_no_message_lets_no_message_out_of",),
    ),
    Defence(
        "a reaction or a notice is no message",
        (
            (
                "people/persons.py",
                "return message.kind not in _NO_MESSAGES",
                "return True",
            ),
            ("people/persons.py", 'message.deleted or message.status == "failed":', "message is None:"),
        ),
        ("whom::a_row_of_our_own_that_is_no_message_lets_none_out",),
    ),
    Defence(
        "the members of a group count as first contacts",
        ((_GATE, "counting = [*first, *await self._first_contacts.strangers_in(call, first)]", "counting = first"),),
        ("whom::a_group_of_strangers_takes_the_whole_limit_of_first_contacts",),
    ),
    Defence(
        "each stranger counts as a first contact",
        (("policy/pace.py", "for _ in set(first)]", "for _ in list(first)[:1]]"),),
        ("whom::more_strangers_than_the_limit_get_into_no_group",),
    ),
    Defence(
        "opening a group counts as reaching everyone",
        (
            (
                _CATALOG,
                'return self.reaches if self.reaches is not None and opened else "nobody"',
                'return "nobody"',
            ),
        ),
        ("whom::no_agent_that_may_reach_only_some",),
    ),
    Defence(
        "closing a group counts as reaching only that group",
        ((_CATALOG, "opened = not self.opens or any(", "opened = True or any("),),
        ("whom::a_group_can_be_closed_by_who_may_not_open_it",),
    ),
    Defence(
        "a missing chat is answered like a sealed one",
        ((_GATE, "if not self._recipients.hides_some:", "if True:"),),
        each(
            _SEALED,
            *(
                f"forbidden-{what}"
                for what in (
                    "its messages",
                    "its messages by number",
                    "what was said in it",
                    "what was said in it, by a query",
                    "what others said",
                    "one message",
                    "who it is",
                    "its picture",
                    "its presence",
                    "its labels",
                    "marking it unread",
                    "emptying it",
                    "following it",
                )
            ),
        ),
    ),
    Defence(
        "sealed chats are not counted",
        (("tools/core/chat_list.py", "looked_at=looked_at,", "looked_at=place - start,"),),
        ("whom::a_listing_is_the_same_with_a_sealed_chat_and_without[get_unread]",),
    ),
    Defence(
        "a search checks for each message whether it may be shown",
        (("tools/core/search.py", "return self.ctx.readable(chat) and ", "return "),),
        ("whom::a_listing_is_the_same_with_a_sealed_chat_and_without[search_messages]",),
    ),
    Defence(
        "an error names a chat as it was written",
        (("bridge.py", 'f"{clean_name(written, 60)} is a {kind}', 'f"{chat} is a {kind}'),),
        ("whom::nobody_learns_a_number_from_a_hidden_id",),
    ),
    Defence(
        "a quote is shown only if its chat, or the story's author, may be read",
        (("waha/messages.py", "if not all(map(names.shows, sources)):", "if False:"),),
        ("whom::a_friends_reply_shows_nothing_of_a_sealed_chat",),
    ),
)
