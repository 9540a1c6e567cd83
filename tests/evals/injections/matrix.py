"""Goals and tasks by profile: the run, its snapshot, and what it says of a later run."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from tests.evals.forked import Nursery
from tests.evals.injections.everyday import TASKS
from tests.evals.injections.goal import Goal, Task
from tests.evals.injections.goals import GOALS
from tests.evals.injections.scene import QUICK, Scene, scene
from tests.evals.profiles import PROFILES, Profile

SNAPSHOT = Path(__file__).with_name("matrix.json")
#: The letters of the snapshot's cells for a goal, and for a task.
REACHED, HELD, UNHEARD = "R", ".", "-"
DONE, MISSED = "D", "."

COLUMNS = PROFILES
#: What `--small` plays.
SAMPLE_GOALS, SAMPLE_TASKS = GOALS[::7], TASKS[::6]
SAMPLE_COLUMNS = tuple(each for each in COLUMNS if each.name in ("init: assistant", "open") and each.person != "yes")


def title(profile: Profile) -> str:
    """A column's name: a profile that asks occurs once for each kind of person."""
    return f"{profile.name}, {_PERSONS[profile.person]}" if _asks(profile.limits) else profile.name


def _asks(limits: Mapping[str, Any]) -> bool:
    """Whether a person is asked about anything."""
    return any(
        _asks(value) if isinstance(value, Mapping) else value == "ask" or name in ("approval", "ask")
        for name, value in limits.items()
    )


_PERSONS = {"rule": "person by the rule", "yes": "always yes", "nobody": "nobody there"}


@dataclass
class Matrix:
    """Cells by row and column. `under`: whether the user's task was done although the agent was taken over."""

    goals: dict[str, dict[str, str]] = field(default_factory=dict)
    under: dict[str, dict[str, str]] = field(default_factory=dict)
    tasks: dict[str, dict[str, str]] = field(default_factory=dict)

    def text(self) -> str:
        """The snapshot: a row is a line, a cell a letter."""
        every = [row for rows in vars(self).values() for row in rows.values()]
        columns = list(dict.fromkeys(column for row in every for column in row))
        parts = {
            part: {name: "".join(cells.get(each, " ") for each in columns) for name, cells in rows.items()}
            for part, rows in vars(self).items()
        }
        return json.dumps({"columns": columns, **parts}, indent=1, ensure_ascii=False) + "\n"

    def with_(self, other: Matrix) -> Matrix:
        """Both, where the other's cells win; without goals, tasks and profiles that no longer exist."""
        goals, tasks = [each.id for each in GOALS], [each.id for each in TASKS]
        named = {"goals": goals, "under": goals, "tasks": tasks}
        columns = [title(each) for each in COLUMNS]
        return Matrix(
            **{
                part: {
                    each: {
                        column: cell
                        for column in columns
                        if (cell := vars(other)[part].get(each, {}).get(column) or row.get(column))
                    }
                    for each in rows
                    if (row := vars(self)[part].get(each, {})) or each in vars(other)[part]
                }
                for part, rows in named.items()
            }
        )

    @classmethod
    def of(cls, text: str) -> Matrix:
        kept = json.loads(text)
        columns = kept.pop("columns")
        return cls(
            **{
                part: {
                    name: {column: cell for column, cell in zip(columns, cells, strict=True) if cell != " "}
                    for name, cells in rows.items()
                }
                for part, rows in kept.items()
            }
        )


def worse(now: Matrix, before: Matrix) -> list[str]:
    """The cells that got worse: a goal that is newly reached, a task that is newly not done.

    Cells of only one side are ignored.
    """
    found = []
    for rows, old, bad, words in (
        (now.goals, before.goals, REACHED, "reached"),
        (now.under, before.under, MISSED, "the task under this attack is not done"),
        (now.tasks, before.tasks, MISSED, "not done"),
    ):
        for name, cells in rows.items():
            for column, cell in cells.items():
                was = old.get(name, {}).get(column)
                if cell == bad and was not in (None, bad):
                    found.append(f"{name} | {column}: {words}, which was not so")
    return found


def unknown(now: Matrix, before: Matrix) -> list[str]:
    """The rows and columns that the snapshot lacks."""
    return [
        f"{name} | {column}"
        for part in ("goals", "tasks")
        for name, cells in vars(now)[part].items()
        for column in cells
        if column not in vars(before)[part].get(name, {})
    ]


Job = tuple[Goal | Task, Profile]


def run(
    goals: Sequence[Goal],
    tasks: Sequence[Task],
    columns: Sequence[Profile],
    *,
    workers: int = 3,
    told: Callable[[Matrix, str], None] = lambda made, column: None,
) -> Matrix:
    """Play all of these with all of these profiles, each in a world and with a server of its own.

    `told` is called with each column once it is complete.
    """
    both: tuple[Goal | Task, ...] = (*tasks, *goals)
    jobs: list[Job] = [(each, profile) for profile in columns for each in both]
    made = Matrix()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="evals-")))
        nursery = stack.enter_context(Nursery(QUICK))
        free: SimpleQueue[Scene] = SimpleQueue()
        for _ in range(workers):
            free.put(stack.enter_context(scene(nursery, folder)))

        def play(job: Job) -> tuple[Job, str, str]:
            what, profile = job
            place = free.get()
            try:
                if isinstance(what, Task):
                    return job, DONE if place.task(what, profile).done else MISSED, ""
                outcome = place.goal(what, profile)
                cell = REACHED if outcome.reached else HELD if outcome.heard else UNHEARD
                return job, cell, DONE if outcome.done else MISSED
            finally:
                free.put(place)

        pool = stack.enter_context(ThreadPoolExecutor(workers))
        for number, ((what, profile), cell, done) in enumerate(pool.map(play, jobs), 1):
            rows = made.tasks if isinstance(what, Task) else made.goals
            rows.setdefault(what.id, {})[title(profile)] = cell
            if isinstance(what, Goal):
                made.under.setdefault(what.id, {})[title(profile)] = done
            if number % (len(tasks) + len(goals)) == 0:
                told(made, title(profile))
    return made


def lifted(goals: Iterable[Goal]) -> list[Goal]:
    """The goals that even the open App prevents, each in the form in which it does not."""
    return [replace(each, **each.lifted) for each in goals if each.held]


def shares(made: Matrix, column: str) -> tuple[int, int, int, int, int]:
    """Five counts of a column.

    Goals reached, and of how many that the open App lets through; tasks done, and of how many; and in how many of those
    goals' runs the task was done.
    """
    can = [each.id for each in GOALS if not each.held and each.id in made.goals]
    reached = sum(made.goals[each][column] == REACHED for each in can)
    done = sum(cells[column] == DONE for cells in made.tasks.values())
    return reached, len(can), done, len(made.tasks), sum(made.under[each][column] == DONE for each in can)


def summary_row(made: Matrix, column: str) -> str:
    reached, of, done, tasks, under = shares(made, column)
    return (
        f"| {column} | {reached} of {of} ({100 * reached / max(of, 1):.0f} %) "
        f"| {done} of {tasks} ({100 * done / max(tasks, 1):.0f} %) | {under} of {of} |"
    )
