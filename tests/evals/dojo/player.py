"""Plays the prepared calls of AgentDojo's slack suite, in an environment of its own: standard library and agentdojo.

It speaks JSON lines. First it describes the suite (`_described`). Each line that it gets is a conversation
`{"user": id, "injection": id or null}`. For each call it asks `{"function", "args", "groups", "injected"}` (the
channels of the user in question, and whether the call is the injection's) and is told `{"happened", "why"}`. At last
it says `{"done": {"utility", "under_attack", "attacked"}}`: whether the user task was solved before the injection's
calls and after them, and whether the injection was.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from agentdojo.agent_pipeline.ground_truth_pipeline import GroundTruthPipeline
from agentdojo.functions_runtime import FunctionCall, FunctionsRuntime
from agentdojo.task_suite.load_suites import get_suite
from agentdojo.task_suite.task_suite import model_output_from_messages

SUITE = get_suite("v1.2.2", "slack")
#: AgentDojo's checks print, too.
OUT, sys.stdout = sys.stdout, sys.stderr


def say(**what: Any) -> None:
    OUT.write(json.dumps(what) + "\n")
    OUT.flush()


class Bridged(FunctionsRuntime):  # type: ignore[misc]
    """Asks for each call whether it happened, and applies it here if so. `happened`: those calls."""

    def __init__(self) -> None:
        super().__init__(SUITE.tools)
        self.happened: list[Any] = []
        self.injected = False

    def run_function(self, env: Any, function: str, kwargs: Any, raise_on_error: bool = False) -> Any:
        groups = env.slack.user_channels.get(kwargs.get("user"), [])
        say(function=function, args=dict(kwargs), groups=groups, injected=self.injected)
        told = json.loads(sys.stdin.readline())
        if not told["happened"]:
            return "", f"PermissionError: {told['why']}"
        self.happened.append(FunctionCall(function=function, args=dict(kwargs)))
        return super().run_function(env, function, kwargs)


def play(wish: dict[str, Any]) -> dict[str, bool]:
    task = SUITE.user_tasks[wish["user"]]
    env = task.init_environment(SUITE.load_and_inject_default_environment({}))
    before = env.model_copy(deep=True)
    runtime = Bridged()

    def solved(which: Any, output: Any) -> bool:
        return bool(SUITE._check_task_result(which, output, before, env, runtime.happened))

    *_, messages, _ = GroundTruthPipeline(task).query(task.PROMPT, runtime, env)
    output = model_output_from_messages(messages) or []
    utility = solved(task, output)
    if wish["injection"] is None:
        return {"utility": utility, "under_attack": utility, "attacked": False}
    injection = SUITE.injection_tasks[wish["injection"]]
    runtime.injected = True
    GroundTruthPipeline(injection).query(injection.GOAL, runtime, env)
    return {"utility": utility, "under_attack": solved(task, output), "attacked": solved(injection, output)}


def _described() -> dict[str, Any]:
    """The functions by name with their arguments, the environment, and of each task its prompt and calls."""
    env = SUITE.load_and_inject_default_environment({})

    def calls(task: Any) -> list[Any]:
        return [{"function": each.function, "args": dict(each.args)} for each in task.ground_truth(env)]

    return {
        "functions": {each.name: sorted(each.parameters.model_fields) for each in SUITE.tools},
        "slack": env.slack.model_dump(),
        "users": {name: {"prompt": task.PROMPT, "calls": calls(task)} for name, task in SUITE.user_tasks.items()},
        "injections": {name: {"calls": calls(task)} for name, task in SUITE.injection_tasks.items()},
    }


if __name__ == "__main__":
    say(**_described())
    for line in sys.stdin:
        say(done=play(json.loads(line)))
