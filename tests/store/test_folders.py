"""Where the state of an App is, beside the store that all Apps share."""

from __future__ import annotations

import pytest

from waha_mcp.places import state_root
from waha_mcp.store import Count
from waha_mcp.store.folders import state_dir, user_store


@pytest.mark.parametrize(
    "app_id",
    ["store.sqlite", "Store.SQLite", "store.lock", "store.sqlite-wal", "store.sqlite-shm", "store.sqlite.damaged-1"],
)
def test_no_app_takes_the_place_of_a_file_of_the_store(app_id: str) -> None:
    folder = state_dir(app_id)
    store = user_store()
    try:
        assert store.take([Count("key")]) == [1]
    finally:
        store.close()
    assert folder.name.casefold() != app_id.casefold()


@pytest.mark.parametrize("app_id", ["default", "store", "storekeeper.sqlite", "my.store.sqlite"])
def test_a_folder_of_state_is_named_as_its_app(app_id: str) -> None:
    assert state_dir(app_id) == state_root() / app_id
