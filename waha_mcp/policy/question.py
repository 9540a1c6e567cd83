"""The question that a person is asked before an effect, and its words, the same wherever it is shown.

A client's form, the approvals page and the terminal all show `Question.lines`. What others wrote is escaped there, so
none of them has to.
"""

from __future__ import annotations

import hashlib
import json
import mimetypes
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from pydantic_core import to_jsonable_python

from waha_mcp.tools.sniff import sniff
from waha_mcp.whatsapp.untrusted import reveal

#: Seconds that a question, and the approval given to it, is good for.
LIFETIME = 600
#: Hex digits of a file's SHA-256 that a person is shown; the approval is for all 64.
_SHOWN_DIGITS = 16


class Line(NamedTuple):
    """One line of a question. Both parts are escaped; the lines of a text after its first are set in."""

    #: What the text is, in the server's own words; empty for the first line of a question.
    name: str
    text: str

    def __str__(self) -> str:
        return f"{self.name}: {self.text}" if self.name else self.text


@dataclass(frozen=True)
class File:
    """A local file that would be sent, as it was when the question was asked."""

    #: The parameter that names it.
    argument: str
    #: Its path in the outbox folder, as named.
    name: str
    #: Bytes.
    size: int
    #: In hex.
    sha256: str
    #: The MIME type that its first bytes show, and the one that its name says; None where there is none.
    found_type: str | None
    named_type: str | None

    @classmethod
    def of(cls, argument: str, name: str, content: bytes) -> File:
        """The record of a file with these bytes."""
        sha256 = hashlib.sha256(content).hexdigest()
        return cls(argument, name, len(content), sha256, sniff(content), mimetypes.guess_type(name)[0])

    def lines(self) -> list[Line]:
        """Its name, and what it holds. They stand apart, so that no name passes for a size or a digest."""
        holds = f"{self.size:,} byte{'s' * (self.size != 1)}, {self._type()}, SHA-256 {self.sha256[:_SHOWN_DIGITS]}…"
        return [_line(self.argument, self.name), _line(f"what {self.argument} holds", holds)]

    def _type(self) -> str:
        if self.found_type == self.named_type:
            return self.found_type or "of unknown type"
        says = {"by its name": self.named_type, "by its bytes": self.found_type}
        return ", ".join(f"{mimetype} {source}" for source, mimetype in says.items() if mimetype)


@dataclass(frozen=True)
class Question:
    """What a person is asked: what exactly would be done, to whom, and why it needs a person's approval.

    `Question(**asdict(question))` is the same question, also after JSON. `why` and `files` are empty in one that was
    written by a version without them.
    """

    app: str
    tool: str
    title: str
    #: Whom it reaches, with name and number.
    recipients: tuple[str, ...]
    #: The arguments as they would be carried out, without local files, and what the messages that they name say.
    content: Mapping[str, Any]
    #: Binds an answer to recipients and content, local files included; neither `why` nor `expires` is part of it.
    digest: str
    #: Unix seconds after which no answer counts.
    expires: float
    #: Each reason why a person is asked.
    why: tuple[str, ...] = ()
    files: tuple[File, ...] = ()

    def __post_init__(self) -> None:
        files = tuple(each if isinstance(each, File) else File(**each) for each in self.files)
        for name, value in {"recipients": tuple(self.recipients), "why": tuple(self.why), "files": files}.items():
            object.__setattr__(self, name, value)

    def lines(self) -> list[Line]:
        """The question in plain words.

        What the server says itself comes before the content, which may be so long that a client cuts it off.
        """
        to = f" to {', '.join(self.recipients)}" if self.recipients else ""
        first = [Line("", reveal(f"{self.title}{to}?"))]
        if self.why:
            first.append(Line("why", reveal("; ".join(self.why))))
        first.append(Line("good until", _clock(self.expires)))
        files = [line for file in self.files for line in file.lines()]
        return first + files + [_line(name, value) for name, value in self.content.items()]

    def text(self) -> str:
        """The lines as one text."""
        return "\n".join(map(str, self.lines()))


def _line(name: str, value: Any) -> Line:
    """A line for a value: text as it is, anything else as JSON."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return Line(reveal(name), "\n    ".join(map(reveal, text.split("\n"))))


def _clock(moment: float) -> str:
    """A Unix time as this machine's clock shows it, cut to the minute, with the zone: `14:32 (UTC+02:00)`."""
    local = datetime.fromtimestamp(moment).astimezone()
    return f"{local:%H:%M} (UTC{local.isoformat()[-6:]})"


def digest_of(*parts: Any) -> str:
    """A digest of values as JSON has them, the same for the same values; models and times are written as JSON."""
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=to_jsonable_python)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
