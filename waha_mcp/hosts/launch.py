"""The target of an entry, the command that launches this installation, and the links that hosts open to add an entry.

Our entries launch waha-mcp or connect to one that serves over HTTP.
"""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import sys
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from waha_mcp.app.definition import DEFAULT_ID, AppError, find_definition, id_of, read_definition
from waha_mcp.hosts.table import OURS, Host, Launch, Remote
from waha_mcp.places import config_dir

#: Links of hosts that take an entry as JSON in base64.
_LINKS = {"cursor": "cursor://anysphere.cursor-deeplink/mcp/install", "lm-studio": "lmstudio://add_mcp"}


def own_command() -> tuple[str, ...]:
    """The command that launches this installation from anywhere. Paths are absolute: hosts start with a short PATH."""
    python = Path(sys.executable)
    if "archive-v0" in python.parts or "environments-v2" in python.parts:  # uvx's cache, which may be emptied
        return (shutil.which("uvx") or "uvx", "waha-mcp")
    script = python.parent / ("waha-mcp.exe" if sys.platform == "win32" else "waha-mcp")
    return (str(script),) if script.exists() else (str(python), "-m", "waha_mcp")


def launch_of(*arguments: str, env: Mapping[str, str] | None = None, key_variable: str | None = None) -> Launch:
    """How to start `waha-mcp serve` with these arguments."""
    command, *prefix = own_command()
    return Launch(command, (*prefix, "serve", *arguments), env or {}, key_variable)


def command_of(entry: Any) -> list[str]:
    """The command line that an entry starts, whatever the host's shape; empty without one."""
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
    """Whether a host's entry launches waha-mcp, or is one that `install` wrote for a server over HTTP."""
    return (
        any(Path(word).stem in ("waha-mcp", "waha_mcp") for word in command_of(entry))
        or OURS.items() <= headers_of(entry).items()
    )


def url_of(entry: Any) -> str | None:
    """The URL of the server that an entry connects to over HTTP; None if it launches one."""
    if not isinstance(entry, Mapping):
        return None
    found = [entry[name] for name in ("httpUrl", "serverUrl", "url", "uri") if name in entry]
    if any(word.startswith("mcp-remote") for word in command_of(entry)):
        found += [word for word in command_of(entry) if word.startswith(("http://", "https://"))]
    return next((each for each in found if isinstance(each, str)), None)


def headers_of(entry: Any) -> dict[str, str]:
    """The headers that an entry sends, as written in it."""
    if not isinstance(entry, Mapping):
        return {}
    inside = [entry[name] for name in ("headers", "http_headers") if isinstance(entry.get(name), Mapping)]
    found = {name: value for each in inside for name, value in each.items() if isinstance(value, str)}
    words = command_of(entry)
    for word, after in pairwise(words):
        if word == "--header":
            name, _, value = after.partition(":")
            found[name] = value
    return found


def key_of(entry: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """The key of an entry for a server over HTTP: its environment variable, or the key itself.

    With neither, the host logs in by itself.
    """
    if isinstance(variable := entry.get("bearer_token_env_var"), str):
        return variable, None
    said = headers_of(entry).get("Authorization", "")
    own = environment_of(entry)
    for name in _VARIABLE.findall(said):
        if name in own:
            said = str(own[name])
    key = said.removeprefix("Bearer ")
    if variables := _VARIABLE.findall(key):
        return variables[0], None
    return None, key or None


#: A reference to an environment variable as hosts write it: $NAME, ${NAME}, ${env:NAME}, {env:NAME}.
_VARIABLE = re.compile(r"(?:\$\{?|\{)(?:env:)?([A-Za-z_][A-Za-z0-9_]*)\}?")


def target_of(entry: Any) -> tuple[str, ...]:
    """Identifies the entries of one App: its definition, or a server's URL and the key's variable.

    Empty: the App comes from the environment.
    """
    if (url := url_of(entry)) is not None:
        return (url, key_of(entry)[0] or "")
    definition = definition_of(entry)
    return () if definition is None else (str(definition),)


def app_of(entry: Any) -> str | None:
    """The App that an entry launches, as given by `--app` or WAHA_MCP_APP; None: from the environment alone."""
    words = command_of(entry)
    for word, after in zip(words, [*words[1:], ""], strict=True):
        if word == "--app" and after:
            return after
        if word.startswith("--app="):
            return word.removeprefix("--app=")
    value = environment_of(entry).get("WAHA_MCP_APP") if isinstance(entry, Mapping) else None
    return value if isinstance(value, str) and value else None


def definition_of(entry: Any) -> Path | None:
    """The definition of the App that an entry launches, which may not exist; None: the App is from the environment."""
    source = app_of(entry)
    if source is None:
        return None
    try:
        found = find_definition(source)
    except AppError:  # an id whose file is missing
        found = config_dir() / f"{source}.toml"
    return Path(os.path.realpath(found))


def app_id_of(entry: Any) -> str:
    """The id of the App that an entry launches, or its file's name if that cannot be read; or a server's host name."""
    if (url := url_of(entry)) is not None:
        return urlsplit(url).hostname or "server"
    definition = definition_of(entry)
    if definition is None:
        return DEFAULT_ID
    try:
        return str(id_of(definition, read_definition(definition)))
    except AppError:
        return definition.stem


def link_for(host: Host, name: str, target: Launch | Remote) -> str | None:
    """The link that makes a host offer to add the entry; None if the host has no such link or the entry holds a key."""
    if isinstance(target, Remote) and target.key:
        return None
    if host.name in _LINKS:
        config = json.dumps(host.entry(name, target), separators=(",", ":"))
        encoded = base64.b64encode(config.encode()).decode()
        return f"{_LINKS[host.name]}?name={quote(name)}&config={quote(encoded)}"
    return None
