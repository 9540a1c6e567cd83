"""A newcomer with four typos, a self-signed WAHA and an App already there ends in a real client that lists chats."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.hosts_real.first_minutes import record
from tests.hosts_real.packages import NotInstalled


def test_the_first_minutes_end_in_a_real_client_that_lists_chats(tmp_path: Path) -> None:
    try:
        found = record(tmp_path)
    except NotInstalled as error:
        pytest.skip(f"Claude Code could not be installed: {error}")
    assert found.code == 0, found.screen
    assert set(found.apps) == {"assistant.toml", "assistant-2.toml"}
    assert "ca_file" in found.apps["assistant-2.toml"]
    assert "ca_file" not in found.apps["assistant.toml"]
    assert found.missing == []
    assert found.chats is not None, found.printed
    assert not found.chats.error
    assert "Maya Lindqvist" in found.chats.text
