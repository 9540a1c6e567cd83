"""A model service on loopback that answers from a list, in the format of either API, errors included."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.serving import serving

Json = dict[str, Any]


@dataclass(frozen=True)
class Fails:
    """An error of the service. `after`: its Retry-After; `drop`: the connection ends without an answer."""

    status: int = 500
    after: str | None = None
    drop: bool = False


@dataclass(frozen=True)
class Says:
    """A turn: text, calls as (tool, arguments; a string is sent as it is in place of JSON), and the stop reason."""

    text: str = ""
    calls: tuple[tuple[str, Json | str], ...] = ()
    stop: str | None = None


@dataclass
class Service:
    """`seen`: what was posted, as (path, headers, body)."""

    answers: list[Fails | Says]
    url: str = ""
    seen: list[tuple[str, dict[str, str], Json]] = field(default_factory=list)


@contextmanager
def scripted(*answers: Fails | Says) -> Iterator[Service]:
    """The service, which gives these answers in order and then no more."""
    service = Service(list(answers))
    handler = type("Handler", (_Handler,), {"service": service})
    with serving(ThreadingHTTPServer(("127.0.0.1", 0), handler)) as port:
        service.url = f"http://127.0.0.1:{port}"
        yield service


class _Handler(BaseHTTPRequestHandler):
    service: Service

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.service.seen.append((self.path, headers, body))
        answer = self.service.answers.pop(0)
        if isinstance(answer, Says):
            whole = _completion if self.path.endswith("/chat/completions") else _message
            return self._send(200, whole(answer, len(self.service.seen)))
        if answer.drop:
            return None
        # Services repeat what was wrong, sometimes including the key.
        key = headers.get("x-api-key") or headers.get("authorization", "")
        error = {"type": "error", "message": f"no, {key}"}
        return self._send(answer.status, {"type": "error", "error": error}, answer.after)

    def _send(self, status: int, body: Json, after: str | None = None) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        if after is not None:
            self.send_header("Retry-After", after)
        self.end_headers()
        self.wfile.write(data)


def _completion(says: Says, number: int) -> Json:
    """OpenAI's: arguments are JSON in a text."""
    message: Json = {"role": "assistant", "content": says.text or None, "refusal": None}
    if says.calls:
        message["tool_calls"] = [
            {
                "id": f"call_{number}_{at}",
                "type": "function",
                "function": {"name": tool, "arguments": given if isinstance(given, str) else json.dumps(given)},
            }
            for at, (tool, given) in enumerate(says.calls)
        ]
    reason = says.stop or ("tool_calls" if says.calls else "stop")
    return {
        "id": f"chatcmpl-{number}",
        "object": "chat.completion",
        "created": 1_795_710_000,
        "model": "scripted",
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": reason}],
        "usage": {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110},
    }


def _message(says: Says, number: int) -> Json:
    """Anthropic's: a text comes before the calls."""
    content: list[Json] = [{"type": "text", "text": says.text}] if says.text else []
    content += [
        {"type": "tool_use", "id": f"toolu_{number}_{at}", "name": tool, "input": given}
        for at, (tool, given) in enumerate(says.calls)
    ]
    return {
        "id": f"msg_{number}",
        "type": "message",
        "role": "assistant",
        "model": "scripted",
        "content": content,
        "stop_reason": says.stop or ("tool_use" if says.calls else "end_turn"),
        "stop_sequence": None,
        "usage": {"input_tokens": 60, "cache_read_input_tokens": 40, "output_tokens": 10},
    }
