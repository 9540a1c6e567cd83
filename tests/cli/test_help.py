"""Help and documents: every command explains itself with an example, and the documents quote the real output."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import typer.main

from tests.harness import run
from waha_mcp.cli import command_line

ROOT = Path(__file__).parent.parent.parent


def commands(group: Any, *path: str) -> dict[str, Any]:
    """Every command by the words that call it."""
    found: dict[str, Any] = {}
    for name, command in group.commands.items():
        inner = commands(command, *path, name) if hasattr(command, "commands") else {" ".join((*path, name)): command}
        found |= inner
    return found


COMMANDS = commands(typer.main.get_command(command_line()))


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_an_example_that_calls_it(name: str) -> None:
    text = COMMANDS[name].help
    example = re.search(r"Example: (waha-mcp .*)", text)
    assert example is not None
    assert f"waha-mcp {name}" in example[1]


@pytest.mark.parametrize("group", [[], ["apps"]], ids=["all", "apps"])
def test_summaries_fit_a_terminal_of_80_columns(group: list[str]) -> None:
    said = run(*group, "--help", env={"COLUMNS": "80"}).stdout
    listed = said[said.index("Commands:") :]
    assert len(listed.splitlines()) > 5
    assert "..." not in listed
    assert max(map(len, said.splitlines())) <= 80


def test_troubleshooting_quotes_messages_as_they_are() -> None:
    page = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    source = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "waha_mcp").rglob("*.py"))
    rows = [line.split("|")[1] for line in page.splitlines() if line.startswith("| `")]
    assert len(rows) >= 50
    for quoted in re.findall("`([^`]+)`", "".join(rows)):
        assert quoted in source, quoted


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"])
def test_links_and_pictures_lead_somewhere(document: str) -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", (ROOT / document).read_text(encoding="utf-8")):
        assert (ROOT / target).exists(), target
