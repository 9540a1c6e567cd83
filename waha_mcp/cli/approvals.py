"""`waha-mcp approvals` and `waha-mcp approve`: a person approves or refuses calls of agents."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import Annotated

import typer

from waha_mcp.cli.common import Failure, as_typed
from waha_mcp.cli.terminal import visible, wrapped
from waha_mcp.policy.approval import Entry, decide, waiting
from waha_mcp.policy.question import SET_IN
from waha_mcp.store import StoreAway


def approvals(as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False) -> None:
    """Print the calls of agents that wait for your approval.

    Example: waha-mcp approvals
    """
    entries = _waiting()
    if as_json:
        print(_json(entries))
    elif entries:
        print("\n\n".join(map(_text, entries)))
        # Not on stdout, which has the questions and nothing else.
        print(as_typed("\nApprove one with waha-mcp approve ID; with --refuse it is refused."), file=sys.stderr)
    else:
        print("Nothing is waiting.")


def approve(
    entry: Annotated[str, typer.Argument(metavar="ID", help="The id that the agent was told.", show_default=False)],
    refuse: Annotated[bool, typer.Option("--refuse", help="Refuse it instead.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask again.")] = False,
) -> None:
    """Show the waiting call with an id, and approve or refuse it.

    Example: waha-mcp approve 3f9a5c0d17be
    """
    found = next((each for each in _waiting() if each.id == entry), None)
    if found is None:
        raise Failure(f"nothing waits for approval under {entry!r} (see waha-mcp approvals)", code=1)
    print(_text(found))
    if not refuse and not yes:
        if not sys.stdin.isatty():
            raise Failure("approving needs a confirmation: run it in a terminal, or add --yes")
        if not typer.confirm("Approve exactly this?"):
            raise Failure("nothing was changed", code=1)
    try:
        decided = decide(entry, approve=not refuse)
    except StoreAway as error:
        raise Failure(str(error)) from None
    if not decided:
        raise Failure("it is no longer waiting", code=1)
    print("Refused." if refuse else "Approved: the agent can make the same call again now, once.")


def _waiting() -> list[Entry]:
    try:
        return waiting()
    except StoreAway as error:
        raise Failure(str(error)) from None


def _text(entry: Entry) -> str:
    """A question with its id."""
    return wrapped(f"{entry.id}  (App {entry.question.app}, {entry.question.tool})\n{entry.question.text()}", SET_IN)


def _json(entries: list[Entry]) -> str:
    """The entries as JSON, with control, bidi and invisible characters escaped."""
    return visible(json.dumps([asdict(entry) for entry in entries], ensure_ascii=False, indent=2))
