"""The payloads of the engines: rows as WAHA answers them, with what a person would see of each."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from waha_mcp.waha.message_notes import UNKNOWN
from waha_mcp.waha.messages import Message, message_from

FOLDER = Path(__file__).parent / "corpus"
ENGINES = tuple(sorted(path.name for path in FOLDER.iterdir()))

Read = Literal["fully", "partly", "not"]


@dataclass(frozen=True)
class Case:
    """A payload. `says`: what an answer must contain; `hides`: what it must not; `media`: the kind of its file."""

    engine: str
    file: str
    case: str
    kind: str
    says: tuple[str, ...]
    hides: tuple[str, ...]
    media: str | None
    row: Any

    def __str__(self) -> str:
        return f"{self.engine}: {self.case}"


@cache
def cases(file: str, *engines: str) -> tuple[Case, ...]:
    """The payloads of one kind of list ("messages", "groups" ...), of all engines or of some."""
    found = []
    for engine in engines or ENGINES:
        path = FOLDER / engine / f"{file}.json"
        for each in json.loads(path.read_text("utf-8")) if path.exists() else ():
            says, hides = tuple(each.get("says", ())), tuple(each.get("hides", ()))
            kind = each.get("kind", file)
            found.append(Case(engine, file, each["case"], kind, says, hides, each.get("media"), each["row"]))
    return tuple(found)


def answer(message: Message | None) -> str:
    """What an agent reads of a message, without JSON's escapes."""
    if message is None:
        return ""
    return json.dumps(message.model_dump(mode="json", exclude_none=True), ensure_ascii=False).replace('\\"', '"')


def lacks(case: Case, text: str) -> list[str]:
    """The parts of `says` that an answer does not contain."""
    flat = " ".join(text.replace("\\n", " ").split())
    return [each for each in case.says if " ".join(each.split()) not in flat]


def read(case: Case) -> tuple[Read, list[str]]:
    """How much of a message is parsed, and what is missing."""
    message = message_from(case.row)
    missing = lacks(case, answer(message))
    if message is None or (message.kind == "other" and not message.deleted and not (message.text or _told(message))):
        return "not", missing
    if case.says and len(missing) == len(case.says):
        return "not", missing
    wrong = [*missing, *([f"a file of kind {case.media}"] if case.media and not _has_file(case, message) else [])]
    return ("partly" if wrong else "fully"), wrong


def _told(message: Message) -> bool:
    return message.note not in (None, UNKNOWN.text)


def _has_file(case: Case, message: Message) -> bool:
    """Whether the file is shown with its kind, or the message is a composite of several parts."""
    return message.kind == case.media or message.kind in ("buttons", "product", "order", "list")
