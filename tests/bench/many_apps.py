"""What an idle App costs: memory, threads and open files of one `serve --http` with many of them."""

from __future__ import annotations

import os
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import httpx

from tests.bench.servers import LIST_CHATS, Bench
from tests.bench.table import Row, Section
from tests.bench.weight import memory_of
from tests.harness import sandbox_server
from tests.http_server import Served, http_server, write_app
from waha_mcp import bridges
from waha_mcp.sandbox import SandboxInfo

#: Bytes that an idle App holds at most.
AIM = 1_000_000
#: Seconds after which an idle server has released what it keeps for the next request.
IDLE = bridges.RESTING + bridges.ROUND + 1


def apps(bench: Bench) -> Section:
    """Each App lists its tools and reads once; measured is what remains once all are idle, beyond one App."""
    count = bench.sizes.apps
    section = Section(
        f"{count} Apps in one process",
        [
            f"One `waha-mcp serve --http` with {count} Apps, each with a session of its own (25 contacts, 20 chats) "
            f"and its own key. Each lists its tools and its chats; then there are no requests for {IDLE:g} s. "
            "Per App: the increase over the state after the first App alone, divided by the number of the others.",
        ],
    )
    with ExitStack() as stack:
        folder = Path(bench.folder())
        # A separate sandbox: its many accounts would slow down the next measurement.
        keys = definitions(stack.enter_context(sandbox_server()), folder, count)
        server = stack.enter_context(http_server("--apps", str(folder), state=Path(bench.folder())))
        if not memory_of(server.pid):
            section.notes.append("SKIPPED: /proc/PID/smaps_rollup tells no memory here.")
            return section
        empty = _held(server)
        for _ in range(3):
            _use(server, keys[0])
        one = _settled(server)
        for key in keys[1:]:
            _use(server, key)
        busy, all_ = _held(server), _settled(server)
    for what, each in {"no App": empty, "1 App, idle": one, f"{count} Apps, just used": busy}.items():
        section.rows.append(Row(what, _cells(each)))
    section.rows.append(Row(f"{count} Apps, idle", _cells(all_)))
    per = {name: (all_[name] - one[name]) / (count - 1) for name in all_}
    cells = {name: f"{size / 1000:,.0f} kB" if name.isupper() else f"{size:.2f}" for name, size in per.items()}
    section.rows.append(Row("per idle App", cells, count - 1, f"< {AIM / 1_000_000:.0f} MB", per["RSS"] < AIM))
    return section


def definitions(info: SandboxInfo, folder: Path, count: int) -> list[str]:
    """Create this many sessions, a key for each, and their definitions in a folder; returns the keys."""
    keys = []
    with httpx.Client(base_url=info.url, headers={"X-Api-Key": info.admin_key}, timeout=60) as http:

        def post(path: str, **body: Any) -> dict[str, Any]:
            return dict(http.post(path, json=body).raise_for_status().json())

        for number in range(count):
            name = f"app{number}"
            post("/api/sessions", name=name, start=False)
            post("/sandbox/session", session=name, status="WORKING")
            made = post("/api/keys", isAdmin=False, session=name, isActive=True, actions={"read": True, "send": True})
            keys.append(made["key"])
            write_app(folder, name, info, keys[-1], id=name, session=name)
    return keys


def _use(server: Served, key: str) -> None:
    with server.caller(key) as caller:
        assert caller.tools()
        answer = caller.ask("tools/call", **LIST_CHATS)
        assert answer.good, answer.text


def _held(server: Served) -> dict[str, int]:
    """Bytes by kind, and numbers of threads and open files."""
    there = Path(f"/proc/{server.pid}")
    held = memory_of(server.pid)
    with suppress(OSError):
        held |= {"threads": len(os.listdir(there / "task")), "files": len(os.listdir(there / "fd"))}
    return held


def _settled(server: Served) -> dict[str, int]:
    time.sleep(IDLE)
    return _held(server)


def _cells(held: dict[str, int]) -> dict[str, str]:
    return {name: f"{size / 1_000_000:.1f} MB" if name.isupper() else str(size) for name, size in held.items()}
