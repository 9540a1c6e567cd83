"""Files that no test runs: workflows, forms, the justfile, hooks. Their linters are in .ci/lint."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]
GITHUB = ROOT / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))
#: The kinds of file that check-jsonschema has schemas for.
KINDS = {
    "github-workflows": WORKFLOWS,
    "dependabot": [GITHUB / "dependabot.yml"],
    "github-issue-config": [GITHUB / "ISSUE_TEMPLATE" / "config.yml"],
    "github-issue-forms": sorted(
        set((GITHUB / "ISSUE_TEMPLATE").glob("*.yml")) - {GITHUB / "ISSUE_TEMPLATE/config.yml"}
    ),
}
#: Files that name commands of this repository.
CALLERS = [*WORKFLOWS, ROOT / "justfile", ROOT / ".pre-commit-config.yaml", ROOT / ".ci" / "run"]


def loaded(path: Path) -> Any:
    return YAML(typ="safe").load(path)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_each_file_fits_the_schema_of_its_kind(kind: str) -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.{kind}", *map(str, KINDS[kind])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "ok -- validation done\n")


@pytest.mark.parametrize("path", CALLERS, ids=lambda path: path.name)
def test_each_script_module_and_test_that_is_called_is_there(path: Path) -> None:
    # Patterns of file names escape their dots.
    text = path.read_text("utf-8").replace("\\", "")
    files = set(re.findall(r"(?<![\w/.-])(?:\.ci|scripts|tests|examples)/[\w/]+(?:\.py)?\b", text))
    modules = {name.replace(".", "/") for name in re.findall(r"-[mp] ((?:tests|scripts)(?:\.\w+)*)", text)}
    assert files | modules
    gone = {each for each in files if not (ROOT / each).exists()}
    gone |= {each for each in modules if not any((ROOT / f"{each}{end}").exists() for end in ("/__main__.py", ".py"))}
    assert gone == set()


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_each_action_is_a_commit_with_its_version_and_keeps_no_credentials(path: Path) -> None:
    used = [line for line in path.read_text("utf-8").splitlines() if "uses:" in line]
    assert [line for line in used if not re.fullmatch(r" +- uses: [\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line)] == []
    steps = [step for job in loaded(path)["jobs"].values() for step in job["steps"]]
    checkouts = [step for step in steps if step.get("uses", "").startswith("actions/checkout@")]
    assert [step for step in checkouts if step["with"]["persist-credentials"] is not False] == []


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_has_no_right_that_a_job_does_not_ask_for_and_each_job_ends(path: Path) -> None:
    workflow = loaded(path)
    assert workflow["permissions"] == {}
    assert [
        name for name, job in workflow["jobs"].items() if not {"permissions", "timeout-minutes"} <= job.keys()
    ] == []


def test_ci_runs_on_every_python_that_the_package_names() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    named = {each.rpartition(" ")[2] for each in project["classifiers"] if "Python :: 3." in each}
    jobs = loaded(GITHUB / "workflows" / "ci.yml")["jobs"]
    run = [version for name in ("everything", "tests") for version in jobs[name]["strategy"]["matrix"]["python"]]
    assert set(run) == named
    assert len(run) == len(named)


def test_the_readmes_commands_are_found_by_their_marker_and_an_unknown_marker_is_an_error() -> None:
    script = ROOT / ".ci" / "readme"
    tests = subprocess.run([script, "tests"], capture_output=True, text=True, check=True).stdout
    assert tests.rstrip().endswith("-m pytest")
    assert subprocess.run([script, "nothing"], capture_output=True, check=False).returncode == 1
