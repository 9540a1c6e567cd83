"""A host that reaches a server over HTTP by the entry that `waha-mcp install --url` wrote."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

from tests.hosts_real.hosts import CLAUDE_CODE_LOADED, CODEX, COPILOT_CLI, GEMINI_CLI, OPENCLAW_DIRECT, OPENCODE, Host
from tests.hosts_real.hosts import QWEN_CODE_LOADED as QWEN_CODE
from tests.hosts_real.model import Call
from tests.hosts_real.world import Desk, Session, desk

#: Of hosts with several records, the one that needs the fewest calls; what a listing prints about a server over HTTP.
REACHING: dict[str, Host] = {
    host.name: host
    for host in (
        CLAUDE_CODE_LOADED,
        CODEX,
        GEMINI_CLI,
        QWEN_CODE,
        replace(COPILOT_CLI, accepts="whatsapp (http)"),
        OPENCODE,
        OPENCLAW_DIRECT,
    )
}


@dataclass(frozen=True)
class Reached:
    """What the host's listing and its model saw. `entry`: the file that `install` wrote; `key`: the App's."""

    listing: str
    session: Session
    entry: str
    key: str


def reached(host: Host, home: Path, server: Callable[[Desk], AbstractContextManager[str]]) -> Reached:
    """Let a host list its servers and its model call a tool; `server` gives the URL, and ends at the end.

    Raises:
        NotInstalled: the host could not be installed.
    """
    with desk(host, home) as made, server(made) as url:
        key = made.app.with_suffix(".key").read_text(encoding="utf-8").strip()
        # Replaces the entry that launches waha-mcp.
        made.install("--url", url, "--key-file", str(made.app.with_suffix(".key")), "--name", "whatsapp")
        listing = made.listing(WAHA_API_KEY=key)
        looks = {f"look {n}": call for n, call in enumerate(host.through.looks if host.through else ())}
        session = made.session(looks | {"list": Call("list_chats", {"limit": 10})}, WAHA_API_KEY=key)
        return Reached(listing, session, made.entry(), key)
