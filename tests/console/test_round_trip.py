"""An agent asks, a person decides in the console, and the agent goes on: with a real server and a real browser."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import anyio
import pytest

from tests.console.browser import Browser
from tests.console.page import console, open_page
from tests.harness import Admin, stdio_client, texts
from waha_mcp.sandbox import SandboxInfo

pytestmark = pytest.mark.anyio

SAM = "12025550123@c.us"
FILE = """
key = {{ env = "WAHA_API_KEY" }}
url = "{url}"
session = "default"
approval = {{ when = "send", ask_at = "console", wait = 30 }}
"""


async def test_what_an_agent_asks_for_goes_once_a_person_has_allowed_it(
    sandbox: SandboxInfo, admin: Admin, tmp_path: Path, window: Browser
) -> None:
    app = tmp_path / "assistant.toml"
    app.write_text(FILE.format(url=sandbox.url))
    state = str(tmp_path / "state")

    def decide(text: str, button: str) -> None:
        window.wait_for(text)
        window.click(button)
        window.wait_for("Nothing is waiting.")

    with console(state) as address:
        open_page(window, address)
        async with (
            stdio_client(sandbox, sandbox.keys["read_send"], "--app", str(app), XDG_STATE_HOME=state) as client,
            anyio.create_task_group() as group,
        ):
            await admin.clear()
            answers = []

            async def send(text: str) -> None:
                answers.append(await client.call_tool("send_text", {"chat": SAM, "text": text}))

            for text, button in (("The *first* one", ".approve"), ("The second one", ".refuse")):
                group.start_soon(send, text)
                await anyio.to_thread.run_sync(partial(decide, text.replace("*", ""), button))
                with anyio.fail_after(30):
                    while len(answers) < (1 if "first" in text else 2):
                        await anyio.sleep(0.02)
        window.click("nav a[data-view=trail]")
        shown = window.wait_for("refused by a person")
    allowed, refused = answers
    assert not allowed.is_error
    assert refused.is_error
    assert "refused" in texts(refused)
    sent = [request for request in await admin.requests() if request["path"] == "/api/sendText"]
    assert len(sent) == 1
    assert "approved" in shown
    assert shown.count("+12025550123") == 2
