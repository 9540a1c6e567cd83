"""A model service on loopback that plays a scenario, and a proxy that blocks outgoing traffic.

A scenario is a list of tool calls. The service lets the host make them one after another and then says a closing text.
It records what the host posts: that is what a model sees. It keeps no position in the scenario: the number of results
in a request says which call is next, so that a host may repeat a request.
"""

from __future__ import annotations

import gzip
import json
import re
import threading
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.hosts_real.wires import Attachment, Json, Offered, Says, Shown, Use, Wire, attachments, call_id, wire_of

#: What the model says after its last call.
CLOSING = "That was all of it."
#: How often the model searches for a tool: a search finds nothing while a server is still starting.
SEARCHES = 10
#: The answer to side requests: titles, summaries, quota checks.
ASIDE = "WhatsApp"


@dataclass(frozen=True)
class Call:
    """One call of a scenario: the tool's own name, its arguments, and what happens just before it, such as an approval.

    Arguments that depend on what the model has seen are a function of the result of the call before.
    """

    tool: str
    arguments: Mapping[str, Any] | Callable[[Shown], Mapping[str, Any]] = field(default_factory=dict)
    before: Callable[[], object] | None = None

    def given(self, *last: Shown) -> Mapping[str, Any]:
        """The arguments, after this result."""
        return self.arguments(*last) if callable(self.arguments) else self.arguments


@dataclass(frozen=True)
class Turn:
    """A request of the host in which its model could continue the scenario."""

    wire: Wire
    body: Json = field(repr=False)

    @property
    def tools(self) -> dict[str, Offered]:
        """The tools in the request, by the host's names."""
        return {tool.name: tool for tool in self.wire.tools(self.body)}

    @property
    def results(self) -> list[Shown]:
        return self.wire.results(self.body)

    @property
    def attachments(self) -> list[Attachment]:
        return list(attachments(self.body))

    def find(self, tool: str) -> Offered | None:
        """The tool under the host's name for it: our name, with any prefix."""
        named = re.compile(rf"(.*[^a-z0-9])?{tool}")
        found = [each for each in self.tools.values() if named.fullmatch(each.name)]
        return min(found, key=lambda each: len(each.name), default=None)


@dataclass(frozen=True)
class Search:
    """The host's own tool that loads others on demand, and its arguments to find one of ours."""

    tool: str
    arguments: Callable[[str], Json]


@dataclass(frozen=True)
class Through:
    """The host's own tool through which its model calls ours, as by a script.

    `arguments`: what it is given for a call; `looks`: calls of the host's own tools by which its model sees ours;
    `goes_on`: the host's own call that waits further, where a result says that the call itself still runs.
    """

    tool: str
    arguments: Callable[[str, Mapping[str, Any]], Json]
    looks: tuple[Call, ...]
    goes_on: Callable[[Shown], Call | None] = lambda shown: None


class Model:
    """The service's state. `play` sets a scenario and clears the records."""

    def __init__(self) -> None:
        self.url = ""
        self.play()

    def play(self, *calls: Call, search: Search | None = None, through: Through | None = None) -> None:
        self.calls = calls
        self.search = search
        self.through = through
        #: The requests of the conversation, in order.
        self.turns: list[Turn] = []
        #: Tools that the request of the conversation in which they were to be called did not offer.
        self.missing: list[str] = []
        #: Other requests, as "POST /path".
        self.aside: list[str] = []
        #: Outgoing connections that the host tried, as "CONNECT host:443".
        self.outward: list[str] = []
        self._prepared: set[int] = set()
        self._searches: Counter[str] = Counter()
        self._waits = 0
        self._lock = threading.Lock()

    def says(self, wire: Wire, path: str, body: Json) -> Says:
        """What the model answers to a request."""
        turn = Turn(wire, body)
        if not turn.tools:
            self.aside.append(f"POST {path}")
            return ASIDE
        self.turns.append(turn)
        number = len(turn.results)
        further = self.through.goes_on(turn.results[-1]) if self.through and turn.results else None
        if further and (tool := turn.find(further.tool)):
            self._waits += 1
            return Use(call_id(number - 1, self._waits), tool, further.given())
        if number >= len(self.calls):
            return CLOSING
        call = self.calls[number]
        with self._lock:
            if call.before and number not in self._prepared:
                self._prepared.add(number)
                call.before()
        arguments = call.given(*turn.results[-1:])
        if tool := turn.find(call.tool):
            return Use(call_id(number), tool, arguments)
        if self.through and (tool := turn.find(self.through.tool)):
            return Use(call_id(number), tool, self.through.arguments(call.tool, arguments))
        loader = turn.find(self.search.tool) if self.search else None
        if self.search and loader and self._searches[call.tool] < SEARCHES:
            self._searches[call.tool] += 1
            id_ = f"search{self._searches.total():02}"
            return Use(id_, loader, self.search.arguments(call.tool))
        self.missing.append(call.tool)
        return f"There is no tool {call.tool}."


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    model: Model

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            raw = b""
            while size := int(self.rfile.readline().split(b";")[0], 16):
                raw += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        match self.headers.get("Content-Encoding"):
            case "gzip":
                return gzip.decompress(raw)
            case "deflate":
                return zlib.decompress(raw)
            case _:
                return raw

    def _answer(self, status: int, data: bytes, type_: str = "application/json") -> None:
        self.send_response(status)
        self.send_header("Content-Type", type_)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def _refuse(self) -> None:
        self.model.outward.append(f"{self.command} {self.path}")
        self.close_connection = True
        self._answer(403, b"{}")

    def do_CONNECT(self) -> None:
        self._refuse()

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        if "://" in self.path:
            return self._refuse()
        self.model.aside.append(f"{self.command} {self.path}")
        if self.path.partition("?")[0].endswith("/models"):
            return self._answer(200, b'{"object": "list", "data": [], "models": []}')
        return self._answer(200, b"{}")

    def do_POST(self) -> None:
        raw = self._body()
        if "://" in self.path:
            return self._refuse()
        wire = wire_of(self.path)
        if wire is None:
            self.model.aside.append(f"POST {self.path}")
            # Anthropic's and Google's counters of tokens; everything else takes an empty answer.
            return self._answer(200, b'{"input_tokens": 10, "totalTokens": 10}')
        body = json.loads(raw)
        says = self.model.says(wire, self.path, body)
        if not wire.streams(self.path, body):
            return self._answer(200, json.dumps(wire.whole(body, says)).encode())
        events = [
            (f"event: {name}\n" if name else "") + f"data: {json.dumps(data)}\n\n"
            for name, data in wire.stream(body, says)
        ]
        return self._answer(200, ("".join(events) + wire.end).encode(), "text/event-stream")


@contextmanager
def serving() -> Iterator[Model]:
    """A model service on a free port; its URL is also that of the proxy."""
    model = Model()
    handler = type("Handler", (_Handler,), {"model": model})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        model.url = f"http://127.0.0.1:{server.server_address[1]}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield model
        finally:
            server.shutdown()
