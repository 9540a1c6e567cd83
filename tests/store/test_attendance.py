"""Which clients are connected: what bridges record, and which records count."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path

import anyio
import pytest

from tests.memory_store import Memory
from waha_mcp.store import Store, attendance, put
from waha_mcp.store.attendance import LINGERS, MOST, Presence, present
from waha_mcp.store.sqlite import Sqlite

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Records are written without delay."""
    monkeypatch.setattr(attendance, "SOON", 0.0)


async def written(store: Store, *clients: tuple[str, str], app_id: str = "assistant") -> Presence:
    """The records of a bridge that has seen these clients: (name, transport)."""
    presence = Presence(app_id, lambda: store, lambda: ("live", None))
    async with anyio.create_task_group() as tasks:
        presence.start = tasks.start_soon
        for name, over in clients:
            presence.saw(name, over)
    return presence


async def test_each_app_has_the_clients_of_its_own_bridges(store: Store) -> None:
    await written(store, ("one 1.0", "stdio"), ("two 2.0", "http"))
    ended = await written(store, ("three 3.0", "stdio"))
    await written(store, ("four 4.0", "stdio"), app_id="other")
    assert [[each.name for each in found.clients] for found in present(store, "assistant")] == [
        ["one 1.0", "two 2.0"],
        ["three 3.0"],
    ]
    ended.end()
    assert len(present(store, "assistant")) == 1
    assert present(store, "assist") == []


async def test_what_a_process_leaves_behind_counts_for_nothing(tmp_path: Path) -> None:
    with closing(Sqlite(tmp_path / "store.sqlite")) as store, closing(Sqlite(tmp_path / "store.sqlite")) as gone:
        await written(gone, ("one 1.0", "stdio"))
        assert present(store, "assistant")
        gone.close()
        assert present(store, "assistant") == []
        assert store.rows("presence") == []


async def test_a_client_over_http_counts_for_a_while_after_its_last_request(monkeypatch: pytest.MonkeyPatch) -> None:
    store = Memory()
    await written(store, ("one 1.0", "http"), ("two 2.0", "stdio"))
    now = time.time()
    monkeypatch.setattr("time.time", lambda: now + LINGERS + 1)
    assert [each.name for each in present(store, "assistant")[0].clients] == ["two 2.0"]


async def test_the_last_clients_are_written_down_and_the_store_is_not_written_for_each_request(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store, writes = Memory(), list[str]()

    def counted(store: Store, table: str, key: str, value: str) -> None:
        writes.append(key)
        put(store, table, key, value)

    monkeypatch.setattr(attendance, "put", counted)
    await written(store, *((f"client {number % (MOST + 5)}", "http") for number in range(4 * MOST)))
    assert len(writes) == 1
    assert len(present(store, "assistant")[0].clients) == MOST
