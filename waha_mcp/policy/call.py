"""A call in the gate: the chats, messages and files that it names, and its record in the trail."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from pydantic_core import to_jsonable_python

from waha_mcp.app.actions import Action
from waha_mcp.digests import digest
from waha_mcp.feed.record import Mark
from waha_mcp.policy import Ask, cannot_ask
from waha_mcp.policy.approval import Entry
from waha_mcp.policy.question import File
from waha_mcp.policy.repeats import Attempt
from waha_mcp.policy.task_grants import TaskGrant
from waha_mcp.tools.catalog import Context, Tool
from waha_mcp.tools.local_files import decoded, from_outbox
from waha_mcp.waha.client import Changes
from waha_mcp.waha.messages import message_from
from waha_mcp.waha.models import Touched
from waha_mcp.whatsapp.ids import chats_of, parse_message_id
from waha_mcp.whatsapp.untrusted import clean_name

#: Longest text that is shown in full, in characters: the longest that WhatsApp takes.
FULL = 65_536
#: Most characters quoted from a message to tell which one an effect was about.
FIRST_WORDS = 60
#: How a question names bytes given in an argument.
IN_BASE64 = "bytes in base64"
#: Most characters kept of a tool name that may not exist.
_LONGEST_NAME = 64


@dataclass
class Call:
    """A tool, its validated arguments (chats as chat ids), and the fields that the gate fills in."""

    tool: Tool
    arguments: dict[str, Any]
    context: Context
    ask: Ask = cannot_ask
    client: str | None = None
    allow_repeat: bool = False
    #: Chat ids to the chats as the arguments give them: the second id or the name of a chat is no secret to the caller.
    written: Mapping[str, str] = field(default_factory=dict)
    #: Arguments about what follows the call. They are not part of what is done, asked about and compared.
    beside: Mapping[str, Any] = field(default_factory=dict)
    #: Ids of the chats that it reaches, sorted.
    reached: tuple[str, ...] = ()
    #: Digest of exactly this call, for approvals and the trail.
    digest: str = ""
    #: Digest of what its recipients would see (`sameness.seen_digest`), for the repeat guard and refused questions.
    seen: str = ""
    #: Ids of earlier attempts with an unknown outcome whose repeat a person is asked about (`Repeats.begin`).
    despite: frozenset[str] = frozenset()
    decision: str = "allowed"
    #: The id that its message will have, if WAHA gave one beforehand.
    requested_id: str | None = None
    #: Its attempt, once it is under way; none for idempotent tools, which bypass the repeat guard.
    attempt: Attempt | None = None
    #: The id of the message that was sent.
    message_id: str | None = None
    #: The position in the feed right before its bytes were sent, if a later step needs it and the feed is open.
    place: Mark | None = None
    #: Message ids as given in the arguments to WAHA's rows; an empty row where only the store knows the message.
    named_messages: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    #: The files that it would send, local ones and those given in base64, and their bytes; set by `read_files`.
    files: tuple[File, ...] = ()
    contents: tuple[bytes, ...] = ()
    #: Counts the requests to WAHA that may have changed something.
    changes: Changes = field(default_factory=Changes)
    #: The person's approval, consumed; None without one.
    approval: Entry | None = None
    #: The task grants from which it has taken a message each.
    granted: tuple[TaskGrant, ...] = ()
    started: float = field(default_factory=time.perf_counter)
    #: Its id in the trail.
    id: str = field(default_factory=lambda: secrets.token_hex(6))
    #: Whether its first line is written, and whether that of its outcome is.
    begun: bool = False
    ended: bool = False

    def named(self, *, reached: bool | None = None) -> list[str]:
        """The chat ids in the arguments. `reached` selects parameters marked as recipients (True) or not (False)."""
        marks = self.tool.references.items()
        names = [name for name, mark in marks if reached is None or mark.reached is reached]
        return [chat for name in names for chat in as_list(self.arguments.get(name))]

    def message_chats(self, *, reached: bool | None = None) -> list[str]:
        """The chats that the messages in the arguments are about (`chats_of`); `reached` as in `named`."""
        return [chat for about in self._about(reached) for chat in about]

    def quoted_chats(self) -> list[str]:
        """As `message_chats(reached=True)`, for messages of chats not reached: the call shows their content there."""
        to = set(self.named(reached=True))
        return [chat for about in self._about(True) if to and not to.issuperset(about) for chat in about]

    def _about(self, reached: bool | None) -> list[tuple[str, ...]]:
        marks = self.tool.messages.items()
        names = [name for name, mark in marks if reached is None or mark.reached is reached]
        return [chats_of(each) for name in names for each in as_list(self.arguments.get(name))]

    def posted_in(self) -> list[str]:
        """The chats that hold a message of ours afterwards; see `Tool.posted_in`."""
        values = [(name, each) for name in self.tool.posted_in for each in as_list(self.arguments.get(name))]
        return [parse_message_id(value).chat if name in self.tool.messages else value for name, value in values]

    def urls(self) -> dict[str, str]:
        """The URLs of files that it names, by parameter."""
        return {name: self.arguments[name] for name in self.tool.fetched if self.arguments.get(name) is not None}

    def url_lines(self) -> dict[str, str]:
        """For a question: each URL in full, with the note that its content is not known yet."""
        lines: dict[str, str] = {}
        for name, url in self.urls().items():
            lines[name] = url
            lines[f"what {name} holds"] = "not known yet: fetched after approval, and its server learns the whole URL"
        return lines

    def quoted_texts(self) -> dict[str, str]:
        """The contents of the messages that it names, by label: part of the question and of the digest."""
        return {
            f"what {name} says": "\n".join(_said(self.named_messages[each]) for each in as_list(self.arguments[name]))
            for name in self.tool.messages
            if self.arguments[name]
        }

    def touched(self, readable: Callable[[str], bool]) -> list[Touched]:
        """The messages that a change was about, with their first words where they may be read."""
        found: list[Touched] = []
        for name in self.tool.messages if self.tool.action is not Action.READ else ():
            for message_id in as_list(self.arguments[name]):
                row, message = self.named_messages[message_id], None
                if row and all(map(readable, chats_of(message_id))):
                    message = message_from(row, self.context.directory, full=False)
                text = clean_name(message.text, FIRST_WORDS) if message and message.text else None
                field = "message" if name == "message_id" else name
                found.append(Touched(field, message_id, text, message.kind if message else None))
        return found

    async def read_files(self) -> None:
        """Read each local file that it names, once, and decode its base64 arguments.

        These bytes are digested, shown and sent. Sets `files` and `contents`, and the bytes of local files in the
        context from which the tool sends.

        Raises:
            ArgumentError: a file does not exist or may not be read, or base64 is invalid.
        """
        given = {name: value for name, value in self.arguments.items() if value is not None}
        named = {name: given[name] for name in self.tool.local_files if name in given}
        read = {path: await from_outbox(path, self.context.app.outbox) for path in dict.fromkeys(named.values())}
        found = [(name, path, read[path]) for name, path in named.items()]
        found += [(name, IN_BASE64, decoded(given[name])[0]) for name in self.tool.encoded if name in given]
        self.files = tuple(File.of(*each) for each in found)
        self.contents = tuple(content for *_, content in found)
        self.context = replace(self.context, files=read)

    def file_digests(self) -> dict[str, str]:
        """SHA-256 of each of its files, by label, so that an approval covers exactly these bytes."""
        return {f"sha256 of {file.argument}": file.sha256 for file in self.files}

    @property
    def held(self) -> int:
        """The total size of its files in bytes."""
        return sum(map(len, self.contents))

    def record(self, outcome: str, *, with_text: bool) -> dict[str, Any]:
        """The call's record in the trail, without empty fields; with its arguments if `with_text`."""
        record: dict[str, Any] = {
            "time": _now(),
            "call": self.id,
            "client": self.client,
            "tool": self.tool.name,
            "chats": list(self.reached) or [*self.named(), *self.message_chats()] or None,
            "digest": self.digest or None,
            "decision": self.decision,
            "outcome": outcome,
            "message_id": self.message_id,
            "ms": round((time.perf_counter() - self.started) * 1000, 1),
        }
        if with_text:
            record["arguments"] = {k: told(v) for k, v in self.arguments.items() if v is not None}
        return {key: value for key, value in record.items() if value is not None}


def early_record(tool: str, arguments: Mapping[str, Any] | None, **more: Any) -> dict[str, Any]:
    """The record in the trail of a call that ended before the gate. Tool and arguments are the client's, shortened."""
    record = {"time": _now(), "call": secrets.token_hex(6), "tool": tool[:_LONGEST_NAME], **more}
    if arguments is not None:
        shown = to_jsonable_python(arguments, fallback=str)
        text = json.dumps(shown, ensure_ascii=False)
        record["arguments"] = shown if len(text) <= FULL else told(text)
    return {key: value for key, value in record.items() if value is not None}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


#: Fields of a message that hold its content.
SHOWN = {
    "kind",
    "text",
    "note",
    "media",
    "poll",
    "event",
    "location",
    "contacts",
    "choices",
    "invite_code",
    "preview",
    "deleted",
}


def _said(row: Mapping[str, Any]) -> str:
    """The content of WAHA's row of a message: its text, or its content fields as JSON."""
    message = message_from(row)
    if message is None:
        return "a message that this App sent"
    if message.kind == "text" and message.text and not message.choices:
        return message.text
    shown = message.model_dump(mode="json", exclude_none=True, include=SHOWN)
    return json.dumps(shown, ensure_ascii=False)


def as_list(value: Any) -> list[str]:
    """The value of a parameter (None, one id or a list of ids) as a list."""
    if value is None:
        return []
    return [value] if isinstance(value, str) else list(value)


def told(value: Any) -> Any:
    """An argument as shown to people, JSON-ready: a text longer than `FULL` becomes its length and SHA-256."""
    if isinstance(value, str) and len(value) > FULL:
        return f"{len(value)} characters, sha256 {digest(value)}"
    return to_jsonable_python(value, exclude_none=True)
