"""A player's access to a server: calls are made, counted and recorded."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from tests.bench.pipe import Pipe
from tests.bench.tokens import read_by_model, tokens


@dataclass(frozen=True)
class Made:
    """One call that was made: `text` is its answer, `error` whether that was an error."""

    tool: str
    arguments: dict[str, Any]
    text: str
    error: bool
    #: Tokens of the tool's name and arguments, and of the answer.
    cost: int


def _read(answer: dict[str, Any]) -> str:
    """The texts of an answer; pictures and sound by their types."""
    others = [f"[{block['mimeType']}]" for block in answer["content"] if "mimeType" in block]
    return "\n".join([read_by_model(answer), *others]).strip()


@dataclass
class Desk:
    """The tools of one server during one task."""

    pipe: Pipe
    #: The answer to tools/list.
    tools: list[dict[str, Any]]
    made: list[Made] = field(default_factory=list)

    @property
    def tokens(self) -> int:
        return sum(each.cost for each in self.made)

    def schema(self, tool: str) -> dict[str, Any]:
        """The input schema of a tool."""
        found: dict[str, Any] = next(each["inputSchema"] for each in self.tools if each["name"] == tool)
        return found

    def call(self, tool: str, arguments: dict[str, Any]) -> Made:
        """Make a call. A tool that is not listed is answered as hosts do."""
        if not any(each["name"] == tool for each in self.tools):
            return self.refuse(tool, json.dumps(arguments, ensure_ascii=False), f"There is no tool {tool}.")
        answer = self.pipe.ask("tools/call", name=tool, arguments=arguments)
        written = tool + json.dumps(arguments, ensure_ascii=False)
        return self._keep(tool, arguments, written, _read(answer), bool(answer.get("isError")))

    def refuse(self, tool: str, written: str, text: str) -> Made:
        """Record a call that never reached the server; `text` is the answer that it gets."""
        return self._keep(tool, {}, tool + written, text, True)

    def _keep(self, tool: str, arguments: dict[str, Any], written: str, text: str, error: bool) -> Made:
        self.made.append(Made(tool, arguments, text, error, tokens(written) + tokens(text)))
        return self.made[-1]
