"""The servers that are measured: waha-mcp, the bare server on the same SDK, and peers."""

from __future__ import annotations

import shlex
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tests.bench.pipe import Pipe
from tests.bench.tokens import Peer, filled, ids_of
from tests.harness import COMMAND, NO_PACE_TEXT
from waha_mcp.sandbox import SandboxInfo

Call = dict[str, Any]
#: How a server is opened, and a call that it answers; None: it has none.
Opened = tuple[Callable[[], Pipe], Call | None]

BARE = [sys.executable, "-m", "tests.bench.bare_server"]
BARE_NAME = "bare server"
PING: Call = {"name": "ping", "arguments": {}}
#: The row in which waha-mcp, direct REST and peers do the same.
CHATS_ROW = "list_chats, 20"
LIST_CHATS: Call = {"name": "list_chats", "arguments": {"limit": 20}}


@dataclass(frozen=True)
class Sizes:
    """The size of a run."""

    starts: int
    processes: int
    calls: int
    bursts: int
    colds: int
    warms: int
    #: How many of the core tools are called on a large account.
    tools: int
    #: Of the account: contacts, chats, groups and messages.
    account: tuple[int, int, int, int]
    mixed: int
    #: Messages of the local index, and searches of each kind in it.
    indexed: int
    searches: int
    #: Apps in one process over HTTP.
    apps: int
    #: Clients at a time over HTTP, and seconds for which each number of them asks.
    clients: tuple[int, ...]
    load: float


FULL = Sizes(11, 3, 300, 9, 3, 10, 99, (2_000, 1_000, 200, 200_000), 10_000, 1_000_000, 300, 200, (1, 16, 64, 256), 5.0)
SMALL = Sizes(2, 1, 20, 2, 1, 3, 3, (100, 80, 20, 1_000), 1_000, 5_000, 20, 10, (1, 16), 0.5)


class Bench:
    """What the measurements share: a sandbox, its ids, peers, and resources that end with the run."""

    def __init__(self, info: SandboxInfo, sizes: Sizes, peers: Mapping[str, Peer], stack: ExitStack) -> None:
        self.info, self.sizes, self.peers = info, sizes, peers
        self.found = ids_of(info)
        self._stack = stack

    def folder(self) -> str:
        """An empty folder that only the caller uses."""
        return self._stack.enter_context(tempfile.TemporaryDirectory())

    def waha_mcp(self, policy: str = NO_PACE_TEXT, *, url: str = "", folder: str = "", **env: str) -> Pipe:
        """`waha-mcp serve` with the policy of an App file. `folder`: for its state; a new one by default."""
        folder = folder or self.folder()
        file = Path(folder) / "bench.toml"
        if not file.exists():
            file.write_text(f'id = "bench"\nurl = "{url or self.info.url}"\n{policy}')
        env = {"WAHA_API_KEY": self.info.keys["full"], **homes(folder)} | env
        return Pipe([*COMMAND, "serve", "--app", str(file)], **env)

    def peer(self, name: str) -> Pipe:
        """A peer on the sandbox."""
        command = filled(self.peers[name].command, {"url": self.info.url, "key": self.info.keys["full"]})
        return Pipe(shlex.split(command), HOME=self.folder())

    def others(self) -> dict[str, Opened]:
        """The bare server and the peers, with a call of each: 20 chats; a ping for the bare server."""
        peers: dict[str, Opened] = {
            name: (partial(self.peer, name), self.peers_call(name, CHATS_ROW)) for name in self.peers
        }
        return {BARE_NAME: (partial(Pipe, BARE), PING), **peers}

    def peers_call(self, name: str, row: str) -> Call | None:
        """How a peer's tool of this row is called; None: it has none."""
        call = self.peers[name].calls.get(row, {})
        if "tool" not in call:
            return None
        return {"name": call["tool"], "arguments": filled(call["arguments"], self.found)}

    def filled(self, arguments: Mapping[str, Any]) -> Any:
        """Arguments with the sandbox's ids."""
        return filled(arguments, self.found)

    def on(self, info: SandboxInfo) -> Bench:
        """This bench on another sandbox."""
        return Bench(info, self.sizes, self.peers, self._stack)

    def drop_absent(self) -> dict[str, str]:
        """Leave out the peers that do not start; returns them, with the reason."""
        gone: dict[str, str] = {}
        for name in self.peers:
            try:
                self.peer(name).close()
            except (OSError, EOFError) as error:
                gone[name] = str(error)
        self.peers = {name: peer for name, peer in self.peers.items() if name not in gone}
        return gone


def homes(folder: str) -> dict[str, str]:
    """The environment that keeps state and caches in a folder."""
    return {"XDG_STATE_HOME": f"{folder}/state", "XDG_CACHE_HOME": f"{folder}/cache"}


def succeeded(answer: dict[str, Any]) -> None:
    """Stop if a call failed: an error is fast, and would look good."""
    if answer.get("isError"):
        raise SystemExit(f"a call that is measured failed: {answer['content']}")
