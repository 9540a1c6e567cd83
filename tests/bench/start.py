"""The time from the spawn to the first tools/list, and to the first answer of a call."""

from __future__ import annotations

import random
import socket
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial

from tests.bench.pipe import Pipe
from tests.bench.servers import BARE_NAME, LIST_CHATS, Bench, Call, Opened, succeeded
from tests.bench.table import Row, Section, times

FIRST, PREPARED = "waha-mcp, very first start", "waha-mcp, prepared listing"
COMPILING, BOTH = "waha-mcp, no bytecode", "waha-mcp, no bytecode, prepared listing"
AWAY, SILENT = "waha-mcp, WAHA away", "waha-mcp, WAHA silent"
#: The most that our time to the first listing may be, as a multiple of the bare server's.
AIMS = {PREPARED: 0.15, FIRST: 1.0, AWAY: 1.0, SILENT: 1.0}


def start(bench: Bench) -> Section:
    """Every way to start, alternating."""
    with _unanswering() as (away, silent):
        taken = _measured(_servers(bench, away, silent), bench.sizes.starts)
    listings = {name: each[0] for name, each in taken.items()}
    calls = {name: each[1] for name, each in taken.items()}
    section = Section(
        "Start",
        [
            "Milliseconds from the spawn to the answer to the first tools/list, and to that of a call right after it "
            "(20 chats; a ping of the bare server, the minimum with the same SDK). WAHA away or silent: with "
            "declared actions.",
        ],
    )
    for name, listing in listings.items():
        cells = {"to the listing": f"{listing:.0f} ms", "beside bare": times(listing, listings[BARE_NAME])}
        call, bare = calls[name], calls[BARE_NAME]
        if call is not None and bare is not None:
            cells |= {"to a call": f"{call:.0f} ms", "beside bare's": times(call, bare)}
        aim, met = verdict(name, listings, list(bench.peers))
        section.rows.append(Row(name, cells, bench.sizes.starts, aim, met))
    return section


def verdict(name: str, listings: Mapping[str, float], peers: list[str]) -> tuple[str, bool | None]:
    """The aim of a start and whether it is met; with peers, a prepared listing must be faster than theirs."""
    if name not in AIMS:
        return "", None
    aim, met = f"<= {AIMS[name]}x", listings[name] <= AIMS[name] * listings[BARE_NAME]
    if name == PREPARED and peers:
        return f"{aim}, before peers", met and listings[name] < min(listings[peer] for peer in peers)
    return aim, met


def _servers(bench: Bench, away: str, silent: str) -> dict[str, Opened]:
    prepared, compiled = bench.folder(), bench.folder()
    # The run that prepares: its listing is confirmed, and a call is answered.
    pipe = bench.waha_mcp(folder=prepared)
    pipe.ask("tools/list")
    succeeded(pipe.ask("tools/call", **LIST_CHATS))
    pipe.close()
    uncompiled = {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONPYCACHEPREFIX": compiled}
    declared = 'actions = ["read", "send"]\n'
    ours: dict[str, Opened] = {
        FIRST: (bench.waha_mcp, LIST_CHATS),
        PREPARED: (partial(bench.waha_mcp, folder=prepared), LIST_CHATS),
        COMPILING: (partial(bench.waha_mcp, **uncompiled), LIST_CHATS),
        BOTH: (partial(bench.waha_mcp, folder=prepared, **uncompiled), LIST_CHATS),
        AWAY: (partial(bench.waha_mcp, declared, url=away), None),
        SILENT: (partial(bench.waha_mcp, declared, url=silent), None),
    }
    return ours | bench.others()


def _measured(servers: Mapping[str, Opened], n: int) -> dict[str, tuple[float, float | None]]:
    taken: dict[str, list[tuple[float, float | None]]] = {name: [] for name in servers}
    for turn in range(n):
        # In a different order each time: a server that has just been closed still slows the next one.
        for name in random.Random(turn).sample([*servers], len(servers)):
            taken[name].append(_once(*servers[name]))
    medians: dict[str, tuple[float, float | None]] = {}
    for name, pairs in taken.items():
        calls = [call for _, call in pairs if call is not None]
        medians[name] = (statistics.median(pair[0] for pair in pairs), statistics.median(calls) if calls else None)
    return medians


def _once(opened: Callable[[], Pipe], call: Call | None) -> tuple[float, float | None]:
    started = time.perf_counter()
    pipe = opened()
    pipe.ask("tools/list")
    listing = (time.perf_counter() - started) * 1000
    answered = None
    if call is not None:
        succeeded(pipe.ask("tools/call", **call))
        answered = (time.perf_counter() - started) * 1000
    pipe.close()
    return listing, answered


@contextmanager
def _unanswering() -> Iterator[tuple[str, str]]:
    """A port that refuses connections, and one that accepts them and never answers."""
    with ExitStack() as stack:
        away, silent = (stack.enter_context(socket.socket()) for _ in range(2))
        for each in (away, silent):
            each.bind(("127.0.0.1", 0))
        silent.listen(100)
        yield f"http://127.0.0.1:{away.getsockname()[1]}", f"http://127.0.0.1:{silent.getsockname()[1]}"
