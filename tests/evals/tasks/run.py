"""Plays tasks: all of a world on one stage, several worlds at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass

from tests.evals.tasks.clumsy import MORE_CALLS
from tests.evals.tasks.players import Player
from tests.evals.tasks.stage import Stage
from tests.evals.tasks.task import Task, World, worlds
from tests.evals.tasks.verdict import faults

#: Worlds that are played at once: each has two processes, which mostly spend their time starting.
AT_ONCE = 2
#: The factor on the cap of tokens for players other than the ideal one, and a constant on top: the texts of two errors.
TIMES_TOKENS, MORE_TOKENS = 2, 200


@dataclass(frozen=True)
class Score:
    """How a player did a task. `wrong`: why it is not done; `over`: which caps are exceeded."""

    world: str
    task: Task
    calls: int
    tokens: int
    wrong: tuple[str, ...] = ()
    over: tuple[str, ...] = ()

    @property
    def done(self) -> bool:
        """Whether it is done, within the caps."""
        return not self.wrong and not self.over


@dataclass(frozen=True)
class Terms:
    """The limits of a player: calls beyond the cap; factor on and surplus over the cap of tokens; whether order counts.

    `caps`: whether caps apply: the tasks' caps are for our tools.
    """

    more_calls: int = 0
    times_tokens: int = 1
    more_tokens: int = 0
    ways: bool = True
    caps: bool = True


#: For the ideal player, for others, and for other servers.
EXACT = Terms()
LENIENT = Terms(MORE_CALLS, TIMES_TOKENS, MORE_TOKENS)
PEERS = Terms(ways=False, caps=False)

#: Opens a world's stage.
Opens = Callable[[World], AbstractContextManager[Stage]]


def played(
    opens: Opens,
    player_on: Callable[[Stage], Player],
    terms: Terms,
    *,
    only: Iterable[str] = (),
    leave_out: Callable[[Task], bool] = lambda task: False,
    at_once: int = AT_ONCE,
) -> list[Score]:
    """The scores of all tasks, or of those with the ids `only`, in their order."""
    chosen = frozenset(only)

    def in_world(world: World) -> list[Score]:
        tasks = [task for task in world.task if (not chosen or task.id in chosen) and not leave_out(task)]
        if not tasks:
            return []
        with opens(world) as stage:
            player = player_on(stage)
            return [scored(world, task, stage, player, terms) for task in tasks]

    with ThreadPoolExecutor(at_once) as pool:
        return [score for scores in pool.map(in_world, worlds()) for score in scores]


def scored(world: World, task: Task, stage: Stage, player: Player, terms: Terms) -> Score:
    """How a player does one task of the world on the stage."""
    desk, witness = stage.begin(task)
    said = player(task, desk)
    wrong = faults(task, witness, desk.made, said, stage.effects, ways=terms.ways)
    over = []
    most_calls, most_tokens = task.most[0] + terms.more_calls, task.most[1] * terms.times_tokens + terms.more_tokens
    if terms.caps and len(desk.made) > most_calls:
        over.append(f"{len(desk.made)} calls, and at most {most_calls}")
    if terms.caps and desk.tokens > most_tokens:
        over.append(f"{desk.tokens:,} tokens, and at most {most_tokens:,}")
    if wrong:
        wrong = [*wrong, f"said: {said[:300]}"]
    return Score(world.name, task, len(desk.made), desk.tokens, tuple(wrong), tuple(over))


def by_world(scores: Sequence[Score]) -> dict[str, list[Score]]:
    """The scores of each world, in its order."""
    found: dict[str, list[Score]] = {}
    for each in scores:
        found.setdefault(each.world, []).append(each)
    return found
