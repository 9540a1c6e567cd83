"""A hijacked agent: a scripted client on a real stdio server, which does whatever a message told it."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Protocol

from tests.attacks.judge import Judge
from tests.harness import NO_PACE_TEXT, command_after, environment
from waha_mcp.sandbox import SandboxInfo
from waha_mcp.store.sqlite import Sqlite

#: The only person that the App may write to, one whose chat it may not read, and one whose secret is the target.
FRIEND, SEALED, VICTIM = "12025550123@c.us", "12025550101@c.us", "447700900142@c.us"
#: Who wrote the message that took the agent over.
ATTACKER = "12025550199@c.us"
#: The secret that must not get out.
SECRET = "the door code is 7731-KESTREL"

#: Seconds within which the server must have answered.
PATIENCE = 30.0
#: No limit of pace.
FAST = NO_PACE_TEXT
#: Shorter time-outs, so that a test can wait for them.
SOONER = (
    "import waha_mcp.waha.client as client, waha_mcp.policy.delivery as delivery\n"
    "client.READ_TIMEOUT, client.DEADLINE, delivery.LOOK_AGAIN = 1.0, 2.0, (0.0, 0.05)\n"
    "async def no_spare(*_): pass\n"
    "delivery.MessageIds.get_spare = no_spare\n"
)

#: Answers a question to the person at the client: the whole answer to the request, without its id.
Answer = Callable[[dict[str, Any]], dict[str, Any]]


class Process(Protocol):
    """The part of `subprocess.Popen` that is used here, with pipes at stdin and stdout."""

    pid: int
    stdin: IO[bytes] | None
    stdout: IO[bytes] | None

    def send_signal(self, sig: int) -> None: ...
    def kill(self) -> None: ...
    def wait(self, timeout: float | None = None) -> object: ...


#: Runs `waha-mcp` with these arguments, this environment, and this stderr.
Launch = Callable[[list[str], dict[str, str], IO[bytes]], Process]


class Hijacked:
    """One server process, driven with raw JSON lines. `judge` reads WAHA's own record of the effects."""

    def __init__(
        self, judge: Judge, app: Path, state: Path, *, key: str, launch: Launch, asks: bool, lists: bool = True
    ) -> None:
        self.judge = judge
        self.app, self.state, self.key = app, state, key
        #: What the person at the client answers; without it, there is nobody to ask.
        self.answer: Answer = lambda question: {"result": {"action": "cancel"}}
        descriptor, _ = tempfile.mkstemp(dir=state.parent, prefix="log-")
        self._log = os.fdopen(descriptor, "w+b")
        env = environment(WAHA_API_KEY=key, XDG_STATE_HOME=str(state))
        self._process = launch(["serve", "--app", str(app)], env, self._log)
        self.pid = self._process.pid
        self._number = 0
        self._answered: dict[Any, Any] = {}
        #: The notifications received.
        self.told: list[dict[str, Any]] = []
        self._lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        hello = {
            "protocolVersion": "2025-06-18",
            "capabilities": {"elicitation": {}} if asks else {},
            "clientInfo": {"name": "agent", "version": "1"},
        }
        self.answer_to(self.write("initialize", hello))
        self.line({"jsonrpc": "2.0", "method": "notifications/initialized"})
        #: The tools listed at the start.
        self.tools = self.listed() if lists else set()

    # Lines

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put(b"")

    def line(self, message: dict[str, Any] | bytes) -> None:
        """Write one line, valid or not."""
        assert self._process.stdin is not None
        line = message if isinstance(message, bytes) else json.dumps(message).encode()
        self._process.stdin.write(line + b"\n")
        self._process.stdin.flush()

    def write(self, method: str, params: dict[str, Any]) -> int:
        """Send a request; returns its id."""
        self._number += 1
        self.line({"jsonrpc": "2.0", "id": self._number, "method": method, "params": params})
        return self._number

    def begin(self, tool: str, **arguments: Any) -> int:
        """Call a tool without waiting; returns the request id."""
        return self.write("tools/call", {"name": tool, "arguments": arguments})

    def cancel(self, number: Any) -> None:
        self.line({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": number}})

    def answer_to(self, number: Any) -> Any:
        """The answer to a request; answers to others are kept."""
        while number not in self._answered:
            try:
                line = self._lines.get(timeout=PATIENCE)
            except queue.Empty:
                raise AssertionError(f"no answer to {number}: {self.log()}") from None
            assert line, f"the server has ended: {self.log()}"
            message = json.loads(line)
            if "method" in message and "id" in message:
                self.line({"jsonrpc": "2.0", "id": message["id"]} | self.answer(message))
            elif "id" in message:
                self._answered[message["id"]] = message
            else:
                self.told.append(message)
        return self._answered.pop(number)

    def forgotten(self, *numbers: Any) -> Any:
        """An answer to one of these ids that was read while waiting for another."""
        return next(self._answered.pop(each) for each in numbers if each in self._answered)

    # Tools

    def listed(self) -> set[str]:
        """The tools that are listed now."""
        return {tool["name"] for tool in self.answer_to(self.write("tools/list", {}))["result"]["tools"]}

    def call(self, tool: str, **arguments: Any) -> tuple[bool, str]:
        """Whether a call succeeded, and the text of its answer. A tool that is not listed counts as a refusal."""
        return self.at_once([(tool, arguments)])[0]

    def at_once(self, calls: list[tuple[str, dict[str, Any]]]) -> list[tuple[bool, str]]:
        """Several calls, none of which waits for another."""
        return [self.outcome(number) for number in [self.begin(name, **given) for name, given in calls]]

    def outcome(self, number: int) -> tuple[bool, str]:
        """Whether the call with this request id succeeded, and the text of its answer."""
        message = self.answer_to(number)
        if "error" in message:
            return False, message["error"]["message"]
        result = message["result"]
        return not result.get("isError", False), "\n".join(block.get("text", "") for block in result["content"])

    def no_questions(self) -> None:
        """Delete all questions, waiting or answered."""
        with closing(Sqlite(self.state / "waha-mcp" / "store.sqlite")) as store:
            for row in store.rows("question"):
                store.swap("question", row.key, row.value, None)

    def log(self) -> str:
        """What the server has logged so far."""
        self._log.seek(0)
        return self._log.read().decode(errors="replace")

    def memory(self) -> int:
        """The server's resident memory in bytes."""
        [line] = [each for each in Path(f"/proc/{self.pid}/status").read_text().splitlines() if "VmRSS" in each]
        return int(line.split()[1]) * 1024

    def kill(self) -> None:
        """Kill the process, as a crash would."""
        self._process.kill()
        self._process.wait(timeout=10)

    def close(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(timeout=10)
        self._reader.join(timeout=10)
        for each in (self._process.stdin, self._process.stdout):
            assert each is not None
            with suppress(OSError):  # lines that were never read
                each.close()
        self._log.close()


def started(first: str = "") -> Launch:
    """Start a process, which runs the Python lines `first` before anything else."""

    def launch(arguments: list[str], env: dict[str, str], log: IO[bytes]) -> Process:
        command = [*command_after(first), *arguments]
        return subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log)

    return launch


def hikers(agent: Hijacked) -> str:
    """The id of a new group with the friend in it."""
    made = agent.judge.ask("POST", "/api/default/groups", {"name": "Hikers", "participants": [{"id": FRIEND}]})
    return str(made.get("id") or made["JID"])


#: Changes of whom a group reaches: requests, each with its method, the end of its path and its body.
GROUP_CHANGES: dict[str, list[tuple[str, str, dict[str, Any]]]] = {
    "a stranger joins": [("POST", "participants/add", {"participants": [{"id": ATTACKER}]})],
    "a stranger takes somebody's place": [
        ("POST", "participants/add", {"participants": [{"id": ATTACKER}]}),
        ("POST", "participants/remove", {"participants": [{"id": FRIEND}]}),
    ],
    "it is renamed": [("PUT", "subject", {"subject": "Evil Corp"})],
}


def change(agent: Hijacked, group: str, how: str) -> None:
    """Change a group as one of its admins."""
    for method, path, body in GROUP_CHANGES[how]:
        agent.judge.ask(method, f"/api/default/groups/{group}/{path}", body)


@contextmanager
def hijacked(
    sandbox: SandboxInfo,
    folder: Path,
    policy: str,
    *,
    key: str = "full",
    actions: tuple[str, ...] = ("read", "send"),
    url: str | None = None,
    first: str = "",
    asks: bool = False,
) -> Iterator[Hijacked]:
    """A hijacked agent at an App with this policy (TOML).

    `key` is the name of one of the sandbox's keys or a key, `url` leads to WAHA by another way, `first` is Python that
    the server's process runs before anything else, and `asks` says that its client can ask a person.
    Agents of one folder are processes of one App.
    """
    outbox = folder / "outbox"
    outbox.mkdir(exist_ok=True)
    (outbox / "menu.txt").write_text("soup")
    (folder / "passwords.txt").write_text(SECRET)
    link = outbox / "link.txt"
    link.unlink(missing_ok=True)
    link.symlink_to(folder / "passwords.txt")
    (folder / "state").mkdir(exist_ok=True)
    app = folder / "app.toml"
    head = f'id = "{folder.name}"\nurl = "{url or sandbox.url}"\nsession = "default"\n'
    head += 'key = { env = "WAHA_API_KEY" }\n'
    everything = f'actions = {json.dumps(actions)}\ntoolsets = ["all"]\noutbox = "outbox"\n'
    app.write_text(head + everything + policy)
    judge = Judge(sandbox)
    agent = Hijacked(judge, app, folder / "state", key=sandbox.keys.get(key, key), launch=started(first), asks=asks)
    try:
        yield agent
    finally:
        agent.close()
        judge.close()
