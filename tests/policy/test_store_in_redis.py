"""Apps on several machines with one store in Redis: effects of one count for the others, also when it is away."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client

from tests.harness import Admin, memory_client, payload, run
from tests.policy.common import MAYA, SAM, bridge_with, effects
from tests.policy.test_shown_files import asked
from tests.redis_server import RedisServer
from waha_mcp.bridge import Bridge
from waha_mcp.console.server import EVERYTHING
from waha_mcp.console.waiting import copy_of
from waha_mcp.places import state_root
from waha_mcp.policy import Refusal, approval, saved_files, shown_files
from waha_mcp.policy.approval import decide, waiting
from waha_mcp.sandbox import SandboxInfo
from waha_mcp.server.protocol import Protocol
from waha_mcp.store.folders import VARIABLE, user_store
from waha_mcp.store.redis import Redis

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

TEXT = {"chat": SAM, "text": "Hello"}


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RedisServer]:
    """The Redis of the user's store. It keeps what is written."""
    made = RedisServer(tmp_path / "redis", "--appendonly", "yes", "--appendfsync", "always").start()
    monkeypatch.setenv(VARIABLE, made.url)
    yield made
    made.end()


def files(folder: Path, pattern: str) -> list[Path]:
    return list(folder.glob(pattern))


def on_machine(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is opened from now on is on another machine."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / name))


async def test_limits_and_repeats_are_those_of_all_machines(
    server: RedisServer, sandbox: SandboxInfo, admin: Admin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pace: dict[str, Any] = {"pace": {"total": "3/hour", "chat": "", "first_contacts": "", "gap": [0, 0]}}
    on_machine("one", tmp_path, monkeypatch)
    async with bridge_with(sandbox, **pace) as one:
        assert one.policy
        on_machine("other", tmp_path, monkeypatch)
        async with bridge_with(sandbox, **pace) as other:
            await admin.clear()
            await one.call("send_text", TEXT)
            with pytest.raises(Refusal, match="The same was done"):
                await other.call("send_text", TEXT)
            passed = 0
            for number in range(4):
                try:
                    await (one, other)[number % 2].call("send_text", {"chat": MAYA, "text": f"Number {number}"})
                except Refusal as error:
                    if error.decision != "too fast":
                        raise
                else:
                    passed += 1
            assert passed == 2
            assert (await effects(admin)).count("/api/sendText") == 3
    assert not files(tmp_path, "*/waha-mcp/store.sqlite")


def hang(server: RedisServer) -> None:
    server.signal(signal.SIGSTOP)


def kill(server: RedisServer) -> None:
    server.end(kill=True)


def empty(server: RedisServer) -> None:
    with server.client() as client:
        client.flushall()


@pytest.mark.parametrize("away", [hang, kill, empty])
async def test_without_it_nothing_is_sent_and_reading_goes_on_with_long_ids(
    away: Callable[[RedisServer], None], server: RedisServer, sandbox: SandboxInfo, admin: Admin
) -> None:
    async with (
        bridge_with(sandbox) as bridge,
        memory_client(Protocol(lambda _: bridge).server, "auto") as client,
    ):
        await bridge.call("send_text", TEXT)
        away(server)
        await admin.clear()
        for text in ("Another", "One more"):
            with pytest.raises(Refusal, match="so this was not done") as refused:
                await bridge.call("send_text", TEXT | {"text": text})
            assert refused.value.decision == "store away"
            assert f"Redis at 127.0.0.1:{server.port}" in str(refused.value)
            assert "\n" not in str(refused.value)
        assert await effects(admin) == []
        assert "@c.us_" in await messages(client, SAM)
        if away is empty:
            with closing(user_store()) as store:
                assert isinstance(store, Redis)
                assert store.accept_loss()
        elif away is kill:
            server.start()
        else:
            server.signal(signal.SIGCONT)
        await sent(bridge, TEXT | {"text": "Another"})
        assert (await effects(admin)).count("/api/sendText") == 1
        assert "@c.us_" not in await messages(client, MAYA)


async def messages(client: Client, chat: str) -> str:
    """The answer of get_messages."""
    return json.dumps(payload(await client.call_tool("get_messages", {"chat": chat})))


async def sent(bridge: Bridge, call: dict[str, str]) -> None:
    """Send a text as soon as the store is there again."""
    with anyio.fail_after(20):
        while True:
            try:
                await bridge.call("send_text", call)
            except Refusal as error:
                if error.decision != "store away":
                    raise
                await anyio.sleep(0.1)
            else:
                return


async def test_the_console_of_another_machine_shows_a_question_with_its_files_and_answers_it(
    server: RedisServer, sandbox: SandboxInfo, admin: Admin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "menu.txt").write_bytes(b"soup of the day")
    call = {"chat": SAM, "kind": "file", "path": "menu.txt"}
    on_machine("one", tmp_path, monkeypatch)
    async with bridge_with(sandbox, approval="send", outbox=tmp_path) as bridge:
        with pytest.raises(Refusal, match="waiting"):
            await bridge.call("send_media", call)
        on_machine("console", tmp_path, monkeypatch)
        [entry] = waiting()
        assert entry.question.files[0].copied
        assert copy_of(EVERYTHING, entry.id, 0) == b"soup of the day"
        assert copy_of(EVERYTHING, entry.id, 1) is None
        assert decide(entry.id, approve=True)
        assert copy_of(EVERYTHING, entry.id, 0) is None
        with closing(user_store()) as store:
            assert store.rows("copy") == []
        await admin.clear()
        await bridge.call("send_media", call)
        assert "/api/sendFile" in await effects(admin)
    assert not files(tmp_path, "*/waha-mcp/*/questions")


def test_copies_of_all_questions_of_an_app_are_bounded_together(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shown_files, "MOST_COPIED", 10)
    with closing(user_store()) as store:
        approvals = approval.Approvals("one", store)
        kept = [approvals.ask(asked(b"x" * size, digest=str(size)), [b"x" * size]) for size in (6, 5, 4)]
        assert [each.question.files[0].copied for each in kept] == [True, False, True]


def test_what_another_machine_has_saved_is_not_said_to_be_forgotten(
    server: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").write_text("x")
    with closing(user_store()) as store:
        saved_files.remember(store, "one", str(tmp_path / "here"), SAM)
        monkeypatch.setattr("platform.node", lambda: "elsewhere")
        saved_files.remember(store, "one", str(tmp_path / "there"), SAM)
        monkeypatch.undo()
        deleted, problems = saved_files.forget(store, "one/", lambda chat: chat == SAM)
        assert deleted == [str(tmp_path / "here")]
        assert problems == [f"{tmp_path / 'there'} is on elsewhere: run it there, too"]
        assert [row.key for row in store.rows("saved")] == [f"one/{tmp_path / 'there'}"]


def test_the_trail_knows_whether_a_process_of_any_machine_is_still_at_it(server: RedisServer) -> None:
    with closing(server.store()) as elsewhere:
        trail = state_root() / "default" / "trail.jsonl"
        trail.parent.mkdir(parents=True)
        lines = [
            {
                "time": "2026-01-01T00:00:00.000+00:00",
                "call": name,
                "tool": "send_text",
                "outcome": "begun",
                "process": of,
            }
            for name, of in (("a", elsewhere.process), ("b", "0123456789abcdef"))
        ]
        trail.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
        shown = run("log", "--app", "default", env={VARIABLE: server.url})
        assert shown.returncode == 0, shown.stderr
        found = {line["call"]: line["outcome"] for line in map(json.loads, shown.stdout.splitlines())}
        assert found["a"] != found["b"]
