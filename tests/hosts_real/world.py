"""A host in a separate home folder, on an App that `waha-mcp init` made at a sandbox, and a day of its agent.

The day is two sessions, each a scenario: one with questions put at the console and the App's key in the user's
environment, and one with everything else. The result of each step is read from what the host posted to its model and
from WAHA's own log.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from tests.attacks.judge import Judge
from tests.harness import command_after, sandbox_server
from tests.hosts_real import packages
from tests.hosts_real.hosts import Host, Place
from tests.hosts_real.model import Call, Model, Turn, serving
from tests.hosts_real.wires import Attachment, Offered, Shown
from waha_mcp.hosts.table import HOSTS as INSTALLS
from waha_mcp.sandbox import SandboxInfo
from waha_mcp.tools.catalog import CATALOG
from waha_mcp.tools.toolsets import load_tools

load_tools()

ROOT = Path(__file__).parents[2]
#: Chats of the sandbox: two to write to, one who sends a picture and is written to after a yes, one that is denied.
SAM, PRIYA, MAYA, DAD = "12025550123@c.us", "447700900177@c.us", "447700900142@c.us", "12025550101@c.us"
POLICY = f"""
[pace]
total = ""
chat = ""
first_contacts = ""
gap = [0, 0]

[chats.send]
allow = ["{SAM}", "{PRIYA}"]
ask = ["{MAYA}"]
deny = ["{DAD}"]
"""
AT_THE_CONSOLE = """
[approval]
when = "never"
ask_at = "console"
"""
#: Texts that the agent is to send: once, after an approval, after an approval at the console, to a denied chat, and
#: without the action.
ONCE, AFTER_YES, AFTER_CONSOLE = "Friday works for me", "The plan looks right to me", "See you at the station"
DENIED, TOO_LATE = "Not to be sent", "Too late to be sent"
#: The most seconds that a host's whole session may take.
PATIENCE = 180


@dataclass(frozen=True)
class Media:
    """A message of the account with a file."""

    message: str
    data: bytes = field(repr=False)


@dataclass(frozen=True)
class Session:
    """One run of a host. `results`: by the step's name, as the model saw them; None where it did not get that far."""

    results: Mapping[str, Shown | None] = field(repr=False)
    turns: list[Turn] = field(repr=False)
    #: What the host printed, and its exit code.
    said: str
    code: int
    #: Tools that were not offered when they were to be called.
    missing: list[str]
    #: Requests to the service outside the conversation, and outgoing connections that the host tried.
    aside: list[str]
    outward: list[str]
    seconds: float

    @property
    def attachments(self) -> list[Attachment]:
        """Every picture and sound that the model has got."""
        return self.turns[-1].attachments if self.turns else []

    @property
    def texts(self) -> str:
        """Every text of the last request."""
        return "\n".join(_strings(self.turns[-1].body)) if self.turns else ""


@dataclass(frozen=True)
class Day:
    """The results of a day."""

    version: str
    #: What the host's listing printed, and what it prints about a server that it accepts.
    listing: str
    accepted: str
    console: Session
    main: Session
    #: Our tools as the model of the main session saw them: names, descriptions, properties.
    tools: str = field(repr=False)
    #: How often each text was delivered, at the end and before somebody said yes.
    delivered: Mapping[str, int]
    before_yes: int
    picture: Media
    voice: Media


class Desk:
    """A user's machine: a home with the App and the host's configuration, the sandbox and the model beside it."""

    def __init__(self, host: Host, home: Path, sandbox: SandboxInfo, model: Model) -> None:
        self.host, self.home, self.sandbox, self.model = host, home, sandbox, model
        self.place = Place(home, model.url)
        self.judge = Judge(sandbox)
        self.programs = packages.package(host.package, host.version)
        self.command = self._command()
        host.prepare(self.place)
        at = ("--url", sandbox.url, "--admin-key-file", "-")
        self.waha_mcp("init", *at, "--yes", "--actions", "reply", "--install", "none", stdin=sandbox.admin_key)
        self.app = home / ".config" / "waha-mcp" / "assistant.toml"
        self.made = self.app.read_text(encoding="utf-8")
        self.install()
        self.before_yes = 0

    def install(self, *arguments: str) -> None:
        """Put the App into the host's file, with the offers that it needs."""
        offers = [word for name in self.host.offers for word in ("--with", name)]
        self.waha_mcp("install", self.host.install or self.host.name, *offers, *arguments)

    def entry(self) -> str:
        """The host's file."""
        place = {"HOME": str(self.home)}
        return INSTALLS[self.host.install or self.host.name].file(environ=place).read_text(encoding="utf-8")

    def _command(self) -> list[str]:
        """`waha-mcp` that installs a launcher of this checkout: no host passes PYTHONPATH on."""
        launcher = self.home / "bin" / "waha-mcp"
        launcher.parent.mkdir()
        launcher.write_text(f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec "{sys.executable}" -m waha_mcp "$@"\n')
        launcher.chmod(0o755)
        return command_after(f"import sys\nsys.executable = {str(launcher.with_name('python'))!r}\n")

    def environment(self, **values: str) -> dict[str, str]:
        """What a user's login gives every program, without this process's own variables."""
        return {
            "HOME": str(self.home),
            "PATH": os.pathsep.join(map(str, (self.programs, packages.node(), "/usr/bin", "/bin"))),
            "LANG": "C.UTF-8",
            "TERM": "dumb",
            "PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring",
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

    def run(self, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Run the host to its end, with these variables besides its own."""
        proxy = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), self.model.url)
        local = dict.fromkeys(("NO_PROXY", "no_proxy"), "127.0.0.1,localhost")
        work = self.home / "work"
        work.mkdir(exist_ok=True)
        try:
            return subprocess.run(
                [self.host.program, *arguments],
                executable=str(self.programs / self.host.program),
                env=self.environment(**proxy, **local, **self.host.environment(self.place), **env),
                cwd=work,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=PATIENCE,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            said = [(each or b"").decode(errors="replace") for each in (error.stdout, error.stderr)]
            return subprocess.CompletedProcess(error.cmd, -1, said[0], f"{said[1]}\nIt did not end in {PATIENCE} s.")

    def media(self, chat: str, type_: str) -> Media:
        """The newest message of a chat with a file of this type, from another person."""
        rows = self.judge.get(f"/api/default/chats/{chat}/messages?limit=1000&downloadMedia=true")
        with_files = [r for r in rows if not r["fromMe"] and r.get("media") and r["media"]["url"]]
        row = max((r for r in with_files if r["media"]["mimetype"].startswith(type_)), key=lambda r: r["timestamp"])
        path = urlsplit(row["media"]["url"]).path
        answer = httpx.get(f"{self.sandbox.url}{path}", headers={"X-Api-Key": self.sandbox.admin_key})
        return Media(row["id"], answer.raise_for_status().content)

    def approve(self, text: str) -> None:
        """What a person does in a terminal: list the waiting questions, and approve one."""
        self.before_yes += self.delivered(MAYA, text)
        for entry in json.loads(self.waha_mcp("approvals", "--json")):
            self.waha_mcp("approve", entry["id"], "--yes")

    def narrow(self) -> None:
        """An admin takes `send` away from the App's key."""
        [app] = [a for a in self.judge.get("/api/apps?session=default") if a["id"] == "assistant"]
        app["config"]["actions"]["send"] = False
        self.judge.ask("PUT", f"/api/apps/{app['id']}", app)

    def delivered(self, chat: str, text: str) -> int:
        return self.judge.delivered(chat, text)

    def key_in_environment(self, steps: Mapping[str, Call], settings: str) -> Session:
        """A session in which the App's key is in the user's environment alone."""
        made, file = self.made, self.app.with_suffix(".key")
        self.made = made.replace(f'{{file = "{file.name}"}}', '{env = "WAHA_API_KEY"}')
        assert self.made != made
        self.app.write_text(self.made, encoding="utf-8")
        self.install()
        try:
            return self.session(steps, settings, WAHA_API_KEY=file.read_text(encoding="utf-8").strip())
        finally:
            self.made = made
            self.app.write_text(made, encoding="utf-8")
            self.install()

    def session(self, steps: Mapping[str, Call], settings: str = "", **env: str) -> Session:
        """Let the host make these calls, under these settings of the App beside the policy."""
        self.app.write_text(self.made + POLICY + settings, encoding="utf-8")
        self.model.play(*steps.values(), search=self.host.search, through=self.host.through)
        began = time.monotonic()
        done = self.run(*self.host.prompt("What is new on WhatsApp?"), **env)
        model = self.model
        results = model.turns[-1].results if model.turns else []
        return Session(
            results=dict.fromkeys(steps) | dict(zip(steps, results, strict=False)),
            turns=model.turns,
            said=done.stdout + done.stderr,
            code=done.returncode,
            missing=model.missing,
            aside=model.aside,
            outward=model.outward,
            seconds=time.monotonic() - began,
        )

    def listing(self, **env: str) -> str:
        """What the host's listing prints, repeated if it did not wait for the server: Gemini CLI's waits 5 s."""
        said = ""
        for _ in range(3):
            listing = self.run(*self.host.listing, **env)
            said = listing.stdout + listing.stderr
            if self.host.accepts in said:
                break
        return said

    def day(self) -> Day:
        listing = self.listing()
        picture, voice = self.media(MAYA, "image/"), self.media(SAM, "audio/")
        after_console = {"chat": "Maya Lindqvist", "text": AFTER_CONSOLE}
        after_yes = {"chat": "Maya Lindqvist", "text": AFTER_YES}
        too_late = {"chat": "Sam Okafor", "text": TOO_LATE}
        asked = {
            "asked": Call("send_text", after_console),
            "approved": Call("send_text", after_console, before=partial(self.approve, AFTER_CONSOLE)),
        }
        looks = {f"look {n}": call for n, call in enumerate(self.host.through.looks if self.host.through else ())}
        steps = looks | {
            "list": Call("list_chats", {"limit": 10}),
            "read": Call("get_messages", {"chat": "Sam Okafor", "limit": 10}),
            "picture": Call("get_media", {"message_id": picture.message}),
            "voice": Call("get_media", {"message_id": voice.message}),
            "send": Call("send_text", {"chat": "Sam Okafor", "text": ONCE}),
            "refused": Call("send_text", {"chat": DAD, "text": DENIED}),
            "asked": Call("send_text", after_yes),
            "approved": Call("send_text", after_yes, before=partial(self.approve, AFTER_YES)),
            "revoked": Call("send_text", too_late, before=self.narrow),
            "after": Call("list_chats", {"limit": 3}),
            "again": Call("send_text", too_late),
        }
        console = self.key_in_environment(asked, AT_THE_CONSOLE)
        main = self.session(steps)
        looked = [result.text for name in looks if (result := main.results[name])]
        told = "\n".join(looked).replace("\\u003c", "<").replace("\\u003e", ">")  # JSON that is safe in HTML
        return Day(
            version=packages.installed_version(self.programs, self.host.package),
            listing=listing,
            accepted=self.host.accepts,
            console=console,
            main=main,
            tools=told or _told(main.turns),
            delivered={
                text: self.delivered(chat, text)
                for chat, text in (
                    (SAM, ONCE),
                    (MAYA, AFTER_YES),
                    (MAYA, AFTER_CONSOLE),
                    (DAD, DENIED),
                    (SAM, TOO_LATE),
                )
            },
            before_yes=self.before_yes,
            picture=picture,
            voice=voice,
        )


def _told(turns: list[Turn]) -> str:
    """Our tools as requests offer them, each of their texts on a separate line."""
    ours: dict[str, Offered] = {}
    for turn in turns:
        for name in CATALOG:
            if tool := turn.find(name):
                ours[name] = tool
    return "\n".join(line for tool in ours.values() for line in (tool.name, tool.description, *_strings(tool.schema)))


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    for each in value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ():
        yield from _strings(each)


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
