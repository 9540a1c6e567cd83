"""When a chat has settled."""

from __future__ import annotations

import time

import pytest

from waha_mcp.feed.settling import Settling, monotonic


def test_a_burst_has_settled_some_seconds_after_its_last_message() -> None:
    settling = Settling(4.0, longest=20.0)
    settling.message(100.0)
    assert settling.settled_from == 104.0
    settling.message(103.0)
    assert settling.settled_from == 107.0


def test_typing_puts_it_off() -> None:
    settling = Settling(4.0, longest=20.0)
    settling.message(100.0)
    settling.typed(103.0)
    assert settling.settled_from == 107.0
    assert settling.typing(104.0)


def test_neither_messages_nor_typing_put_it_off_for_ever() -> None:
    settling = Settling(4.0, longest=20.0)
    for second in range(100, 160):
        settling.message(float(second))
        settling.typed(float(second))
    assert settling.settled_from == 124.0


def test_who_has_sent_what_they_typed_is_not_typing_any_more() -> None:
    settling = Settling(4.0, longest=20.0)
    settling.typed(99.0)
    settling.message(100.0)
    assert not settling.typing(101.0)
    settling.typed(102.0)
    assert settling.typing(103.0)
    assert not settling.typing(122.5)


def test_messages_that_come_in_another_order_count_from_the_first() -> None:
    settling = Settling(4.0, longest=20.0)
    settling.message(130.0)
    settling.message(100.0)
    assert settling.settled_from == 124.0


@pytest.mark.parametrize(("ago", "counted"), [(10.0, 10.0), (-10.0, 0.0)], ids=["before", "by a clock ahead"])
def test_a_time_of_the_wall_is_as_long_ago_by_the_monotonic_clock_and_never_to_come(ago: float, counted: float) -> None:
    assert time.monotonic() - monotonic(time.time() - ago) == pytest.approx(counted, abs=1.0)
