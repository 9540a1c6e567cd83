"""Fixtures that every area uses."""

from __future__ import annotations

import gc
import itertools
from collections.abc import AsyncIterator, Generator, Iterator
from pathlib import Path

import pytest

from tests import one_tool, quick
from tests.harness import OPENED, Admin, sandbox_server
from tests.memory_store import Memory
from tests.redis_server import ClockedRedis, RedisServer
from waha_mcp.sandbox import SandboxInfo, running
from waha_mcp.store import Store
from waha_mcp.store.redis_url import parse_redis_url
from waha_mcp.store.sqlite import Sqlite
from waha_mcp.tools.toolsets import load_tools

# Tests assume the whole catalog; what a start loads of it is tested in separate processes.
load_tools()

#: For each test, whether some of its cases are quick.
COLLECTED = pytest.StashKey[dict[str, bool]]()

_STATE_HOMES = itertools.count()


def pytest_addoption(parser: pytest.Parser) -> None:
    one_tool.offer(parser)


def pytest_configure(config: pytest.Config) -> None:
    quick.hold()
    one_tool.chosen(config)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    found: dict[str, bool] = {}
    chosen = quick.choose(items)
    for item in items:
        if item in chosen:
            item.add_marker(pytest.mark.quick)
        test = item.nodeid.partition("[")[0]
        found[test] = found.get(test, False) or item in chosen
    config.stash[COLLECTED] = found
    one_tool.choose(config, items)


def pytest_collection_finish() -> None:
    # The collected tests and their modules live to the end: garbage collection would scan them again and again for
    # nothing.
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    quick.started(item)
    try:
        return (yield)
    finally:
        quick.ended()


@pytest.fixture(scope="session", autouse=True)
def state_homes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder for the user's state folders.

    A fixture that outlives a test, such as a server of several tests, uses one of them.
    """
    folder = tmp_path_factory.mktemp("state")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(folder / "shared"))
        yield folder


@pytest.fixture(autouse=True)
def state_home(state_homes: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The user's state folder for this test and what it starts, so that no test sees what another has sent."""
    monkeypatch.setenv("XDG_STATE_HOME", str(state_homes / str(next(_STATE_HOMES))))
    yield
    while OPENED:
        OPENED.pop().close()


@pytest.fixture(scope="session")
def redis_of_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One redis-server per test process; skips where there is none."""
    server = RedisServer(tmp_path_factory.mktemp("redis")).start()
    yield server
    server.end()


@pytest.fixture
def redis_server(redis_of_tests: RedisServer) -> RedisServer:
    """A redis-server without any data."""
    with redis_of_tests.client() as client:
        client.flushall()
    return redis_of_tests


@pytest.fixture(params=["memory", "sqlite", pytest.param("redis", marks=pytest.mark.slow)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """An empty store of each kind, for tests that do not make their own."""
    made: Store
    match request.param:
        case "memory":
            made = Memory()
        case "sqlite":
            made = Sqlite(tmp_path / "state" / "store.sqlite")
        case _:
            made = ClockedRedis(parse_redis_url(request.getfixturevalue("redis_server").url))
    yield made
    made.close()


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def sandbox(anyio_backend: str) -> AsyncIterator[SandboxInfo]:
    """A sandbox for this test alone, in this process, over real HTTP."""
    async with running(reply_after=0.05) as info:
        yield info


@pytest.fixture
async def admin(sandbox: SandboxInfo) -> AsyncIterator[Admin]:
    hand = Admin(sandbox)
    yield hand
    await hand.aclose()


@pytest.fixture(scope="session")
def sandbox_process() -> Iterator[SandboxInfo]:
    """One `waha-mcp sandbox` per test process, for tests that run commands and change nothing."""
    with sandbox_server() as info:
        yield info
