"""While the connection breaks again and again, nothing is lost or told twice, and each chat keeps its order."""

from __future__ import annotations

import pytest

from tests.hearing.drops import Ears, drops, outcome


def test_what_is_lost_told_twice_or_too_early_is_counted() -> None:
    ears = Ears()
    ears.heard["one"] += ["a", "c", "b", "c"]
    ears.heard["two"] += ["x"]
    found = outcome("a tool", ears, {"one": ["a", "b", "c", "d"], "two": ["x", "y"], "three": ["z"]})
    assert (found.messages, found.lost, found.twice, found.out_of_order) == (7, 3, 1, 1)


@pytest.mark.anyio
@pytest.mark.slow
@pytest.mark.parametrize("engine", ["gows", "noweb", "webjs", "wpp"])
async def test_nothing_is_lost_or_told_twice_and_each_chat_keeps_its_order(engine: str) -> None:
    for found in await drops(engine, messages=120, cuts=8, sends=4):
        assert (found.lost, found.twice, found.out_of_order) == (0, 0, 0), found
