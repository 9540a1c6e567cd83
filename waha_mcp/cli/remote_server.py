"""A waha-mcp that serves over HTTP, for a client's entry: its URL, the key of the App, and whether it takes the key."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import anyio
import httpx
import typer

from waha_mcp.app.definition import split_names
from waha_mcp.app.urls import is_local, parse
from waha_mcp.cli.common import Failure, secret_in
from waha_mcp.cli.dialog import interactive
from waha_mcp.steps import did_you_mean

if TYPE_CHECKING:
    from waha_mcp.hosts.table import Host, Remote

#: The variable that clients take the key from, unless another is named.
KEY_VARIABLE = "WAHA_API_KEY"
#: Placeholder for a key in an entry that is only shown.
SHOWN = "THE-KEY"
#: Seconds that a server may take to answer.
PATIENCE = 10.0


@dataclass(frozen=True)
class Wanted:
    """What a user asks for, as flags have it."""

    url: str
    key_file: Path | None = None
    key_env: str | None = None
    write_key: bool = False
    oauth: bool = False
    read_only: bool = False
    toolsets: str | None = None
    check: bool = True


def remote_for(host: Host, wanted: Wanted, only_shown: bool = False) -> Remote:
    """How the host reaches the server, which was asked, unless it was not to be.

    `only_shown`: for an entry that is only shown; a placeholder stands for the key.

    Raises:
        Failure: wrong usage, there is no key, or the server does not take it.
    """
    from waha_mcp.hosts.table import OURS, Remote

    url, headers = server_url(wanted.url), OURS | _narrowing(wanted)
    if wanted.oauth:
        if wanted.key_file or wanted.key_env or wanted.write_key:
            raise Failure("with --oauth the client logs in by itself: leave the key out")
        if host.logs_in is None:
            raise Failure(f"{host.title} is not known to log in at a server by itself: leave --oauth out")
        if wanted.check:
            _expect(url, None)
        return Remote(url, headers)
    variable = wanted.key_env or KEY_VARIABLE
    if not variable.isidentifier() or not variable.isascii():
        raise Failure(f"--key-env: {variable!r} is not the name of a variable")
    inside = wanted.write_key or host.header_reference is None
    if inside and wanted.key_env:
        raise Failure(f"--key-env: the key itself goes into the file of {host.title}")
    if only_shown:
        key: str | None = SHOWN
    else:
        key = _key(wanted.key_file, variable) if wanted.check or inside else None
    if wanted.check:
        _expect(url, key)
    return Remote(url, headers, key=key) if inside else Remote(url, headers, key_variable=variable)


def server_url(text: str) -> str:
    """The URL of a server's MCP address; without a path it is `/mcp`.

    Raises:
        Failure: it is not an http or https URL, holds more than that, or would send the key in clear over the internet.
    """
    try:
        url = parse(text.strip())
    except ValueError as error:
        raise Failure(f"--url {error}") from None
    if "?" in url.href or "#" in url.href:
        raise Failure("--url must end with the path, without ? or #")
    if url.scheme == "http" and not is_local(url.host):
        raise Failure(
            f"--url must begin with https:// but in a private network: {url.host} would get the key unencrypted"
        )
    return url.href + "mcp" if url.path == "/" else url.href


def _narrowing(wanted: Wanted) -> dict[str, str]:
    """Headers that leave out tools which the App has."""
    headers = {"X-Read-Only": "true"} if wanted.read_only else {}
    if wanted.toolsets is not None:
        from waha_mcp.tools.toolsets import TOOLSETS

        names, known = split_names(wanted.toolsets), sorted(TOOLSETS)
        for name in names:
            if name not in known:
                raise Failure(
                    f"--toolsets: no toolset '{name}' (available: {', '.join(known)}){did_you_mean(name, known)}"
                )
        headers["X-Toolsets"] = ",".join(names)
    return headers


def _key(file: Path | None, variable: str) -> str:
    """The App's key, from a file (- is stdin), the variable or a hidden prompt.

    Raises:
        Failure: there is none, or it cannot be a key.
    """
    key = os.environ.get(variable, "").strip() if file is None else secret_in(file, "the key")
    if not key and file is None and interactive():
        key = typer.prompt("The App's key", hide_input=True).strip()
    if not key:
        raise Failure(f"no key: set {variable}, or name a file that holds it with --key-file (- reads it from stdin)")
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise Failure("the key must be one word of ASCII characters")
    return key


@dataclass(frozen=True)
class Answer:
    """What a server said to an opening. `step`: what to do about it."""

    what: Literal["taken", "refused", "other"]
    says: str
    step: str = ""


def _expect(url: str, key: str | None) -> None:
    """Raise Failure unless the server takes the key; without one, unless it asks for a log-in."""
    answer = anyio.run(ask, url, key)
    if answer.what != ("taken" if key else "refused"):
        step = f": {answer.step}" if answer.step else ""
        raise Failure(f"{answer.says}{step} (--no-check writes the entry all the same)", code=1)


async def ask(url: str, key: str | None) -> Answer:
    """Open MCP at a server with a key, or without one, when it should ask for a log-in."""
    opening = {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "waha-mcp install", "version": "1"},
    }
    body = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": opening}
    headers = {"Accept": "application/json, text/event-stream"} | ({"Authorization": f"Bearer {key}"} if key else {})
    try:
        # A redirect is not followed: what is written into the file has to be right.
        async with httpx.AsyncClient(timeout=PATIENCE, trust_env=not is_local(parse(url).host)) as client:
            response = await client.post(url, json=body, headers=headers)
            if session := response.headers.get("mcp-session-id"):
                await client.delete(url, headers=headers | {"Mcp-Session-Id": session})
    except httpx.TimeoutException:
        return Answer("other", f"{url} does not answer within {PATIENCE:.0f} s")
    except httpx.TransportError as error:
        return Answer("other", f"{url} cannot be reached ({str(error) or type(error).__name__})")
    except UnicodeError:
        return Answer("other", f"{url} cannot be reached")
    return _meaning(url, key, response.status_code, response.headers, response.text)


def _meaning(url: str, key: str | None, status: int, headers: Any, text: str) -> Answer:
    if status == 200:
        name = _server_name(text)
        if name != "waha-mcp":
            what = f"is '{name[:60]}', not waha-mcp" if name else "does not speak MCP"
            return Answer("other", f"what answers at {url} {what}", "look at the path, which is /mcp")
        if key is None:
            return Answer("other", f"{url} does not ask for a log-in")
        return Answer("taken", f"{url} takes the key")
    if status == 401:
        if key is None and "resource_metadata" not in headers.get("www-authenticate", ""):
            return Answer("other", f"{url} offers no log-in", "start it with --oauth, or leave --oauth out")
        return Answer("refused", f"{url} does not know the key" if key else f"{url} asks for a log-in", _UNKNOWN)
    step = _STEPS.get(status, "")
    if 300 <= status < 400:
        step = f"give the URL that it redirects to, {headers.get('location', '?')[:200]}"
    return Answer("other", f"{url} answers with HTTP {status}", step)


_UNKNOWN = "the server needs a definition with this key in its folder of Apps, enabled"
_STEPS = {
    403: "give the App's own scoped key, not WAHA's admin key",
    404: "look at the path, which is /mcp",
    421: "the server must be started with --allowed-host and this host",
    429: "too many wrong keys came from here: wait a minute",
    502: "what stands in front of it does not reach the server",
    503: "the server is not ready",
}


def _server_name(text: str) -> str:
    """The name that an answer to `initialize` gives, as JSON or as an event; nothing where it is none."""
    lines = [line.removeprefix("data:") for line in text.splitlines() if line.startswith("data:")]
    for each in [text, *lines]:
        try:
            name = json.loads(each)["result"]["serverInfo"]["name"]
        except (ValueError, LookupError, TypeError):
            continue
        return str(name)
    return ""
