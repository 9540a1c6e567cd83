"""CONTRIBUTING's steps for a new tool, followed in a copy of the project."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WALK = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("## A tool\n")[2].partition("\n## ")[0]
CODE, ROW = re.findall(r"^```python\n(.*?)^```", WALK, re.DOTALL | re.MULTILINE)
(COMMANDS,) = re.findall(r"^```bash\n(.*?)^```", WALK, re.DOTALL | re.MULTILINE)
MODULE, *_ = re.findall(r"`(waha_mcp/tools/\w+\.py)`", WALK)
NOT_MAPPED, ROWS = "waha_mcp/tools/not_mapped.py", "tests/contract/rows.py"
#: A part of what the last command runs, so that the test takes seconds.
SOME = "tests/contract tests/tools/test_inventory.py tests/tools/test_coverage.py tests/scripts/test_docs.py"
FEWER = ["-n0", "-p", "no:cacheprovider", *SOME.split(), "-k"]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The files that the steps touch and run."""
    for name in ("waha_mcp", "scripts", "docs", "tests", "examples"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("README.md", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1, (path.name, old)
    path.write_text(text.replace(old, new), encoding="utf-8")


def run(copy: Path, command: str, *more: str) -> subprocess.CompletedProcess[str]:
    python, *words = shlex.split(command)
    assert python == "python"
    env = os.environ | {"PYTHONPATH": str(copy)}
    return subprocess.run([sys.executable, *words, *more], cwd=copy, env=env, capture_output=True, text=True)


@pytest.mark.slow
def test_the_walk_makes_a_tool_and_without_one_of_its_steps_the_tests_say_what_is_to_be_written(copy: Path) -> None:
    write, check = COMMANDS.splitlines()
    (operation,) = set(re.findall(r'calls=\["(.*?)"\]', CODE))
    with (copy / MODULE).open("a", encoding="utf-8") as module:
        module.write(f"\n\n{CODE}")

    forgotten = run(copy, check, *FEWER, "has_a_row or for_a_reason or as_the_code").stdout
    assert re.search(rf'delete "{re.escape(operation)}" in {NOT_MAPPED}:\d+', forgotten)
    assert f"Write into ROWS in {ROWS}" in forgotten
    assert ROW.strip().partition("(")[0] in forgotten
    assert write in forgotten

    change(copy / NOT_MAPPED, f', "{operation}"', "")
    change(copy / ROWS, "ROWS: dict[str, Row] = {\n", f"ROWS: dict[str, Row] = {{\n{ROW}")
    assert run(copy, write).returncode == 0
    done = run(copy, check, *FEWER, "not noweb and not webjs and not wpp and not answers and not 403")
    assert (done.returncode, done.stdout[-3000:] if done.returncode else "") == (0, "")
