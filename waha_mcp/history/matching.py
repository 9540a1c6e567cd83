"""Which messages are looked for: by words, sender and kind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from waha_mcp.waha.message_kinds import MessageKind
from waha_mcp.waha.messages import Message
from waha_mcp.whatsapp.folding import fold

#: Characters of the line that is shown of a message.
LINE = 160


@dataclass(frozen=True)
class Wanted:
    """Messages of one sender ("me" for the account, else a chat id) and one kind; None: of any."""

    sender: str | None = None
    kind: MessageKind | None = None

    def __contains__(self, message: Message) -> bool:
        return self.sender in (None, message.sender) and self.kind in (None, message.kind)


def matching_line(message: Message, query: Sequence[str]) -> str | None:
    """The line of a message that holds most of the words (folded), where the message holds all of them."""
    parts = [message.text, message.media.filename if message.media else None]
    parts += [option.text for option in message.poll.options] if message.poll else []
    parts += [message.location.name] if message.location else []
    parts += [
        part for card in message.contacts or () for part in (card.name, card.phone, card.organization, card.email)
    ]
    parts += [part for each in message.choices or () for part in (each.label, each.about)]
    parts += [message.event.about, message.event.place] if message.event else []
    parts.append(message.preview)
    lines = [line for part in parts if part for line in part.splitlines() if line.strip()]
    folded = [fold(line) for line in lines]
    whole = "\n".join(folded)
    if not all(word in whole for word in query):
        return None
    best = max(range(len(lines)), key=lambda at: sum(word in folded[at] for word in query))
    return _window(lines[best], query)


def _window(line: str, query: Sequence[str]) -> str:
    """A long line around the first word that matches."""
    if len(line) <= LINE:
        return line
    start = 0
    for token in line.split():
        if any(word in fold(token) for word in query):
            start = max(0, line.index(token, start) - LINE // 2)
            break
    cut = line[start : start + LINE]
    return ("…" if start else "") + cut + ("…" if start + LINE < len(line) else "")
