"""`python -m tests.bench`: what the bridge costs, side by side with doing without it, in one run.

Times are medians of interleaved repetitions on this machine, so read the ratios. An aim that is missed is marked;
the exit code stays 0, because a busy machine is no defect.
"""

from __future__ import annotations

import functools
import json
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx

from tests.bench.pipe import Pipe
from tests.harness import COMMAND, sandbox_server
from waha_mcp.sandbox import SandboxInfo

STARTS, CALLS, BURST, BURSTS = 9, 200, 64, 5
BARE = [sys.executable, "-m", "tests.bench.bare_server"]
CHATS = "/api/default/chats/overview"


def milliseconds(run: Callable[[], object]) -> float:
    started = time.perf_counter()
    run()
    return (time.perf_counter() - started) * 1000


def row(what: str, ours: str, theirs: str, verdict: str, aim: str, met: bool | None) -> None:
    mark = "" if met is None else "ok" if met else "MISSED"
    print(f"{what:<34} {ours:>12} {theirs:>12} {verdict:>10}  {aim:<14} {mark}")


def serve(info: SandboxInfo, key: str) -> Pipe:
    return Pipe([*COMMAND, "serve"], WAHA_URL=info.url, WAHA_API_KEY=info.keys[key])


def start_up(what: str, open_pipe: Callable[[], Pipe], aim: float) -> None:
    """From the spawn to the answer to tools/list, beside the least server there can be."""

    def start(open_pipe: Callable[[], Pipe]) -> float:
        started = time.perf_counter()
        pipe = open_pipe()
        pipe.ask("tools/list")
        taken = (time.perf_counter() - started) * 1000
        pipe.close()
        return taken

    pairs = [(start(open_pipe), start(lambda: Pipe(BARE))) for _ in range(STARTS)]
    ours, bare = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratio = ours / bare
    row(what, f"{ours:.0f} ms", f"{bare:.0f} ms", f"{ratio:.2f}x", f"<= {aim}x", ratio <= aim)


def start_up_without_waha() -> None:
    """An App that declares its actions, where WAHA is away, and where it takes connections and never answers."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(100)
        with socket.socket() as taken:
            # Bound and not listening: connections are refused.
            taken.bind(("127.0.0.1", 0))
            for what, where in {"WAHA away": taken, "WAHA silent": silent}.items():
                url = f"http://127.0.0.1:{where.getsockname()[1]}"
                env = {"WAHA_URL": url, "WAHA_API_KEY": "bench", "WAHA_ACTIONS": "read,send"}
                start_up(f"the same, {what}", functools.partial(Pipe, [*COMMAND, "serve"], **env), 1.35)


def one_call(info: SandboxInfo, pipe: Pipe, http: httpx.Client) -> None:
    def call() -> None:
        pipe.ask("tools/call", name="list_chats", arguments={"limit": 20})

    def direct() -> None:
        http.get(CHATS, params={"limit": 21, "offset": 0}).json()

    call()
    direct()
    pairs = [(milliseconds(call), milliseconds(direct)) for _ in range(CALLS)]
    ours, bare = (statistics.median(column) for column in zip(*pairs, strict=True))
    row(
        "list_chats, one call",
        f"{ours:.1f} ms",
        f"{bare:.1f} ms",
        f"+{ours - bare:.1f} ms",
        "<= +6 ms",
        ours - bare <= 6,
    )


def burst(pipe: Pipe, http: httpx.Client) -> None:
    def calls() -> None:
        for _ in range(BURST):
            pipe.send("tools/call", name="list_chats", arguments={"limit": 20})
        for _ in range(BURST):
            pipe.receive()

    def direct() -> None:
        with ThreadPoolExecutor(BURST) as threads:
            list(threads.map(lambda _: http.get(CHATS, params={"limit": 21, "offset": 0}).json(), range(BURST)))

    calls()
    direct()
    pairs = [(milliseconds(calls), milliseconds(direct)) for _ in range(BURSTS)]
    ours, bare = (statistics.median(column) for column in zip(*pairs, strict=True))
    row(f"list_chats, {BURST} at once", f"{ours:.0f} ms", f"{bare:.0f} ms", f"{ours / bare:.2f}x", "", None)


def listing_sizes(info: SandboxInfo) -> None:
    for key in ("read", "send", "read_send"):
        pipe = serve(info, key)
        tools = pipe.ask("tools/list")["tools"]
        pipe.close()
        size = len(json.dumps(tools, ensure_ascii=False).encode())
        told = [{name: tool[name] for name in ("name", "description", "inputSchema")} for tool in tools]
        core = len(json.dumps(told, ensure_ascii=False).encode())
        limit = key == "read_send"
        row(
            f"tools/list, {key}: {len(tools)} tools",
            f"{size} B",
            "",
            f"{core} B",
            "<= 10240 B" if limit else "",
            core <= 10_240 if limit else None,
        )


def result_sizes(pipe: Pipe, http: httpx.Client) -> None:
    chat = http.get(CHATS, params={"limit": 1}).json()[0]["id"]
    messages = f"/api/default/chats/{chat}/messages"
    pairs: dict[str, tuple[tuple[str, dict[str, Any]], tuple[str, dict[str, Any]]]] = {
        "list_chats, 20": (("list_chats", {"limit": 20}), (CHATS, {"limit": 20})),
        "get_unread": (("get_unread", {}), (CHATS, {"limit": 100})),
        "find_chats": (("find_chats", {"query": "maya"}), ("/api/contacts/all", {"session": "default"})),
        "search_messages": (
            ("search_messages", {"query": "friday"}),
            ("/api/default/chats/all/messages", {"limit": 600, "downloadMedia": "false"}),
        ),
        "get_contacts, 50": (("get_contacts", {"limit": 50}), ("/api/contacts/all", {"session": "default"})),
        "list_groups, 20": (("list_groups", {"limit": 20}), ("/api/default/groups", {"limit": 20})),
        "get_messages, 50": (
            ("get_messages", {"chat": chat, "limit": 50}),
            (messages, {"limit": 50, "downloadMedia": "false"}),
        ),
    }
    for what, ((name, arguments), (path, params)) in pairs.items():
        ours = len(pipe.ask("tools/call", name=name, arguments=arguments)["content"][0]["text"].encode())
        raw = len(http.get(path, params=params).content)
        row(f"{what}: result", f"{ours} B", f"{raw} B", f"{ours / raw:.0%}", "<= 25%", ours / raw <= 0.25)


def large_account(small: Pipe) -> None:
    """What an account of 20,000 contacts and 200,000 messages costs, beside the sandbox's own."""
    with sandbox_server("--contacts", "20000", "--messages", "200000") as info:
        pipe = serve(info, "read_send")
        first = milliseconds(lambda: pipe.ask("tools/call", name="find_chats", arguments={"query": "maya"}))
        row("find_chats, 20,000 contacts, cold", f"{first:.0f} ms", "", "", "", None)
        calls: dict[str, tuple[dict[str, Any], str]] = {
            "find_chats": ({"query": "dmitri kowalsky"}, "< 50 ms"),
            "get_messages": ({"chat": "Maya Lindqvist", "limit": 20}, "<= 1.5x"),
        }
        for tool, (arguments, aim) in calls.items():
            runs = [functools.partial(each.ask, "tools/call", name=tool, arguments=arguments) for each in (pipe, small)]
            pairs = [tuple(milliseconds(run) for run in runs) for _ in range(CALLS // 4)]
            ours, base = (statistics.median(column) for column in zip(*pairs, strict=True))
            met = ours < 50 if tool == "find_chats" else ours <= 1.5 * base
            row(f"{tool}, large beside small", f"{ours:.1f} ms", f"{base:.1f} ms", f"{ours / base:.2f}x", aim, met)
        pipe.close()


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
_NO_POLICY = """
audit = "off"
[pace]
total = ""
chat = ""
first_contacts = ""
gap = [0, 0]
"""


def policy(info: SandboxInfo) -> None:
    """What a call costs with every part of a policy that lets it pass, and with none."""
    calls: dict[str, dict[str, Any]] = {
        "list_chats": {"limit": 20},
        "send_text": {"chat": "12025550123@c.us", "text": "Hello", "allow_repeat": True},
    }
    with tempfile.TemporaryDirectory() as folder:
        pipes = []
        for name, text in {"with": _POLICY, "without": _NO_POLICY}.items():
            file = Path(folder) / f"{name}.toml"
            file.write_text(f'id = "{name}"\nurl = "{info.url}"\n{text}')
            env = {"WAHA_API_KEY": info.keys["read_send"], "XDG_STATE_HOME": folder}
            pipes.append(Pipe([*COMMAND, "serve", "--app", str(file)], **env))
        for tool, arguments in calls.items():
            runs = [functools.partial(pipe.ask, "tools/call", name=tool, arguments=arguments) for pipe in pipes]
            for run in runs:
                assert not run().get("isError"), tool
            pairs = [tuple(milliseconds(run) for run in runs) for _ in range(CALLS)]
            ours, bare = (statistics.median(column) for column in zip(*pairs, strict=True))
            added = ours - bare
            row(
                f"{tool}: a whole policy or none",
                f"{ours:.1f} ms",
                f"{bare:.1f} ms",
                f"+{added:.2f} ms",
                "< +1 ms",
                added < 1,
            )
        for pipe in pipes:
            pipe.close()


def main() -> None:
    print(f"{'':<34} {'waha-mcp':>12} {'without':>12} {'':>10}  {'aim':<14}")
    with sandbox_server() as info:
        start_up("spawn to first tools/list", lambda: serve(info, "read_send"), 1.25)
        start_up_without_waha()
        pipe = serve(info, "read_send")
        limits = httpx.Limits(max_connections=BURST)
        with httpx.Client(base_url=info.url, headers={"X-Api-Key": info.keys["read"]}, limits=limits) as http:
            one_call(info, pipe, http)
            burst(pipe, http)
            listing_sizes(info)
            result_sizes(pipe, http)
        policy(info)
        large_account(pipe)
        pipe.close()


if __name__ == "__main__":
    main()
