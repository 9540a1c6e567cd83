"""An agent asks, a person decides in the console, and the agent goes on: with a real server and a real browser."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client

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
approval = {{ when = "send", ask_at = "console", wait = "30s" }}
"""


async def test_what_an_agent_asks_for_goes_once_a_person_has_allowed_it(
    sandbox: SandboxInfo, admin: Admin, tmp_path: Path, window: Browser
) -> None:
    app = tmp_path / "assistant.toml"
    app.write_text(FILE.format(url=sandbox.url))
    state = str(tmp_path / "state")

    async def decided(client: Client, text: str, button: str) -> Any:
        """The answer to a call that a person decides with a button."""

        def decide() -> None:
            window.wait_for(text.replace("*", ""))
            window.click(button)
            window.wait_for("Nothing is waiting.")

        async with anyio.create_task_group() as person:
            person.start_soon(anyio.to_thread.run_sync, decide)
            return await client.call_tool("send_text", {"chat": SAM, "text": text})

    arguments = (sandbox, sandbox.keys["read_send"], "--app", str(app))
    with console(state) as address:
        open_page(window, address)
        async with stdio_client(*arguments, XDG_STATE_HOME=state) as client:
            await admin.clear()
            allowed = await decided(client, "The *first* one", ".approve")
            refused = await decided(client, "The second one", ".refuse")
        window.click("nav a[data-view=trail]")
        shown = window.wait_for("refused by a person")
    assert not allowed.is_error
    assert refused.is_error
    assert "refused" in texts(refused)
    sent = [request for request in await admin.requests() if request["path"] == "/api/sendText"]
    assert len(sent) == 1
    assert "approved" in shown
    assert shown.count("+12025550123") == 2
