"""What the tests of the policy share."""

from __future__ import annotations

import pytest

from waha_mcp.policy import delivery


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look for a lost send again at once."""
    monkeypatch.setattr(delivery, "LOOK_AGAIN", (0.0, 0.01, 0.02))
