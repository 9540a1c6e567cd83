"""The protocols between hosts and models: what a request shows the model, and how an answer is written.

A wire reads requests and writes answers, streamed or whole as the host asks; it knows nothing of scenarios.
"""

from __future__ import annotations

import base64
import binascii
import itertools
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]
#: An event of a stream: its name, where the protocol names events, and its data.
Event = tuple[str | None, Json]


@dataclass(frozen=True)
class Offered:
    """A tool as a request offers it to the model.

    `namespace`: what a host puts beside the name, if anything. `kind`: the protocol's own word for the kind of tool.
    """

    name: str
    description: str
    schema: Json
    namespace: str | None = None
    kind: str = "function"


@dataclass(frozen=True)
class Shown:
    """The result of one tool call as the model gets it, without attachments, which may be anywhere in a request."""

    text: str
    error: bool = False


@dataclass(frozen=True)
class Use:
    """The model calls a tool. `id`: a `call_id` for the calls of a scenario, another id for calls that lead to one."""

    id: str
    tool: Offered
    arguments: Mapping[str, Any]


#: What the model answers: a text, or a tool call.
Says = str | Use


@dataclass(frozen=True)
class Attachment:
    """A picture or sound in a request."""

    type: str
    data: bytes = field(repr=False)


_DATA_URL = re.compile(r"data:([\w/.+-]+)[^,]*;base64,(.+)", re.DOTALL)


def attachments(value: Any) -> Iterator[Attachment]:
    """Every picture and sound in a request, as data URL or as base64 with its type, in any wire."""
    if isinstance(value, Mapping):
        type_ = next((value[k] for k in ("media_type", "mimeType", "mime_type") if isinstance(value.get(k), str)), "")
        type_ = type_ or (f"audio/{value['format']}" if isinstance(value.get("format"), str) else "")
        data = value.get("data")
        if type_ and isinstance(data, str) and (raw := _decoded(data)):
            yield Attachment(type_, raw)
        for each in value.values():
            yield from attachments(each)
    elif isinstance(value, list):
        for each in value:
            yield from attachments(each)
    elif isinstance(value, str) and (found := _DATA_URL.fullmatch(value)) and (raw := _decoded(found[2])):
        yield Attachment(found[1], raw)


def _decoded(text: str) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True) or None
    except (binascii.Error, ValueError):
        return None


def words(value: Any) -> str:
    """The text of a content: a string, or the texts of its blocks."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "\n".join(filter(None, map(words, value)))
    if isinstance(value, Mapping):
        return words(value.get("text", value.get("content", "")))
    return ""


class Wire(ABC):
    """One protocol."""

    @abstractmethod
    def tools(self, body: Json) -> list[Offered]:
        """The tools that a request offers."""

    @abstractmethod
    def results(self, body: Json) -> list[Shown]:
        """The results of the calls that a `Use` asked for, in order; a call without a result ends the list."""

    @abstractmethod
    def whole(self, body: Json, says: Says) -> Json:
        """An answer in one piece."""

    @abstractmethod
    def stream(self, body: Json, says: Says) -> Iterator[Event]:
        """An answer as a stream of server-sent events."""

    def streams(self, path: str, body: Json) -> bool:
        """Whether a request asks for a stream."""
        return bool(body.get("stream"))

    #: What ends a stream after its last event.
    end = ""


_numbers = itertools.count(1)


def unique() -> int:
    """For ids of answers: hosts merge those of one id."""
    return next(_numbers)


def call_id(number: int, wait: int = 0) -> str:
    """The id of a scenario's call, or of a later one that waits for its result: without signs, which some hosts drop.

    `wait`: the number of the latter, from 1 on; it grows.
    """
    return f"call{number:02}" + (f"wait{wait:02}" if wait else "")


def _in_order(found: Mapping[str, Shown]) -> list[Shown]:
    results: list[Shown] = []
    while (id_ := call_id(len(results))) in found:
        # The result is that of the last call that waited for it.
        results.append(found[max(each for each in found if each.startswith(id_))])
    return results


class Messages(Wire):
    """Anthropic's Messages API."""

    def tools(self, body: Json) -> list[Offered]:
        return [
            Offered(tool["name"], tool.get("description", ""), tool["input_schema"])
            for tool in body.get("tools") or []
            if "input_schema" in tool
        ]

    def results(self, body: Json) -> list[Shown]:
        blocks = [
            block
            for message in body.get("messages", [])
            if isinstance(message.get("content"), list)
            for block in message["content"]
            if block.get("type") == "tool_result"
        ]
        return _in_order({b["tool_use_id"]: Shown(words(b.get("content")), bool(b.get("is_error"))) for b in blocks})

    def whole(self, body: Json, says: Says) -> Json:
        if isinstance(says, Use):
            block: Json = {"type": "tool_use", "id": says.id, "name": says.tool.name, "input": dict(says.arguments)}
        else:
            block = {"type": "text", "text": says}
        return {
            "id": f"msg_{unique()}",
            "type": "message",
            "role": "assistant",
            "model": body.get("model", "model"),
            "content": [block],
            "stop_reason": "tool_use" if isinstance(says, Use) else "end_turn",
            "stop_sequence": None,
            "usage": {"input_tokens": 10, "output_tokens": 10},
        }

    def stream(self, body: Json, says: Says) -> Iterator[Event]:
        message = self.whole(body, says)
        [block] = message["content"]
        if isinstance(says, Use):
            start = block | {"input": {}}
            delta = {"type": "input_json_delta", "partial_json": json.dumps(block["input"])}
        else:
            start, delta = block | {"text": ""}, {"type": "text_delta", "text": says}
        stop = {k: message.pop(k) for k in ("stop_reason", "stop_sequence")}
        begun = message | {"content": [], "stop_reason": None, "stop_sequence": None}
        events: list[Json] = [
            {"type": "message_start", "message": begun},
            {"type": "content_block_start", "index": 0, "content_block": start},
            {"type": "content_block_delta", "index": 0, "delta": delta},
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": stop, "usage": message["usage"]},
            {"type": "message_stop"},
        ]
        for event in events:
            yield event["type"], event


class Responses(Wire):
    """OpenAI's Responses API, with namespaces of tools, and with tools that a search at the client has found."""

    def tools(self, body: Json) -> list[Offered]:
        found = [tool for item in self._items(body, "tool_search_output", "additional_tools") for tool in item["tools"]]
        return list(self._tools([*(body.get("tools") or []), *found], None))

    def _items(self, body: Json, *types: str) -> list[Json]:
        items = body["input"] if isinstance(body.get("input"), list) else []
        return [item for item in items if item.get("type") in types]

    def _tools(self, tools: list[Json], namespace: str | None) -> Iterator[Offered]:
        for tool in tools:
            if tool.get("type") == "namespace":
                yield from self._tools(tool["tools"], tool["name"])
            elif tool.get("type") in ("function", "custom", "tool_search"):
                name: str = tool.get("name") or tool["type"]
                yield Offered(
                    name, tool.get("description") or "", tool.get("parameters") or {}, namespace, tool["type"]
                )

    def results(self, body: Json) -> list[Shown]:
        outputs = self._items(body, "function_call_output", "custom_tool_call_output")
        return _in_order({item["call_id"]: Shown(words(item["output"])) for item in outputs})

    def whole(self, body: Json, says: Says) -> Json:
        item: Json
        if isinstance(says, Use) and says.tool.kind == "tool_search":
            item = {"type": "tool_search_call", "id": f"ts_{says.id}", "call_id": says.id, "execution": "client"}
            item |= {"arguments": dict(says.arguments), "status": "completed"}
        elif isinstance(says, Use) and says.tool.kind == "custom":
            item = {"type": "custom_tool_call", "id": f"ct_{says.id}", "call_id": says.id, "name": says.tool.name}
            item |= {"input": says.arguments["input"], "status": "completed"}
            item |= {"namespace": says.tool.namespace} if says.tool.namespace else {}
        elif isinstance(says, Use):
            item = {
                "type": "function_call",
                "id": f"fc_{says.id}",
                "call_id": says.id,
                "name": says.tool.name,
                "arguments": json.dumps(says.arguments),
                "status": "completed",
            } | ({"namespace": says.tool.namespace} if says.tool.namespace else {})
        else:
            part = {"type": "output_text", "text": says, "annotations": []}
            item = {"type": "message", "id": f"msg_{unique()}", "role": "assistant", "content": [part]}
            item["status"] = "completed"
        return {
            "id": f"resp_{unique()}",
            "object": "response",
            "created_at": 1,
            "model": body.get("model", "model"),
            "status": "completed",
            "output": [item],
            "usage": {
                "input_tokens": 10,
                "input_tokens_details": {"cached_tokens": 0},
                "output_tokens": 10,
                "output_tokens_details": {"reasoning_tokens": 0},
                "total_tokens": 20,
            },
        }

    def stream(self, body: Json, says: Says) -> Iterator[Event]:
        response = self.whole(body, says)
        [item] = response["output"]
        at = {"item_id": item["id"], "output_index": 0}
        written = item.get("arguments")
        empty: Json = {"content": []} if "content" in item else {"arguments": ""} if isinstance(written, str) else {}
        events: list[Json] = [
            {"type": "response.created", "response": response | {"status": "in_progress", "output": [], "usage": None}},
            {"type": "response.output_item.added", "output_index": 0, "item": item | empty | {"status": "in_progress"}},
        ]
        if isinstance(written, str):
            events += [
                {"type": "response.function_call_arguments.delta", **at, "delta": written},
                {"type": "response.function_call_arguments.done", **at, "arguments": written},
            ]
        elif "content" in item:
            [part] = item["content"]
            events += [
                {"type": "response.content_part.added", **at, "content_index": 0, "part": part | {"text": ""}},
                {"type": "response.output_text.delta", **at, "content_index": 0, "delta": part["text"]},
                {"type": "response.output_text.done", **at, "content_index": 0, "text": part["text"]},
                {"type": "response.content_part.done", **at, "content_index": 0, "part": part},
            ]
        events += [
            {"type": "response.output_item.done", "output_index": 0, "item": item},
            {"type": "response.completed", "response": response},
        ]
        for number, event in enumerate(events):
            yield event["type"], event | {"sequence_number": number}


class Completions(Wire):
    """OpenAI's Chat Completions API."""

    end = "data: [DONE]\n\n"

    def tools(self, body: Json) -> list[Offered]:
        functions = [tool["function"] for tool in body.get("tools") or [] if tool.get("type") == "function"]
        return [Offered(f["name"], f.get("description") or "", f.get("parameters") or {}) for f in functions]

    def results(self, body: Json) -> list[Shown]:
        outputs = [message for message in body.get("messages", []) if message.get("role") == "tool"]
        return _in_order({message["tool_call_id"]: Shown(words(message["content"])) for message in outputs})

    def _message(self, says: Says) -> Json:
        if not isinstance(says, Use):
            return {"role": "assistant", "content": says}
        function = {"name": says.tool.name, "arguments": json.dumps(says.arguments)}
        call = {"id": says.id, "type": "function", "function": function}
        return {"role": "assistant", "content": None, "tool_calls": [call]}

    def _around(self, body: Json, kind: str, choice: Json) -> Json:
        usage = {"prompt_tokens": 10, "completion_tokens": 10, "total_tokens": 20}
        head = {"id": f"chatcmpl-{unique()}", "object": kind, "created": 1, "model": body.get("model", "model")}
        return head | {"choices": [{"index": 0} | choice], "usage": usage}

    def whole(self, body: Json, says: Says) -> Json:
        reason = "tool_calls" if isinstance(says, Use) else "stop"
        return self._around(body, "chat.completion", {"message": self._message(says), "finish_reason": reason})

    def stream(self, body: Json, says: Says) -> Iterator[Event]:
        delta = self._message(says)
        for index, call in enumerate(delta.get("tool_calls", [])):
            call["index"] = index
        reason = "tool_calls" if isinstance(says, Use) else "stop"
        for choice in ({"delta": delta, "finish_reason": None}, {"delta": {}, "finish_reason": reason}):
            yield None, self._around(body, "chat.completion.chunk", choice)


class Gemini(Wire):
    """Google's generateContent and streamGenerateContent. Calls have no id here: they are matched by order."""

    def streams(self, path: str, body: Json) -> bool:
        return ":streamGenerateContent" in path

    def tools(self, body: Json) -> list[Offered]:
        return [
            Offered(f["name"], f.get("description") or "", f.get("parametersJsonSchema") or f.get("parameters") or {})
            for tool in body.get("tools") or []
            for f in tool.get("functionDeclarations") or []
        ]

    def results(self, body: Json) -> list[Shown]:
        parts = [part for content in body.get("contents", []) for part in content.get("parts", [])]
        answers = [part["functionResponse"]["response"] for part in parts if "functionResponse" in part]
        return [Shown(_gemini_words(answer), "error" in answer) for answer in answers]

    def whole(self, body: Json, says: Says) -> Json:
        if isinstance(says, Use):
            part: Json = {"functionCall": {"name": says.tool.name, "args": dict(says.arguments)}}
        else:
            part = {"text": says}
        usage = {"promptTokenCount": 10, "candidatesTokenCount": 10, "totalTokenCount": 20}
        candidate = {"content": {"role": "model", "parts": [part]}, "finishReason": "STOP", "index": 0}
        return {"candidates": [candidate], "usageMetadata": usage, "modelVersion": "model"}

    def stream(self, body: Json, says: Says) -> Iterator[Event]:
        yield None, self.whole(body, says)


def _gemini_words(answer: Json) -> str:
    found = answer.get("output", answer.get("error", answer))
    return found if isinstance(found, str) else words(found) or json.dumps(found, ensure_ascii=False)


#: What a request's path ends with, and the wire that it speaks.
WIRES: dict[str, Wire] = {
    r"/messages$": Messages(),
    r"/responses$": Responses(),
    r"/chat/completions$": Completions(),
    r":(streamG|g)enerateContent$": Gemini(),
}


def wire_of(path: str) -> Wire | None:
    """The wire of a POST to a path; None if it does not ask a model."""
    return next((wire for end, wire in WIRES.items() if re.search(end, path.partition("?")[0])), None)
