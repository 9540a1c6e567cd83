"""Real hosts reach a server over HTTP by the entries that `install --url` wrote, and their models call its tools."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from mcp import Client, StdioServerParameters

from tests.harness import texts
from tests.hosts_real import packages
from tests.hosts_real.hosts import CODEX
from tests.hosts_real.over_http import REACHING, reached
from tests.hosts_real.packages import NotInstalled
from tests.hosts_real.world import Desk, desk
from tests.http_server import http_server


@contextmanager
def served(made: Desk) -> Iterator[str]:
    with http_server("--apps", str(made.app.parent), HOME=str(made.home)) as server:
        yield server.url


@pytest.mark.parametrize("name", REACHING)
def test_the_model_calls_a_tool_of_a_server_over_http(name: str, tmp_path: Path) -> None:
    host = REACHING[name]
    try:
        found = reached(host, tmp_path, served)
    except NotInstalled as error:
        pytest.skip(f"{host.title} could not be installed: {error}")
    assert host.accepts in found.listing
    answer = found.session.results["list"]
    assert answer is not None, found.session.said
    assert "Sam Okafor" in answer.text
    assert found.session.outward == []
    assert "X-Installed-By" in found.entry
    assert found.key not in found.entry


@pytest.mark.anyio
async def test_claude_desktops_entry_reaches_it_through_mcp_remote(tmp_path: Path) -> None:
    try:
        with desk(CODEX, tmp_path) as made, served(made) as url:
            key = made.app.with_suffix(".key")
            made.waha_mcp("install", "claude-desktop", "--url", url, "--key-file", str(key), "--read-only")
            file = tmp_path / ".config" / "Claude" / "claude_desktop_config.json"
            entry = json.loads(file.read_text())["mcpServers"]["whatsapp"]
            yes, package, *arguments = entry["args"]
            assert (entry["command"], yes) == ("npx", "-y")
            # What npx would do, from the folder of packages.
            program = packages.package(*package.split("@")) / "mcp-remote"
            env = made.environment(**entry["env"])
            launch = StdioServerParameters(command=str(program), args=arguments, env=env)
            async with Client(launch, mode="legacy") as client:
                names = {tool.name for tool in (await client.list_tools()).tools}
                assert "list_chats" in names
                assert "send_text" not in names
                assert "Sam Okafor" in texts(await client.call_tool("list_chats", {}))
    except NotInstalled as error:
        pytest.skip(f"it could not be installed: {error}")
