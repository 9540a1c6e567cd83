"""A client in a separate process, on `waha-mcp serve` with an App on a sandbox; see `drivers/lines.py`."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.attacks.judge import Judge
from tests.clients_real.clients import Client, Limit
from tests.clients_real.environments import node, node_environment, python_environment
from tests.harness import NO_PACE_TEXT, environment, sandbox_server
from tests.openings import launcher

DRIVERS = Path(__file__).parent / "drivers"
#: Seconds within which a client must have answered: the heaviest framework takes long to load.
PATIENCE = 120.0
#: Seconds in which a client that opens again must have listed the tools. One that does not list is answered after them.
UNTIL_LISTED = 8.0

#: Whom the App may write to, whom only after an approval, and whom not at all.
ALLOWED, ASKED, DENIED = "12025550123@c.us", "447700900142@c.us", "12025550101@c.us"
#: The App's transcript of every voice note, unless this file exists.
TRANSCRIPT = "Bring the blue umbrella"
_TRANSCRIBER = f"import os, sys; sys.exit(1) if os.path.exists(sys.argv[1]) else print({TRANSCRIPT!r})"

#: No traffic of a client may leave the machine.
QUIET = {
    "CREWAI_DISABLE_TELEMETRY": "true",
    "CREWAI_TRACING_ENABLED": "false",
    "OTEL_SDK_DISABLED": "true",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "OPENAI_AGENTS_DISABLE_TRACING": "1",
    "FASTMCP_CHECK_FOR_UPDATES": "off",
    "NO_COLOR": "1",
}


@dataclass(frozen=True)
class Got:
    """What a client hands to a model for a call, or the error that ended the run. See `drivers/lines.py`."""

    text: str
    pictures: tuple[str, ...]
    sounds: tuple[str, ...]
    asked: tuple[str, ...]
    raised: str | None


class Driven:
    """The client's process. `judge` has admin access to its sandbox, `key` is WAHA's row of the App's key.

    `notes`: the name of the folder in which servers record their openings.
    """

    def __init__(self, client: Client, judge: Judge, key: dict[str, Any], folder: Path, notes: str = "notes") -> None:
        self.client, self.judge, self.key, self.folder, self.notes = client, judge, key, folder, folder / notes
        self.env = environment(
            **QUIET,
            HOME=str(folder),
            PATH=f"{folder / 'bin'}:{os.environ['PATH']}",
            WAHA_API_KEY=key["key"],
            XDG_CACHE_HOME=str(folder / "cache"),
            XDG_CONFIG_HOME=str(folder / "config"),
            XDG_DATA_HOME=str(folder / "data"),
            XDG_STATE_HOME=str(folder / "state"),
        ) | dict(client.env)  # fmt: skip
        self.env.pop("PYTHONPATH", None)
        self.stderr = folder / f"{notes}.stderr"
        command = [*launch(client, self.env), "serve", "--app", "whatsapp"]
        with self.stderr.open("wb") as log:
            self._process = subprocess.Popen(
                command, env=self.env, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log
            )
        self._lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put(b"")

    def tools(self) -> dict[str, dict[str, Any]]:
        """The tools as the client offers them to a model now: name to `description` and `schema`."""
        answer = self._answer({"do": "tools"})
        assert "tools" in answer, answer
        tools: dict[str, dict[str, Any]] = answer["tools"]
        return tools

    def call(self, tool: str, **arguments: Any) -> Got:
        """Let the model call a tool."""
        answer = self._answer({"do": "call", "tool": tool, "arguments": arguments})
        return Got(
            text=answer.get("text", ""),
            pictures=tuple(answer.get("pictures", ())),
            sounds=tuple(answer.get("sounds", ())),
            asked=tuple(answer["asked"]),
            raised=answer.get("raised"),
        )

    def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        self._process.stdin.flush()
        try:
            line = self._lines.get(timeout=PATIENCE)
        except queue.Empty:
            line = b""
        assert line, f"{self.client.title} has not answered {request}: {self.log()}"
        answer: dict[str, Any] = json.loads(line)
        return answer

    @contextmanager
    def again(self) -> Iterator[Driven]:
        """The same client in another process, which has listed tools; its servers have waited for that with the SDK.

        Waits until the opening of this process is kept.
        """
        script = self.folder / "bin/waha-mcp"
        ends = time.monotonic() + PATIENCE
        while not list(self.folder.glob("state/waha-mcp/store.listings/*.json")):
            assert time.monotonic() < ends, f"{self.client.title} has kept no opening"
            time.sleep(0.05)
        launcher(script, self.folder / "notes-again", patience=UNTIL_LISTED)
        second = Driven(self.client, self.judge, self.key, self.folder, "notes-again")
        try:
            second.tools()
            launcher(script, second.notes)
            yield second
        finally:
            second.close()
            launcher(script, self.notes)

    def no_transcripts(self) -> None:
        """Make the App's transcriber fail from now on."""
        (self.folder / "deaf").touch()

    def waha_mcp(self, *arguments: str) -> str:
        """Run a command of the user's at the terminal, with the same App and state; what it prints."""
        done = subprocess.run(
            ["waha-mcp", *arguments], env=self.env, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def log(self) -> str:
        """The end of stderr of the client and of the server that it launched."""
        return self.stderr.read_text(errors="replace")[-3000:]

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(timeout=10)
        self._process.stdout.close()


@contextmanager
def driven(client: Client, folder: Path) -> Iterator[Driven]:
    """A client at work, in a folder of its own.

    Raises:
        NotInstalled: it cannot be installed here.
    """
    launch(client, {})  # installs, before anything is started
    with sandbox_server() as sandbox:
        judge = Judge(sandbox)
        body = {"isAdmin": False, "session": "default", "isActive": True, "actions": {"read": True, "send": True}}
        key = judge.ask("POST", "/api/keys", body)
        config = folder / "config/waha-mcp"
        config.mkdir(parents=True)
        transcriber = json.dumps([sys.executable, "-c", _TRANSCRIBER, str(folder / "deaf")])
        (config / "whatsapp.toml").write_text(
            f'id = "whatsapp"\nurl = "{sandbox.url}"\nsession = "default"\nkey = {{ env = "WAHA_API_KEY" }}\n'
            'actions = ["read", "send"]\ntoolsets = ["all"]\n'
            f"transcriber = {{ command = {transcriber} }}\n"
            f'[chats]\nsend = {{ allow = ["{ALLOWED}"], ask = ["{ASKED}"], deny = ["{DENIED}"] }}\n'
            f"{NO_PACE_TEXT}"
        )
        (folder / "bin").mkdir()
        launcher(folder / "bin/waha-mcp", folder / "notes")
        process = Driven(client, judge, key, folder)
        try:
            yield process
        finally:
            process.close()
            judge.close()


def launch(client: Client, env: dict[str, str]) -> list[str]:
    """The command of a client's driver, with the client installed. Adds to `env` what the driver needs.

    Raises:
        NotInstalled: it cannot be.
    """
    if client.driver.endswith(".mjs"):
        env["CLIENT_FOLDER"] = str(node_environment(client.requirements))
        return [str(node()), str(DRIVERS / client.driver)]
    return [str(python_environment(client.requirements) / "bin/python"), str(DRIVERS / client.driver)]


def place(client: Client, limit: Limit) -> str:
    """Where the line of code that causes a limit is in the client's environment, such as `mcp/client.py:120`."""
    if client.driver.endswith(".mjs"):
        packages = node_environment(client.requirements) / "node_modules"
    else:
        [packages] = python_environment(client.requirements).glob("lib/python*/site-packages")
    lines = (packages / limit.file).read_text(encoding="utf-8").splitlines()
    [number] = [number for number, line in enumerate(lines, 1) if line.strip() == limit.code]
    return f"{limit.file}:{number}"
