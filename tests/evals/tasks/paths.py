"""Values that refer to earlier answers, as a model takes ids from what it has read.

In a text, `{2.messages.~garage.id}` is taken from the second answer's JSON: `messages`, of these the first that holds
"garage" anywhere, and its `id`; a number is a place in a list. `{2~id: (\\S+)}` is what the expression's group finds
in the second answer's text, for servers that answer no JSON. A text that is nothing but a reference becomes the value
itself.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

_REFERENCE = re.compile(r"\{(\d+)([.~])([^{}]+)\}")


class NotThere(Exception):
    """An earlier answer does not hold what a value refers to."""


def filled(value: Any, answers: Sequence[str]) -> Any:
    """A value with what its references stand for.

    Raises:
        NotThere: an answer does not hold it.
    """
    if isinstance(value, dict):
        return {name: filled(each, answers) for name, each in value.items()}
    if isinstance(value, list):
        return [filled(each, answers) for each in value]
    if not isinstance(value, str):
        return value
    if whole := _REFERENCE.fullmatch(value):
        return _taken(whole, answers)
    return _REFERENCE.sub(lambda match: str(_taken(match, answers)), value)


def _taken(match: re.Match[str], answers: Sequence[str]) -> Any:
    number, how, path = int(match[1]), match[2], match[3]
    if number > len(answers):
        raise NotThere(f"{match[0]}: there are {len(answers)} answers")
    answer = answers[number - 1]
    if how == "~":
        found = re.search(path, answer, re.DOTALL)
        if found is None:
            raise NotThere(f"{match[0]}: not in {answer[:200]!r}")
        return found[1]
    try:
        at: Any = json.loads(answer)
        for step in path.split("."):
            at = _step(at, step)
    except (ValueError, LookupError, TypeError):
        raise NotThere(f"{match[0]}: not in {answer[:200]!r}") from None
    return at


def _step(at: Any, step: str) -> Any:
    if step.startswith("~"):
        return next((each for each in at if step[1:] in json.dumps(each, ensure_ascii=False)), {})
    return at[int(step)] if isinstance(at, list) else at[step]
