"""Draw the pictures of the documents: docs/demo.svg, what `waha-mcp demo` prints, and docs/console-*.png, the console.

python -m scripts.picture

Both are drawn of what runs, at a fixed time, so that they change with what they show and with nothing else. The console
needs Chromium; fonts differ between machines, so its pictures hold what they were drawn from (see `drawn_from`).
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
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest import mock

import anyio
from anyio.from_thread import start_blocking_portal
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from rich.console import Console
from rich.text import Text

from tests.clock import CLOCK, ZONE
from tests.console.browser import Browser, browser, missing
from waha_mcp.app.actions import Action, Grant
from waha_mcp.app.definition import App
from waha_mcp.app.policy_fields import rates_in
from waha_mcp.console import connections, looking, pages, reach, shell, sight
from waha_mcp.console.looking import SCAN, Look
from waha_mcp.console.server import EVERYTHING, serve_console
from waha_mcp.console.views import VIEWS
from waha_mcp.places import config_dir
from waha_mcp.policy import task_grants
from waha_mcp.policy.approval import Entry
from waha_mcp.policy.audit import trail_file
from waha_mcp.policy.pace import Used
from waha_mcp.policy.question import Question
from waha_mcp.policy.task_grants import TaskGrant
from waha_mcp.store import Store
from waha_mcp.store.attendance import Client, Present
from waha_mcp.tools.catalog import CATALOG
from waha_mcp.tools.toolsets import load_tools

ROOT = Path(__file__).resolve().parent.parent
DEMO = ROOT / "docs" / "demo.svg"
#: The fixed time, in Unix seconds: that of `tests.clock`.
NOW = 1795710000
#: Columns of the terminal.
WIDTH = 108
#: Narrower windows, in CSS pixels, are those of a phone, of which one screen is taken and not the whole page.
PHONE = 500
#: The names of the texts in the PNG: a digest, and the words that it shows.
DRAWN_FROM, SHOWS = "drawn from", "shows"


def main() -> None:
    DEMO.write_text(demo(), encoding="utf-8")
    if missing():
        sys.exit(f"The pictures of the console are left as they were: {missing()}")
    for shot, content in pictures().items():
        shot.path.write_bytes(content)


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
    """What waits in the pictures of the console."""
    load_tools()
    maya, group, stranger = (
        "Maya Lindqvist (+447700900142)",
        "the group “Sunday Hikers” (120363000000000000@g.us), 9 members",
        "+12025550182, who calls themselves “Swift Parcels”",
    )
    quote = (
        "*Quote for both rooms*\n- walls and ceilings: 940\n- paint: 300\n\nTogether _1,240_. Shall I book the 14th?"
    )
    asked: dict[str, dict[str, Any]] = {
        "send_text": {
            "recipients": (maya,),
            "content": {"text": quote, "what reply_to says": "How much would it be with the paint?"},
            "why": ("the App asks before whatever reaches somebody",),
            "open_to": {"447700900142@c.us": maya},
        },
        "add_participants": {
            "recipients": (group, stranger),
            "content": {"group": group, "people": stranger},
            "why": ("first contact: this account is not known to have written to +12025550182",),
        },
    }
    return [
        Entry(
            hashlib.sha256(tool.encode()).hexdigest()[:12],
            "waiting",
            0,
            NOW + 900,
            Question("assistant", tool, CATALOG[tool].title, digest=tool, expires=NOW + 900, **fields),
        )
        for tool, fields in asked.items()
    ]


def trail() -> list[dict[str, Any]]:
    """The lines of the trail in the pictures of the console, oldest first."""
    maya, sam, hikers = "447700900142@c.us", "12025550123@c.us", "120363000000000000@g.us"
    calls: list[tuple[float, str, str, list[str], str, str]] = [
        (5400, "Claude Code 2.1.0", "get_messages", [maya], "allowed", "done"),
        (5340, "Claude Code 2.1.0", "send_text", [maya], "approved", "done"),
        (3600, "Codex 0.80.0", "send_media", [sam], "recipient refused", "refused"),
        (2700, "Claude Code 2.1.0", "send_text", [hikers], "approved", "unknown"),
        (1800, "Claude Code 2.1.0", "send_text", [maya], "allowed by a task grant", "done"),
        (600, "Claude Code 2.1.0", "list_chats", [], "allowed", "done"),
        (60, "Claude Code 2.1.0", "send_text", [maya], "waiting for approval", "waiting"),
    ]
    return [
        {
            "time": datetime.fromtimestamp(NOW - ago, UTC).isoformat(timespec="milliseconds"),
            "call": f"{number:012x}",
            "client": client,
            "tool": tool,
            "chats": chats,
            "decision": decision,
            "outcome": outcome,
            "ms": 120 + 37 * number,
        }
        for number, (ago, client, tool, chats, decision, outcome) in enumerate(calls)
    ]


#: The definitions of the Apps in the pictures of the console, but for their keys.
APPS = {
    "assistant": """
approval = ["first_contact", "destructive"]
chats = { send = { deny = ["channels"] }, read = { deny = ["Dr. Amara Nwosu"] } }
links = { allow = ["example.com"], others = "ask" }
""",
    "notifier": 'session = "shop"\nactions = ["send"]\n[chats.send]\nallow = ["Maya Lindqvist", "+12025550123"]\n',
}


async def look_at(app: App, *_: object) -> Look:
    """What WAHA says of them."""
    known = Look(
        version="2026.9.2", engine="GOWS", seconds=0.009, session=app.session or "default", account="+12025550100"
    )
    if app.id == "notifier":
        return replace(known, state=SCAN, grant=Grant.initial(app.actions), qr="2@" + "waha-mcp " * 16)
    grant = Grant.initial(frozenset({Action.READ, Action.SEND}))
    names = {"447700900142@c.us": "Maya Lindqvist (+447700900142)"}
    return replace(known, state="WORKING", phone="+12025550100", name="Alex Rivers", grant=grant, names=names)


def counts() -> list[Used]:
    """How much of their limits is used."""
    rows = (
        ("in all", "20/minute; 200/hour", (3, 41), None),
        ("first contacts", "2/minute; 10/hour", (0, 9), None),
        ("to one chat", "10/minute; 60/hour", (3, 17), "447700900142@c.us"),
    )
    return [
        Used(what, rate, number, chat)
        for what, rates, numbers, chat in rows
        for rate, number in zip(rates_in(rates), numbers, strict=True)
    ]


def grants(_: Store, app_id: str) -> list[TaskGrant]:
    """The task grants that are open."""
    shown = "Maya Lindqvist (+447700900142)"
    given = TaskGrant("assistant/key", "447700900142@c.us", shown, NOW - 300, NOW - 60, 1_800, 3)
    return [given] if app_id == "assistant" else []


def clients(_: Store, app_id: str) -> list[Present]:
    """The clients that are connected."""
    found = (Client("Claude Code 2.1.0", "stdio", NOW - 5400, NOW), Client("Codex 0.80.0", "stdio", NOW - 3600, NOW))
    return [Present("live", None, (each,)) for each in found] if app_id == "assistant" else []


@dataclass(frozen=True)
class Shot:
    """A picture of a view: how wide its window is in CSS pixels, whether it is dark, and what it waits for."""

    view: str
    width: int
    dark: bool
    shows: str

    @property
    def path(self) -> Path:
        """Where it is kept."""
        kind = "phone" if self.width < PHONE else "dark" if self.dark else "light"
        return ROOT / "docs" / f"console-{self.view}-{kind}.png"


SHOTS = (
    Shot("waiting", 860, False, "add_participants"),
    Shot("waiting", 860, True, "add_participants"),
    Shot("waiting", 390, False, "add_participants"),
    Shot("trail", 860, False, "send_text"),
    Shot("reach", 860, False, "per minute"),
    Shot("connections", 860, False, "reachable"),
)


@contextmanager
def world() -> Iterator[None]:
    """The fixed time, with `questions` and `trail`, for what this process shows."""
    with (
        tempfile.TemporaryDirectory() as state,
        mock.patch.dict(os.environ, {"XDG_STATE_HOME": state, "XDG_CONFIG_HOME": state}),
        in_its_zone(),
        mock.patch.object(sight, "waiting_in", return_value=questions()),
        mock.patch.object(shell, "now_of", return_value=NOW),
        mock.patch.object(looking, "look_at", look_at),
        mock.patch.object(looking, "_LOOKS", looking.Looks()),
        mock.patch.object(reach, "used", return_value=counts()),
        mock.patch.object(task_grants, "in_force", grants),
        mock.patch.object(connections, "present", clients),
    ):
        (folder := config_dir()).mkdir(parents=True)
        for app_id, text in APPS.items():
            path = folder / f"{app_id}.toml"
            path.touch(0o600)
            path.write_text(f'url = "http://localhost:3000"\nkey = "{app_id}"\n{text}')
        for line in trail():
            trail_file("assistant").append(json.dumps(line))
        yield


@contextmanager
def served() -> Iterator[str]:
    """The console in that world; its address."""
    announced: queue.Queue[str] = queue.Queue()
    with world(), start_blocking_portal() as portal:
        page = portal.start_task_soon(serve_console, 0, announced.put)
        try:
            yield announced.get(timeout=30)
        finally:
            page.cancel()


def pictures(shots: Iterable[Shot] = SHOTS) -> dict[Shot, bytes]:
    """The PNGs of the views, as a browser shows them on this machine."""
    with served() as address, tempfile.TemporaryDirectory() as profile, browser(Path(profile)) as window:
        window.before_each_page(f"Date.now = () => {NOW * 1000}")
        return {shot: _taken(shot, window, address) for shot in shots}


def _taken(shot: Shot, window: Browser, address: str) -> bytes:
    window.show_as(shot.width, dark=shot.dark)
    window.command("Emulation.setScrollbarsHidden", {"hidden": True})
    window.open("about:blank")
    window.open(address.replace("/#", f"/{shot.view}#"))
    shown = window.wait_for(shot.shows)
    height = 844 if shot.width < PHONE else window.run("return document.body.offsetHeight")
    window.show_as(shot.width, height, dark=shot.dark)
    picture = Image.open(io.BytesIO(window.screenshot())).convert("RGB")
    texts = PngInfo()
    texts.add_text(DRAWN_FROM, drawn_from(shot))
    texts.add_itxt(SHOWS, shown)
    written = io.BytesIO()
    picture.quantize(128).save(written, "PNG", pnginfo=texts, optimize=True)
    return written.getvalue()


def drawn_from(shot: Shot) -> str:
    """The SHA-256 of all that decides how a view looks: the page with its style and script, and the view's fragment."""
    view = next(view for view in VIEWS if view.name == shot.view)
    with world():
        page = pages.rendered("shell.html", nonce="", base="", app_id="", views=VIEWS)
        fragment = anyio.run(view.render, EVERYTHING, {})
    return hashlib.sha256(f"{shot}{page}{but_hidden(fragment)}".encode()).hexdigest()


def but_hidden(shown: str) -> str:
    """A view without which tools, and how many, it lists as hidden: a new tool needs no new picture."""
    shown = re.sub(r'(<details id="hidden-[^>]*>).*?</details>', r"\1</details>", shown, flags=re.DOTALL)
    return re.sub(r"\b\d+ hidden\b", "hidden", shown)


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
