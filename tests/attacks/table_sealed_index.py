"""The defences of the content of the local index, each with the cases that must fail without it."""

from __future__ import annotations

from tests.attacks.defences import Defence
from tests.attacks.table_hearing import NOT_SWEPT

_SEARCH, _RECORDS, _MEDIA = "tools/core/search.py", "history/index_records.py", "tools/core/attachments.py"

SEALED_INDEX = (
    Defence(
        "the index is searched only in chats that may be read now",
        (
            (_SEARCH, "return self.ctx.readable(chat) and self.ctx.shows(chat, record.id)", "return True"),
            (_RECORDS, "readable = frozenset(filter(self._extent.readable, known))", "readable = known"),
            NOT_SWEPT,
        ),
        ("sealed_index::what_the_index_still_holds_of_a_sealed_chat_is_not_found",),
    ),
    Defence(
        "a kept transcript is shown only if its chat may be read",
        ((_MEDIA, "lambda chat: ctx.readable(ctx.directory.canonical(chat))", "lambda chat: True"),),
        ("sealed_index::a_transcript_of_a_sealed_chat_is_not_told_by_the_same_sound_elsewhere",),
    ),
)
