"""The same tasks on other servers: `peers/*.toml`, one file each, of [task id] with `calls` and `says` as in a task.

`{outbox}` in arguments is the folder with the files to send. `cannot`: why a server's tools cannot do a task. Its tools
are called with the fewest calls that its descriptions lead to; of two ways, the one that costs fewer tokens.
"""

from __future__ import annotations

import tomllib
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from tests.bench.tokens import filled as with_values
from tests.evals.tasks.desk import Desk
from tests.evals.tasks.paths import NotThere, filled
from tests.evals.tasks.task import Reference, Task

FOLDER = Path(__file__).parent / "peers"


class PeerTask(BaseModel):
    """How a server does a task, or why it cannot."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    calls: tuple[Reference, ...] = ()
    says: str = ""
    cannot: str = ""


def peer_tasks(name: str) -> dict[str, PeerTask]:
    """The tasks of the server whose name begins as a file's does, by id."""
    [path] = [each for each in FOLDER.glob("*.toml") if name.startswith(each.stem)]
    return {each: PeerTask(**found) for each, found in tomllib.loads(path.read_text(encoding="utf-8")).items()}


class PeerPlayer:
    """Plays a server's calls. `outbox`: the folder with the files."""

    def __init__(self, tasks: dict[str, PeerTask], outbox: Path) -> None:
        self._tasks, self._outbox = tasks, outbox

    def __call__(self, task: Task, desk: Desk) -> str:
        mine = self._tasks[task.id]
        answers: list[str] = []
        try:
            for call in mine.calls:
                for tool, arguments in call.items():
                    given = with_values(filled(arguments, answers), {"outbox": str(self._outbox)})
                    answers.append(desk.call(tool, given).text)
            return str(filled(mine.says, answers))
        except NotThere as error:
            return f"(gave up: {error})"
