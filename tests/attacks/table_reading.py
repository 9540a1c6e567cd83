"""The defences after reading, each with the cases that must fail without it."""

from __future__ import annotations

from tests.attacks.defences import Defence

_GATE, _READING, _BRIDGE = "policy/gate.py", "policy/reading.py", "bridge.py"
_WAYS = "tainted::once_a_strangers_words_were_read_nothing_goes_elsewhere"


def _each(*ids: str) -> tuple[str, ...]:
    return tuple(f"{_WAYS}[{one}]" for one in ids)


READING = (
    Defence(
        "an answer with others' words counts as a reading",
        ((_BRIDGE, "await self.policy.hands_out(result, names=names)", "pass"),),
        (
            *_each(
                "the chat",
                "one message",
                "what is unread",
                "the list of chats",
                "a search",
                "a wait",
                "what has happened",
                "a catch-up",
                "a picture",
                "who somebody is",
                "a group's subject",
                "who is in a group",
                "a channel",
                "a story",
                "the answer to a reaction",
            ),
            "tainted::once_a_resource_was_read_nothing_goes_elsewhere",
        ),
    ),
    Defence(
        "names that others chose count as others' words",
        ((_READING, "if names and not _is_trusted(fields[bearer], people):", "if False:"),),
        _each("who somebody is", "who is in a group"),
    ),
    Defence(
        "the answer of an effect that shows a message counts as a reading",
        ((_READING, "return found | {key.chat for key in touched if not key.from_me}", "return found"),),
        _each("the answer to a reaction"),
    ),
    Defence(
        "an error that quotes a message counts as a reading",
        ((_GATE, "await self._reading.note_failed(call)", "pass"),),
        _each("the labels of buttons, in an error"),
    ),
    Defence(
        "an error that shows names which others chose counts as a reading",
        ((_BRIDGE, "await self.policy.hands_out_names(error.named)", "pass"),),
        _each("a subject, in an error"),
    ),
    Defence(
        "after a reading, other chats are reached only with an approval",
        ((_GATE, "why += await self._reading.reasons(call, partial(self._knows, call))", "pass"),),
        ("tainted::nothing_reaches_others_than_the_stranger_by",),
    ),
    Defence(
        "a stranger who is answered remains a stranger until the reading expires",
        ((_READING, "if await in_thread(self._mark, row):", "if True:"),),
        ("tainted::a_stranger_who_is_answered_first_is_no_friend",),
    ),
    Defence(
        "a reading of two chats is not a reading of one",
        (
            (
                _READING,
                "return before if self._same(_chat(before), _chat(read)) else SEVERAL",
                "return before if self._same(_chat(before), _chat(read)) else read",
            ),
        ),
        ("tainted::reading_a_friend_afterwards_does_not_lift_it",),
    ),
    Defence(
        "a quote from another chat counts as a reading of that chat",
        ((_READING, "if isinstance(value, Quoted) and _is_from_elsewhere(value, chat, people):", "if False:"),),
        ("tainted::a_strangers_words_stay_theirs_where_somebody_quotes_them_to_a_friend",),
    ),
    Defence(
        "a public story is not an answer to the chat that was read",
        ((_READING, "if each in (PUBLIC, STATUS) or not self._same(chat, each)", "if not self._same(chat, each)"),),
        ("tainted::a_story_for_everybody_is_no_answer_to_a_story",),
    ),
    Defence(
        "readings are shared by all processes",
        (
            (
                _READING,
                "self._key = app.identity",
                'self._key = f"{app.identity}/{store.process}"',
            ),
        ),
        ("tainted::what_one_process_has_read_binds_the_next",),
    ),
)
