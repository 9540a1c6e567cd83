"""What the tests of the policy share."""

from __future__ import annotations

import time

import pytest

from tests.policy.common import SetClock
from tests.redis_server import Clock, ClockedRedis
from waha_mcp.policy import delivery
from waha_mcp.store import Store


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look for a lost send again at once."""
    monkeypatch.setattr(delivery, "LOOK_AGAIN", (0.0, 0.01, 0.02))


@pytest.fixture
def set_clock(monkeypatch: pytest.MonkeyPatch, store: Store) -> SetClock:
    real = time.time
    clock = Clock([real()])
    if isinstance(store, ClockedRedis):
        store.read_from(clock, monkeypatch)

    def set_to(seconds: float) -> None:
        clock[0] = real() + seconds
        monkeypatch.setattr(time, "time", lambda: real() + seconds)

    return set_to
