"""What a task is, and the worlds that hold them: `worlds/*.toml`, one sandbox and one server each.

    engine                      of WAHA, "gows" unless given
    [app]                       of the App: toolsets, timezone; `profile`: one that `waha-mcp init` offers
    seed = [...]                what all its tasks find there, beside the sandbox's own account (`seeds.py`)

    [[task]]
    id, language, prompt        language: en, de, es, pt, ar or hi
    seed                        what this task needs besides; played before the world's first task begins
    calls                       the reference: [{tool = {argument = value}}], values as `paths.filled` takes them
    ways                        other tools in another order that do it as well; the reference's always do
    found                       what answers to the calls must have shown: nobody can know it without looking
    says                        the reference's last word to the person, `paths.filled`
    answer                      what anybody's last word must hold
    asks                        the last word is a question, since it is not certain what is meant
    ends                        every effect that WAHA has carried out by then (`Effect`); none means none
    most                        [calls, tokens]: caps; tokens are o200k, of what is written and what is read

In `found`, `answer` and an effect's `text` each entry is a text that must be there, without regard to case, accents and
forms of digits (`fold_text`); `|` stands between alternatives.

Tasks of one world do not depend on what another one does.
"""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

WORLDS = Path(__file__).parent / "worlds"
Language = Literal["en", "de", "es", "pt", "ar", "hi"]
#: A call of the reference: one tool with its arguments.
Reference = dict[str, dict[str, Any]]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Effect(_Strict):
    """One request that WAHA has carried out.

    `do`: "METHOD /path", where `*` stands for anything, or several with `|` between. `chat`: a chat id, or a group's
    subject; None: none is named.
    `of`, `reply_to`: a text that only one message of `source` (unless given: `chat`) holds: the one that it is done to,
    and the one that it quotes. `text`: what the request holds; see the module. `has`: fields of its body, exact.
    """

    do: str
    chat: str | None = None
    source: str | None = None
    of: str | None = None
    reply_to: str | None = None
    text: tuple[str, ...] = ()
    has: dict[str, Any] = Field(default_factory=dict)


class Task(_Strict):
    """See the module."""

    id: str
    language: Language
    prompt: str
    seed: tuple[dict[str, Any], ...] = ()
    calls: tuple[Reference, ...]
    ways: tuple[tuple[str, ...], ...] = ()
    found: tuple[str, ...] = ()
    says: str
    answer: tuple[str, ...] = ()
    asks: bool = False
    ends: tuple[Effect, ...] = ()
    most: tuple[int, int]

    @model_validator(mode="after")
    def _consistent(self) -> Task:
        if any(len(each) != 1 for each in self.calls):
            raise ValueError("each call is one tool with its arguments")
        if not (self.found or self.ends or self.answer):
            raise ValueError("nothing could show that it was done")
        return self

    @property
    def reference(self) -> list[tuple[str, dict[str, Any]]]:
        """The reference's tools with their arguments."""
        return [pair for each in self.calls for pair in each.items()]

    @property
    def accepted(self) -> list[tuple[str, ...]]:
        """The tools that may do it, in this order, with other reads between them."""
        return [tuple(tool for tool, _ in self.reference), *self.ways]


class AppFields(_Strict):
    """Fields of the App: the rest is as `waha-mcp init` makes it."""

    toolsets: tuple[str, ...] = ("core",)
    timezone: str = "Europe/Berlin"
    profile: str


class World(_Strict):
    """One sandbox, one server and the tasks in it. `name`: the file's."""

    name: str
    engine: Literal["gows", "noweb"] = "gows"
    app: AppFields
    seed: tuple[dict[str, Any], ...] = ()
    task: tuple[Task, ...]

    @property
    def seeds(self) -> list[dict[str, Any]]:
        """Everything that is set up before the first task."""
        return [*self.seed, *(each for task in self.task for each in task.seed)]


@cache
def worlds() -> tuple[World, ...]:
    """All of them, by name."""
    found = [
        World(name=path.stem, **tomllib.loads(path.read_text(encoding="utf-8")))
        for path in sorted(WORLDS.glob("*.toml"))
    ]
    ids = [task.id for world in found for task in world.task]
    assert len(ids) == len(set(ids)), "two tasks of one id"
    return tuple(found)
