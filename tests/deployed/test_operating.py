"""One process of `serve --http` from an operator's view: metrics, logs, readiness, and shutdown."""

from __future__ import annotations

import json
import re
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from mcp.shared.exceptions import MCPError

from tests.attacks.judge import Judge
from tests.deployed.replicas import replicas, trail
from tests.harness import ERAS, Era, payload, run, sandbox_server, texts
from tests.http_server import Served, connected, write_app
from waha_mcp.sandbox import ANSWERING_CHAT, SandboxInfo

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

SEND = "/api/sendText"


class Place:
    """A sandbox, an App on it and where its state is."""

    def __init__(self, sandbox: SandboxInfo, judge: Judge, folder: Path) -> None:
        self.sandbox, self.judge = sandbox, judge
        self.apps, self.state = folder / "apps", folder / "state"
        self.key = sandbox.keys["read_send"]
        write_app(self.apps, "shop", sandbox, self.key)

    @asynccontextmanager
    async def held_send(self, replica: Served, text: str, era: Era = "auto") -> AsyncIterator[list[Any]]:
        """A send in progress, which WAHA does not answer before `settle`. Its result or error is in the list then."""
        got: list[Any] = []

        async def send() -> None:
            try:
                async with connected(replica.base, self.key, era) as client:
                    await client.list_tools()  # the SDK would do so after the call
                    got.append(await client.call_tool("send_text", {"chat": ANSWERING_CHAT, "text": text}))
            except Exception as error:
                got.append(error)

        self.judge.fault(SEND, delay=300)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(send)
            await anyio.to_thread.run_sync(self.judge.await_request, SEND)
            yield got

    async def settle(self) -> None:
        await anyio.to_thread.run_sync(self.judge.settle)


@pytest.fixture(scope="module")
def servant() -> Iterator[SandboxInfo]:
    with sandbox_server() as info:
        yield info


@pytest.fixture
def place(servant: SandboxInfo, tmp_path: Path) -> Iterator[Place]:
    judge = Judge(servant)
    judge.no_faults()
    judge.forget()
    yield Place(servant, judge, tmp_path)
    judge.close()


async def refuses_connections(replica: Served) -> None:
    with anyio.fail_after(10):
        while True:
            try:
                socket.create_connection(("127.0.0.1", replica.port), 1).close()
            except OSError:
                return
            await anyio.sleep(0.02)


# Metrics


async def test_metrics_count_calls_refusals_and_wahas_answers_without_a_word_of_the_clients(place: Place) -> None:
    write_app(place.apps, "shop", place.sandbox, place.key, '[chats]\nsend = { deny = ["*"] }\n')
    with replicas(1, place.apps, place.state) as [replica]:
        async with connected(replica.base, place.key) as client:
            payload(await client.call_tool("list_chats", {"limit": 3}))
            refused = await client.call_tool("send_text", {"chat": ANSWERING_CHAT, "text": "made-up words"})
            assert refused.is_error
            with pytest.raises(MCPError):
                await client.call_tool("made_up_tool", {"secret_name": 1})
        assert httpx2.post(f"{replica.base}/mcp", headers={"X-Api-Key": "made_up_key_1"}).status_code == 401
        assert httpx2.post(f"{replica.base}/mcp", headers={"Host": "made.up"}).status_code == 421
        found = replica.metrics()
        shown = replica.get("/metrics").text
    assert found['waha_mcp_calls_total{outcome="done",tool="list_chats"}'] == 1
    assert found['waha_mcp_calls_total{outcome="refused",tool="send_text"}'] == 1
    assert found['waha_mcp_calls_total{outcome="refused",tool="unknown"}'] == 1
    assert found['waha_mcp_refusals_total{reason="recipient refused"}'] == 1
    assert found['waha_mcp_refusals_total{reason="not offered"}'] == 1
    assert found['waha_mcp_requests_refused_total{status="401"}'] == 1
    assert found['waha_mcp_requests_refused_total{status="421"}'] == 1
    assert found['waha_mcp_waha_seconds_count{operation="GET /api/{session}/chats/overview",status="2xx"}'] >= 1
    assert found["waha_mcp_bridges"] == 1
    assert found["process_resident_memory_bytes"] > 0
    for word in ("shop", "default", "made", ANSWERING_CHAT.partition("@")[0], place.key):
        assert word not in shown


async def test_metrics_are_for_this_machine_and_private_networks_by_whatever_name_they_are_asked(place: Place) -> None:
    from_outside = {"X-Forwarded-For": "8.8.8.8"}
    with replicas(1, place.apps, place.state, "--trusted-proxy", "127.0.0.1") as [replica]:
        assert replica.get("/metrics", Host="10.0.0.7:8080").status_code == 200
        # As nginx on the same machine forwards requests from outside.
        outside = replica.get("/metrics", **from_outside)
        assert (outside.status_code, "waha_mcp" in outside.text) == (403, False)
    # No other client's header is trusted.
    with replicas(1, place.apps, place.state, "--trusted-proxy", "10.0.0.0/8") as [replica]:
        assert replica.get("/metrics", **from_outside).status_code == 200


# Logs


async def test_json_logs_are_an_object_a_line_without_keys(place: Place) -> None:
    place.judge.fault("/api/sendText", status=500, body="a fault")
    with replicas(1, place.apps, place.state, "--log-format", "json", "--log-level", "debug") as [replica]:
        async with connected(replica.base, place.key) as client:
            assert (await client.call_tool("send_text", {"chat": ANSWERING_CHAT, "text": place.key})).is_error
        assert replica.stop() == 0
    lines = [json.loads(line) for line in replica.lines]
    assert {frozenset(line) for line in lines} == {frozenset({"time", "level", "logger", "message"})}
    assert {line["level"] for line in lines} >= {"debug", "info"}
    assert all(datetime.fromisoformat(line["time"]).utcoffset() is not None for line in lines)
    assert any(re.fullmatch(r"POST /api/sendText -> 500 in \d+ ms", line["message"]) for line in lines)
    assert place.key not in "\n".join(replica.lines)


def test_a_proxy_is_an_address_or_a_network(tmp_path: Path) -> None:
    done = run("serve", "--http", "--apps", str(tmp_path), "--trusted-proxy", "nginx")
    assert done.returncode == 2
    assert "--trusted-proxy: 'nginx' does not appear to be" in done.stderr


# Readiness


async def test_it_is_not_ready_while_the_store_cannot_be_read_and_is_again_afterwards(place: Place) -> None:
    with replicas(1, place.apps, place.state) as [replica]:
        assert replica.get("/readyz").json() == {"ready": True, "problem": None}
        store = place.state / "waha-mcp/store.sqlite"
        aside = store.with_name("aside")
        aside.mkdir()
        for each in store.parent.glob("store.sqlite*"):
            each.rename(aside / each.name)
        store.mkdir()
        assert replica.await_ready(503) == {"ready": False, "problem": "the store cannot be used"}
        assert replica.get("/healthz").status_code == 200
        async with connected(replica.base, place.key) as client:
            assert "store" in texts(await client.call_tool("send_text", {"chat": ANSWERING_CHAT, "text": "away"}))
            payload(await client.call_tool("list_chats", {}))
        assert place.judge.delivered(ANSWERING_CHAT, "away") == 0
        store.rmdir()
        for each in aside.iterdir():
            each.rename(store.with_name(each.name))
        assert replica.await_ready()["ready"]


# The end


@pytest.mark.parametrize("era", ERAS)
async def test_a_send_under_way_ends_with_its_true_outcome_after_sigterm(era: Era, place: Place) -> None:
    text = f"on the way {era}"
    with replicas(1, place.apps, place.state) as [replica]:
        async with place.held_send(replica, text, era) as got:
            replica.signal(signal.SIGTERM)
            await refuses_connections(replica)
            # Supervisors may send it to a process and to its group.
            replica.signal(signal.SIGTERM)
            assert not got
            await place.settle()
        assert payload(got[0])["message_id"]
        assert await anyio.to_thread.run_sync(replica.ended) == 0
    assert place.judge.delivered(ANSWERING_CHAT, text) == 1
    assert [line["outcome"] for line in trail(place.state, "shop") if line["tool"] == "send_text"] == ["begun", "done"]


async def test_what_takes_longer_than_the_drain_is_cut_off_and_noted_as_unknown(place: Place) -> None:
    short = "import waha_mcp.server.http as http; http.DRAIN = 1\n"
    with replicas(1, place.apps, place.state, first=short) as [replica]:
        async with place.held_send(replica, "too slow") as got:
            replica.signal(signal.SIGTERM)
            assert await anyio.to_thread.run_sync(replica.ended, 10.0) == 0
        assert isinstance(got[0], Exception) or "unknown" in texts(got[0])
    lines = [line["outcome"] for line in trail(place.state, "shop") if line["tool"] == "send_text"]
    assert lines == ["begun", "unknown"]
    await place.settle()


async def test_ctrl_c_twice_does_not_wait_and_the_outcome_is_noted_as_unknown(place: Place) -> None:
    with replicas(1, place.apps, place.state) as [replica]:
        async with place.held_send(replica, "in a hurry"):
            replica.signal(signal.SIGINT)
            await refuses_connections(replica)
            replica.signal(signal.SIGINT)
            assert await anyio.to_thread.run_sync(replica.ended, 10.0) == 0
    lines = [line["outcome"] for line in trail(place.state, "shop") if line["tool"] == "send_text"]
    assert lines == ["begun", "unknown"]
    await place.settle()


@pytest.mark.parametrize("era", ERAS)
async def test_open_streams_do_not_hold_up_the_shutdown(era: Era, place: Place) -> None:
    with replicas(1, place.apps, place.state, "--sessions") as [replica]:
        idle = socket.create_connection(("127.0.0.1", replica.port))
        idle.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert idle.makefile("rb").readline() == b"HTTP/1.1 200 OK\r\n"
        async with AsyncExitStack() as stack:
            client = await stack.enter_async_context(connected(replica.base, place.key, era))
            if era == "auto":
                await stack.enter_async_context(client.listen(tools_list_changed=True))
            else:  # the SDK's client has a stream open by now, or is about to open it
                await client.list_tools()
            replica.signal(signal.SIGTERM)
            assert await anyio.to_thread.run_sync(replica.ended, 8.0) == 0
        idle.settimeout(5)
        while idle.recv(4096):  # raises if it stays open
            pass
        idle.close()
