"""Notifications between processes on one store."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import anyio
import pytest
from anyio.streams.memory import MemoryObjectReceiveStream

from tests.memory_store import Memory
from tests.redis_server import RedisServer
from waha_mcp.store import changes
from waha_mcp.store.changes import Changes
from waha_mcp.store.redis import CHANNEL

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "AGAIN", 0.05)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    made = RedisServer(tmp_path / "redis").start()
    yield made
    made.end()


@asynccontextmanager
async def hearing(
    of: Changes, server: RedisServer, listeners: int = 1
) -> AsyncIterator[MemoryObjectReceiveStream[str | None]]:
    """What is received, once this many listen."""
    into, heard = anyio.create_memory_object_stream[str | None](100)

    async def listen() -> None:
        async for topic in of.heard():
            await into.send(topic)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(listen)
        await listening(server, listeners)
        with anyio.fail_after(30):
            yield heard
        tasks.cancel_scope.cancel()
    into.close()
    heard.close()


async def listening(server: RedisServer, count: int) -> None:
    with server.client() as client, anyio.fail_after(20):
        while client.pubsub_numsub(CHANNEL) != [(CHANNEL, count)]:  # noqa: ASYNC110 - Redis tells of no listener by itself
            await anyio.sleep(0.02)


async def test_others_receive_what_one_sends_and_it_does_not_receive_its_own(server: RedisServer) -> None:
    with closing(server.store()) as one, closing(server.store()) as other:
        here, there = Changes(one), Changes(other)
        async with hearing(here, server) as heard, hearing(there, server, 2) as also_heard:
            await here.tell("first")
            await there.tell("second")
            await here.tell("third")
            assert await heard.receive() == "second"
            assert [await also_heard.receive() for _ in range(2)] == ["first", "third"]
            with pytest.raises(anyio.WouldBlock):
                heard.receive_nowait()


async def test_after_redis_was_away_anything_may_have_changed_and_what_could_not_be_told_is_told(
    server: RedisServer,
) -> None:
    with closing(server.store()) as one, closing(server.store()) as other:
        here, there = Changes(one), Changes(other)
        async with hearing(here, server) as heard, hearing(there, server, 2) as also_heard:
            server.end(kill=True)
            for topic in ("told while it was away", "and another", "told while it was away"):
                await here.tell(topic)
            server.start()
            assert await heard.receive() is None
            got = {await also_heard.receive() for _ in range(3)}
            # Sent as soon as one of them listens, perhaps before the other does: a listener that was cut off receives
            # None anyway.
            assert None in got or got == {"told while it was away", "and another"}
            await listening(server, 2)
            await here.tell("once more")
            while await also_heard.receive() != "once more":
                pass


async def test_a_listener_whose_connection_hangs_listens_anew(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "QUIET", 0.1)
    with closing(server.store()) as one, closing(server.store()) as other:
        async with hearing(Changes(one), server) as heard:
            server.signal(signal.SIGSTOP)
            await anyio.sleep(0.5)
            server.signal(signal.SIGCONT)
            assert await heard.receive() is None
            await listening(server, 1)
            await Changes(other).tell("topic")
            while await heard.receive() != "topic":
                pass


async def test_a_store_of_one_machine_carries_nothing() -> None:
    alone = Changes(Memory())
    await alone.tell("topic")
    assert [topic async for topic in alone.heard()] == []
