"""A host in a home of its own, on an App that `waha-mcp init` made at a sandbox, and one day of its agent.

The day is one session: its scenario is every line of the page in turn. What came of each is read from what the host
posted to its model and from WAHA's own log.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from tests.attacks.judge import Judge
from tests.harness import command_after, sandbox_server
from tests.hosts_real import packages
from tests.hosts_real.hosts import Host, Place
from tests.hosts_real.model import Call, Model, serving
from tests.hosts_real.wires import Attachment, Offered, Shown
from waha_mcp.sandbox import SandboxInfo

ROOT = Path(__file__).parents[2]
#: Chats of the sandbox: one to write to, one who sends a picture and is written to after a yes, one that is denied.
SAM, MAYA, DAD = "12025550123@c.us", "447700900142@c.us", "12025550101@c.us"
POLICY = f"""
[pace]
total = ""
chat = ""
first_contacts = ""
gap = [0, 0]

[chats.send]
allow = ["{SAM}"]
ask = ["{MAYA}"]
deny = ["{DAD}"]
"""
#: Tools that the day needs.
TOOLS = ("list_chats", "get_messages", "get_media", "send_text")
#: Seconds that a host's whole session may take.
PATIENCE = 180

#: Texts that the agent sends.
TO_SAM, TO_MAYA, TO_DAD = "Friday works, I bring the tent", "The plan looks right to me", "Not to be sent"


@dataclass(frozen=True)
class Media:
    """A message of the account with a file."""

    message: str
    data: bytes


@dataclass(frozen=True)
class Day:
    """What a session came to. `results`: by the step's name, as the model saw them; None where it got not so far."""

    listing: str
    #: What the listing says of a server that the host accepts.
    accepted: str
    said: str
    code: int
    results: Mapping[str, Shown | None]
    attachments: list[Attachment]
    offered: dict[str, Offered]
    #: Our tools that the first request names at all.
    first_named: set[str]
    #: The tools at the end, after the key was narrowed.
    offered_last: dict[str, Offered]
    missing: list[str]
    aside: list[str]
    outward: list[str]
    delivered: Mapping[str, int]
    picture: Media
    voice: Media
    version: str
    seconds: float
    requests: list[dict[str, Any]]


class Desk:
    """A user's machine: a home with the App and the host's configuration, the sandbox and the model beside it."""

    def __init__(self, host: Host, home: Path, sandbox: SandboxInfo, model: Model) -> None:
        self.host, self.home, self.sandbox, self.model = host, home, sandbox, model
        self.place = Place(home, model.url)
        self.judge = Judge(sandbox)
        self.programs = packages.package(host.package, host.version)
        self.version = packages.installed_version(self.programs, host.package)
        self.command = self._command()
        host.prepare(self.place)
        at = ("--url", sandbox.url, "--admin-key-file", "-")
        self.waha_mcp("init", *at, "--yes", "--actions", "reply", "--install", "none", stdin=sandbox.admin_key)
        app = home / ".config" / "waha-mcp" / "assistant.toml"
        app.write_text(app.read_text(encoding="utf-8") + POLICY, encoding="utf-8")
        self.waha_mcp("install", host.name)
        host.finish(self.place)

    def _command(self) -> list[str]:
        """`waha-mcp` that installs a launcher of this checkout: hosts pass PYTHONPATH on to nobody."""
        launcher = self.home / "bin" / "waha-mcp"
        launcher.parent.mkdir()
        launcher.write_text(f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec "{sys.executable}" -m waha_mcp "$@"\n')
        launcher.chmod(0o755)
        return command_after(f"import sys\nsys.executable = {str(launcher.with_name('python'))!r}\n")

    def environment(self, **values: str) -> dict[str, str]:
        """What a user's login gives every program, and nothing of this process's own."""
        path = os.pathsep.join(map(str, (self.programs, packages.node(), "/usr/bin", "/bin")))
        keyring = "keyring.backends.null.Keyring"
        return {
            "HOME": str(self.home),
            "PATH": path,
            "LANG": "C.UTF-8",
            "TERM": "dumb",
            "PYTHON_KEYRING_BACKEND": keyring,
        } | values

    def waha_mcp(self, *arguments: str, stdin: str = "") -> str:
        done = subprocess.run(
            [*self.command, *arguments],
            env=self.environment(PYTHONPATH=str(ROOT)),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the host to its end."""
        proxy = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), self.model.url)
        local = dict.fromkeys(("NO_PROXY", "no_proxy"), "127.0.0.1,localhost")
        work = self.home / "work"
        work.mkdir(exist_ok=True)
        return subprocess.run(
            [self.host.program, *arguments],
            executable=str(self.programs / self.host.program),
            env=self.environment(**proxy, **local, **self.host.environment(self.place)),
            cwd=work,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )

    def media(self, chat: str, type_: str) -> Media:
        """The newest message of a chat with a file of this type, from another person."""
        rows = self.judge.get(f"/api/default/chats/{chat}/messages?limit=1000&downloadMedia=true")
        with_files = [r for r in rows if not r["fromMe"] and r.get("media") and r["media"]["url"]]
        row = max((r for r in with_files if r["media"]["mimetype"].startswith(type_)), key=lambda r: r["timestamp"])
        path = urlsplit(row["media"]["url"]).path
        answer = httpx.get(f"{self.sandbox.url}{path}", headers={"X-Api-Key": self.sandbox.admin_key})
        return Media(row["id"], answer.raise_for_status().content)

    def approve(self) -> None:
        """What a person does in a terminal: look what waits, and approve it."""
        for entry in json.loads(self.waha_mcp("approvals", "--json")):
            self.waha_mcp("approve", entry["id"], "--yes")

    def narrow(self) -> None:
        """An admin takes `send` away from the App's key."""
        [app] = [a for a in self.judge.get("/api/apps?session=default") if a["id"] == "assistant"]
        app["config"]["actions"]["send"] = False
        self.judge.ask("PUT", f"/api/apps/{app['id']}", app)

    def day(self) -> Day:
        listing = self.run(*self.host.listing)
        picture, voice = self.media(MAYA, "image/"), self.media(SAM, "audio/")
        steps = {
            "list": Call("list_chats", {"limit": 10}),
            "read": Call("get_messages", {"chat": "Sam Okafor", "limit": 10}),
            "picture": Call("get_media", {"message_id": picture.message}),
            "voice": Call("get_media", {"message_id": voice.message}),
            "send": Call("send_text", {"chat": "Sam Okafor", "text": TO_SAM}),
            "refused": Call("send_text", {"chat": DAD, "text": TO_DAD}),
            "asked": Call("send_text", {"chat": "Maya Lindqvist", "text": TO_MAYA}),
            "approved": Call("send_text", {"chat": "Maya Lindqvist", "text": TO_MAYA}, before=self.approve),
            "revoked": Call("send_text", {"chat": "Sam Okafor", "text": "Too late"}, before=self.narrow),
            "after": Call("list_chats", {"limit": 3}),
        }
        if (search := self.host.search) and search.through:
            steps["sought"] = Call(search.tool, search.arguments("send_text"))
        self.model.play(*steps.values(), search=search)
        began = time.monotonic()
        done = self.run(*self.host.prompt("What is new on WhatsApp?"))
        seconds = time.monotonic() - began
        turns = self.model.turns
        results = dict(zip(steps, turns[-1].results if turns else [], strict=False))
        return Day(
            listing=listing.stdout + listing.stderr,
            accepted=self.host.accepts,
            said=done.stdout + done.stderr,
            code=done.returncode,
            results={name: results.get(name) for name in steps},
            attachments=turns[-1].attachments if turns else [],
            offered={name: tool for turn in turns for name, tool in turn.tools.items()},
            first_named={tool for tool in TOOLS if turns and tool in json.dumps(turns[0].body)},
            offered_last=turns[-1].tools if turns else {},
            missing=list(self.model.missing),
            aside=list(self.model.aside),
            outward=list(self.model.outward),
            delivered={
                text: self.judge.delivered(chat, text)
                for chat, text in ((SAM, TO_SAM), (MAYA, TO_MAYA), (DAD, TO_DAD), (SAM, "Too late"))
            },
            picture=picture,
            voice=voice,
            version=self.version,
            seconds=seconds,
            requests=[turn.body for turn in turns],
        )


@contextmanager
def desk(host: Host, home: Path) -> Iterator[Desk]:
    """A desk with this host.

    Raises:
        NotInstalled: the host could not be installed.
    """
    packages.package(host.package, host.version)
    with sandbox_server() as sandbox, serving() as model:
        made = Desk(host, home, sandbox, model)
        try:
            yield made
        finally:
            made.judge.close()
