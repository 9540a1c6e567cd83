"""What reading back costs at most, counted by the requests that a WAHA of ours is asked."""

from typing import Any

import pytest

from waha_mcp.history.rest import START, Place, Walk
from waha_mcp.history.source import Budget
from waha_mcp.waha.errors import Refused

pytestmark = pytest.mark.anyio

CHAT = "15550100001@c.us"


class Canned:
    """A WAHA with one chat of `count` messages, three in each second."""

    def __init__(self, count: int, *, refuses_time: bool = False) -> None:
        self.rows = [
            {"id": f"false_{CHAT}_{number:06}", "timestamp": 1_000_000 - number // 3, "fromMe": False}
            for number in range(count)
        ]
        self.refuses_time = refuses_time
        self.asked = 0

    async def call(self, _: str, *, path: dict[str, str], query: dict[str, Any]) -> Any:
        self.asked += 1
        until = query.get("filter.timestamp.lte")
        if until is not None and self.refuses_time:
            raise Refused("no filters")
        rows = [row for row in self.rows if until is None or row["timestamp"] <= until]
        offset = query.get("offset") or 0
        return rows[offset : offset + query["limit"]]


@pytest.mark.parametrize("refuses_time", [False, True])
async def test_a_walk_that_finds_nothing_stops_at_its_budget_and_goes_on_to_the_end(refuses_time: bool) -> None:
    waha = Canned(1000, refuses_time=refuses_time)
    place, calls = START, 0
    while True:
        before = waha.asked
        walk = Walk(waha, CHAT, Budget(5, 60.0), place=place, from_me=True, page=20)  # type: ignore[arg-type]
        assert [row async for row in walk.rows()] == []
        assert waha.asked - before <= 5
        calls += 1
        if not walk.stopped:
            break
        place = Place.from_state(walk.place.state)
        assert calls < 100
    assert calls > 5


@pytest.mark.parametrize("refuses_time", [False, True])
async def test_each_message_is_seen_once_over_many_stopped_walks(refuses_time: bool) -> None:
    waha = Canned(500, refuses_time=refuses_time)
    seen: list[str] = []
    place, stopped = START, True
    while stopped:
        walk = Walk(waha, CHAT, Budget(4, 60.0), place=place, page=7)  # type: ignore[arg-type]
        seen += [row["id"] async for row in walk.rows()]
        place, stopped = Place.from_state(walk.place.state), walk.stopped
        waha.rows.insert(0, {"id": f"new{len(seen)}", "timestamp": 2_000_000, "fromMe": False})
    assert seen == [f"false_{CHAT}_{number:06}" for number in range(500)]


async def test_a_slow_waha_is_asked_once() -> None:
    waha = Canned(1000)
    walk = Walk(waha, CHAT, Budget(50, 0.0), page=10)  # type: ignore[arg-type]
    assert len([row async for row in walk.rows()]) == 10
    assert (waha.asked, walk.stopped) == (1, True)
