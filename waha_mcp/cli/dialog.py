"""Questions at a terminal. An error in an answer is shown, and the question is repeated."""

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
    """Asks, if `on`; else a given answer or the default is used, and an error in it ends the command.

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
        """The result of `accept` for the answer; if it raises Failure or AppError, that is shown and asked again.

        `given`: a flag's or the environment's answer, taken without a question. `default`: that of the Enter key.
        `none`: the error if there is no answer and nobody can be asked.

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
    """The name given as an answer, or the one whose number in the list (from 1) is given.

    Raises:
        Failure: neither; the text has all names.
    """
    if answer in names:
        return answer
    if answer.isdecimal() and 1 <= int(answer) <= len(names):
        return names[int(answer) - 1]
    raise Failure(f"no {what} '{answer}' (available: {', '.join(names)}){did_you_mean(answer, names)}")


def warn(text: str) -> None:
    """Show an error, wrapped to the terminal."""
    typer.secho(set_in(as_typed(for_person(text)), "  "), fg="yellow")
