"""Environments are made whole or not at all, and a failure is reported."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.clients_real.environments import NotInstalled, python_environment


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "waha-mcp-tests/clients"


def test_a_client_that_cannot_be_installed_is_named_with_the_reason_and_leaves_nothing(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UV_OFFLINE", "1")
    monkeypatch.setenv("UV_NO_CACHE", "1")
    with pytest.raises(NotInstalled, match="pip install"):
        python_environment(["mcp==1.9.4"])
    assert [each.name for each in cache.iterdir() if not each.name.startswith("uv-")] == []


def test_an_environment_is_made_once(cache: Path) -> None:
    wanted = ["sniffio==1.3.1"]
    try:
        made = python_environment(wanted)
    except NotInstalled as why:
        pytest.skip(f"NOT INSTALLED: {why}")
    (made / "mark").touch()
    assert python_environment(wanted) == made
    assert (made / "mark").exists()
