"""Draw what `waha-mcp demo` prints in a terminal as docs/demo.svg, the picture in the README.

python scripts/picture.py
"""

from __future__ import annotations

import io
import os
import pty
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

PICTURE = Path(__file__).resolve().parent.parent / "docs" / "demo.svg"
WIDTH = 108


def main() -> None:
    text = Text.from_ansi(in_a_terminal([sys.executable, "-m", "waha_mcp", "demo"]).strip())
    console = Console(record=True, width=WIDTH, file=io.StringIO())
    console.print(Text("$ waha-mcp demo\n", style="bold"), text, sep="")
    PICTURE.write_text(console.export_svg(title="waha-mcp demo", unique_id="demo"), encoding="utf-8")


def in_a_terminal(command: list[str]) -> str:
    """What a command prints where it may use colors, without the configuration entry at the end."""
    ours, its = pty.openpty()
    with os.fdopen(its, "wb") as screen:
        process = subprocess.Popen(command, stdout=screen, env={**os.environ, "TERM": "xterm-256color"})  # noqa: S603
    printed = bytearray()
    try:
        while chunk := os.read(ours, 4096):
            printed += chunk
    except OSError:
        pass  # Linux says so when the other side is closed
    finally:
        os.close(ours)
    if process.wait():
        sys.exit(process.returncode)
    return printed.decode().replace("\r\n", "\n").partition("\n{")[0]


if __name__ == "__main__":
    main()
