"""Fixtures of the tests of people."""

from __future__ import annotations

import pytest

from tests.people.common import Clock
from waha_mcp.people import filling


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(filling, "time", made)
    return made
