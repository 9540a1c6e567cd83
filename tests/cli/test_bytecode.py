"""The doctor warns where Python compiles everything at each start, names cause and fix, and is silent elsewhere."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.harness import environment

ROOT = Path(__file__).parents[2]
#: Runs only this check: the rest of the doctor calls a WAHA.
CHECK = """
import json
from waha_mcp.cli.bytecode import look_at_bytecode
print(json.dumps([finding.as_dict() for finding in look_at_bytecode()]))
"""

pytestmark = pytest.mark.slow


class Installed:
    """A copy of the package in a folder that comes first on its Python's path. The others are this machine's."""

    def __init__(self, folder: Path, home: Path) -> None:
        self.folder, self.package, self.home = folder, folder / "waha_mcp", home
        shutil.copytree(ROOT / "waha_mcp", self.package, ignore=shutil.ignore_patterns("__pycache__", "sandbox"))

    def warnings(self, *options: str, **env: str) -> list[dict[str, Any]]:
        """What the check reports about our package; whether others have bytecode depends on this machine."""
        given = environment(PYTHONPATH=str(self.folder), HOME=str(self.home), **env)
        for name in ("PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX"):
            if name not in env:
                given.pop(name, None)
        command = [sys.executable, *options, "-c", CHECK]
        done = subprocess.run(command, cwd=self.home, env=given, capture_output=True, text=True, check=True)
        found: list[dict[str, Any]] = json.loads(done.stdout)
        return [each for each in found if "waha_mcp" in each["says"]]

    def compile(self, fix: str) -> None:
        """Apply the fix, only to our own package."""
        [command] = re.findall(r"`(.*?)`", fix)
        words = shlex.split(command)
        assert words[:4] == [sys.executable, "-m", "compileall", "-q"]
        assert str(self.package) in words
        subprocess.run([*words[:4], str(self.package)], check=True)

    @property
    def bytecode(self) -> list[Path]:
        return [*self.package.rglob("*.pyc")]


@pytest.fixture
def installed(tmp_path: Path) -> Installed:
    (tmp_path / "home").mkdir()
    return Installed(tmp_path / "site", tmp_path / "home")


def close(package: Path) -> None:
    """Make sure that nobody, not even root, can write bytecode there: a file is in the place of its folder."""
    for each in [package, *(path for path in package.rglob("*") if path.is_dir())]:
        (each / "__pycache__").write_text("")


def test_nothing_is_said_where_python_keeps_what_it_compiles(installed: Installed) -> None:
    assert installed.warnings() == []
    assert installed.bytecode


@pytest.mark.parametrize(
    ("options", "env", "cause"),
    [
        ([], {"PYTHONDONTWRITEBYTECODE": "1"}, "because PYTHONDONTWRITEBYTECODE is set: each start compiles"),
        (["-B"], {}, "because it runs with -B: each start compiles"),
    ],
    ids=["variable", "option"],
)
def test_python_that_is_told_to_keep_none_is_named_and_the_fix_ends_it(
    options: list[str], env: dict[str, str], cause: str, installed: Installed
) -> None:
    [warning] = installed.warnings(*options, **env)
    assert (warning["state"], warning["about"]) == ("warning", "bytecode")
    assert cause in warning["says"]
    assert not installed.bytecode
    installed.compile(warning["fix"])
    assert installed.warnings(*options, **env) == []


def test_a_folder_that_nothing_can_be_kept_in_is_named_with_both_ways_out(installed: Installed) -> None:
    close(installed.package)
    [warning] = installed.warnings()
    assert f"because {installed.package / '__pycache__'} cannot be written to" in warning["says"]
    assert "as a user who may write there" in warning["fix"]
    assert "PYTHONPYCACHEPREFIX" in warning["fix"]
    assert installed.warnings(PYTHONPYCACHEPREFIX=str(installed.home / "cache")) == []


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="permission bits do not bind this user")
def test_a_read_only_folder_is_named_until_somebody_has_compiled_it(installed: Installed) -> None:
    installed.package.chmod(0o555)
    try:
        [warning] = installed.warnings()
        assert f"because {installed.package} cannot be written to" in warning["says"]
        installed.package.chmod(0o755)
        installed.compile(warning["fix"])
        installed.package.chmod(0o555)
        assert installed.warnings() == []
    finally:
        installed.package.chmod(0o755)


def test_bytecode_of_another_source_is_none(installed: Installed) -> None:
    assert installed.warnings() == []
    source = installed.package / "__init__.py"
    os.utime(source, (1, 1))
    assert len(installed.warnings(PYTHONDONTWRITEBYTECODE="1")) == 1


def test_a_prefix_that_cannot_be_written_to_is_named_for_the_folder_it_is(installed: Installed) -> None:
    taken = installed.home / "taken"
    taken.write_text("")
    [warning] = installed.warnings(PYTHONPYCACHEPREFIX=str(taken))
    assert f"because {taken} cannot be written to" in warning["says"]


def test_the_command_shows_the_warning(installed: Installed) -> None:
    env = environment(PYTHONPATH=str(installed.folder), HOME=str(installed.home), PYTHONDONTWRITEBYTECODE="1")
    command = [sys.executable, "-m", "waha_mcp", "doctor", "--json"]
    done = subprocess.run(command, cwd=installed.home, env=env, capture_output=True, text=True, check=False)
    assert "bytecode" in {finding["about"] for finding in json.loads(done.stdout)}
