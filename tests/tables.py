"""What the generated tables of the docs share: where they stand in a page, and what they were made on."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"


def commit_of(checkout: Path = ROOT) -> str:
    """A checkout's commit."""
    command = ["git", "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, cwd=checkout, capture_output=True, text=True).stdout.strip() or "unknown"


def made_on() -> str:
    """The machine and the commit."""
    machine = f"{os.cpu_count()} cores, Python {platform.python_version()}, {platform.system()} {platform.machine()}"
    return f"{machine}; commit {commit_of()}"


def written(text: str, section: str, begin: str, end: str) -> str:
    """A page with the section between its marks; at the page's end where there are none."""
    head, mark, rest = text.partition(begin)
    if not mark:
        return f"{text.rstrip()}\n\n{begin}\n\n{section}\n\n{end}\n".lstrip()
    _, mark, tail = rest.partition(end)
    if not mark:
        raise SystemExit(f"there is {begin} without {end}")
    return f"{head}{begin}\n\n{section}\n\n{end}{tail}"


def put(page: str, section: str, begin: str, end: str) -> None:
    """Write a section into a page of docs/."""
    path = DOCS / page
    path.write_text(written(path.read_text(encoding="utf-8"), section, begin, end), encoding="utf-8")
