"""Whatever is written to stdin, every request is answered once and the server goes on: one real process, many lines."""

from __future__ import annotations

import itertools
import json
import queue
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.harness import COMMAND, environment
from waha_mcp.sandbox import SandboxInfo

META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {"elicitation": {}},
}
OPENINGS: dict[str, dict[str, Any]] = {
    "handshake": {
        "method": "initialize",
        "params": {
            "protocolVersion": "2025-06-18",
            "capabilities": {"elicitation": {}},
            "clientInfo": {"name": "test", "version": "1"},
        },
    },
    "2026-07-28": {"method": "tools/list", "params": {"_meta": META}},
}


class Running:
    """A server process in one era, and its answers in the order of arrival."""

    def __init__(self, process: subprocess.Popen[bytes], era: str) -> None:
        assert process.stdin is not None
        self._process, self._stdin, self._era = process, process.stdin, era
        self._answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._sentinels = (f"sentinel {n}" for n in itertools.count())
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._answers.put(json.loads(line))

    def write(self, *lines: bytes) -> None:
        self._stdin.write(b"".join(line + b"\n" for line in lines))
        self._stdin.flush()

    def answers(self, expected: set[Any]) -> Counter[Any]:
        """How often each id was answered, once all expected ids and a request after them were."""
        sentinel = next(self._sentinels)
        params = {"_meta": META} if self._era != "handshake" else {}
        self.write(json.dumps({"jsonrpc": "2.0", "id": sentinel, "method": "tools/list", "params": params}).encode())
        waiting, seen = {*map(key, expected), key(sentinel)}, Counter[Any]()
        while waiting:
            message = self._answers.get(timeout=20)
            if "method" not in message:
                assert ("result" in message) != ("error" in message)
                seen[key(message["id"])] += 1
                waiting.discard(key(message["id"]))
                assert key(message["id"]) != key(sentinel) or "result" in message
        assert self._process.poll() is None
        return seen


def key(number: Any) -> tuple[type, Any]:
    return type(number), number


@pytest.fixture(scope="module", params=OPENINGS)
def running(request: pytest.FixtureRequest, sandbox_process: SandboxInfo) -> Iterator[Running]:
    env = environment(WAHA_URL=sandbox_process.url, WAHA_API_KEY=sandbox_process.keys["read"])
    with subprocess.Popen(
        [*COMMAND, "serve"], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        server = Running(process, request.param)
        server.write(json.dumps({"jsonrpc": "2.0", "id": "open", **OPENINGS[request.param]}).encode())
        assert server.answers({"open"})[key("open")] == 1
        yield server
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(timeout=10) == 0
        assert process.stderr is not None
        assert b"Traceback" not in process.stderr.read()


#: Text as Python has it, lone surrogates included: json.dumps spells them as escapes.
text = st.text(st.characters(exclude_categories=()), max_size=20)
numbers = st.one_of(st.integers(), st.floats(), st.sampled_from([10**400, -(2**63), 2**64]))
values = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, text),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(text, inner, max_size=4)),
    max_leaves=12,
)
deep = st.integers(1, 3000).map(lambda depth: b"[" * depth + b"]" * depth)
ids = st.one_of(
    st.integers(-(2**63), 2**64 - 1), st.text(st.characters(exclude_categories=["Cs"]), max_size=20).map("s{}".format)
)
methods = st.one_of(
    st.sampled_from(["ping", "tools/list", "tools/call", "resources/read", "prompts/get", "completion/complete"]), text
)
calls = st.fixed_dictionaries(
    {"name": st.one_of(st.sampled_from(["list_chats", "get_status", "find_chats", "send_text"]), text)},
    optional={"arguments": values, "_meta": values, "inputResponses": values, "requestState": values, "task": values},
)
modern = calls.map(lambda params: params | {"_meta": META})
requests = st.fixed_dictionaries(
    {"jsonrpc": st.just("2.0"), "id": ids, "method": methods},
    optional={"params": st.one_of(calls, modern, values), "extra": values},
)


def spelled(value: Any) -> bytes:
    return json.dumps(value).encode()


#: Lines that are no request with a usable id. Their answers have none of the ids of the requests beside them.
notifications = st.fixed_dictionaries(
    {"jsonrpc": st.just("2.0"), "method": st.one_of(st.sampled_from(["notifications/progress"]), text)},
    optional={"params": values},
)
cancels = st.fixed_dictionaries(
    {"jsonrpc": st.just("2.0"), "method": st.just("notifications/cancelled")},
    optional={"params": st.fixed_dictionaries({"requestId": st.one_of(st.lists(values), st.none(), st.floats())})},
)
answers = st.fixed_dictionaries(
    {"jsonrpc": st.just("2.0"), "id": values}, optional={"result": values, "error": values}
).filter(lambda answer: "result" in answer or "error" in answer)
odd = st.one_of(
    st.binary(max_size=60).map(lambda junk: b"!" + junk.replace(b"\n", b"")),
    st.tuples(requests, st.integers(0, 30)).map(lambda cut: spelled(cut[0])[: -1 - cut[1]]),
    deep,
    values.filter(lambda value: not isinstance(value, dict)).map(spelled),
    st.lists(requests, max_size=3).map(spelled),
    st.one_of(notifications, cancels, answers).map(spelled),
)
spaced = st.sampled_from([b"%s", b"%s\r", b" %s\t", b"\xef\xbb\xbf%s"])


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck), database=None)
@given(
    wished=st.lists(requests, max_size=5, unique_by=lambda each: str(each["id"])),
    others=st.lists(odd, max_size=5),
    frame=spaced,
    order=st.randoms(use_true_random=False),
)
def test_every_request_is_answered_once_whatever_stands_beside_it(
    running: Running, wished: list[dict[str, Any]], others: list[bytes], frame: bytes, order: Any
) -> None:
    lines = [frame % spelled(each) for each in wished] + others
    order.shuffle(lines)
    running.write(*lines)
    expected = {each["id"] for each in wished}
    seen = running.answers(expected)
    assert all(seen[key(number)] == 1 for number in expected), seen
