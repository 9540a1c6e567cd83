"""Draw the pictures of the documents: docs/demo.svg, what `waha-mcp demo` prints, and docs/approvals.png, the page.

python -m scripts.picture

Both are drawn of what runs, at a fixed time, so that they change with what they show and with nothing else. The page
needs Chromium; fonts differ between machines, so its picture holds what it was drawn from (see `drawn_from`).
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
import os
import pty
import queue
import re
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

from anyio.from_thread import start_blocking_portal
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from rich.console import Console
from rich.text import Text

from tests.clock import CLOCK, ZONE
from tests.console.browser import browser, missing
from waha_mcp.console import approvals_page
from waha_mcp.policy.approval import Entry
from waha_mcp.policy.question import Question
from waha_mcp.tools.catalog import CATALOG
from waha_mcp.tools.toolsets import load_tools

ROOT = Path(__file__).resolve().parent.parent
DEMO, APPROVALS = ROOT / "docs" / "demo.svg", ROOT / "docs" / "approvals.png"
#: The source of the page.
PAGE = Path(approvals_page.__file__).with_name("approvals_page.html")
#: Columns of the terminal.
WIDTH = 108
#: The names of the texts in the PNG: a digest, and the words that it shows.
DRAWN_FROM, SHOWS = "drawn from", "shows"


def main() -> None:
    DEMO.write_text(demo(), encoding="utf-8")
    if missing():
        sys.exit(f"{APPROVALS.name} is left as it was: {missing()}")
    APPROVALS.write_bytes(approvals())


def demo() -> str:
    """The SVG of the demo, without the configuration entry at its end, which has this machine's paths."""
    printed = in_a_terminal([sys.executable, "-m", "waha_mcp", "demo"]).partition("\n{")[0]
    text = Text.from_ansi(re.sub(r"(http://127\.0\.0\.1):\d+", r"\1:3000", printed).strip())
    console = Console(record=True, width=WIDTH, file=io.StringIO())
    # An empty line at the end: the picture cuts off what goes below the last one.
    console.print(Text("$ waha-mcp demo\n\n", style="bold"), text, "\n", sep="")
    drawn = console.export_svg(title="waha-mcp demo", unique_id="demo")
    # Rich's font would come from another host.
    return re.sub(r"\n *@font-face \{.*?\}", "", drawn, flags=re.DOTALL)


def in_a_terminal(command: list[str]) -> str:
    """What a command prints at the fixed time, in a terminal of `WIDTH` columns."""
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 50, WIDTH, 0, 0))
    with tempfile.TemporaryDirectory() as folder:
        # Python runs it at each start, also of the processes that the command starts.
        Path(folder, "sitecustomize.py").write_text(CLOCK, encoding="utf-8")
        env = {name: value for name, value in os.environ.items() if not name.startswith("WAHA_") and name != "COLUMNS"}
        env |= ZONE | {"TERM": "xterm-256color", "PYTHONUTF8": "1", "XDG_STATE_HOME": folder, "XDG_CONFIG_HOME": folder}
        # So that commands stand there as they are typed.
        env["PATH"] = os.pathsep.join([os.path.dirname(sys.executable), env["PATH"]])
        env["PYTHONPATH"] = os.pathsep.join([folder, str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        with os.fdopen(its, "wb") as screen:
            process = subprocess.Popen(command, stdout=screen, env=env)  # noqa: S603
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
    return printed.decode().replace("\r\n", "\n")


def questions() -> list[Entry]:
    """What waits in the picture of the page."""
    load_tools()
    maya, group, stranger = (
        "Maya Lindqvist (+447700900142)",
        "the group “Sunday Hikers” (120363000000000000@g.us), 9 members",
        "+12025550182, who calls themselves “Swift Parcels”",
    )
    asked = {
        "send_text": ((maya,), {"text": "The quote is 1,240 for both rooms, paint included.\nShall I book the 14th?"}),
        "add_participants": ((group, stranger), {"group": group, "people": stranger}),
    }
    return [
        Entry(
            hashlib.sha256(tool.encode()).hexdigest()[:12],
            "waiting",
            0,
            1795710900,
            Question(
                app="assistant",
                tool=tool,
                title=CATALOG[tool].title,
                recipients=recipients,
                content=content,
                digest=tool,
                expires=1795710900,
                why=("the App asks before whatever reaches somebody",),
                open_to={"447700900142@c.us": maya} if tool == "send_text" else {},
            ),
        )
        for tool, (recipients, content) in asked.items()
    ]


def approvals() -> bytes:
    """The PNG of the page, as a browser shows it on this machine."""
    announced: queue.Queue[str] = queue.Queue()
    with (
        in_its_zone(),
        mock.patch.object(approvals_page, "waiting", questions),
        start_blocking_portal() as portal,
        tempfile.TemporaryDirectory() as profile,
    ):
        page = portal.start_task_soon(approvals_page.serve_approvals, 0, announced.put)
        try:
            with browser(Path(profile)) as window:
                window.open(announced.get(timeout=30))
                window.wait_for("add_participants")
                window.fit()
                shown, picture = window.text(), Image.open(io.BytesIO(window.screenshot())).convert("RGB")
        finally:
            page.cancel()
        texts = PngInfo()
        texts.add_text(DRAWN_FROM, drawn_from())
        texts.add_itxt(SHOWS, shown)
    written = io.BytesIO()
    picture.quantize(64).save(written, "PNG", pnginfo=texts, optimize=True)
    return written.getvalue()


def drawn_from() -> str:
    """The SHA-256 of all that decides how the page looks: its source, and the questions as it gets them."""
    with in_its_zone():
        got = [approvals_page._shown(entry) for entry in questions()]
    return hashlib.sha256(PAGE.read_bytes() + json.dumps(got, sort_keys=True).encode()).hexdigest()


@contextmanager
def in_its_zone() -> Iterator[None]:
    """Run the block in the time zone of the pictures."""
    try:
        with mock.patch.dict(os.environ, ZONE):
            time.tzset()
            yield
    finally:
        time.tzset()


if __name__ == "__main__":
    main()
