"""The time from a message's arrival at WAHA to the answer of a tool that waits for it."""

from __future__ import annotations

import json
import statistics
import time
from typing import Any

import httpx

from tests.bench.servers import Bench, succeeded
from tests.bench.table import Row, Section
from waha_mcp.sandbox import ANSWERING_CHAT

#: Milliseconds.
AIM = 20.0


def hear(bench: Bench) -> Section:
    """With `settle` 0, so that only the transport is measured."""
    section = Section(
        "Hearing",
        [
            "Milliseconds from a message's arrival at WAHA to the answer of wait_for_messages with settle 0; for "
            "comparison, the time that WAHA alone takes until the message has arrived and its event is sent.",
        ],
    )
    pipe, n = bench.waha_mcp(), bench.sizes.calls
    cursor = _answer(pipe.ask("tools/call", name="get_updates", arguments={}))["cursor"]
    heard, arrived = list[float](), list[float]()
    with httpx.Client(base_url=bench.info.url, headers={"X-Api-Key": bench.info.admin_key}, verify=False) as http:
        for number in range(n):
            waiting = {"after": cursor, "settle": 0, "timeout": 30}
            pipe.send("tools/call", name="wait_for_messages", arguments=waiting)
            # Once this is answered, the previous call is in progress.
            pipe.ask("ping")
            time.sleep(0.02)
            started = time.perf_counter()
            body = {"chatId": ANSWERING_CHAT, "text": f"message {number}"}
            http.post("/sandbox/messages", json=body).raise_for_status()
            arrived.append((time.perf_counter() - started) * 1000)
            found = _answer(pipe.receive())
            heard.append((time.perf_counter() - started) * 1000)
            assert [each["text"] for each in found["messages"]] == [f"message {number}"]
            cursor = found["cursor"]
    pipe.close()
    median = statistics.median(heard)
    cells = {"waha-mcp": f"{median:.1f} ms", "WAHA alone": f"{statistics.median(arrived):.1f} ms"}
    section.rows.append(Row("a message", cells, n, f"< {AIM:.0f} ms", median < AIM))
    return section


def _answer(result: Any) -> Any:
    succeeded(result)
    return json.loads(result["content"][0]["text"])
