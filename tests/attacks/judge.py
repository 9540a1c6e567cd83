"""WAHA's own record of requests and effects: the only witness in these tests."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import httpx

from waha_mcp.sandbox import SandboxInfo

#: Seconds to wait for something that is about to happen.
SOON = 20.0


class Judge:
    """Admin access to a sandbox."""

    def __init__(self, sandbox: SandboxInfo) -> None:
        self.sandbox = sandbox
        self._http = httpx.Client(
            base_url=sandbox.url, headers={"X-Api-Key": sandbox.admin_key}, timeout=30, verify=False
        )

    def close(self) -> None:
        self._http.close()

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        # As ASCII, so that a text may hold anything that JSON can.
        content = None if body is None else json.dumps(body)
        answer = self._http.request(method, path, content=content, headers={"Content-Type": "application/json"})
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def get(self, path: str) -> Any:
        return self.ask("GET", path)

    def text(self, path: str) -> str:
        """WAHA's answer, if it is not JSON."""
        answer = self._http.get(path)
        answer.raise_for_status()
        return answer.text

    # Making things happen

    def arrive(self, chat: str, text: str, **more: Any) -> str:
        """Let a message arrive; its id."""
        return str(self.ask("POST", "/sandbox/messages", {"chatId": chat, "text": text, **more})["id"])

    def write(self, chat: str, text: str) -> str:
        """Send a text as the account's owner does on the phone; its id."""
        sent = self.ask("POST", "/api/sendText", {"session": "default", "chatId": chat, "text": text})
        if "key" in sent:
            return f"true_{sent['key']['remoteJid'].replace('@s.whatsapp.net', '@c.us')}_{sent['key']['id']}"
        return str(sent["id"])

    def fault(self, path: str, **what: Any) -> None:
        self.ask("POST", "/sandbox/faults", {"path": path, "count": 1} | what)

    def no_faults(self) -> None:
        self.ask("DELETE", "/sandbox/faults")

    def lacks(self, *operations: str) -> None:
        """Let the engine lack these operations in addition to its own gaps, and no others."""
        self.ask("POST", "/sandbox/engine", {"reset": True, "lacks": list(operations)})

    def settle(self) -> None:
        """Let all pending work finish now."""
        self.ask("POST", "/sandbox/settle")

    # What happened

    def forget(self) -> None:
        self.ask("DELETE", "/sandbox/requests")

    def requests(self) -> list[dict[str, Any]]:
        """The requests since `forget`."""
        return [r for r in self.get("/sandbox/requests") if not r["path"].startswith("/sandbox/")]

    def effects(self) -> list[dict[str, Any]]:
        """The requests since `forget` that could have changed or sent something."""
        return [r for r in self.requests() if r["method"] not in ("GET", "HEAD")]

    def reached(self) -> list[str]:
        """The chats to which something was sent since `forget`, by the requests that WAHA carried out."""
        return [r["body"]["chatId"] for r in self.effects() if r["performed"] is not None and "chatId" in r["body"]]

    def delivered(self, chat: str, text: str) -> int:
        """How often the chat contains the account's text, once no work is pending."""
        self.settle()
        rows = self.get(f"/api/default/chats/{chat}/messages?limit=10000&downloadMedia=false")
        return sum(row["body"] == text and row["fromMe"] is True for row in rows)

    def await_(self, condition: Callable[[], bool]) -> None:
        """Wait until a condition holds."""
        end = time.monotonic() + SOON
        while not condition():
            assert time.monotonic() < end, "it never happened"
            time.sleep(0.01)

    def await_request(self, path: str, count: int = 1) -> None:
        """Wait until this many requests to a path have come in since `forget`."""
        self.await_(lambda: sum(r["path"].startswith(path) for r in self.requests()) >= count)
