"""The published packages agree with each other: versions, the registry's entry, the bundle, completion."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
import zipfile
import zlib
from collections import Counter
from importlib.metadata import requires
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from scripts import rooms
from tests.harness import COMMAND, environment, run
from waha_mcp import __version__
from waha_mcp.app.definition import App

ROOT = Path(__file__).parent.parent
SERVER: dict[str, Any] = json.loads((ROOT / "server.json").read_text())
MANIFEST: dict[str, Any] = json.loads((ROOT / "manifest.json").read_text())


def test_every_version_is_the_packages() -> None:
    versions = [SERVER["version"], *(package["version"] for package in SERVER["packages"]), MANIFEST["version"]]
    assert set(versions) == {__version__}
    assert f"## {__version__}" in (ROOT / "CHANGELOG.md").read_text()


def test_the_registry_entry_is_valid_and_the_readme_owns_it() -> None:
    schema = json.loads((ROOT / "tests" / "data" / "server.schema.json").read_text())
    assert schema["$id"] == SERVER["$schema"]
    jsonschema.validators.validator_for(schema)(schema).validate(SERVER)
    assert f"<!-- mcp-name: {SERVER['name']} -->" in (ROOT / "README.md").read_text()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert [package["identifier"] for package in SERVER["packages"]] == [project["name"]]


def test_every_link_of_the_readme_on_pypi_leads_to_the_repository() -> None:
    hook = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["metadata"]["hooks"]
    text = (ROOT / "README.md").read_text()
    for each in hook["fancy-pypi-readme"]["substitutions"]:
        text, made = re.subn(each["pattern"], each["replacement"], text)
        assert made
    assert [link for link in re.findall(r"\]\(([^)]*)\)", text) if not link.startswith("https://")] == []
    assert f"]({SERVER['repository']['url']}/blob/main/docs/start.md)" in text


def test_the_variables_of_the_packages_are_the_commands_own(tmp_path: Path) -> None:
    registry = {v["name"] for package in SERVER["packages"] for v in package["environmentVariables"]}
    bundle = {name for name in MANIFEST["server"]["mcp_config"]["env"] if name.startswith("WAHA_")}
    known = {"WAHA_URL", "WAHA_API_KEY", *(f"WAHA_{field.upper()}" for field in App.model_fields)}
    assert registry | bundle <= known
    assert MANIFEST["user_config"]["waha_api_key"]["sensitive"] is True


def test_the_sandbox_is_a_small_part_and_brings_no_dependency() -> None:
    package = ROOT / "waha_mcp"
    lines, sizes = Counter[bool](), Counter[bool]()
    for path in package.rglob("*"):
        if path.suffix in (".py", ".json", ".css", ".js", ".html", ".sql"):
            inside, data = path.is_relative_to(package / "sandbox"), path.read_bytes()
            sizes[inside] += len(zlib.compress(data))
            lines[inside] += data.count(b"\n") if path.suffix == ".py" else 0
    assert lines[True] < lines.total() / 5
    assert sizes[True] < min(sizes.total() / 5, 150_000)
    used = {each.imported for each in rooms.imports(ROOT) if not each.ours and each.importer.startswith("sandbox")}
    others = {
        each.imported for each in rooms.imports(ROOT) if not each.ours and not each.importer.startswith("sandbox")
    }
    assert used - others - set(sys.stdlib_module_names) <= {"jsonschema"}  # the MCP SDK asks for it
    assert any(each.startswith("jsonschema") for each in requires("mcp") or ())


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    script = ROOT / "scripts" / "mcpb.py"
    done = subprocess.run([sys.executable, str(script), str(tmp_path)], capture_output=True, text=True, check=True)
    return Path(done.stdout.strip())


def test_the_bundle_holds_what_it_launches_and_nothing_else(bundle: Path) -> None:
    with zipfile.ZipFile(bundle) as archive:
        names = archive.namelist()
        assert json.loads(archive.read("manifest.json")) == MANIFEST
    assert names[0] == "manifest.json"
    assert MANIFEST["server"]["entry_point"] in names
    assert "waha_mcp/sandbox/contract.json" in names
    assert {name.partition("/")[0] for name in names} == {
        "manifest.json", "pyproject.toml", "README.md", "LICENSE", "waha_mcp",
    }  # fmt: skip
    assert not [name for name in names if "__pycache__" in name]


def test_the_bundle_is_the_same_every_time(bundle: Path, tmp_path: Path) -> None:
    script = ROOT / "scripts" / "mcpb.py"
    subprocess.run([sys.executable, str(script), str(tmp_path / "again")], capture_output=True, check=True)
    assert (tmp_path / "again" / bundle.name).read_bytes() == bundle.read_bytes()


def test_the_bundles_source_runs_as_it_is_launched(bundle: Path, tmp_path: Path) -> None:
    """Like uv after it has installed the dependencies: with the unpacked folder as the project."""
    with zipfile.ZipFile(bundle) as archive:
        archive.extractall(tmp_path / "unpacked")
    done = subprocess.run(
        [COMMAND[0], str(tmp_path / "unpacked" / MANIFEST["server"]["entry_point"]), "--version"],
        cwd=tmp_path,
        env=environment(PYTHONPATH=str(tmp_path / "unpacked")),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"waha-mcp {__version__}\n"


def test_python_keeps_the_bytecode_of_the_bundle_whatever_the_hosts_environment_says(
    bundle: Path, tmp_path: Path
) -> None:
    """Otherwise uv would compile the whole environment before the first start, and check it before each later one."""
    with zipfile.ZipFile(bundle) as archive:
        archive.extractall(tmp_path / "unpacked")
    given = {k: v for k, v in MANIFEST["server"]["mcp_config"]["env"].items() if not v.startswith("${")}
    folder = str(tmp_path / "unpacked")
    done = subprocess.run(
        [COMMAND[0], "-m", "waha_mcp", "--version"],
        cwd=tmp_path,
        env=environment(PYTHONPATH=folder, PYTHONDONTWRITEBYTECODE="1") | given,
        capture_output=True,
        check=True,
    )
    assert done.stderr == b""
    assert list((tmp_path / "unpacked" / "waha_mcp" / "cli").glob("__pycache__/*.pyc"))


@pytest.mark.parametrize(
    ("words", "offered"),
    [("waha-mcp install cu", "cursor"), ("waha-mcp do", "doctor"), ("waha-mcp apps rem", "remove")],
)
def test_the_shell_completes_commands_and_hosts(words: str, offered: str) -> None:
    env = {"_WAHA_MCP_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(len(words.split()) - 1)}
    assert run(env=env).stdout.split() == [offered]
