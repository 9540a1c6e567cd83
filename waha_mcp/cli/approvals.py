"""`waha-mcp approvals` and `waha-mcp approve`: a person approves or refuses calls of agents."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from typing import Annotated

import anyio
import typer

from waha_mcp.cli.common import Failure
from waha_mcp.cli.terminal import visible, wrapped
from waha_mcp.policy.approval import Entry, decide, waiting
from waha_mcp.policy.question import SET_IN
from waha_mcp.store import StoreAway

#: Where the page listens if nothing else is said.
LOOPBACK = "127.0.0.1"


def approvals(
    show: Annotated[bool, typer.Option("--list", help="Print what waits, and end.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the page; 0 takes a free one.")] = 0,
    host: Annotated[str, typer.Option(help="Address to listen on; another one is for containers.")] = LOOPBACK,
) -> None:
    """Serve the page where you approve or refuse what agents ask for.

    It is on this machine only, until Ctrl-C.

    Example: waha-mcp approvals
    """
    if show or as_json:
        entries = _waiting()
        if as_json:
            print(_json(entries))
        else:
            print("\n\n".join(map(_text, entries)) or "Nothing is waiting.")
        return
    from waha_mcp.console.approvals_page import serve_approvals

    if host != LOOPBACK:
        typer.echo(
            f"Listening on {host}: publish this port on your own machine's loopback alone, such as 127.0.0.1:{port}. "
            "Whoever reaches it and has the address below can approve.",
            err=True,
        )
    try:
        anyio.run(serve_approvals, port, _announce, host)
    except OSError as error:
        where = f"port {port}" if host == LOOPBACK else f"{host} port {port}"
        why = os.strerror(error.errno) if error.errno else error  # asyncio's own text repeats the address
        raise Failure(f"cannot serve on {where}: {why}; choose another with --port") from None


def _announce(url: str) -> None:
    print(f"Approve or refuse here (the address is a secret, keep it to yourself):\n  {url}\nStop it with Ctrl-C.")
    sys.stdout.flush()


def approve(
    entry: Annotated[str, typer.Argument(metavar="ID", help="The id that the agent was told.", show_default=False)],
    refuse: Annotated[bool, typer.Option("--refuse", help="Refuse it instead.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask again.")] = False,
) -> None:
    """Show what waits under an id, and approve or refuse it.

    Example: waha-mcp approve 3f9a
    """
    found = next((each for each in _waiting() if each.id == entry), None)
    if found is None:
        raise Failure(f"nothing waits for approval under {entry!r} (see waha-mcp approvals --list)", code=1)
    print(_text(found))
    if not refuse and not yes:
        if not sys.stdin.isatty():
            raise Failure("approving asks back: run it in a terminal, or add --yes")
        if not typer.confirm("Approve exactly this?"):
            raise Failure("left as it was", code=1)
    try:
        decided = decide(entry, approve=not refuse)
    except StoreAway as error:
        raise Failure(str(error)) from None
    if not decided:
        raise Failure("it is not waiting any more", code=1)
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
