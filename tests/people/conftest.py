"""Fixtures of the tests of people."""

from __future__ import annotations

import pytest

from tests.people.common import Clock
from waha_mcp.people import filling, parts


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    for module in (filling, parts):
        monkeypatch.setattr(module, "time", made)
    return made
