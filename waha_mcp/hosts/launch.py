"""The command that launches this installation, and the links that hosts open to add an entry themselves."""

from __future__ import annotations

import base64
import json
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from waha_mcp.hosts.table import Host, Launch


def own_command() -> tuple[str, ...]:
    """What launches this installation from anywhere, with absolute paths: hosts start with a short PATH."""
    python = Path(sys.executable)
    if "archive-v0" in python.parts or "environments-v2" in python.parts:  # uvx's cache, which may be emptied
        return (shutil.which("uvx") or "uvx", "waha-mcp")
    script = python.parent / ("waha-mcp.exe" if os.name == "nt" else "waha-mcp")
    return (str(script),) if script.exists() else (str(python), "-m", "waha_mcp")


def launch_of(*arguments: str, env: Mapping[str, str] | None = None, key_variable: str | None = None) -> Launch:
    """How to start `waha-mcp serve` with these arguments."""
    command, *prefix = own_command()
    return Launch(command, (*prefix, "serve", *arguments), env or {}, key_variable)


def is_ours(entry: Any) -> bool:
    """Whether a host's entry launches waha-mcp."""
    if not isinstance(entry, Mapping):
        return False
    command = entry.get("command", entry.get("cmd"))
    args = entry.get("args")
    words = [command, *(args if isinstance(args, list) else [])]
    return any(isinstance(w, str) and Path(w).stem in ("waha-mcp", "waha_mcp") for w in words)


def link_for(host: Host, name: str, launch: Launch) -> str | None:
    """The link that makes a host offer to add the entry; None where the host has none."""
    if host.name == "cursor":
        config = json.dumps(host.entry(launch, host.key_reference), separators=(",", ":"))
        encoded = base64.b64encode(config.encode()).decode()
        return f"cursor://anysphere.cursor-deeplink/mcp/install?name={quote(name)}&config={quote(encoded)}"
    if host.name == "goose":
        # Goose's links start only a few launchers, of which uvx is ours.
        arguments = launch.args[launch.args.index("serve") :]
        query: list[tuple[str, str]] = [("cmd", "uvx"), ("arg", "waha-mcp"), *(("arg", a) for a in arguments)]
        query += [("timeout", "300"), ("id", name), ("name", "WhatsApp (WAHA)")]
        query += [("description", "WhatsApp through WAHA")]
        query += [("env", f"{launch.key_variable}=The session's scoped key")] if launch.key_variable else []
        return f"goose://extension?{urlencode(query, quote_via=quote)}"
    return None
