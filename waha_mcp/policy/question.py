"""The question that a person is asked before an effect.

The client's form, the console's page and the terminal all show `Question.lines`, in which untrusted text is escaped.
"""

from __future__ import annotations

import hashlib
import json
import mimetypes
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

from pydantic_core import to_jsonable_python

from waha_mcp.digests import digest
from waha_mcp.tools.sniff import sniff
from waha_mcp.whatsapp.untrusted import reveal

#: Indentation of the lines of a text that has several.
SET_IN = "    "

#: Hex digits of a file's SHA-256 that are shown; the approval is for all 64.
_SHOWN_DIGITS = 16


class Line(NamedTuple):
    """One labelled value of a question. Both fields are escaped: nothing but a line feed ends a line of the text."""

    #: The label, set by the server; empty for the first line of a question.
    name: str
    text: str

    def __str__(self) -> str:
        """The label and the text beside it, or several lines below it, each indented so that none looks like ours."""
        if "\n" in self.text:
            return f"{self.name}:\n{SET_IN}" + self.text.replace("\n", f"\n{SET_IN}")
        return f"{self.name}: {self.text}" if self.name else self.text


@dataclass(frozen=True)
class File:
    """A file that would be sent, as read when the question was asked: a local one, or bytes given in base64."""

    #: The parameter that names or holds it.
    argument: str
    #: Its path in the outbox folder, as named; for bytes in base64, a text that says so.
    name: str
    #: In bytes.
    size: int
    #: Hex digits.
    sha256: str
    #: The MIME types by its first bytes and by its name; None if unknown.
    found_type: str | None
    named_type: str | None
    #: Whether a copy is kept for the console; None if the question is at a client, which cannot show any.
    copied: bool | None = None

    @classmethod
    def of(cls, argument: str, name: str, content: bytes) -> File:
        """The record of a file with these bytes."""
        sha256 = hashlib.sha256(content).hexdigest()
        return cls(argument, name, len(content), sha256, sniff(content), mimetypes.guess_type(name)[0])

    def lines(self) -> list[Line]:
        """Two lines: its name; its size, type and digest. Separate, so that a name cannot imitate the others."""
        holds = f"{self.size:,} byte{'s' * (self.size != 1)}, {self._type()}, SHA-256 {self.sha256[:_SHOWN_DIGITS]}…"
        if self.copied is False:
            holds += "; too large to be shown here"
        return [_line(self.argument, self.name), _line(f"what {self.argument} holds", holds)]

    def _type(self) -> str:
        if self.found_type == self.named_type:
            return self.found_type or "of unknown type"
        says = {"by its name": self.named_type, "by its bytes": self.found_type}
        return ", ".join(f"{mimetype} {source}" for source, mimetype in says.items() if mimetype)


@dataclass(frozen=True)
class Question:
    """What a person is asked: what would be done, to whom, and why a person must approve it.

    `Question(**asdict(question))` is equal to it, also after a JSON round trip.
    """

    app: str
    tool: str
    title: str
    #: The recipients, each with name and number.
    recipients: tuple[str, ...]
    #: Arguments by name, without local files, and the contents of the messages that they name, by label.
    content: Mapping[str, Any]
    #: Digest of the call with the contents of its files and messages; `why` and `expires` are no part of it.
    digest: str
    #: Expiry in Unix seconds; a later answer does not count.
    expires: float
    #: The reasons why a person is asked.
    why: tuple[str, ...] = ()
    files: tuple[File, ...] = ()
    #: Ids of the chats that it is about, sorted: those reached, else those named.
    chats: tuple[str, ...] = ()
    #: Digest of what the recipients would see (`sameness.seen_digest`).
    seen: str = ""
    #: Chats for which a person may open a window with their yes (`task_grants.give`): id to who it is; may be empty.
    open_to: Mapping[str, str] = field(default_factory=dict)
    #: `App.identity` of the App that asks.
    identity: str = ""
    #: Digests of who is in the groups that it reaches, by chat id, where WAHA tells.
    who: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        files = tuple(each if isinstance(each, File) else File(**each) for each in self.files)
        texts = {name: tuple(getattr(self, name)) for name in ("recipients", "why", "chats")}
        for name, value in {**texts, "files": files}.items():
            object.__setattr__(self, name, value)

    def lines(self) -> list[Line]:
        """The question, line by line.

        Title, reasons, expiry and files come before the content, which a client may truncate.
        """
        first = [self.head()]
        if self.why:
            first.append(Line("why", reveal("; ".join(self.why))))
        first.append(Line("good until", clock(self.expires)))
        files = [line for file in self.files for line in file.lines()]
        return first + files + [_line(name, value) for name, value in self.content.items()]

    def head(self) -> Line:
        """The first line: what would be done, and to whom."""
        to = f" to {', '.join(self.recipients)}" if self.recipients else ""
        return Line("", reveal(f"{self.title}{to}?"))

    def text(self) -> str:
        """The lines as one text."""
        return "\n".join(map(str, self.lines()))


def _line(name: str, value: Any) -> Line:
    """A line for a value: text unchanged, anything else as JSON; both escaped."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return Line(reveal(name), "\n".join(map(reveal, text.split("\n"))))


def clock(moment: float) -> str:
    """A Unix time in this machine's time zone, truncated to the minute: `14:32 (UTC+02:00)`."""
    local = datetime.fromtimestamp(moment, UTC).astimezone()
    return f"{local:%H:%M} (UTC{local.isoformat()[-6:]})"


def digest_of(*parts: Any) -> str:
    """SHA-256 in hex of values in canonical JSON (sorted keys); models and times are converted first."""
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=to_jsonable_python)
    return digest(text)
