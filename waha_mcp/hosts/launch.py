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

from waha_mcp.app.definition import DEFAULT_ID, AppError, find_definition, id_of, read_definition
from waha_mcp.hosts.table import Host, Launch
from waha_mcp.places import config_dir

#: Links of hosts that take an entry as JSON in base64.
_LINKS = {"cursor": "cursor://anysphere.cursor-deeplink/mcp/install", "lm-studio": "lmstudio://add_mcp"}


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


def command_of(entry: Any) -> list[str]:
    """What an entry starts: the command and its arguments, whatever the host's shape; nothing where it has none."""
    if not isinstance(entry, Mapping):
        return []
    found = [entry.get("command", entry.get("cmd")), entry.get("args")]
    words = [word for each in found for word in (each if isinstance(each, list) else [each])]
    return [word for word in words if isinstance(word, str)]


def environment_of(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    """The environment that an entry sets."""
    found = next((entry[name] for name in ("env", "envs", "environment") if name in entry), None)
    return found if isinstance(found, Mapping) else {}


def is_ours(entry: Any) -> bool:
    """Whether a host's entry launches waha-mcp."""
    return any(Path(word).stem in ("waha-mcp", "waha_mcp") for word in command_of(entry))


def app_of(entry: Any) -> str | None:
    """The App that an entry launches, as `--app` or WAHA_MCP_APP has it; None: it comes from the environment alone."""
    words = command_of(entry)
    for word, after in zip(words, [*words[1:], ""], strict=True):
        if word == "--app" and after:
            return after
        if word.startswith("--app="):
            return word.removeprefix("--app=")
    value = environment_of(entry).get("WAHA_MCP_APP") if isinstance(entry, Mapping) else None
    return value if isinstance(value, str) and value else None


def definition_of(entry: Any) -> Path | None:
    """The definition of the App that an entry launches, which may be gone; None: the App comes from the environment."""
    source = app_of(entry)
    if source is None:
        return None
    try:
        found = find_definition(source)
    except AppError:  # an id whose file is gone
        found = config_dir() / f"{source}.toml"
    return Path(os.path.realpath(found))


def app_id_of(entry: Any) -> str:
    """The id of the App that an entry launches, or its file's name where that cannot be read."""
    definition = definition_of(entry)
    if definition is None:
        return DEFAULT_ID
    try:
        return str(id_of(definition, read_definition(definition)))
    except AppError:
        return definition.stem


def link_for(host: Host, name: str, launch: Launch) -> str | None:
    """The link that makes a host offer to add the entry; None where the host has none."""
    if host.name in _LINKS:
        config = json.dumps(host.entry(name, launch), separators=(",", ":"))
        encoded = base64.b64encode(config.encode()).decode()
        return f"{_LINKS[host.name]}?name={quote(name)}&config={quote(encoded)}"
    if host.name == "goose":
        # Goose's links start only a few launchers, of which uvx is ours.
        arguments = launch.args[launch.args.index("serve") :]
        query: list[tuple[str, str]] = [("cmd", "uvx"), ("arg", "waha-mcp"), *(("arg", a) for a in arguments)]
        query += [("timeout", "300"), ("id", name), ("name", name)]
        query += [("description", "WhatsApp through WAHA")]
        query += [("env", f"{launch.key_variable}=The session's scoped key")] if launch.key_variable else []
        return f"goose://extension?{urlencode(query, quote_via=quote)}"
    return None
