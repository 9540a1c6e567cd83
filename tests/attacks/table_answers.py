"""The defences of what an answer reveals and claims, each with the cases that must fail without it."""

from __future__ import annotations

from tests.attacks.defences import Defence

_DELIVERY, _GATE, _IDS = "policy/delivery.py", "policy/gate.py", "whatsapp/ids.py"
_STORY = "answers::a_story_is_as_its_author_may_be_reached_and_read"
_LISTED = "answers::stories_are_listed_without_those_of_an_author"
#: The calls of `_STORY`.
_WHATS = ("reading it", "an answer to it", "an answer among the stories", "a reaction", "a forward", "a star")

ANSWERS = (
    Defence(
        "a story belongs to its author",
        ((_IDS, "if key.from_me or not is_broadcast(key.chat):", "if True:"),),
        (_STORY, _LISTED),
    ),
    Defence(
        "an unknown author may be anybody",
        (
            (
                _IDS,
                'return key.chat, normalize_chat_id(key.participant or "") or NOT_KNOWN',
                "return key.chat, key.chat",
            ),
        ),
        tuple(
            f"{case}-{author}]"
            for lists in ("forbidden", "not allowed")
            for case, author in (
                *((f"{_LISTED}[{lists}-{tool}", "who is not known") for tool in ("get_messages", "search_messages")),
                *((f"{_STORY}[{lists}-{what}", "whom the id leaves out") for what in _WHATS),
            )
        ),
    ),
    Defence(
        "a tool that shows a group requires it to be readable",
        ((_GATE, "if tool.action is Action.READ:", "if False:"),),
        ("answers::an_invite_link_of_a_group_that_may_not_be_read_is_not_handed_out",),
    ),
    Defence(
        "a group's new link is shown only if the group may be read",
        (("tools/groups_admin.py", "link=new.link if ctx.readable(group) else None", "link=new.link"),),
        ("answers::a_renewed_link_of_a_group_that_may_not_be_read_is_not_handed_out",),
    ),
    Defence(
        "the group behind a link is shown only if it may be read",
        (("tools/groups.py", "group if group and ctx.readable(group) else None", "group"),),
        ("answers::a_link_that_was_joined_does_not_tell_that_it_is_of_a_group_that_may_not_be_read",),
    ),
    Defence(
        "a group's members are shown only if it may be read",
        (("tools/results.py", "if not readable:", "if False:"),),
        ("answers::who_is_in_a_group_that_may_not_be_read_is_not_told_by",),
    ),
    Defence(
        "an unread count is shown only if the chat may be read",
        (("tools/core/sending.py", "    if not readable:", "    if False:"),),
        ("answers::how_many_messages_wait_in_a_chat_that_may_not_be_read_is_not_told_by_marking_them",),
    ),
    Defence(
        "the time that marking as read takes does not reveal the unread count",
        (("tools/core/sending.py", "range(MOST_TURNS if readable else 1)", "range(MOST_TURNS)"),),
        (
            *(
                "answers::how_many_messages_wait_in_a_chat_that_may_not_be_read_is_not_told_by_marking_them"
                f"[{lists}-60]"
                for lists in ("forbidden", "not allowed")
            ),
        ),
    ),
    Defence(
        "an answer that names another chat confirms no send",
        ((_DELIVERY, "return comparable and one != other", "return False"),),
        (
            "answers::nothing_is_told_as_sent_where_the_answer_names",
            "answers::it_is_found_in_its_chat_where_the_answer_names",
            "answers::a_look_up_that_names_another_chat_finds_nothing",
        ),
    ),
    Defence(
        "a person has two ids",
        (
            (
                _DELIVERY,
                "one, other = directory.canonical(sent.chat), directory.canonical(chat)",
                "one, other = sent.chat, chat",
            ),
            (_DELIVERY, "return comparable and one != other", "return one != other"),
        ),
        ("answers::it_is_told_as_sent_where_the_answer_names",),
    ),
    Defence(
        "an answer with a failed message confirms no send",
        (
            (
                "waha/models.py",
                'message_id=None if raw.get("ack") == NOT_TAKEN else _own_id(raw)',
                "message_id=_own_id(raw)",
            ),
        ),
        ("answers::nothing_is_told_as_sent_where_the_message_failed",),
    ),
    Defence(
        "a failed message does not count as sent",
        (
            (_DELIVERY, 'if not ours or row.get("ack") == NOT_TAKEN:', "if not ours:"),
            (
                "waha/models.py",
                'message_id=None if raw.get("ack") == NOT_TAKEN else _own_id(raw)',
                "message_id=_own_id(raw)",
            ),
        ),
        ("answers::a_message_that_failed_is_not_found_as_one_that_went_out",),
    ),
)
