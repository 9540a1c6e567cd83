"""How things are timed: alternating, by their medians."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping


def milliseconds(run: Callable[[], object]) -> float:
    """How long a run takes."""
    started = time.perf_counter()
    run()
    return (time.perf_counter() - started) * 1000


def in_turns(runs: Mapping[str, Callable[[], object]], n: int) -> dict[str, float]:
    """The median of `n` runs of each, in milliseconds. The runs alternate; the first round is not counted."""
    for _ in range(2):
        for run in runs.values():
            run()
    taken: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(n):
        for name, run in runs.items():
            taken[name].append(milliseconds(run))
    return {name: statistics.median(each) for name, each in taken.items()}
