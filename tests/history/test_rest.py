"""Reading back over REST: each message once, however the engine handles filters, within a budget."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, cast

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from waha_mcp.history.rest import Rest
from waha_mcp.history.source import START, Budget, Place, Row, Share, Spent
from waha_mcp.waha.client import Waha
from waha_mcp.waha.errors import Refused, TooLarge

CHAT = "12025550123@c.us"
#: "late": filters apply only to the page that was fetched, as in WPP.
Filter = Literal["takes", "refuses", "ignores", "late"]
FILTERS: tuple[Filter, ...] = ("takes", "refuses", "ignores", "late")


class Engine:
    """A WAHA with one chat, newest first (also within a second). `by_time`: how it handles the filter."""

    def __init__(self, seconds: list[int], by_time: Filter = "takes", *, most: int | None = None) -> None:
        self.by_time, self.most = by_time, most
        self.rows: list[dict[str, Any]] = []
        self.asked = 0
        self.refused_from_me = False
        for second in seconds:
            self.arrive(second)

    def arrive(self, second: int, *, own: bool = False) -> str:
        row_id = f"{'true' if own else 'false'}_{CHAT}_{len(self.rows):05}"
        self.rows.insert(0, {"id": row_id, "timestamp": second, "fromMe": own})
        self.rows.sort(key=lambda row: -row["timestamp"])  # stable
        return row_id

    async def call(self, _: str, *, path: dict[str, str], query: dict[str, Any]) -> list[dict[str, Any]]:
        self.asked += 1
        since, until = query.get("filter.timestamp.gte"), query.get("filter.timestamp.lte")
        if (since is not None or until is not None) and self.by_time == "refuses":
            raise Refused("no such filter")
        if "filter.fromMe" in query and self.refused_from_me:
            raise Refused("no such filter")
        if self.most is not None and query["limit"] > self.most:
            raise TooLarge("too large")
        start = query.get("offset") or 0
        rows = self.rows[: start + query["limit"]] if self.by_time == "late" else self.rows
        if self.by_time in ("takes", "late"):
            rows = [r for r in rows if (since is None or r["timestamp"] >= since)]
            rows = [r for r in rows if (until is None or r["timestamp"] <= until)]
        if "filter.fromMe" in query:
            rows = [r for r in rows if r["fromMe"] is query["filter.fromMe"]]
        return rows[start : start + query["limit"]]

    @property
    def engine(self) -> str:
        return "WPP" if self.by_time == "late" else "GOWS"

    @property
    def waha(self) -> Waha:
        return cast("Waha", self)


async def read(
    engine: Engine,
    *,
    place: Place = START,
    most: int = 10_000,
    budget: Budget | None = None,
    since: float | None = None,
    until: float | None = None,
    **rest: Any,
) -> tuple[list[str], Place | None]:
    """The ids of at most `most` messages, and the position to continue from: None at the end."""
    seen: list[str] = []
    async for step in Rest(engine.waha, CHAT, **rest).rows(place, since, until, budget or Budget(10_000, 60)):
        if step.row is None:
            return seen, step.place
        seen.append(step.row["id"])
        if len(seen) == most:
            return seen, step.place
    return seen, None


def as_in_a_cursor(place: Place) -> Place:
    return Place.from_state(place.state)


@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_each_message_comes_once_over_any_number_of_calls_while_others_arrive(data: st.DataObject) -> None:
    anyio.run(_walk, data)


async def _walk(data: st.DataObject) -> None:
    # Few seconds, so that many messages share one, and pages end within it.
    seconds = data.draw(st.lists(st.integers(100, 108), max_size=60))
    engine = Engine(seconds, data.draw(st.sampled_from(FILTERS)), most=data.draw(st.sampled_from([None, 5])))
    whole = [row["id"] for row in engine.rows]
    seen: list[str] = []
    place: Place | None = START
    calls = 0
    while place is not None and calls < 300:
        calls += 1
        page, most = data.draw(st.integers(2, 12)), data.draw(st.integers(1, 20))
        # An engine that pages by count needs a page or two until it is where it was, and more than arrives meanwhile.
        budget = Budget(data.draw(st.integers(7, 10)), 60)
        found, place = await read(engine, place=as_in_a_cursor(place), most=most, budget=budget, page=page)
        seen += found
        for _ in range(data.draw(st.integers(0, 1))):
            engine.arrive(200)
    assert [each for each in seen if each in whole] == whole


@pytest.mark.anyio
@pytest.mark.parametrize("by_time", FILTERS)
async def test_a_span_holds_both_of_its_ends_and_no_more(by_time: Filter) -> None:
    engine = Engine([100, 101, 101, 102, 103, 103], by_time)
    ids = {row["id"]: row["timestamp"] for row in engine.rows}
    found, rest = await read(engine, since=101, until=102, page=2)
    assert ([ids[each] for each in found], rest) == ([102, 101, 101], None)


@pytest.mark.anyio
@pytest.mark.parametrize("by_time", FILTERS)
async def test_where_the_message_of_a_place_is_gone_its_second_comes_again(by_time: Filter) -> None:
    engine = Engine([100, 101, 101, 101, 102], by_time)
    whole = [row["id"] for row in engine.rows]
    _, place = await read(engine, most=3, page=2)
    assert place is not None
    engine.rows = [row for row in engine.rows if row["id"] != whole[2]]
    found, _ = await read(engine, place=as_in_a_cursor(place), page=2)
    assert found == [whole[1], whole[3], whole[4]]


@pytest.mark.anyio
async def test_what_arrives_in_the_second_of_a_place_is_newer_and_stays_out() -> None:
    engine = Engine([100, 101, 101])
    whole = [row["id"] for row in engine.rows]
    _, place = await read(engine, most=1)
    assert place is not None
    engine.arrive(101)
    assert (await read(engine, place=place))[0] == whole[1:]


@pytest.mark.anyio
@pytest.mark.parametrize("by_time", FILTERS)
async def test_a_reading_that_finds_nothing_ends_at_its_budget_and_goes_on_to_the_end(by_time: Filter) -> None:
    engine = Engine(list(range(1000)), by_time)
    engine.refused_from_me = True
    place: Place | None = START
    calls = 0
    while place is not None:
        before = engine.asked
        found, place = await read(engine, place=as_in_a_cursor(place), budget=Budget(5, 60), from_me=True, page=20)
        assert found == []
        assert engine.asked - before <= 5
        calls += 1
        assert calls < 100
    assert calls > 10


@pytest.mark.anyio
async def test_refused_filters_and_shrinking_pages_are_counted() -> None:
    engine = Engine(list(range(100)), "refuses", most=10)
    engine.refused_from_me = True
    budget = Budget(10_000, 60)
    await read(engine, since=50.0, from_me=False, budget=budget, page=100)
    assert budget.requests == engine.asked > 5


@pytest.mark.anyio
async def test_a_slow_waha_is_asked_once_and_what_takes_too_long_after_that_is_let_go_of() -> None:
    engine = Engine(list(range(100)))
    assert (await read(engine, budget=Budget(50, 0.0), page=10))[0] == [row["id"] for row in engine.rows[:10]]
    assert engine.asked == 1

    real, arrived = engine.call, anyio.Event()

    async def slow(*arguments: Any, **more: Any) -> Any:
        if engine.asked > 1:
            arrived.set()
            await anyio.sleep_forever()
        return await real(*arguments, **more)

    engine.call = slow  # type: ignore[method-assign]
    with anyio.fail_after(5):
        found, place = await read(engine, budget=Budget(50, 0.2), page=10)
    assert (len(found), arrived.is_set()) == (10, True)
    assert place == Place(90, found[-1])


@pytest.mark.anyio
async def test_an_engine_that_gives_the_same_page_for_ever_is_asked_no_more() -> None:
    engine = Engine([100] * 50)
    real: Callable[..., Any] = engine.call

    async def first_page(_: str, *, path: dict[str, str], query: dict[str, Any]) -> list[Row]:
        rows: list[Row] = await real(_, path=path, query=query | {"offset": 0})
        return rows

    engine.call = first_page  # type: ignore[assignment, method-assign]
    source = Rest(engine.waha, CHAT, page=10)
    assert len([step async for step in source.rows(START, None, None, Budget(50, 60))]) == 10
    assert source.notes == ["WAHA gave the same page again: older messages could not be read."]
    assert engine.asked < 5


@pytest.mark.anyio
@pytest.mark.parametrize("by_time", FILTERS)
async def test_messages_without_a_time_hide_none_of_those_behind_them(by_time: Filter) -> None:
    engine = Engine([3, 2, 1], by_time)
    untimed = [
        {"id": f"false_{CHAT}_no_{time}", "timestamp": time, "fromMe": False} for time in (None, -62_135_596_800)
    ]
    every = [row["id"] for row in (*untimed, *engine.rows)]
    real: Callable[..., Any] = engine.call

    async def sorts_them_first(_: str, *, path: dict[str, str], query: dict[str, Any]) -> list[Row]:
        found: list[Row] = await real(_, path=path, query=query | {"offset": 0, "limit": 100})
        filtered = by_time == "takes" and "filter.timestamp.lte" in query and query["filter.timestamp.lte"] is not None
        start = query.get("offset") or 0
        return [*([] if filtered else untimed), *found][start : start + query["limit"]]

    engine.call = sorts_them_first  # type: ignore[assignment, method-assign]
    assert (await read(engine, page=10))[0] == every
    # And from a position behind the first of them.
    first, place = await read(engine, page=10, most=1)
    assert place is not None
    assert first + (await read(engine, page=10, place=as_in_a_cursor(place)))[0] == every


@pytest.mark.parametrize(
    ("state", "place"),
    [
        ([100, "a"], None),
        ([100, "a", 7], Place(100, "a", 7)),
        ([None, "", 7], Place(None, "", 7)),
        ([100, ["a", "b"]], Place(100, "b")),
        ([100, []], Place(100)),
        ([100, ["a", 1]], None),
        ([100, "a", -1], None),
        ([True, "a", "x"], None),
        ("text", None),
        (None, None),
    ],
    ids=str,
)
def test_a_place_is_read_from_cursors_of_this_version_and_of_0_1_0(state: Any, place: Place | None) -> None:
    if place is None:
        with pytest.raises(ValueError, match="no place"):
            Place.from_state(state)
    else:
        assert Place.from_state(state) == place
        assert Place.from_state(place.state) == place


def test_a_share_ends_with_its_own_requests_and_with_those_of_the_whole() -> None:
    whole = Budget(4, 60)
    whole.spend()
    first, second = Share(whole, 2), Share(whole, 2)
    for share in (first, first, second):
        share.spend()
    assert (first.spent, second.spent, whole.requests) == (True, False, 4)
    for share in (first, second):
        with pytest.raises(Spent):
            share.spend()
