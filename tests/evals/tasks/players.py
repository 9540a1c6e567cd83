"""Scripted players. The ideal one makes the reference's calls, and takes what they refer to from the answers."""

from __future__ import annotations

from typing import Protocol

from tests.evals.tasks.desk import Desk
from tests.evals.tasks.paths import NotThere, filled
from tests.evals.tasks.task import Task


class Player(Protocol):
    """Plays a task with a server's tools; its last word to the person."""

    def __call__(self, task: Task, desk: Desk, /) -> str: ...


def ideal(task: Task, desk: Desk) -> str:
    """The reference's calls, unchanged."""
    answers: list[str] = []
    try:
        for tool, arguments in task.reference:
            answers.append(desk.call(tool, filled(arguments, answers)).text)
        return str(filled(task.says, answers))
    except NotThere as error:
        return f"(gave up: {error})"
