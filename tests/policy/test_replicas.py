"""Processes that share a store which is away for a while: the effects of one are known to the others."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import httpx
import pytest

from tests.deployed.replicas import replicas
from tests.harness import sandbox_server
from tests.http_server import until, write_app
from tests.redis_server import RedisServer

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("redis-server") is None, reason="redis-server is not installed"),
]

TO, TEXT = "12025550123@c.us", "The room is free from Monday."
#: What keeps Redis's data over a restart.
KEPT = ("--appendonly", "yes", "--appendfsync", "always")


def test_a_send_that_ended_without_the_store_is_known_to_the_other_process_once_it_is_back(tmp_path: Path) -> None:
    redis = RedisServer(tmp_path / "redis", *KEPT).start()
    apps = tmp_path / "apps"
    try:
        with sandbox_server() as sandbox:
            key, admin = sandbox.keys["full"], {"X-Api-Key": sandbox.admin_key}
            write_app(apps, "assistant", sandbox, key)
            with (
                replicas(2, apps, tmp_path / "state", WAHA_MCP_STORE=redis.url) as found,
                found[0].caller(key) as one,
                found[1].caller(key) as two,
            ):
                fault = {"path": "/api/sendText", "delay": 3}
                httpx.post(f"{sandbox.url}/sandbox/faults", json=fault, headers=admin).raise_for_status()
                answers: list[str] = []

                def send() -> None:
                    answers.append(one.tool("send_text", chat=TO, text=TEXT).words)

                def other() -> str:
                    return two.tool("send_text", chat=TO, text=TEXT).words

                calling = threading.Thread(target=send)
                calling.start()
                log = f"{sandbox.url}/sandbox/requests"
                until(lambda: "/api/sendText" in httpx.get(log, headers=admin).text)
                redis.end(kill=True)
                calling.join()
                assert "message_id" in answers[0]
                redis.start()
                # Nobody asks the first one again.
                until(lambda: "The same was done" in other())
    finally:
        redis.end()
