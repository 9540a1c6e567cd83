"""One call on its way through the gate: whom it names, and how questions and the trail describe it."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from pydantic_core import to_jsonable_python

from waha_mcp.policy import Ask, cannot_ask
from waha_mcp.policy.question import File
from waha_mcp.tools.catalog import Context, Tool
from waha_mcp.tools.local_files import from_outbox
from waha_mcp.waha.client import Changes
from waha_mcp.waha.messages import message_from
from waha_mcp.whatsapp.ids import parse_message_id

#: Characters of a text that is shown whole; WhatsApp takes no longer one.
FULL = 65_536


@dataclass
class Call:
    """A tool, its arguments with every chat as a chat id, and what the gate finds out on the way."""

    tool: Tool
    arguments: dict[str, Any]
    context: Context
    ask: Ask = cannot_ask
    client: str | None = None
    allow_repeat: bool = False
    #: Whom it reaches, in a stable order.
    reached: tuple[str, ...] = ()
    digest: str = ""
    decision: str = "allowed"
    message_id: str | None = None
    #: The messages that it names, as WAHA has them, by id as named.
    named_messages: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    #: The local files that it names, as `file_digests` found them.
    files: tuple[File, ...] = ()
    #: Changes that were asked of WAHA for it and may have happened.
    changes: Changes = field(default_factory=Changes)
    #: Seconds of the monotonic clock until which the person's yes to it is good, where there was one.
    approved_until: float | None = None
    started: float = field(default_factory=time.perf_counter)

    def named(self, *, reached: bool | None = None) -> list[str]:
        """The chats that parameters name; of those marked as reached, or not, where that is asked for."""
        marks = self.tool.references.items()
        names = [name for name, mark in marks if reached is None or mark.reached is reached]
        return [chat for name in names for chat in as_list(self.arguments.get(name))]

    def message_chats(self, *, reached: bool | None = None) -> list[str]:
        """The chats of the messages that parameters name; see `named`."""
        marks = self.tool.messages.items()
        names = [name for name, mark in marks if reached is None or mark.reached is reached]
        return [parse_message_id(each).chat for name in names for each in as_list(self.arguments.get(name))]

    def quoted_texts(self) -> dict[str, str]:
        """What the messages that it names say: a person's yes is for that, too."""
        return {
            f"what {name} says": "\n".join(_said(self.named_messages[each]) for each in as_list(self.arguments[name]))
            for name in self.tool.messages
            if self.arguments[name]
        }

    async def file_digests(self) -> dict[str, str]:
        """What stands behind the local files named, so that an approval is for these bytes. The tool takes no others.

        Raises:
            ArgumentError: there is no such file.
        """
        named = {name: self.arguments[name] for name in self.tool.local_files if self.arguments.get(name) is not None}
        outbox = self.context.app.outbox
        self.files = tuple([File.of(name, path, await from_outbox(path, outbox)) for name, path in named.items()])
        self.context = replace(self.context, files={file.name: file.sha256 for file in self.files})
        return {f"sha256 of {file.argument}": file.sha256 for file in self.files}

    def record(self, outcome: str, *, with_text: bool) -> dict[str, Any]:
        """The call's line in the trail."""
        record: dict[str, Any] = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
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


#: The parts of a message that show what it is.
_SHOWN = {"kind", "text", "note", "media", "poll", "event", "location", "contacts", "deleted"}


def _said(row: Mapping[str, Any]) -> str:
    """What a message says: its text, and what else it holds."""
    message = message_from(row)
    if message is None:
        return "a message that this App sent"
    if message.kind == "text" and message.text:
        return message.text
    shown = message.model_dump(mode="json", exclude_none=True, include=_SHOWN)
    return json.dumps(shown, ensure_ascii=False)


def as_list(value: Any) -> list[str]:
    """The ids of a parameter that holds one, several or none."""
    if value is None:
        return []
    return [value] if isinstance(value, str) else list(value)


def told(value: Any) -> Any:
    """An argument as people are shown it: whole, but of a text longer than `FULL` only its length and SHA-256."""
    if isinstance(value, str) and len(value) > FULL:
        digest = hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()
        return f"{len(value)} characters, sha256 {digest}"
    return to_jsonable_python(value, exclude_none=True)
