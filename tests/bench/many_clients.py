"""Calls per second and latency of `serve --http`, compared with WAHA: few clients and many."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx

from tests.bench.calls import CHATS
from tests.bench.load import ERAS, Era, Load, get, of_httpx, of_requests, post
from tests.bench.many_apps import definitions
from tests.bench.replay import replaying
from tests.bench.servers import LIST_CHATS, Bench
from tests.bench.table import Row, Section, times
from tests.http_server import http_server, write_app
from tests.serving import free_port

#: Apps that share the clients.
APPS = 8
#: nginx is in a folder for administrators' programs that is not in every PATH.
_PATHS = "/usr/sbin:/usr/local/sbin:/usr/local/bin:/usr/bin:/bin"
#: Seconds in which nginx must answer.
_SOON = 10.0

#: The load with this many clients.
Loaded = Callable[[int], Load]


def http(bench: Bench) -> Section:
    """Each row with each number of clients, alternating."""
    section = Section(
        "Many clients over HTTP",
        [
            f"Answers per second and the 99th percentile of latency in milliseconds. The clients of {APPS} Apps each "
            f"ask again once they are answered, for {bench.sizes.load:g} s; the ratio is to httpx with as many "
            "clients. Clients, servers and WAHA share this machine's cores: two processes are no faster if these are "
            "busy.",
            "WAHA's answers are replayed by a small server, since the sandbox would be the bottleneck; its row is the "
            "upper bound. httpx: a program that asks WAHA for the same chats (one page, as list_chats) and "
            "decodes the JSON. Rows of waha-mcp use the newer era unless another is named.",
        ],
    )
    with ExitStack() as stack:
        rows = _rows(bench, section, stack)
        cells: dict[str, dict[str, str]] = {what: {} for what in rows}
        for clients in bench.sizes.clients:
            loads = {what: loaded(clients) for what, loaded in rows.items()}
            for what, load in loads.items():
                beside = "" if what in (_REPLAYED, _HTTPX) else f" · {times(load.rate, loads[_HTTPX].rate)}"
                cells[what][f"{clients} clients" if clients > 1 else "1 client"] = f"{load}{beside}"
    section.rows += [Row(what, each) for what, each in cells.items()]
    return section


_REPLAYED, _HTTPX = "WAHA, replayed", "direct REST, httpx"


def _rows(bench: Bench, section: Section, stack: ExitStack) -> dict[str, Loaded]:
    waha = stack.enter_context(replaying(bench.info.url))
    folder = Path(bench.folder())
    keys = definitions(bench.info, folder, APPS)
    for number, key in enumerate(keys):
        write_app(folder, f"app{number}", bench.info, key, id=f"app{number}", session=f"app{number}", url=waha)
    arguments, state = ("--apps", str(folder)), Path(bench.folder())
    chats = [f"{waha}{CHATS.replace('default', f'app{number}')}?limit=21&offset=0" for number in range(APPS)]
    gets = [get(url, key) for url, key in zip(chats, keys, strict=True)]
    seconds = bench.sizes.load

    def asking(url: str, method: str, era: Era, **params: object) -> Loaded:
        requests = [post(url, key, method, era, **params) for key in keys]
        return lambda clients: of_requests(url, requests, clients, seconds)

    one = stack.enter_context(http_server(*arguments, state=state))
    rows: dict[str, Loaded] = {
        _REPLAYED: lambda clients: of_requests(waha, gets, clients, seconds, len),
        _HTTPX: lambda clients: of_httpx(chats[0], keys[0], clients, seconds),
    }
    for era in ERAS:
        name = "" if era == ERAS[0] else f", {era}"
        rows[f"list_chats, one process{name}"] = asking(one.url, "tools/call", era, **LIST_CHATS)
        rows[f"tools/list, one process{name}"] = asking(one.url, "tools/list", era)
    if (program := shutil.which("nginx", path=_PATHS)) is None:
        section.notes.append("SKIPPED: two processes behind nginx, which is not installed here.")
        return rows
    two = [one, stack.enter_context(http_server(*arguments, state=state))]
    proxy = stack.enter_context(_nginx(program, Path(bench.folder()), [each.address for each in two]))
    rows["list_chats, two behind nginx"] = asking(f"{proxy}/mcp", "tools/call", ERAS[0], **LIST_CHATS)
    rows["tools/list, two behind nginx"] = asking(f"{proxy}/mcp", "tools/list", ERAS[0])
    return rows


@contextmanager
def _nginx(program: str, folder: Path, servers: Sequence[tuple[str, int]]) -> Iterator[str]:
    """nginx in front of these servers, with keep-alive connections to them; its URL."""
    port = free_port()
    upstream = "".join(f"server {host}:{port}; " for host, port in servers)
    kept = "".join(
        f"{kind}_temp_path {folder}/{kind}; " for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        f"daemon off; pid {folder}/pid; error_log stderr; worker_processes 1; events {{ worker_connections 2048; }}\n"
        f"http {{ access_log off; keepalive_requests 1000000; {kept}\n"
        f"upstream replicas {{ {upstream}keepalive 256; keepalive_requests 1000000; }}\n"
        f"server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://replicas; proxy_http_version 1.1;\n"
        'proxy_set_header Connection ""; proxy_set_header Host $http_host; proxy_buffering off; } } }\n'
    )
    process = subprocess.Popen([program, "-p", str(folder), "-c", str(folder / "nginx.conf")], stderr=subprocess.PIPE)
    try:
        url = f"http://127.0.0.1:{port}"
        _wait_for(f"{url}/healthz")
        yield url
    finally:
        process.terminate()
        process.communicate(timeout=10)


def _wait_for(url: str) -> None:
    end = time.monotonic() + _SOON
    while True:
        try:
            httpx.get(url).raise_for_status()
        except httpx.HTTPError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)
        else:
            return
