"""What the drivers share: each answers requests about what its client, or its agent framework, hands to a model.

A driver runs in its client's environment, which has neither waha-mcp nor pytest. It launches `waha-mcp` with its own
arguments; some connect to MCP_URL with WAHA_API_KEY instead, where it is set. It reads one request a line from stdin
and writes one answer a line to stdout, all JSON:

    {"do": "tools"}                                -> {"tools": {name: {"description", "schema"}}}
    {"do": "call", "tool": name, "arguments": {}}  -> {"text", "pictures": [base64], "sounds": [base64]}

`tools` are those on offer to a model now, as the client describes them to one. `text`, `pictures` and `sounds` are what
a model would get from the call, errors included. With `"raised": "Type: words"` instead, the call has raised into the
program, or ended the agent's run. Each answer also has `asked`: the questions that the person at the client was asked,
and answered with yes.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable
from typing import Any

#: How to launch the server.
COMMAND, ARGUMENTS, ENVIRONMENT = "waha-mcp", sys.argv[1:], dict(os.environ)
#: A server over HTTP in its place: its URL, and the headers of each request.
URL, HEADERS = os.environ.get("MCP_URL"), {"X-Api-Key": os.environ.get("WAHA_API_KEY", "")}
#: The messages of questions since the last answer.
ASKED: list[str] = []

#: What a model passes for an argument that it would leave out but may not, by type.
_EMPTY = {"string": "", "integer": 0, "number": 0, "boolean": False, "array": [], "object": {}}

#: Where the answers go; all that the client prints goes to stderr.
_OUT = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)

Tools = Callable[[], Awaitable[dict[str, Any]]]
Call = Callable[[str, dict[str, Any]], Awaitable[dict[str, Any]]]


def got(text: str = "", pictures: tuple[str, ...] | list[str] = (), sounds: tuple[str, ...] | list[str] = ()) -> Any:
    """The answer to a call."""
    return {"text": text, "pictures": list(pictures), "sounds": list(sounds)}


def got_blocks(blocks: list[Any]) -> Any:
    """The answer to a call whose result is handed on as it is: the SDKs' content blocks."""
    data = {kind: [each.data for each in blocks if each.type == kind] for kind in ("image", "audio")}
    return got("\n".join(each.text for each in blocks if each.type == "text"), data["image"], data["audio"])


def offered(tools: list[Any]) -> Any:
    """The answer to `tools` where they are handed on as they are."""
    return {
        tool.name: {
            "description": tool.description,
            "schema": tool.input_schema if hasattr(tool, "input_schema") else tool.inputSchema,
        }
        for tool in tools
    }


def filled(arguments: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """The arguments, and what a model passes for the others that it is told are required.

    That is null where the schema allows it, else the default, the first of the choices, or an empty value.
    """

    def value(of: dict[str, Any]) -> Any:
        if {"type": "null"} in of.get("anyOf", ()):
            return None
        return of["default"] if "default" in of else of["enum"][0] if "enum" in of else _EMPTY[of["type"]]

    return {name: value(schema["properties"][name]) for name in schema.get("required", ())} | arguments


async def serve(tools: Tools, call: Call) -> None:
    """Answer requests until stdin ends."""
    while line := await asyncio.to_thread(sys.stdin.readline):
        request = json.loads(line)
        try:
            answer = {"tools": await tools()} if request["do"] == "tools" else await call(**_given(request))
        except Exception as error:
            cause: BaseException = error
            while isinstance(cause, BaseExceptionGroup):
                cause = cause.exceptions[0]
            answer = {"raised": f"{type(cause).__name__}: {cause}"}
        _OUT.write(json.dumps(answer | {"asked": ASKED[:]}) + "\n")
        _OUT.flush()
        ASKED.clear()


def _given(request: dict[str, Any]) -> dict[str, Any]:
    return {"tool": request["tool"], "arguments": request["arguments"]}
