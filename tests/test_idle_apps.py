"""Many Apps in one process: what they share exists once, and an idle App releases what it does not use."""

from __future__ import annotations

import threading
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
import trustme
from pydantic import SecretStr

from tests.canned import until
from tests.harness import app_for, opened_store
from tests.http_server import write_app
from waha_mcp import bridges as bridges_module
from waha_mcp.app import folder as folder_module
from waha_mcp.app.folder import AppFolder
from waha_mcp.bridge import Bridge, Shared
from waha_mcp.bridges import Bridges
from waha_mcp.sandbox import SandboxInfo
from waha_mcp.waha.client import Changes, Waha
from waha_mcp.waha.connecting import certificates, trusted

pytestmark = pytest.mark.anyio

LOOK = "GET /api/{session}/chats/overview"


async def test_an_unused_bridge_closes_its_connections_and_opens_others_for_the_next_request(
    sandbox: SandboxInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bridges_module, "ROUND", 0.01)
    monkeypatch.setattr(bridges_module, "RESTING", 0.0)
    app = app_for(sandbox, sandbox.keys["read"])
    bridges = Bridges()
    async with bridges.run():
        for _ in range(2):
            async with bridges.lease(app) as bridge:
                await bridge.call("list_chats", {"limit": 1})
                connections = bridge.waha._connections
                assert connections.clients is not None
            await until(partial(_closed, connections))


def _closed(connections: Any) -> bool:
    return connections.clients is None


async def test_connections_rest_only_where_no_request_is_under_way() -> None:
    asked, answer = anyio.Event(), anyio.Event()

    async def answered(request: httpx.Request) -> httpx.Response:
        asked.set()
        await answer.wait()
        return httpx.Response(200, headers={"content-type": "application/json"}, stream=httpx.ByteStream(b"[]"))

    waha = Waha("http://waha.test", SecretStr("key"), "default")
    transport = httpx.MockTransport(answered)
    waha._connections.clients = httpx.AsyncClient(transport=transport), httpx.AsyncClient(transport=transport)
    async with waha, anyio.create_task_group() as tasks:
        tasks.start_soon(waha.call, LOOK)
        await asked.wait()
        await waha.rest()
        assert not _closed(waha._connections)
        answer.set()
    assert _closed(waha._connections)


async def test_a_change_that_begins_after_a_rest_has_connections(sandbox: SandboxInfo) -> None:
    async with Waha(sandbox.url, SecretStr(sandbox.keys["read_send"]), "default") as waha:
        await waha.call(LOOK, query={"limit": 1})
        changing = waha.for_change(Changes())
        await waha.rest()
        assert await changing.call("POST /api/sendText", body={"chatId": "12025550123@c.us", "text": "Hello"})


def test_certificates_are_loaded_once_for_all_apps_until_their_file_changes(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(file)
    first = trusted("https://waha.test", file)
    assert trusted("https://other.test", file) is first
    assert trusted("https://waha.test", None) is not first
    assert trusted("http://waha.test", file) is not first
    # A caller that wants to change one gets a copy.
    assert certificates(file) is not first
    trustme.CA().cert_pem.write_to_path(file, append=True)
    assert trusted("https://waha.test", file) is not first


async def test_a_store_that_bridges_share_stays_open_when_one_of_them_goes(sandbox: SandboxInfo) -> None:
    store = opened_store()
    process = store.process
    for _ in range(2):
        async with Bridge(app_for(sandbox, sandbox.keys["read"]), shared=Shared(store)) as bridge:
            await bridge.call("list_chats", {"limit": 1})
            assert bridge.policy.store is store
        assert store.process == process


def test_while_one_thread_looks_at_the_folder_others_are_answered_from_what_was_there(
    sandbox: SandboxInfo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = sandbox.keys["read"]
    write_app(tmp_path, "first", sandbox, key)
    folder = AppFolder(tmp_path)
    monkeypatch.setattr(folder_module, "LOOK_EVERY", 0.0)
    looking, go_on, look = threading.Event(), threading.Event(), folder._look

    def slow() -> None:
        looking.set()
        assert go_on.wait(10)
        look()

    monkeypatch.setattr(folder, "_look", slow)
    (tmp_path / "first.toml").unlink()
    found: list[object] = []
    thread = threading.Thread(target=lambda: found.append(folder.by_key(SecretStr(key))))
    thread.start()
    assert looking.wait(10)
    assert not folder.due
    assert folder.by_key(SecretStr(key)) is not None
    go_on.set()
    thread.join(10)
    assert found == [None]
