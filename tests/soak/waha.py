"""A sandbox that goes away and comes back with its state, like a WAHA that is restarted.

`python -m tests.soak.waha ENGINE SEED PORT` prints a line of JSON, like `waha-mcp sandbox --json`, whenever it accepts
connections, and `away` when it no longer does. SIGUSR1 ends its server: connections are broken, what was pending never
happens, and nobody listens on the port. SIGUSR2 starts it again with account, keys, faults and request log.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from typing import Self

import anyio

from tests.harness import environment
from waha_mcp.sandbox import SandboxInfo, faults
from waha_mcp.sandbox.http_server import serving
from waha_mcp.sandbox.state import Sandbox

#: The size of the log: no entry may be dropped before the run is judged.
LOG_LENGTH = 2_000_000
AWAY, BACK = signal.SIGUSR1, signal.SIGUSR2


class Waha:
    """The process, ended with the block."""

    def __init__(self, engine: str, seed: int, port: int) -> None:
        self._command = [sys.executable, "-m", "tests.soak.waha", engine, str(seed), str(port)]
        self.info: SandboxInfo

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE, text=True, env=environment())
        self.info = SandboxInfo(**json.loads(self._line()))
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.communicate(timeout=20)

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()

    def go_away(self) -> None:
        """Take it down; nobody listens any more when this returns."""
        self._process.send_signal(AWAY)
        assert self._line() == "away\n"

    def come_back(self) -> None:
        """Let it accept connections again."""
        self._process.send_signal(BACK)
        assert self._line()


async def _serve(engine: str, seed: int, port: int) -> None:
    faults.LOG_LENGTH = LOG_LENGTH
    sandbox = Sandbox(engine=engine, seed=seed)
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, AWAY, BACK) as signals:
        while True:
            async with serving(sandbox, port) as url:
                info = SandboxInfo(url, "default", sandbox.keys.admin.secret, sandbox.named_keys)
                print(json.dumps(info.as_dict()), flush=True)
                if await anext(signals) != AWAY:
                    return
            print("away", flush=True)
            if await anext(signals) != BACK:
                return


if __name__ == "__main__":
    anyio.run(_serve, sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
