"""The server as a real process on real pipes."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from tests.harness import COMMAND, ERAS, Era, environment, run, stdio_client
from waha_mcp.sandbox import SandboxInfo

INITIALIZE: dict[str, Any] = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}},
}
INITIALIZED: dict[str, Any] = {"jsonrpc": "2.0", "method": "notifications/initialized"}


def request(number: int, method: str, **params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": params}


def call(number: int, tool: str, **arguments: Any) -> dict[str, Any]:
    return request(number, "tools/call", name=tool, arguments=arguments)


def lines(*messages: dict[str, Any]) -> str:
    return "".join(json.dumps(message) + "\n" for message in messages)


@contextmanager
def server(sandbox: SandboxInfo, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    env = environment(WAHA_URL=sandbox.url, WAHA_API_KEY=sandbox.keys["full"])
    with subprocess.Popen(
        [*COMMAND, "serve", *arguments],
        env=env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def say(process: subprocess.Popen[str], *messages: dict[str, Any]) -> None:
    assert process.stdin is not None
    process.stdin.write(lines(*messages))
    process.stdin.flush()


def answer(process: subprocess.Popen[str]) -> Any:
    """The next answer; notifications are passed over."""
    assert process.stdout is not None
    while "id" not in (message := json.loads(process.stdout.readline())):
        pass
    return message


@pytest.fixture
def stuck(sandbox_process: SandboxInfo) -> Iterator[str]:
    """A chat whose messages take a minute to come."""
    chat = "447700900123@c.us"
    admin = {"X-Api-Key": sandbox_process.admin_key}
    path = f"/api/default/chats/{chat}/messages"
    body = {"path": path.replace("@", "%40"), "count": 1, "delay": 60}
    httpx.post(f"{sandbox_process.url}/sandbox/faults", headers=admin, json=body).raise_for_status()
    yield chat
    httpx.delete(f"{sandbox_process.url}/sandbox/faults", headers=admin).raise_for_status()


def test_a_piped_conversation_is_answered_to_its_last_request(sandbox_process: SandboxInfo) -> None:
    env = {"WAHA_URL": sandbox_process.url, "WAHA_API_KEY": sandbox_process.keys["read_send"]}
    conversation = lines(INITIALIZE, INITIALIZED, request(2, "tools/list"), call(3, "list_chats", limit=2))
    done = run(env=env, stdin=conversation)
    assert done.returncode == 0
    assert done.stderr == ""
    answers = {message["id"]: message["result"] for message in map(json.loads, done.stdout.splitlines())}
    assert answers.keys() == {1, 2, 3}
    assert "list_chats" in [tool["name"] for tool in answers[2]["tools"]]
    assert len(answers[3]["structuredContent"]["chats"]) == 2


def test_initialize_is_answered_while_waha_does_not_answer_at_all() -> None:
    with server(SandboxInfo("http://127.0.0.1:9", "default", "", {"full": "key_nowhere_00000000"})) as process:
        say(process, INITIALIZE)
        assert answer(process)["result"]["serverInfo"]["name"] == "waha-mcp"


def test_stdout_carries_only_protocol_while_debug_logs_go_to_stderr(sandbox_process: SandboxInfo) -> None:
    env = {"WAHA_URL": sandbox_process.url, "WAHA_API_KEY": sandbox_process.keys["read"]}
    done = run("--log-level", "debug", env=env, stdin=lines(INITIALIZE, INITIALIZED, call(2, "list_chats")))
    assert all(json.loads(line)["jsonrpc"] == "2.0" for line in done.stdout.splitlines())
    assert "GET /api/{session}/chats/overview" in done.stderr
    assert sandbox_process.keys["read"] not in done.stderr


@pytest.mark.parametrize("ending", [None, signal.SIGTERM, signal.SIGINT], ids=["end of stdin", "SIGTERM", "SIGINT"])
def test_it_ends_promptly_with_a_request_in_flight(
    ending: signal.Signals | None, sandbox_process: SandboxInfo, stuck: str
) -> None:
    with server(sandbox_process) as process:
        say(process, INITIALIZE, INITIALIZED, request(2, "tools/list"))
        answer(process)
        assert answer(process)["id"] == 2
        say(process, call(3, "get_messages", chat=stuck))
        _wait_for_request(sandbox_process, "/messages")
        started = time.monotonic()
        if ending is None:
            assert process.stdin is not None
            process.stdin.close()
        else:
            process.send_signal(ending)
        assert process.wait(timeout=10) == 0
        assert time.monotonic() - started < 4
        assert process.stderr is not None
        assert "Traceback" not in process.stderr.read()


def _wait_for_request(sandbox: SandboxInfo, part: str) -> None:
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        seen = httpx.get(f"{sandbox.url}/sandbox/requests", headers={"X-Api-Key": sandbox.admin_key}).json()
        if any(part in r["path"] for r in seen):
            return
    raise AssertionError("the request did not arrive")


def test_many_calls_at_once_are_all_answered(sandbox_process: SandboxInfo) -> None:
    with server(sandbox_process) as process:
        say(process, INITIALIZE, INITIALIZED, *(call(n, "list_chats", limit=1) for n in range(2, 66)))
        answered = {answer(process)["id"] for _ in range(65)}
    assert answered == set(range(1, 66))


def test_what_is_not_json_is_survived(sandbox_process: SandboxInfo) -> None:
    with server(sandbox_process) as process:
        assert process.stdin is not None
        process.stdin.write("this is not JSON\n")
        say(process, INITIALIZE)
        assert "result" in answer(process)


@pytest.mark.anyio
@pytest.mark.parametrize("era", ERAS)
async def test_the_sdks_own_client_lists_and_calls_over_stdio(era: Era, sandbox: SandboxInfo) -> None:
    async with stdio_client(sandbox, sandbox.keys["read_send"], era=era) as client:
        names = [tool.name for tool in (await client.list_tools()).tools]
        assert "send_text" in names
        result = await client.call_tool("send_text", {"chat": "+1 (202) 555-0123", "text": "Hello"})
        assert not result.is_error


def test_serve_sandbox_brings_its_own_waha() -> None:
    done = run("serve", "--sandbox", stdin=lines(INITIALIZE, INITIALIZED, call(2, "list_chats", limit=1)))
    answers = {message["id"]: message for message in map(json.loads, done.stdout.splitlines())}
    assert answers[2]["result"]["structuredContent"]["chats"]
