"""A hijacked agent: a scripted client on a real stdio server, and a look at what WAHA was asked to do."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.harness import COMMAND, environment
from waha_mcp.sandbox import SandboxInfo

#: The only person that the App may write to, one whose chat it may not read, and one whose secret is to be stolen.
FRIEND, SEALED, VICTIM = "12025550123@c.us", "12025550101@c.us", "447700900142@c.us"
#: Who wrote the message that took the agent over.
ATTACKER = "12025550199@c.us"
#: What must not get out.
SECRET = "the door code is 7731-KESTREL"


class Hijacked:
    """One server process, spoken to in bare JSON lines, as an agent that does whatever a message told it."""

    def __init__(self, sandbox: SandboxInfo, app: Path, state: Path) -> None:
        self._admin = httpx.Client(
            base_url=sandbox.url, headers={"X-Api-Key": sandbox.admin_key}, timeout=30, verify=False
        )
        self._process = subprocess.Popen(
            [*COMMAND, "serve", "--app", str(app)],
            env=environment(WAHA_API_KEY=sandbox.keys["full"], XDG_STATE_HOME=str(state)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._number = 0
        hello = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "agent", "version": "1"}}
        self._ask(self._write("initialize", hello))
        self._send({"jsonrpc": "2.0", "method": "notifications/initialized"})
        self.tools = {tool["name"] for tool in self._ask(self._write("tools/list", {}))["result"]["tools"]}

    def _send(self, message: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(message) + "\n")
        self._process.stdin.flush()

    def _write(self, method: str, params: dict[str, Any]) -> int:
        self._number += 1
        self._send({"jsonrpc": "2.0", "id": self._number, "method": method, "params": params})
        return self._number

    def _ask(self, number: int) -> Any:
        return self._answers(1)[number]

    def _answers(self, count: int) -> dict[int, Any]:
        assert self._process.stdout is not None
        found: dict[int, Any] = {}
        while len(found) < count:
            message = json.loads(self._process.stdout.readline())
            if "id" in message:
                found[message["id"]] = message
        return found

    def call(self, tool: str, **arguments: Any) -> tuple[bool, str]:
        """Whether a call succeeded, and what it said. A tool that is not offered is a refusal."""
        return self.at_once([(tool, arguments)])[0]

    def at_once(self, calls: list[tuple[str, dict[str, Any]]]) -> list[tuple[bool, str]]:
        """Several calls, none of which waits for another."""
        numbers = [self._write("tools/call", {"name": name, "arguments": given}) for name, given in calls]
        answers = self._answers(len(numbers))
        return [self._outcome(answers[number]) for number in numbers]

    @staticmethod
    def _outcome(message: dict[str, Any]) -> tuple[bool, str]:
        if "error" in message:
            return False, message["error"]["message"]
        result = message["result"]
        return not result.get("isError", False), "\n".join(block.get("text", "") for block in result["content"])

    # What WAHA saw

    def forget(self) -> None:
        self._admin.delete("/sandbox/requests").raise_for_status()

    def effects(self) -> list[dict[str, Any]]:
        """The requests since `forget` that could have changed something or sent something."""
        seen = self._admin.get("/sandbox/requests").raise_for_status().json()
        return [r for r in seen if r["method"] not in ("GET", "HEAD") and not r["path"].startswith("/sandbox/")]

    def arrive(self, chat: str, text: str) -> str:
        """Let a message arrive; its id."""
        answer = self._admin.post("/sandbox/messages", json={"chatId": chat, "text": text}).raise_for_status().json()
        return str(answer["id"])

    def get(self, path: str) -> Any:
        return self._admin.get(path).raise_for_status().json()

    def close(self) -> str:
        """End the server; its log."""
        self._process.send_signal(signal.SIGTERM)
        _, log = self._process.communicate(timeout=10)
        self._admin.close()
        return log


@contextmanager
def hijacked(sandbox: SandboxInfo, folder: Path, policy: str) -> Iterator[Hijacked]:
    """A hijacked agent at an App with this policy (TOML)."""
    outbox = folder / "outbox"
    outbox.mkdir(exist_ok=True)
    (outbox / "menu.txt").write_text("soup")
    (folder / "passwords.txt").write_text(SECRET)
    (outbox / "link.txt").symlink_to(folder / "passwords.txt")
    app = folder / "app.toml"
    head = f'id = "{folder.name}"\nurl = "{sandbox.url}"\nsession = "default"\nkey = {{ env = "WAHA_API_KEY" }}\n'
    everything = 'actions = ["read", "send"]\ntoolsets = ["all"]\noutbox = "outbox"\n'
    app.write_text(head + everything + policy)
    agent = Hijacked(sandbox, app, folder / "state")
    try:
        yield agent
    finally:
        agent.close()
