"""The server as a real process on real pipes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
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


def request(number: int | str, method: str, **params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": params}


def call(number: int | str, tool: str, **arguments: Any) -> dict[str, Any]:
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
    """The next answer; notifications are skipped."""
    assert process.stdout is not None
    while "id" not in (message := json.loads(process.stdout.readline())):
        pass
    return message


@pytest.fixture
def stuck(sandbox_process: SandboxInfo) -> Iterator[str]:
    """A chat whose messages take a minute to load."""
    chat = "447700900123@c.us"
    admin = {"X-Api-Key": sandbox_process.admin_key}
    body = {"path": f"/api/default/chats/{chat}/messages", "count": 1, "delay": 60}
    httpx.delete(f"{sandbox_process.url}/sandbox/requests", headers=admin).raise_for_status()
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
    assert len(json.loads(answers[3]["content"][0]["text"])["chats"]) == 2


def test_answers_that_are_more_than_a_pipe_holds_are_written_to_the_last(sandbox_process: SandboxInfo) -> None:
    env = {"WAHA_URL": sandbox_process.url, "WAHA_API_KEY": sandbox_process.keys["full"]}
    done = run("--toolsets", "all", env=env, stdin=lines(INITIALIZE, *(request(n, "tools/list") for n in range(2, 20))))
    assert len(done.stdout) > 2**19
    assert {json.loads(line)["id"] for line in done.stdout.splitlines()} == set(range(1, 20))


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
        _wait_for_the_stuck(sandbox_process)
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


def _wait_for_the_stuck(sandbox: SandboxInfo) -> None:
    """Wait until WAHA has the request for the messages, and has not answered it."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        seen = httpx.get(f"{sandbox.url}/sandbox/requests", headers={"X-Api-Key": sandbox.admin_key}).json()
        if any(r["path"].endswith("/messages") and r["status"] is None for r in seen):
            return
    raise AssertionError("the request did not arrive, or was answered")


def test_many_calls_at_once_are_all_answered(sandbox_process: SandboxInfo) -> None:
    with server(sandbox_process) as process:
        say(process, INITIALIZE, INITIALIZED, *(call(n, "list_chats", limit=1) for n in range(2, 66)))
        answered = {answer(process)["id"] for _ in range(65)}
    assert answered == set(range(1, 66))


def answer_to(process: subprocess.Popen[str], number: Any) -> Any:
    """The answer under an id; other messages are skipped."""
    while (message := answer(process))["id"] != number:
        pass
    return message


def test_what_is_no_message_is_answered_and_survived(sandbox_process: SandboxInfo) -> None:
    with server(sandbox_process) as process:
        assert process.stdin is not None
        process.stdin.write('this is not JSON\n\n[]\n{"jsonrpc":"2.0","id":"a","method":1}\n')
        say(process, INITIALIZE)
        seen = [answer(process) for _ in range(4)]
    assert [(each["id"], each.get("error", {}).get("code")) for each in seen] == [
        (None, -32700),
        (None, -32600),
        ("a", -32600),
        (1, None),
    ]


@pytest.mark.parametrize("number", [[1], {}, None, True, 1.5, "nobody", 99, "\ud800"], ids=ascii)
def test_cancelling_what_is_no_request_is_passed_over(number: Any, sandbox_process: SandboxInfo) -> None:
    cancel = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": number}}
    with server(sandbox_process) as process:
        say(process, cancel, INITIALIZE, INITIALIZED, cancel, cancel | {"params": None}, request(2, "tools/list"))
        assert "result" in answer_to(process, 2)


def test_an_id_in_use_is_not_taken_twice_and_is_free_again_afterwards(sandbox_process: SandboxInfo, stuck: str) -> None:
    with server(sandbox_process) as process:
        say(process, INITIALIZE, INITIALIZED, request(2, "tools/list"))
        answer_to(process, 2)
        say(process, call(3, "get_messages", chat=stuck))
        _wait_for_the_stuck(sandbox_process)
        say(process, call(3, "list_chats", limit=1), call("3", "list_chats", limit=1))
        for _ in range(2):
            refused = answer(process)
            assert refused["id"] is None
            assert "in use" in refused["error"]["message"]
        say(process, {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 3}})
        say(process, call(3, "list_chats", limit=1))
        assert "result" in answer_to(process, 3)


def test_a_cancel_that_spells_an_id_in_another_way_cancels_nothing(sandbox_process: SandboxInfo, stuck: str) -> None:
    with server(sandbox_process) as process:
        say(process, INITIALIZE, INITIALIZED, request(2, "tools/list"))
        answer_to(process, 2)
        say(process, call(3, "get_messages", chat=stuck))
        _wait_for_the_stuck(sandbox_process)
        for number in ("3", "03", 3.0):
            say(process, {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": number}})
        say(process, call(3, "list_chats", limit=1))
        assert "in use" in answer(process)["error"]["message"]


def test_an_id_can_be_used_again_as_soon_as_its_answer_is_read(sandbox_process: SandboxInfo) -> None:
    with server(sandbox_process) as process:
        say(process, INITIALIZE, INITIALIZED)
        answer_to(process, 1)
        for _ in range(100):
            say(process, request(1, "ping"))
            assert answer(process) == {"jsonrpc": "2.0", "id": 1, "result": {}}


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the peak of memory from /proc")
def test_a_line_without_end_is_refused_under_its_id_and_not_held_in_memory(sandbox_process: SandboxInfo) -> None:
    with server(sandbox_process) as process:
        assert process.stdin is not None
        say(process, INITIALIZE, INITIALIZED)
        answer_to(process, 1)
        before = _peak(process.pid)
        process.stdin.write('{"method":"tools/call","params":{"name":"send_text","arguments":{"text":"')
        for _ in range(200):
            process.stdin.write("x" * 2**20)
        process.stdin.write('"}},"jsonrpc":"2.0","id":7}\n')
        say(process, request(8, "ping"))
        refused = answer(process)
        assert (refused["id"], refused["error"]["code"]) == (7, -32600)
        assert "64 MiB" in refused["error"]["message"]
        assert answer(process)["id"] == 8
        assert _peak(process.pid) - before < 150 * 2**20


def _peak(pid: int) -> int:
    """The peak memory of a process, in bytes."""
    [line] = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024


@pytest.mark.parametrize("order", [("stdout",), ("stdout", "stdin"), ("stdin", "stdout")], ids=" then ".join)
@pytest.mark.parametrize("busy", [False, True], ids=["idle", "with an answer under way"])
def test_a_client_that_stops_reading_is_a_quiet_end(
    order: tuple[str, ...], busy: bool, sandbox_process: SandboxInfo
) -> None:
    with server(sandbox_process, "--log-level", "info") as process:
        say(process, INITIALIZE, INITIALIZED)
        answer_to(process, 1)
        assert process.stdin is not None
        if busy:
            say(process, call(2, "list_chats", limit=5))
        for name in order:
            getattr(process, name).close()
            if name == "stdout" and not process.stdin.closed:
                with suppress(BrokenPipeError):
                    say(process, request(3, "ping"), request(4, "tools/list"))
        assert process.wait(timeout=10) == 0
        assert process.stderr is not None
        loud = [line for line in process.stderr.read().splitlines() if " INFO " not in line]
        assert loud == []


def test_a_client_that_leaves_its_answers_unread_and_ends_stdin_does_not_hold_the_process(
    sandbox_process: SandboxInfo,
) -> None:
    with server(sandbox_process) as process:
        say(process, INITIALIZE, INITIALIZED, *(request(n, "tools/list") for n in range(2, 40)))
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(timeout=10) == 0


@pytest.mark.skipif(sys.platform == "win32", reason="a shell closes the descriptors")
@pytest.mark.parametrize("closed", ["<&-", ">&-", "<&- >&-", "2>&-"])
def test_descriptors_that_are_closed_from_the_start_are_a_quiet_end(closed: str, sandbox_process: SandboxInfo) -> None:
    done = subprocess.run(
        ["/bin/sh", "-c", f'exec "$@" {closed}', "sh", *COMMAND, "serve"],
        env=environment(WAHA_URL=sandbox_process.url, WAHA_API_KEY=sandbox_process.keys["read"]),
        input=lines(INITIALIZE),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert bool(done.stdout) == (closed == "2>&-")


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
    assert json.loads(answers[2]["result"]["content"][0]["text"])["chats"]
