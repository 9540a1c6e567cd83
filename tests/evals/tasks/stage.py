"""Where tasks are played: a sandbox and a server on it, both in separate processes, at the fixed time."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tomlkit

from tests.attacks.judge import Judge
from tests.bench.pipe import Pipe
from tests.bench.tokens import filled, json_tokens, model_visible
from tests.clock import CLOCK, ZONE
from tests.evals.tasks.desk import Desk
from tests.evals.tasks.seeds import play
from tests.evals.tasks.task import Task, World
from tests.evals.tasks.verdict import Witness
from tests.harness import NO_PACE_TEXT, command_after, sandbox_server
from waha_mcp.cli.profiles import CHOICES
from waha_mcp.sandbox import SandboxInfo
from waha_mcp.sandbox.sample_files import jpeg, ogg, pdf


@dataclass
class Stage:
    """A running world. `judge`: admin access to its sandbox."""

    pipe: Pipe
    judge: Judge
    outbox: Path
    tools: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.tools = self.pipe.ask("tools/list")["tools"]

    @property
    def effects(self) -> set[str]:
        """The tools that change something."""
        return {str(each["name"]) for each in self.tools if not (each.get("annotations") or {}).get("readOnlyHint")} - {
            "get_media"
        }

    @property
    def listing(self) -> int:
        """Tokens of the tools as a model sees them."""
        return json_tokens(model_visible(self.tools))

    def begin(self, task: Task) -> tuple[Desk, Witness]:
        """Start a task: the player's access to the server, and the judge."""
        return Desk(self.pipe, self.tools), Witness(self.judge, task)


@contextmanager
def ours(world: World) -> Iterator[Stage]:
    """A world with `waha-mcp serve`."""
    with _sandbox(world) as (info, judge, folder):
        app = folder / "app.toml"
        [choice] = [each for each in CHOICES if each.name == world.app.profile]
        fields = {
            "id": "tasks",
            "url": info.url,
            "actions": [str(each) for each in choice.actions],
            "toolsets": list(world.app.toolsets),
            "timezone": world.app.timezone,
            "outbox": "outbox",
            **choice.limits,
        }
        app.write_text(f"{tomlkit.dumps(fields)}\n{NO_PACE_TEXT}", encoding="utf-8")
        env = {"WAHA_API_KEY": info.keys["full"], "XDG_STATE_HOME": str(folder)} | ZONE
        with closing(Pipe([*command_after(CLOCK), "serve", "--app", str(app)], **env)) as pipe:
            yield Stage(pipe, judge, folder / "outbox")


@contextmanager
def peers(world: World, command: list[str]) -> Iterator[Stage]:
    """A world with another server; `{url}`, `{key}` and `{outbox}` are placeholders in its command."""
    with _sandbox(world) as (info, judge, folder):
        found = {"url": info.url, "key": info.keys["full"], "outbox": str(folder / "outbox")}
        # Its only time zone is the process's.
        env = {"HOME": str(folder), "TZ": world.app.timezone}
        with closing(Pipe([filled(each, found) for each in command], **env)) as pipe:
            yield Stage(pipe, judge, folder / "outbox")


@contextmanager
def _sandbox(world: World) -> Iterator[tuple[SandboxInfo, Judge, Path]]:
    with sandbox_server("--engine", world.engine, first=CLOCK) as info, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        outbox = folder / "outbox"
        outbox.mkdir()
        for file, data in {"invoice.pdf": pdf("Invoice 2026-114"), "view.jpg": jpeg(), "hello.ogg": ogg()}.items():
            (outbox / file).write_bytes(data)
        with closing(Judge(info)) as judge:
            play(world.seeds, judge)
            yield info, judge, folder
