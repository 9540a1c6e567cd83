"""What a call costs compared with direct REST, with a tool of the bare server, and with a full policy."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from typing import Any

import httpx

from tests.bench.clockwork import in_turns
from tests.bench.pipe import Pipe
from tests.bench.servers import BARE, CHATS_ROW, LIST_CHATS, PING, Bench, Call, succeeded
from tests.bench.table import Row, Section, added, times
from tests.harness import NO_PACE_TEXT

BURST = 64
CHATS = "/api/default/chats/overview"
TEXT = "See you on Friday!"
OURS, DIRECT, SDK = "waha-mcp", "direct REST", "bare ping"
#: Milliseconds above direct REST.
AIMS = {CHATS_ROW: 2.5, "send_text": 1.5}
#: The most that a burst may take, as a multiple of direct REST's time and of the faster peer's.
OF_DIRECT, OF_PEER = 1.3, 2.0

Runs = dict[str, Callable[[], object]]


def calls(bench: Bench) -> Section:
    """One call of each tool, and 64 at once, alternating between the servers."""
    section = Section(
        "A call",
        [
            "Medians, in brackets the time added to direct REST (httpx, keep-alive). Direct REST and peers make the "
            "same request; bare ping is a tool of the bare server: the cost of the SDK alone.",
            "Our own cost beyond that: every row is parsed and rendered for the model; each change uses a new "
            "connection, so that none is lost on one that WAHA has just closed; and a send is recorded in the store "
            "and the trail before it leaves and afterwards.",
        ],
    )
    with ExitStack() as stack:
        pipes = {OURS: bench.waha_mcp(), SDK: Pipe(BARE)} | {name: bench.peer(name) for name in bench.peers}
        for pipe in pipes.values():
            stack.callback(pipe.close)
        http = stack.enter_context(
            httpx.Client(
                base_url=bench.info.url,
                headers={"X-Api-Key": bench.info.keys["full"]},
                limits=httpx.Limits(max_connections=BURST, max_keepalive_connections=BURST),
            )
        )
        n = bench.sizes.calls
        for row, (call, direct) in _rows(bench, http).items():
            runs: Runs = {OURS: _asking(pipes[OURS], call), DIRECT: direct, SDK: _asking(pipes[SDK], PING)}
            for name in bench.peers:
                peers_call = bench.peers_call(name, row)
                if peers_call is not None:
                    runs[name] = _asking(pipes[name], peers_call)
            taken = in_turns(runs, n)
            cells = {name: f"{each:.1f} ms ({added(each, taken[DIRECT])})" for name, each in taken.items()}
            cells |= {name: f"{taken[name]:.1f} ms" for name in (DIRECT, SDK)}
            above = AIMS.get(row)
            met = None if above is None else taken[OURS] - taken[DIRECT] <= above
            section.rows.append(Row(row, cells, n, f"<= +{above} ms" if above else "", met))
        section.rows.append(_burst(bench, pipes, http))
    return section


def _rows(bench: Bench, http: httpx.Client) -> dict[str, tuple[Call, Callable[[], object]]]:
    """Our call, and the same done directly."""
    chat = bench.found["chat"]
    page = {"limit": 20, "downloadMedia": "false"}
    text = {"session": "default", "chatId": chat, "text": TEXT}

    def got(path: str, params: dict[str, Any]) -> object:
        return http.get(path, params=params).raise_for_status().json()

    return {
        CHATS_ROW: (LIST_CHATS, partial(got, CHATS, {"limit": 21, "offset": 0})),
        "get_messages, 20": (
            {"name": "get_messages", "arguments": {"chat": chat, "limit": 20}},
            partial(got, f"/api/default/chats/{chat}/messages", page),
        ),
        "send_text": (
            {"name": "send_text", "arguments": {"chat": chat, "text": TEXT, "allow_repeat": True}},
            lambda: http.post("/api/sendText", json=text).raise_for_status().json(),
        ),
    }


def _asking(pipe: Pipe, call: Call) -> Callable[[], object]:
    return lambda: succeeded(pipe.ask("tools/call", **call))


def _burst(bench: Bench, pipes: dict[str, Pipe], http: httpx.Client) -> Row:
    def asked(pipe: Pipe, call: Call) -> None:
        for _ in range(BURST):
            pipe.send("tools/call", **call)
        for _ in range(BURST):
            succeeded(pipe.receive())

    def direct() -> None:
        with ThreadPoolExecutor(BURST) as threads:
            get = partial(http.get, CHATS, params={"limit": 21, "offset": 0})
            list(threads.map(lambda _: get().raise_for_status().json(), range(BURST)))

    runs: Runs = {
        OURS: partial(asked, pipes[OURS], LIST_CHATS),
        DIRECT: direct,
        SDK: partial(asked, pipes[SDK], PING),
    }
    peers = {name: call for name in bench.peers if (call := bench.peers_call(name, CHATS_ROW)) is not None}
    runs |= {name: partial(asked, pipes[name], call) for name, call in peers.items()}
    taken = in_turns(runs, bench.sizes.bursts)
    cells = {name: f"{each:.0f} ms ({times(each, taken[DIRECT])})" for name, each in taken.items()}
    cells |= {name: f"{taken[name]:.0f} ms" for name in (DIRECT, SDK)}
    aim, met = burst_verdict(taken[OURS], taken[DIRECT], [taken[name] for name in peers])
    return Row(f"list_chats, {BURST} at once", cells, bench.sizes.bursts, aim, met)


def burst_verdict(ours: float, direct: float, peers: list[float]) -> tuple[str, bool]:
    """The aim of a burst and whether it is met; it includes the faster peer if there are peers."""
    aim, met = f"<= {OF_DIRECT}x direct", ours <= OF_DIRECT * direct
    if peers:
        return f"{aim}, {OF_PEER:.0f}x peer ({times(ours, min(peers))})", met and ours <= OF_PEER * min(peers)
    return aim, met


_POLICY = """
approval = "destructive"
audit = "text"
[chats]
existing_only = true
send = { allow = ["people", "groups"], deny = ["+12025550199"] }
read = { allow = ["people", "groups", "channels"], deny = ["120363999999999999@g.us"] }
[pace]
total = "100000/minute"
chat = "100000/minute"
first_contacts = "100000/minute"
gap = [0, 0]
"""
_NO_POLICY = f'audit = "off"\n{NO_PACE_TEXT}'


def policy(bench: Bench) -> Section:
    """What a call costs with every part of a policy, all of which let it pass, and with none."""
    section = Section("A policy", ["A call with every part of a policy, all of which let it pass, and with none."])
    pipes = {"whole policy": bench.waha_mcp(_POLICY), "none": bench.waha_mcp(_NO_POLICY)}
    chat = bench.found["chat"]
    asked = {
        CHATS_ROW: LIST_CHATS,
        "send_text": {"name": "send_text", "arguments": {"chat": chat, "text": "Hello", "allow_repeat": True}},
    }
    for what, call in asked.items():
        taken = in_turns({name: _asking(pipe, call) for name, pipe in pipes.items()}, bench.sizes.calls)
        whole, none = taken.values()
        cells = {name: f"{each:.1f} ms" for name, each in taken.items()} | {"added": f"{whole - none:+.2f} ms"}
        section.rows.append(Row(what, cells, bench.sizes.calls, "< +1 ms", whole - none < 1))
    for pipe in pipes.values():
        pipe.close()
    return section
