"""A sandbox per module, a proxy in front of it, and an agent that goes through the proxy."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.attacks.front import Front, front
from tests.attacks.hijacked import FAST, SOONER, Hijacked, hijacked
from tests.harness import sandbox_server
from waha_mcp.sandbox import SandboxInfo

_texts = itertools.count(1)


@pytest.fixture
def text() -> str:
    """A text that no other case sends."""
    return f"Only once {next(_texts)}"


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a separate App."""
    return tmp_path_factory.mktemp("own-")


@pytest.fixture(scope="module")
def sandbox() -> Iterator[SandboxInfo]:
    with sandbox_server() as info:
        yield info


@pytest.fixture(scope="module")
def way(sandbox: SandboxInfo) -> Iterator[Front]:
    with front(sandbox) as made:
        yield made


@pytest.fixture(scope="module")
def serving(sandbox: SandboxInfo, way: Front, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hijacked]:
    with hijacked(sandbox, tmp_path_factory.mktemp("serving"), FAST, url=way.url, first=SOONER) as agent:
        yield agent


@pytest.fixture
def agent(serving: Hijacked, way: Front) -> Iterator[Hijacked]:
    """An agent without limits of pace, connected through `way`."""
    serving.judge.forget()
    way.hits.clear()
    yield serving
    way.rules.clear()
    serving.judge.no_faults()
    serving.judge.lacks()
