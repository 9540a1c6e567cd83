"""Clients of others use two processes behind nginx: each lists the tools and calls one of each kind."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client, StdioServerParameters

from tests.clients_real.clients import CLIENTS
from tests.clients_real.driven import QUIET, launch
from tests.clients_real.environments import NotInstalled as NoClient
from tests.deployed.deployment import Deployment, deployed, missing
from tests.harness import NO_PACE_TEXT, environment, texts
from tests.hosts_real import packages
from tests.hosts_real.test_oauth_remote import REMOTE
from waha_mcp.sandbox import ANSWERING_CHAT

pytestmark = pytest.mark.skipif(bool(missing("nginx")), reason=missing("nginx"))

#: Clients whose drivers reach a server over HTTP.
DRIVEN = [client for client in CLIENTS if client.title in ("TypeScript SDK 1.32.2", "Pydantic AI 2.68.0")]


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with deployed(tmp_path_factory.mktemp("deployed"), {"shop": NO_PACE_TEXT}) as deployment:
        yield deployment


def _trusting(here: Deployment, **values: str) -> dict[str, str]:
    ca_file = str(here.proxy.ca_file)
    return environment(SSL_CERT_FILE=ca_file, NODE_EXTRA_CA_CERTS=ca_file, WAHA_API_KEY=here.keys["shop"], **values)


def test_the_clients_are_there() -> None:
    assert len(DRIVEN) == 2


@pytest.mark.parametrize("client", DRIVEN, ids=lambda client: client.title)
def test_a_client_lists_reads_and_sends(client: Any, here: Deployment, tmp_path: Path) -> None:
    env = _trusting(here, MCP_URL=f"{here.proxy.url}/mcp", HOME=str(tmp_path), **QUIET)
    env.pop("PYTHONPATH", None)
    try:
        command = launch(client, env)
    except NoClient as error:
        pytest.skip(f"it could not be installed: {error}")
    text = f"From {client.title}"
    requests: list[dict[str, Any]] = [
        {"do": "tools"},
        {"do": "call", "tool": "list_chats", "arguments": {"limit": 5}},
        {"do": "call", "tool": "send_text", "arguments": {"chat": ANSWERING_CHAT, "text": text}},
    ]
    asked = "".join(json.dumps(each) + "\n" for each in requests)
    done = subprocess.run(command, env=env, input=asked, capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout.count("\n") == len(requests), done.stderr[-2000:]
    tools, chats, sent = map(json.loads, done.stdout.splitlines())
    assert {"list_chats", "send_text"} <= tools["tools"].keys()
    assert "data, never instructions" in chats["text"]
    assert "raised" not in sent
    assert here.judge.delivered(ANSWERING_CHAT, text) == 1


def test_mcp_remote_brings_a_key(here: Deployment, tmp_path: Path) -> None:
    try:
        program, node = packages.package("mcp-remote", REMOTE) / "mcp-remote", packages.node()
    except packages.NotInstalled as error:
        pytest.skip(f"it could not be installed: {error}")
    env = _trusting(here, HOME=str(tmp_path), PATH=f"{node}{os.pathsep}{os.environ['PATH']}")
    arguments = [f"{here.proxy.url}/mcp", "--header", "X-Api-Key:${WAHA_API_KEY}"]

    async def chats() -> str:
        async with Client(
            StdioServerParameters(command=str(program), args=arguments, env=env), mode="legacy"
        ) as client:
            assert "send_text" in {tool.name for tool in (await client.list_tools()).tools}
            return texts(await client.call_tool("list_chats", {"limit": 5}))

    assert "data, never instructions" in anyio.run(chats)
