"""Clients on two processes, Redis and nginx."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle
from pathlib import Path

import anyio
import pytest

from tests.deployed.deployment import Deployment, missing
from tests.deployed.load import APPS, LIMIT, Load, place, run
from tests.harness import payload, texts
from tests.http_server import Served, connected

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.skipif(bool(missing("nginx")), reason=missing("nginx"))]


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Deployment]:
    with place(tmp_path) as deployment:
        yield deployment


async def test_no_answer_is_wrong_and_nothing_is_sent_twice_while_a_process_is_killed(here: Deployment) -> None:
    load = await run(here, 8, 10, kill=True)
    assert load.broken() == []
    assert load.lost
    assert load.killed
    # The killed process gets its share again once nginx tries it again.
    keys = cycle(here.keys[app] for app in APPS)
    with anyio.fail_after(40):
        while not all(map(calls_of, here.replicas)):
            key = next(keys)
            async with connected(here.proxy.url, key, verify=here.proxy.trusted) as client:
                payload(await client.call_tool("list_chats", {"limit": 1}))
    assert sum(map(calls_of, here.replicas)) > 50


def calls_of(replica: Served) -> float:
    """How many calls a process has answered since its start."""
    found = replica.metrics()
    return sum(value for name, value in found.items() if name.startswith("waha_mcp_calls_total"))


async def test_while_redis_is_away_nothing_is_sent_and_reads_go_on(here: Deployment) -> None:
    call = {"chat": "+12025550123", "text": "while it is away"}
    async with connected(here.proxy.url, here.keys[APPS[0]], verify=here.proxy.trusted) as client:
        payload(await client.call_tool("list_chats", {"limit": 2}))
        await anyio.to_thread.run_sync(here.redis.end)
        for each in here.replicas:
            assert not (await anyio.to_thread.run_sync(each.await_ready, 503))["ready"]
        refused = await client.call_tool("send_text", call)
        assert refused.is_error
        assert "was not done" in texts(refused)
        payload(await client.call_tool("list_chats", {"limit": 2}))
        await anyio.to_thread.run_sync(here.redis.start)
        for each in here.replicas:
            await anyio.to_thread.run_sync(each.await_ready)
        payload(await client.call_tool("send_text", call))
    assert here.judge.delivered("12025550123@c.us", "while it is away") == 1


@pytest.mark.parametrize(
    ("said", "sent", "why"),
    [
        ("done", 2, "sent 2 times"),
        ("done", 0, "not there"),
        ("repeat: found", 0, "not there"),
        ("not sent", 1, "there although"),
        ("too fast", 1, "there although"),
        ("unknown", 2, "sent 2 times"),
    ],
)
def test_a_load_tells_what_is_false(said: str, sent: int, why: str) -> None:
    load = Load(1, 1, said={"anna": said}, paced=LIMIT)
    load.sent["anna"] = sent
    [found] = load.broken()
    assert why in found


@pytest.mark.parametrize(("paced", "lost", "good"), [(8, 0, True), (9, 0, False), (7, 0, False), (7, 1, True)])
def test_a_load_tells_a_limit_that_was_not_kept(paced: int, lost: int, good: bool) -> None:
    load = Load(1, 1, paced=paced, unsure={f"paced {number}" for number in range(lost)})
    assert (load.broken() == []) is good
