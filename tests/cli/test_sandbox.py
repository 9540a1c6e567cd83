"""`waha-mcp sandbox` from start to end."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import httpx
import pytest

from tests.harness import environment

#: The command as it is, and on an event loop that cannot catch signals, like the one of Windows.
LOOPS = {
    "loop with signals": "",
    "loop without signals": """
import asyncio, signal
def unavailable(*arguments):
    raise NotImplementedError
asyncio.SelectorEventLoop.add_signal_handler = unavailable
signal.signal(signal.SIGINT, signal.default_int_handler)
""",
}


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT")
@pytest.mark.parametrize("loop", LOOPS.values(), ids=LOOPS)
def test_ctrl_c_ends_it_quietly(loop: str) -> None:
    script = f"{loop}\nfrom waha_mcp.__main__ import main; main()"
    with subprocess.Popen(
        [sys.executable, "-c", script, "sandbox", "--port", "0", "--json"],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            url = json.loads(process.stdout.readline())["url"]
            assert httpx.get(f"{url}/ping").status_code < 500
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=10)
        finally:
            process.kill()
    assert (process.returncode, errors) == (0, "")
