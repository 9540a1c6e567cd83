"""mcp-remote, which connects hosts without OAuth of their own, is let in by a person in a real browser."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterable
from pathlib import Path

import anyio
import pytest
from mcp import Client, StdioServerParameters

from tests.console.browser import browser, missing
from tests.harness import environment, texts
from tests.hosts_real import packages
from tests.hosts_real.packages import NotInstalled
from tests.server.oauth_served import served

REMOTE = "0.15.1"


@pytest.mark.skipif(missing() is not None, reason=str(missing()))
def test_mcp_remote_is_let_in_by_a_person_in_a_browser(tmp_path: Path) -> None:
    try:
        program, node = packages.package("mcp-remote", REMOTE) / "mcp-remote", packages.node()
    except NotInstalled as error:
        pytest.skip(f"it could not be installed: {error}")
    path = f"{node}{os.pathsep}{os.environ['PATH']}"
    own = environment(HOME=str(tmp_path), MCP_REMOTE_CONFIG_DIR=str(tmp_path / "kept"), PATH=path)

    async def chats() -> str:
        launch = StdioServerParameters(command=str(program), args=[f"{here.url}/mcp"], env=own)
        async with Client(launch, mode="legacy") as client:
            return texts(await client.call_tool("list_chats", {}))

    with served(tmp_path) as here, browser(tmp_path / "profile") as window:
        # The first time, it asks for a browser, which does nothing by itself here. It keeps the tokens that it gets.
        with subprocess.Popen(
            [str(program), f"{here.url}/mcp"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env=own | {"BROWSER": "true"},
        ) as first:
            assert first.stderr is not None
            try:
                window.open(_said(first.stderr, r"https?://\S+/authorize\S+")[0])
                window.wait_for("One-time code of the App")
                window.run(f"document.getElementById('code').value = '{here.code()}'")
                window.click("button[value=code]")
                assert "a program on the computer" in window.wait_for("What the agent will be able to do")
                window.click("button[value=allow]")
                _said(first.stderr, "Proxy established")
            finally:
                first.terminate()
        assert "Sam Okafor" in anyio.run(chats)
        [connected] = here.command("oauth")
        assert connected["name"]


def _said(lines: Iterable[str], pattern: str) -> re.Match[str]:
    """The matching part of the first line that matches."""
    heard = []
    for line in lines:
        heard.append(line)
        if found := re.search(pattern, line):
            return found
    raise AssertionError(f"it ended without {pattern!r}: {''.join(heard)}")
