"""The view of what waits for a person: each question, with what would be sent as its recipients would see it."""

from __future__ import annotations

import re
from functools import partial
from pathlib import PurePosixPath
from typing import Literal, NamedTuple

import anyio
from markupsafe import Markup

from waha_mcp.console.pages import rendered
from waha_mcp.console.sight import Sight
from waha_mcp.console.view import IMAGES, SOUNDS, Fields, NotDone, View
from waha_mcp.console.whatsapp_text import as_shown
from waha_mcp.policy import shown_files
from waha_mcp.policy.approval import Approvals, Entry
from waha_mcp.policy.question import File, Line, Question, clock
from waha_mcp.policy.task_grants import allow_for_a_while, amount
from waha_mcp.store import Store, in_thread
from waha_mcp.whatsapp.untrusted import reveal

#: `open` is a yes that opens a window as well (`policy.task_grants`).
Decision = Literal["approve", "refuse", "open"]

#: The parameters whose text WhatsApp formats.
_FORMATTED = ("text", "caption")
#: The label of a message that a call names, such as one that is answered.
_QUOTED = re.compile(r"what \w+ says")
_FILE = re.compile(r"([0-9a-f]{12})-(\d{1,4})")
#: Copies that are read at the same time: each may be large.
_READING = anyio.CapacityLimiter(2)


class ShownLine(NamedTuple):
    """A line of a question. `bubble`: its text as its recipients see it, None where WhatsApp does not format it."""

    name: str
    text: str
    bubble: Markup | None
    #: Whether it is a message that the call answers, forwards or changes.
    quoted: bool

    @property
    def differs(self) -> bool:
        """Whether its recipients do not see the text as it is written."""
        return self.bubble is not None and self.bubble != Markup.escape(self.text)


class ShownFile(NamedTuple):
    """A file that has a copy: under which name it is asked for, and saved, and how it is shown."""

    copy: str
    name: str
    kind: Literal["image", "sound", "other"]


async def _render(sight: Sight, query: Fields) -> str:
    return await in_thread(rendered_questions, sight)


def rendered_questions(sight: Sight) -> str:
    """The fragment with all that waits."""
    with sight.opened() as store:
        entries = sight.waiting(store)
    return rendered("waiting.html", entries=entries, lines=_lines, files=_files, window=_window, clock=clock)


def _count(sight: Sight, store: Store) -> int:
    return len(sight.waiting(store))


async def _file(sight: Sight, name: str) -> bytes | None:
    """The copy of a file, for as long as its question waits."""
    if not (match := _FILE.fullmatch(name)):
        return None
    return await anyio.to_thread.run_sync(copy_of, sight, match[1], int(match[2]), limiter=_READING)


def copy_of(sight: Sight, entry_id: str, number: int) -> bytes | None:
    """The copy of a file of a question that waits and is visible; None if there is none. Blocks."""
    with sight.opened() as store:
        waits = any(entry.id == entry_id for entry in sight.waiting(store))
        return shown_files.read(store, entry_id, number) if waits else None


def decide(sight: Sight, entry_id: str, decision: Decision) -> bool:
    """Decide a visible question; False where that cannot be. Blocks, and may raise StoreAway."""
    with sight.opened() as store:
        found = next((entry for entry in sight.waiting(store) if entry.id == entry_id), None)
        if found is None:
            return False
        approvals = Approvals(found.question.app, store)
        if decision == "open":
            return allow_for_a_while(approvals, store, entry_id)
        return approvals.decide(entry_id, approve=decision == "approve")


async def _decide(sight: Sight, form: Fields, decision: Decision, said: str) -> str:
    if not await in_thread(decide, sight, form.get("id", ""), decision):
        raise NotDone("That one is no longer waiting.")
    return said


def _lines(question: Question) -> list[ShownLine]:
    """The lines of a question but for its head and its expiry; a message that it quotes stands before its own text."""
    lines = [_shown(line) for line in question.lines() if line.name not in ("", "good until")]
    at = next((place for place, line in enumerate(lines) if line.bubble is not None), len(lines))
    before, after = lines[:at], lines[at:]
    return before + [line for line in after if line.quoted] + [line for line in after if not line.quoted]


def _shown(line: Line) -> ShownLine:
    bubble = as_shown(line.text) if line.name in _FORMATTED else None
    return ShownLine(line.name, line.text, bubble, _QUOTED.fullmatch(line.name) is not None)


def _files(entry: Entry) -> list[ShownFile]:
    return [
        ShownFile(f"{entry.id}-{number}", _file_name(file), _kind(file))
        for number, file in enumerate(entry.question.files)
        if file.copied
    ]


def _kind(file: File) -> Literal["image", "sound", "other"]:
    return "image" if file.found_type in IMAGES else "sound" if file.found_type in SOUNDS else "other"


def _window(question: Question) -> str | None:
    """What a yes to a question may open as well, in words; None: nothing."""
    to = reveal(", ".join(question.open_to.values()))
    return f"then without a question to {to}: {amount()} at most" if to else None


def _file_name(file: File) -> str:
    """The name of a download: the last part of the file's path."""
    return reveal(PurePosixPath(file.name.replace("\\", "/")).name).lstrip(".") or "file"


WAITING = View(
    "waiting",
    "Waiting",
    _render,
    {
        "approve": partial(_decide, decision="approve", said="Allowed once."),
        "refuse": partial(_decide, decision="refuse", said="Refused."),
        "open": partial(_decide, decision="open", said="Allowed for a while."),
    },
    file=_file,
    count=_count,
)
