"""What fails when: drawn from a seed, each kind at least once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random

#: The kinds of disturbance and what they hit. Those in one lane happen one after the other; lanes run in parallel.
LANES: Mapping[str, Sequence[str]] = {
    "WAHA": (
        "an answer is lost, the effect is there",
        "a connection is cut before anything is done",
        "a proxy gives up, and WAHA does it after that",
        "no answer in time",
        "answers of 500 to 503",
        "an answer that is no JSON",
        "an answer that repeats the key",
        "slow answers",
        "the event sockets break",
        "the session is down",
        "WAHA is restarted",
    ),
    "bridge": ("the bridge is killed", "the store is away", "the clock is set forward", "the clock is set back"),
    "people": ("a key is revoked and given back", "a key is rotated", "an App is paused"),
}


@dataclass(frozen=True)
class Disturbance:
    """One disturbance: `at` seconds after the start, for `seconds` if it lasts. `choice` draws the target."""

    at: float
    place: str
    lane: str
    kind: str
    seconds: float
    choice: int

    def __str__(self) -> str:
        return f"{self.at:7.1f} s  {self.place:<6} {self.lane:<7} {self.kind} ({self.seconds:.1f} s)"


def drawn(seed: int, seconds: float, places: Sequence[str]) -> list[Disturbance]:
    """The schedule of a run with this many seconds, by time."""
    found = []
    for place in places:
        for lane, kinds in LANES.items():
            draw = Random(f"{seed} {place} {lane}")
            # In a long run, as many as possible without hiding one another.
            amount = max(len(kinds), int(seconds / (6 if lane == "WAHA" else 12)))
            order = [kind for _ in range(amount // len(kinds) + 1) for kind in draw.sample(kinds, len(kinds))][:amount]
            # None at the start, when all processes start, and none at the end, when open repeats are made.
            slot = seconds * 0.85 / amount
            for number, kind in enumerate(order):
                at = seconds * 0.05 + slot * (number + draw.random() / 2)
                lasts = draw.uniform(0.2, 0.5) * slot
                found.append(Disturbance(at, place, lane, kind, lasts, draw.randrange(2**31)))
    return sorted(found, key=lambda each: each.at)
