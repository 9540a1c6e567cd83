"""An agent woken by messages does not talk with another machine for ever."""

from __future__ import annotations

import pytest

from waha_mcp.policy import loop_guard
from waha_mcp.policy.loop_guard import HOUR, LoopGuard

CHAT, OTHER = "12025550123@c.us", "447700900142@c.us"


def answered(guard: LoopGuard, times: int, chat: str = CHAT) -> None:
    for _ in range(times):
        guard.woke(chat, 0.0)
        guard.wrote(chat, owner=False)


def test_after_so_many_answers_the_chat_wakes_nobody_until_the_owner_has_written_there() -> None:
    guard = LoopGuard(per_hour=100, turns=3)
    answered(guard, 2)
    assert guard.why_not(CHAT, 0.0) is None
    answered(guard, 1)
    assert "until they write there again" in str(guard.why_not(CHAT, 10 * HOUR))
    assert guard.why_not(OTHER, 0.0) is None
    guard.wrote(OTHER, owner=True)
    assert guard.why_not(CHAT, 0.0) is not None
    guard.wrote(CHAT, owner=True)
    assert guard.why_not(CHAT, 0.0) is None


def test_waking_without_an_answer_is_no_turn_and_several_messages_are_one() -> None:
    guard = LoopGuard(per_hour=100, turns=2)
    for _ in range(5):
        guard.woke(CHAT, 0.0)
    for _ in range(5):
        guard.wrote(CHAT, owner=False)
    assert guard.why_not(CHAT, 0.0) is None


def test_what_the_account_writes_without_having_been_woken_is_no_turn() -> None:
    guard = LoopGuard(per_hour=100, turns=1)
    guard.wrote(CHAT, owner=False)
    assert guard.why_not(CHAT, 0.0) is None


def test_a_chat_wakes_the_agent_so_often_in_any_hour_and_no_more() -> None:
    guard = LoopGuard(per_hour=2, turns=100)
    guard.woke(CHAT, 0.0)
    guard.woke(CHAT, 600.0)
    assert "it wakes nobody for 40 min" in str(guard.why_not(CHAT, 1_200.0))
    assert guard.why_not(OTHER, 1_200.0) is None
    guard.wrote(CHAT, owner=True)
    assert guard.why_not(CHAT, 1_200.0) is not None
    assert guard.why_not(CHAT, HOUR) is None
    guard.woke(CHAT, HOUR)
    assert guard.why_not(CHAT, HOUR + 1.0) is not None


def test_of_many_chats_those_are_forgotten_that_nothing_would_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_guard, "MOST_CHATS", 3)
    guard = LoopGuard(per_hour=1, turns=1)
    answered(guard, 1)
    guard.woke(OTHER, 2 * HOUR)
    for number in range(10):
        guard.why_not(f"{number}@c.us", 2 * HOUR)
        assert len(guard._chats) <= 3
    assert guard.why_not(CHAT, 2 * HOUR) is not None
    assert guard.why_not(OTHER, 2 * HOUR) is not None


def test_of_many_chats_one_that_could_be_stopped_an_hour_ago_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_guard, "MOST_CHATS", 2)
    guard = LoopGuard(per_hour=1, turns=1)
    guard.woke(CHAT, 0.0)
    guard.woke(OTHER, HOUR)
    # A chat that is known needs no room.
    guard.why_not(OTHER, HOUR)
    assert set(guard._chats) == {CHAT, OTHER}
    guard.why_not("3@c.us", HOUR)
    assert set(guard._chats) == {OTHER, "3@c.us"}
