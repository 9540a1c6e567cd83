"""Build the .mcpb bundle that Claude Desktop and other hosts install with a click.

    python scripts/mcpb.py [FOLDER]

It holds the manifest, pyproject.toml and the package's source; the host's uv installs the rest when it first runs. The
same source gives the same bytes.
"""

from __future__ import annotations

import json
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
_FILES = ("pyproject.toml", "README.md", "LICENSE")


def build(folder: Path) -> Path:
    """Write `waha-mcp-<version>.mcpb` into a folder and return its path."""
    manifest = (ROOT / "manifest.json").read_bytes()
    bundle = folder / f"waha-mcp-{json.loads(manifest)['version']}.mcpb"
    folder.mkdir(parents=True, exist_ok=True)
    package = sorted(p for p in (ROOT / "waha_mcp").rglob("*") if p.is_file() and "__pycache__" not in p.parts)
    with zipfile.ZipFile(bundle, "w", zipfile.ZIP_DEFLATED) as archive:
        _add(archive, "manifest.json", manifest)
        for path in [*(ROOT / name for name in _FILES), *package]:
            _add(archive, path.relative_to(ROOT).as_posix(), path.read_bytes())
    return bundle


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    info = zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0))
    info.compress_type = zipfile.ZIP_DEFLATED
    info.external_attr = 0o644 << 16
    archive.writestr(info, content)


if __name__ == "__main__":
    print(build(Path(sys.argv[1] if len(sys.argv) > 1 else "dist")))
