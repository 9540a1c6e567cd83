"""Questions at a terminal. What is wrong with an answer is said, and the question comes again."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TypeVar

import typer

from waha_mcp.app.definition import AppError
from waha_mcp.cli.common import Failure, as_typed
from waha_mcp.cli.terminal import set_in
from waha_mcp.steps import did_you_mean, for_person

T = TypeVar("T")


def interactive() -> bool:
    """Whether a person can be asked: stdin and stdout are terminals."""
    return sys.stdin.isatty() and sys.stdout.isatty()


class Asking:
    """Asks, where `on`; else a given answer or the default counts, and what is wrong with it ends the command.

    Questions stand outside event loops, which would keep Ctrl-C from them.
    """

    def __init__(self, on: bool) -> None:
        self.on = on

    def until(
        self,
        question: str,
        accept: Callable[[str], T],
        *,
        given: str | None = None,
        default: str | None = None,
        hidden: bool = False,
        none: str = "",
    ) -> T:
        """What `accept` makes of the answer; where it raises Failure or AppError, that is said and asked again.

        `given`: a flag's or the environment's answer, taken without a question. `default`: that of the Enter key.
        `none`: the error where there is no answer and nobody can be asked.

        Raises:
            Failure, AppError: nobody can be asked, and the answer is wrong or there is none.
            typer.Abort: the person ends it, with Ctrl-C or Ctrl-D.
        """
        answer = given
        while True:
            if answer is None:
                answer = self._typed(question, default, hidden, none)
            try:
                return accept(answer.strip())
            except (Failure, AppError) as error:
                if not self.on:
                    raise
                warn(str(error))
            answer = None

    def _typed(self, question: str, default: str | None, hidden: bool, none: str) -> str:
        if self.on:
            answer: str = typer.prompt(question, default=default, hide_input=hidden, show_default=bool(default))
            return answer.strip() or default or ""
        if default is None:
            raise Failure(none)
        return default

    def yes(self, question: str, *, default: bool = True) -> bool:
        """The answer to a yes-or-no question; the default where nobody can be asked."""
        return typer.confirm(question, default=default) if self.on else default


def one_of(answer: str, names: Sequence[str], what: str) -> str:
    """The name that an answer is, or whose number in the list (from 1) it is.

    Raises:
        Failure: neither; the text has all names.
    """
    if answer in names:
        return answer
    if answer.isdecimal() and 1 <= int(answer) <= len(names):
        return names[int(answer) - 1]
    raise Failure(f"no {what} '{answer}': there are {', '.join(names)}{did_you_mean(answer, names)}")


def warn(text: str) -> None:
    """Show what is wrong, wrapped to the terminal."""
    typer.secho(set_in(as_typed(for_person(text)), "  "), fg="yellow")
