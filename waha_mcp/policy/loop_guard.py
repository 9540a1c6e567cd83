"""Keeps an agent that is woken by messages from talking with another machine for ever."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

HOUR = 3_600.0
#: For how many chats the wakes are counted; those without an answer are dropped first.
MOST_CHATS = 10_000


@dataclass
class _Chat:
    #: When it woke the agent in the last hour.
    woken: deque[float] = field(default_factory=deque)
    #: Answers since the account's owner wrote here.
    turns: int = 0
    #: Whether it woke the agent and there was no answer since.
    open: bool = False


class LoopGuard:
    """Counts by chat how often it wakes the agent, and how often that led to an answer. Times are of one clock.

    A turn is: the chat wakes the agent, and then the account writes in that chat, by whatever hand, unless it is
    certain that the account's owner wrote it.
    """

    def __init__(self, per_hour: int, turns: int) -> None:
        self._per_hour, self._turns = per_hour, turns
        self._chats: dict[str, _Chat] = {}

    def why_not(self, chat: str, now: float) -> str | None:
        """Why the chat may not wake the agent now, as a sentence without its subject; None: it may."""
        found = self._of(chat, now)
        if found.turns >= self._turns:
            return (
                f"was answered {found.turns} times since the account's owner last wrote there "
                f"(turns = {self._turns} under [listen]): it wakes nobody until they write there again"
            )
        if len(found.woken) >= self._per_hour:
            minutes = max(round((found.woken[0] + HOUR - now) / 60), 1)
            return (
                f"woke the agent {len(found.woken)} times within an hour (per_hour = {self._per_hour} under "
                f"[listen]): it wakes nobody for {minutes} min"
            )
        return None

    def woke(self, chat: str, now: float) -> None:
        """The chat wakes the agent."""
        found = self._of(chat, now)
        found.woken.append(now)
        found.open = True

    def wrote(self, chat: str, *, owner: bool) -> None:
        """The account wrote in a chat. `owner`: it is certain that its owner did."""
        found = self._chats.get(chat)
        if found is None:
            return
        if owner:
            found.turns, found.open = 0, False
        elif found.open:
            found.turns, found.open = found.turns + 1, False

    def _of(self, chat: str, now: float) -> _Chat:
        if chat not in self._chats and len(self._chats) >= MOST_CHATS:
            self._chats = {
                name: each
                for name, each in self._chats.items()
                if each.turns or (each.woken and each.woken[-1] > now - HOUR)
            }
        found = self._chats.setdefault(chat, _Chat())
        while found.woken and found.woken[0] <= now - HOUR:
            found.woken.popleft()
        return found
