"""What the reference pages say is what the code says, and the site is built from them without a warning."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.rooms import ORDER

ROOT = Path(__file__).parents[2]


def test_the_reference_pages_are_as_the_code_has_them() -> None:
    """`python scripts/docs.py` writes them."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "docs.py"), "--check"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_readme_stays_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) < 200


ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`([a-z_]+(?:\.\w+)+)", ARCHITECTURE))))
def test_what_the_architecture_names_is_there(name: str) -> None:
    found: object = None
    for end in range(name.count(".") + 1, 0, -1):
        module, rest = ".".join(name.split(".")[:end]), name.split(".")[end:]
        try:
            found = importlib.import_module(f"waha_mcp.{module}")
        except ModuleNotFoundError:
            continue
        for part in rest:
            found = getattr(found, part)
        break
    assert found is not None, name


def test_the_architecture_shows_every_room_from_the_ground_up() -> None:
    table = re.findall(r"^\| (`.+?) \|", ARCHITECTURE, re.MULTILINE)
    assert re.findall(r"`(\w+)`", " ".join(table)) == list(ORDER)
