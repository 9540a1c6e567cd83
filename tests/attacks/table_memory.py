"""The defences of the local index."""

from __future__ import annotations

from tests.attacks.defences import Defence

_INDEX, _INDEXING = "history/index.py", "indexing.py"
_ROWS, _SEARCH = "history/index_rows.py", "history/index_search.py"

MEMORY = (
    Defence(
        "the index has no chats that may not be read",
        ((_INDEXING, "return self._may_keep(self._people.canonical(chat))", "return True"),),
        ("remembered::nothing_of_a_sealed_chat_is_in_the_file",),
    ),
    Defence(
        "an id that another sender has used before changes no message",
        (
            (
                _ROWS,
                "return found.sender == sender or (exact and _may_be_one(found.sender, sender))",
                "return True",
            ),
            (_ROWS, "if found.chat != key.chat and not (exact and _may_be_one(found.chat, key.chat)):", "if False:"),
        ),
        ("remembered::a_message_with_anothers_id_puts_no_words_into_their_mouth",),
    ),
    Defence(
        "a deletion by somebody other than the author is confirmed with WAHA",
        ((_INDEX, "if found.sender not in by:", "if False:"),),
        ("remembered::a_deletion_by_somebody_else_is_only_believed_where_waha_has_it_so",),
    ),
    Defence(
        "view-once messages are not indexed",
        (("history/records.py", "message.deleted or message.view_once:", "message.deleted:"),),
        ("remembered::what_is_to_be_seen_once_is_not_in_the_file",),
    ),
    Defence(
        "words in a query are quoted for FTS5",
        ((_SEARCH, "return '\"' + text.replace('\"', '\"\"') + '\"'", "return '\"' + text + '\"'"),),
        tuple(f"remembered::syntax_in_a_word_means_nothing[{word}]" for word in ('"', 'ten" of', '" or "', '"" near(')),
    ),
)
