"""Sandboxes of both engines."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from waha_mcp.sandbox import SandboxInfo, running


@pytest.fixture(params=["gows", "noweb"])
async def sandbox(request: pytest.FixtureRequest, anyio_backend: str) -> AsyncIterator[SandboxInfo]:
    """A sandbox of each engine."""
    async with running(engine=request.param) as info:
        yield info
