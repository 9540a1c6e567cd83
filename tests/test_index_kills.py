"""A process that is killed while it fills the index loses nothing, doubles nothing and damages nothing."""

from __future__ import annotations

import pytest

from tests.index_kills import Found, run


@pytest.mark.slow
def test_after_each_kill_the_file_is_whole_and_in_the_end_each_message_is_there_once() -> None:
    found = run(12, seed=3)
    assert found.kills == 12
    assert found.filling > 0
    assert found.compared > 3_000
    assert found.broken() == []


@pytest.mark.parametrize("bad", [Found(lost=1), Found(twice=2), Found(others=3), Found(damaged=["malformed"])])
def test_what_must_not_be_is_told(bad: Found) -> None:
    assert len(bad.broken()) == 1
    assert Found(kills=9, came=9, whole=9, compared=9).broken() == []
