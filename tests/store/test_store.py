"""The contract of every store: in memory, in a file or in Redis."""

from __future__ import annotations

import threading
from pathlib import Path

import anyio
import pytest

from tests.memory_store import Memory
from tests.redis_server import Clock, ClockedRedis
from waha_mcp.store import KEPT, Count, Full, Limit, Store, away, in_thread
from waha_mcp.store.sqlite import Sqlite


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch, store: Store) -> Clock:
    """The time that the store uses."""
    now = Clock([1_800_000_000.0])
    monkeypatch.setattr("time.time", lambda: now[0])
    if isinstance(store, ClockedRedis):
        store.read_from(now, monkeypatch)
    return now


# Rows


def test_a_row_is_read_as_it_was_written(store: Store) -> None:
    assert store.get("a", "key") is None
    for value in ("text", "", "\x00 ' \" \U0001f600", "x" * 100_000):
        assert store.swap("a", "key", store.get("a", "key"), value)
        assert store.get("a", "key") == value
    assert store.get("b", "key") is None
    assert store.get("a", "KEY") is None


def test_a_swap_takes_place_where_the_value_is_still_the_expected_one(store: Store) -> None:
    assert not store.swap("a", "key", "one", "two")
    assert store.swap("a", "key", None, "one")
    assert not store.swap("a", "key", None, "two")
    assert not store.swap("a", "key", "other", None)
    assert store.get("a", "key") == "one"
    assert store.swap("a", "key", "one", "two")
    assert store.swap("a", "key", "two", None)
    assert store.get("a", "key") is None
    assert store.swap("a", "key", None, None)


def test_rows_are_those_of_a_prefix_in_the_order_of_their_first_writing(store: Store) -> None:
    for key in ("b/2", "b/1", "bb/1", "a/1", "b_1", "b%1"):
        store.swap("a", key, None, f"value of {key}")
    store.swap("other", "b/3", None, "x")
    store.swap("a", "b/2", "value of b/2", "changed")
    assert [(row.key, row.value) for row in store.rows("a", "b/")] == [("b/2", "changed"), ("b/1", "value of b/1")]
    assert [row.key for row in store.rows("a")] == ["b/2", "b/1", "bb/1", "a/1", "b_1", "b%1"]
    assert store.rows("a", "c") == []


def test_a_row_ends_when_it_expires(store: Store, clock: Clock) -> None:
    store.swap("a", "key", None, "one", expires=clock[0] + 10)
    clock[0] += 9.9
    assert store.get("a", "key") == "one"
    clock[0] += 0.1
    assert store.get("a", "key") is None
    assert store.rows("a") == []
    assert not store.swap("a", "key", "one", "two")
    assert store.swap("a", "key", None, "two")
    clock[0] += 1e6
    assert store.get("a", "key") == "two"


def test_a_swap_sets_when_the_row_expires_anew(store: Store, clock: Clock) -> None:
    store.swap("a", "key", None, "one", expires=clock[0] + 10)
    store.swap("a", "key", "one", "two", expires=clock[0] + 20)
    clock[0] += 19
    assert store.get("a", "key") == "two"
    store.swap("a", "key", "two", "three")
    clock[0] += 19
    assert store.get("a", "key") == "three"


def test_over_the_most_the_oldest_rows_go_and_a_tenth_beyond(store: Store) -> None:
    store.swap("a", "other", None, "x")
    for number in range(21):
        store.swap("a", f"of/{number}", None, "x")
    store.trim("a", "of/", 21)
    assert len(store.rows("a", "of/")) == 21
    store.trim("a", "of/", 20)
    assert [row.key for row in store.rows("a", "of/")] == [f"of/{number}" for number in range(3, 21)]
    assert store.get("a", "other") == "x"


# Events


def taken(store: Store, *counts: Count) -> bool:
    try:
        store.take(counts)
    except Full:
        return False
    return True


def test_events_fill_a_window_and_leave_it(store: Store, clock: Clock) -> None:
    count = Count("key", (Limit(2, 60),))
    assert taken(store, count)
    clock[0] += 20
    assert taken(store, count)
    clock[0] += 20
    with pytest.raises(Full) as full:
        store.take([count])
    assert (full.value.count, full.value.limit) == (count, Limit(2, 60))
    assert full.value.wait == pytest.approx(20)
    clock[0] += 19.9
    assert not taken(store, count)
    clock[0] += 0.1
    assert taken(store, count)
    assert not taken(store, count)


def test_all_is_counted_or_nothing(store: Store) -> None:
    one, other = Count("one", (Limit(5, 60),)), Count("other", (Limit(1, 60),))
    assert taken(store, one, other)
    for _ in range(9):
        with pytest.raises(Full) as full:
            store.take([one, other])
        assert full.value.count == other
    assert [taken(store, one) for _ in range(5)] == [True, True, True, True, False]


def test_the_first_limit_that_has_no_room_is_named(store: Store) -> None:
    count = Count("key", (Limit(2, 60), Limit(1, 3600)))
    assert taken(store, count)
    with pytest.raises(Full) as full:
        store.take([count])
    assert full.value.limit == Limit(1, 3600)
    assert 3590 < full.value.wait <= 3600


def test_one_key_that_is_counted_twice_at_once_counts_twice(store: Store) -> None:
    first = Count("first", (Limit(2, 60),))
    assert not taken(store, first, first, first)
    assert taken(store, first, first)
    assert not taken(store, first)


def test_each_compares_what_all_have_counted_with_its_own_limits(store: Store, clock: Clock) -> None:
    assert all(taken(store, Count("key")) for _ in range(3))
    clock[0] += 3000
    assert taken(store, Count("key", (Limit(1, 60),)))
    with pytest.raises(Full) as full:
        store.take([Count("key", (Limit(2, 3600),))])
    # Two more have to leave the window before there is room: in the end the third of the first three.
    assert full.value.wait == pytest.approx(600)
    assert taken(store, Count("key", (Limit(5, 3600),)))


def test_a_check_counts_nothing_and_sees_what_is_full(store: Store) -> None:
    count = Count("key", (Limit(1, 60),))
    for _ in range(3):
        store.check([count])
    with pytest.raises(Full):
        store.check([count, count])
    assert taken(store, count)
    with pytest.raises(Full):
        store.check([count])


def test_what_is_given_back_counts_no_more_and_nothing_else_is_touched(store: Store) -> None:
    count, other = Count("key", (Limit(2, 60),)), Count("other", (Limit(1, 60),))
    assert taken(store, count)
    mine = store.take([count, other])
    assert not taken(store, count)
    for _ in range(2):  # giving back twice gives back once
        store.give_back(mine)
    assert taken(store, count, other)
    assert not taken(store, count)
    store.give_back(mine)
    assert not taken(store, count)


def test_the_events_of_a_prefix_are_told_with_their_times_as_far_back_as_is_asked(store: Store, clock: Clock) -> None:
    keys = ("a/total", "a/chat:1", "a*b/total", "a", "ab/total", "a/[x]?")
    store.take([Count(key) for key in keys])
    clock[0] += 100
    store.take([Count("a/total")])
    now = clock[0]
    found = store.events("a/", 3600)
    assert found.keys() == {"a/total", "a/chat:1", "a/[x]?"}
    assert found["a/total"] == pytest.approx([now - 100, now])
    assert store.events("a/", 100) == {"a/total": pytest.approx([now])}
    assert store.events("a/[", 3600).keys() == {"a/[x]?"}
    assert store.events("a*", 3600).keys() == {"a*b/total"}
    clock[0] -= 1000
    # Events of a clock that was set back: as they count.
    assert store.events("a/total", 3600)["a/total"] == pytest.approx([clock[0], clock[0]])


def test_events_are_kept_for_the_longest_window_and_no_longer(store: Store, clock: Clock) -> None:
    assert taken(store, Count("key"))
    clock[0] += KEPT - 1
    assert not taken(store, Count("key", (Limit(1, KEPT),)))
    clock[0] += 1
    assert taken(store, Count("key", (Limit(1, KEPT),)))


def test_a_clock_that_is_set_back_counts_what_was_from_now_on(store: Store, clock: Clock) -> None:
    count = Count("key", (Limit(1, 60),))
    assert taken(store, count)
    clock[0] -= 1e6
    with pytest.raises(Full) as full:
        store.take([count])
    assert full.value.wait == pytest.approx(60)


def test_events_without_limits_are_never_too_many(store: Store) -> None:
    assert store.take([]) == []
    store.check([])
    store.give_back([])
    assert taken(store, Count("key"), Count("key"))


# Who has it open


def test_a_store_knows_itself_alive_and_nobody_made_up(store: Store) -> None:
    assert store.alive(store.process)
    assert store.process == store.process
    for name in ("", "nobody", "0", "-1", "1", "99999999999999999999", "٣"):
        assert not store.alive(name)


def test_the_time_is_that_of_the_clock(store: Store, clock: Clock) -> None:
    assert store.now() == clock[0]
    clock[0] += 1
    assert store.now() == clock[0]


def test_a_store_that_is_there_is_not_away(store: Store) -> None:
    assert away(store) is None
    assert store.rows("probe") == []


# Threads


def test_threads_that_share_a_store_do_not_get_in_each_others_way(store: Store) -> None:
    passed: list[bool] = []

    def count_up() -> None:
        for _ in range(20):
            while not store.swap("a", "n", before := store.get("a", "n"), str(int(before or 0) + 1)):
                pass
            passed.append(taken(store, Count("key", (Limit(50, 3600),))))

    threads = [threading.Thread(target=count_up) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.get("a", "n") == "80"
    assert sum(passed) == 50


@pytest.mark.anyio
async def test_who_is_cancelled_while_a_step_runs_gets_its_answer(store: Store) -> None:
    begun, go_on = threading.Event(), threading.Event()
    answers: list[bool] = []

    def step() -> bool:
        begun.set()
        assert go_on.wait(10)
        return store.swap("a", "key", None, "written")

    async def call() -> None:
        answers.append(await in_thread(step))
        await anyio.sleep_forever()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(call)
        await anyio.to_thread.run_sync(begun.wait)
        tasks.cancel_scope.cancel()
        go_on.set()
    assert answers == [True]
    assert store.get("a", "key") == "written"


# On the disk


def test_what_is_flushed_stays_and_what_was_deleted_is_in_no_file_even_while_another_has_it_open(
    tmp_path: Path,
) -> None:
    store, other = Sqlite(tmp_path / "store.sqlite"), Sqlite(tmp_path / "store.sqlite")
    try:
        other.get("a", "key")
        store.swap("a", "key", None, "DELETED-LATER")
        store.swap("a", "stays", None, "KEPT")
        store.swap("a", "key", "DELETED-LATER", None)
        store.flush()
        kept = b"".join(path.read_bytes() for path in tmp_path.iterdir())
        assert b"DELETED-LATER" not in kept
        assert b"KEPT" in (tmp_path / "store.sqlite").read_bytes()
        assert other.get("a", "stays") == store.get("a", "stays") == "KEPT"
    finally:
        store.close()
        other.close()


def test_a_store_in_memory_has_nothing_to_flush() -> None:
    store = Memory()
    store.swap("a", "key", None, "x")
    store.flush()
    assert store.get("a", "key") == "x"
