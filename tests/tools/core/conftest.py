"""Bridges on sandboxes of both engines."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.harness import Admin, app_for
from waha_mcp.bridge import Bridge
from waha_mcp.sandbox import SandboxInfo, running


@pytest.fixture(params=["gows", "noweb"])
async def sandbox(request: pytest.FixtureRequest, anyio_backend: str) -> AsyncIterator[SandboxInfo]:
    """A sandbox of each engine."""
    async with running(engine=request.param, reply_after=0.05) as info:
        yield info


@pytest.fixture
async def admin(sandbox: SandboxInfo) -> AsyncIterator[Admin]:
    hand = Admin(sandbox)
    yield hand
    await hand.aclose()


@pytest.fixture
async def bridge(sandbox: SandboxInfo) -> AsyncIterator[Bridge]:
    async with Bridge(app_for(sandbox, sandbox.keys["read_send"])) as made:
        yield made
