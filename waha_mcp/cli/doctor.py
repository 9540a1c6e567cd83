"""`waha-mcp doctor`: prints problems and their fixes."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Annotated

import anyio
import typer

from waha_mcp.cli.common import as_typed
from waha_mcp.log import configure_logging
from waha_mcp.places import definitions

if TYPE_CHECKING:
    from waha_mcp.cli.diagnosis import Finding


def doctor(
    app: Annotated[str | None, typer.Option(help="App definition: a file, or its id in the config folder.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Find problems between the client and WhatsApp, and their fixes.

    It checks the App, WAHA, the key, the session, the lists of recipients, the clients' entries
    and whether Python keeps the bytecode that it compiles.
    Without --app it checks every App defined here. Exits with 1 when there is a problem.

    Example: waha-mcp doctor --app assistant
    """
    configure_logging("error")
    findings = anyio.run(_look, app or os.environ.get("WAHA_MCP_APP") or None, as_json)
    if as_json:
        print(json.dumps([finding.as_dict() for finding in findings], ensure_ascii=False, indent=2))
    if any(finding.state == "problem" for finding in findings):
        raise typer.Exit(1)


async def _look(source: str | None, quiet: bool) -> list[Finding]:
    from waha_mcp.cli.bytecode import look_at_bytecode
    from waha_mcp.cli.diagnosis import look, look_at_definitions, look_at_hosts

    sources: list[str | None] = [source]
    if source is None and not os.environ.get("WAHA_API_KEY"):
        sources = [str(path) for path in definitions()] or [None]
    findings = []
    for each in sources:
        async for finding in look(each):
            findings.append(finding)
            _show(finding, quiet)
    hosts = [finding async for finding in look_at_hosts()]
    for finding in (*look_at_definitions(), *hosts, *look_at_bytecode()):
        findings.append(finding)
        _show(finding, quiet)
    return findings


def _show(finding: Finding, quiet: bool) -> None:
    if quiet:
        return
    color = {"ok": "green", "warning": "yellow", "problem": "red"}[finding.state]
    typer.echo(f"{typer.style(f'{finding.state:<8}', fg=color)} {finding.about}: {as_typed(finding.says)}")
    if finding.fix:
        typer.echo(f"         -> {as_typed(finding.fix)}")
