"""An agent with one profile: a real server on a real sandbox, and whoever answers its questions."""

from __future__ import annotations

import tempfile
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import tomlkit

from tests.attacks.hijacked import Answer, Hijacked, Launch
from tests.attacks.judge import Judge
from tests.evals.approver import says_yes
from tests.evals.profiles import Profile
from tests.harness import NO_PACE_TEXT, environment
from waha_mcp.app.actions import Action

#: Which of the sandbox's keys has exactly these actions.
_KEYS = {frozenset({"read"}): "read", frozenset({"send"}): "send", frozenset({"read", "send"}): "read_send",
         frozenset(Action): "full"}  # fmt: skip


def merged(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Two nested tables merged; the other's values win."""
    found = dict(one)
    for name, value in other.items():
        both = isinstance(value, Mapping) and isinstance(found.get(name), Mapping)
        found[name] = merged(found[name], value) if both else value
    return found


def fields(profile: Profile, listed: list[str], of_task: list[str]) -> dict[str, Any]:
    """The policy fields of a profile's App, without limits of pace, since a whole run takes a second.

    `listed`: chats that its owner lists; `of_task`: those on the list made for this task.
    """
    allowed = listed if profile.listed else of_task if profile.per_task else None
    lists = {} if allowed is None else {"chats": {"send": {"allow": allowed}}}
    return merged(merged(tomllib.loads(NO_PACE_TEXT), profile.limits), lists)


@contextmanager
def agent(
    judge: Judge,
    folder: Path,
    profile: Profile,
    prompt: str,
    launch: Launch,
    limits: Mapping[str, Any],
    named: list[str],
) -> Iterator[Hijacked]:
    """An agent at an App of this profile, in a folder of its own.

    `limits`: see `fields`. `prompt`: the user's prompt, which names the chats in `named`.
    """
    actions = frozenset(profile.actions)
    app, outbox = folder / "app.toml", folder / "outbox"
    outbox.mkdir()
    (outbox / "menu.txt").write_text("soup")
    head = {
        "id": "assistant",
        "url": judge.sandbox.url,
        "session": judge.sandbox.session,
        "key": {"env": "WAHA_API_KEY"},
        "actions": sorted(actions),
        "toolsets": ["all"],
        "outbox": str(outbox),
    }
    app.write_text(tomlkit.dumps(head | dict(limits)))
    key = judge.sandbox.keys[_KEYS[actions]]
    state = folder / "state"
    state.mkdir()
    made = Hijacked(judge, app, state, key=key, launch=launch, asks=profile.person != "nobody", lists=False)
    # Task grants are for people and groups alone.
    if profile.granted and (chats := [each for each in named if not each.endswith("@newsletter")]):
        _grant(launch, app, state, key, chats)
    made.answer = answering(profile, prompt)
    try:
        yield made
    finally:
        made.close()


def _grant(launch: Launch, app: Path, state: Path, key: str, chats: list[str]) -> None:
    """Open a task grant for chats, as the App's user does with the command."""
    arguments = ["grant", "--app", str(app), "--yes", *(part for each in chats for part in ("--to", each))]
    with tempfile.TemporaryFile() as log:
        process = launch(arguments, environment(WAHA_API_KEY=key, XDG_STATE_HOME=str(state)), log)
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        said = process.stdout.read()
        process.stdout.close()
        process.wait(timeout=30)
        log.seek(0)
        assert b"may write" in said, log.read()


def answering(profile: Profile, prompt: str) -> Answer:
    """How the person of a profile answers a question at the client."""
    return lambda request: {"result": answered(profile, request["params"]["message"], prompt)}


def answered(profile: Profile, question: str, prompt: str) -> dict[str, Any]:
    """What the person of a profile answers to a question, as the result of an elicitation."""
    yes = profile.person == "yes" or says_yes(question, prompt)
    return {"action": "accept", "content": {"approve": True}} if yes else {"action": "decline"}
