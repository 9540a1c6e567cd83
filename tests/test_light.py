"""What `waha-mcp serve` does not import: each library costs time at every start and memory in every process."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.harness import environment
from waha_mcp.sandbox import SandboxInfo

#: Needed by other commands, by extras, or by few calls.
HEAVY = {
    "jinja2",
    *("PIL", "json5", "jsonschema", "keyring", "limits", "phonenumbers", "pygments", "rapidfuzz", "redis", "regex"),
    *("prometheus_client", "rich", "ruamel", "segno", "tomlkit", "uvicorn", "vobject", "websockets"),
}
#: A line of `-X importtime`: a module that was imported, or whose import None in sys.modules stops, as in this one.
_IMPORTED = re.compile(r"^import time: +\d+ \| +\d+ \| +([\w.]+)", re.MULTILINE)
_STOPPED = "uvicorn.main"

pytestmark = pytest.mark.slow


class Server:
    """`waha-mcp serve` with a log of its imports."""

    def __init__(self, info: SandboxInfo, log: Path) -> None:
        self._log = log
        with log.open("w") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-X", "importtime", "-m", "waha_mcp", "serve"],
                env=environment(WAHA_URL=info.url, WAHA_API_KEY=info.keys["read_send"]),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        version = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
        self.ask("initialize", **version)
        self._write(method="notifications/initialized")

    def _write(self, **message: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
        self.process.stdin.flush()

    def ask(self, method: str, **params: Any) -> Any:
        """Send a request, and wait for the result."""
        assert self.process.stdout is not None
        self._write(id=1, method=method, params=params)
        for line in self.process.stdout:
            message = json.loads(line)
            if "result" in message:
                return message["result"]
        raise EOFError("the server ended before it answered")

    def call(self, tool: str, **arguments: Any) -> None:
        result = self.ask("tools/call", name=tool, arguments=arguments)
        assert not result.get("isError"), result

    @property
    def loaded(self) -> set[str]:
        """The packages of all modules that were imported until now."""
        modules = set(_IMPORTED.findall(self._log.read_text())) - {_STOPPED}
        return {module.partition(".")[0] for module in modules}


@pytest.fixture
def server(sandbox_process: SandboxInfo, tmp_path: Path) -> Iterator[Server]:
    made = Server(sandbox_process, tmp_path / "imports.txt")
    try:
        yield made
    finally:
        made.process.communicate()


def test_a_listing_loads_none_of_what_only_other_commands_and_few_calls_need(server: Server) -> None:
    assert server.ask("tools/list")["tools"]
    assert {"waha_mcp", "mcp"} <= server.loaded
    assert server.loaded & HEAVY == set()


def test_reading_chats_and_sending_to_a_chat_id_load_no_more_than_what_reads_a_contact_card(server: Server) -> None:
    server.ask("tools/list")
    server.call("list_chats")
    server.call("send_text", chat="447700900142@c.us", text="On my way")
    # The limits of pace and the store were used.
    assert "sqlite3" in server.loaded
    # One of the chats ends with a contact card, which vobject parses.
    assert server.loaded & HEAVY <= {"vobject"}
