"""Shared by tests, other than fixtures: creating keys, running the command line, and clients for it."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, contextmanager
from datetime import UTC
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote

import httpx
from mcp import Client, StdioServerParameters
from mcp.server.lowlevel import Server
from pydantic import SecretStr

from waha_mcp.app.actions import Action
from waha_mcp.app.definition import App
from waha_mcp.app.policy_fields import Pace
from waha_mcp.policy.approval import Approvals
from waha_mcp.sandbox import SandboxInfo
from waha_mcp.store import Store
from waha_mcp.store.folders import user_store
from waha_mcp.store.sqlite import Sqlite
from waha_mcp.tools.presenting import View, present, with_references
from waha_mcp.waha.models import Result
from waha_mcp.whatsapp.ids import phone_of

Era = Literal["auto", "legacy"]
#: No limits of pace.
NO_PACE = Pace(total="", chat="", first_contacts="", gap=(0.0, 0.0))
#: The same in an App file.
NO_PACE_TEXT = '[pace]\ntotal = ""\nchat = ""\nfirst_contacts = ""\ngap = [0, 0]\n'

#: The protocol eras: `auto` opens with server/discover (2026-07-28), `legacy` with initialize.
ERAS: tuple[Era, Era] = ("auto", "legacy")

COMMAND = [sys.executable, "-m", "waha_mcp"]


def environment(**values: str) -> dict[str, str]:
    """This process's environment without any App, plus `values`."""
    return {k: v for k, v in os.environ.items() if not k.startswith("WAHA_")} | values


def app_for(sandbox: SandboxInfo, key: str, **fields: Any) -> App:
    """An App on the sandbox, without limits of pace unless some are given."""
    return App(url=sandbox.url, key=SecretStr(key), **{"pace": NO_PACE} | fields)


#: Stores that a test has opened, closed at its end.
OPENED: list[Store] = []


def opened_store() -> Sqlite:
    """The user's store, opened a second time beside the code under test."""
    store = user_store()
    assert isinstance(store, Sqlite)
    OPENED.append(store)
    return store


def approvals_of(app_id: str) -> Approvals:
    """An App's questions, as another process opens them."""
    return Approvals(app_id, opened_store())


def stdio_client(
    sandbox: SandboxInfo, key: str, *arguments: str, era: Era = "auto", first: str = "", **env: str
) -> AbstractAsyncContextManager[Client]:
    """A client on a `waha-mcp serve` subprocess, which runs the Python lines `first` before anything else."""
    values = environment(WAHA_URL=sandbox.url, WAHA_API_KEY=key, **env)
    command, *rest = command_after(first)
    return Client(StdioServerParameters(command=command, args=[*rest, "serve", *arguments], env=values), mode=era)


def command_after(first: str) -> list[str]:
    """`waha-mcp`, once it has run the Python lines `first`, for example to shorten time-outs."""
    return [sys.executable, "-c", f"{first}from waha_mcp.__main__ import main\nmain()"] if first else COMMAND


def memory_client(server: Server[Any], era: Era) -> AbstractAsyncContextManager[Client]:
    """A client on a server in this process."""
    return Client(server, mode=era, raise_exceptions=True)


def run(
    *arguments: str,
    env: Mapping[str, str] | None = None,
    stdin: str = "",
    timeout: float = 60,
    cwd: Path | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run `waha-mcp` to its end."""
    return subprocess.run(
        [*COMMAND, *arguments],
        env=environment(**(env or {})),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        cwd=cwd,
    )


@contextmanager
def sandbox_server(*arguments: str, first: str = "") -> Iterator[SandboxInfo]:
    """A `waha-mcp sandbox` in a separate process, which runs the Python lines `first` before anything else."""
    process = subprocess.Popen(
        [*command_after(first), "sandbox", "--port", "0", "--json", *arguments],
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    assert process.stdout is not None
    try:
        yield SandboxInfo(**json.loads(process.stdout.readline()))
    finally:
        process.terminate()
        process.communicate(timeout=10)


def with_buttons(*labels: str) -> dict[str, Any]:
    """`raw` of a message to `/sandbox/messages`: buttons with these labels, as any of the engines has them.

    The id of each is its label in lower case, without blanks.
    """
    buttons = [(label, label.lower().replace(" ", "")) for label in labels]
    baileys = [{"buttonId": key, "buttonText": {"displayText": label}, "type": 1} for label, key in buttons]
    whatsmeow = [{"buttonID": key, "buttonText": {"displayText": label}, "type": 1} for label, key in buttons]
    return {
        "message": {"buttonsMessage": {"contentText": "Well?", "buttons": baileys}},
        "Message": {"buttonsMessage": {"contentText": "Well?", "buttons": whatsmeow}},
        "dynamicReplyButtons": baileys,
    }


class Admin:
    """Admin access to a sandbox: keys, apps, faults and the request log."""

    def __init__(self, sandbox: SandboxInfo) -> None:
        self._sandbox = sandbox
        # Loading certificates, which plain HTTP does not need, would take longer than most tests.
        self._http = httpx.AsyncClient(
            base_url=sandbox.url, headers={"X-Api-Key": sandbox.admin_key}, timeout=30, verify=False
        )

    async def aclose(self) -> None:
        await self._http.aclose()

    async def request(self, method: str, path: str, body: Any = None) -> Any:
        answer = await self._http.request(method, path, json=body)
        answer.raise_for_status()
        if "json" not in answer.headers.get("content-type", ""):
            return answer.text or None
        return answer.json()

    async def mint(self, actions: Iterable[Action] | None) -> dict[str, Any]:
        """A new session key with exactly these actions (None: WAHA's null): `{"id", "key", ...}`."""
        flags = None if actions is None else {action.value: True for action in actions}
        body = {"isAdmin": False, "session": self._sandbox.session, "isActive": True, "actions": flags}
        created: dict[str, Any] = await self.request("POST", "/api/keys", body)
        return created

    async def change_key(self, key: Mapping[str, Any], **changes: Any) -> None:
        body = {name: key[name] for name in ("isAdmin", "session", "isActive", "actions")} | changes
        await self.request("PUT", f"/api/keys/{key['id']}", body)

    async def fault(self, path: str, **what: Any) -> None:
        await self.request("POST", "/sandbox/faults", {"path": path, "count": 1} | what)

    async def requests(self) -> list[dict[str, Any]]:
        """The requests since the log was cleared, without the admin's own and those that open a WebSocket."""
        seen = await self.request("GET", "/sandbox/requests")
        return [r for r in seen if not r["path"].startswith(("/sandbox/", "/ws"))]

    async def performed(self, path: str) -> list[dict[str, Any]]:
        """The requests that WAHA has carried out whose path starts with this or matches the glob; see `settle`."""
        glob = path if "*" in path else f"{path}*"
        return [
            r for r in await self.requests() if r["performed"] is not None and fnmatchcase(unquote(r["path"]), glob)
        ]

    async def settle(self) -> None:
        """Let pending work on WAHA's side (late work, acknowledgements, an answer) finish now."""
        await self.request("POST", "/sandbox/settle")

    async def clear(self) -> None:
        await self.request("DELETE", "/sandbox/requests")


def texts(result: Any) -> str:
    """The text content of a tool result."""
    return "\n".join(block.text for block in result.content if block.type == "text")


def payload(result: Any) -> dict[str, Any]:
    """The JSON of a successful result: its text, which has no structured content beside it."""
    assert not result.is_error, texts(result)
    content: dict[str, Any] = json.loads(texts(result))
    assert result.structured_content is None
    return content


class Strangers:
    """The `People` of answers when nobody is known."""

    def canonical(self, chat_id: str) -> str:
        return chat_id

    def saved_name(self, chat_id: str) -> str | None:
        return None

    def handle(self, chat_id: str) -> str | None:
        return phone_of(chat_id) or chat_id


def worded(result: Result, *, full: bool = False) -> dict[str, Any]:
    """The answer for a result when nobody is known, with long ids."""
    view = View(Strangers(), UTC, full=full)
    worded: dict[str, Any] = with_references(present(result, view), str)
    return worded


@contextmanager
def own_logging() -> Iterator[None]:
    """Restores what `configure_logging` changes in this process; pytest's own handlers are set aside, and stay open."""
    root, ours, hook = logging.getLogger(), logging.getLogger("waha_mcp"), sys.excepthook
    handlers, level, our_level = root.handlers[:], root.level, ours.level
    root.handlers[:] = []
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        ours.setLevel(our_level)
        sys.excepthook = hook
