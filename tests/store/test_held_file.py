"""Several threads of one process that want a file which another process has locked."""

from __future__ import annotations

import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from waha_mcp.store import Count, StoreAway
from waha_mcp.store.sqlite import Sqlite

#: Seconds that one step waits, and the number of parallel steps.
WAIT, STEPS = 0.5, 10


def test_steps_do_not_wait_one_after_the_other_for_a_file_that_is_held(tmp_path: Path) -> None:
    file = tmp_path / "state" / "store.sqlite"
    store = Sqlite(file, wait=WAIT)
    store.get("table", "key")
    holder = sqlite3.connect(file, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")

    def step(number: int) -> float:
        began = time.monotonic()
        with pytest.raises(StoreAway, match="has held it"):
            store.take([Count(str(number))])
        return time.monotonic() - began

    try:
        with ThreadPoolExecutor(STEPS) as threads:
            assert max(threads.map(step, range(STEPS))) < WAIT * STEPS / 2
    finally:
        holder.close()
        store.close()
