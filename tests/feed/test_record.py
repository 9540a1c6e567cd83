"""What was received: its order, its bounds, and marks of positions that other processes understand."""

from __future__ import annotations

import time
from itertools import count

import anyio
import pytest

from waha_mcp.feed import record as module
from waha_mcp.feed.record import HELD, LATE, Mark, Record, short
from waha_mcp.waha.events import Event

pytestmark = pytest.mark.anyio

NUMBERS = count(1)


def message(key: str | None = None, time: float = 1_000.0) -> Event:
    return Event("message", time, "12025550123@c.us", {}, key=key or f"//{next(NUMBERS)}")


def keys(record: Record, number: int) -> list[str | None]:
    return [each.event.key for each in record.since(number)[0]]


def test_a_message_stands_there_once_however_often_it_comes() -> None:
    record = Record()
    assert record.add(message("//A"), 10)
    assert not record.add(message("//A"), 10)
    assert record.add(Event("reaction", 1.0, None, {}), 10)
    assert record.add(Event("reaction", 1.0, None, {}), 10)
    assert keys(record, 0) == ["//A", None, None]


def test_the_messages_of_its_first_second_are_known() -> None:
    record = Record()
    record.begin(1_000, frozenset({short("//A")}))
    assert not record.add(message("//A"), 10)
    assert record.add(message("//B"), 10)


def test_reading_consumes_nothing_and_goes_on_behind_a_number() -> None:
    record = Record()
    for name in "ABC":
        record.add(message(name), 10)
    assert keys(record, 0) == keys(record, 0) == ["A", "B", "C"]
    assert keys(record, record.mark().number) == []
    assert keys(record, 1) == ["B", "C"]


@pytest.mark.parametrize(("most", "most_bytes"), [(3, 10**6), (10**6, 30)])
def test_of_more_than_is_kept_the_oldest_are_dropped_and_their_number_is_told(
    most: int, most_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST", most)
    monkeypatch.setattr(module, "MOST_BYTES", most_bytes)
    record = Record()
    for name in "ABCDE":
        record.add(message(name), 10)
    assert keys(record, 0) == ["C", "D", "E"]
    assert record.since(0)[1] == 2
    assert record.since(1)[1] == 1
    assert record.since(2)[1] == 0
    # They are still recognized.
    assert not record.add(message("A"), 10)


def test_one_event_larger_than_all_that_is_kept_is_kept_alone() -> None:
    record = Record()
    record.add(message("A"), 10)
    record.add(message("B"), module.MOST_BYTES + 1)
    assert keys(record, 0) == ["B"]


def test_a_mark_holds_what_it_takes_to_find_the_place_again_elsewhere() -> None:
    record = Record()
    record.begin(1_000, frozenset({short("//before")}))
    record.add(message("//A", 1_010), 10)
    record.add(message("//B", 1_012), 10)
    mark = record.mark()
    assert (mark.start, mark.seen) == (1_000, frozenset({short("//before"), short("//A"), short("//B")}))
    assert Mark.from_state(mark.state) == Mark(mark.record, mark.number, round(mark.when, 3), mark.start, mark.seen)
    earlier = record.mark(1)
    assert (earlier.start, earlier.seen) == (1_000, frozenset({short("//before"), short("//A")}))
    record.add(message("//C", 1_010 + 10 * LATE), 10)
    mark = record.mark()
    # A message that comes so late is not noticed by another process.
    assert (mark.start, mark.seen) == (1_010 + 9 * LATE, frozenset({short("//C")}))


def test_a_mark_does_not_grow_with_what_came_in_a_short_time() -> None:
    record = Record()
    for second in range(HELD * 3):
        record.add(message(f"//{second}", 1_000 + second / 10), 10)
    mark = record.mark()
    assert HELD <= len(mark.seen) <= HELD + 10
    in_it = {short(f"//{second}") for second in range(HELD * 3) if int(1_000 + second / 10) >= mark.start}
    assert mark.seen == in_it


@pytest.mark.parametrize(
    "state", [None, [], ["a"], ["a", 1, 2.0, 3], ["a", "1", 2.0, 3, []], ["a", 1, 2.0, 3, ["b", 4]]]
)
def test_what_is_no_mark_is_refused(state: object) -> None:
    with pytest.raises(ValueError, match="no mark"):
        Mark.from_state(state)


async def test_who_waits_wakes_with_what_comes_and_who_is_behind_does_not_wait() -> None:
    record = Record()
    record.add(message(), 10)
    with anyio.fail_after(5):
        await record.more(0)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(record.more, 1)
            tasks.start_soon(record.more, 1)
            await anyio.wait_all_tasks_blocked()
            record.add(message(), 10)


def test_no_place_is_later_than_now_whatever_a_message_says_of_itself() -> None:
    record = Record()
    record.begin(2**40, frozenset())
    assert record.start <= time.time()
    record.add(message("A", time=time.time() - 10), 10)
    record.add(message("B", time=2.0**40), 10)
    mark = record.mark()
    assert mark.start <= time.time()
    assert short("B") in mark.seen


def test_of_more_than_is_recognized_the_oldest_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RECOGNIZED", 2)
    record = Record()
    for name in "ABC":
        assert record.add(message(name), 10)
    assert not record.add(message("B"), 10)
    assert not record.add(message("C"), 10)
    assert record.add(message("A"), 10)


def test_a_message_without_a_time_is_of_the_newest_second() -> None:
    record = Record()
    record.begin(1_000, frozenset())
    for name, second in (("A", 2_000.0), ("B", 1_900.0), ("C", 0.0)):
        record.add(message(name, second), 10)
    assert record.newest == 2_000
    assert record.mark().seen == {short("A"), short("C")}


def test_a_mark_says_until_when_messages_were_received(monkeypatch: pytest.MonkeyPatch) -> None:
    record = Record()
    now = 5_000.0
    monkeypatch.setattr(time, "time", lambda: now)
    record.add(message("A"), 10)
    now = 5_100.0
    record.add(message("B"), 10)
    now = 5_200.0
    record.add(message("C"), 10)
    now = 5_300.0
    assert [record.mark(number).when for number in (1, 2)] == [5_000.0, 5_100.0]
    # Nothing has come since the last one.
    assert record.mark(3).when == record.mark().when == 5_300.0


@pytest.mark.parametrize("at", [1, 2, 3])
@pytest.mark.parametrize("number", [-1, 10**12])
def test_a_mark_with_a_number_that_none_has_is_refused(at: int, number: int) -> None:
    state: list[object] = ["a", 1, 2.0, 3, []]
    state[at] = number
    with pytest.raises(ValueError, match="no mark"):
        Mark.from_state(state)


def test_a_mark_of_the_first_second_is_one() -> None:
    assert Mark.from_state(["a", 0, 0, 0, []]) == Mark("a", 0, 0, 0)


async def test_who_waits_does_not_go_on_before_something_has_come() -> None:
    record = Record()
    went_on = anyio.Event()

    async def wait() -> None:
        await record.more(0)
        went_on.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        assert not went_on.is_set()
        record.wake()
    assert went_on.is_set()


async def test_who_is_behind_goes_on_at_once() -> None:
    record = Record()
    record.add(message(), 10)
    with anyio.fail_after(5):
        await record.more(0)
