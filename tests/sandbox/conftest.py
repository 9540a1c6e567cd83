"""Fixtures: a sandbox of each engine, and a client with its keys."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.sandbox.box import Box
from waha_mcp.sandbox import running

SOCKETS, BROWSERS = ("gows", "noweb"), ("webjs", "wpp")


@pytest.fixture(params=SOCKETS)
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def box(anyio_backend: str, engine: str) -> AsyncIterator[Box]:
    """A sandbox of each engine that speaks WhatsApp's protocol itself."""
    async with running(engine=engine, reply_after=0.05) as info, Box.opened(info, engine) as opened:
        yield opened


@pytest.fixture(params=BROWSERS)
async def browser(anyio_backend: str, request: pytest.FixtureRequest) -> AsyncIterator[Box]:
    """A sandbox of each engine that drives WhatsApp Web."""
    async with running(engine=request.param, reply_after=0.05) as info, Box.opened(info, request.param) as opened:
        yield opened


@pytest.fixture(params=SOCKETS + BROWSERS)
async def each(anyio_backend: str, request: pytest.FixtureRequest) -> AsyncIterator[Box]:
    """A sandbox of each engine."""
    async with running(engine=request.param, reply_after=0.05) as info, Box.opened(info, request.param) as opened:
        yield opened


@pytest.fixture
async def gows(anyio_backend: str) -> AsyncIterator[Box]:
    """A sandbox of the default engine, for what does not depend on it."""
    async with running(reply_after=0.05) as info, Box.opened(info, "gows") as opened:
        yield opened
