"""Next steps in texts, for both who may read them.

Texts are written for an agent, whose steps lead to a person: "ask the user to start WAHA". Where a person reads them,
in a terminal or a log, the step is theirs: "start WAHA". Steps are written in the forms that `for_person` knows.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_ASK = re.compile(r"\b([Aa])sk the user (?:to )?(\w)(?=\w*)")
_QUESTION = re.compile(r"\b([Aa])sk the user (?=who|which|whether)")
#: Steps that only an agent can take.
_AGENTS = re.compile(
    r"(?:[,;] or|;) (?:ask|tell) the user(?: that[^.;]*)?(?=[.;])| (?:Ask|Tell) the user\.| from the user"
)


def for_person(text: str) -> str:
    """A text that is written for an agent, as the person reads it."""
    if " the user" not in text:
        return text
    text = _AGENTS.sub("", text)
    text = _QUESTION.sub(lambda match: "say " if match[1] == "a" else "Say ", text)
    return _ASK.sub(lambda match: match[2] if match[1] == "a" else match[2].upper(), text)


def nearest(name: str, known: Iterable[str], like: float = 0.6) -> str | None:
    """The known name that is most like another, if it is at least so much like it (0 to 1)."""
    import difflib

    return next(iter(difflib.get_close_matches(name, list(known), 1, like)), None)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The question whether the known name that is most like another is meant; an empty text where none is like it."""
    alike = nearest(name.casefold(), known)
    return f"; did you mean '{alike}'?" if alike else ""
